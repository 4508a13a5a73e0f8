"""cliproxy.routing.chains: which models a name stands for, and after which failures the next one is tried."""

from dataclasses import dataclass
from typing import Any

import pytest

from cliproxy.config.schema import ModelChain
from cliproxy.routing.chains import Chain, Chains, with_preview
from cliproxy.wire.errors import ClientFault, GatewayError, Unavailable, UpstreamFault, UpstreamRefused


@dataclass
class Failed:
    fault: str


def chains(**named: list[str]) -> Chains:
    return Chains({name: ModelChain(targets=tuple(targets)) for name, targets in named.items()})


def test_a_model_that_is_no_chain_is_its_own_target() -> None:
    assert Chains({}).of("m") == Chain(("m",))
    assert chains(smart=["a"]).of("m") == Chain(("m",))
    assert not Chain(("m",)).goes_on(UpstreamFault("x"), [Failed("transient")])


def test_a_chain_stands_for_its_targets() -> None:
    assert chains(smart=["a", "b(high)", "smart"]).of("smart") == Chain(("a", "b(high)", "smart"), ("quota", "error"))


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-9", "exact"),
        ("gpt-9-mini", "longest"),
        ("gpt-8", "short"),
        ("opus", "all"),
        ("", "all"),
    ],
)
def test_an_exact_name_wins_over_the_longest_pattern(model: str, target: str) -> None:
    named = {"*": ["all"], "gpt-*": ["short"], "gpt-9*": ["longest"], "gpt-9": ["exact"]}
    assert chains(**named).of(model).targets == (target,)


def test_a_pattern_may_stand_anywhere() -> None:
    named: Any = {"*-mini": ["small"], "claude-*-latest": ["newest"]}
    assert chains(**named).of("gpt-9-mini").targets == ("small",)
    assert chains(**named).of("claude-opus-latest").targets == ("newest",)
    assert chains(**named).of("gpt-9").targets == ("gpt-9",)


@pytest.mark.parametrize("name", ["m[1]", "m?"])
def test_only_a_star_is_special(name: str) -> None:
    named: Any = {name: ["target"], "x-[a]*": ["other"]}
    assert chains(**named).of(name).targets == ("target",)
    assert chains(**named).of("m1").targets == ("m1",)
    assert chains(**named).of("x-[a]-1").targets == ("other",)


QUOTA = Unavailable("all used up", status=429)
DOWN = Unavailable("all down")
CASES: list[tuple[str, GatewayError, list[str]]] = [
    ("quota", QUOTA, ["quota", "quota"]),
    ("quota", UpstreamRefused("slow down", status=429), ["quota"]),
    ("quota", QUOTA, []),
    ("error", DOWN, ["transient"]),
    ("error", DOWN, []),
    ("error", UpstreamFault("cut"), ["transient"]),
    ("error", UpstreamRefused("no", status=401), ["credential"]),
    ("error", UpstreamRefused("no such model", status=404), ["model"]),
    ("context", UpstreamRefused("too long", status=400), ["context"]),
    ("context", ClientFault("too long", code="context_length_exceeded"), []),
    ("", ClientFault("wrong"), []),
    ("", UpstreamRefused("wrong", status=400), ["request"]),
]


@pytest.mark.parametrize(("reason", "error", "faults"), CASES)
@pytest.mark.parametrize("on", [(), ("quota",), ("error",), ("context",), ("quota", "error", "context")])
def test_the_next_target_is_tried_after_what_the_chain_names(
    on: tuple[str, ...], reason: str, error: GatewayError, faults: list[str]
) -> None:
    assert Chain(("a", "b"), on).goes_on(error, [Failed(fault) for fault in faults]) == (reason in on)


class Offered:
    def __init__(self, *names: str) -> None:
        self._names = names

    def offers(self, name: str) -> bool:
        return name in self._names


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("gemini-9", ("gemini-9", "gemini-9-preview")),
        ("gemini-8-preview", ("gemini-8-preview", "gemini-8")),
        ("gemini-7", ("gemini-7",)),
        ("gemini-9-preview", ("gemini-9-preview",)),
    ],
)
def test_the_preview_version_stands_in_where_it_is_offered(name: str, targets: tuple[str, ...]) -> None:
    chain = with_preview(Chain((name,)), Offered("gemini-9-preview", "gemini-8"))
    assert chain.targets == targets
    assert chain.on == (("quota",) if len(targets) > 1 else ())

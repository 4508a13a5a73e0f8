"""cliproxy.routing.catalogue: from every name of a model to who can serve it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.credentials.record import Credential, OfferedModel
from cliproxy.routing import catalogue as module
from cliproxy.routing.catalogue import Catalogue, Resolution
from cliproxy.routing.found import FoundList, FoundModel
from cliproxy.routing.registry import RegisteredModel, Registry, builtin_registry
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import FORMATS, Format, ModelFacts, ReasoningIntent, ThinkingFacts

LEVELS = ThinkingFacts(levels=("low", "high"))
KNOWN = ModelFacts("gpt-9", max_output_tokens=1000, context_tokens=8000, thinking=LEVELS, known=True)
REGISTRY = Registry([RegisteredModel("gpt-9", "codex", "GPT-9", KNOWN), RegisteredModel("opus-9", "claude", "Opus 9", ModelFacts("opus-9", known=True))])  # fmt: skip


def offer(name: str, upstream: str = "", **more: Any) -> OfferedModel:
    return OfferedModel(name, upstream or name, **more)


def credential(provider: str, *models: OfferedModel | str, format: Format = "openai-chat", **more: Any) -> Credential:
    offered = tuple(offer(model) if isinstance(model, str) else model for model in models)
    more.setdefault("secret", f"sk-test-{provider}")
    return Credential(provider, (format,), f"https://{provider}.test/v1", models=offered, **more)


def catalogue(*credentials: Credential, **options: Any) -> Catalogue:
    return Catalogue(credentials, REGISTRY, **options)


def served(resolution: Resolution) -> list[tuple[str, str]]:
    """Provider and upstream model of each candidate, best first."""
    return [(c.credential.provider, c.model) for group in resolution.groups for c in group.candidates]


def found(among: Catalogue, name: str, client: Format = "openai-chat") -> list[tuple[str, str]]:
    try:
        return served(among.resolve(name, client))
    except ClientFault as fault:
        assert (fault.status, fault.code, fault.param) == (404, "model_not_found", "model")
        return []


# ---------------------------------------------------------------- names

NAMES = catalogue(
    credential("one", "m-1", offer("short", "vendor/long"), offer("cheap-*", "m-cheap"), prefix="team"),
    credential("two", "m-1", "m-2"),
    credential("any", "*"),
)


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("m-1", [("one", "m-1"), ("two", "m-1")]),
        ("team/m-1", [("one", "m-1")]),
        ("one/m-1", [("one", "m-1")]),
        ("one:m-1", [("one", "m-1")]),
        ("two:m-1", [("two", "m-1")]),
        ("short", [("one", "vendor/long")]),
        ("team/short", [("one", "vendor/long")]),
        ("one:short", [("one", "vendor/long")]),
        ("cheap-x", [("one", "m-cheap")]),
        ("cheap-", [("one", "m-cheap")]),
        ("team/cheap-x", [("one", "m-cheap")]),
        ("one/cheap-x", [("one", "m-cheap")]),
        ("unheard-of", [("any", "unheard-of")]),
        ("vendor/unheard-of", [("any", "vendor/unheard-of")]),
        ("any/unheard-of", [("any", "unheard-of")]),
        ("any:vendor/unheard-of", [("any", "vendor/unheard-of")]),
        ("M-1", [("any", "M-1")]),
    ],
)
def test_a_model_has_several_names(name: str, candidates: list[tuple[str, str]]) -> None:
    assert found(NAMES, name) == candidates


def test_an_exact_name_wins_over_the_longest_prefix_and_that_over_all() -> None:
    among = catalogue(
        credential("all", offer("*", "all")),
        credential("short", offer("gpt-*", "short")),
        credential("long", offer("gpt-9-*", "long")),
        credential("exact", offer("gpt-9-mini", "exact")),
    )
    assert found(among, "gpt-9-mini") == [("exact", "exact")]
    assert found(among, "gpt-9-max") == [("long", "long")]
    assert found(among, "gpt-8") == [("short", "short")]
    assert found(among, "other") == [("all", "all")]


def test_one_credential_can_offer_several_models_under_one_name() -> None:
    among = catalogue(credential("p", offer("alias", "a"), offer("alias", "b"), offer("alias", "a")))
    assert found(among, "alias") == [("p", "a"), ("p", "b")]


def test_a_provider_that_is_named_gets_ids_that_nobody_has_heard_of() -> None:
    among = catalogue(credential("p", "known", excluded=("banned*",)), credential("q", "known"))
    assert found(among, "p/new") == [("p", "new")]
    assert found(among, "p:vendor/new:8b") == [("p", "vendor/new:8b")]
    for name in ("new", "r/new", "p/", "p:", "/new", "p/banned-1", "p:BANNED"):
        assert found(among, name) == []


def test_the_demo_offers_what_it_has_and_nothing_else() -> None:
    among = catalogue(credential("demo", offer("demo/echo", "echo")))
    assert found(among, "demo/echo") == [("demo", "echo")]
    assert found(among, "demo/other") == []


@pytest.mark.parametrize("excluded", ["m-2", "M-*".lower(), "*"])
def test_excluded_models_are_not_offered(excluded: str) -> None:
    among = catalogue(credential("p", "m-2", offer("alias", "M-2"), excluded=(excluded,)), credential("q", "m-2"))
    assert found(among, "m-2") == [("q", "m-2")]
    assert found(among, "alias") == []
    assert [model.provider for model in among.listed()] == ["q"]


def test_what_a_pattern_would_take_can_be_excluded() -> None:
    among = catalogue(credential("p", "*", excluded=("gpt-4*",)), credential("q", offer("gpt-*", "q")))
    assert found(among, "opus") == [("p", "opus")]
    assert found(among, "gpt-4o") == [("q", "q")]
    assert found(catalogue(credential("p", "*", excluded=("gpt-4*",))), "GPT-4o") == []


def test_a_prefix_can_be_forced() -> None:
    among = catalogue(credential("p", "m", "*", prefix="team"), credential("q", "m"), force_prefix=True)
    assert found(among, "m") == [("q", "m")]
    assert found(among, "team/m") == [("p", "m")]
    assert found(among, "p/m") == [("p", "m")]
    assert found(among, "other") == []
    assert [model.name for model in among.listed()] == ["team/m", "m"]


def test_without_models_of_its_own_a_credential_offers_the_registrys() -> None:
    among = catalogue(credential("codex"), credential("claude"))
    assert [model.name for model in among.listed()] == ["gpt-9", "opus-9"]
    assert found(among, "gpt-9") == [("codex", "gpt-9")]


# ---------------------------------------------------------------- suffixes


@pytest.mark.parametrize(
    ("suffix", "intent"),
    [
        ("(high)", ReasoningIntent(effort="high")),
        ("(none)", ReasoningIntent(effort="none")),
        ("(8192)", ReasoningIntent(budget=8192)),
        ("(-1)", ReasoningIntent(budget=-1)),
    ],
)
@pytest.mark.parametrize("name", ["m-1", "team/m-1", "one:m-1", "one/unheard-of", "cheap-x", "team/cheap-x"])
def test_a_suffix_says_how_much_to_think(name: str, suffix: str, intent: ReasoningIntent) -> None:
    among = catalogue(credential("one", "m-1", offer("cheap-*", "m-cheap"), prefix="team"))
    resolution = among.resolve(name, "openai-chat")
    with_suffix = among.resolve(name + suffix, "openai-chat")
    assert (with_suffix.name, with_suffix.reasoning) == (name, intent)
    assert served(with_suffix) == served(resolution)
    assert resolution.reasoning is None


def test_codex_may_say_it_in_the_path() -> None:
    resolution = catalogue(credential("codex", "gpt-9")).resolve("codex/high/gpt-9", "openai-chat")
    assert (resolution.reasoning, served(resolution)) == (ReasoningIntent(effort="high"), [("codex", "gpt-9")])


def test_an_exact_name_may_look_like_a_suffix() -> None:
    resolution = catalogue(credential("p", "m", "m(high)")).resolve("m(high)", "openai-chat")
    assert (resolution.name, resolution.reasoning, served(resolution)) == ("m(high)", None, [("p", "m(high)")])


def test_an_unknown_model_stays_unknown_with_a_suffix() -> None:
    assert found(catalogue(credential("p", "m")), "other(high)") == []


# ---------------------------------------------------------------- who serves


def test_groups_go_by_priority_and_keep_the_configs_order() -> None:
    among = catalogue(
        credential("a", "m"),
        credential("b", "m", priority=5),
        credential("c", "m", priority=-1),
        credential("d", "m"),
        credential("e", "m", priority=5),
    )
    groups = among.resolve("m", "openai-chat").groups
    assert [[c.credential.provider for c in group.candidates] for group in groups] == [["b", "e"], ["a", "d"], ["c"]]
    assert len({group.key for group in groups}) == 3


def test_turns_survive_another_configuration() -> None:
    """The key of a group is that of its candidates, wherever they stand in the file."""
    one, two, other = credential("a", "m"), credential("b", "m", priority=1), credential("c", "x")
    keys = [
        [group.key for group in catalogue(*order).resolve("m", "openai-chat").groups]
        for order in ((one, two), (other, two, one))
    ]
    assert keys[0] == keys[1]


def test_convert_from_names_the_clients_that_are_served() -> None:
    among = catalogue(
        credential("all", "m"),
        credential("some", "m", convert_from=("anthropic",)),
        credential("own", "m", "n", convert_from=()),
    )
    assert [provider for provider, _ in found(among, "m", "openai-chat")] == ["all", "some", "own"]
    assert [provider for provider, _ in found(among, "m", "anthropic")] == ["all", "some"]
    assert [provider for provider, _ in found(among, "m", "gemini")] == ["all"]
    assert found(among, "n", "openai-chat") == [("own", "n")]
    with pytest.raises(ClientFault, match=r"'n' is not offered to gemini clients \(convert-from\)"):
        among.resolve("n", "gemini")


def test_a_candidate_knows_its_model() -> None:
    own = ThinkingFacts(min=1, max=2)
    among = catalogue(
        credential("p", "gpt-9", offer("alias", "gpt-9", context_tokens=5, thinking=own, input_modalities=("text",))),
        credential("q", offer("any-*", "*", force_mapping=True)),
    )
    [plain] = among.resolve("gpt-9", "openai-chat").groups[0].candidates
    assert plain.facts == KNOWN
    [alias] = among.resolve("alias", "openai-chat").groups[0].candidates
    assert (alias.facts.context_tokens, alias.facts.thinking, alias.facts.input_modalities) == (5, own, ("text",))
    assert alias.facts.max_output_tokens == 1000
    [pattern] = among.resolve("any-x", "openai-chat").groups[0].candidates
    assert (pattern.model, pattern.facts, pattern.force_mapping) == ("any-x", ModelFacts("any-x"), True)


# ---------------------------------------------------------------- unknown names


def test_an_unknown_model_is_told_the_nearest_ones() -> None:
    among = catalogue(credential("p", "gpt-9", "gpt-9-mini", "opus-9"))
    with pytest.raises(ClientFault) as caught:
        among.resolve("gpt9", "openai-chat")
    assert "unknown model 'gpt9'; known are for example 'gpt-9'" in caught.value.message
    with pytest.raises(ClientFault, match="known are for example 'gpt-9', 'gpt-9-mini', 'opus-9'"):
        among.resolve("zzz", "openai-chat")
    with pytest.raises(ClientFault, match="no credential is configured that offers a model"):
        catalogue().resolve("gpt-9", "openai-chat")


def test_a_very_long_name_gets_a_short_answer() -> None:
    with pytest.raises(ClientFault) as caught:
        catalogue(credential("p", "gpt-9")).resolve("gpt-" + "9" * 100_000, "openai-chat")
    assert len(caught.value.message) < 1000


@given(st.text(max_size=30) | st.from_regex(r"(one|any|team)?[/:(]?m-1[/:(]?(high|\d+)?\)?", fullmatch=True))
@settings(deadline=None)
def test_any_name_is_resolved_or_unknown(name: str) -> None:
    for among in (NAMES, catalogue(credential("p", "m"))):
        try:
            resolution = among.resolve(name, "gemini")
        except ClientFault as fault:
            assert fault.status in (400, 404)
            continue
        assert all(group.candidates for group in resolution.groups)
        assert resolution.groups
        assert among.resolve(name, "gemini") is resolution


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    among = catalogue(credential("any", "*"))
    first = among.resolve("m-0", "openai-chat")
    for number in range(1, 10):
        among.resolve(f"m-{number}", "openai-chat")
    assert among.resolve("m-0", "openai-chat") is first
    assert among.resolve("m-0", "anthropic") is not first
    late = among.resolve("m-9", "openai-chat")
    assert late is not among.resolve("m-9", "openai-chat")
    assert served(late) == [("any", "m-9")]


# ---------------------------------------------------------------- calls without a model

SPEAKERS = catalogue(
    credential("chat", "m"),
    credential("responses", "m", "n", format="openai-responses"),
    credential("claude", "m", format="anthropic"),
    Credential("demo", FORMATS, "demo://in-process"),
)


def test_native_calls_go_to_who_speaks_them() -> None:
    assert [c.credential.provider for c in SPEAKERS.speaking(("openai-responses", "openai-chat"))] == [
        "responses",
        "chat",
    ]
    assert [c.credential.provider for c in SPEAKERS.speaking(("openai-chat", "openai-responses"))] == [
        "chat",
        "responses",
    ]
    assert [(c.credential.provider, c.model) for c in SPEAKERS.speaking(("anthropic",))] == [("claude", "")]
    assert SPEAKERS.speaking(("gemini",)) == ()


@pytest.mark.parametrize(
    ("model", "required", "candidates"),
    [
        ("", False, [("chat", ""), ("responses", "")]),
        ("m", False, [("chat", "m"), ("responses", "m")]),
        ("n", True, [("responses", "n")]),
        ("unknown", False, [("chat", ""), ("responses", "")]),
        ("unknown", True, [("chat", "unknown"), ("responses", "unknown")]),
        ("claude/m", False, [("chat", ""), ("responses", "")]),
    ],
)
def test_a_native_call_may_name_a_model(model: str, required: bool, candidates: list[tuple[str, str]]) -> None:
    speaking = SPEAKERS.speaking(("openai-chat", "openai-responses"))
    narrowed = SPEAKERS.narrowed(speaking, model, required=required)
    assert [(c.credential.provider, c.model) for c in narrowed] == candidates


def test_it_can_be_asked_what_it_offers() -> None:
    assert NAMES.offers("team/m-1")
    assert NAMES.offers("whatever")
    assert not SPEAKERS.offers("whatever")


# ---------------------------------------------------------------- what lists show


def test_a_list_shows_names_once_and_no_patterns() -> None:
    shown = NAMES.listed()
    assert [model.name for model in shown] == ["m-1", "team/m-1", "short", "team/short", "m-2"]
    assert [model.provider for model in shown] == ["one", "one", "one", "one", "two"]


def test_a_list_shows_the_nicest_name_that_is_known() -> None:
    among = catalogue(credential("p", "gpt-9", offer("own", "gpt-9", display_name="My own"), "unknown"))
    assert [model.display_name for model in among.listed()] == ["GPT-9", "My own", "unknown"]
    assert among.listed()[0].facts == KNOWN


def test_every_name_that_is_listed_can_be_asked_for() -> None:
    among = Catalogue([credential("codex"), credential("claude"), credential("gemini", prefix="g")], builtin_registry())
    assert len(among.listed()) > 20
    for model in among.listed():
        assert found(among, model.name)


# ---------------------------------------------------------------- other ways to call a model


def test_openai_is_another_name_for_codex() -> None:
    among = catalogue(credential("codex", "gpt-9"), credential("router", "openai/gpt-9-mini"))
    assert found(among, "openai/gpt-9") == [("codex", "gpt-9")]
    assert found(among, "openai:gpt-9") == [("codex", "gpt-9")]
    assert found(among, "openai/new") == [("codex", "new")]
    assert found(among, "openai/gpt-9-mini") == [("router", "openai/gpt-9-mini")]
    assert found(among, "openai") == []


def test_a_provider_that_is_called_openai_keeps_its_name() -> None:
    among = catalogue(credential("codex", "gpt-9"), credential("openai", "gpt-9"))
    assert found(among, "openai/gpt-9") == [("openai", "gpt-9")]
    assert found(catalogue(credential("two", "m")), "openai/gpt-9") == []


@pytest.mark.parametrize("name", ["codex/high/gpt-9", "openai/high/gpt-9", "codex/gpt-9(high)"])
def test_a_level_may_stand_in_the_name(name: str) -> None:
    resolution = catalogue(credential("codex", "gpt-9")).resolve(name, "openai-chat")
    assert served(resolution) == [("codex", "gpt-9")]
    assert resolution.reasoning == ReasoningIntent(effort="high")


@pytest.mark.parametrize(
    ("name", "takes"),
    [("codex/medium/gpt-9", "low, high"), ("codex/ultra/gpt-9", "low, high"), ("openai/max/gpt-9", "low, high"), ("antigravity/high/opus-9", "none")],
)  # fmt: skip
def test_a_level_that_the_model_does_not_take_is_refused(name: str, takes: str) -> None:
    among = catalogue(credential("codex", "gpt-9"), credential("antigravity", "opus-9"))
    with pytest.raises(ClientFault, match=f"it takes {takes}") as caught:
        among.resolve(name, "openai-chat")
    assert (caught.value.status, caught.value.code) == (400, "unsupported_reasoning_effort")


@pytest.mark.parametrize("name", ["codex/medium/unheard-of", "codex/org/unheard-of", "codex/ultra/unheard-of"])
def test_nothing_is_refused_for_a_model_of_which_nothing_is_known(name: str) -> None:
    assert found(catalogue(credential("codex", "gpt-9")), name)


def test_the_names_that_claude_code_is_shown_mean_the_models() -> None:
    among = catalogue(credential("one", "m", "claude-code/own"))
    assert among.meant("claude-code/m") == "m"
    assert among.meant("claude-code/one/m(high)") == "one/m(high)"
    assert among.meant("claude-code/own") == "claude-code/own"
    assert among.meant("m") == "m"


@pytest.mark.parametrize(("name", "is_offered"), [("m", True), ("m(high)", True), ("one/new", True), ("new", False), ("new(high)", False)])  # fmt: skip
def test_what_is_offered(name: str, is_offered: bool) -> None:
    assert catalogue(credential("one", "m")).offers(name) is is_offered


def test_a_model_has_the_facts_of_its_provider() -> None:
    smaller = ModelFacts("gpt-9", context_tokens=10, known=True)
    registry = Registry([RegisteredModel("gpt-9", "", "GPT-9", KNOWN), RegisteredModel("gpt-9", "small", "GPT-9", smaller)])  # fmt: skip
    among = Catalogue([credential("small", "gpt-9"), credential("other", "gpt-9")], registry)
    facts = [c.facts for group in among.resolve("gpt-9", "openai-chat").groups for c in group.candidates]
    assert [one.context_tokens for one in facts] == [10, 8000]
    [named] = among.resolve("small/gpt-9", "openai-chat").groups[0].candidates
    assert named.facts.context_tokens == 10


def test_a_key_offers_what_its_own_upstream_was_found_to_offer() -> None:
    said = FoundList("claude", (FoundModel("opus-10"),), "https://claude.test/v1")
    among = Catalogue([credential("claude")], REGISTRY.with_found([said]))
    assert [model.name for model in among.listed()] == ["opus-10"]
    elsewhere = FoundList("claude", (FoundModel("opus-10"),), "https://relay.test")
    assert [model.name for model in Catalogue([credential("claude")], REGISTRY.with_found([elsewhere])).listed()] == [
        "opus-9"
    ]

"""cliproxy.routing.registry: what is known of models, and how a config's words override it."""

from pathlib import Path

import pytest
from genai_prices.data_snapshot import get_snapshot

from cliproxy.routing import found
from cliproxy.routing.found import FoundList, FoundModel
from cliproxy.routing.registry import Plans, RegisteredModel, Registry, builtin_registry, registry_of
from cliproxy.wire.model import ModelFacts, ThinkingFacts

THINKING = ThinkingFacts(min=128, max=1024)
FACTS = ModelFacts(
    "m", max_output_tokens=100, context_tokens=1000, thinking=THINKING, input_modalities=("text", "image"), known=True
)
SMALLER = ModelFacts("m", max_output_tokens=100, context_tokens=500, thinking=THINKING, known=True)
REGISTRY = Registry(
    [
        RegisteredModel("m", "", "The M", FACTS, "vendor/priced-m"),
        RegisteredModel("m", "p", "The M", FACTS, "vendor/priced-m"),
        RegisteredModel("m", "small", "A smaller M", SMALLER),
        RegisteredModel("n", "p", "The N", ModelFacts("n", known=True)),
    ],
    {"p": Plans({"free": frozenset({"n"}), "pro": frozenset({"m", "n"})}, "pro", {"gratis": "free"})},
)
VENDORS = ("claude", "codex", "gemini", "vertex", "gemini-cli", "aistudio", "antigravity", "qwen", "iflow", "kimi", "glm", "kiro", "xai")  # fmt: skip


def names(models: list[RegisteredModel]) -> list[str]:
    return [model.name for model in models]


def test_models_are_known_by_provider_and_name() -> None:
    assert names(REGISTRY.of("p")) == ["m", "n"]
    assert REGISTRY.of("nobody") == []
    assert (REGISTRY.display_name("m"), REGISTRY.display_name("unknown")) == ("The M", "")
    assert REGISTRY.facts("m") == FACTS


def test_one_model_may_be_different_at_each_provider() -> None:
    assert REGISTRY.facts("m", provider="p").context_tokens == 1000
    assert REGISTRY.facts("m", provider="small").context_tokens == 500
    assert REGISTRY.facts("m", provider="whoever").context_tokens == 1000
    assert REGISTRY.display_name("m", "small") == "A smaller M"


@pytest.mark.parametrize(
    ("plan", "offered"),
    [(None, ["m", "n"]), ("free", ["n"]), ("FREE", ["n"]), ("gratis", ["n"]), ("pro", ["m", "n"]), ("", ["m", "n"]), ("new", ["m", "n"])],
)  # fmt: skip
def test_a_plan_offers_less(plan: str | None, offered: list[str]) -> None:
    assert names(REGISTRY.of("p", plan)) == offered
    assert names(REGISTRY.of("small", plan)) == ["m"]


def test_nothing_is_known_of_an_unknown_model() -> None:
    assert REGISTRY.facts("unknown") == ModelFacts("unknown")


def test_a_configs_words_win() -> None:
    own = ThinkingFacts(levels=("low",))
    facts = REGISTRY.facts("m", context_tokens=5, thinking=own, input_modalities=("text",))
    assert facts == ModelFacts(
        "m", max_output_tokens=100, context_tokens=5, thinking=own, input_modalities=("text",), known=True
    )


def test_a_config_can_make_a_models_thinking_known() -> None:
    assert not REGISTRY.facts("own", context_tokens=5).known
    facts = REGISTRY.facts("own", thinking=THINKING)
    assert (facts.known, facts.thinking) == (True, THINKING)


def test_a_model_has_its_own_price_or_that_of_another() -> None:
    assert REGISTRY.priced_as("p", "m") == ("vendor", "priced-m")
    assert REGISTRY.priced_as("elsewhere", "m") == ("vendor", "priced-m")
    assert REGISTRY.priced_as("p", "n") == ("p", "n")
    assert REGISTRY.priced_as("p", "unknown") == ("p", "unknown")


# ---------------------------------------------------------------- what was found


def test_what_an_upstream_says_it_offers_takes_the_place_of_what_is_known() -> None:
    said = FoundList("p", (FoundModel("m", context_tokens=2000), FoundModel("new", "The New")), "https://p.test")
    registry = REGISTRY.with_found([said])
    assert names(registry.of("p", base_url="https://p.test")) == ["m", "new"]
    assert names(registry.of("p", base_url="https://other.test")) == ["m", "n"]
    assert names(registry.of("p", "free")) == ["n"]
    assert names(REGISTRY.of("p", base_url="https://p.test")) == ["m", "n"]


def test_accounts_are_told_apart_by_their_plans() -> None:
    registry = REGISTRY.with_found([FoundList("p", (FoundModel("new"),), plan="free")])
    assert names(registry.of("p", "free")) == ["new"]
    assert names(registry.of("p", "pro")) == ["m", "n"]
    assert names(registry.of("p", base_url="https://p.test")) == ["m", "n"]


def test_what_a_list_leaves_unsaid_stays_known() -> None:
    said = FoundList("p", (FoundModel("m", context_tokens=2000), FoundModel("new", max_output_tokens=7)))
    registry = REGISTRY.with_found([said])
    assert registry.facts("m", provider="p") == ModelFacts(
        "m",
        max_output_tokens=100,
        context_tokens=2000,
        thinking=THINKING,
        input_modalities=("text", "image"),
        known=True,
    )
    assert registry.display_name("m", "p") == "The M"
    assert registry.priced_as("p", "m") == ("vendor", "priced-m")
    assert registry.facts("m").context_tokens == 1000
    assert registry.facts("new", provider="p") == ModelFacts("new", max_output_tokens=7)
    assert registry.display_name("new", "p") == "new"


@pytest.mark.parametrize(("thinks", "known"), [(False, True), (True, False), (None, False)])
def test_a_list_can_say_that_a_model_does_not_think(thinks: bool | None, known: bool) -> None:
    registry = REGISTRY.with_found([FoundList("p", (FoundModel("new", thinks=thinks),))])
    facts = registry.facts("new", provider="p")
    assert (facts.known, facts.thinking) == (known, None)


def test_the_registry_of_a_config_has_what_its_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    assert names(registry_of(str(path)).of("kimi", base_url="https://kimi.test")) == names(
        builtin_registry().of("kimi")
    )
    found.save(path, [FoundList("kimi", (FoundModel("kimi-new"),), "https://kimi.test")])
    assert names(registry_of(str(path)).of("kimi", base_url="https://kimi.test")) == ["kimi-new"]


# ---------------------------------------------------------------- the data file


@pytest.mark.parametrize("provider", VENDORS)
def test_the_data_file_makes_sense(provider: str) -> None:
    registry = builtin_registry()
    models = registry.of(provider)
    assert len(models) > 3
    assert len({model.name for model in models}) == len(models)
    for model in models:
        facts = model.facts
        assert facts.name == model.name
        assert facts == registry.facts(model.name, provider=provider)
        assert model.display_name
        assert facts.context_tokens and facts.context_tokens >= 480
        assert facts.max_output_tokens is None or 1000 < facts.max_output_tokens <= facts.context_tokens
        assert facts.input_modalities and "text" in facts.input_modalities
        if thinking := facts.thinking:
            assert facts.known
            assert bool(thinking.levels) != (thinking.max is not None), model.name
            assert (thinking.min or 0) <= (thinking.max or 0) or thinking.levels


def test_each_plan_of_codex_offers_what_the_one_below_offers() -> None:
    free, team, plus, pro = (
        set(names(builtin_registry().of("codex", plan))) for plan in ("free", "team", "plus", "pro")
    )
    assert free < team < plus <= pro < set(names(builtin_registry().of("codex")))
    for plan, same in (("business", team), ("go", team), ("free_workspace", free), ("", pro), ("unheard-of", pro)):
        assert set(names(builtin_registry().of("codex", plan))) == same


def test_the_prices_that_are_named_are_in_the_table() -> None:
    named = {model.price for vendor in VENDORS for model in builtin_registry().of(vendor) if model.price}
    assert "google/gemini-3.5-flash" in named
    for price in named:
        vendor, _, model = price.partition("/")
        assert get_snapshot().find_provider_model(model, None, vendor, None)[1].id == model


def test_the_data_file_is_read_once() -> None:
    assert builtin_registry() is builtin_registry()

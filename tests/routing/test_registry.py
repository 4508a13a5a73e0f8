"""cliproxy.routing.registry: what is known of models, and how a config's words override it."""

import pytest

from cliproxy.routing.registry import RegisteredModel, Registry, builtin_registry
from cliproxy.wire.model import ModelFacts, ThinkingFacts

THINKING = ThinkingFacts(min=128, max=1024)
FACTS = ModelFacts(
    "m", max_output_tokens=100, context_tokens=1000, thinking=THINKING, input_modalities=("text", "image"), known=True
)
REGISTRY = Registry(
    [RegisteredModel("m", "p", "The M", FACTS), RegisteredModel("n", "q", "The N", ModelFacts("n", known=True))]
)


def test_models_are_known_by_provider_and_name() -> None:
    assert [model.name for model in REGISTRY.of("p")] == ["m"]
    assert REGISTRY.of("nobody") == []
    assert (REGISTRY.display_name("m"), REGISTRY.display_name("unknown")) == ("The M", "")
    assert REGISTRY.facts("m") == FACTS


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


@pytest.mark.parametrize("provider", ["claude", "codex", "gemini"])
def test_the_data_file_makes_sense(provider: str) -> None:
    models = builtin_registry().of(provider)
    assert len(models) > 5
    assert len({model.name for model in models}) == len(models)
    for model in models:
        facts = model.facts
        assert facts.known
        assert facts.name == model.name
        assert model.display_name
        assert facts.context_tokens and facts.context_tokens > 1000
        assert facts.max_output_tokens is None or 1000 < facts.max_output_tokens <= facts.context_tokens
        assert facts.input_modalities and "text" in facts.input_modalities
        if thinking := facts.thinking:
            assert bool(thinking.levels) != (thinking.max is not None), model.name
            assert (thinking.min or 0) <= (thinking.max or 0) or thinking.levels


def test_the_data_file_is_read_once() -> None:
    assert builtin_registry() is builtin_registry()

"""cliproxy.routing.thinking: a suffix's wish written into a body that otherwise passes."""

import json
from typing import Any

import pytest

from cliproxy.routing.thinking import with_reasoning
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import FORMATS, Format, ModelFacts, ReasoningIntent, ThinkingFacts

LEVELS = ModelFacts("m", thinking=ThinkingFacts(levels=("low", "medium", "high")), known=True)
BUDGETS = ModelFacts("m", max_output_tokens=64_000, thinking=ThinkingFacts(min=128, max=32_000), known=True)
NO_THINKING = ModelFacts("m", known=True)
HIGH, OFF, TOKENS = ReasoningIntent(effort="high"), ReasoningIntent(effort="none"), ReasoningIntent(budget=2048)
HELLO = [{"role": "user", "content": "hello"}]


def written(format: Format, body: dict[str, Any], intent: ReasoningIntent, facts: ModelFacts) -> dict[str, Any]:
    return json.loads(with_reasoning(json.dumps(body).encode(), format, intent, facts))


@pytest.mark.parametrize(
    ("format", "intent", "facts", "before", "after"),
    [
        ("openai-chat", HIGH, LEVELS, {}, {"reasoning_effort": "high"}),
        ("openai-chat", HIGH, LEVELS, {"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
        ("openai-chat", TOKENS, LEVELS, {}, {"reasoning_effort": "medium"}),
        ("openai-chat", HIGH, NO_THINKING, {"reasoning_effort": "low"}, {}),
        ("openai-responses", HIGH, LEVELS, {}, {"reasoning": {"effort": "high"}}),
        (
            "openai-responses", HIGH, LEVELS,
            {"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning": {"effort": "high", "summary": "auto"}},
        ),
        (
            "anthropic", TOKENS, BUDGETS,
            {"max_tokens": 9000}, {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        (
            "anthropic", OFF, BUDGETS,
            {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"max_tokens": 9000, "thinking": {"type": "disabled"}},
        ),
        (
            "gemini", TOKENS, BUDGETS,
            {"generationConfig": {"temperature": 1}},
            {"generationConfig": {"temperature": 1, "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}}},
        ),
        (
            "gemini", TOKENS, BUDGETS,
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1}, "topK": 3}},
            {"generationConfig": {"topK": 3, "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}}},
        ),
        (
            "gemini", TOKENS, BUDGETS,
            {"generationConfig": {"thinking_config": {"thinking_budget": 1}}},
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}}},
        ),
        (
            "gemini", TOKENS, BUDGETS,
            {"generation_config": {"thinking_config": {"thinking_budget": 1}, "top_k": 3}},
            {"generation_config": {"top_k": 3, "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}}},
        ),
    ],
)  # fmt: skip
def test_the_wish_stands_in_the_formats_own_words(
    format: Format, intent: ReasoningIntent, facts: ModelFacts, before: dict[str, Any], after: dict[str, Any]
) -> None:
    kept = {"model": "m", "messages": HELLO, "own": {"x": [1, None]}, "temperature": 0.5}
    assert written(format, {**kept, **before}, intent, facts) == {**kept, **after}


@pytest.mark.parametrize(("limit", "budget"), [(None, 2048), (3000, 2048), (1500, 1125), (100, None)])
def test_room_for_the_answer_is_kept_beside_the_thinking(limit: int | None, budget: int | None) -> None:
    body = written("anthropic", {"max_tokens": limit} if limit else {}, TOKENS, BUDGETS)
    assert body.get("thinking", {}).get("budget_tokens") == budget
    assert body["max_tokens"] == (limit or 64_000)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("odd", [None, 5, "x", [1], {}])
def test_odd_values_do_no_harm(format: Format, odd: Any) -> None:
    names = ("reasoning", "output_config", "generationConfig", "max_tokens", "thinking", "reasoning_effort")
    body = written(format, {"own": odd, **dict.fromkeys(names, odd)}, HIGH, LEVELS)
    assert body["own"] == odd


def test_a_level_that_the_model_does_not_take_is_told() -> None:
    with pytest.raises(ClientFault):
        written(
            "openai-chat",
            {},
            ReasoningIntent(effort="max"),
            ModelFacts("m", thinking=ThinkingFacts(levels=("low",)), known=True),
        )

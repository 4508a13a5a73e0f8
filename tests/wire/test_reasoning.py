"""cliproxy.wire.reasoning: budgets, levels and switches (class 3), as the tables of cliproxyapi.md §6.6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import ModelFacts, ReasoningIntent, ThinkingFacts
from cliproxy.wire.reasoning import EFFORTS, Setting, budget_of, effort_of, fit, parse_suffix

UNKNOWN = ModelFacts("m")
PLAIN = ModelFacts("m", known=True)


def model(**thinking):
    return ModelFacts("m", thinking=ThinkingFacts(**thinking), known=True)


BUDGET = model(min=1024, max=128000)  # claude-opus-4-5
GEMINI_PRO = model(min=128, max=32768, zero_allowed=False)
NO_DYNAMIC = model(min=1000, max=3000, dynamic_allowed=False)
LEVELS = model(levels=("low", "medium", "high", "xhigh"), zero_allowed=False, dynamic_allowed=False)  # gpt-5.x
TWO_LEVELS = model(levels=("low", "high"), zero_allowed=False)  # gemini-3-pro
ADAPTIVE = model(levels=("low", "medium", "high", "max"))  # claude-opus-5
UNLIMITED = model()  # it reasons, but nobody has said how
NEVER_OFF = model(zero_allowed=False)
HYBRID = model(min=1024, max=128000, levels=("low", "medium", "high", "max"))  # claude-opus-4-6


@pytest.mark.parametrize(
    ("effort", "budget"),
    [
        ("none", 0),
        ("minimal", 512),
        ("low", 1024),
        ("medium", 8192),
        ("high", 24576),
        ("xhigh", 32768),
        ("max", 128000),
    ],
)
def test_budget_of_a_level(effort, budget):
    assert budget_of(effort) == budget


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        (0, "none"),
        (1, "minimal"),
        (512, "minimal"),
        (513, "low"),
        (1024, "low"),
        (1025, "medium"),
        (8192, "medium"),
        (8193, "high"),
        (24576, "high"),
        (24577, "xhigh"),
        (1_000_000, "xhigh"),
    ],
)
def test_level_of_a_budget(budget, effort):
    assert effort_of(budget) == effort


def wish(**intent):
    return ReasoningIntent(**intent)


@pytest.mark.parametrize(
    ("intent", "facts", "setting"),
    [
        # nothing said, or nothing to say it to
        (None, UNKNOWN, None),
        (None, BUDGET, None),
        (wish(effort="high"), PLAIN, None),
        (wish(effort="none"), PLAIN, None),
        # an unknown model: both words, by the table
        (wish(effort="high"), UNKNOWN, Setting(True, "high", 24576)),
        (wish(budget=4096), UNKNOWN, Setting(True, "medium", 4096)),
        (wish(budget=-1), UNKNOWN, Setting(True, "medium", -1, adaptive=True)),
        (wish(adaptive=True), UNKNOWN, Setting(True, "high", -1, adaptive=True)),
        (wish(adaptive=True, effort="low"), UNKNOWN, Setting(True, "low", 1024, adaptive=True)),
        (wish(effort="none"), UNKNOWN, Setting(False, "none", 0, visible=False)),
        (wish(budget=0), UNKNOWN, Setting(False, "none", 0, visible=False)),
        (wish(effort="high"), UNLIMITED, Setting(True, "high", 24576)),
        (wish(effort="none"), UNLIMITED, Setting(False, "none", 0, visible=False)),
        (wish(effort="none"), NEVER_OFF, Setting(True, "minimal", 512, visible=False)),
        # a model with budgets
        (wish(effort="high"), BUDGET, Setting(True, None, 24576)),
        (wish(effort="minimal"), BUDGET, Setting(True, None, 1024)),
        (wish(effort="max"), GEMINI_PRO, Setting(True, None, 32768)),
        (wish(budget=4096), BUDGET, Setting(True, None, 4096)),
        (wish(budget=200000), BUDGET, Setting(True, None, 128000)),
        (wish(budget=5), GEMINI_PRO, Setting(True, None, 128)),
        (wish(budget=-1), GEMINI_PRO, Setting(True, None, -1)),
        (wish(budget=-1), NO_DYNAMIC, Setting(True, None, 2000)),
        (wish(adaptive=True), GEMINI_PRO, Setting(True, None, -1)),
        (wish(adaptive=True), NO_DYNAMIC, Setting(True, None, 3000)),
        (wish(adaptive=True, effort="low"), BUDGET, Setting(True, None, 1024)),
        (wish(effort="none"), BUDGET, Setting(False, "none", 0, visible=False)),
        (wish(effort="none"), GEMINI_PRO, Setting(True, None, 128, visible=False)),
        # a model with levels
        (wish(effort="high"), LEVELS, Setting(True, "high", adaptive=True)),
        (wish(effort="minimal"), LEVELS, Setting(True, "low", adaptive=True)),
        (wish(effort="max"), LEVELS, Setting(True, "xhigh", adaptive=True)),
        (wish(effort="medium"), TWO_LEVELS, Setting(True, "low", adaptive=True)),
        (wish(effort="xhigh"), ADAPTIVE, Setting(True, "high", adaptive=True)),
        (wish(budget=4096), LEVELS, Setting(True, "medium", adaptive=True)),
        (wish(budget=-1), LEVELS, Setting(True, "medium", adaptive=True)),
        (wish(budget=-1), TWO_LEVELS, Setting(True, None, adaptive=True)),
        (wish(adaptive=True), LEVELS, Setting(True, "high", adaptive=True)),
        (wish(adaptive=True), TWO_LEVELS, Setting(True, "high", adaptive=True)),
        (wish(effort="none"), LEVELS, Setting(True, "low", visible=False)),
        (wish(effort="none"), ADAPTIVE, Setting(False, "none", 0, visible=False)),
        (wish(effort="none"), model(levels=("none", "low"), zero_allowed=False), Setting(False, "none", 0, visible=False)),
        # a model with both: what the client spoke in
        (wish(effort="medium"), HYBRID, Setting(True, "medium", 8192, adaptive=True)),
        (wish(budget=4096), HYBRID, Setting(True, "medium", 4096)),
        (wish(adaptive=True), HYBRID, Setting(True, "high", 24576, adaptive=True)),
        # visibility is an axis of its own
        (wish(visible=True), UNKNOWN, Setting(True, visible=True, summary="auto")),
        (wish(summary="detailed"), BUDGET, Setting(True, visible=True, summary="detailed")),
        (wish(visible=False), UNKNOWN, Setting(True, visible=False)),
        (wish(effort="low", visible=True), UNKNOWN, Setting(True, "low", 1024, visible=True, summary="auto")),
        (wish(effort="low", visible=False, summary="auto"), UNKNOWN, Setting(True, "low", 1024, visible=False, summary="auto")),
    ],
)  # fmt: skip
def test_across_formats_a_wish_is_clamped_to_the_model(intent, facts, setting):
    assert fit(intent, facts, cross=True) == setting


@pytest.mark.parametrize(
    ("intent", "facts", "setting"),
    [
        (wish(effort="high"), LEVELS, Setting(True, "high", adaptive=True)),
        (wish(budget=4096), BUDGET, Setting(True, None, 4096)),
        (wish(budget=4096), ADAPTIVE, Setting(True, "medium", adaptive=True)),
        (wish(adaptive=True), ADAPTIVE, Setting(True, None, adaptive=True)),
        (wish(adaptive=True, effort="max"), ADAPTIVE, Setting(True, "max", adaptive=True)),
        (wish(adaptive=True), BUDGET, Setting(True, None, -1)),
        (wish(effort="max"), UNKNOWN, Setting(True, "max", 128000)),
    ],
)
def test_within_a_format_what_the_model_takes_stays(intent, facts, setting):
    assert fit(intent, facts, cross=False) == setting


@pytest.mark.parametrize(
    ("intent", "facts", "message"),
    [
        (
            wish(effort="xhigh"),
            ADAPTIVE,
            "m does not take the reasoning effort 'xhigh'; it takes low, medium, high, max",
        ),
        (wish(budget=5), BUDGET, "m takes a reasoning budget of 1024 to 128000 tokens, not 5"),
        (wish(budget=40000), GEMINI_PRO, "m takes a reasoning budget of 128 to 32768 tokens, not 40000"),
    ],
)
def test_within_a_format_what_the_model_does_not_take_is_refused(intent, facts, message):
    with pytest.raises(ClientFault) as caught:
        fit(intent, facts, cross=False)
    assert (caught.value.status, caught.value.message) == (400, message)


_intents = st.builds(
    ReasoningIntent,
    st.none() | st.sampled_from(EFFORTS),
    st.none() | st.integers(-1, 200_000),
    st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["auto", "concise", "detailed"]),
)
_facts = st.builds(
    lambda low, width, zero, dynamic, levels, budget: model(
        min=low if budget else None,
        max=low + width if budget else None,
        zero_allowed=zero,
        dynamic_allowed=dynamic,
        levels=tuple(levels),
    ),
    st.integers(1, 4096),
    st.integers(0, 100_000),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(EFFORTS[1:]), unique=True),
    st.booleans(),
)


@given(_intents, _facts)
def test_a_setting_is_always_within_the_model(intent, facts):
    setting, limits = fit(intent, facts, cross=True), facts.thinking
    assert setting is not None
    if not setting.on:
        assert limits.zero_allowed
        return
    if not limits.levels and limits.max is None:
        return
    assert setting.effort is None or setting.effort in limits.levels
    assert setting.budget is None or setting.budget == -1 or limits.min <= setting.budget <= limits.max
    assert setting.budget != -1 or limits.dynamic_allowed
    assert not setting.adaptive or limits.levels


@pytest.mark.parametrize(
    ("name", "model", "intent"),
    [
        ("gpt-5(high)", "gpt-5", wish(effort="high")),
        ("gpt-5(XHIGH)", "gpt-5", wish(effort="xhigh")),
        ("gpt-5 (low)", "gpt-5", wish(effort="low")),
        ("claude-opus-4-5(8192)", "claude-opus-4-5", wish(budget=8192)),
        ("m(0)", "m", wish(budget=0)),
        ("m(none)", "m", wish(effort="none")),
        ("m(auto)", "m", wish(budget=-1)),
        ("m(-1)", "m", wish(budget=-1)),
        ("m(max)", "m", wish(effort="max")),
        ("m(what)", "m", None),
        ("m(-2)", "m", None),
        ("m(1.5)", "m", None),
        ("m()", "m", None),
        ("m(٣)", "m", None),
        ("m(" + "9" * 5000 + ")", "m", None),
        ("m", "m", None),
        ("(high)", "(high)", None),
        ("m(high) ", "m(high) ", None),
        ("a(b)(high)", "a(b)", wish(effort="high")),
        ("", "", None),
        ("codex/high/gpt-5", "codex/gpt-5", wish(effort="high")),
        ("codex/xhigh/org/gpt-5", "codex/org/gpt-5", wish(effort="xhigh")),
        ("antigravity/medium/gemini-3-flash", "antigravity/gemini-3-flash", wish(effort="medium")),
        ("codex/high/gpt-5(low)", "codex/gpt-5", wish(effort="low")),
        ("codex/gpt-5", "codex/gpt-5", None),
        ("codex/huge/gpt-5", "codex/huge/gpt-5", None),
        ("openrouter/high/gpt-5", "openrouter/high/gpt-5", None),
    ],
)
def test_parse_suffix(name, model, intent):
    assert parse_suffix(name) == (model, intent)

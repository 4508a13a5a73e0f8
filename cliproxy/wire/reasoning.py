"""How much a model shall think: budgets, levels and switches, converted and clamped in this one place."""

import re
from typing import get_args

from msgspec import Struct

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Effort, ModelFacts, ReasoningIntent, ThinkingFacts

EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""From least to most."""

_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 128000,
}
_CEILINGS: tuple[tuple[int, Effort], ...] = (
    (0, "none"),
    (512, "minimal"),
    (1024, "low"),
    (8192, "medium"),
    (24576, "high"),
)
_UNSAID_EFFORT: Effort = "medium"
"""Stands for "as the model decides" where the target has no word for it."""
_ADAPTIVE_EFFORT: Effort = "high"
"""What Anthropic's adaptive thinking takes for an effort that was not given."""

_SUFFIX = re.compile(r"(?P<model>.+)\((?P<value>[^()]*)\)")
_PATH = re.compile(r"(?P<provider>codex|antigravity)/(?P<level>[a-z]+)/(?P<model>.+)")


class Setting(Struct, frozen=True):
    """What to ask of one model. The codec writes what its format has a word for.

    on: False switches reasoning off. With `on` and neither effort nor budget nor adaptive, only `visible` and
    `summary` were asked for: nothing else is to be written.
    effort: one of the model's levels; given for models with levels and for unknown ones.
    budget: tokens within the model's limits, -1 for as many as the model likes; given for models with budgets
    and for unknown ones. A budget may still exceed the request's own max_tokens.
    adaptive: the model decides when to think: Anthropic's `adaptive`, with `effort` if given, and no budget.
    visible: summaries or thoughts wanted in the answer; None where the client did not say.
    summary: OpenAI's kind of summary, `auto` where only `visible` was said.
    """

    on: bool
    effort: Effort | None = None
    budget: int | None = None
    adaptive: bool = False
    visible: bool | None = None
    summary: str | None = None


def budget_of(effort: Effort) -> int:
    """The tokens that a level stands for."""
    return _BUDGETS[effort]


def effort_of(budget: int) -> Effort:
    """The level that a budget of 0 or more tokens stands for."""
    for ceiling, effort in _CEILINGS:
        if budget <= ceiling:
            return effort
    return "xhigh"


def fit(intent: ReasoningIntent | None, facts: ModelFacts, *, cross: bool) -> Setting | None:
    """Convert a client's wish to what the model takes; None when nothing was asked or it cannot reason.

    cross: client and upstream speak different formats, so that the wish is clamped to limits that the client
    could not know. Otherwise a level or budget that the model does not take raises ClientFault, saying which
    it takes.
    """
    if intent is None or (facts.known and facts.thinking is None):
        return None
    limits = facts.thinking or ThinkingFacts()
    unknown = not limits.levels and not _takes_budget(limits)
    if intent.effort == "none" or intent.budget == 0:
        return _off(limits, unknown)
    visible = intent.visible if intent.visible is not None else (True if intent.summary else None)
    summary = intent.summary or ("auto" if visible else None)
    if intent.effort is None and intent.budget is None and not intent.adaptive:
        return Setting(on=True, visible=visible, summary=summary)
    if unknown:
        effort, budget, adaptive = _plain(intent)
    else:
        effort, budget, adaptive = _clamped(intent, facts.name, limits, cross)
    return Setting(on=True, effort=effort, budget=budget, adaptive=adaptive, visible=visible, summary=summary)


def _takes_budget(limits: ThinkingFacts) -> bool:
    return limits.min is not None or limits.max is not None


def _off(limits: ThinkingFacts, unknown: bool) -> Setting:
    if limits.zero_allowed or "none" in limits.levels:
        return Setting(on=False, effort="none", budget=0, visible=False)
    if unknown:
        return Setting(on=True, effort="minimal", budget=_BUDGETS["minimal"], visible=False)
    lowest = min(limits.levels, key=EFFORTS.index, default=None)
    budget = (limits.min or 0) if _takes_budget(limits) else None
    return Setting(on=True, effort=lowest, budget=budget, visible=False)


def _plain(intent: ReasoningIntent) -> tuple[Effort | None, int | None, bool]:
    """Effort, budget and adaptive for a model of which nothing is known: both words by the table."""
    if intent.effort is not None:
        budget = intent.budget if intent.budget is not None else _BUDGETS[intent.effort]
        return intent.effort, budget, intent.adaptive
    if intent.adaptive:
        return _ADAPTIVE_EFFORT, -1, True
    budget = intent.budget if intent.budget is not None else -1
    return (_UNSAID_EFFORT, -1, True) if budget < 0 else (effort_of(budget), budget, False)


def _clamped(
    intent: ReasoningIntent, model: str, limits: ThinkingFacts, cross: bool
) -> tuple[Effort | None, int | None, bool]:
    dynamic = intent.effort is None and (intent.adaptive or (intent.budget or 0) < 0)
    effort: Effort | None = None
    if limits.levels:
        effort = _level(intent, model, limits, cross, dynamic)
    budget: int | None = None
    if _takes_budget(limits):
        budget = _budget(intent, model, limits, cross, dynamic)
    wants_budget = intent.budget is not None and intent.budget > 0 and _takes_budget(limits)
    adaptive = bool(limits.levels) and (intent.adaptive or not wants_budget)
    return effort, budget, adaptive


def _level(intent: ReasoningIntent, model: str, limits: ThinkingFacts, cross: bool, dynamic: bool) -> Effort | None:
    if dynamic:
        if limits.dynamic_allowed and not (intent.adaptive and cross):
            return None
        return _nearest(_ADAPTIVE_EFFORT if intent.adaptive else _UNSAID_EFFORT, limits.levels)
    if intent.effort is None:
        return _nearest(effort_of(intent.budget or 0), limits.levels)
    if intent.effort not in limits.levels and not cross:
        raise ClientFault(
            f"{model} does not take the reasoning effort {intent.effort!r}; it takes {', '.join(limits.levels)}",
            code="unsupported_reasoning_effort",
        )
    return _nearest(intent.effort, limits.levels)


def _nearest(effort: Effort, levels: tuple[Effort, ...]) -> Effort:
    """The level closest to `effort`, the lower one of two that are equally close. Never `none`."""
    rank = EFFORTS.index(effort)
    choices: list[Effort] = [level for level in levels if level != "none"] or list(levels)
    return min(choices, key=lambda level: (abs(EFFORTS.index(level) - rank), EFFORTS.index(level)))


def _budget(intent: ReasoningIntent, model: str, limits: ThinkingFacts, cross: bool, dynamic: bool) -> int:
    low = limits.min or 0
    high = limits.max if limits.max is not None else max(low, _BUDGETS["max"])
    if dynamic:
        if limits.dynamic_allowed and not (intent.adaptive and limits.levels):
            return -1
        return _within(_BUDGETS[_ADAPTIVE_EFFORT], low, high) if intent.adaptive else (low + high) // 2
    if intent.effort is not None and (intent.budget is None or intent.budget < 0):
        return _within(_BUDGETS[intent.effort], low, high)
    budget = intent.budget or 0
    if not cross and not low <= budget <= high:
        raise ClientFault(
            f"{model} takes a reasoning budget of {low} to {high} tokens, not {budget}",
            code="unsupported_reasoning_budget",
        )
    return _within(budget, low, high)


def _within(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def parse_suffix(model: str) -> tuple[str, ReasoningIntent | None]:
    """Split what a model name says of reasoning from the name.

    `model(high)`, `model(8192)`, `model(none)`, `model(auto)`, `model(-1)`; a suffix that says something else
    is taken off and ignored. `codex/high/model` and `antigravity/high/model` keep their first segment.
    """
    path = _PATH.fullmatch(model)
    if path is not None and path["level"] in EFFORTS:
        rest, inner = parse_suffix(path["model"])
        return f"{path['provider']}/{rest}", inner or _intent_of(path["level"])
    suffix = _SUFFIX.fullmatch(model)
    if suffix is None:
        return model, None
    return suffix["model"].rstrip(), _intent_of(suffix["value"].strip().lower())


def _intent_of(word: str) -> ReasoningIntent | None:
    if word in EFFORTS:
        return ReasoningIntent(effort=word)
    if word in ("auto", "-1"):
        return ReasoningIntent(budget=-1)
    if re.fullmatch("[0-9]{1,9}", word):
        return ReasoningIntent(budget=int(word))
    return None

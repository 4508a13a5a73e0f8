"""What a failed attempt means: whose fault it was, whether another credential may do better, and what follows for this one.

One table in one place. `judge` goes through it from the most to the least specific; the first row that fits counts.

| fault | whose | sidelined | another one? |
|---|---|---|---|
| a rule of `request-scoped-errors` | as it says | as it says, 60 s at least | as it says |
| no connection | transient | backoff | yes |
| too slow, cut off, garbled, empty | transient | transient cooldown | yes |
| 400, 401 `invalid_grant` | credential | 30 min, all models | yes |
| 400, 404, 422 "model not supported" | model | 12 h | yes |
| Cloudflare's challenge page | transient | backoff, 10 s at least | yes |
| 401 | credential | 30 min, all models | after a refresh, else yes |
| 402, 403 | credential | 30 min | yes |
| 404 | model | 12 h; none for token counts and lost items | yes; no for lost items |
| 429, or a quota's words in another status | quota | the upstream's hint, else backoff; all models when the quota is the account's | yes |
| context too long | context | none | no |
| 400, 409, 413, 415, 422, or a request's words | request | none | no |
| 408, 5xx and anything else | transient | transient cooldown | yes |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cliproxy.config.schema import ErrorRule
from cliproxy.credentials.hints import is_account_wide, reset_after_s
from cliproxy.wire.errors import ClientFault, GatewayError, UpstreamRefused, UpstreamUnreachable

Fault = Literal["request", "context", "model", "credential", "quota", "transient"]

HALF_HOUR_S = 1800.0
TWELVE_HOURS_S = 43200.0
TRANSIENT_S = 60.0
RULE_S = 60.0
CHALLENGE_S = 10.0

REQUEST_CODES = frozenset(
    {
        "cyber_policy", "context_length_exceeded", "message_too_big", "string_above_max_length", "invalid_prompt",
        "invalid_value", "unsupported_value", "invalid_request_error", "previous_response_not_found",
    }
)  # fmt: skip
REQUEST_KINDS = frozenset({"invalid_request", "invalid_request_error", "bad_request_error", "invalid_prompt"})
_QUOTA_WORDS = (
    "usage_limit_reached",
    "insufficient_quota",
    "quota_exceeded",
    "model is at capacity",
    "free-usage-exhausted",
)
_MODEL_WORDS = ("model_not_supported", "model not supported", "is not supported for this model", "unsupported model",
                "model is not supported", "does not support this model", "model_not_found", "not available for your")  # fmt: skip
_CONTEXT_WORDS = ("context_length_exceeded", "context_too_large", "maximum context length", "prompt is too long",
                  "input token count exceeds", "context window")  # fmt: skip
_LOST_ITEM_WORDS = ("not persisted", "item with id")
_CHALLENGE_WORDS = ("just a moment", "cf-chl", "cloudflare", "attention required")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The judgement on a failed attempt."""

    fault: Fault
    tries_next: bool
    """Another credential may serve the request."""
    sidelines: bool
    seconds: float | None = None
    """How long to sideline; None: backoff."""
    at_least_s: float = 0.0
    """The shortest backoff."""
    all_models: bool = False
    """Sideline the whole credential, not only this model."""
    refreshes: bool = False
    """A fresh token may mend it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the config says about judging a credential's failures."""

    rules: tuple[ErrorRule, ...] = ()
    transient_s: float | None = TRANSIENT_S
    """Cooldown after a transient failure; None: none."""
    cools: bool = True
    """False: `disable-cooling`; only rules sideline."""


def judge(error: GatewayError, terms: Terms, now_s: float, *, counting: bool = False) -> Outcome:
    """Judge a failed attempt. counting: it only counted tokens."""
    outcome = _by_rule(error, terms.rules) or _by_table(error, terms, now_s, counting)
    if not terms.cools and outcome.sidelines and not _by_rule(error, terms.rules):
        return Outcome(outcome.fault, outcome.tries_next, sidelines=False, refreshes=outcome.refreshes)
    return outcome


def _by_rule(error: GatewayError, rules: Iterable[ErrorRule]) -> Outcome | None:
    if not isinstance(error, UpstreamRefused):
        return None
    body = error.body.decode("utf-8", "replace") or error.message
    for rule in rules:
        if rule.status != error.status:
            continue
        told = any(text in body for text in rule.match) or any(e.search(body) for e in rule.match_regexr)
        if told or not (rule.match or rule.match_regexr):
            cools = rule.action.endswith("-and-cooldown")
            goes_on = rule.action.startswith("continue")
            return Outcome("transient" if goes_on else "request", goes_on, cools, RULE_S if cools else None)
    return None


def _by_table(error: GatewayError, terms: Terms, now_s: float, counting: bool) -> Outcome:
    transient = Outcome("transient", True, terms.transient_s is not None, terms.transient_s)
    if isinstance(error, ClientFault):
        return Outcome("request", False, False)
    if isinstance(error, UpstreamUnreachable):
        return Outcome("transient", True, True)
    if not isinstance(error, UpstreamRefused):
        return transient
    return _by_words(error, now_s) or _by_status(error, now_s, counting) or transient


def _by_words(error: UpstreamRefused, now_s: float) -> Outcome | None:
    """Rows that go by what the upstream said."""
    status, words = error.status, _words(error)
    if status in (400, 401) and "invalid_grant" in words:
        return Outcome("credential", True, True, HALF_HOUR_S, all_models=True)
    if status in (400, 403, 404, 422) and any(word in words for word in _MODEL_WORDS):
        return Outcome("model", True, True, TWELVE_HOURS_S)
    if status in (403, 429, 503) and "<html" in words and any(word in words for word in _CHALLENGE_WORDS):
        return Outcome("transient", True, True, at_least_s=CHALLENGE_S)
    if status == 429 or (status != 401 and any(word in words for word in _QUOTA_WORDS)):
        return _quota(error, now_s)
    if any(word in words for word in _CONTEXT_WORDS):
        return Outcome("context", False, False)
    return None


def _by_status(error: UpstreamRefused, now_s: float, counting: bool) -> Outcome | None:
    status = error.status
    if (
        status == 401
        and error.code != "bad-credentials"
        and error.kind in REQUEST_KINDS - {"invalid_request_error"}
    ):
        return Outcome("request", False, False)
    match status:
        case 401:
            return Outcome("credential", True, True, HALF_HOUR_S, all_models=True, refreshes=True)
        case 402 | 403:
            return Outcome("credential", True, True, HALF_HOUR_S)
        case 404:
            if any(word in _words(error) for word in _LOST_ITEM_WORDS):
                return Outcome("request", False, False)
            return Outcome("model", True, not counting, TWELVE_HOURS_S)
        case 400 | 409 | 413 | 415 | 422:
            return Outcome("request", False, False)
        case _:
            if error.code in REQUEST_CODES or error.kind in REQUEST_KINDS:
                return Outcome("request", False, False)
            return None


def _quota(error: UpstreamRefused, now_s: float) -> Outcome:
    hints = [error.retry_after_s, reset_after_s(error.headers, error.body, now_s)]
    seconds = max((hint for hint in hints if hint is not None), default=None)
    return Outcome("quota", True, True, seconds, all_models=is_account_wide(error.headers, error.body))


def _words(error: UpstreamRefused) -> str:
    body = error.body[:20_000].decode("utf-8", "replace")
    return " ".join(filter(None, (error.code, error.kind, error.message, body))).lower()

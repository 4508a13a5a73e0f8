"""What a failed attempt means: whose fault it was, whether another credential may do better, and what follows.

One table in one place. `judge` goes through it from the top; the first row that fits counts.

| failure | whose fault | sidelined | another one? |
|---|---|---|---|
| a rule of `request-scoped-errors` | as it says | as it says, 60 s at least | as it says |
| no connection | transient | backoff | yes |
| cut off before its end | transient | none | yes |
| too slow, garbled, empty | transient | transient cooldown | yes |
| GLM's numbers of accounts, models and too long prompts | as in the rows of these | | |
| Cloudflare's challenge page | transient | backoff, 10 s at least | yes |
| 400, 401 `invalid_grant` | credential | 30 min, all models | yes |
| 400, 403 that speak of the key, its account or its place | credential | 30 min, all models | yes |
| 400, 403 of an account that only its vendor's own tool may use | credential | none | yes |
| 402 | credential | 30 min | yes |
| 429 of Claude's fast mode, an extra of the request | request | none | no |
| 429, or a quota's words in another status | quota | hint, else backoff; all models where the account's | yes |
| context too long | context | none | no |
| 400, 403, 404, 422 "model not supported" | model | 12 h | yes |
| a request fault's code | request | none | no |
| 401 | credential | 30 min, all models | yes |
| 403 | credential | 30 min | yes |
| 404 of an item that was not kept | request | none | no |
| 404 | model | 12 h | yes |
| 400, 409, 413, 415, 422, or a request fault's type | request | none | no |
| 408, 5xx and anything else | transient | transient cooldown | yes |

With `disable-cooling` only rules sideline. A failed token count says little about generating: only the credential's
own faults and its quota count.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Literal

from cliproxy.config.schema import ErrorRule
from cliproxy.credentials.hints import is_account_wide, reset_after_s
from cliproxy.wire.errors import ClientFault, GatewayError, UpstreamCut, UpstreamRefused, UpstreamUnreachable

Fault = Literal["request", "context", "model", "credential", "quota", "transient"]

HALF_HOUR_S = 1800.0
TWELVE_HOURS_S = 43200.0
DAY_S = 86400.0
TRANSIENT_S = 60.0
RULE_S = 60.0
CHALLENGE_S = 10.0

REQUEST_STATUSES = frozenset({400, 409, 413, 415, 422})
_SPOKEN_FOR = REQUEST_STATUSES | {401, 404}
"""With these a quota's words are quoted ones."""
REQUEST_CODES = frozenset(
    {
        "cyber_policy", "message_too_big", "string_above_max_length", "invalid_prompt", "invalid_value",
        "unsupported_value", "previous_response_not_found",
    }
)  # fmt: skip
REQUEST_KINDS = frozenset({"invalid_request", "invalid_request_error", "bad_request_error", "invalid_prompt"})
"""Some vendors give these to refused keys and unknown models too, so they count only where no status says more."""

_ACCOUNT_QUOTAS = (
    "usage_limit_reached", "insufficient_quota", "free-usage-exhausted", "free allocated quota exceeded",
    "you've reached your", "you've reached kimi", "limit will reset at", "限额将在", "monthly_request_count",
)  # fmt: skip
_QUOTAS = (*_ACCOUNT_QUOTAS, "quota_exceeded", "model is at capacity")
_KEY_WORDS = (
    "api key not valid", "api_key_invalid", "api key expired", "credit balance is too low", "bad-credentials",
    "billing_hard_limit_reached", "organization has been disabled", "user location is not supported", "arrearage",
    "bearer token included in the request is invalid", "temporarily_suspended",
)  # fmt: skip
_TOOL_WORDS = ("only authorized for use with claude code", "only available for coding agents")
_MODEL_WORDS = (
    "model_not_supported", "model not supported", "model is not supported", "is not supported for this model",
    "unsupported model", "does not support this model", "model_not_found", "not available for your",
    "invalid_model_id",
)  # fmt: skip
_CONTEXT_CODES = frozenset({"context_length_exceeded", "context_too_large"})
_CONTEXT_WORDS = (
    "maximum context length", "prompt is too long", "input token count", "context window", "input is too long",
)  # fmt: skip
_LOST_ITEM_WORDS = ("not persisted", "item with id")
_CHALLENGE_WORDS = (b"just a moment", b"cf-chl", b"cloudflare", b"attention required")


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


@dataclass(frozen=True, slots=True)
class Terms:
    """What the config says about judging a credential's failures."""

    rules: tuple[ErrorRule, ...] = ()
    transient_s: float | None = TRANSIENT_S
    """Cooldown after a transient failure; None: none."""
    cools: bool = True
    """False: `disable-cooling`; only rules sideline."""
    account_quotas: bool = True
    """False: a used-up quota is the model's, even where it is said to be the account's."""


_REQUEST = Outcome("request", tries_next=False, sidelines=False)
_CONTEXT = Outcome("context", tries_next=False, sidelines=False)
_MODEL = Outcome("model", tries_next=True, sidelines=True, seconds=TWELVE_HOURS_S)
_CREDENTIAL = Outcome("credential", tries_next=True, sidelines=True, seconds=HALF_HOUR_S)
_ACCOUNT = replace(_CREDENTIAL, all_models=True)
_TOOLS_OWN = Outcome("credential", tries_next=True, sidelines=False)
_BACKOFF = Outcome("transient", tries_next=True, sidelines=True)
_CHALLENGE = replace(_BACKOFF, at_least_s=CHALLENGE_S)
_CUT = replace(_BACKOFF, sidelines=False)

_GLM_NUMBERS: Mapping[str, Outcome] = {
    # Inactive, unknown, locked, in arrears, misused; plan expired, plan misused.
    **dict.fromkeys(("1110", "1111", "1112", "1113", "1121", "1309", "1313"), _ACCOUNT),
    # No such model, not in this plan.
    **dict.fromkeys(("1211", "1311"), _MODEL),
    "1261": _CONTEXT,
}
"""The codes of its errors; the status is 429 with most of them."""
_GLM_RATES = frozenset({"1302", "1303", "1304", "1305", "1308", "1310", "1312"})


def judge(error: GatewayError, terms: Terms, now_s: float, *, counting: bool = False) -> Outcome:
    """Judge a failed attempt. counting: it only counted tokens."""
    outcome = _by_table(error, terms, now_s)
    if rule := _rule_for(error, terms.rules):
        return _as_ruled(rule, outcome)
    if outcome.sidelines and (
        not terms.cools
        or (outcome.fault == "transient" and terms.transient_s is None)
        or (counting and outcome.fault in ("model", "transient"))
    ):
        return replace(outcome, sidelines=False)
    return outcome


def _rule_for(error: GatewayError, rules: Iterable[ErrorRule]) -> ErrorRule | None:
    if not rules or not isinstance(error, UpstreamRefused):
        return None
    body = error.body.decode("utf-8", "replace") or error.message
    for rule in rules:
        if rule.status == error.status and (
            not (rule.match or rule.match_regexr)
            or any(text in body for text in rule.match)
            or any(expression.search(body) for expression in rule.match_regexr)
        ):
            return rule
    return None


def _as_ruled(rule: ErrorRule, outcome: Outcome) -> Outcome:
    goes_on = rule.action.startswith("continue")
    if not rule.action.endswith("-and-cooldown"):
        return Outcome("transient" if goes_on else "request", goes_on, sidelines=False)
    if not outcome.sidelines or outcome.fault == "transient":
        return Outcome("credential", goes_on, sidelines=True, seconds=max(outcome.seconds or 0.0, RULE_S))
    seconds = None if outcome.seconds is None else max(outcome.seconds, RULE_S)
    return replace(outcome, tries_next=goes_on, seconds=seconds, at_least_s=RULE_S)


def _by_table(error: GatewayError, terms: Terms, now_s: float) -> Outcome:
    if isinstance(error, ClientFault):
        return _REQUEST
    if isinstance(error, UpstreamUnreachable):
        return _BACKOFF
    if isinstance(error, UpstreamCut):
        return _CUT
    if isinstance(error, UpstreamRefused):
        words = " ".join(filter(None, (error.code, error.kind, error.message))).lower()
        number = _GLM_NUMBERS.get(error.code or "") or _GLM_NUMBERS.get(error.kind or "")
        found = number or _by_words(error, words, terms, now_s) or _by_status(error, words)
        if found:
            return found
    return Outcome("transient", tries_next=True, sidelines=True, seconds=terms.transient_s)


def _by_words(error: UpstreamRefused, words: str, terms: Terms, now_s: float) -> Outcome | None:
    """The rows down to a request fault's code: they go by what the upstream said beside the status."""
    status, codes = error.status, {error.code, error.kind}
    if status in (403, 429, 503) and _is_challenge(error.body):
        return _CHALLENGE
    if status in (400, 401) and "invalid_grant" in words:
        return _ACCOUNT
    if status in (400, 403) and any(text in words for text in _KEY_WORDS):
        return _ACCOUNT
    if status in (400, 403) and any(text in words for text in _TOOL_WORDS):
        return _TOOLS_OWN
    if status == 402:
        return _CREDENTIAL
    if status == 429 and "fast mode" in words:
        return _REQUEST
    if _is_quota(status, codes, words):
        return _quota(error, words, terms, now_s)
    if not codes.isdisjoint(_CONTEXT_CODES):
        return _CONTEXT
    if status in REQUEST_STATUSES and any(text in words for text in _CONTEXT_WORDS):
        return _CONTEXT
    if status in (400, 403, 404, 422) and any(text in words for text in _MODEL_WORDS):
        return _MODEL
    return None if codes.isdisjoint(REQUEST_CODES) else _REQUEST


def _by_status(error: UpstreamRefused, words: str) -> Outcome | None:
    match error.status:
        case 401:
            return _ACCOUNT
        case 403:
            return _CREDENTIAL
        case 404:
            return _REQUEST if any(text in words for text in _LOST_ITEM_WORDS) else _MODEL
        case status:
            is_request = status in REQUEST_STATUSES or not REQUEST_KINDS.isdisjoint({error.code, error.kind})
            return _REQUEST if is_request else None


def _is_quota(status: int, codes: Set[str | None], words: str) -> bool:
    if status == 429 or not codes.isdisjoint(_GLM_RATES):
        return True
    return status not in _SPOKEN_FOR and any(text in words for text in _QUOTAS)


def _quota(error: UpstreamRefused, words: str, terms: Terms, now_s: float) -> Outcome:
    seconds = reset_after_s(error.headers, error.body, now_s, error.retry_after_s)
    if seconds is None and "free-usage-exhausted" in words:
        seconds = DAY_S
    of_account = is_account_wide(error.headers) or any(text in words for text in _ACCOUNT_QUOTAS)
    return Outcome("quota", True, True, seconds, all_models=of_account and terms.account_quotas)


def _is_challenge(body: bytes) -> bool:
    page = body[:20_000].lower()
    return b"<html" in page and any(words in page for words in _CHALLENGE_WORDS)

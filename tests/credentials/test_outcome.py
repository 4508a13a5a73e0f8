"""The judgement on failures: every row of CLIProxyAPI's outcome table (survey §5.2), and what is never held against anyone."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.config.schema import ErrorRule
from cliproxy.credentials.outcome import (
    DAY_S,
    HALF_HOUR_S,
    REQUEST_CODES,
    REQUEST_KINDS,
    REQUEST_STATUSES,
    TWELVE_HOURS_S,
    Outcome,
    Terms,
    judge,
)
from cliproxy.exchange import Answer, EmptyAnswer, Headers
from cliproxy.wire.errors import (
    ClientFault,
    GatewayError,
    UnsupportedContent,
    UpstreamCut,
    UpstreamFault,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)

NOW_S = 1_763_000_000.0
CHALLENGE = b"<!DOCTYPE html><html><title>Just a moment...</title>Cloudflare</html>"
FIVE_HOURS = {
    "anthropic-ratelimit-unified-5h-status": "rejected",
    "anthropic-ratelimit-unified-5h-reset": str(int(NOW_S) + 3600),
}


def refused(status: int, message: str = "no", **fields: Any) -> UpstreamRefused:
    return UpstreamRefused(message, status=status, **fields)


def judged(error: GatewayError, *rules: ErrorRule, counting: bool = False, **terms: Any) -> Outcome:
    return judge(error, Terms(rules, **terms), NOW_S, counting=counting)


def sidelined(
    fault: Literal["model", "credential", "quota", "transient"], seconds: float | None, **fields: Any
) -> Outcome:
    return Outcome(fault, tries_next=True, sidelines=True, seconds=seconds, **fields)


REQUEST = Outcome("request", tries_next=False, sidelines=False)
UNPUNISHED = Outcome("transient", tries_next=True, sidelines=False)

ROWS: dict[str, tuple[GatewayError, Outcome]] = {
    "request-scoped fault: none": (refused(400), REQUEST),
    "EOF: none": (UpstreamCut("the upstream's answer was cut off"), UNPUNISHED),
    "400 with 'model not supported'-like text: 12 h model": (
        refused(400, "The requested model is not supported."), sidelined("model", TWELVE_HOURS_S)),
    "422 with 'model not supported'-like text: 12 h model": (
        refused(422, code="model_not_supported"), sidelined("model", TWELVE_HOURS_S)),
    "Cloudflare challenge HTML: exponential, min 10 s": (
        refused(403, "Just a moment...", body=CHALLENGE), sidelined("transient", None, at_least_s=10.0)),
    "400 containing invalid_grant: 30 min": (
        refused(400, "invalid_grant"), sidelined("credential", HALF_HOUR_S, all_models=True)),
    "401 containing invalid_grant: 30 min": (
        refused(401, code="invalid_grant"), sidelined("credential", HALF_HOUR_S, all_models=True)),
    "401: 30 min": (refused(401), sidelined("credential", HALF_HOUR_S, all_models=True)),
    "402: 30 min": (refused(402, code="insufficient_quota"), sidelined("credential", HALF_HOUR_S)),
    "403: 30 min": (refused(403), sidelined("credential", HALF_HOUR_S)),
    "404: 12 h": (refused(404), sidelined("model", TWELVE_HOURS_S)),
    "404 'item not persisted': none": (
        refused(404, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."), REQUEST),
    "429 with a retry hint: the hint": (refused(429, retry_after_s=17.0), sidelined("quota", 17.0)),
    "429 without a hint: exponential": (refused(429), sidelined("quota", None)),
    "429 credential-scoped (Claude 5h/7d): same deadline on all models": (
        refused(429, headers=FIVE_HOURS), sidelined("quota", 3600.0, all_models=True)),
    "408: 60 s": (refused(408), sidelined("transient", 60.0)),
    "500: 60 s": (refused(500), sidelined("transient", 60.0)),
    "502: 60 s": (refused(502), sidelined("transient", 60.0)),
    "503: 60 s": (refused(503), sidelined("transient", 60.0)),
    "504: 60 s": (refused(504), sidelined("transient", 60.0)),
    "anything else: 60 s": (refused(529), sidelined("transient", 60.0)),
    "anything else (too slow): 60 s": (UpstreamTimeout("slow"), sidelined("transient", 60.0)),
    "anything else (garbled): 60 s": (UpstreamGarbled("what?"), sidelined("transient", 60.0)),
    "anything else (call failed): 60 s": (UpstreamFault("failed"), sidelined("transient", 60.0)),
    "anything else (empty): 60 s": (
        EmptyAnswer(Answer(200, Headers(), b"")), sidelined("transient", 60.0)),
}  # fmt: skip


@pytest.mark.parametrize(("error", "outcome"), ROWS.values(), ids=ROWS)
def test_row_of_the_outcome_table(error: GatewayError, outcome: Outcome) -> None:
    assert judged(error) == outcome


@pytest.mark.parametrize("status", [402, 403, 404, 429, 500])
def test_row_404_except_of_the_count_tokens_endpoint(status: int) -> None:
    outcome = judged(refused(status), counting=True)
    assert outcome.tries_next
    assert outcome.sidelines is (status in (402, 403, 429))


@pytest.mark.parametrize(("error", "outcome"), ROWS.values(), ids=ROWS)
def test_row_disable_cooling_none_of_the_above(error: GatewayError, outcome: Outcome) -> None:
    assert judged(error, cools=False).tries_next is outcome.tries_next
    assert not judged(error, cools=False).sidelines


def test_row_transient_cooldown_is_configurable_and_minus_one_means_none() -> None:
    assert judged(refused(503), transient_s=5.0) == sidelined("transient", 5.0)
    assert judged(refused(503), transient_s=None) == UNPUNISHED
    assert not judged(UpstreamUnreachable("down"), transient_s=None).sidelines
    assert judged(refused(401), transient_s=None).sidelines


BEYOND: dict[str, tuple[GatewayError, Outcome]] = {
    "no connection: backoff": (UpstreamUnreachable("down"), sidelined("transient", None)),
    "gemini's 400 for a wrong key": (
        refused(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID", kind="INVALID_ARGUMENT"),
        sidelined("credential", HALF_HOUR_S, all_models=True)),
    "claude's 400 for an empty purse": (
        refused(400, "Your credit balance is too low to access the Anthropic API.", kind="invalid_request_error"),
        sidelined("credential", HALF_HOUR_S, all_models=True)),
    "openai's 401 has the type of a request fault": (
        refused(401, code="invalid_api_key", kind="invalid_request_error"),
        sidelined("credential", HALF_HOUR_S, all_models=True)),
    "openai's 404 has it too": (
        refused(404, code="model_not_found", kind="invalid_request_error"), sidelined("model", TWELVE_HOURS_S)),
    "xai: 403 bad-credentials is a 401": (
        refused(403, code="bad-credentials"), sidelined("credential", HALF_HOUR_S, all_models=True)),
    "xai: 429 free-usage-exhausted is 24 h": (
        refused(429, code="free-usage-exhausted"), sidelined("quota", DAY_S, all_models=True)),
    "qwen: 403 insufficient_quota is a 429": (
        refused(403, code="insufficient_quota"), sidelined("quota", None, all_models=True)),
    "codex: usage_limit_reached is the account's": (
        refused(429, kind="usage_limit_reached", body=b'{"error": {"resets_in_seconds": 50}}'),
        sidelined("quota", 50.0, all_models=True)),
    "codex: model at capacity is a 429": (
        refused(503, "Selected model is at capacity. Please try a different model."), sidelined("quota", None)),
    "claude: the top model's window is the model's": (
        refused(429, headers={"anthropic-ratelimit-unified-7d_oi-status": "rejected",
                              "anthropic-ratelimit-unified-7d_oi-reset": str(int(NOW_S) + 90)}),
        sidelined("quota", 90.0)),
    "claude: an account that only Claude Code may use": (
        refused(400, "This credential is only authorized for use with Claude Code and cannot be used for other API "
                     "requests.", kind="invalid_request_error"),
        Outcome("credential", tries_next=True, sidelines=False)),
    "kimi: a tool that it does not serve": (
        refused(403, "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI.",
                kind="access_terminated_error"),
        Outcome("credential", tries_next=True, sidelines=False)),
    "kimi: a used-up subscription is a 429": (
        refused(403, "You've reached your weekly (7-day) usage limit. Your quota will reset when the window ends.",
                kind="access_terminated_error"),
        sidelined("quota", None, all_models=True)),
    "qwen: a used-up free quota is a 429": (
        refused(403, "Free allocated quota exceeded."), sidelined("quota", None, all_models=True)),
    "qwen: arrears": (
        refused(400, "Access denied, please make sure your account is in good standing.", code="Arrearage"),
        sidelined("credential", HALF_HOUR_S, all_models=True)),
    "glm: arrears": (
        refused(429, "Insufficient balance or no resource package. Please recharge.", code="1113"),
        sidelined("credential", HALF_HOUR_S, all_models=True)),
    "glm: arrears, in anthropic's format": (
        refused(429, "Insufficient balance", kind="1113"), sidelined("credential", HALF_HOUR_S, all_models=True)),
    "glm: a model that is not in the plan": (refused(429, code="1311"), sidelined("model", TWELVE_HOURS_S)),
    "glm: an unknown model": (refused(400, code="1211"), sidelined("model", TWELVE_HOURS_S)),
    "glm: too long a prompt": (
        refused(400, code="1261"), Outcome("context", tries_next=False, sidelines=False)),
    "glm: too many at once, told in a stream": (refused(502, code="1302"), sidelined("quota", None)),
    "glm: a plan that is used up until a time": (
        refused(429, "Usage limit reached for 5 hour. Your limit will reset at 2026-09-09 05:38:28", code="1308",
                retry_after_s=77.0),
        sidelined("quota", 77.0, all_models=True)),
    "claude: fast mode's credits are the request's": (refused(429, "Extra usage is required for fast mode"), REQUEST),
}  # fmt: skip


@pytest.mark.parametrize(("error", "outcome"), BEYOND.values(), ids=BEYOND)
def test_vendors_ways_to_say_it(error: GatewayError, outcome: Outcome) -> None:
    assert judged(error) == outcome


def test_a_quota_of_the_account_can_be_taken_as_the_models() -> None:
    error = refused(429, kind="usage_limit_reached")
    assert judged(error, account_quotas=False) == sidelined("quota", None)


# ---------------------------------------------------------------- request faults (survey §5.4)


@pytest.mark.parametrize("status", sorted(REQUEST_STATUSES))
def test_a_status_of_the_requests_making(status: int) -> None:
    assert judged(refused(status)) == REQUEST


@pytest.mark.parametrize("code", sorted(REQUEST_CODES))
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_code_of_the_requests_making_whatever_the_status(status: int, code: str) -> None:
    assert judged(refused(status, code=code)) == REQUEST


@pytest.mark.parametrize("kind", sorted(REQUEST_KINDS - REQUEST_CODES))
def test_a_type_of_the_requests_making_where_the_status_says_no_more(kind: str) -> None:
    assert judged(refused(500, kind=kind)) == REQUEST
    assert judged(refused(401, kind=kind)).fault == "credential"


@pytest.mark.parametrize("status", [402, 429])
@pytest.mark.parametrize("code", ["invalid_prompt", "invalid_request_error", "context_length_exceeded"])
def test_402_and_429_are_never_the_requests(status: int, code: str) -> None:
    assert judged(refused(status, code=code)).fault in ("credential", "quota")


@pytest.mark.parametrize("error", [ClientFault("bad"), UnsupportedContent("audio", "anthropic")])
def test_what_the_gateway_itself_refuses_is_the_requests(error: GatewayError) -> None:
    assert judged(error) == REQUEST


@pytest.mark.parametrize(
    "error",
    [
        refused(400, code="context_length_exceeded"),
        refused(502, code="context_length_exceeded"),
        refused(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        refused(400, "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."),
        refused(400, "This model's maximum context length is 8192 tokens."),
        refused(413, "Your input exceeds the context window of this model."),
    ],
    ids=lambda error: f"{error.status} {error.message[:30]}",
)
def test_a_context_too_long_is_the_requests_and_told_apart(error: GatewayError) -> None:
    assert judged(error) == Outcome("context", tries_next=False, sidelines=False)


def test_words_that_a_request_fault_quotes_mean_nothing() -> None:
    for words in ("insufficient_quota", "usage_limit_reached", "model is at capacity"):
        assert judged(refused(400, f"invalid value: '{words}'")) == REQUEST
        assert judged(refused(422, body=f'{{"input": "{words}"}}'.encode())) == REQUEST


_WORDS = st.sampled_from(
    ["", "model not supported", "insufficient_quota", "prompt is too long", "invalid_grant", "fast mode", "at capacity"]
)
_RULES = st.builds(
    ErrorRule.model_construct,
    status=st.integers(400, 599),
    match=st.just(()),
    match_regexr=st.just(()),
    action=st.sampled_from(["stop", "continue"]),
)
_ERRORS = st.one_of(
    st.builds(
        refused,
        st.integers(400, 599),
        _WORDS,
        code=st.none() | st.sampled_from(sorted(REQUEST_CODES)),
        kind=st.none() | st.sampled_from(sorted(REQUEST_KINDS)),
        retry_after_s=st.none() | st.floats(0, 1e6),
        body=st.sampled_from([b"", CHALLENGE]),
    ),
    st.sampled_from([ClientFault("x"), UpstreamUnreachable("x"), UpstreamTimeout("x"), UpstreamGarbled("x")]),
)


@given(_ERRORS, st.lists(_RULES, max_size=2), st.booleans(), st.none() | st.floats(1, 100), st.booleans())
def test_a_request_fault_never_cools_anything(
    error: GatewayError, rules: list[ErrorRule], cools: bool, transient_s: float | None, counting: bool
) -> None:
    outcome = judged(error, *rules, cools=cools, transient_s=transient_s, counting=counting)
    if outcome.fault in ("request", "context"):
        assert not outcome.sidelines
        assert not outcome.tries_next
    else:
        assert outcome.tries_next


# ---------------------------------------------------------------- rules of the user's


def rule(status: int, action: str, *match: str, regex: str = "") -> ErrorRule:
    values: Mapping[str, Any] = {"status": status, "action": action, "match": match}
    return ErrorRule.model_validate({**values, **({"match_regexr": [re.compile(regex)]} if regex else {})})


@pytest.mark.parametrize(
    ("action", "tries_next", "sidelines"),
    [
        ("stop", False, False),
        ("stop-and-cooldown", False, True),
        ("continue", True, False),
        ("continue-and-cooldown", True, True),
    ],
)
@pytest.mark.parametrize("cools", [True, False])
def test_a_rules_action_comes_before_the_table(action: str, tries_next: bool, sidelines: bool, cools: bool) -> None:
    for status in (400, 500):
        outcome = judged(refused(status), rule(status, action), cools=cools)
        assert (outcome.tries_next, outcome.sidelines) == (tries_next, sidelines)
        assert outcome.fault == ("request" if action == "stop" else outcome.fault)


def test_a_rules_cooldown_is_60_s_at_least() -> None:
    assert judged(refused(400), rule(400, "stop-and-cooldown")).seconds == 60
    assert judged(refused(500), rule(500, "continue-and-cooldown"), transient_s=5.0).seconds == 60
    assert judged(refused(429, retry_after_s=5.0), rule(429, "continue-and-cooldown")).seconds == 60
    assert judged(refused(429, retry_after_s=500.0), rule(429, "continue-and-cooldown")).seconds == 500
    backoff = judged(refused(429), rule(429, "continue-and-cooldown"))
    assert (backoff.fault, backoff.seconds, backoff.at_least_s) == ("quota", None, 60)


def test_a_rule_needs_its_status_and_one_of_its_texts_or_expressions() -> None:
    error = refused(500, body=b'{"error": "upstream pool exhausted"}')
    for matching in (rule(500, "stop"), rule(500, "stop", "absent", "exhausted"), rule(500, "stop", regex=r"pool \w+")):
        assert judged(error, matching) == REQUEST
    for other in (rule(502, "stop"), rule(500, "stop", "absent"), rule(500, "stop", "Exhausted", regex="^pool")):
        assert judged(error, other) == sidelined("transient", 60.0)


def test_a_rule_reads_the_message_of_an_error_inside_a_stream() -> None:
    assert judged(refused(502, "pool exhausted"), rule(502, "stop", "exhausted")) == REQUEST


def test_the_first_rule_that_fits_counts() -> None:
    assert judged(refused(500), rule(500, "stop"), rule(500, "continue")) == REQUEST


def test_rules_are_for_what_an_upstream_says() -> None:
    assert judged(UpstreamUnreachable("down", status=502), rule(502, "stop")).tries_next

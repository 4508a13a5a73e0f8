"""Reset hints and headroom, in each form in which upstreams give them."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.credentials.hints import duration_s, headroom, is_account_wide, reset_after_s
from cliproxy.wire.model import Format
from cliproxy.wire.translation import CODECS

NOW_S = 1_763_000_000.0
UNIFIED = "anthropic-ratelimit-unified"


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW_S + seconds, UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("7.66", 7.66),
        ("20ms", 0.02),
        ("0.847s", 0.847),
        ("1h16m0.5s", 4560.5),
        ("6m0s", 360.0),
        ("2d", 172800.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 s", "s", "1h later", "nan", "inf", "-"])
def test_what_is_no_duration(text: str) -> None:
    assert duration_s(text) is None


RESETS: dict[str, tuple[Mapping[str, str], object, float | None]] = {
    "claude 5h window": (
        {f"{UNIFIED}-5h-status": "rejected", f"{UNIFIED}-5h-reset": str(int(NOW_S) + 900)}, {}, 900,
    ),
    "claude 7d window, as a timestamp": (
        {f"{UNIFIED}-7d-status": "rejected", f"{UNIFIED}-7d-reset": at(86400)}, {}, 86400,
    ),
    "claude: the latest of several": (
        {
            f"{UNIFIED}-status": "rejected", f"{UNIFIED}-reset": str(int(NOW_S) + 60),
            f"{UNIFIED}-7d_oi-status": "rejected", f"{UNIFIED}-7d_oi-reset": str(int(NOW_S) + 700),
            f"{UNIFIED}-5h-status": "allowed", f"{UNIFIED}-5h-reset": str(int(NOW_S) + 9000),
        }, {}, 700,
    ),
    "claude bucket of an API key": (
        {"anthropic-ratelimit-input-tokens-remaining": "0", "anthropic-ratelimit-input-tokens-reset": at(42)}, {}, 42,
    ),
    "a bucket that is not empty says nothing": (
        {"anthropic-ratelimit-requests-remaining": "3", "anthropic-ratelimit-requests-reset": at(42)}, {}, None,
    ),
    "openai requests": ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8.64s"}, {}, 8.64),
    "openai tokens": (
        {
            "x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "1h",
            "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s",
        }, {}, 360,
    ),
    "codex primary window": (
        {"x-codex-primary-used-percent": "100.0", "x-codex-primary-reset-after-seconds": "1200"}, {}, 1200,
    ),
    "codex secondary window": (
        {
            "x-codex-primary-used-percent": "30", "x-codex-primary-reset-after-seconds": "1200",
            "x-codex-secondary-used-percent": "100", "x-codex-secondary-reset-at": str(int(NOW_S) + 5000),
        }, {}, 5000,
    ),
    "resets_at": ({}, {"error": {"type": "usage_limit_reached", "resets_at": int(NOW_S) + 77}}, 77),
    "resets_in_seconds": ({}, {"error": {"type": "usage_limit_reached", "resets_in_seconds": 78}}, 78),
    "in the past": ({}, {"error": {"resets_at": int(NOW_S) - 5}}, None),
    "nothing": ({}, {"error": {"message": "slow down"}}, None),
    "nonsense": (
        {
            f"{UNIFIED}-5h-status": "rejected", f"{UNIFIED}-5h-reset": "tomorrow",
            "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "nan",
            "x-codex-primary-used-percent": "inf",
        }, {"error": {"resets_at": [], "resets_in_seconds": "x"}}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "body", "seconds"), RESETS.values(), ids=RESETS)
def test_when_a_limit_is_over(headers: Mapping[str, str], body: object, seconds: float | None) -> None:
    assert reset_after_s(headers, json.dumps(body).encode(), NOW_S) == pytest.approx(seconds)


def test_the_stated_wait_counts_for_more_than_when_a_bucket_is_full_again() -> None:
    headers = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": at(60)}
    assert reset_after_s(headers, b"", NOW_S, 7.0) == 7.0
    assert reset_after_s(headers, b"", NOW_S, 0.0) == pytest.approx(60)


def test_a_used_up_window_counts_for_more_than_a_shorter_stated_wait() -> None:
    headers = {f"{UNIFIED}-5h-status": "rejected", f"{UNIFIED}-5h-reset": str(int(NOW_S) + 900)}
    assert reset_after_s(headers, b"", NOW_S, 7.0) == pytest.approx(900)
    assert reset_after_s(headers, b"", NOW_S, 1000.0) == pytest.approx(1000)


@given(st.dictionaries(st.sampled_from([*RESETS["nonsense"][0], "x-codex-primary-reset-at"]), st.text()), st.binary())
def test_no_answer_makes_reading_hints_fail(headers: dict[str, str], body: bytes) -> None:
    seconds = reset_after_s(headers, b"resets_" + body, NOW_S)
    assert seconds is None or 0 < seconds < float("inf")
    left = headroom(headers)
    assert left is None or 0 <= left <= 1


_GOOGLE = "type.googleapis.com/google.rpc."
STATED: dict[str, tuple[Format, Mapping[str, str], object]] = {
    "retry-after": ("openai-chat", {"retry-after": "30"}, {"error": {"message": "slow"}}),
    "retry-after-ms": ("openai-responses", {"retry-after-ms": "30000"}, {"error": {"message": "slow"}}),
    "openai's words": ("openai-chat", {}, {"error": {"message": "Please try again in 30s."}}),
    "RetryInfo": (
        "gemini", {},
        {"error": {"code": 429, "message": "quota", "details": [{"@type": f"{_GOOGLE}RetryInfo", "retryDelay": "30s"}]}},
    ),
    "quotaResetDelay": (
        "gemini", {},
        {"error": {"code": 429, "message": "quota", "details": [
            {"@type": f"{_GOOGLE}ErrorInfo", "metadata": {"quotaResetDelay": "30s"}}]}},
    ),
    "google's words": ("gemini", {}, {"error": {"code": 429, "message": "Your quota will reset after 30s."}}),
    "codex's resets_in_seconds": (
        "openai-responses", {}, {"error": {"type": "usage_limit_reached", "message": "limit", "resets_in_seconds": 30}},
    ),
    "codex's resets_at": (
        "openai-responses", {},
        {"error": {"type": "usage_limit_reached", "message": "limit", "resets_at": "SOON"}},
    ),
    "claude's header": ("anthropic", {"retry-after": "30"}, {"type": "error", "error": {"type": "rate_limit_error"}}),
}  # fmt: skip


@pytest.mark.parametrize(("format", "headers", "body"), STATED.values(), ids=STATED)
def test_each_vendors_own_way_to_state_a_wait(format: Format, headers: Mapping[str, str], body: object) -> None:
    said = json.dumps(body).replace('"SOON"', str(int(time.time()) + 31))
    error = CODECS[format].decode_error(429, headers, said.encode())
    seconds = reset_after_s(error.headers, error.body, time.time(), error.retry_after_s)
    assert seconds == pytest.approx(30, abs=5)


@pytest.mark.parametrize(
    ("rejected", "is_wide"),
    [
        (["5h"], True),
        (["7d"], True),
        ([""], True),
        (["7d_oi"], False),
        (["", "7d_oi"], False),
        (["5h", "7d_oi"], True),
        ([], False),
    ],
)
def test_only_the_top_models_window_is_the_models(rejected: list[str], is_wide: bool) -> None:
    names = [f"{UNIFIED}-{window}" if window else UNIFIED for window in rejected]
    assert is_account_wide({f"{name}-status": "rejected" for name in names}) is is_wide


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({"anthropic-ratelimit-requests-remaining": "30", "anthropic-ratelimit-requests-limit": "40"}, 0.75),
        ({"x-ratelimit-remaining-tokens": "10", "x-ratelimit-limit-tokens": "100"}, 0.1),
        ({f"{UNIFIED}-5h-utilization": "0.4", f"{UNIFIED}-7d-utilization": "0.9"}, 0.1),
        ({"x-codex-primary-used-percent": "25", "x-codex-secondary-used-percent": "5"}, 0.75),
        ({"x-codex-primary-used-percent": "140"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "10"}, None),
        ({"x-ratelimit-remaining-tokens": "10", "x-ratelimit-limit-tokens": "0"}, None),
        ({}, None),
    ],
)
def test_headroom_is_the_tightest_limits(headers: Mapping[str, str], left: float | None) -> None:
    assert headroom(headers) == pytest.approx(left)

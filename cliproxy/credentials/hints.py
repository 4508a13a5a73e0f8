"""What upstreams say about their limits: when a quota comes back, and how much of it is left.

Header names are lower case. Times are UTC epoch seconds, durations seconds.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cliproxy.wire import json

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

ANTHROPIC_WINDOWS = ("unified-5h", "unified-7d", "unified-7d_oi", "unified")
"""Claude's windows; `7d_oi` counts the top model only, the others the whole account."""


def duration_s(text: str) -> float | None:
    """`1h16m0.5s`, `20ms`, `7.66` (seconds); None for anything else."""
    try:
        return float(text)
    except ValueError:
        pass
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _moment_s(text: str) -> float | None:
    """Epoch seconds of a number or an RFC 3339 time."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def reset_after_s(headers: Mapping[str, str], body: bytes, now_s: float) -> float | None:
    """How long until the limit that was hit is over, as far as the answer says: the latest of all that it names.

    Reads `anthropic-ratelimit-*-reset` of rejected windows, `x-ratelimit-reset-*` of exhausted limits,
    `x-codex-*-reset-*` of used-up windows, and `resets_at` / `resets_in_seconds` in the body. `retry-after`, Google's
    RetryInfo and texts are read by the formats' own error decoders.
    """
    found = [*_anthropic(headers, now_s), *_openai(headers), *_codex(headers, now_s), *_body(body, now_s)]
    return max((seconds for seconds in found if seconds > 0), default=None)


def is_account_wide(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the quota that was hit is the account's, not the model's."""
    for window in ("5h", "7d"):
        if headers.get(f"anthropic-ratelimit-unified-{window}-status") == "rejected":
            return True
    top_model_only = headers.get("anthropic-ratelimit-unified-7d_oi-status") == "rejected"
    if headers.get("anthropic-ratelimit-unified-status") == "rejected" and not top_model_only:
        return True
    error = _error_of(body)
    return error.get("type") == "usage_limit_reached" or error.get("code") == "usage_limit_reached"


def headroom(headers: Mapping[str, str]) -> float | None:
    """The fraction (0 to 1) of the tightest limit that is left, by the rate-limit headers; None where there are none."""
    left: list[float] = []
    for prefix in (
        "anthropic-ratelimit-requests",
        "anthropic-ratelimit-tokens",
        "anthropic-ratelimit-input-tokens",
    ):
        left += _fraction(headers.get(f"{prefix}-remaining"), headers.get(f"{prefix}-limit"))
    for kind in ("requests", "tokens"):
        left += _fraction(
            headers.get(f"x-ratelimit-remaining-{kind}"), headers.get(f"x-ratelimit-limit-{kind}")
        )
    for window in ("5h", "7d"):
        if (used := _number(headers.get(f"anthropic-ratelimit-unified-{window}-utilization"))) is not None:
            left.append(1 - used)
    for window in ("primary", "secondary"):
        if (percent := _number(headers.get(f"x-codex-{window}-used-percent"))) is not None:
            left.append(1 - percent / 100)
    return min(max(0.0, min(left)), 1.0) if left else None


def _anthropic(headers: Mapping[str, str], now_s: float) -> Iterator[float]:
    for window in ANTHROPIC_WINDOWS:
        if headers.get(f"anthropic-ratelimit-{window}-status") == "rejected":
            moment = _moment_s(headers.get(f"anthropic-ratelimit-{window}-reset", ""))
            if moment is not None:
                yield moment - now_s
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        if headers.get(f"anthropic-ratelimit-{kind}-remaining") == "0":
            moment = _moment_s(headers.get(f"anthropic-ratelimit-{kind}-reset", ""))
            if moment is not None:
                yield moment - now_s


def _openai(headers: Mapping[str, str]) -> Iterator[float]:
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
            seconds = duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
            if seconds is not None:
                yield seconds


def _codex(headers: Mapping[str, str], now_s: float) -> Iterator[float]:
    for window in ("primary", "secondary"):
        used = _number(headers.get(f"x-codex-{window}-used-percent"))
        if used is None or used < 100:
            continue
        if (moment := _number(headers.get(f"x-codex-{window}-reset-at"))) is not None:
            yield moment - now_s
        elif (seconds := _number(headers.get(f"x-codex-{window}-reset-after-seconds"))) is not None:
            yield seconds


def _body(body: bytes, now_s: float) -> Iterator[float]:
    error = _error_of(body)
    moment, seconds = error.get("resets_at"), error.get("resets_in_seconds")
    if isinstance(moment, int | float | str) and (at := _moment_s(str(moment))) is not None:
        yield at - now_s
    elif isinstance(seconds, int | float):
        yield float(seconds)


def _error_of(body: bytes) -> dict[str, Any]:
    if b"usage_limit" not in body and b"resets_" not in body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _fraction(remaining: str | None, limit: str | None) -> list[float]:
    left, whole = _number(remaining), _number(limit)
    return [left / whole] if left is not None and whole else []


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

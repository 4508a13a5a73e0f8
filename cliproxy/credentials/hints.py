"""What upstreams say about their limits: when a quota comes back, and how much of it is left.

Header names are lower case. Times are UTC epoch seconds, durations seconds. What error bodies say in words, Google's
RetryInfo and `retry-after` are read by the formats' own error decoders.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cliproxy.wire import json

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_CLAUDE_WINDOWS = ("unified-5h", "unified-7d", "unified-7d_oi", "unified")
"""Those of a subscription; `7d_oi` counts the top model only, the others the whole account."""
_CODEX_WINDOWS = ("primary", "secondary")
_CLAUDE_BUCKETS = ("requests", "tokens", "input-tokens", "output-tokens")
_OPENAI_BUCKETS = ("requests", "tokens")


def duration_s(text: str) -> float | None:
    """`1h16m0.5s`, `20ms`, `7.66` (seconds); None for anything else."""
    if (seconds := _number(text)) is not None:
        return seconds
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def reset_after_s(
    headers: Mapping[str, str], body: bytes, now_s: float, retry_after_s: float | None = None
) -> float | None:
    """How long until the limit that was hit is over; None where the answer does not say.

    A used-up window (Claude's, Codex's, `resets_at` or `resets_in_seconds` of the body) is over when it says;
    `retry_after_s`, the wait that the error itself stated, may be longer. A bucket that refills all the time (the
    rate limits of API keys) says when it will be full, which is later than it can be used: it counts only where
    nothing else is said. Of several the latest counts.
    """
    stated = [*_claude_windows(headers, now_s), *_codex_windows(headers, now_s), *_body(body, now_s)]
    if retry_after_s is not None:
        stated.append(retry_after_s)
    return _latest(stated) or _latest([*_claude_buckets(headers, now_s), *_openai_buckets(headers)])


def is_account_wide(headers: Mapping[str, str]) -> bool:
    """Whether the window that is used up is the account's, not one model's."""
    rejected = {w for w in _CLAUDE_WINDOWS if headers.get(f"anthropic-ratelimit-{w}-status") == "rejected"}
    if "unified-7d_oi" in rejected:
        # `unified` sums the others up.
        return not rejected <= {"unified-7d_oi", "unified"}
    return bool(rejected)


def headroom(headers: Mapping[str, str]) -> float | None:
    """The fraction (0 to 1) of the tightest limit that is left, by the rate-limit headers; None without any."""
    left: list[float] = []
    for kind in _CLAUDE_BUCKETS:
        name = f"anthropic-ratelimit-{kind}"
        left += _fraction(headers.get(f"{name}-remaining"), headers.get(f"{name}-limit"))
    for kind in _OPENAI_BUCKETS:
        left += _fraction(headers.get(f"x-ratelimit-remaining-{kind}"), headers.get(f"x-ratelimit-limit-{kind}"))
    for window in ("5h", "7d"):
        if (used := _number(headers.get(f"anthropic-ratelimit-unified-{window}-utilization"))) is not None:
            left.append(1 - used)
    for window in _CODEX_WINDOWS:
        if (percent := _number(headers.get(f"x-codex-{window}-used-percent"))) is not None:
            left.append(1 - percent / 100)
    return min(max(0.0, min(left)), 1.0) if left else None


def _claude_windows(headers: Mapping[str, str], now_s: float) -> Iterator[float]:
    for window in _CLAUDE_WINDOWS:
        if headers.get(f"anthropic-ratelimit-{window}-status") == "rejected":
            yield from _until(headers.get(f"anthropic-ratelimit-{window}-reset"), now_s)


def _claude_buckets(headers: Mapping[str, str], now_s: float) -> Iterator[float]:
    for kind in _CLAUDE_BUCKETS:
        if headers.get(f"anthropic-ratelimit-{kind}-remaining") == "0":
            yield from _until(headers.get(f"anthropic-ratelimit-{kind}-reset"), now_s)


def _openai_buckets(headers: Mapping[str, str]) -> Iterator[float]:
    for kind in _OPENAI_BUCKETS:
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
            seconds = duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
            if seconds is not None:
                yield seconds


def _codex_windows(headers: Mapping[str, str], now_s: float) -> Iterator[float]:
    for window in _CODEX_WINDOWS:
        used = _number(headers.get(f"x-codex-{window}-used-percent"))
        if used is None or used < 100:
            continue
        if moment := headers.get(f"x-codex-{window}-reset-at"):
            yield from _until(moment, now_s)
        elif (seconds := _number(headers.get(f"x-codex-{window}-reset-after-seconds"))) is not None:
            yield seconds


def _body(body: bytes, now_s: float) -> Iterator[float]:
    error = _error_of(body)
    moment, seconds = error.get("resets_at"), error.get("resets_in_seconds")
    if moment is not None:
        yield from _until(str(moment), now_s)
    elif seconds is not None and (left := _number(str(seconds))) is not None:
        yield left


def _error_of(body: bytes) -> dict[str, Any]:
    if b"resets_" not in body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _latest(durations_s: list[float]) -> float | None:
    """The longest that is still ahead."""
    return max((seconds for seconds in durations_s if seconds > 0), default=None)


def _until(moment: str | None, now_s: float) -> Iterator[float]:
    """Seconds until an epoch time or an RFC 3339 one; nothing where it is neither."""
    if (at_s := _number(moment)) is not None:
        yield at_s - now_s
    elif moment:
        try:
            yield datetime.fromisoformat(moment).timestamp() - now_s
        except (ValueError, OverflowError):
            return


def _fraction(remaining: str | None, limit: str | None) -> list[float]:
    left, whole = _number(remaining), _number(limit)
    return [left / whole] if left is not None and whole else []


def _number(text: str | None) -> float | None:
    """A finite number, which is what an upstream means even where `nan` parses."""
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None

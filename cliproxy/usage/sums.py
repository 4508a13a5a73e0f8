"""What one exchange adds to the sums by the hour, and how durations are counted in buckets."""

import math
from collections import Counter
from collections.abc import Iterable

from cliproxy.usage.rows import TOKENS, Row

HOUR_S = 3600
USAGE_KEY = ("hour_s", "client_key", "provider", "model", "credential")
LATENCY_KEY = ("hour_s", "provider", "model", "kind", "bucket")
_SUMMED = ("retries", *TOKENS)
_COUNTED = ("exchanges", "failures", "failovers", "unpriced", *_SUMMED)
_PER_DOUBLING = 4
"""Buckets in which a duration doubles: a percentile read from them is 10 % off at most."""
_FIRST_S = 0.001


def usage_rows(exchanges: Iterable[Row]) -> list[Row]:
    """What exchanges add to `usage_hour`, one row a key."""
    sums: dict[tuple[object, ...], Row] = {}
    for exchange in exchanges:
        key = (hour_of(exchange["started_s"]), *(exchange[name] for name in USAGE_KEY[1:]))
        row = sums.get(key)
        if row is None:
            row = sums[key] = dict(zip(USAGE_KEY, key, strict=True)) | dict.fromkeys(_COUNTED, 0) | {"cost_usd": 0.0}
        for name in _SUMMED:
            row[name] += exchange[name]
        is_failure, cost_usd = _is_failure(exchange), exchange["cost_usd"]
        row["exchanges"] += 1
        row["failures"] += is_failure
        row["failovers"] += exchange["retries"] > 0 and not is_failure
        row["cost_usd"] += cost_usd or 0.0
        row["unpriced"] += cost_usd is None and bool(exchange["fresh_tokens"] or exchange["output_tokens"])
    return list(sums.values())


def latency_rows(exchanges: Iterable[Row]) -> list[Row]:
    """What exchanges add to `latency_hour`: each as a whole, and up to its first byte. Failures are not counted."""
    counts: Counter[tuple[object, ...]] = Counter()
    for exchange in exchanges:
        if _is_failure(exchange) or not exchange["provider"]:
            continue
        started_s = exchange["started_s"]
        for kind, end_s in (("total", exchange["ended_s"]), ("first_byte", exchange["first_byte_s"])):
            if end_s:
                place = (hour_of(started_s), exchange["provider"], exchange["model"])
                counts[*place, kind, bucket_of(end_s - started_s)] += 1
    return [dict(zip(LATENCY_KEY, key, strict=True)) | {"exchanges": count} for key, count in counts.items()]


def _is_failure(exchange: Row) -> bool:
    return exchange["status"] >= 400 or bool(exchange["error"])


def hour_of(moment_s: float) -> int:
    """The start of the hour, UTC epoch seconds."""
    return int(moment_s // HOUR_S * HOUR_S)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration; 0 holds all up to a millisecond."""
    return max(0, math.ceil(math.log2(max(seconds, _FIRST_S) / _FIRST_S) * _PER_DOUBLING))


def seconds_of(bucket: int) -> float:
    """The middle of a bucket, on the scale on which they are equally wide."""
    return _FIRST_S * 2 ** ((bucket - 0.5) / _PER_DOUBLING) if bucket else _FIRST_S

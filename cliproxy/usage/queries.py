"""What the ledger can be asked: each question is answered from the sums by the hour, or an index of the journal."""

import math
from collections import defaultdict
from typing import Literal

from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.rows import Row
from cliproxy.usage.sums import hour_of, seconds_of

Period = Literal["hour", "day"]
By = Literal["hour", "day", "key", "model", "provider", "credential"]
PaceBy = Literal["hour", "day", "model", "provider", "all"]
"""`all`: everything is one group."""

_GROUPS: dict[By | PaceBy, str] = {
    "hour": "hour_s",
    "day": "(hour_s + :offset_s) / 86400 * 86400 - :offset_s",
    "key": "client_key",
    "model": "model",
    "provider": "provider",
    "credential": "credential",
    "all": "'all'",
}
SUMMED = (
    "exchanges", "failures", "retries", "failovers", "fresh_tokens", "cache_read_tokens", "cache_write_tokens",
    "output_tokens", "reasoning_tokens", "cost_usd", "unpriced",
)  # fmt: skip
_SUMS = ", ".join(
    f"SUM({name}) AS {name}" if name == "cost_usd" else f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in SUMMED
)
_WITHIN = "hour_s >= :since_s AND hour_s < :until_s"
QUANTILES = (0.5, 0.9, 0.99)


def totals(
    connection: LedgerConnection,
    since_s: float,
    until_s: float,
    by: By,
    *,
    over: Period | None = None,
    offset_s: int = 0,
) -> list[Row]:
    """Sums over the hours that begin in a span of time, one row a group: those of times in their order, the others
    by what they cost and how often they were used. The group's column is called as `by`.

    over: one row a group and period of time, with a column for each. offset_s: the time zone's, seconds east of UTC;
    days begin at its midnight. `cost_usd` leaves out what has no known price, of which `unpriced` counts the exchanges.
    """
    groups = ", ".join(f'{_GROUPS[name]} AS "{name}"' for name in (over, by) if name)
    places = "1, 2" if over else "1"
    order = places if over or by in ("hour", "day") else "cost_usd DESC, exchanges DESC, 1"
    return connection.rows(
        f"SELECT {groups}, {_SUMS} FROM usage_hour WHERE {_WITHIN} GROUP BY {places} ORDER BY {order}",  # noqa: S608 - names of our own
        _span(since_s, until_s, offset_s),
    )


def latencies(
    connection: LedgerConnection, since_s: float, until_s: float, by: PaceBy, *, offset_s: int = 0
) -> list[Row]:
    """Percentiles of the time to the first byte and to the end, seconds, 10 % off at most: `total_p50`,
    `first_byte_p99` …, one row a group, in the order of their names or times. offset_s: as for `totals`."""
    rows = connection.rows(
        f'SELECT {_GROUPS[by]} AS "{by}", kind, bucket, CAST(SUM(exchanges) AS BIGINT) AS exchanges '  # noqa: S608 - names of our own
        f"FROM latency_hour WHERE {_WITHIN} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        _span(since_s, until_s, offset_s),
    )
    histograms: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        histograms[row[by]][row["kind"]].append((row["bucket"], row["exchanges"]))
    return [
        {by: group}
        | {f"{kind}_p{round(q * 100)}": _quantile(counts, q) for kind, counts in kinds.items() for q in QUANTILES}
        for group, kinds in histograms.items()
    ]


def _span(since_s: float, until_s: float, offset_s: int) -> dict[str, int]:
    return {"since_s": hour_of(since_s), "until_s": math.ceil(until_s), "offset_s": offset_s}


def journal(
    connection: LedgerConnection, *, limit: int = 100, before_seq: int | None = None, **equal: str
) -> list[Row]:
    """The newest exchanges, newest first. before_seq: go on after a page. equal: columns and the values they must have;
    Raises ValueError for a column that cannot be asked for."""
    if unknown := equal.keys() - {"client_key", "provider", "model", "credential", "id"}:
        raise ValueError(f"cannot look for {', '.join(sorted(unknown))}")
    conditions = [f"{name} = :{name}" for name in equal]
    if before_seq is not None:
        conditions.append("seq < :before_seq")
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    return connection.rows(
        f"SELECT * FROM exchange {where}ORDER BY seq DESC LIMIT :limit",  # noqa: S608 - names of our own
        {**equal, "before_seq": before_seq, "limit": limit},
    )


def attempts(connection: LedgerConnection, exchange_id: str) -> list[Row]:
    """The attempts of one exchange, in order."""
    return connection.rows(
        "SELECT attempt.* FROM attempt JOIN exchange ON seq = exchange_seq WHERE id = ? ORDER BY number", [exchange_id]
    )


def spent_usd(connection: LedgerConnection, client_key: str, since_s: float) -> float:
    """What a client key has cost since the start of an hour."""
    (spent,) = connection.rows(
        "SELECT SUM(cost_usd) AS cost_usd FROM usage_hour WHERE hour_s >= ? AND client_key = ?",
        [hour_of(since_s), client_key],
    )
    return spent["cost_usd"] or 0.0


def _quantile(counts: list[tuple[int, int]], quantile: float) -> float:
    wanted = quantile * sum(count for _, count in counts)
    seen = 0
    for bucket, count in counts:
        seen += count
        if seen >= wanted:
            return seconds_of(bucket)
    return seconds_of(counts[-1][0])

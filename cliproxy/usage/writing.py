"""Putting exchanges into the ledger, with what they add to its sums, and removing the oldest."""

from collections.abc import Sequence
from typing import Any

from cliproxy.usage.connection import LedgerConnection, Parameters, Unstorable
from cliproxy.usage.rows import Row
from cliproxy.usage.sums import LATENCY_KEY, USAGE_KEY, latency_rows, usage_rows

REMOVED_AT_ONCE = 5_000
"""Exchanges that one transaction removes, so that it stays short."""
_IDS_AT_ONCE = 500
_MAX_COUNT = 2**53


def write_rows(connection: LedgerConnection, rows: Sequence[tuple[Row, list[Row]]]) -> int:
    """Add exchanges with their attempts in one transaction, but for those that are there already (a commit may succeed
    without saying so); how many were new. The rows get their keys. Raises LedgerFault.
    """
    try:
        return _write(connection, rows)
    except Unstorable:
        # They come from without, and are not looked through for what hardly ever is there.
        for exchange, attempts in rows:
            for row in (exchange, *attempts):
                row.update({name: _storable(value) for name, value in row.items()})
        return _write(connection, rows)


def _storable(value: Any) -> Any:
    """What any database can hold."""
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode()
        case int():
            return max(-_MAX_COUNT, min(value, _MAX_COUNT))
        case _:
            return value


def _write(connection: LedgerConnection, rows: Sequence[tuple[Row, list[Row]]]) -> int:
    with connection.writing():
        known = _known(connection, [exchange["id"] for exchange, _ in rows])
        new = {exchange["id"]: (exchange, attempts) for exchange, attempts in rows if exchange["id"] not in known}
        (last,) = connection.rows("SELECT COALESCE(MAX(seq), 0) AS seq FROM exchange")
        for seq, (exchange, attempts) in enumerate(new.values(), last["seq"] + 1):
            exchange["seq"] = seq
            for attempt in attempts:
                attempt["exchange_seq"] = seq
        exchanges = [exchange for exchange, _ in new.values()]
        connection.insert("exchange", exchanges)
        connection.insert("attempt", [attempt for _, attempts in new.values() for attempt in attempts])
        _add(connection, "usage_hour", usage_rows(exchanges), USAGE_KEY)
        _add(connection, "latency_hour", latency_rows(exchanges), LATENCY_KEY)
    return len(exchanges)


def _known(connection: LedgerConnection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are there."""
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[start : start + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(part))
        found.update(row["id"] for row in connection.rows(f"SELECT id FROM exchange WHERE id IN ({marks})", part))  # noqa: S608 - marks only
    return found


def _add(connection: LedgerConnection, table: str, rows: Sequence[Row], key: Sequence[str]) -> None:
    """Add rows' numbers to those of the rows with the same key."""
    if rows:
        columns, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
        sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in rows[0] if name not in key)
        connection.run_for_each(
            f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}",  # noqa: S608 - names of our own
            rows,
        )


def remove_older(connection: LedgerConnection, moment_s: float) -> int:
    """Remove some of the oldest exchanges that began before a moment; how many. Raises LedgerFault."""
    return _remove(connection, "started_s < ?", [moment_s])


def remove_some(connection: LedgerConnection) -> int:
    """Remove some of the oldest exchanges; how many. Raises LedgerFault."""
    return _remove(connection, "TRUE", [])


def _remove(connection: LedgerConnection, condition: str, parameters: Parameters) -> int:
    with connection.writing():
        return connection.run(
            "DELETE FROM exchange WHERE seq IN "  # noqa: S608 - conditions of our own
            f"(SELECT seq FROM exchange WHERE {condition} ORDER BY seq LIMIT {REMOVED_AT_ONCE})",
            parameters,
        )

"""CLIProxyAPI's usage document: made of the ledger, and taken into it.

Its `details` have one entry an exchange. Ours carry the ledger's whole row as well, in `row`, so that what is exported
here is imported without loss; of another program's entries the columns are filled as far as they say something.
"""

import hashlib
import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import batched
from typing import Any, NamedTuple

from cliproxy.credentials.timestamps import seconds_of
from cliproxy.secrets import mask
from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.queries import journal
from cliproxy.usage.rows import Row
from cliproxy.usage.writing import write_rows

VERSION = 1
NO_KEY = "no-key"
"""Stands for clients that showed no key."""
UNKNOWN = "unknown"
AT_ONCE = 500
"""Rows of one transaction, so that the writing thread is not kept waiting."""
_ALL = 2**62

_SUMS = (
    "CAST(SUM(exchanges) AS BIGINT) AS exchanges, CAST(SUM(failures) AS BIGINT) AS failures, "
    "CAST(SUM(fresh_tokens + cache_read_tokens + cache_write_tokens + output_tokens) AS BIGINT) AS tokens"
)
_TEXT = (
    "client_key", "client_format", "upstream_format", "operation", "model_asked", "model", "provider", "credential",
    "effort", "error", "dropped",
)  # fmt: skip
_COUNTS = (
    "stream", "status", "retries", "fresh_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
    "reasoning_tokens",
)  # fmt: skip
_MAX_COUNT = 2**53
_LATEST_S = 253_370_764_800.0
"""The year 9999, the last that dates have."""

_KEY_CHARS = 12
"""Shorter ones are names of people's."""
_NAME = re.compile(r"[@/\s…]")
"""What no key has in it: addresses, routes, sentences, and keys that are masked already."""

type IndexOf = Callable[[str], str]
"""From a credential's label to its `auth_index`; empty where it is not known any more."""


class Imported(NamedTuple):
    added: int
    skipped: int
    """There already."""


def report(connection: LedgerConnection, index_of: IndexOf, *, details: int | None, whole_rows: bool) -> dict[str, Any]:
    """The `usage` object: all sums of the ledger, and the newest exchanges one by one. details: how many at most; None:
    all. whole_rows: with the ledger's rows in them. Raises LedgerFault."""
    apis: defaultdict[str, dict[str, Any]] = defaultdict(lambda: {"total_requests": 0, "total_tokens": 0, "models": {}})
    total = {"total_requests": 0, "success_count": 0, "failure_count": 0, "total_tokens": 0}
    for sums in connection.rows(f"SELECT client_key, model, {_SUMS} FROM usage_hour GROUP BY 1, 2"):  # noqa: S608 - names of our own
        exchanges, failures, tokens = sums["exchanges"], sums["failures"], sums["tokens"]
        api = apis[sums["client_key"] or NO_KEY]
        entry = {"total_requests": exchanges, "total_tokens": tokens, "details": []}
        api["models"][sums["model"] or UNKNOWN] = entry
        for counted in (api, total):
            counted["total_requests"] += exchanges
            counted["total_tokens"] += tokens
        total["success_count"] += exchanges - failures
        total["failure_count"] += failures
    for row in journal(connection, limit=_ALL if details is None else details):
        models = apis[row["client_key"] or NO_KEY]["models"]
        empty = {"total_requests": 0, "total_tokens": 0, "details": []}
        entry = models.setdefault(row["model"] or UNKNOWN, empty)
        entry["details"].append(_detail(row, index_of, whole_row=whole_rows))
    return {**total, "apis": dict(apis), **_by_time(connection)}


def _by_time(connection: LedgerConnection) -> dict[str, dict[str, int]]:
    """Requests and tokens by day, and by the hour of the day, in this machine's time zone."""
    found: dict[str, defaultdict[str, int]] = {
        f"{what}_by_{unit}": defaultdict(int) for what in ("requests", "tokens") for unit in ("day", "hour")
    }
    for sums in connection.rows(f"SELECT hour_s, {_SUMS} FROM usage_hour GROUP BY 1"):  # noqa: S608 - names of our own
        moment = time.localtime(sums["hour_s"])
        for unit, form in (("day", "%Y-%m-%d"), ("hour", "%H")):
            key = time.strftime(form, moment)
            found[f"requests_by_{unit}"][key] += sums["exchanges"]
            found[f"tokens_by_{unit}"][key] += sums["tokens"]
    return {name: dict(sorted(counts.items())) for name, counts in found.items()}


def _detail(row: Row, index_of: IndexOf, *, whole_row: bool) -> dict[str, Any]:
    del row["seq"]
    detail: dict[str, Any] = {
        "timestamp": _timestamp(row["started_s"]),
        "latency_ms": _milliseconds(row["started_s"], row["ended_s"]),
        "source": row["credential"],
        "auth_index": index_of(row["credential"]),
        "request_id": row["id"],
        "tokens": tokens_of(row),
        "failed": is_failure(row),
        "status_code": row["status"],
    }
    return detail | ({"row": row} if whole_row else {})


def tokens_of(row: Mapping[str, Any]) -> dict[str, int]:
    """Tokens as CLIProxyAPI counts them: those read from a cache are input too."""
    read, written = row["cache_read_tokens"], row["cache_write_tokens"]
    whole_input = row["fresh_tokens"] + read + written
    return {
        "input_tokens": whole_input,
        "output_tokens": row["output_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
        "cached_tokens": read,
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
        "total_tokens": whole_input + row["output_tokens"],
    }


def is_failure(row: Mapping[str, Any]) -> bool:
    return row["status"] >= 400 or bool(row["error"])


def queue_records(
    connection: LedgerConnection, after: tuple[int, int], count: int
) -> list[tuple[tuple[int, int], Row]]:
    """The next attempts after one, oldest first, each with its place and what is known of its exchange. Raises
    LedgerFault."""
    rows = connection.rows(
        "SELECT attempt.*, seq, id, client_key, client_format, operation, model_asked, effort "
        "FROM attempt JOIN exchange ON seq = exchange_seq "
        "WHERE exchange_seq >= :seq AND (exchange_seq, number) > (:seq, :number) "
        "ORDER BY exchange_seq, number LIMIT :count",
        {"seq": after[0], "number": after[1], "count": count},
    )
    return [((row["seq"], row["number"]), _record(row)) for row in rows]


def first_since(connection: LedgerConnection, moment_s: float) -> int:
    """The number of the first exchange that began at a moment or later; beyond all, where there is none."""
    (first,) = connection.rows("SELECT MIN(seq) AS seq FROM exchange WHERE started_s >= ?", [moment_s])
    if first["seq"] is not None:
        return first["seq"]
    (last,) = connection.rows("SELECT COALESCE(MAX(seq), 0) AS seq FROM exchange")
    return last["seq"] + 1


def _record(row: Row) -> Row:
    failed = is_failure(row)
    return {
        "timestamp": _timestamp(row["started_s"]),
        "request_id": row["id"],
        "provider": row["provider"],
        "model": row["model"],
        "alias": row["model_asked"],
        "endpoint": row["operation"],
        "api_key": row["client_key"],
        "source": row["credential"],
        "reasoning_effort": row["effort"],
        "latency_ms": _milliseconds(row["started_s"], row["ended_s"]),
        "ttft_ms": _milliseconds(row["started_s"], row["first_byte_s"]) if row["first_byte_s"] else 0,
        "tokens": tokens_of(row),
        "failed": failed,
        "generate": row["operation"] == "generate",
        "fail": {"status_code": row["status"], "body": row["error"]} if failed else None,
    }


# ---------------------------------------------------------------- taking in


def take_in(connection: LedgerConnection, usage: Mapping[str, Any], now_s: float) -> Imported:
    """Add the details of a `usage` object to the ledger. Raises LedgerFault, ValueError for what is no such object.

    What the journal still holds is recognised and skipped. now_s: for entries without a time.
    """
    rows = sorted(_rows(usage, now_s), key=lambda row: row["started_s"])
    added = 0
    for batch in batched(rows, AT_ONCE):
        added += write_rows(connection, [(row, []) for row in batch])
    return Imported(added, len(rows) - added)


def _rows(usage: Mapping[str, Any], now_s: float) -> Iterator[Row]:
    for api, model, detail in _details(usage):
        whole = detail.get("row")
        yield _own_row(whole) if isinstance(whole, dict) else _foreign_row(api, model, detail, now_s)


def _details(usage: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for api, models in _mappings(usage.get("apis"), "apis"):
        for model, entry in _mappings(models.get("models"), f"apis.{api}.models"):
            details = [] if entry.get("details") is None else entry["details"]
            if not isinstance(details, list) or not all(isinstance(detail, dict) for detail in details):
                raise ValueError(f"apis.{api}.models.{model}.details: expected a list of objects")
            for detail in details:
                yield api.strip(), model.strip(), detail


def _mappings(value: Any, where: str) -> list[tuple[str, Mapping[str, Any]]]:
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise ValueError(f"{where}: expected an object of objects")
    return list(value.items())


def _own_row(row: Mapping[str, Any]) -> Row:
    identity = row.get("id")
    if not isinstance(identity, str) or not identity:
        raise ValueError("row.id: expected text")
    cost = row.get("cost_usd")
    started_s, ended_s, first_byte_s = (_moment(row.get(name)) for name in ("started_s", "ended_s", "first_byte_s"))
    started_s = started_s or 0.0
    return {
        "id": identity,
        "started_s": started_s,
        "first_byte_s": first_byte_s,
        "ended_s": ended_s or started_s,
        **{name: str(row.get(name) or "") for name in _TEXT},
        **{name: _count(row.get(name)) for name in _COUNTS},
        "cost_usd": float(cost) if isinstance(cost, int | float) and math.isfinite(cost) else None,
    }


def _foreign_row(api: str, model: str, detail: Mapping[str, Any], now_s: float) -> Row:
    tokens = detail.get("tokens")
    tokens = tokens if isinstance(tokens, dict) else {}
    cached = max(_count(tokens.get("cached_tokens")), _count(tokens.get("cache_read_tokens")))
    written = _count(tokens.get("cache_creation_tokens"))
    started_s = _moment(seconds_of(detail.get("timestamp"))) or now_s
    failed = bool(detail.get("failed"))
    told = json.dumps([api, model, {key: detail[key] for key in sorted(detail)}], sort_keys=True, default=str)
    return {
        "id": f"import-{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}",
        "started_s": started_s,
        "first_byte_s": None,
        "ended_s": started_s + _count(detail.get("latency_ms")) / 1000,
        **dict.fromkeys(_TEXT, ""),
        "client_key": "" if api == NO_KEY else _shown(api),
        "operation": "generate",
        "model_asked": model,
        "model": "" if model == UNKNOWN else model,
        "credential": _shown(str(detail.get("source") or "")),
        "error": "failed" if failed else "",
        **dict.fromkeys(_COUNTS, 0),
        "status": _count(detail.get("status_code")) or (500 if failed else 200),
        "fresh_tokens": max(0, _count(tokens.get("input_tokens")) - cached - written),
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "output_tokens": _count(tokens.get("output_tokens")),
        "reasoning_tokens": _count(tokens.get("reasoning_tokens")),
        "cost_usd": None,
    }


def _shown(name: str) -> str:
    """CLIProxyAPI calls keys by the keys themselves; accounts and routes have names that anybody may see."""
    return mask(name) if len(name) >= _KEY_CHARS and not _NAME.search(name) else name


def _count(value: Any) -> int:
    return int(min(max(0, value), _MAX_COUNT)) if isinstance(value, int | float) and math.isfinite(value) else 0


def _moment(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < _LATEST_S else None


def _timestamp(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(start_s: float, end_s: float) -> int:
    return max(0, round((end_s - start_s) * 1000))

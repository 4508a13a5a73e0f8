"""Endpoints of what was used, from the ledger: CLIProxyAPI's, and those that a dashboard needs."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, TypedDict

from pydantic import BaseModel, Field

from cliproxy.credentials.timestamps import rfc3339
from cliproxy.management.auth_file_list import recent_requests
from cliproxy.management.endpoint import MIB, Call, Endpoint, parsed_body
from cliproxy.management.faults import ManagementFault
from cliproxy.management.inventory import inventory
from cliproxy.management.operating import Operator
from cliproxy.usage.connection import LedgerConnection, LedgerFault, Unstorable
from cliproxy.usage.ledger import Ledger
from cliproxy.usage.place import open_ledger
from cliproxy.usage.portable import VERSION, report, take_in
from cliproxy.usage.queries import By, PaceBy, Period, attempts, journal, latencies, totals
from cliproxy.usage.rows import Row

DETAILS = 10_000
"""Exchanges that `usage` tells one by one; `usage/export` tells all."""
MAX_IMPORT_BYTES = 64 * MIB
DAY_S = 86_400
MAX_PAGE = 1_000
_LATEST_S = 253_370_764_800
"""The year 9999."""


class Span(BaseModel):
    since_s: float | None = Field(None, ge=0, le=_LATEST_S, allow_inf_nan=False)
    """UTC epoch seconds. Default: a day before `until_s`."""
    until_s: float | None = Field(None, ge=0, le=_LATEST_S, allow_inf_nan=False)
    """UTC epoch seconds. Default: now."""

    def of(self, operator: Operator) -> tuple[float, float]:
        until_s = operator.clock() if self.until_s is None else self.until_s
        return (max(0.0, until_s - DAY_S) if self.since_s is None else self.since_s), until_s


class LocalSpan(Span):
    offset_s: int = Field(0, ge=-DAY_S, le=DAY_S)
    """Of your time zone, seconds east of UTC."""


class Totals(LocalSpan):
    by: By = "day"
    over: Period | None = None
    """One row a group and hour, or day."""


class Latencies(LocalSpan):
    by: PaceBy = "model"
    """`all`: one row over everything, since percentiles of groups cannot be added up."""


class Page(BaseModel):
    limit: int = Field(100, ge=1, le=MAX_PAGE)
    before: int | None = Field(None, ge=0, le=2**62)
    """What the page before called `next`."""
    client_key: str | None = None
    provider: str | None = None
    model: str | None = None
    credential: str | None = None


class Count(BaseModel):
    count: int = Field(1, ge=1)


class Import(BaseModel):
    """What `usage/export` answers, of this program or CLIProxyAPI."""

    version: int = VERSION
    usage: dict[str, Any]


class TotalsAnswer(TypedDict):
    by: By
    since_s: float
    until_s: float
    rows: list[dict[str, Any]]


class LatenciesAnswer(TypedDict):
    by: PaceBy
    since_s: float
    until_s: float
    rows: list[dict[str, Any]]


class Exchange(TypedDict):
    seq: int
    id: str
    started_s: float
    first_byte_s: float | None
    ended_s: float
    client_key: str
    client_format: str
    upstream_format: str
    operation: str
    stream: bool
    model_asked: str
    model: str
    provider: str
    credential: str
    effort: str
    status: int
    error: str
    retries: int
    fresh_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    dropped: list[str]


class Exchanges(TypedDict):
    exchanges: list[Exchange]
    next: int | None


class OneExchange(TypedDict):
    exchange: Exchange
    attempts: list[dict[str, Any]]


class Imported(TypedDict):
    added: int
    skipped: int
    total_requests: int
    failed_requests: int


# ---------------------------------------------------------------- the ledger


async def read[T](operator: Operator, query: Callable[[LedgerConnection], T]) -> T:
    """What a query of the ledger answers. Raises ManagementFault: 404 where none is kept, 503 where it cannot be
    read."""
    return await asyncio.to_thread(_read, _ledger(operator), query)


def _ledger(operator: Operator) -> Ledger:
    if operator.running.ledger is None:
        raise ManagementFault(404, "usage statistics are disabled")
    return operator.running.ledger


def _read[T](ledger: Ledger, query: Callable[[LedgerConnection], T]) -> T:
    try:
        with closing(open_ledger(ledger.place, read_only=True)) as connection:
            return query(connection)
    except Unstorable as fault:
        raise ManagementFault(400, "invalid query", str(fault)) from None
    except LedgerFault as fault:
        raise ManagementFault(503, "the usage ledger cannot be read", str(fault)) from None


# ---------------------------------------------------------------- CLIProxyAPI's


async def _usage(call: Call[None, None]) -> dict[str, Any]:
    usage = await _report(call.operator, DETAILS, whole_rows=False)
    return {"usage": usage, "failed_requests": usage["failure_count"]}


async def _export(call: Call[None, None]) -> dict[str, Any]:
    usage = await _report(call.operator, None, whole_rows=True)
    return {"version": VERSION, "exported_at": rfc3339(call.operator.clock()), "usage": usage}


async def _report(operator: Operator, details: int | None, *, whole_rows: bool) -> dict[str, Any]:
    indexes = {label: entry.auth_index for entry in inventory(operator) for label in entry.labels}

    def index_of_label(label: str) -> str:
        return indexes.get(label, "")

    return await read(
        operator,
        lambda connection: report(connection, index_of_label, details=details, whole_rows=whole_rows),
    )


async def _import(call: Call[None, None]) -> dict[str, Any]:
    body: Import = parsed_body(Import, await call.read(MAX_IMPORT_BYTES))
    if body.version not in (0, VERSION):
        raise ManagementFault(400, "unsupported version")
    place, now_s = _ledger(call.operator).place, call.operator.clock()

    def take() -> tuple[int, int]:
        with closing(open_ledger(place)) as connection:
            return take_in(connection, body.usage, now_s)

    try:
        added, skipped = await asyncio.to_thread(take)
    except ValueError as error:
        raise ManagementFault(400, "invalid usage", str(error)) from None
    except LedgerFault as fault:
        raise ManagementFault(503, "the usage ledger cannot be written", str(fault)) from None
    usage = await _report(call.operator, 0, whole_rows=False)
    counts = {"total_requests": usage["total_requests"], "failed_requests": usage["failure_count"]}
    return {"added": added, "skipped": skipped, **counts}


async def _queue(call: Call[Count, None]) -> list[Row]:
    operator = call.operator
    return await operator.usage_queue.pop(lambda query: read(operator, query), call.query.count)


async def _by_api_key(call: Call[None, None]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for entry in inventory(call.operator):
        if entry.kind != "key":
            continue
        credential = entry.credentials[0]
        success, failed, slots = call.operator.activity.of(entry.labels)
        counts = {"success": success, "failed": failed, "recent_requests": recent_requests(slots)}
        found.setdefault(entry.provider, {})[f"{credential.base_url}|{credential.secret}"] = counts
    return found


# ---------------------------------------------------------------- the dashboard's


async def _totals(call: Call[Totals, None]) -> dict[str, Any]:
    wanted = call.query
    since_s, until_s = wanted.of(call.operator)
    rows = await read(
        call.operator,
        lambda connection: totals(connection, since_s, until_s, wanted.by, over=wanted.over, offset_s=wanted.offset_s),
    )
    return {"by": wanted.by, "since_s": since_s, "until_s": until_s, "rows": rows}


async def _latencies(call: Call[Latencies, None]) -> dict[str, Any]:
    wanted = call.query
    since_s, until_s = wanted.of(call.operator)
    rows = await read(
        call.operator,
        lambda connection: latencies(connection, since_s, until_s, wanted.by, offset_s=wanted.offset_s),
    )
    return {"by": wanted.by, "since_s": since_s, "until_s": until_s, "rows": rows}


async def _exchanges(call: Call[Page, None]) -> dict[str, Any]:
    page = call.query
    equal = page.model_dump(include={"client_key", "provider", "model", "credential"}, exclude_none=True)
    rows = await read(
        call.operator,
        lambda connection: journal(connection, limit=page.limit, before_seq=page.before, **equal),
    )
    return {"exchanges": [shown(row) for row in rows], "next": rows[-1]["seq"] if len(rows) == page.limit else None}


async def _exchange(call: Call[None, None]) -> dict[str, Any]:
    identity = call.place["id"]
    found, tried = await read(
        call.operator,
        lambda connection: (journal(connection, limit=1, id=identity), attempts(connection, identity)),
    )
    if not found:
        raise ManagementFault(404, "exchange not found")
    return {"exchange": shown(found[0]), "attempts": tried}


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the journal as JSON has it."""
    return {**row, "stream": bool(row["stream"]), "dropped": json.loads(row["dropped"]) if row["dropped"] else []}


_ERRORS = (404, 503)
ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/usage", _usage, "What was used, as CLIProxyAPI tells it", errors=_ERRORS),
    Endpoint("GET", "/usage/export", _export, "The same with everything the ledger knows", errors=_ERRORS),
    Endpoint(
        "POST",
        "/usage/import",
        _import,
        "Take an export in; what is there already is skipped",
        takes="application/json",
        answer=Imported,
        errors=_ERRORS,
    ),
    Endpoint(
        "GET",
        "/usage-queue",
        _queue,
        "Attempts that were not fetched before",
        query=Count,
        answer=list[dict[str, Any]],
        errors=_ERRORS,
    ),
    Endpoint("GET", "/api-key-usage", _by_api_key, "Successes and failures of upstream keys, as the keys themselves"),
    Endpoint("GET", "/usage/totals", _totals, "Sums by a criterion", query=Totals, answer=TotalsAnswer, errors=_ERRORS),
    Endpoint(
        "GET",
        "/usage/latencies",
        _latencies,
        "Percentiles of times",
        query=Latencies,
        answer=LatenciesAnswer,
        errors=_ERRORS,
    ),
    Endpoint(
        "GET", "/exchanges", _exchanges, "The journal, newest first", query=Page, answer=Exchanges, errors=_ERRORS
    ),
    Endpoint("GET", "/exchanges/{id}", _exchange, "One exchange", answer=OneExchange, errors=_ERRORS),
)

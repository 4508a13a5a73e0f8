"""Endpoints of what was used: sums, percentiles, the journal and CLIProxyAPI's documents."""

import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cliproxy.database import Database
from cliproxy.usage.place import open_ledger
from cliproxy.usage.rows import rows_of
from cliproxy.usage.writing import write_rows
from tests.management.conftest import At
from tests.management.desk import Desk, desk_of
from tests.usage.exchanges import attempt, exchange


def book(desk: Desk, *exchanges: Any) -> None:
    with closing(open_ledger(desk.folder / "usage.db")) as connection:
        write_rows(connection, [rows_of(one) for one in exchanges])


@pytest.fixture
async def used(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose ledger has three exchanges of the last minutes."""
    async with desk_of(tmp_path) as desk:
        now_s = time.time()
        book(
            desk,
            exchange(attempt(started_s=now_s - 90), started_s=now_s - 90, dropped=["thinking"]),
            exchange(
                attempt(started_s=now_s - 60, provider="codex"), started_s=now_s - 60, client_key="ci", stream=False
            ),
            exchange(
                attempt(started_s=now_s - 30, status=429, error="full"),
                attempt(2, started_s=now_s - 29),
                started_s=now_s - 30,
            ),
        )
        yield desk


@pytest.mark.parametrize("by", ["hour", "day", "key", "model", "provider", "credential"])
async def test_sums_by_each_criterion(used: Desk, by: str) -> None:
    answer = await used.get("/usage/totals", by=by)
    assert answer["by"] == by and answer["until_s"] - answer["since_s"] == 86_400
    assert sum(row["exchanges"] for row in answer["rows"]) == 3
    assert all(by in row for row in answer["rows"])
    assert answer["rows"][0].keys() >= {"failures", "retries", "cost_usd", "fresh_tokens", "unpriced"}


async def test_a_span_without_exchanges_has_no_rows(used: Desk) -> None:
    assert (await used.get("/usage/totals", since_s=0, until_s=1000))["rows"] == []
    assert (await used.get("/usage/latencies", until_s=10))["rows"] == []


async def test_sums_of_each_group_over_time(used: Desk) -> None:
    answer = await used.get("/usage/totals", by="provider", over="hour")
    assert all({"hour", "provider"} <= row.keys() for row in answer["rows"])
    assert sum(row["exchanges"] for row in answer["rows"] if row["provider"] == "claude") == 2


@pytest.mark.parametrize("by", ["model", "provider", "hour", "day", "all"])
async def test_percentiles_of_times(used: Desk, by: str) -> None:
    rows = (await used.get("/usage/latencies", by=by))["rows"]
    assert {"total_p50", "total_p99", "first_byte_p90", by} <= rows[0].keys()
    assert rows[0]["total_p50"] == pytest.approx(1.0, rel=0.1)


async def test_the_journal_page_by_page(used: Desk) -> None:
    first = await used.get("/exchanges", limit=2)
    assert [one["retries"] for one in first["exchanges"]] == [1, 0]
    rest = await used.get("/exchanges", limit=2, before=first["next"])
    assert rest["next"] is None
    (oldest,) = rest["exchanges"]
    assert (oldest["dropped"], oldest["stream"]) == (["thinking"], True)
    assert [one["client_key"] for one in (await used.get("/exchanges", client_key="ci"))["exchanges"]] == ["ci"]
    assert len((await used.get("/exchanges", provider="claude", model="claude-sonnet-4-5"))["exchanges"]) == 2


async def test_one_exchange_with_its_attempts(used: Desk) -> None:
    newest = (await used.get("/exchanges", limit=1))["exchanges"][0]
    one = await used.get(f"/exchanges/{newest['id']}")
    assert one["exchange"] == newest
    assert [(each["number"], each["status"]) for each in one["attempts"]] == [(1, 429), (2, 200)]
    assert (await used.ask("GET", "/exchanges/nobody")).status == 404


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/usage/totals", {"by": "weather"}), ("/usage/totals", {"since_s": "soon"}), ("/usage/totals", {"until_s": "inf"}),
        ("/usage/totals", {"offset_s": 10**9}), ("/exchanges", {"limit": 0}), ("/exchanges", {"limit": 10**9}),
        ("/exchanges", {"before": -1}), ("/usage-queue", {"count": 0}), ("/usage-queue", {"count": "x"}),
        ("/usage/totals", {"since_s": 1e300}), ("/usage/totals", {"over": "model"}), ("/usage/latencies", {"by": "key"}),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused(used: Desk, path: str, query: Any) -> None:
    reply = await used.ask("GET", path, query=query)
    assert (reply.status, reply.json["error"]) == (400, "invalid query")


async def test_cliproxyapis_document_and_its_way_to_another_gateway(used: Desk, tmp_path: Path) -> None:
    usage = await used.get("/usage")
    assert usage["failed_requests"] == usage["usage"]["failure_count"] == 0
    assert usage["usage"]["total_requests"] == 3
    export = await used.get("/usage/export")
    assert (export["version"], export["exported_at"][-1]) == (1, "Z")
    (tmp_path / "other").mkdir()
    async with desk_of(tmp_path / "other") as other:
        first = await other.ask("POST", "/usage/import", export)
        assert first.json == {"added": 3, "skipped": 0, "total_requests": 3, "failed_requests": 0}
        again = await other.ask("POST", "/usage/import", export)
        assert again.json == {"added": 0, "skipped": 3, "total_requests": 3, "failed_requests": 0}
        assert (await other.get("/exchanges"))["exchanges"][0]["id"] == (await used.get("/exchanges"))["exchanges"][0][
            "id"
        ]


@pytest.mark.parametrize(
    "body", [{}, {"usage": []}, {"version": 2, "usage": {}}, {"usage": {"apis": []}}, {"version": "1", "usage": {}}]
)
async def test_what_is_no_export_is_refused(used: Desk, body: Any) -> None:
    assert (await used.ask("POST", "/usage/import", body)).status == 400
    assert (await used.get("/usage"))["usage"]["total_requests"] == 3


async def test_the_queue_hands_each_attempt_out_once(desk: Desk) -> None:
    assert await desk.get("/usage-queue") == []
    now_s = time.time()
    book(desk, exchange(attempt(started_s=now_s + 1), started_s=now_s + 1))
    book(desk, exchange(attempt(started_s=now_s + 2, status=500, error="no"), attempt(2), started_s=now_s + 2))
    (first,) = await desk.get("/usage-queue")
    assert (first["failed"], first["api_key"], first["source"]) == (False, "me", "claude sk-t…#abc123")
    rest = await desk.get("/usage-queue", count=10)
    assert [record["failed"] for record in rest] == [True, False]
    assert await desk.get("/usage-queue", count=10) == []


async def test_the_queue_holds_what_happened_since_the_start_only(used: Desk) -> None:
    assert await used.get("/usage-queue", count=100) == []


async def test_a_ledger_that_nobody_wrote_yet_is_empty(desk: Desk) -> None:
    assert (await desk.get("/usage"))["usage"]["total_requests"] == 0
    assert await desk.get("/exchanges") == {"exchanges": [], "next": None}
    assert not (desk.folder / "usage.db").exists()


async def test_a_ledger_that_cannot_be_read_is_told(desk: Desk) -> None:
    (desk.folder / "usage.db").write_bytes(b"no database, but long enough to be looked at" * 50)
    reply = await desk.ask("GET", "/usage")
    assert (reply.status, reply.json["error"]) == (503, "the usage ledger cannot be read")


async def test_a_database_that_is_away_is_told_without_its_password(desk: Desk, tmp_path: Path) -> None:
    assert desk.ledger
    desk.ledger.place = Database(f"postgresql://me:test-password@/gateways?host={tmp_path}")
    for method, path, value in (("GET", "/usage", None), ("POST", "/usage/import", {"usage": {"apis": {}}})):
        reply = await desk.ask(method, path, value)
        assert reply.status == 503
        assert reply.json["message"] == "PostgreSQL: OperationalError"


async def test_without_a_ledger_there_is_no_usage(desk_with: At) -> None:
    desk = await desk_with("usage-statistics-enabled: false\n")
    for path in ("/usage", "/usage/export", "/usage/totals", "/exchanges", "/usage-queue"):
        reply = await desk.ask("GET", path)
        assert (reply.status, reply.json) == (404, {"error": "usage statistics are disabled"})
    assert (await desk.ask("POST", "/usage/import", {"usage": {}})).status == 404

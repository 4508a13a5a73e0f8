"""What the ledger answers, and what that costs."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from cliproxy.config.schema import UsageLedger
from cliproxy.usage.ledger import Ledger, open_ledger
from cliproxy.usage.queries import By, attempts, journal, latencies, spent_usd, totals
from cliproxy.usage.sums import bucket_of, seconds_of
from tests.usage.exchanges import NOON_S, attempt, exchange

DAY_S = 86_400


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Connection]:
    settings = UsageLedger(path=str(tmp_path / "usage.db"))
    writing = Ledger(settings)
    for day in range(3):
        for key in ("me", "you"):
            at_s = NOON_S + day * DAY_S
            writing.book(exchange(attempt(started_s=at_s), started_s=at_s, client_key=key))
    failed = attempt(status=500, error="boom", provider="codex", model="gpt-5", credential="codex one")
    writing.book(exchange(failed, client_key="me", status=500, error="boom"))
    writing.book(exchange(attempt(status=429, error="no"), attempt(2), client_key="me"))
    writing.close()
    with closing(open_ledger(Path(settings.path), read_only=True)) as connection:
        yield connection


def test_totals_by_each_group(ledger: Connection) -> None:
    until_s = NOON_S + 9 * DAY_S
    assert [row["exchanges"] for row in totals(ledger, NOON_S, until_s, "day")] == [4, 2, 2]
    assert {row["key"]: row["exchanges"] for row in totals(ledger, NOON_S, until_s, "key")} == {"me": 5, "you": 3}
    providers = {row["provider"]: row for row in totals(ledger, NOON_S, until_s, "provider")}
    assert (providers["codex"]["failures"], providers["claude"]["failures"]) == (1, 0)
    assert (providers["claude"]["retries"], providers["claude"]["failovers"]) == (1, 1)
    assert len(totals(ledger, NOON_S, until_s, "hour")) == 3
    assert len(totals(ledger, NOON_S + DAY_S, until_s, "model")) == 1
    assert totals(ledger, until_s, until_s + 1, "credential") == []


def test_a_day_begins_at_midnight_where_the_user_is(ledger: Connection) -> None:
    """Noon in UTC is the next day already, 13 hours further east."""
    (first, *_) = totals(ledger, NOON_S, NOON_S + 1, "day", offset_s=13 * 3600)
    assert first["day"] == NOON_S - 3600


def test_the_journal_is_read_in_pages(ledger: Connection) -> None:
    newest = journal(ledger, limit=3)
    older = journal(ledger, limit=100, before_seq=newest[-1]["seq"])
    assert [row["seq"] for row in newest + older] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert {row["client_key"] for row in journal(ledger, client_key="you")} == {"you"}
    with pytest.raises(ValueError, match="cannot look for seq"):
        journal(ledger, seq="1")
    assert [row["number"] for row in attempts(ledger, newest[0]["id"])] == [1, 2]
    assert attempts(ledger, "unknown") == []


def test_percentiles_are_close(ledger: Connection) -> None:
    rows = {row["provider"]: row for row in latencies(ledger, NOON_S, NOON_S + 9 * DAY_S, "provider")}
    # What failed is not counted.
    assert set(rows) == {"claude"}
    assert rows["claude"]["total_p50"] == pytest.approx(1.0, rel=0.1)
    assert rows["claude"]["first_byte_p99"] == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.001, 0.0123, 0.5, 1.0, 59.9, 3600.0])
def test_buckets_are_narrow(seconds: float) -> None:
    assert seconds_of(bucket_of(seconds)) == pytest.approx(max(seconds, 0.001), rel=0.1)


def test_what_a_key_has_spent(ledger: Connection) -> None:
    all_of_it = spent_usd(ledger, "you", NOON_S)
    assert all_of_it == pytest.approx(3 * spent_usd(ledger, "you", NOON_S + 2 * DAY_S))
    assert spent_usd(ledger, "nobody", 0) == 0.0


@pytest.mark.parametrize("by", ["hour", "day", "key", "model", "provider", "credential"])
def test_no_question_reads_the_whole_journal(ledger: Connection, by: By) -> None:
    """100,000 exchanges must cost a dashboard no more than their sums do."""
    plans: list[str] = []
    ledger.set_trace_callback(plans.append)
    totals(ledger, NOON_S, NOON_S + DAY_S, by)
    latencies(ledger, NOON_S, NOON_S + DAY_S, "model")
    journal(ledger, limit=10, before_seq=5)
    attempts(ledger, "some")
    ledger.set_trace_callback(None)
    for question in plans:
        plan = " ".join(row["detail"] for row in ledger.execute(f"EXPLAIN QUERY PLAN {question}"))
        assert "SEARCH" in plan, question
        assert "SCAN exchange" not in plan, question
        assert "SCAN attempt" not in plan, question

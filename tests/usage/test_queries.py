"""What the ledger answers, and what that costs."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from cliproxy.config.schema import UsageLedger
from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.ledger import Ledger
from cliproxy.usage.place import Place, open_ledger
from cliproxy.usage.queries import By, PaceBy, attempts, journal, latencies, spent_usd, totals
from cliproxy.usage.rows import rows_of
from cliproxy.usage.sums import bucket_of, seconds_of
from cliproxy.usage.writing import write_rows
from tests.stores.postgres_server import PostgresServer
from tests.usage.conftest import empty
from tests.usage.exchanges import NOON_S, attempt, exchange
from tests.usage.plans import cost, is_searched, plans, reads_whole_journal

DAY_S = 86_400


@pytest.fixture
def ledger(place: Place) -> Iterator[LedgerConnection]:
    writing = Ledger(UsageLedger(), place)
    for day in range(3):
        for key in ("me", "you"):
            at_s = NOON_S + day * DAY_S
            writing.book(exchange(attempt(started_s=at_s), started_s=at_s, client_key=key))
    failed = attempt(status=500, error="boom", provider="codex", model="gpt-5", credential="codex one")
    writing.book(exchange(failed, client_key="me", status=500, error="boom"))
    writing.book(exchange(attempt(status=429, error="no"), attempt(2), client_key="me"))
    writing.close()
    with closing(open_ledger(place, read_only=True)) as connection:
        yield connection


def test_totals_by_each_group(ledger: LedgerConnection) -> None:
    until_s = NOON_S + 9 * DAY_S
    assert [row["exchanges"] for row in totals(ledger, NOON_S, until_s, "day")] == [4, 2, 2]
    assert {row["key"]: row["exchanges"] for row in totals(ledger, NOON_S, until_s, "key")} == {"me": 5, "you": 3}
    providers = {row["provider"]: row for row in totals(ledger, NOON_S, until_s, "provider")}
    assert (providers["codex"]["failures"], providers["claude"]["failures"]) == (1, 0)
    assert (providers["claude"]["retries"], providers["claude"]["failovers"]) == (1, 1)
    assert len(totals(ledger, NOON_S, until_s, "hour")) == 3
    assert len(totals(ledger, NOON_S + DAY_S, until_s, "model")) == 1
    assert totals(ledger, until_s, until_s + 1, "credential") == []


def test_answers_are_plain_numbers(ledger: LedgerConnection) -> None:
    until_s = NOON_S + 9.5 * DAY_S
    answers = [totals(ledger, NOON_S, until_s, "key"), latencies(ledger, NOON_S, until_s, "all"), journal(ledger)]
    assert {type(value) for answer in answers for row in answer for value in row.values()} == {int, float, str}


def test_totals_of_each_group_over_time(ledger: LedgerConnection) -> None:
    rows = totals(ledger, NOON_S, NOON_S + 9 * DAY_S, "key", over="day")
    midnight_s = NOON_S - DAY_S // 2
    assert [(row["day"] - midnight_s, row["key"], row["exchanges"]) for row in rows] == [
        (0, "me", 3), (0, "you", 1), (DAY_S, "me", 1), (DAY_S, "you", 1), (2 * DAY_S, "me", 1), (2 * DAY_S, "you", 1),
    ]  # fmt: skip


def test_a_day_begins_at_midnight_where_the_user_is(ledger: LedgerConnection) -> None:
    """Noon in UTC is the next day already, 13 hours further east."""
    for question in (totals, latencies):
        (first, *_) = question(ledger, NOON_S, NOON_S + 1, "day", offset_s=13 * 3600)
        assert first["day"] == NOON_S - 3600


def test_the_journal_is_read_in_pages(ledger: LedgerConnection) -> None:
    newest = journal(ledger, limit=3)
    older = journal(ledger, limit=100, before_seq=newest[-1]["seq"])
    assert [row["seq"] for row in newest + older] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert {row["client_key"] for row in journal(ledger, client_key="you")} == {"you"}
    with pytest.raises(ValueError, match="cannot look for seq"):
        journal(ledger, seq="1")
    assert [row["number"] for row in attempts(ledger, newest[0]["id"])] == [1, 2]
    assert attempts(ledger, "unknown") == []


def test_percentiles_are_close(ledger: LedgerConnection) -> None:
    rows = {row["provider"]: row for row in latencies(ledger, NOON_S, NOON_S + 9 * DAY_S, "provider")}
    # What failed is not counted.
    assert set(rows) == {"claude"}
    assert rows["claude"]["total_p50"] == pytest.approx(1.0, rel=0.1)
    assert rows["claude"]["first_byte_p99"] == pytest.approx(0.2, rel=0.1)


def test_percentiles_over_everything_and_over_time(ledger: LedgerConnection) -> None:
    (whole,) = latencies(ledger, NOON_S, NOON_S + 9 * DAY_S, "all")
    assert whole["total_p90"] == pytest.approx(1.0, rel=0.1)
    days = [row["day"] for row in latencies(ledger, NOON_S, NOON_S + 9 * DAY_S, "day")]
    assert days == [NOON_S - DAY_S // 2 + day * DAY_S for day in range(3)]
    assert len(latencies(ledger, NOON_S, NOON_S + 9 * DAY_S, "hour")) == 3


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.001, 0.0123, 0.5, 1.0, 59.9, 3600.0])
def test_buckets_are_narrow(seconds: float) -> None:
    assert seconds_of(bucket_of(seconds)) == pytest.approx(max(seconds, 0.001), rel=0.1)


def test_what_a_key_has_spent(ledger: LedgerConnection) -> None:
    all_of_it = spent_usd(ledger, "you", NOON_S)
    assert all_of_it == pytest.approx(3 * spent_usd(ledger, "you", NOON_S + 2 * DAY_S))
    assert spent_usd(ledger, "nobody", 0) == 0.0


@pytest.mark.parametrize("by", ["hour", "day", "key", "model", "provider", "credential"])
def test_no_question_reads_the_whole_journal(ledger: LedgerConnection, by: By) -> None:
    """100,000 exchanges must cost a dashboard no more than their sums do."""

    def ask(watched: LedgerConnection) -> None:
        totals(watched, NOON_S, NOON_S + DAY_S, by)
        totals(watched, NOON_S, NOON_S + DAY_S, by, over="day")
        pace_bys: list[PaceBy] = ["hour", "day", "model", "provider", "all"]
        for pace_by in pace_bys:
            latencies(watched, NOON_S, NOON_S + DAY_S, pace_by)
        spent_usd(watched, "me", NOON_S)
        journal(watched, limit=10, before_seq=5)
        attempts(watched, "some")

    for question, plan in plans(ledger, ask):
        assert is_searched(plan), question
        assert not reads_whole_journal(plan), question


# ---------------------------------------------------------------- what a hundred times as many cost

SPAN_S = 10 * DAY_S


def ledger_of(place: Place, size: int) -> LedgerConnection:
    """Ten days of as many exchanges as one likes, each hour with each of three models."""
    samples = [rows_of(exchange(attempt(model=model))) for model in ("one", "two", "three")]
    rows = []
    for index in range(size):
        row, (tried,) = samples[index % len(samples)]
        later_s = index * SPAN_S / size
        times = {name: row[name] + later_s for name in ("started_s", "first_byte_s", "ended_s")}
        rows.append(({**row, **times, "id": str(index)}, [{**tried}]))
    connection = open_ledger(place)
    write_rows(connection, rows)
    return connection


class Sizes(NamedTuple):
    """Two ledgers of the same time."""

    small: LedgerConnection
    large: LedgerConnection


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ledgers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: PostgresServer | None
) -> Iterator[Sizes]:
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("sizes")
        small, large = ledger_of(folder / "small.db", 1_000), ledger_of(folder / "large.db", 100_000)
    else:
        small, large = ledger_of(empty(server), 1_000), ledger_of(empty(server), 10_000)
        for ledger in (small, large):
            # Which the server does by itself after a while.
            ledger.run("ANALYZE")
    with closing(small), closing(large):
        yield Sizes(small, large)


@pytest.mark.xdist_group("long journal")
@pytest.mark.parametrize(
    "question",
    [
        lambda ledger: totals(ledger, NOON_S, NOON_S + SPAN_S, "day"),
        lambda ledger: totals(ledger, NOON_S, NOON_S + SPAN_S, "credential"),
        lambda ledger: totals(ledger, NOON_S, NOON_S + SPAN_S, "model", over="day"),
        lambda ledger: totals(ledger, NOON_S, NOON_S + DAY_S, "model", over="hour"),
        lambda ledger: latencies(ledger, NOON_S, NOON_S + SPAN_S, "model"),
        lambda ledger: latencies(ledger, NOON_S, NOON_S + SPAN_S, "day"),
        lambda ledger: latencies(ledger, NOON_S, NOON_S + SPAN_S, "all"),
        lambda ledger: journal(ledger, limit=50),
        lambda ledger: journal(ledger, limit=50, before_seq=900),
        lambda ledger: journal(ledger, limit=1, id="500"),
        lambda ledger: attempts(ledger, "500"),
        lambda ledger: spent_usd(ledger, "me", NOON_S),
    ],
)
def test_a_longer_journal_makes_no_question_dearer(ledgers: Sizes, question: Callable[[LedgerConnection], Any]) -> None:
    rows, steps = cost(ledgers.small, question)
    rows_of_large, steps_of_large = cost(ledgers.large, question)
    assert rows_of_large == rows > 0
    assert 0 < steps_of_large <= 1.05 * steps

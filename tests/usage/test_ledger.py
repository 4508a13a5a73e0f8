"""The ledger on a real file: what is booked is there, whatever happens to the file or the process."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cliproxy.config.schema import UsageLedger
from cliproxy.usage import ledger as ledgers
from cliproxy.usage.ledger import Ledger, open_ledger, path_of
from cliproxy.usage.queries import attempts, journal, totals
from cliproxy.wire.model import Usage
from tests.processes import ROOT
from tests.usage.exchanges import NOON_S, attempt, exchange
from tests.virtual_time import Clock


@pytest.fixture
def settings(tmp_path: Path) -> UsageLedger:
    return UsageLedger(path=str(tmp_path / "deep" / "usage.db"))


def rows(settings: UsageLedger) -> list[dict[str, object]]:
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        return journal(connection)


def test_a_clean_stop_loses_nothing(settings: UsageLedger) -> None:
    ledger = Ledger(settings)
    for number in range(500):
        ledger.book(exchange(started_s=NOON_S + number))
    ledger.close()
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM exchange").fetchone()[0] == 500
        (total,) = totals(connection, NOON_S, NOON_S + 1, "day")
    assert total["exchanges"] == 500
    assert total["fresh_tokens"] == 50_000


def test_the_file_is_for_its_owner_only(settings: UsageLedger) -> None:
    Ledger(settings).close()
    ledger = Ledger(settings)
    ledger.book(exchange())
    ledger.close()
    assert stat.S_IMODE(path_of(settings).stat().st_mode) == 0o600


def test_all_attempts_of_an_exchange_are_kept_with_it(settings: UsageLedger) -> None:
    refused = attempt(1, status=429, error="slow down", usage=Usage(), credential="claude sk-o…#000000")
    over = exchange(refused, attempt(2), error="", dropped=["temperature"])
    ledger = Ledger(settings)
    ledger.book(over)
    ledger.close()
    (row,) = rows(settings)
    assert (row["id"], row["retries"], row["status"], row["credential"]) == (over.id, 1, 200, "claude sk-t…#abc123")
    assert (row["model_asked"], row["model"], row["provider"]) == ("sonnet", "claude-sonnet-4-5", "claude")
    assert (row["client_format"], row["upstream_format"]) == ("anthropic", "anthropic")
    assert row["dropped"] == '["temperature"]'
    assert isinstance(row["cost_usd"], float)
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        first, second = attempts(connection, over.id)
    assert (first["status"], first["error"], first["cost_usd"]) == (429, "slow down", None)
    assert (second["cache_read_tokens"], second["reasoning_tokens"]) == (50, 10)


def test_what_has_no_price_has_none(settings: UsageLedger) -> None:
    ledger = Ledger(settings)
    ledger.book(exchange(attempt(provider="mine", model="home-made-1")))
    ledger.close()
    (row,) = rows(settings)
    assert row["cost_usd"] is None
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        (total,) = totals(connection, NOON_S, NOON_S + 1, "model")
    assert (total["cost_usd"], total["unpriced"]) == (0.0, 1)


def test_a_locked_file_delays_and_loses_nothing(
    settings: UsageLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledgers, "BUSY_S", 0.01)
    monkeypatch.setattr(ledgers, "BATCH_EVERY_S", 0.01)
    Ledger(settings).close()
    noticed = threading.Event()
    monkeypatch.setattr(Ledger, "_unwell", _telling(Ledger._unwell, noticed))  # pyright: ignore[reportPrivateUsage]
    with closing(open_ledger(path_of(settings))) as other:
        other.execute("BEGIN EXCLUSIVE")
        ledger = Ledger(settings)
        for _ in range(3):
            ledger.book(exchange())
        assert noticed.wait(10)
        assert "locked" in ledger.trouble
        other.execute("ROLLBACK")
    ledger.close()
    assert ledger.trouble == ""
    assert len(rows(settings)) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def _telling(method, event):
    def told(*arguments):
        method(*arguments)
        event.set()

    return told


def test_a_place_where_nothing_can_be_written_is_told_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MAX_WAITING", 10)
    (tmp_path / "file").touch()
    ledger = Ledger(UsageLedger(path=str(tmp_path / "file" / "usage.db")))
    for _ in range(25):
        ledger.book(exchange())
    ledger.close()
    assert ledger.trouble
    assert ledger.lost == 15
    assert ledger.waiting == 10


def test_a_damaged_file_is_told_and_left_alone(settings: UsageLedger) -> None:
    path = path_of(settings)
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    ledger = Ledger(settings)
    ledger.book(exchange())
    ledger.close()
    assert "not a database" in ledger.trouble
    assert path.read_bytes().startswith(b"this is no database")


def test_a_file_of_a_later_release_is_left_alone(settings: UsageLedger) -> None:
    with closing(open_ledger(path_of(settings))) as connection:
        connection.execute("PRAGMA user_version = 99")
    ledger = Ledger(settings)
    ledger.book(exchange())
    ledger.close()
    assert "version 99" in ledger.trouble


def test_the_same_exchange_is_counted_once(settings: UsageLedger) -> None:
    over = exchange()
    for _ in range(2):
        ledger = Ledger(settings)
        ledger.book(over)
        ledger.close()
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        (total,) = totals(connection, NOON_S, NOON_S + 1, "key")
    assert total["exchanges"] == 1


def test_the_journal_ends_and_the_sums_stay(settings: UsageLedger) -> None:
    clock = Clock()
    clock.now_s = NOON_S + 100 * 86_400
    ledger = Ledger(settings.model_copy(update={"keep_days": 30}), clock)
    for days in (0, 60, 80, 99):
        ledger.book(exchange(started_s=NOON_S + days * 86_400))
    ledger.close()
    assert sorted(row["started_s"] for row in rows(settings)) == [NOON_S + 80 * 86_400, NOON_S + 99 * 86_400]  # pyright: ignore[reportArgumentType]
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        assert len(totals(connection, 0, clock(), "day")) == 4
        assert connection.execute("SELECT COUNT(*) FROM attempt").fetchone()[0] == 2


def test_a_file_that_is_too_large_loses_its_oldest(settings: UsageLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "PRUNED_AT_ONCE", 200)
    ledger = Ledger(settings.model_copy(update={"max_size_mb": 1, "keep_days": 0}))
    for number in range(6000):
        ledger.book(exchange(started_s=NOON_S + number, dropped=["x" * 100]))
    ledger.close()
    # It was looked at before the last batch, as it is every so often.
    Ledger(settings.model_copy(update={"max_size_mb": 1, "keep_days": 0})).close()
    kept = rows(settings)
    assert kept
    with closing(open_ledger(path_of(settings), read_only=True)) as connection:
        (count, oldest) = connection.execute("SELECT COUNT(*), MIN(started_s) FROM exchange").fetchone()
    assert count < 6000
    assert oldest == NOON_S + 6000 - count


CHILD = """
import sys
from cliproxy.config.schema import UsageLedger
from cliproxy.usage.ledger import Ledger
from tests.usage.exchanges import exchange
ledger = Ledger(UsageLedger(path=sys.argv[1]))
for line in sys.stdin:
    ledger.book(exchange())
    print("booked", flush=True)
"""


def test_a_killed_process_loses_its_last_batch_at_most(settings: UsageLedger) -> None:
    command = [sys.executable, "-c", CHILD, settings.path]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        written = _written(settings)
        child.stdin.write("x\n")
        child.stdin.flush()
        assert child.stdout.readline() == "booked\n"
        next(written)
        os.kill(child.pid, signal.SIGKILL)
    ledger = Ledger(settings)
    ledger.book(exchange())
    ledger.close()
    assert len(rows(settings)) == 2


def _written(settings: UsageLedger) -> Iterator[None]:
    """Comes back once something is in the file."""
    while True:
        try:
            if rows(settings):
                yield
        except sqlite3.Error:
            continue

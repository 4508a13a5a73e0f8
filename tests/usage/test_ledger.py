"""The ledger in a real file and a real database: what is booked is there, whatever happens to them or to the process."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cliproxy.config.schema import UsageLedger
from cliproxy.database import Database
from cliproxy.usage import ledger as ledgers
from cliproxy.usage import sqlite, writing
from cliproxy.usage.connection import LedgerConnection, LedgerFault
from cliproxy.usage.ledger import Ledger
from cliproxy.usage.place import Place, open_ledger
from cliproxy.usage.queries import attempts, journal, totals
from cliproxy.usage.rows import rows_of
from cliproxy.usage.schema import NewerLedger
from cliproxy.usage.writing import write_rows
from cliproxy.wire.model import Usage
from tests.processes import ROOT
from tests.stores.postgres_server import PostgresServer
from tests.usage.conftest import empty
from tests.usage.exchanges import NOON_S, attempt, exchange
from tests.virtual_time import Clock

SETTINGS = UsageLedger()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "usage.db"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.01)
    monkeypatch.setattr(ledgers, "BATCH_EVERY_S", 0.01)


def reading(place: Place) -> closing[LedgerConnection]:
    return closing(open_ledger(place, read_only=True))


def rows(place: Place) -> list[dict[str, object]]:
    with reading(place) as connection:
        return journal(connection)


def count(place: Place, table: str = "exchange") -> int:
    with reading(place) as connection:
        return connection.rows(f"SELECT COUNT(*) AS size FROM {table}")[0]["size"]  # noqa: S608 - ours


def test_a_clean_stop_loses_nothing(place: Place) -> None:
    ledger = Ledger(SETTINGS, place)
    for number in range(500):
        ledger.book(exchange(started_s=NOON_S + number))
    ledger.close()
    assert count(place) == 500
    with reading(place) as connection:
        (total,) = totals(connection, NOON_S, NOON_S + 1, "day")
    assert total["exchanges"] == 500
    assert total["fresh_tokens"] == 50_000


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    Ledger(SETTINGS, path).close()
    ledger = Ledger(SETTINGS, path)
    ledger.book(exchange())
    ledger.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_all_attempts_of_an_exchange_are_kept_with_it(place: Place) -> None:
    refused = attempt(1, status=429, error="slow down", usage=Usage(), credential="claude sk-o…#000000")
    over = exchange(refused, attempt(2), error="", dropped=["temperature"])
    ledger = Ledger(SETTINGS, place)
    ledger.book(over)
    ledger.close()
    (row,) = rows(place)
    assert (row["id"], row["retries"], row["status"], row["credential"]) == (over.id, 1, 200, "claude sk-t…#abc123")
    assert (row["model_asked"], row["model"], row["provider"]) == ("sonnet", "claude-sonnet-4-5", "claude")
    assert (row["client_format"], row["upstream_format"]) == ("anthropic", "anthropic")
    assert row["dropped"] == '["temperature"]'
    assert (row["stream"], row["started_s"], row["first_byte_s"]) == (1, NOON_S, NOON_S + 0.2)
    assert isinstance(row["cost_usd"], float)
    with reading(place) as connection:
        first, second = attempts(connection, over.id)
    assert (first["status"], first["error"], first["cost_usd"]) == (429, "slow down", None)
    assert (second["cache_read_tokens"], second["reasoning_tokens"]) == (50, 10)


def test_what_has_no_price_has_none(place: Place) -> None:
    ledger = Ledger(SETTINGS, place)
    ledger.book(exchange(attempt(provider="mine", model="home-made-1")))
    ledger.close()
    (row,) = rows(place)
    assert row["cost_usd"] is None
    with reading(place) as connection:
        (total,) = totals(connection, NOON_S, NOON_S + 1, "model")
    assert (total["cost_usd"], total["unpriced"]) == (0.0, 1)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("100 %s :odd ? 'quoted'", "100 %s :odd ? 'quoted'"), ("half \ud83d of it", "half ? of it"), ("ünïcödé 🙂",) * 2],
)
def test_whatever_an_upstream_says_is_kept(place: Place, said: str, kept: str) -> None:
    ledger = Ledger(SETTINGS, place)
    ledger.book(exchange(attempt(error=said, status=500), error=said, status=500, model=said))
    ledger.book(exchange())
    ledger.close()
    assert ledger.trouble == ""
    assert [(row["error"], row["model_asked"]) for row in rows(place)] == [("", "sonnet"), (kept, kept)]


def test_what_no_text_in_a_database_may_hold_is_left_out(place: Place) -> None:
    ledger = Ledger(SETTINGS, place)
    ledger.book(exchange(error="a\0b"))
    ledger.book(exchange(attempt(usage=Usage(input=2**70))))
    ledger.close()
    large, small = rows(place)
    assert (small["error"], large["fresh_tokens"]) == ("ab", 2**53)


def test_a_locked_ledger_delays_and_loses_nothing(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Ledger(SETTINGS, path).close()
    noticed = threading.Event()
    monkeypatch.setattr(Ledger, "_unwell", _telling(Ledger._unwell, noticed))  # pyright: ignore[reportPrivateUsage]
    with closing(open_ledger(path)) as other, other.writing():
        ledger = Ledger(SETTINGS, path)
        for _ in range(3):
            ledger.book(exchange())
        assert noticed.wait(10)
        assert "locked" in ledger.trouble
    ledger.close()
    assert ledger.trouble == ""
    assert len(rows(path)) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def _telling(method, event):
    def told(*arguments):
        method(*arguments)
        event.set()

    return told


@pytest.mark.asyncio(loop_scope="session")
async def test_a_killed_server_delays_and_loses_nothing(
    server: PostgresServer | None, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = empty(server)
    assert server
    well, unwell = threading.Event(), threading.Event()
    monkeypatch.setattr(Ledger, "_unwell", _telling(Ledger._unwell, unwell))  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(Ledger, "_well", _telling(Ledger._well, well))  # pyright: ignore[reportPrivateUsage]
    ledger = Ledger(SETTINGS, place)
    for _ in range(3):
        ledger.book(exchange())
    assert well.wait(10)
    await server.kill()
    for _ in range(4):
        ledger.book(exchange())
    assert unwell.wait(10)
    assert (ledger.trouble.split(":")[0], ledger.waiting) == ("PostgreSQL", 4)
    assert ledger.spent_usd("me", 0) == 0.0
    with pytest.raises(LedgerFault, match="PostgreSQL: OperationalError"):
        open_ledger(place, read_only=True)
    well.clear()
    await server.start()
    assert well.wait(10)
    assert ledger.trouble == ""
    ledger.close()
    assert (count(place), count(place, "attempt"), ledger.lost) == (7, 7, 0)


def test_a_place_where_nothing_can_be_written_is_told_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MAX_WAITING", 10)
    (tmp_path / "file").touch()
    nowhere: list[Place] = [
        tmp_path / "file" / "usage.db",
        Database(f"postgresql://me:secret-word@/db?host={tmp_path}"),
    ]
    for place in nowhere:
        ledger = Ledger(SETTINGS, place)
        for _ in range(25):
            ledger.book(exchange())
        ledger.close()
        assert ledger.trouble
        assert "secret-word" not in ledger.trouble
        assert ledger.lost == 15
        assert ledger.waiting == 10


def test_what_cannot_be_read_is_asked_for_a_little_later(path: Path) -> None:
    clock = Clock()
    ledger = Ledger(SETTINGS, path, clock=clock)
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    assert ledger.spent_usd("me", 0) == 0.0
    path.unlink()
    ledger.book(exchange())
    ledger.close()
    assert ledger.spent_usd("me", 0) == 0.0
    clock.pass_s(ledgers.ASKED_AGAIN_AFTER_S)
    assert ledger.spent_usd("me", 0) > 0.0


def test_a_damaged_file_is_told_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    ledger = Ledger(SETTINGS, path)
    ledger.book(exchange())
    ledger.close()
    assert "not a database" in ledger.trouble
    assert path.read_bytes().startswith(b"this is no database")


def test_a_ledger_of_a_later_release_is_left_alone(place: Place) -> None:
    with closing(open_ledger(place)) as connection, connection.writing():
        connection.define("CREATE TABLE later (seq INTEGER PRIMARY KEY)", 99)
    ledger = Ledger(SETTINGS, place)
    ledger.book(exchange())
    ledger.close()
    assert "version 99" in ledger.trouble
    with pytest.raises(NewerLedger, match="knows up to 1"):
        open_ledger(place)


def test_the_same_exchange_is_counted_once(place: Place) -> None:
    over = exchange()
    for _ in range(2):
        ledger = Ledger(SETTINGS, place)
        ledger.book(over)
        ledger.close()
    with reading(place) as connection:
        (total,) = totals(connection, NOON_S, NOON_S + 1, "key")
    assert total["exchanges"] == 1


def test_an_end_that_comes_at_any_moment_is_heard(path: Path, quick: None) -> None:
    ledger = Ledger(SETTINGS, path)
    booked = ledger._is_booked

    class Late(threading.Event):
        """The end comes when a batch is about to be written."""

        def clear(self) -> None:
            ledger._is_closing.set()
            self.set()
            super().clear()

    ledger._is_booked = Late()
    booked.set()
    ledger._thread.join(10)
    assert not ledger._thread.is_alive()


def test_gateways_that_share_a_ledger_write_all_of_it_once(server: PostgresServer | None, quick: None) -> None:
    """From the tables on, which all of them find missing."""
    place, size = empty(server), 200
    sharing = [Ledger(SETTINGS, place) for _ in range(4)]
    twice = exchange()
    for number in range(size):
        for index, ledger in enumerate(sharing):
            ledger.book(exchange(attempt(credential=f"login {index}"), started_s=NOON_S + number))
    for ledger in sharing:
        ledger.book(twice)
        ledger.close()
        assert (ledger.trouble, ledger.waiting, ledger.lost) == ("", 0, 0)
    with reading(place) as connection:
        sums = {row["credential"]: row["exchanges"] for row in totals(connection, NOON_S, NOON_S + 1, "credential")}
        written = journal(connection, limit=10_000)
    assert sums == {**{f"login {index}": size for index in range(4)}, "claude sk-t…#abc123": 1}
    assert [row["seq"] for row in written] == list(range(4 * size + 1, 0, -1))
    assert len({row["id"] for row in written}) == 4 * size + 1


def test_numbers_are_in_the_order_of_commits(server: PostgresServer | None) -> None:
    """Whoever has read up to a number misses nothing that comes with a smaller one."""
    place, waiting = empty(server), "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    earlier, later = exchange(), exchange()
    with closing(open_ledger(place)) as first, closing(open_ledger(place)) as second:
        writer = threading.Thread(target=write_rows, args=(second, [rows_of(later)]))
        with first.writing():
            write_rows(first, [rows_of(earlier)])
            writer.start()
            while not first.rows(waiting):
                assert writer.is_alive()
            assert rows(place) == []
        writer.join()
    assert [(row["seq"], row["id"]) for row in rows(place)] == [(2, later.id), (1, earlier.id)]


def test_the_journal_ends_and_the_sums_stay(place: Place) -> None:
    clock = Clock()
    clock.now_s = NOON_S + 100 * 86_400
    ledger = Ledger(SETTINGS.model_copy(update={"keep_days": 30}), place, clock=clock)
    for days in (0, 60, 80, 99):
        ledger.book(exchange(started_s=NOON_S + days * 86_400))
    ledger.close()
    assert sorted(row["started_s"] for row in rows(place)) == [NOON_S + 80 * 86_400, NOON_S + 99 * 86_400]  # pyright: ignore[reportArgumentType]
    with reading(place) as connection:
        assert len(totals(connection, 0, clock(), "day")) == 4
    assert count(place, "attempt") == 2


def test_a_ledger_that_is_too_large_loses_its_oldest(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "REMOVED_AT_ONCE", 200)
    small = SETTINGS.model_copy(update={"max_size_mb": 1, "keep_days": 0})
    ledger = Ledger(small, place)
    for number in range(4000):
        ledger.book(exchange(started_s=NOON_S + number, dropped=["x" * 100]))
    ledger.close()
    # It was looked at before the last batch, as it is every so often.
    Ledger(small, place).close()
    with reading(place) as connection:
        (kept,) = connection.rows("SELECT COUNT(*) AS size, MIN(started_s) AS oldest FROM exchange")
        assert not connection.exceeds(1024 * 1024)
        assert connection.exceeds(512 * 1024)
    assert 0 < kept["size"] < 4000
    assert kept["oldest"] == NOON_S + 4000 - kept["size"]


def test_one_gateway_prunes_at_a_time(server: PostgresServer | None) -> None:
    place = empty(server)
    clock = Clock()
    with closing(open_ledger(place)) as other:
        with other.pruning() as is_ours:
            assert is_ours
            ledger = Ledger(SETTINGS, place, clock=clock)
            ledger.book(exchange(started_s=clock() - 200 * 86_400))
            ledger.close()
            assert count(place) == 1
        Ledger(SETTINGS, place, clock=clock).close()
    assert count(place) == 0


CHILD = """
import sys
from pathlib import Path
from cliproxy.config.schema import UsageLedger
from cliproxy.database import Database
from cliproxy.usage.ledger import Ledger
from tests.usage.exchanges import exchange
place = Path(sys.argv[1]) if len(sys.argv) == 2 else Database(*sys.argv[1:])
ledger = Ledger(UsageLedger(), place)
for line in sys.stdin:
    ledger.book(exchange())
    print("booked", flush=True)
"""


def test_a_killed_process_loses_its_last_batch_at_most(place: Place) -> None:
    words = [place.dsn, place.schema] if isinstance(place, Database) else [str(place)]
    command = [sys.executable, "-c", CHILD, *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        written = _written(place)
        child.stdin.write("x\n")
        child.stdin.flush()
        assert child.stdout.readline() == "booked\n"
        next(written)
        os.kill(child.pid, signal.SIGKILL)
    ledger = Ledger(SETTINGS, place)
    ledger.book(exchange())
    ledger.close()
    assert len(rows(place)) == 2


def _written(place: Place) -> Iterator[None]:
    """Comes back once something is there."""
    while True:
        try:
            if rows(place):
                yield
        except LedgerFault:
            continue

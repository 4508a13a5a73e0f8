"""The ledger: what was asked, of whom, and what it cost, in SQLite. Written by one thread, off the way of requests.

`book` only lays an exchange down. The thread wakes for the first, lets others gather and writes twice a second at most,
a batch in one transaction: a stop loses nothing, a killed process its last batch. While the file cannot be written
(full, locked, read-only) the batches wait, up to a limit, and `trouble` says so; a request never notices.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import platformdirs

from cliproxy.config.schema import UsageLedger
from cliproxy.exchange import Exchange
from cliproxy.usage.queries import spent_usd
from cliproxy.usage.rows import Row, Unpriced, priced, unpriced_rows_of
from cliproxy.usage.schema import NewerLedger, migrate
from cliproxy.usage.sums import LATENCY_KEY, USAGE_KEY, latency_rows, usage_rows

logger = logging.getLogger(__name__)

BATCH_EVERY_S = 0.5
MAX_WAITING = 20_000
"""Exchanges that wait while the file cannot be written; of more, the oldest are given up."""
PRUNED_EVERY_S = 600.0
PRUNED_AT_ONCE = 5_000
"""Exchanges that one transaction removes, so that it stays short."""
BUSY_S = 2.0
_IDS_AT_ONCE = 500
_ROWS_AT_ONCE = 100
DAY_S = 86_400.0
MIB = 1024 * 1024


class Ledger:
    """The ledger of one gateway. All methods may be called from the event loop."""

    def __init__(self, settings: UsageLedger, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self.settings = settings
        self.path = path_of(settings)
        self.trouble = ""
        """Why nothing can be written at the moment; empty when all is well."""
        self.lost = 0
        """Exchanges that were given up."""
        self._clock = clock
        self._booked: deque[Unpriced] = deque()
        self._is_booked = threading.Event()
        self._is_closing = threading.Event()
        self._waiting: list[tuple[Row, list[Row]]] = []
        self._pruned_s = 0.0
        self._thread = threading.Thread(target=self._run, name="usage ledger", daemon=True)
        self._thread.start()

    def book(self, exchange: Exchange) -> None:
        """Take an exchange that is over."""
        self._booked.append(unpriced_rows_of(exchange))
        # To wake the thread for each would cost the event loop more than all the writing does.
        if not self._is_booked.is_set():
            self._is_booked.set()

    @property
    def waiting(self) -> int:
        """How many exchanges are not written yet."""
        return len(self._booked) + len(self._waiting)

    def close(self) -> None:
        """Write what is left, and end. Blocks until then, which is a moment."""
        self._is_closing.set()
        self._is_booked.set()
        self._thread.join()

    def spent_usd(self, client_key: str, since_s: float) -> float:
        """What a client key has cost since the start of an hour; 0 while the file cannot be read. Blocks."""
        try:
            with contextlib.closing(open_ledger(self.path, read_only=True)) as connection:
                return spent_usd(connection, client_key, since_s)
        except sqlite3.Error:
            return 0.0

    # ------------------------------------------------------------ the writing thread

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        stopping = False
        while not stopping:
            stopping = self._gather()
            try:
                connection = connection or open_ledger(self.path)
                self._write(connection)
                self._prune(connection)
                self._well()
            except (sqlite3.Error, OSError, NewerLedger) as error:
                self._unwell(error)
                if connection:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    connection = None
        if connection:
            connection.close()

    def _gather(self) -> bool:
        """Wait for an exchange, and for what else comes within the time of a batch. True: that was all."""
        # Nobody is waited for without end while there is something to write.
        self._is_booked.wait(BATCH_EVERY_S if self._waiting else None)
        is_last = self._is_closing.wait(BATCH_EVERY_S)
        self._is_booked.clear()
        while self._booked:
            # Prices are looked up here, where nobody waits for them.
            self._waiting.append(priced(self._booked.popleft()))
        if (surplus := len(self._waiting) - MAX_WAITING) > 0:
            del self._waiting[:surplus]
            self.lost += surplus
        return is_last

    def _write(self, connection: sqlite3.Connection) -> None:
        if self._waiting:
            write_rows(connection, self._waiting)
            self._waiting.clear()

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Remove the oldest of the journal beyond what is to be kept."""
        now_s = self._clock()
        if now_s - self._pruned_s < PRUNED_EVERY_S:
            return
        self._pruned_s = now_s
        keep_days, keep_bytes = self.settings.keep_days, self.settings.max_size_mb * MIB
        if keep_days:
            while _remove(connection, "started_s < ?", now_s - keep_days * DAY_S):
                pass
        while keep_bytes and _used_bytes(connection) > keep_bytes and _remove(connection, "?", 1):
            pass
        connection.execute("PRAGMA incremental_vacuum")

    def _well(self) -> None:
        if self.trouble:
            logger.warning("the usage ledger is written again: %s", self.path)
            self.trouble = ""

    def _unwell(self, error: Exception) -> None:
        if self.trouble != str(error):
            self.trouble = str(error)
            # No error: one that is logged while mitmproxy starts would end it.
            logger.warning("the usage ledger %s cannot be written, its rows wait in memory: %s", self.path, error)


def path_of(settings: UsageLedger) -> Path:
    """Where the file is."""
    return Path(settings.path).expanduser() if settings.path else platformdirs.user_data_path("cliproxy") / "usage.db"


def open_ledger(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file, made and brought up to date where it is to be written. Raises sqlite3.Error, OSError, NewerLedger.

    It is readable by its owner only: it names keys and accounts, though it holds no secret.
    """
    if read_only:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
        connection.row_factory = sqlite3.Row
        return connection
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode a crash of the machine may lose the last transactions, a crash of the program none.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def write_rows(connection: sqlite3.Connection, rows: Sequence[tuple[Row, list[Row]]]) -> int:
    """Add exchanges with their attempts in one transaction, but for those that are there already (a commit may succeed
    without saying so); how many were new. The rows get their keys. Raises sqlite3.Error.
    """
    with _transaction(connection):
        known = _known(connection, [exchange["id"] for exchange, _ in rows])
        new = {exchange["id"]: (exchange, attempts) for exchange, attempts in rows if exchange["id"] not in known}
        (last,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM exchange").fetchone()
        for seq, (exchange, attempts) in enumerate(new.values(), last + 1):
            exchange["seq"] = seq
            for attempt in attempts:
                attempt["exchange_seq"] = seq
        exchanges = [exchange for exchange, _ in new.values()]
        _insert(connection, "exchange", exchanges)
        _insert(connection, "attempt", [attempt for _, attempts in new.values() for attempt in attempts])
        _add(connection, "usage_hour", usage_rows(exchanges), USAGE_KEY)
        _add(connection, "latency_hour", latency_rows(exchanges), LATENCY_KEY)
    return len(exchanges)


def _known(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are there."""
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[start : start + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(part))
        found.update(id for (id,) in connection.execute(f"SELECT id FROM exchange WHERE id IN ({marks})", part))  # noqa: S608 - marks only
    return found


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Many rows a statement: for each step of one, this thread lets go of the interpreter and has to get it back."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        columns, marks = ", ".join(part[0]), f"({', '.join('?' * len(part[0]))})"
        values = [value for row in part for value in row.values()]
        connection.execute(f"INSERT INTO {table} ({columns}) VALUES {', '.join([marks] * len(part))}", values)  # noqa: S608 - names of our own


def _add(connection: sqlite3.Connection, table: str, rows: Sequence[Row], key: Sequence[str]) -> None:
    """Add rows' numbers to those of the rows with the same key."""
    if rows:
        columns, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
        sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in rows[0] if name not in key)
        connection.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}",  # noqa: S608 - names of our own
            rows,
        )


def _remove(connection: sqlite3.Connection, condition: str, value: float) -> int:
    """Remove some of the oldest exchanges that meet a condition; how many."""
    with _transaction(connection):
        removed = connection.execute(
            "DELETE FROM exchange WHERE seq IN "  # noqa: S608 - conditions of our own
            f"(SELECT seq FROM exchange WHERE {condition} ORDER BY seq LIMIT {PRUNED_AT_ONCE})",
            (value,),
        ).rowcount
    return removed


def _used_bytes(connection: sqlite3.Connection) -> int:
    (pages,), (free,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size

"""The ledger in a file of SQLite's, which is readable by its owner only: it names keys and accounts, though it holds no
secret."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from cliproxy.usage.connection import LedgerFault, Parameters, Unstorable
from cliproxy.usage.rows import Row

BUSY_S = 2.0
_ROWS_AT_ONCE = 100
_TROUBLES = (sqlite3.Error, OSError, UnicodeEncodeError, OverflowError)


class SqliteLedger:
    """See `LedgerConnection`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        try:
            found = self.connection.execute(statement, parameters)
            names = [name for name, *_ in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]
        except _TROUBLES as error:
            raise _fault(error) from error

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        try:
            return self.connection.execute(statement, parameters).rowcount
        except _TROUBLES as error:
            raise _fault(error) from error

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        # Many rows a statement: for each step of one, this thread lets go of the interpreter and has to get it back.
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            columns, marks = ", ".join(part[0]), f"({', '.join('?' * len(part[0]))})"
            values = [value for row in part for value in row.values()]
            self.run(f"INSERT INTO {table} ({columns}) VALUES {', '.join([marks] * len(part))}", values)  # noqa: S608 - names of our own

    def run_for_each(self, statement: str, rows: Sequence[Row]) -> None:
        try:
            self.connection.executemany(statement, rows)
        except _TROUBLES as error:
            raise _fault(error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            with contextlib.suppress(LedgerFault):
                self.run("ROLLBACK")
            raise

    @contextlib.contextmanager
    def pruning(self) -> Iterator[bool]:
        # Two gateways on one file are none that are started on purpose.
        yield True

    def version(self) -> int:
        return self._pragma("user_version")

    def define(self, script: str, version: int) -> None:
        for statement in script.strip().split(";"):
            self.run(statement)
        self.run(f"PRAGMA user_version = {version}")

    def exceeds(self, limit_bytes: int) -> bool:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size") > limit_bytes

    def shrink(self) -> None:
        self.run("PRAGMA incremental_vacuum")

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def _pragma(self, name: str) -> int:
        (found,) = self.rows(f"PRAGMA {name}")
        return found[name]


def opened(path: Path, *, read_only: bool) -> SqliteLedger:
    """A file that is there already, or is made if it may be written. Raises LedgerFault."""
    try:
        if read_only:
            return SqliteLedger(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        ledger = SqliteLedger(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False))
    except _TROUBLES as error:
        raise _fault(error) from error
    try:
        ledger.run("PRAGMA auto_vacuum = INCREMENTAL")
        ledger.run("PRAGMA journal_mode = WAL")
        # In WAL mode a crash of the machine may lose the last transactions, a crash of the program none.
        ledger.run("PRAGMA synchronous = NORMAL")
        ledger.run("PRAGMA foreign_keys = ON")
    except BaseException:
        ledger.close()
        raise
    return ledger


def in_memory() -> SqliteLedger:
    """One that is gone when it is closed."""
    return SqliteLedger(sqlite3.connect(":memory:", isolation_level=None))


def _fault(error: Exception) -> LedgerFault:
    is_of_value = isinstance(error, UnicodeEncodeError | OverflowError)
    return Unstorable(str(error)) if is_of_value else LedgerFault(str(error))

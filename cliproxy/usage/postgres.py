"""The ledger in PostgreSQL, which several gateways write together.

Its tables are in the schema that gateways share, beside CLIProxyAPI's and maybe a user's own: their names begin with
`cliproxy_`. A schema of our own would need a right that its user may lack. Statements name the schema, so that nothing
depends on what a connection is set to. An advisory lock makes writers wait for each other, as a file's does in SQLite.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.numeric import IntDumper

from cliproxy.database import Database
from cliproxy.postgres import connected_blocking, lock_number, trouble
from cliproxy.usage.connection import LedgerFault, Parameters, Unstorable
from cliproxy.usage.rows import Row

_PATIENCE = """
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '30s';
"""
"""A gateway that stands still must not keep the others from writing for ever."""
_TABLES = "exchange|attempt|usage_hour|latency_hour|ledger_version"
_QUOTED = r"""'[^']*'|"[^"]*\""""
_TOKEN = re.compile(rf"{_QUOTED}|(?P<percent>%)|(?P<mark>\?)|:(?P<name>\w+)|\b(?P<table>{_TABLES})\b")
_WORDS = {
    "INTEGER": "BIGINT",
    "REAL": "DOUBLE PRECISION",
    # Sorted by bytes as in SQLite, and whatever release of the C library the server has.
    "TEXT": 'TEXT COLLATE "C"',
    " WITHOUT ROWID": "",
}
_WORD = re.compile(rf"{'|'.join(_WORDS)}|(?<=CREATE INDEX )\w+ ")
"""The name of an index would have to be one of its schema; without any, it gets one."""


class PostgresLedger:
    """See `LedgerConnection`."""

    def __init__(self, schema: str, connection: Connection) -> None:
        self._schema = schema
        self._connection = connection

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        with _faults(), self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(self._translated(statement), parameters).fetchall()

    def run(self, statement: str, parameters: Parameters = ()) -> int:
        with _faults():
            return self._connection.execute(self._translated(statement), parameters).rowcount

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        # Statements with so many parameters cost five times as much.
        if rows:
            statement = self._translated(f"COPY {table} ({', '.join(rows[0])}) FROM STDIN")
            with _faults(), self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(tuple(row.values()))

    def run_for_each(self, statement: str, rows: Sequence[Row]) -> None:
        with _faults(), self._connection.cursor() as cursor:
            cursor.executemany(self._translated(statement), rows)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        with _faults(), self._connection.transaction():
            self.run("SELECT pg_advisory_xact_lock(?)", [self._lock("written")])
            yield

    @contextlib.contextmanager
    def pruning(self) -> Iterator[bool]:
        lock = [self._lock("pruned")]
        (found,) = self.rows("SELECT pg_try_advisory_lock(?) AS is_ours", lock)
        try:
            yield found["is_ours"]
        finally:
            if found["is_ours"]:
                with contextlib.suppress(LedgerFault):
                    self.run("SELECT pg_advisory_unlock(?)", lock)

    def version(self) -> int:
        # Functions like to_regclass may not know yet what another connection has just made.
        question = "SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = 'cliproxy_ledger_version'"
        is_there = self.rows(question, [self._schema])
        return self.rows("SELECT version FROM ledger_version")[0]["version"] if is_there else 0

    def define(self, script: str, version: int) -> None:
        if version == 1:
            self._begin()
        for statement in script.strip().split(";"):
            self.run(_WORD.sub(lambda word: _WORDS.get(word[0], ""), statement))
        self.run("UPDATE ledger_version SET version = ?", [version])

    def _begin(self) -> None:
        # Who may not make schemas may not do so either where there is one already.
        if not self.rows("SELECT 1 FROM pg_namespace WHERE nspname = ?", [self._schema]):
            self.run(f"CREATE SCHEMA {_quoted(self._schema)}")
        self.run("CREATE TABLE ledger_version (version BIGINT NOT NULL)")
        self.run("INSERT INTO ledger_version VALUES (0)")

    def exceeds(self, limit_bytes: int) -> bool:
        # A table's file does not become smaller by what is removed: the rows themselves are measured, at some cost.
        return self._file_bytes() > limit_bytes and self._live_bytes() > limit_bytes

    def _file_bytes(self) -> int:
        tables = [self._table("exchange"), self._table("attempt")]
        question = "SELECT pg_total_relation_size(CAST(? AS regclass)) + pg_total_relation_size(CAST(? AS regclass))"
        return self.rows(f"{question} AS bytes", tables)[0]["bytes"]

    def _live_bytes(self) -> int:
        size = "CAST(COALESCE(SUM(pg_column_size(kept)), 0) AS BIGINT) AS bytes"
        tables = ("exchange", "attempt")
        return sum(self.rows(f"SELECT {size} FROM {table} AS kept")[0]["bytes"] for table in tables)  # noqa: S608 - ours

    def shrink(self) -> None:
        """PostgreSQL fills the room of what was removed by itself."""

    def close(self) -> None:
        self._connection.close()

    # ------------------------------------------------------------ its words

    def _translated(self, statement: str) -> bytes:
        return _translated(statement, self._schema)

    def _table(self, name: str) -> str:
        return _qualified(name, self._schema)

    def _lock(self, what: str) -> int:
        return lock_number(f"{self._schema}/usage ledger/{what}")


def opened(database: Database) -> PostgresLedger:
    """A ledger whose tables may not be there yet. Raises LedgerFault."""
    with _faults():
        connection = connected_blocking(database)
        try:
            connection.execute(_PATIENCE)
        except BaseException:
            connection.close()
            raise
    # As in SQLite, truth is a number.
    connection.adapters.register_dumper(bool, IntDumper)
    return PostgresLedger(database.schema, connection)


@lru_cache(maxsize=256)
def _translated(statement: str, schema: str) -> bytes:
    """From SQLite's words for parameters and tables to psycopg's and ours."""

    def word(token: re.Match[str]) -> str:
        match token.lastgroup:
            case "percent":
                return "%%"
            case "mark":
                return "%s"
            case "name":
                return f"%({token['name']})s"
            case "table":
                return _qualified(token["table"], schema)
            case _:
                return token[0].replace("%", "%%")

    return _TOKEN.sub(word, statement).encode()


def _qualified(table: str, schema: str) -> str:
    return f"{_quoted(schema)}.cliproxy_{table}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """PostgreSQL's troubles as the ledger's."""
    try:
        yield
    except (UnicodeEncodeError, psycopg.DataError) as error:
        raise Unstorable(_words(error)) from None
    except psycopg.Error as error:
        raise LedgerFault(_words(error)) from None


def _words(error: Any) -> str:
    return trouble(error) if isinstance(error, psycopg.Error) else str(error)

"""Connections to PostgreSQL, as everything that is kept there uses them.

Whoever holds a lock holds it by a connection; a machine that is gone without a word has lost its own in half a minute.
"""

import hashlib
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cliproxy.database import Database

_OURS = "connect_timeout=10 tcp_user_timeout=30000 keepalives_idle=10 keepalives_interval=5 keepalives_count=3"
_THEIRS = """
SET tcp_user_timeout = 30000;
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
"""
"""How each end notices that the other one is gone."""
_LASTING = "SET idle_session_timeout = 0;"
"""A lock is as good as its connection, which may have nothing to do meanwhile."""
_READING = "SET default_transaction_isolation = 'read committed';"
"""Who has waited for a lock sees what the one before wrote, whatever the server's or the role's default is."""


async def connected(database: Database) -> AsyncConnection:
    """A connection; each statement is a transaction of its own. Raises psycopg.Error."""
    connection = await AsyncConnection.connect(_address(database), autocommit=True)
    try:
        await connection.execute(_THEIRS + _LASTING + _READING)
    except BaseException:
        await connection.close()
        raise
    return connection


def connected_blocking(database: Database) -> Connection:
    """As `connected`, for threads. Raises psycopg.Error."""
    connection = psycopg.connect(_address(database), autocommit=True)
    try:
        connection.execute(_THEIRS + _LASTING + _READING)
    except BaseException:
        connection.close()
        raise
    return connection


def _address(database: Database) -> str:
    """What the user's address says counts more than what is ours."""
    asked: dict[str, Any] = conninfo_to_dict(database.dsn)
    return make_conninfo(_OURS, **asked)


async def make_tables(connection: AsyncConnection, schema: str, script: str) -> None:
    """Run a script that makes tables, in a schema that is made where there is none. Raises psycopg.Error."""
    async with connection.transaction():
        # Two that make the same at once would fail.
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_number("cliproxy tables"),))
        # Who may not make schemas may not do so either where there is one already.
        found = await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
        if not await found.fetchone():
            await connection.execute(composed("CREATE SCHEMA {schema}", schema))
        await connection.execute(composed(script, schema))


def composed(statement: str, schema: str, **names: str) -> sql.Composed:
    """A statement with `{schema}` and other names in their places, quoted. Ours, never a user's."""
    identifiers = {name: sql.Identifier(value) for name, value in {"schema": schema, **names}.items()}
    return sql.SQL(statement).format(**identifiers)  # pyright: ignore[reportArgumentType]


def lock_number(name: str) -> int:
    """The advisory lock of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def trouble(error: psycopg.Error) -> str:
    """What is wrong, without what may be secret: messages quote values, and addresses with passwords."""
    return f"PostgreSQL: {error.sqlstate or type(error).__name__}"

"""Connections to PostgreSQL, as everything that is kept there uses them.

Whoever holds a lock holds it by a connection; a machine that is gone without a word has lost its own in half a minute.
"""

import hashlib

import psycopg
from psycopg import AsyncConnection, Connection, sql

from cliproxy.database import Database

CONNECT_S = 10
_PROBED = """
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 30000;
"""


async def connected(database: Database) -> AsyncConnection:
    """A connection; each statement is a transaction of its own. Raises psycopg.Error."""
    connection = await AsyncConnection.connect(database.dsn, autocommit=True, connect_timeout=CONNECT_S)
    try:
        await connection.execute(_PROBED)
    except BaseException:
        await connection.close()
        raise
    return connection


def connected_blocking(database: Database) -> Connection:
    """As `connected`, for threads. Raises psycopg.Error."""
    connection = psycopg.connect(database.dsn, autocommit=True, connect_timeout=CONNECT_S)
    try:
        connection.execute(_PROBED)
    except BaseException:
        connection.close()
        raise
    return connection


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

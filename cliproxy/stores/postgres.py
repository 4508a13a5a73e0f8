"""Documents in PostgreSQL, in CLIProxyAPI's own tables: whoever has them there goes on with them.

Other gateways are told of changes by NOTIFY, which triggers send whoever the writer is. Locks are advisory ones of a
connection, so that they end with it.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import AsyncConnection

from cliproxy.database import Database
from cliproxy.postgres import composed, connected, lock_number, trouble
from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, StoreAway

_CHANNEL = "cliproxy_documents"
_LISTENED_FOR_S = 30.0
"""A connection that hears nothing for so long is asked whether it still is one."""

_TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.config_store (
    id TEXT PRIMARY KEY, content TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS {schema}.auth_store (
    id TEXT PRIMARY KEY, content JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE OR REPLACE FUNCTION {schema}.cliproxy_tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('cliproxy_documents', TG_TABLE_SCHEMA); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER cliproxy_tell AFTER INSERT OR UPDATE OR DELETE ON {schema}.config_store
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.cliproxy_tell();
CREATE OR REPLACE TRIGGER cliproxy_tell AFTER INSERT OR UPDATE OR DELETE ON {schema}.auth_store
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.cliproxy_tell();
"""
_CONFIG_ID = "config"

_SELECT = "SELECT content::text FROM {schema}.{table} WHERE id = %s"
_SELECT_LASTING = "SELECT content::text FROM {schema}.{table} WHERE id = %s FOR UPDATE"
_INSERT = """
INSERT INTO {schema}.{table} (id, content) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING md5(content::text)"""
_UPDATE = """
UPDATE {schema}.{table} SET content = %s, updated_at = now() WHERE id = %s RETURNING md5(content::text)"""
_DELETE = "DELETE FROM {schema}.{table} WHERE id = %s"


class PostgresStore:
    """See `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def versions(self) -> Mapping[str, str]:
        async with self._connected() as connection:
            configs = await self._rows(connection, "SELECT id, md5(content) FROM {schema}.config_store")
            auths = await self._rows(connection, "SELECT id, md5(content::text) FROM {schema}.auth_store")
        found = [(CONFIG, version) for id, version in configs if id == _CONFIG_ID]
        return dict([*found, *((AUTHS + id, version) for id, version in auths)])

    async def read(self, path: str) -> Document | None:
        async with self._connected() as connection:
            return await self._read(connection, path)

    async def _read(self, connection: AsyncConnection, path: str, *, lasting: bool = False) -> Document | None:
        table, id = _place(path)
        rows = await self._rows(connection, _SELECT_LASTING if lasting else _SELECT, id, table=table)
        if not rows:
            return None
        text: str = rows[0][0]
        content = text if path == CONFIG else json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
        return Document(content.encode(), hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        table, id = _place(path)
        async with self._connected() as connection, connection.transaction():
            await self._expect(connection, path, expected)
            text = content.decode()
            if expected is None:
                rows = await self._rows(connection, _INSERT, id, text, table=table)
            else:
                rows = await self._rows(connection, _UPDATE, text, id, table=table)
            if not rows:
                raise Conflict(path)
            return rows[0][0]

    async def remove(self, path: str, expected: str) -> None:
        table, id = _place(path)
        async with self._connected() as connection, connection.transaction():
            await self._expect(connection, path, expected)
            await connection.execute(composed(_DELETE, self._database.schema, table=table), (id,))

    async def _expect(self, connection: AsyncConnection, path: str, expected: str | None) -> None:
        found = await self._read(connection, path, lasting=True)
        if (found.version if found else None) != expected:
            raise Conflict(path)

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[None]:
        # A connection of its own: it waits in the database while others work, and its end frees the lock.
        connection = await self._connect()
        try:
            with _away():
                await connection.execute(
                    "SELECT pg_advisory_lock(%s)", (lock_number(f"{self._database.schema}/{path}"),)
                )
            yield
        finally:
            await connection.close()

    async def changes(self) -> AsyncGenerator[None]:
        connection = await self._connect()
        try:
            with _away():
                await connection.execute(f"LISTEN {_CHANNEL}")
            yield
            while True:
                with _away():
                    heard = [told async for told in connection.notifies(timeout=_LISTENED_FOR_S, stop_after=1)]
                    if not heard:
                        await connection.execute("SELECT 1")
                if any(told.payload == self._database.schema for told in heard):
                    yield
        finally:
            await connection.close()

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()
            self._connection = None

    # ------------------------------------------------------------ the connection

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """The connection for short work, one at a time; made anew where it broke."""
        async with self._turn:
            if self._connection is None:
                self._connection = await self._connect()
                with _away():
                    async with self._connection.transaction():
                        # Two that make the same tables at once would fail.
                        await self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_number(_CHANNEL),))
                        await self._connection.execute(composed(_TABLES, self._database.schema))
            try:
                with _away():
                    yield self._connection
            except StoreAway:
                await self.close()
                raise

    async def _connect(self) -> AsyncConnection:
        with _away():
            return await connected(self._database)

    async def _rows(self, connection: AsyncConnection, statement: str, *values: str, table: str = "") -> list[tuple]:
        cursor = await connection.execute(composed(statement, self._database.schema, table=table), values or None)
        return await cursor.fetchall()


def _place(path: str) -> tuple[str, str]:
    """The table and the id."""
    return ("config_store", _CONFIG_ID) if path == CONFIG else ("auth_store", path.removeprefix(AUTHS))


@contextmanager
def _away() -> Iterator[None]:
    """A database's troubles as a store's."""
    try:
        yield
    except psycopg.Error as error:
        raise StoreAway(trouble(error)) from None

"""Documents in PostgreSQL, in CLIProxyAPI's own tables: whoever has them there goes on with them.

Other gateways are told of changes by NOTIFY, which triggers send whoever the writer is. Locks are advisory ones of a
connection, so that they end with it.

A server that says nothing, or a network that has swallowed it, is given up soon: see `_answering`.

A login that is renewed while the database goes away is newer with whoever renewed it than in the database, and its old
refresh token must not be spent again. So the holder of a lock leaves its name, and takes it back when the database has
what it knows (`settle`). Whoever gets the lock and finds another one's name waits for that, though not for long where
the holder was ended: then its connection closed at once, while the server went on.
"""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import DataError, LockNotAvailable, QueryCanceled
from psycopg.pq import ConnStatus

from cliproxy.database import Database
from cliproxy.postgres import composed, connected, lock_number, make_tables, trouble
from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, Lease, StoreAway, Unfit, is_document

_CHANNEL = "cliproxy_documents"
_LISTENED_FOR_S = 30.0
"""A connection that hears nothing for so long is asked whether it still is one."""
_ANSWERED_WITHIN_S = 5.0
"""What is asked here takes milliseconds. Whoever waits for it may hold up a refresh."""
_LOCK_AWAITED_FOR = "2s"
"""How long the server is silent while another one has a lock; then it is asked for it once more, as often as needed."""

_TABLES = """
CREATE TABLE IF NOT EXISTS {schema}.config_store (
    id TEXT PRIMARY KEY, content TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS {schema}.auth_store (
    id TEXT PRIMARY KEY, content JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS {schema}.cliproxy_lock_holder (
    path TEXT PRIMARY KEY, holder TEXT NOT NULL, lease TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL, server_began TIMESTAMPTZ NOT NULL);
CREATE OR REPLACE FUNCTION {schema}.cliproxy_tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('cliproxy_documents', TG_TABLE_SCHEMA); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER cliproxy_tell AFTER INSERT OR UPDATE OR DELETE ON {schema}.config_store
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.cliproxy_tell();
CREATE OR REPLACE TRIGGER cliproxy_tell AFTER INSERT OR UPDATE OR DELETE ON {schema}.auth_store
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.cliproxy_tell();
"""
_MADE = """
SELECT to_regclass(%s || '.cliproxy_lock_holder') IS NOT NULL AND 2 = (SELECT count(*) FROM pg_trigger
    WHERE tgname = 'cliproxy_tell'
    AND tgrelid IN (to_regclass(%s || '.config_store'), to_regclass(%s || '.auth_store')))"""
"""Whether all is there: making it locks the tables, and not everyone may."""
_CONFIG_ID = "config"

_HOLD = """
INSERT INTO {schema}.cliproxy_lock_holder VALUES (%s, %s, %s, clock_timestamp(), pg_postmaster_start_time())
ON CONFLICT (path) DO UPDATE SET
    holder = excluded.holder, lease = excluded.lease, since = excluded.since, server_began = excluded.server_began"""
_HELD = """
SELECT extract(epoch FROM clock_timestamp() - since)::float8, server_began = pg_postmaster_start_time()
FROM {schema}.cliproxy_lock_holder WHERE path = %s AND holder <> %s"""
_UNSETTLED = "SELECT path, lease FROM {schema}.cliproxy_lock_holder WHERE holder = %s"
_SETTLE = "DELETE FROM {schema}.cliproxy_lock_holder WHERE path = %s AND lease = %s"
_CLOSED_WITHIN_S = 15.0
"""A lock that was lost sooner was lost with its holder: a connection that is cut is found to be so only later."""
_SPARED_S = 2.0
"""A holder that was ended is waited for so long all the same: its connection alone may have been."""
_WAITED_FOR_S = 60.0
"""How long a holder that went away with the server or the network has to come back."""
_LOOKED_EVERY_S = 0.25
_MAX_LOCKS = 16
"""At once; each is a connection, of which a server may have a hundred for all gateways."""

_SELECT = "SELECT content::text FROM {schema}.{table} WHERE id = %s"
_SELECT_LASTING = "SELECT content::text FROM {schema}.{table} WHERE id = %s FOR UPDATE"
_INSERT = """
INSERT INTO {schema}.{table} (id, content) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING md5(content::text)"""
_UPDATE = """
UPDATE {schema}.{table} SET content = %s, updated_at = now() WHERE id = %s RETURNING md5(content::text)"""
_DELETE = "DELETE FROM {schema}.{table} WHERE id = %s"


class PostgresStore:
    """See `Store`."""

    name: ClassVar[str] = "PostgreSQL"

    def __init__(self, database: Database, holder: str) -> None:
        """holder: the name of whoever holds locks, the same after a restart."""
        self._database = database
        self._holder = holder
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._locks = asyncio.Semaphore(_MAX_LOCKS)
        self._leases: set[Lease] = set()
        """Of the locks that are had now, or may be in a moment."""

    async def versions(self) -> Mapping[str, str]:
        async with self._connected() as connection:
            configs = await self._rows(connection, "SELECT id, md5(content) FROM {schema}.config_store")
            auths = await self._rows(connection, "SELECT id, md5(content::text) FROM {schema}.auth_store")
        found = [(CONFIG, version) for id, version in configs if id == _CONFIG_ID]
        found += [(AUTHS + id, version) for id, version in auths]
        return {path: version for path, version in found if is_document(path)}

    async def read(self, path: str, version: str | None = None) -> Document | None:
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
        async with self._connected() as connection:
            try:
                text = content.decode()
                async with connection.transaction():
                    await self._expect(connection, path, expected)
                    if expected is None:
                        rows = await self._rows(connection, _INSERT, id, text, table=table)
                    else:
                        rows = await self._rows(connection, _UPDATE, text, id, table=table)
            except (UnicodeDecodeError, DataError):
                raise Unfit("PostgreSQL cannot hold what is in it") from None
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
    async def lock(self, path: str) -> AsyncIterator[Lease]:
        async with self._locks, self._locked(path) as lease:
            yield lease

    @asynccontextmanager
    async def _locked(self, path: str) -> AsyncIterator[Lease]:
        # A connection of its own: it waits in the database while others work, and its end frees the lock.
        connection, lease = await self._made_ready(await self._connect()), Lease(path, uuid.uuid4().hex)
        self._leases.add(lease)
        try:
            async with _answering():
                await connection.execute(f"SET lock_timeout = '{_LOCK_AWAITED_FOR}'")
            while not await _taken(connection, lock_number(f"{self._database.schema}/{path}")):
                pass
            began_s = time.monotonic()
            while await self._waits_for_another(connection, path, time.monotonic() - began_s):
                pass
            async with _answering():
                await self._rows(connection, _HOLD, path, self._holder, lease.id)
            yield lease
        finally:
            self._leases.remove(lease)
            await connection.close()

    async def _waits_for_another(self, connection: AsyncConnection, path: str, waited_s: float) -> bool:
        """Whether the holder before may still know better; after a moment. waited_s: for it, until now."""
        async with _answering():
            for age_s, is_same_server in await self._rows(connection, _HELD, path, self._holder):
                was_ended = is_same_server and age_s - waited_s < _CLOSED_WITHIN_S
                if waited_s < _SPARED_S if was_ended else age_s < _WAITED_FOR_S:
                    await asyncio.sleep(_LOOKED_EVERY_S)
                    return True
        return False

    async def unsettled(self) -> Sequence[Lease]:
        async with self._connected() as connection:
            found = await self._rows(connection, _UNSETTLED, self._holder)
        return [lease for path, id in found if (lease := Lease(path, id)) not in self._leases]

    async def settle(self, leases: Sequence[Lease]) -> None:
        async with self._connected() as connection:
            for path, id in leases:
                await self._rows(connection, _SETTLE, path, id)

    async def changes(self) -> AsyncGenerator[None]:
        connection = await self._connect()
        try:
            async with _answering():
                await connection.execute(f"LISTEN {_CHANNEL}")
            yield
            while True:
                if await self._is_told(connection):
                    yield
        finally:
            await connection.close()

    async def _is_told(self, connection: AsyncConnection) -> bool:
        """Whether there was a change of ours."""
        async with _answering(_LISTENED_FOR_S + _ANSWERED_WITHIN_S):
            heard = [told async for told in connection.notifies(timeout=_LISTENED_FOR_S, stop_after=1)]
            if not heard:
                await connection.execute("SELECT 1")
        return any(told.payload == self._database.schema for told in heard)

    async def close(self) -> None:
        await self._disconnect()
        self._turn, self._locks = asyncio.Lock(), asyncio.Semaphore(_MAX_LOCKS)

    # ------------------------------------------------------------ the connection

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """The connection for short work, one at a time; made anew where it broke."""
        async with self._turn:
            try:
                if self._connection and not _is_open(self._connection):
                    await self._disconnect()
                if self._connection is None:
                    self._connection = await self._made_ready(await self._connect())
                async with _answering():
                    yield self._connection
            except (StoreAway, asyncio.CancelledError):
                # Nobody knows where it is.
                await self._disconnect()
                raise

    async def _disconnect(self) -> None:
        if self._connection:
            await self._connection.close()
            self._connection = None

    async def _made_ready(self, connection: AsyncConnection) -> AsyncConnection:
        """With the tables; closed where that fails."""
        try:
            async with _answering():
                schema = self._database.schema
                name = sql.Identifier(schema).as_string(connection)
                (is_made,) = (await self._rows(connection, _MADE, name, name, name))[0]
                if not is_made:
                    await make_tables(connection, schema, _TABLES)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _connect(self) -> AsyncConnection:
        async with _answering():
            return await connected(self._database)

    async def _rows(self, connection: AsyncConnection, statement: str, *values: str, table: str = "") -> list[tuple]:
        cursor = await connection.execute(composed(statement, self._database.schema, table=table), values or None)
        return await cursor.fetchall() if cursor.description else []


def _place(path: str) -> tuple[str, str]:
    """The table and the id."""
    return ("config_store", _CONFIG_ID) if path == CONFIG else ("auth_store", path.removeprefix(AUTHS))


def _is_open(connection: AsyncConnection) -> bool:
    """False where the server has ended it while nobody used it; nothing is asked for that."""
    try:
        connection.pgconn.consume_input()
        # The first one may have met the server's last words.
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return connection.pgconn.status == ConnStatus.OK


async def _taken(connection: AsyncConnection, lock: int) -> bool:
    """Whether the lock is had now; False: another one still has it."""
    async with _answering():
        try:
            await connection.execute("SELECT pg_advisory_lock(%s)", (lock,))
        except (LockNotAvailable, QueryCanceled):  # the latter where the role may not wait so long
            return False
        return True


@asynccontextmanager
async def _answering(within_s: float | None = None) -> AsyncIterator[None]:
    """A database's troubles as a store's, its silence too. Raises StoreAway."""
    within_s = within_s or _ANSWERED_WITHIN_S
    try:
        # psycopg, once cancelled, waits for the server to end the statement; the second time it lets go.
        async with asyncio.timeout(within_s + 1), asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise StoreAway("PostgreSQL: it does not answer") from None
    except psycopg.Error as error:
        raise StoreAway(trouble(error)) from None

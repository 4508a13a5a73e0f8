"""The link to the database that gateways share: a connection to speak and one to listen, made anew when one breaks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection

from cliproxy.database import Database
from cliproxy.postgres import connected, make_tables, trouble

logger = logging.getLogger(__name__)

CHANNEL = "cliproxy_board"
RETRIED_AFTER_S = (0.5, 1.0, 2.0, 5.0)
"""How long a database that is away is let alone, the last for ever."""
STATEMENT_S = 2.0
"""A database that takes longer for one piece of work is taken to be away."""
_LISTENED_FOR_S = 10.0
"""A connection that hears nothing for so long is asked whether it still is one."""

_TABLES = """
CREATE TABLE IF NOT EXISTS {schema}.cliproxy_board (
    kind TEXT NOT NULL, id TEXT NOT NULL, content JSONB,
    at_s DOUBLE PRECISION NOT NULL, until_s DOUBLE PRECISION NOT NULL, PRIMARY KEY (kind, id));
CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.cliproxy_key_use (
    key TEXT NOT NULL, second BIGINT NOT NULL, requests BIGINT NOT NULL, tokens BIGINT NOT NULL,
    PRIMARY KEY (key, second));
CREATE TABLE IF NOT EXISTS {schema}.cliproxy_key_cost (
    key TEXT NOT NULL, month INTEGER NOT NULL, usd DOUBLE PRECISION NOT NULL, PRIMARY KEY (key, month));
"""
"""`board`: what each tells all, newest version; content NULL: it is gone. `key_use`: by the second, for rates, and lost
when the server crashes. `key_cost`: by the month (year * 12 + month), for budgets."""
_MADE = """
SELECT 3 = count(*) FROM pg_tables
WHERE schemaname = %s AND tablename IN ('cliproxy_board', 'cliproxy_key_use', 'cliproxy_key_cost')"""
"""Whether all is there: not everyone may make it."""


class Away(Exception):
    """The database cannot be asked now."""


class Link:
    """See the module. `run` keeps it; everything else may be called at any time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.trouble = "not connected yet"
        """Why the database cannot be asked; empty: it can."""
        self.lost_s = 0.0
        """When it could be asked last, UTC epoch seconds, while it cannot; 0: it never could."""
        self._voice: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._is_broken = asyncio.Event()

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[AsyncConnection]:
        """The connection for short work, for one at a time. Raises Away, also where it breaks meanwhile."""
        async with self._turn:
            if self._voice is None:
                raise Away(self.trouble)
            try:
                # psycopg, once cancelled, waits for the server to end the statement; the second time it lets go.
                async with asyncio.timeout(STATEMENT_S + 1), asyncio.timeout(STATEMENT_S):
                    yield self._voice
            except psycopg.DataError:
                raise
            except (psycopg.Error, TimeoutError) as error:
                self._broke(error)
                raise Away(self.trouble) from None

    async def run(self, greet: Callable[[], Awaitable[None]], heard: Callable[[str], None]) -> None:
        """Keep the link until cancelled. greet: awaited with each new link, before anything is heard over it. heard:
        told what is said on `CHANNEL`, all of it since the greeting began."""
        tries = 0
        while True:
            try:
                async with await connected(self.database) as voice, await connected(self.database) as ear:
                    await self._make_tables(voice)
                    await ear.execute(f"LISTEN {CHANNEL}")
                    self._voice = voice
                    self._is_broken.clear()
                    await greet()
                    self._is_well()
                    tries = 0
                    await self._listen(ear, heard)
            except* (psycopg.Error, TimeoutError) as errors:
                self._broke(errors.exceptions[0])
            except* Away:
                pass  # It is told already.
            finally:
                self._end()
            await asyncio.sleep(RETRIED_AFTER_S[min(tries, len(RETRIED_AFTER_S) - 1)])
            tries += 1

    async def _listen(self, ear: AsyncConnection, heard: Callable[[str], None]) -> None:
        """Until either connection breaks. Raises a group of psycopg.Error, TimeoutError."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(_hear(ear, heard))
            await self._is_broken.wait()
            listening.cancel()

    async def _make_tables(self, voice: AsyncConnection) -> None:
        schema = self.database.schema
        async with asyncio.timeout(STATEMENT_S):
            found = await (await voice.execute(_MADE, (schema,))).fetchone()
            if not (found and found[0]):
                await make_tables(voice, schema, _TABLES)

    def _is_well(self) -> None:
        logger.info("This gateway shares its state with others through PostgreSQL.")
        self.trouble = ""

    def _broke(self, error: Exception) -> None:
        self._is_broken.set()
        told = trouble(error) if isinstance(error, psycopg.Error) else "PostgreSQL does not answer in time"
        if told != self.trouble:
            logger.warning("The database that gateways share is away, this one goes on by itself: %s", told)
        self._end()
        self.trouble = told

    def _end(self) -> None:
        self._voice = None
        if not self.trouble:
            self.lost_s = time.time()
            self.trouble = "not connected"


async def _hear(ear: AsyncConnection, heard: Callable[[str], None]) -> None:
    while True:
        is_silent = True
        async for told in ear.notifies(timeout=_LISTENED_FOR_S, stop_after=1):
            is_silent = False
            heard(told.payload)
        if is_silent:
            async with asyncio.timeout(STATEMENT_S):
                await ear.execute("SELECT 1")

"""A board on which gateways tell each other what they found out: entries by kind and id, of which the newest stands.

What one tells is in the table and with the others within a moment. While the database is away it waits here, the newest
of each entry only, and is weighed by its time against what others told meanwhile.
"""

import asyncio
import logging
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import AsyncConnection

from cliproxy.postgres import composed
from cliproxy.sharing.link import CHANNEL, Away, Link
from cliproxy.wire import json

logger = logging.getLogger(__name__)

TOLD_EVERY_S = 0.05
"""What comes up within this time is told together."""
TOLD_AT_ONCE = 1000
"""Entries of one statement, which a slow database too must be done with in time."""
MAX_ENTRY_BYTES = 6000
"""A notification of PostgreSQL's holds 8,000; what is larger stays here."""
MAX_REMEMBERED = 50_000
REMOVED_FOR_S = 3600.0
"""How long it is known that an entry is gone: a gateway that was cut off for longer may bring it back."""
SWEPT_EVERY_S = 600.0

_TELL = """
WITH said AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb)
        AS entry (kind text, id text, content jsonb, at_s double precision, until_s double precision)),
told AS (
    INSERT INTO {schema}.cliproxy_board AS board (kind, id, content, at_s, until_s)
    SELECT kind, id, NULLIF(content, 'null'), at_s, until_s FROM said
    ON CONFLICT (kind, id) DO UPDATE
    SET content = excluded.content, at_s = excluded.at_s, until_s = excluded.until_s WHERE board.at_s <= excluded.at_s
    RETURNING kind, id, content, at_s)
SELECT pg_notify(%s, jsonb_build_array(%s::text, %s::text, kind, id, content, at_s)::text) FROM told"""
_ALL = "SELECT kind, id, content, at_s FROM {schema}.cliproxy_board WHERE until_s > %s"
_SWEEP = "DELETE FROM {schema}.cliproxy_board WHERE until_s < %s"

_ESCAPE = re.compile(r"\\(?:u0000|.)")
"""One of JSON's; of two backslashes the second begins none."""

Id = tuple[str, ...]
Key = tuple[str, str]
"""Kind and id, as the table has them."""
_Notification = tuple[str, str, str, str, Any, float]
"""Schema, name of the teller, kind, id, content, time."""
Heard = Callable[[Id, Any], None]
"""Told of another gateway's entry: its id and its content, None where it is gone. Raises msgspec.ValidationError for
what no gateway of this release would tell."""


class Entry(NamedTuple):
    content: Any
    at_s: float
    until_s: float


class Board:
    """One gateway's side of the board. Times are UTC epoch seconds, by the clocks of the gateways."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._followers: dict[str, Heard] = {}
        self._untold: dict[Key, Entry] = {}
        self._is_untold = asyncio.Event()
        self._turn = asyncio.Lock()
        self._newest: OrderedDict[Key, float] = OrderedDict()
        """When each entry that is known here was told."""
        self._swept_s = 0.0

    def follow(self, kind: str, heard: Heard) -> None:
        """Have what others tell of a kind."""
        self._followers[kind] = heard

    def tell(self, kind: str, id: Id, content: Any, until_s: float) -> None:
        """Tell the others soon. content: what JSON can say; None: it is gone. until_s: nobody needs it afterwards."""
        key, now = (kind, json.dumps_text(id)), self._clock()
        self._remember(key, now)
        self._untold.pop(key, None)
        self._untold[key] = Entry(content, now, now + REMOVED_FOR_S if content is None else until_s)
        if len(self._untold) > MAX_REMEMBERED:
            del self._untold[next(iter(self._untold))]
        self._is_untold.set()

    # ------------------------------------------------------------ speaking

    async def speak(self) -> None:
        """Tell what there is to tell, until cancelled."""
        while True:
            await self._is_untold.wait()
            self._is_untold.clear()
            await self.flush()
            await asyncio.sleep(TOLD_EVERY_S)

    async def flush(self) -> None:
        """Tell now what there is to tell."""
        async with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        while self._untold:
            untold = dict(islice(self._untold.items(), TOLD_AT_ONCE))
            for key in untold:
                del self._untold[key]
            try:
                async with self._link.speaking() as connection:
                    await self._say(connection, untold)
            except Away:
                # The next greeting says it.
                self._untold = untold | self._untold
                return
            except asyncio.CancelledError:
                self._untold = untold | self._untold
                raise
            except psycopg.DataError as error:
                logger.warning("%d entries cannot be told to other gateways: %s", len(untold), error.sqlstate)

    async def _say(self, connection: AsyncConnection, entries: dict[Key, Entry]) -> None:
        said = [_encoded(key, entry) for key, entry in entries.items()]
        document = f"[{','.join(entry for entry in said if len(entry.encode()) <= MAX_ENTRY_BYTES)}]"
        schema = self._link.database.schema
        await connection.execute(composed(_TELL, schema), (document, CHANNEL, schema, self._name))
        now = self._clock()
        if now - self._swept_s > SWEPT_EVERY_S:
            self._swept_s = now
            await connection.execute(composed(_SWEEP, schema), (now,))

    # ------------------------------------------------------------ listening

    async def catch_up(self) -> None:
        """Hear what stands on the board, and tell what is newer here. Raises Away."""
        schema, now = self._link.database.schema, self._clock()
        async with self._link.speaking() as connection:
            rows = await (await connection.execute(composed(_ALL, schema), (now,))).fetchall()
        for kind, id, content, at_s in rows:
            self._hear(kind, id, content, at_s)
        if self._untold:
            self._is_untold.set()

    def heard(self, payload: str) -> None:
        """A notification has come."""
        try:
            schema, name, kind, id, content, at_s = msgspec.json.decode(payload, type=_Notification)
        except msgspec.DecodeError:
            return  # Whoever may connect may say anything.
        if schema == self._link.database.schema and name != self._name:
            self._hear(kind, id, content, at_s)

    def _hear(self, kind: str, id: str, content: Any, at_s: float) -> None:
        key = kind, id
        follower = self._followers.get(kind)
        if follower is None or at_s <= self._newest.get(key, 0.0):
            return
        self._remember(key, at_s)
        self._untold.pop(key, None)
        try:
            follower(msgspec.json.decode(id, type=Id), content)
        except msgspec.DecodeError as error:
            logger.warning("another gateway tells of a %s what this one does not understand: %s", kind, error)

    def _remember(self, key: Key, at_s: float) -> None:
        self._newest[key] = at_s
        self._newest.move_to_end(key)
        if len(self._newest) > MAX_REMEMBERED:
            self._newest.popitem(last=False)


def _encoded(key: Key, entry: Entry) -> str:
    row = {"kind": key[0], "id": key[1], **entry._asdict()}
    # PostgreSQL's JSON holds no NUL.
    return _ESCAPE.sub(lambda escape: "" if escape[0] == "\\u0000" else escape[0], json.dumps_text(row))

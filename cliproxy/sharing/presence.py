"""Which gateways are there: each says so on the board now and then, and takes it back when it ends."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from cliproxy.sharing.board import Board, Id
from cliproxy.sharing.link import Link

SAID_EVERY_S = 300.0
PRESENT_S = 1000.0
"""Who has said nothing for so long, several times in vain, is gone."""


class Presence:
    """This gateway among the others."""

    def __init__(self, link: Link, board: Board, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self._link = link
        self._board = board
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._others: dict[str, float] = {}
        """Until when each of them is there."""
        board.follow("gateway", self._hear)

    @property
    def is_alone(self) -> bool:
        """No other gateway is there, or was when the database was lost. One that was never reached may have many."""
        if self._link.trouble and not self._link.lost_s:
            return False
        moment = self._link.lost_s if self._link.trouble else self._clock()
        return all(until_s <= moment for until_s in self._others.values())

    async def run(self) -> None:
        """Say so until cancelled."""
        while True:
            until_s = self._clock() + PRESENT_S
            self._board.tell("gateway", (self._name,), {"until_s": until_s}, until_s)
            await asyncio.sleep(SAID_EVERY_S)

    def leave(self) -> None:
        """It ends."""
        self._board.tell("gateway", (self._name,), None, 0.0)

    def _hear(self, id: Id, content: Any) -> None:
        (name,) = id
        if content is None:
            self._others.pop(name, None)
        else:
            self._others[name] = msgspec.convert(content, _Told).until_s


class _Told(msgspec.Struct):
    until_s: float

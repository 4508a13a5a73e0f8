"""CLIProxyAPI's queue of usage records: each attempt is handed out once. It is a place in the ledger's journal, so that
nothing is put together, or kept in memory, that nobody fetches. Of gateways that share a ledger each has such a place.
"""

import asyncio
from collections.abc import Awaitable, Callable

from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.portable import first_since, queue_records
from cliproxy.usage.rows import Row

MAX_AT_ONCE = 1_000

type Reading = Callable[
    [Callable[[LedgerConnection], list[tuple[tuple[int, int], Row]]]], Awaitable[list[tuple[tuple[int, int], Row]]]
]
"""Reads the ledger, in a thread."""


class UsageQueue:
    """Begins with what happens from a moment on."""

    def __init__(self, since_s: float) -> None:
        """since_s: UTC epoch seconds."""
        self._since_s = since_s
        self._last: tuple[int, int] | None = None
        """Number of the exchange and of its attempt that was handed out last."""
        self._popping = asyncio.Lock()

    async def pop(self, reading: Reading, count: int) -> list[Row]:
        """The oldest that were not handed out."""

        def read(connection: LedgerConnection) -> list[tuple[tuple[int, int], Row]]:
            after = self._last or (first_since(connection, self._since_s), 0)
            return queue_records(connection, after, min(count, MAX_AT_ONCE))

        async with self._popping:
            found = await reading(read)
            if found:
                self._last = found[-1][0]
        return [record for _, record in found]

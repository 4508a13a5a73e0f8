"""A store in memory that several replicas share, and that can be away."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import ClassVar

from cliproxy.stores.store import Conflict, Document, Lease, StoreAway


class MemoryStore:
    """See `Store`."""

    name: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.is_away = False
        self.refuses = False
        """Ends each write before it is done."""
        self._count = count(1)
        self._listeners: set[asyncio.Event] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def versions(self) -> Mapping[str, str]:
        self._check()
        return {path: document.version for path, document in self.documents.items()}

    async def read(self, path: str, version: str | None = None) -> Document | None:
        self._check()
        return self.documents.get(path)

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        self._check()
        if self.refuses:
            raise StoreAway("it went away")
        self._expect(path, expected)
        self.documents[path] = Document(content, f"v{next(self._count)}")
        self._wake()
        return self.documents[path].version

    async def remove(self, path: str, expected: str) -> None:
        self._check()
        self._expect(path, expected)
        del self.documents[path]
        self._wake()

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[Lease]:
        self._check()
        async with self._locks[path]:
            yield Lease(path)

    async def unsettled(self) -> Sequence[Lease]:
        return ()

    async def settle(self, leases: Sequence[Lease]) -> None:
        """It is never away under a lock."""

    async def changes(self) -> AsyncGenerator[None]:
        woken = asyncio.Event()
        woken.set()
        self._listeners.add(woken)
        try:
            while True:
                await woken.wait()
                woken.clear()
                self._check()
                yield
        finally:
            self._listeners.discard(woken)

    async def close(self) -> None: ...

    def go_away(self) -> None:
        self.is_away = True
        self._wake()

    def _wake(self) -> None:
        for woken in self._listeners:
            woken.set()

    def _check(self) -> None:
        if self.is_away:
            raise StoreAway("it is away")

    def _expect(self, path: str, expected: str | None) -> None:
        found = self.documents.get(path)
        if (found.version if found else None) != expected:
            raise Conflict(path)

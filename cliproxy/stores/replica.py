"""Keeps a directory of this machine and a store alike: what changes on either side is soon on the other.

The gateway works with the directory alone, and goes on while the store is away. For each document it is remembered what
both sides had when they were last alike; from that it shows who has changed it since.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import msgspec

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.stores.file import FileStore
from cliproxy.stores.merge import merged
from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, Store, StoreAway
from cliproxy.wire import json

logger = logging.getLogger(__name__)

RETRIED_AFTER_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""How long a store that is away is let alone, the last for ever."""
_TRIES = 5
"""How often a document is looked at anew because someone else was faster."""


class Alike(msgspec.Struct, frozen=True):
    """A document as both sides had it."""

    here: str
    """Its version in the directory."""
    there: str
    """Its version in the store."""
    content: str
    """Base64 of the directory's."""


class Replica:
    """One directory and one store."""

    def __init__(self, here: FileStore, there: Store) -> None:
        self._here = here
        self._there = there
        self._path = here.folder / ".alike.json"
        self._alike: dict[str, Alike] = {}
        self.trouble = ""
        """Why the store is not alike; empty: it is."""

    async def synchronise(self) -> None:
        """Make both alike now. Raises StoreAway, and whatever was done until then stays."""
        async with self._remembered():
            here, there = await self._here.versions(), await self._there.versions()
            for path in sorted({*here, *there, *self._alike}):
                await self._settle(path, here.get(path), there.get(path))

    async def run(self) -> None:
        """Keep both alike until cancelled; a store that is away is tried again."""
        woken = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_wake(self._here, woken))
            group.create_task(self._follow_store(woken))
            while True:
                await woken.wait()
                woken.clear()
                try:
                    await self.synchronise()
                    self._told("")
                except StoreAway as away:
                    self._told(str(away))
                except Exception:
                    # Our own fault, which must not be the end of keeping both alike.
                    logger.exception("the gateway failed on its store")

    async def _follow_store(self, woken: asyncio.Event) -> None:
        tries = 0
        while True:
            try:
                async with aclosing(self._there.changes()) as changes:
                    async for _ in changes:
                        tries = 0
                        woken.set()
            except StoreAway as away:
                self._told(str(away))
            await asyncio.sleep(RETRIED_AFTER_S[min(tries, len(RETRIED_AFTER_S) - 1)])
            tries += 1
            woken.set()

    @asynccontextmanager
    async def locked(self, path: str) -> AsyncIterator[None]:
        """Keeps everyone, on other machines too, from a document; it is alike on both sides then, and again afterwards.

        While the store is away, only those on this machine are kept from it, and it is made alike later.
        """
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._there.lock(path))
                await self._synchronise_one(path)
            except StoreAway as away:
                self._told(str(away))
            yield
            try:
                await self._synchronise_one(path)
            except StoreAway as away:
                self._told(str(away))

    def locked_login(self, name: str) -> AbstractAsyncContextManager[None]:
        """See `locked`. name: of an auth file."""
        return self.locked(AUTHS + name)

    async def close(self) -> None:
        """Tell the store what it does not know yet, and let go of it. Not while `run` runs."""
        try:
            await self.synchronise()
        except StoreAway as away:
            self._told(str(away))
        await self._there.close()

    async def _synchronise_one(self, path: str) -> None:
        async with self._remembered():
            here, there = await self._here.read(path), await self._there.read(path)
            await self._settle(path, here and here.version, there and there.version)

    # ------------------------------------------------------------ one document

    async def _settle(self, path: str, here: str | None, there: str | None) -> None:
        for _ in range(_TRIES):
            try:
                return await self._make_alike(path, here, there)
            except Conflict:
                here = found.version if (found := await self._here.read(path)) else None
                there = found.version if (found := await self._there.read(path)) else None
        raise StoreAway(f"{path} never rests")

    async def _make_alike(self, path: str, here: str | None, there: str | None) -> None:
        before = self._alike.get(path)
        changed_here = here != (before and before.here)
        changed_there = there != (before and before.there)
        match changed_here, changed_there:
            case False, False:
                return
            case True, False:
                await self._push(path, here, there)
            case False, True:
                await self._pull(path, here, there)
            case _ if here is None or there is None:
                # One has removed it, the other one has changed it: what was changed is not lost.
                await (self._pull if here is None else self._push)(path, here, there)
            case _:
                await self._merge(path, here, there)

    async def _push(self, path: str, here: str | None, there: str | None) -> None:
        ours = await self._ours(path, here)
        if ours is None:
            if there is not None:
                await self._there.remove(path, there)
            self._alike.pop(path, None)
        elif _is_whole(path, ours.content):
            self._note(path, ours, await self._there.write(path, ours.content, there))

    async def _pull(self, path: str, here: str | None, there: str | None) -> None:
        theirs = await self._theirs(path, there)
        if theirs is None:
            if here is not None:
                await self._here.remove(path, here)
            self._alike.pop(path, None)
        else:
            version = await self._here.write(path, theirs.content, here)
            self._note(path, Document(theirs.content, version), theirs.version)

    async def _merge(self, path: str, here: str | None, there: str | None) -> None:
        ours, theirs = await self._ours(path, here), await self._theirs(path, there)
        assert ours and theirs
        if not _is_whole(path, ours.content):
            return
        before = self._alike.get(path)
        if path == CONFIG:
            both = theirs.content
            if ours.content != both:
                await asyncio.to_thread(self._set_aside, path, ours.content)
        else:
            both = merged(base64.b64decode(before.content) if before else None, ours.content, theirs.content)
        version = theirs.version if both == theirs.content else await self._there.write(path, both, theirs.version)
        if both != ours.content:
            ours = Document(both, await self._here.write(path, both, ours.version))
        self._note(path, ours, version)

    def _set_aside(self, path: str, content: bytes) -> None:
        """A config cannot be merged: what was written here is kept for its writer."""
        aside = self._here.folder / f"{path}.conflict"
        write_atomically(aside, content)
        logger.warning(
            "%s was changed here and in the store: the store's is used, and what was here is in %s", path, aside
        )

    async def _ours(self, path: str, version: str | None) -> Document | None:
        return _expected(path, await self._here.read(path), version)

    async def _theirs(self, path: str, version: str | None) -> Document | None:
        return _expected(path, await self._there.read(path), version)

    # ------------------------------------------------------------ what is known

    @asynccontextmanager
    async def _remembered(self) -> AsyncIterator[None]:
        """One replica at a time: a command may run beside the gateway, with the same directory."""
        async with self._here.lock(self._path.name):
            self._alike = await asyncio.to_thread(_load, self._path)
            try:
                yield
            finally:
                await asyncio.to_thread(self._save)

    def _note(self, path: str, ours: Document, there: str) -> None:
        self._alike[path] = Alike(ours.version, there, base64.b64encode(ours.content).decode("ascii"))

    def _save(self) -> None:
        try:
            write_atomically(self._path, msgspec.json.encode(self._alike))
        except OSError as error:
            raise StoreAway(f"{self._path} cannot be written: {error.strerror}") from None

    def _told(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                logger.warning("The store is away; the gateway goes on with %s: %s", self._here.folder, trouble)
            else:
                logger.info("The store and %s are alike again.", self._here.folder)
            self.trouble = trouble


def _is_whole(path: str, content: bytes) -> bool:
    """False for what is still being written: editors empty a file first. Its next change is looked at again."""
    if path == CONFIG:
        return bool(content.strip())
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def _expected(path: str, found: Document | None, version: str | None) -> Document | None:
    if (found.version if found else None) != version:
        raise Conflict(path)
    return found


async def _wake(store: FileStore, woken: asyncio.Event) -> None:
    async with aclosing(store.changes()) as changes:
        async for _ in changes:
            woken.set()


def _load(path: Path) -> dict[str, Alike]:
    """What was known when the last one ended; nothing where that is lost, and then all is compared."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Alike])
    except (OSError, msgspec.DecodeError):
        return {}

"""Keeps a directory of this machine and a store alike: what changes on either side is soon on the other.

The gateway works with the directory alone, and goes on while the store is away. For each document it is remembered what
both sides had when they were last alike; from that it shows who has changed it since.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.stores.alike import Memory, is_same
from cliproxy.stores.file import FileStore, version_of
from cliproxy.stores.merge import merged
from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, Lease, Store, StoreAway, Unfit, is_document
from cliproxy.wire import json

logger = logging.getLogger(__name__)

RETRIED_AFTER_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""How long a store that is away is let alone, the last for ever."""
ANSWERED_WITHIN_S = 10.0
"""A store that says nothing for so long is away. A login that is to be renewed waits for it, and is renewed 20 s before
its token ends."""
FETCHED_WITHIN_S = 120.0
"""To say what there is, Git fetches all of it."""
_AT_ONCE = 4
"""Documents; more would leave no thread to others."""
_TRIES = 5
"""How often a document is looked at anew because someone else was faster."""


class Replica:
    """One directory and one store."""

    def __init__(self, here: FileStore, there: Store, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self._here = here
        self._there = there
        self._clock = clock
        self._path = here.folder / ".alike.json"
        self._memory = Memory()
        self._runs = asyncio.Lock()
        self._is_settled = False
        """Whether the store has all that was done under locks that are over, by who had this directory before too."""
        self.trouble = ""
        """Why the store is away; empty: it is not."""
        self.away_since_s = 0.0
        """When it went away; UTC epoch seconds."""
        self.unfit: dict[str, str] = {}
        """Why single documents are not alike, by path."""

    @property
    def store_name(self) -> str:
        """What the store is, for people."""
        return self._there.name

    async def synchronise(self) -> None:
        """Make both alike now. Raises StoreAway, and whatever was done until then stays."""
        async with self._remembered():
            await self._synchronise_all()

    async def run(self) -> None:
        """Keep both alike until cancelled; a store that is away is tried again."""
        woken = asyncio.Event()
        async with self._runs, asyncio.TaskGroup() as group:
            for side in (self._here, self._there):
                group.create_task(self._follow(side, woken))
            tries = 0
            while True:
                await woken.wait()
                woken.clear()
                if await self._tried(self._synchronise_and_settle()):
                    self._told("")
                    tries = 0
                if self.trouble or not self._is_settled:
                    # Others may wait for what they do not know yet.
                    pause_s = RETRIED_AFTER_S[min(tries, len(RETRIED_AFTER_S) - 1)]
                    asyncio.get_running_loop().call_later(pause_s, woken.set)
                    tries += 1

    async def _follow(self, side: Store, woken: asyncio.Event) -> None:
        tries = 0

        async def follow() -> None:
            nonlocal tries
            async with aclosing(side.changes()) as changes:
                async for _ in changes:
                    tries = 0
                    woken.set()

        while True:
            await self._tried(follow())
            await asyncio.sleep(RETRIED_AFTER_S[min(tries, len(RETRIED_AFTER_S) - 1)])
            tries += 1
            woken.set()

    @asynccontextmanager
    async def locked(self, path: str) -> AsyncIterator[bool]:
        """Keeps everyone, on other machines too, from a document; it is alike on both sides then, and again afterwards.

        While the store is away, only those on this machine are kept from it, which is told by False, and `run` makes it
        alike later.
        """
        leases: list[Lease] = []
        async with AsyncExitStack() as held:

            async def lock() -> None:
                leases.append(await held.enter_async_context(self._there.lock(path)))
                await self._synchronise_one(path)

            async def settle() -> None:
                await self._synchronise_one(path)
                await self._asked(self._there.settle(leases))

            is_had = await self._tried(lock())
            try:
                yield is_had
            finally:
                if not (is_had and await self._tried(settle())):
                    self._is_settled = False

    async def _synchronise_and_settle(self) -> None:
        left: Sequence[Lease] = ()
        try:
            if not self._is_settled:
                # What was done under them is in the directory, and soon in the store.
                self._is_settled, left = True, await self._asked(self._there.unsettled())
            await self.synchronise()
            if left:
                await self._asked(self._there.settle(left))
        except BaseException:
            self._is_settled = False
            raise

    def locked_login(self, name: str) -> AbstractAsyncContextManager[bool]:
        """See `locked`. name: of an auth file."""
        return self.locked(AUTHS + name)

    async def close(self) -> None:
        """Tell the store what it does not know yet, and let go of it, once `run` has ended."""
        async with self._runs:
            await self._tried(self._synchronise_and_settle())
            await self._tried(self._asked(self._there.close()))

    # ------------------------------------------------------------ all documents

    async def _synchronise_all(self) -> None:
        here = _ours_alone(await self._here.versions())
        there = _ours_alone(await self._asked(self._there.versions(), FETCHED_WITHIN_S))
        if CONFIG in self._memory.alike and not (here and there):
            # Nobody is without a config: that side was emptied or replaced, and gets what the other one has.
            self._memory = Memory()
        paths = sorted({*here, *there, *self._memory.alike})
        self.unfit = {path: why for path, why in self.unfit.items() if path in paths}
        await self._settle_each(paths, here, there)

    async def _synchronise_one(self, path: str) -> None:
        async with self._remembered():
            here, there = await self._version_here(path), await self._version_there(path)
            if path in self._memory.alike and not (here and there):
                # Whether it was removed or all is gone, only the others show.
                await self._synchronise_all()
            else:
                await self._settle_each([path], {path: here}, {path: there})

    async def _settle_each(
        self, paths: Iterable[str], here: Mapping[str, str | None], there: Mapping[str, str | None]
    ) -> None:
        for path in paths:
            await self._recall(path, there.get(path))
        coming = [path for path in paths if here.get(path) not in (None, self._known_here(path))]
        if coming:
            for path in coming:
                await self._intend(path)
            await asyncio.to_thread(self._memory.save, self._path)
        await _each(paths, lambda path: self._settle(path, here.get(path), there.get(path)))

    async def _recall(self, path: str, there: str | None) -> None:
        """What was on its way when an answer was lost or the gateway was ended: if it has arrived, both were alike."""
        coming, before = self._memory.coming.get(path), self._memory.alike.get(path)
        if coming is None:
            return
        if there is not None and there != (before and before.there):
            theirs = await self._asked(self._there.read(path, there))
            if theirs and is_same(theirs.content, coming):
                self._memory.note(path, Document(coming, version_of(coming)), theirs.version)
        self._memory.coming.pop(path, None)

    async def _intend(self, path: str) -> None:
        try:
            ours = await self._here.read(path)
        except Unfit:
            return
        if ours and _is_whole(path, ours.content):
            self._memory.coming[path] = ours.content

    def _known_here(self, path: str) -> str | None:
        before = self._memory.alike.get(path)
        return before.here if before else None

    # ------------------------------------------------------------ one document

    async def _settle(self, path: str, here: str | None, there: str | None) -> None:
        try:
            for _ in range(_TRIES):
                try:
                    await self._make_alike(path, here, there)
                    self.unfit.pop(path, None)
                    return
                except Conflict:
                    here, there = await self._version_here(path), await self._version_there(path)
            raise Unfit("others change it all the time")
        except Unfit as unfit:
            if self.unfit.get(path) != str(unfit):
                self.unfit[path] = str(unfit)
                logger.warning("%s of the store and of %s stay different: %s", path, self._here.folder, unfit)

    async def _make_alike(self, path: str, here: str | None, there: str | None) -> None:
        before = self._memory.alike.get(path)
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
                await self._asked(self._there.remove(path, there))
            self._memory.forget(path)
        elif _is_whole(path, ours.content):
            self._memory.note(path, ours, await self._asked(self._there.write(path, ours.content, there)))

    async def _pull(self, path: str, here: str | None, there: str | None) -> None:
        theirs = await self._theirs(path, there)
        if theirs is None:
            if here is not None:
                await self._here.remove(path, here)
            self._memory.forget(path)
        else:
            version = await self._here.write(path, theirs.content, here)
            self._memory.note(path, Document(theirs.content, version), theirs.version)

    async def _merge(self, path: str, here: str | None, there: str | None) -> None:
        ours, theirs = await self._ours(path, here), await self._theirs(path, there)
        assert ours and theirs
        if not _is_whole(path, ours.content):
            return
        before = self._memory.alike.get(path)
        if path == CONFIG:
            both = theirs.content
            if ours.content != both:
                await asyncio.to_thread(self._set_aside, path, ours.content)
        else:
            both = merged(before.content if before else None, ours.content, theirs.content)
        version = theirs.version
        if both != theirs.content:
            version = await self._asked(self._there.write(path, both, theirs.version))
        if both != ours.content:
            ours = Document(both, await self._here.write(path, both, ours.version))
        self._memory.note(path, ours, version)

    def _set_aside(self, path: str, content: bytes) -> None:
        """A config cannot be merged: what was written here is kept for its writer."""
        aside = self._here.folder / f"{path}.conflict"
        try:
            write_atomically(aside, content)
        except OSError as error:
            raise Unfit(f"{aside} cannot be written: {error.strerror}") from None
        logger.warning(
            "%s was changed here and in the store: the store's is used, and what was here is in %s", path, aside
        )

    async def _ours(self, path: str, version: str | None) -> Document | None:
        return _expected(path, await self._here.read(path), version)

    async def _theirs(self, path: str, version: str | None) -> Document | None:
        theirs = _expected(path, await self._asked(self._there.read(path, version)), version)
        if theirs and not _is_whole(path, theirs.content):
            raise Unfit(f"what the store has is {'empty' if path == CONFIG else 'no JSON object'}")
        return theirs

    async def _version_here(self, path: str) -> str | None:
        return await asyncio.to_thread(self._here.version, path)

    async def _version_there(self, path: str) -> str | None:
        return found.version if (found := await self._asked(self._there.read(path))) else None

    # ------------------------------------------------------------ what is known

    @asynccontextmanager
    async def _remembered(self) -> AsyncIterator[None]:
        """One replica at a time: a command may run beside the gateway, with the same directory."""
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._here.lock(self._path.name))
            except Unfit as unfit:
                raise StoreAway(str(unfit)) from None
            self._memory = await asyncio.to_thread(Memory.load, self._path)
            before = self._memory.copy()
            try:
                yield
            finally:
                if self._memory != before:
                    await asyncio.to_thread(self._memory.save, self._path)

    async def _asked[Answer](self, call: Awaitable[Answer], within_s: float | None = None) -> Answer:
        """An answer of the store's."""
        try:
            async with asyncio.timeout(within_s or ANSWERED_WITHIN_S):
                return await call
        except TimeoutError:
            raise StoreAway(f"{self.store_name}: it does not answer") from None

    async def _tried(self, work: Awaitable[object]) -> bool:
        """Whether it could be done. The gateway goes on without the store, whatever fails."""
        try:
            await work
        except StoreAway as away:
            self._told(str(away))
            return False
        except Exception:
            # Our own fault, which must not be the end of keeping both alike.
            logger.exception("the gateway failed on its store")
            return False
        return True

    def _told(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                logger.warning("The store is away; the gateway goes on with %s: %s", self._here.folder, trouble)
            else:
                logger.info("The store and %s are alike again.", self._here.folder)
            if not (trouble and self.trouble):
                self.away_since_s = self._clock() if trouble else 0.0
            self.trouble = trouble


async def _each(paths: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
    """Some at once, for each waits for the disk; the first failure is the end of all."""
    waiting = deque(paths)

    async def some() -> None:
        while waiting:
            try:
                await work(waiting.popleft())
            except BaseException:
                waiting.clear()
                raise

    for failure in await asyncio.gather(*(some() for _ in range(_AT_ONCE)), return_exceptions=True):
        if failure:
            raise failure


def _ours_alone(versions: Mapping[str, str]) -> Mapping[str, str]:
    """Without what is no document of ours, and might lead out of the directory."""
    return {path: version for path, version in versions.items() if is_document(path)}


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

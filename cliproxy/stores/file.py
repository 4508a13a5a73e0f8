"""Documents as files below a directory of this machine: the copy that the gateway works with."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import ClassVar

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.credentials.file_lock import locked
from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, Lease, StoreAway, Unfit, is_document
from cliproxy.watching import wakes


class FileStore:
    """See `Store`. Shares its locks with the auth dir, so that a login that is being renewed is let alone."""

    name: ClassVar[str] = "files"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_path = folder / CONFIG
        self.auth_dir = folder / AUTHS

    async def versions(self) -> Mapping[str, str]:
        return await asyncio.to_thread(self._versions)

    def _versions(self) -> Mapping[str, str]:
        paths = [CONFIG, *(AUTHS + name for name in self._names())]
        found = ((path, self.version(path)) for path in paths if is_document(path))
        return {path: version for path, version in found if version}

    def version(self, path: str) -> str | None:
        """Of a document; None: there is none. Blocks."""
        try:
            return document.version if (document := self._read(path)) else None
        except Unfit:
            # It is there; whoever reads it is told.
            return "unreadable"

    def _names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self.auth_dir.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            # That none can be seen does not mean that there is none: they would be removed from the store.
            raise StoreAway(f"{self.auth_dir} cannot be read: {error.strerror}") from None

    async def read(self, path: str, version: str | None = None) -> Document | None:
        return await asyncio.to_thread(self._read, path)

    def _read(self, path: str) -> Document | None:
        try:
            content = (self.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unfit(f"{self.folder / path} cannot be read: {error.strerror}") from None
        return Document(content, version_of(content))

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        async with self.lock(path):
            return await asyncio.to_thread(self._write, path, content, expected)

    def _write(self, path: str, content: bytes, expected: str | None) -> str:
        self._expect(path, expected)
        try:
            write_atomically(self.folder / path, content)
        except OSError as error:
            raise Unfit(f"{self.folder / path} cannot be written: {error.strerror}") from None
        return version_of(content)

    async def remove(self, path: str, expected: str) -> None:
        async with self.lock(path):
            await asyncio.to_thread(self._remove, path, expected)

    def _remove(self, path: str, expected: str) -> None:
        self._expect(path, expected)
        try:
            (self.folder / path).unlink()
        except OSError as error:
            raise Unfit(f"{self.folder / path} cannot be removed: {error.strerror}") from None

    def _expect(self, path: str, expected: str | None) -> None:
        found = self._read(path)
        if (found.version if found else None) != expected:
            raise Conflict(path)

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[Lease]:
        file = self.folder / path
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(locked(file))
            except OSError as error:
                raise Unfit(f"{file} cannot be locked: {error.strerror}") from None
            yield Lease(path)

    async def unsettled(self) -> Sequence[Lease]:
        return ()

    async def settle(self, leases: Sequence[Lease]) -> None:
        """A directory is never away."""

    async def changes(self) -> AsyncGenerator[None]:
        folders = (self.config_path.parent, self.auth_dir)
        async with aclosing(wakes(*folders, concerns=lambda name: not name.startswith("."))) as woken:
            async for _ in woken:
                # What is watched is noticed sooner if it is there.
                with contextlib.suppress(OSError):
                    for folder in folders:
                        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
                yield

    async def close(self) -> None:
        """There is nothing to let go of."""


def version_of(content: bytes) -> str:
    """The version of a file with a content."""
    return hashlib.sha256(content).hexdigest()

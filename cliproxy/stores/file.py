"""Documents as files below a directory of this machine: the copy that the gateway works with."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.credentials.file_lock import locked
from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, StoreAway, is_document
from cliproxy.watching import wakes


class FileStore:
    """See `Store`. Shares its locks with the auth dir, so that a login that is being renewed is let alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_path = folder / CONFIG
        self.auth_dir = folder / AUTHS

    async def versions(self) -> Mapping[str, str]:
        return await asyncio.to_thread(self._versions)

    def _versions(self) -> Mapping[str, str]:
        paths = [CONFIG, *(AUTHS + name for name in _names(self.auth_dir))]
        found = {path: self._read(path) for path in paths if is_document(path)}
        return {path: document.version for path, document in found.items() if document}

    async def read(self, path: str) -> Document | None:
        return await asyncio.to_thread(self._read, path)

    def _read(self, path: str) -> Document | None:
        try:
            content = (self.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreAway(f"{self.folder / path} cannot be read: {error.strerror}") from None
        return Document(content, hashlib.sha256(content).hexdigest())

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        async with self.lock(path):
            return await asyncio.to_thread(self._write, path, content, expected)

    def _write(self, path: str, content: bytes, expected: str | None) -> str:
        self._expect(path, expected)
        try:
            write_atomically(self.folder / path, content)
        except OSError as error:
            raise StoreAway(f"{self.folder / path} cannot be written: {error.strerror}") from None
        return hashlib.sha256(content).hexdigest()

    async def remove(self, path: str, expected: str) -> None:
        async with self.lock(path):
            await asyncio.to_thread(self._remove, path, expected)

    def _remove(self, path: str, expected: str) -> None:
        self._expect(path, expected)
        try:
            (self.folder / path).unlink()
        except OSError as error:
            raise StoreAway(f"{self.folder / path} cannot be removed: {error.strerror}") from None

    def _expect(self, path: str, expected: str | None) -> None:
        found = self._read(path)
        if (found.version if found else None) != expected:
            raise Conflict(path)

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[None]:
        file = self.folder / path
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(locked(file))
            except OSError as error:
                raise StoreAway(f"{file} cannot be locked: {error.strerror}") from None
            yield

    async def changes(self) -> AsyncGenerator[None]:
        folders = (self.config_path.parent, self.auth_dir)
        async with aclosing(wakes(*folders)) as woken:
            async for _ in woken:
                # What is watched is noticed sooner if it is there.
                with contextlib.suppress(OSError):
                    for folder in folders:
                        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
                yield

    async def close(self) -> None:
        """There is nothing to let go of."""


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []

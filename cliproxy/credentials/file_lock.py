"""Locks of files, known to all programs of this machine that work with them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import AsyncFileLock


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Keeps other tasks and processes that ask for it from a file, which need not exist; its directory is made.

    Does not block the event loop, and ends with its process. The lock file stays. Raises OSError.
    """
    lock = AsyncFileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    await lock.acquire()
    try:
        yield
    finally:
        await lock.release()

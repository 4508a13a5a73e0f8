"""Noticing that something may have happened to files: by what the system tells, and by looking from time to time."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

DEBOUNCE_MS = 100
"""Changes that follow each other so closely wake once."""
CHECKED_EVERY_MS = 10_000
"""How often it wakes though nothing was noticed: some file systems tell nothing."""
AWAITED_EVERY_S = 1.0
"""How often a directory is looked for that does not exist."""


async def wakes(*directories: Path, concerns: Callable[[str], bool] = lambda name: True) -> AsyncGenerator[None]:
    """Wakes once at the start, and from then on whenever a file directly in one of the directories may have changed.

    Goes on for ever, whether they exist, appear later or are replaced. concerns: whether a file's name is one of those
    that matter.
    """

    def is_wanted(_change: Change, path: str) -> bool:
        return concerns(Path(path).name)

    while True:
        yield
        # What happens before the watch is set up is seen at its first wake.
        inodes = _inodes(directories)
        watch = awatch(
            *directories,
            watch_filter=is_wanted,
            debounce=DEBOUNCE_MS,
            rust_timeout=CHECKED_EVERY_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        try:
            async with aclosing(watch):
                async for _ in watch:
                    yield
                    if _inodes(directories) != inodes:
                        break
        except (OSError, RuntimeError):
            # It is not there, or the system has no more watches to give: look again from time to time.
            await asyncio.sleep(AWAITED_EVERY_S)


def _inodes(directories: Iterable[Path]) -> list[int | None]:
    """Which directories they are now."""
    return [_inode(directory) for directory in directories]


def _inode(directory: Path) -> int | None:
    try:
        return directory.stat().st_ino
    except OSError:
        return None

"""Replaces a file that holds secrets, so that a reader or a crash finds the old content or the new, never a part."""

import contextlib
import glob
import os
import tempfile
import time
from pathlib import Path

_LEFT_BEHIND_S = 60.0
"""A temporary file of that age is no write under way: whoever wrote it was killed."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file, on disk when this returns and readable by its owner only; its directory is made where it is
    missing. A symbolic link stays, what it points at is replaced. Raises OSError, and the old content is still there.
    """
    path = path.resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _tidy(path)
    # Made with mode 0600. A name that begins with a dot is no account.
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(written).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(written).unlink()
        raise
    _sync_directory(path.parent)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _tidy(path: Path) -> None:
    """Remove what killed writers left of this file: it holds secrets too."""
    for left in left_behind(path):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND_S:
                left.unlink()


def left_behind(path: Path) -> list[Path]:
    """Files that are being written to replace this one, or whose writers were killed."""
    return list(path.parent.glob(glob.escape(_prefix(path)) + "*.tmp"))


def _sync_directory(path: Path) -> None:
    """Have the new name on disk too; where directories cannot be opened (Windows), the system sees to it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

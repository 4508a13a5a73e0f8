"""Keeps cooldowns over a restart (`save-cooldown-status`): one JSON file beside the account files.

Reads and writes the file; when to do so is the caller's. State that is lost costs a few refused requests at most, so
nothing that is wrong with the file is more than a warning.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.credentials.cooldown import SavedCooldown

FILE_NAME = "cliproxy.cooldowns"
"""In the `auth-dir`; not `*.json`, which there means an account."""

logger = logging.getLogger(__name__)


class _Document(msgspec.Struct):
    cooldowns: list[SavedCooldown]


def load(path: Path) -> list[SavedCooldown]:
    """What was saved last; nothing where the file is missing or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Document).cooldowns
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning(f"{path}: the saved cooldowns cannot be read: {error.strerror}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning(f"{path}: the saved cooldowns are damaged and left aside: {error}")
    return []


def save(path: Path, cooldowns: Sequence[SavedCooldown]) -> None:
    """Replace the file at once, readable by its owner only; the directory is made where it is missing."""
    data = msgspec.json.format(msgspec.json.encode(_Document(list(cooldowns))))
    try:
        write_atomically(path, data)
    except OSError as error:
        logger.warning(f"{path}: the cooldowns cannot be saved: {error.strerror}")

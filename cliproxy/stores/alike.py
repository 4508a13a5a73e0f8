"""What a directory and a store had when they were last alike, and what was on its way: remembered in a file.

It says who has changed what since, though the gateway was ended in between or an answer of the store's was lost.
"""

from pathlib import Path
from typing import Self

import msgspec

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.stores.store import Document, StoreAway


class Alike(msgspec.Struct, frozen=True):
    """A document as both sides had it."""

    here: str
    """Its version in the directory."""
    there: str
    """Its version in the store."""
    content: bytes
    """The directory's."""


class Memory(msgspec.Struct):
    """By path."""

    alike: dict[str, Alike] = {}
    coming: dict[str, bytes] = {}
    """What is being written to the store. It may have arrived though nobody told us."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """What was known when the last one ended; nothing where that is lost, and then all is compared.

        Raises StoreAway.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (FileNotFoundError, msgspec.DecodeError):
            return cls()
        except OSError as error:
            raise StoreAway(f"{path} cannot be read: {error.strerror}") from None

    def save(self, path: Path) -> None:
        """Raises StoreAway, and what was saved before is still there."""
        try:
            write_atomically(path, msgspec.json.encode(self))
        except OSError as error:
            raise StoreAway(f"{path} cannot be written: {error.strerror}") from None

    def copy(self) -> "Memory":
        return Memory(dict(self.alike), dict(self.coming))

    def note(self, path: str, ours: Document, there: str) -> None:
        """Both have it."""
        self.alike[path] = Alike(ours.version, there, ours.content)
        self.coming.pop(path, None)

    def forget(self, path: str) -> None:
        """Neither has it."""
        self.alike.pop(path, None)
        self.coming.pop(path, None)


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two documents say the same: a database keeps no spaces and no order."""
    try:
        return one == other or msgspec.json.decode(one) == msgspec.json.decode(other)
    except msgspec.DecodeError:
        return False

"""What every store of documents does: the config file and the auth files, by path, each with a version.

A path is `config/config.yaml` or `auths/NAME.json`, as CLIProxyAPI's own stores have them.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

CONFIG = "config/config.yaml"
AUTHS = "auths/"


class StoreAway(Exception):
    """The store cannot be reached or does not work now; later it may. The message says why and holds no secret."""


class Conflict(Exception):
    """A document is not as its writer believes: another one was faster. Nothing was written."""


class Document(NamedTuple):
    content: bytes
    version: str
    """Another one for another content; means nothing else, and nothing to another store."""


class Store(Protocol):
    """A set of documents. Every call may raise StoreAway."""

    async def versions(self) -> Mapping[str, str]:
        """What there is, by path."""
        ...

    async def read(self, path: str) -> Document | None:
        """A document; None: there is none."""
        ...

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        """Put a document in the place of the one with a version, None: of none; its own version. Raises Conflict."""
        ...

    async def remove(self, path: str, expected: str) -> None:
        """Remove the document with a version. Raises Conflict."""
        ...

    def lock(self, path: str) -> AbstractAsyncContextManager[None]:
        """Keeps all others that ask for it, wherever they are, from a document, and ends with its holder. A store that
        cannot do that keeps nobody: then only `Conflict` tells."""
        ...

    def changes(self) -> AsyncGenerator[None]:
        """Wakes whenever others may have changed something, for ever. Raises StoreAway where it can no longer tell."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def is_document(path: str) -> bool:
    """Whether a path is one of those that are kept; whatever else lies in a store is nobody's."""
    if path == CONFIG:
        return True
    name = path.removeprefix(AUTHS)
    return path.startswith(AUTHS) and name.endswith(".json") and "/" not in name and not name.startswith(".")

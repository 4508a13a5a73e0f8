"""What every store of documents does: the config file and the auth files, by path, each with a version.

A path is `config/config.yaml` or `auths/NAME.json`, as CLIProxyAPI's own stores have them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar, NamedTuple, Protocol

from cliproxy.credentials.auth_dir import checked_name
from cliproxy.credentials.auth_file import AuthFileFault

CONFIG = "config/config.yaml"
AUTHS = "auths/"


class StoreAway(Exception):
    """The store cannot be reached or does not work now; later it may. The message says why and holds no secret."""


class Conflict(Exception):
    """A document is not as its writer believes: another one was faster. Nothing was written."""


class Unfit(Exception):
    """One document cannot be kept; the others can. The message says why and holds no secret."""


class Document(NamedTuple):
    content: bytes
    version: str
    """Another one for another content; means nothing else, and nothing to another store."""


class Lease(NamedTuple):
    """That a document was locked once."""

    path: str
    id: str = ""


class Store(Protocol):
    """A set of documents. Every call may raise StoreAway. One that is cancelled may have done what it does, or not."""

    name: ClassVar[str]
    """What it is, for people."""

    async def versions(self) -> Mapping[str, str]:
        """What there is, by path."""
        ...

    async def read(self, path: str, version: str | None = None) -> Document | None:
        """A document; None: there is none. version: which it had a moment ago; it may be answered without a look."""
        ...

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        """Put a document in the place of the one with a version, None: of none; its own version. Raises Conflict,
        Unfit."""
        ...

    async def remove(self, path: str, expected: str) -> None:
        """Remove the document with a version. Raises Conflict."""
        ...

    def lock(self, path: str) -> AbstractAsyncContextManager[Lease]:
        """Keeps all others that ask for it, wherever they are, from a document, and ends with its holder. A store that
        cannot do that keeps nobody: then only `Conflict` tells.

        Whoever loses the store under a lock may know better than the store. Others that get the lock wait until it is
        settled, though not for ever.
        """
        ...

    async def unsettled(self) -> Sequence[Lease]:
        """Locks from here that are over and not settled, for the store or whoever had them went away."""
        ...

    async def settle(self, leases: Sequence[Lease]) -> None:
        """The store has all that was done under these locks."""
        ...

    def changes(self) -> AsyncGenerator[None]:
        """Wakes whenever others may have changed something, for ever. Raises StoreAway where it can no longer tell."""
        ...

    async def close(self) -> None:
        """Let go of connections. It may be used again, in another event loop too."""
        ...


class Lockless:
    """The part of a store that cannot lock: it keeps nobody, and there is nothing to settle."""

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[Lease]:
        yield Lease(path)

    async def unsettled(self) -> Sequence[Lease]:
        return ()

    async def settle(self, leases: Sequence[Lease]) -> None:
        return


def is_document(path: str) -> bool:
    """Whether a path is one of those that are kept; whatever else lies in a store is nobody's, and leads nowhere."""
    if path == CONFIG:
        return True
    try:
        return path.startswith(AUTHS) and bool(checked_name(path.removeprefix(AUTHS)))
    except AuthFileFault:
        return False

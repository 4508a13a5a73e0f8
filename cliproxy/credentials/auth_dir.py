"""The directory of auth files: reading, replacing and locking them, and noticing what others do to them.

An account is a `*.json` file directly in it, as for CLIProxyAPI; copies in directories below it are nobody's logins.
Names that begin with a dot are ours: locks, and files that are being written.
"""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

from cliproxy.credentials.atomic_write import left_behind, write_atomically
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.file_lock import locked
from cliproxy.watching import wakes


class AuthFileMissing(AuthFileFault):
    """There is no auth file of this name."""


def checked_name(name: str) -> str:
    """The name of an auth file. Raises AuthFileFault for anything that is none, or would lie elsewhere."""
    if not name.lower().endswith(".json"):
        raise AuthFileFault("the name of an auth file ends in .json")
    if name.startswith(".") or any(mark in name for mark in "/\\:") or not name.isprintable():
        raise AuthFileFault("the name of an auth file has no directory in it, and begins with no dot")
    return name


class AuthDir:
    """A directory of auth files, which need not exist. Calls are short but touch the disk: `asyncio.to_thread` them."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._known: dict[str, bytes] = {}
        """Hashes of what was told to the caller or written by it."""
        self._mutex = threading.Lock()

    def scan(self) -> dict[str, AuthFile | AuthFileFault]:
        """All auth files, by name. `changes` tells what happens to them from then on."""
        with self._mutex:
            contents = self._contents()
            self._known = {name: _digest(data) for name, data in contents.items()}
        return {name: _parsed(data) for name, data in contents.items()}

    def read(self, name: str) -> AuthFile:
        """Raises AuthFileMissing, or AuthFileFault where there is something else."""
        data = _content(self._path_of(name))
        if isinstance(data, AuthFileFault):
            raise data
        return AuthFile.parse(data)

    def write(self, name: str, file: AuthFile) -> None:
        """Replace a file: on disk when this returns. `changes` does not tell it. Raises AuthFileFault."""
        data = file.dump()
        path = self._path_of(name)
        with self._mutex:
            try:
                write_atomically(path, data)
            except OSError as error:
                raise AuthFileFault(f"it cannot be written: {error.strerror}") from None
            self._known[name] = _digest(data)

    def recover(self, name: str) -> None:
        """Finish what a killed writer began: put the newer login that it left behind in place. Only under `lock`.

        The refresh token in it may be the only good one.
        """
        path = self._path_of(name).resolve()
        try:
            newest = self.read(name)
        except AuthFileFault:
            return
        for left in left_behind(path):
            found = _parsed(_content(left))
            if isinstance(found, AuthFile) and (found.last_refresh_s or 0) > (newest.last_refresh_s or 0):
                newest = found
                with contextlib.suppress(OSError):
                    left.replace(path)

    def remove(self, name: str) -> None:
        """Remove a file for good. `changes` does not tell it. Raises AuthFileMissing, AuthFileFault."""
        path = self._path_of(name)
        with self._mutex:
            try:
                path.unlink()
            except FileNotFoundError:
                raise AuthFileMissing("there is no such file") from None
            except OSError as error:
                raise AuthFileFault(f"it cannot be removed: {error.strerror}") from None
            self._known.pop(name, None)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """Keeps other tasks and processes from reading, renewing and writing a file in between, see `locked`. Raises
        AuthFileFault."""
        path = self._path_of(name)
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(locked(path))
            except OSError as error:
                raise AuthFileFault(f"it cannot be locked: {error.strerror}") from None
            yield

    async def changes(self) -> AsyncGenerator[dict[str, AuthFile | AuthFileFault | None]]:
        """What others did since `scan`, as often as something happens: the files now, None for those that are gone.

        Goes on for ever, whether the directory exists, appears later or is replaced.
        """
        async with aclosing(wakes(self.path, concerns=_is_auth_name)) as woken:
            async for _ in woken:
                if changed := await asyncio.to_thread(self.changed):
                    yield changed

    def changed(self) -> dict[str, AuthFile | AuthFileFault | None]:
        """What others did since it was last told."""
        with self._mutex:
            contents = self._contents()
            digests = {name: _digest(data) for name, data in contents.items()}
            gone = self._known.keys() - digests.keys()
            new = {name for name, digest in digests.items() if self._known.get(name) != digest}
            self._known = digests
        return {name: _parsed(contents[name]) for name in sorted(new)} | dict.fromkeys(sorted(gone))

    def _contents(self) -> dict[str, bytes | AuthFileFault]:
        try:
            names = sorted(entry.name for entry in self.path.iterdir())
        except OSError:
            return {}
        contents = {name: _content(self.path / name) for name in names if _is_auth_name(name)}
        return {name: data for name, data in contents.items() if not isinstance(data, AuthFileMissing)}

    def _path_of(self, name: str) -> Path:
        return self.path / checked_name(name)


def _content(path: Path) -> bytes | AuthFileFault:
    if not path.is_file():
        return AuthFileMissing("there is no such file")
    try:
        return path.read_bytes()
    except OSError as error:
        return AuthFileFault(f"it cannot be read: {error.strerror}")


def _parsed(content: bytes | AuthFileFault) -> AuthFile | AuthFileFault:
    if isinstance(content, AuthFileFault):
        return content
    try:
        return AuthFile.parse(content)
    except AuthFileFault as fault:
        return fault


def _digest(content: bytes | AuthFileFault) -> bytes:
    return hashlib.sha256(str(content).encode() if isinstance(content, AuthFileFault) else content).digest()


def _is_auth_name(name: str) -> bool:
    try:
        checked_name(name)
    except AuthFileFault:
        return False
    return True

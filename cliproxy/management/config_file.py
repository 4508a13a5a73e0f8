"""`config.yaml` on disk: changed as its user wrote it, checked before it is written, and in force afterwards."""

import asyncio
import errno
import hashlib
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cliproxy.config import nodes
from cliproxy.config.loading import ConfigFault, Loaded, parse_config
from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.management.faults import ManagementFault
from cliproxy.management.yaml_document import YamlDocument, YamlFault
from cliproxy.tasks import Tasks

_PLACE = re.compile(r".*?:(\d+):(\d+): (.*)", re.DOTALL)
_NOT_REPLACEABLE = (errno.EBUSY, errno.EACCES, errno.EPERM)
"""A file that is mounted by itself, as into a container, or in a directory of someone else's."""

type Edit = Callable[[YamlDocument], None]


class ConfigText(NamedTuple):
    text: str
    version: str
    """Another one for another text."""


class ConfigFile:
    """The file of one gateway. Changes come one after the other, and are not broken off half-way."""

    def __init__(self, path: Path, apply: Callable[[Loaded], None]) -> None:
        """apply: has the gateway go by another configuration."""
        self.path = path
        self._apply = apply
        self._changing = asyncio.Lock()
        self._tasks = Tasks()

    @property
    def version(self) -> str:
        """Of the file as it is now, read on the spot; empty where that fails."""
        try:
            return self._read().version
        except ManagementFault:
            return ""

    async def read(self) -> ConfigText:
        """Raises ManagementFault."""
        return await asyncio.to_thread(self._read)

    async def document(self) -> YamlDocument:
        """The file's values as they stand there. Raises ManagementFault."""
        return await asyncio.to_thread(self._document, (await self.read()).text)

    def _document(self, text: str) -> YamlDocument:
        try:
            return YamlDocument(text)
        except YamlFault as fault:
            raise ManagementFault(422, "invalid_config", f"{self.path.name}: {fault}") from None

    async def edit(self, edit: Edit, expected: str = "", *, applies: bool = True) -> str:
        """Change values; the version of the file then. expected: the version that the caller knows, empty: any.
        applies: have the change in force. Raises ManagementFault (412, 422 …), and nothing has changed."""

        def edited(text: str) -> str:
            document = self._document(text)
            edit(document)
            return document.text()

        return (await self._uninterrupted(self._change(edited, expected, applies=applies)))[1]

    async def replace(self, text: str, expected: str = "") -> tuple[Loaded, str]:
        """Have another text in its place. Raises ManagementFault: 400 for what is no YAML, 412, 422."""
        return await self._uninterrupted(self._change(lambda _: text, expected, applies=True))

    async def check(self, text: str) -> Loaded:
        """Raises ManagementFault: 400 for what is no YAML, 422 for what is no valid configuration."""
        return await asyncio.to_thread(self._check, text)

    def _check(self, text: str) -> Loaded:
        try:
            return parse_config(text, self.path.name)
        except ConfigFault as fault:
            raise _refused(text, fault) from None

    async def _uninterrupted[T](self, work: Coroutine[Any, Any, T]) -> T:
        """A client that goes away must not leave a file behind that is not in force."""
        outcome = await asyncio.shield(self._tasks.start(_told(work), "change the configuration"))
        if isinstance(outcome, ManagementFault):
            raise outcome
        return outcome

    async def _change(self, new_text: Callable[[str], str], expected: str, *, applies: bool) -> tuple[Loaded, str]:
        async with self._changing:
            before = await self.read()
            if expected and expected != before.version:
                raise ManagementFault(412, "version_conflict", "the file has changed since: read it again")
            text = await asyncio.to_thread(new_text, before.text)
            loaded = await self.check(text)
            if text != before.text:
                await asyncio.to_thread(self._write, text)
                if applies:
                    await self._put_in_force(loaded, before.text)
            return loaded, _version(text)

    async def _put_in_force(self, loaded: Loaded, before: str) -> None:
        """A configuration may be valid and yet not be possible here, as with certificates that cannot be read."""
        try:
            self._apply(loaded)
        except ConfigFault as fault:
            await asyncio.to_thread(self._write, before)
            raise ManagementFault(422, "invalid_config", str(fault)) from None

    def _read(self) -> ConfigText:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise ManagementFault(404, "not_found", "config file not found") from None
        except (OSError, UnicodeDecodeError):
            raise ManagementFault(500, "read_failed", "the config file cannot be read") from None
        return ConfigText(text, _version(text))

    def _write(self, text: str) -> None:
        data = text.encode()
        try:
            mode = self.path.stat().st_mode
            try:
                write_atomically(self.path, data)
            except OSError as error:
                if error.errno not in _NOT_REPLACEABLE:
                    raise
                self.path.write_bytes(data)
            else:
                self.path.chmod(mode & 0o777)
        except OSError as error:
            raise ManagementFault(500, "write_failed", f"the config file cannot be written: {error.strerror}") from None


async def _told[T](work: Coroutine[Any, Any, T]) -> T | ManagementFault:
    """What came of it: an exception that nobody waits for any more would be logged."""
    try:
        return await work
    except ManagementFault as fault:
        return fault


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refused(text: str, fault: ConfigFault) -> ManagementFault:
    try:
        nodes.compose(text)
    except (yaml.YAMLError, RecursionError):
        status, error = 400, "invalid_yaml"
    else:
        status, error = 422, "invalid_config"
    return ManagementFault(
        status, error, "\n".join(fault.problems), problems=[_problem(line) for line in fault.problems]
    )


def _problem(line: str) -> dict[str, Any]:
    found = _PLACE.fullmatch(line)
    if not found:
        return {"line": None, "column": None, "message": line}
    return {"line": int(found[1]), "column": int(found[2]), "message": found[3]}

"""The log's files: read from their end or onwards from a place, and files of single requests.

Names are matched against those in the directory, never put together to a path, so that none leads out of it.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

MAIN = "main.log"
MAX_LINES = 10_000
MAX_READ_BYTES = 8 * 1024 * 1024
"""Of what is read at once, from the end."""

_ROTATED = re.compile(r"main[-.].+\.log|main\.log\..+")
_ERROR = re.compile(r"error-.+\.log")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CURSOR = re.compile(r"(\d{1,20})-(\d{1,18})")
_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)")


class LogLines(NamedTuple):
    lines: Sequence[str]
    latest_s: int
    """Time of the newest line that has one, UTC epoch seconds; 0: none has."""
    cursor: str
    """Where to go on; empty: there is no file."""
    is_reset: bool = False
    """The place to go on from is gone: these are the newest lines."""


class LogFile(NamedTuple):
    name: str
    size_bytes: int
    modified_s: int


class LogFiles:
    """One directory, which need not exist. Calls touch the disk: `asyncio.to_thread` them. They raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def newest(self, limit: int, after_s: int = 0) -> LogLines:
        """The newest lines, oldest first. after_s: only of those later than a moment."""
        lines: list[str] = []
        for path in reversed(self._logs()):
            lines = _tail(path) + lines
            if len(lines) >= limit or sum(map(len, lines)) > MAX_READ_BYTES:
                break
        if after_s:
            lines = list(_later(lines, after_s))
        return LogLines(lines[-limit:] if limit else [], _latest_s(lines), self._end())

    def since(self, cursor: str, limit: int) -> LogLines:
        """What has come since a cursor."""
        place = _CURSOR.fullmatch(cursor)
        logs = self._logs()
        begun = next((i for i, path in enumerate(logs) if place and path.stat().st_ino == int(place[1])), None)
        if place is None or begun is None or logs[begun].stat().st_size < int(place[2]):
            return self.newest(limit)._replace(is_reset=True)
        lines: list[str] = []
        for number, path in enumerate(logs[begun:]):
            lines += _lines(path, int(place[2]) if number == 0 else 0)
        return LogLines(lines[-limit:], _latest_s(lines), self._end())

    def clear(self) -> int:
        """Empty the log; how many files are gone."""
        removed = 0
        for path in self._logs():
            if path.name == MAIN:
                with path.open("r+b") as file:
                    file.truncate(0)
            else:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def errors(self) -> list[LogFile]:
        """Files of failed requests, newest first."""
        found = [(path, path.stat()) for path in self._all() if _ERROR.fullmatch(path.name)]
        files = [LogFile(path.name, stat.st_size, int(stat.st_mtime)) for path, stat in found]
        return sorted(files, key=lambda file: file.modified_s, reverse=True)

    def error(self, name: str) -> Path | None:
        """The file of a failed request, by its name."""
        return next((path for path in self._all() if path.name == name and _ERROR.fullmatch(name)), None)

    def request(self, identity: str) -> Path | None:
        """The file of a request, by its id."""
        if not _ID.fullmatch(identity):
            return None
        return next((path for path in self._all() if path.name.endswith(f"-{identity}.log")), None)

    def _logs(self) -> list[Path]:
        """Oldest first."""
        logs = [path for path in self._all() if path.name == MAIN or _ROTATED.fullmatch(path.name)]
        return sorted(logs, key=lambda path: (path.name == MAIN, path.stat().st_mtime_ns))

    def _all(self) -> list[Path]:
        try:
            return [path for path in self.path.iterdir() if path.is_file() and not path.is_symlink()]
        except FileNotFoundError:
            return []

    def _end(self) -> str:
        logs = self._logs()
        if not logs:
            return ""
        stat = logs[-1].stat()
        return f"{stat.st_ino}-{_complete_bytes(logs[-1], stat.st_size)}"


def _tail(path: Path) -> list[str]:
    size = path.stat().st_size
    lines = _lines(path, max(0, size - MAX_READ_BYTES))
    return lines[1:] if size > MAX_READ_BYTES else lines


def _lines(path: Path, offset: int) -> list[str]:
    """The complete lines from an offset on."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(MAX_READ_BYTES)
    # A line that is being written has no end yet.
    complete = data[: data.rfind(b"\n") + 1]
    return [line.decode("utf-8", "replace").rstrip("\r") for line in complete.split(b"\n")[:-1]]


def _complete_bytes(path: Path, size: int) -> int:
    """Where the last complete line ends."""
    start = max(0, size - MAX_READ_BYTES)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(size - start)
    return start + data.rfind(b"\n") + 1


def _seconds(line: str) -> int:
    """The moment at a line's beginning, by this machine's clock; 0: there is none."""
    found = _TIME.match(line)
    try:
        return int(datetime.fromisoformat(found[1]).timestamp()) if found else 0
    except ValueError:
        return 0


def _later(lines: Iterable[str], after_s: int) -> Iterable[str]:
    """Lines later than a moment; those without a time go with the one before."""
    is_later = False
    for line in lines:
        if moment_s := _seconds(line):
            is_later = moment_s > after_s
        if is_later:
            yield line


def _latest_s(lines: Iterable[str]) -> int:
    return max(map(_seconds, lines), default=0)

"""Settings files on disk: what would change is known before anything is written, and the original is kept beside.

`FILE.cliproxy.bak` is the file as it was before the first set-up, `FILE.cliproxy.json` the record of what we set. Both
go with `undo`.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.setup.merging import Record, recorded, with_settings, without_settings
from cliproxy.setup.syntax import Settings, SettingsFault, Syntax

BACKUP = ".cliproxy.bak"
RECORD = ".cliproxy.json"


class FileFault(Exception):
    """A settings file cannot be changed; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to one file."""

    path: Path
    before: bytes | None
    """What is there; None: no file."""
    after: bytes | None
    record: Record | None
    """What we have set in the file then; None: nothing, and the backup goes too."""

    @property
    def changes(self) -> bool:
        return self.before != self.after

    def carry_out(self) -> None:
        """Write, in an order in which a crash loses nothing. Raises FileFault."""
        try:
            if _content(self.path) != self.before:
                raise FileFault(f"{self.path}: somebody has just changed it; nothing was written")
            if self.record:
                self._keep(self.record)
            if self.changes:
                self._write()
            if self.record is None:
                _beside(self.path, BACKUP).unlink(missing_ok=True)
                _beside(self.path, RECORD).unlink(missing_ok=True)
        except OSError as error:
            raise FileFault(f"{self.path}: cannot be written: {error.strerror}") from None

    def _keep(self, record: Record) -> None:
        if record.existed and not _beside(self.path, BACKUP).exists():
            assert self.before is not None
            write_atomically(_beside(self.path, BACKUP), self.before)
        write_atomically(_beside(self.path, RECORD), msgspec.json.format(msgspec.json.encode(record)))

    def _write(self) -> None:
        if self.after is None:
            self.path.resolve().unlink()
            return
        mode = None if self.before is None else stat.S_IMODE(self.path.stat().st_mode)
        write_atomically(self.path, self.after)
        if mode is not None:
            self.path.chmod(mode)


def plan_setup(path: Path, syntax: Syntax, settings: Settings) -> Plan:
    """What puts these settings into a file. Raises FileFault."""
    before, record = _content(path), _record(path)
    if record is None and _beside(path, BACKUP).exists():
        raise FileFault(f"{_beside(path, BACKUP)} is there already: restore it, or move it away")
    text = _text(path, before or b"")
    original = _original(path, record) if record else text
    try:
        after = with_settings(syntax, original, text, record, settings)
    except SettingsFault as fault:
        raise _told(path, fault) from None
    existed = record.existed if record else before is not None
    return Plan(path, before, after.encode(), recorded(settings, existed=existed))


def plan_undo(path: Path, syntax: Syntax) -> Plan | None:
    """What takes our settings out again; None where there are none of ours. Raises FileFault."""
    before, record = _content(path), _record(path)
    if record is None:
        return None
    if before is None:
        return Plan(path, None, None, None)
    try:
        after = without_settings(syntax, _original(path, record), _text(path, before), record)
    except SettingsFault as fault:
        raise _told(path, fault) from None
    is_left_over = not record.existed and after.strip() in ("", "{}")
    return Plan(path, before, None if is_left_over else after.encode(), None)


def is_set_up(path: Path) -> bool:
    """Whether a file has settings of ours."""
    return _beside(path, RECORD).exists()


def read_settings(path: Path, syntax: Syntax) -> dict[str, object]:
    """All values of a file that may be missing. Raises FileFault."""
    try:
        return syntax.read(_text(path, _content(path) or b""))
    except SettingsFault as fault:
        raise _told(path, fault) from None


def _told(path: Path, fault: SettingsFault) -> FileFault:
    place = f"{path}:{fault.line}" if fault.line else str(path)
    return FileFault(f"{place}: {fault}")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileFault(f"{path}: cannot be read: {error.strerror}") from None


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FileFault(f"{path}:{data.count(b'\n', 0, error.start) + 1}: not UTF-8 text") from None


def _original(path: Path, record: Record) -> str:
    if not record.existed:
        return ""
    backup = _beside(path, BACKUP)
    data = _content(backup)
    if data is None:
        raise FileFault(f"{backup} is gone, so {path.name} cannot be restored: change it by hand")
    return _text(backup, data)


def _record(path: Path) -> Record | None:
    data = _content(_beside(path, RECORD))
    try:
        return None if data is None else msgspec.json.decode(data, type=Record)
    except msgspec.DecodeError:
        raise FileFault(
            f"{_beside(path, RECORD)} is not as it was written: remove it and change the file by hand"
        ) from None

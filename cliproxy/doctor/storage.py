"""The places that the gateway writes to."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cliproxy.config.schema import Config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.doctor.configuration import is_readable_by_others
from cliproxy.doctor.finding import Finding
from cliproxy.routing import found
from cliproxy.usage.ledger import open_ledger, path_of
from cliproxy.usage.schema import MIGRATIONS


def storage(config: Config) -> Iterator[Finding]:
    auth_dir = AuthDir(Path(config.auth_dir))
    places = {"accounts": auth_dir.path, "model lists": found.path_of(config.models_file).parent}
    if config.usage_statistics_enabled:
        places["the usage ledger"] = path_of(config.usage).parent
    for what, folder in places.items():
        if reason := _why_not_writable(folder):
            yield Finding("storage", "error", f"{what} cannot be kept in {folder}: {reason}")
        else:
            yield Finding("storage", "ok", f"{what} can be kept in {folder}")
    for name in auth_dir.scan():
        path = auth_dir.path / name
        if is_readable_by_others(path):
            yield Finding("storage", "warning", f"{path} holds a login, and others can read it", f"chmod 600 {path}")
    yield from _ledger(path_of(config.usage))


def _why_not_writable(folder: Path) -> str:
    """Empty where files can be made in it, or it can be made itself."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return f"{there} is no directory"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} is not writable"


def _ledger(path: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        with closing(open_ledger(path, read_only=True)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except (sqlite3.Error, OSError) as error:
        yield Finding("storage", "error", f"the usage ledger {path} cannot be used: {error}")
        return
    if version > len(MIGRATIONS):
        yield Finding("storage", "error", f"the usage ledger {path} was written by a later release")
    else:
        yield Finding("storage", "ok", f"the usage ledger {path} can be read")

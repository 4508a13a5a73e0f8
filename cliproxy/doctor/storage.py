"""The places that the gateway writes to."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cliproxy.config.schema import Config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.doctor.configuration import is_readable_by_others
from cliproxy.doctor.finding import Finding
from cliproxy.routing import found
from cliproxy.usage.connection import LedgerFault
from cliproxy.usage.place import Place, described, open_ledger, place_of
from cliproxy.usage.schema import MIGRATIONS


def storage(config: Config) -> Iterator[Finding]:
    auth_dir = AuthDir(Path(config.auth_dir))
    places = {"accounts": auth_dir.path, "model lists": found.path_of(config.models_file).parent}
    ledger = place_of(config.usage) if config.usage_statistics_enabled else None
    if isinstance(ledger, Path):
        places["the usage ledger"] = ledger.parent
    for what, folder in places.items():
        if reason := why_not_writable(folder):
            yield Finding("storage", "error", f"{what} cannot be kept in {folder}: {reason}")
        else:
            yield Finding("storage", "ok", f"{what} can be kept in {folder}")
    for name in auth_dir.scan():
        path = auth_dir.path / name
        if is_readable_by_others(path):
            yield Finding("storage", "warning", f"{path} holds a login, and others can read it", f"chmod 600 {path}")
    if ledger:
        yield from _ledger(ledger)


def why_not_writable(folder: Path) -> str:
    """Empty where files can be made in it, or it can be made itself."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return f"{there} is no directory"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} is not writable"


def _ledger(place: Place) -> Iterator[Finding]:
    if isinstance(place, Path) and not place.exists():
        return
    ledger = f"the usage ledger {described(place)}"
    try:
        with closing(open_ledger(place, read_only=True)) as connection:
            version = connection.version()
    except LedgerFault as fault:
        yield Finding("storage", "error", f"{ledger} cannot be used: {fault}")
        return
    if version > len(MIGRATIONS):
        yield Finding("storage", "error", f"{ledger} was written by a later release")
    else:
        yield Finding("storage", "ok", f"{ledger} can be read")

"""Where the ledger is: in a file of this machine, or in the database that several gateways share."""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from cliproxy.config.schema import UsageLedger
from cliproxy.database import Database, database_of
from cliproxy.usage import sqlite
from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.schema import migrate

type Place = Path | Database
"""An SQLite file, or a schema of a PostgreSQL database."""


def place_of(settings: UsageLedger, environ: Mapping[str, str] = os.environ) -> Place:
    """Where the settings want it; where they do not say, gateways that share a database share its ledger too."""
    if settings.path:
        return Path(settings.path).expanduser()
    return database_of(environ) or platformdirs.user_data_path("cliproxy") / "usage.db"


def described(place: Place) -> str:
    """For people; without secrets."""
    return f"in PostgreSQL's schema {place.schema}" if isinstance(place, Database) else str(place)


def open_ledger(place: Place, *, read_only: bool = False) -> LedgerConnection:
    """Open the ledger, made and brought up to date where it is to be written; one to be read that nobody wrote yet is
    empty. Raises LedgerFault, NewerLedger."""
    if read_only and isinstance(place, Path) and not place.exists():
        return _empty()
    connection = _connected(place, read_only=read_only)
    try:
        if not read_only:
            migrate(connection)
        elif not connection.version():
            connection.close()
            return _empty()
    except BaseException:
        connection.close()
        raise
    return connection


def _connected(place: Place, *, read_only: bool) -> LedgerConnection:
    if isinstance(place, Path):
        return sqlite.opened(place, read_only=read_only)
    # Its driver takes its time to load, and few need it.
    from cliproxy.usage import postgres

    return postgres.opened(place)


def _empty() -> LedgerConnection:
    connection = sqlite.in_memory()
    migrate(connection)
    return connection

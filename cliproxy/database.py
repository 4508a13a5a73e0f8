"""Which PostgreSQL database several gateways share, named by the environment with CLIProxyAPI's variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Database:
    """A schema of a database."""

    dsn: str = field(repr=False)
    """`postgresql://…`; may hold a password."""
    schema: str = "public"


def database_of(environ: Mapping[str, str] = os.environ) -> Database | None:
    """The database that gateways share; None: this one is alone."""
    dsn = environ.get("PGSTORE_DSN")
    return Database(dsn, environ.get("PGSTORE_SCHEMA") or "public") if dsn else None

"""Both places that a ledger may be in."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from cliproxy.database import Database
from cliproxy.usage.connection import LedgerConnection
from cliproxy.usage.place import Place, open_ledger
from tests.stores.postgres_server import PostgresServer, postgres_server, program


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[PostgresServer | None]:
    """One for all tests of a process."""
    if not program("postgres"):
        yield None
        return
    async with postgres_server() as running:
        yield running


def empty(server: PostgresServer | None) -> Database:
    """A schema of a database that is not there yet, whose name has to be quoted."""
    if not server:
        pytest.skip("needs PostgreSQL")
    return Database(server.dsn, f'Team "{uuid4().hex}"')


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, server: PostgresServer | None) -> Place:
    """Where nothing is yet."""
    return tmp_path / "deep" / "usage.db" if request.param == "sqlite" else empty(server)


@pytest.fixture
def ledger(place: Place) -> Iterator[LedgerConnection]:
    with closing(open_ledger(place)) as connection:
        yield connection

"""Where the ledger is, and what is found where none is yet."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import platformdirs
import pytest
from psycopg import sql

from cliproxy.config.schema import UsageLedger
from cliproxy.database import Database
from cliproxy.usage.connection import LedgerFault
from cliproxy.usage.place import Place, described, open_ledger, place_of
from cliproxy.usage.queries import journal
from tests.stores.postgres_server import PostgresServer
from tests.usage.conftest import empty

DSN = "postgresql://me:test-password@db.example/gateways"
DEFAULT = platformdirs.user_data_path("cliproxy") / "usage.db"


@pytest.mark.parametrize(
    ("path", "environ", "expected"),
    [
        ("", {}, DEFAULT),
        ("", {"PGSTORE_DSN": ""}, DEFAULT),
        ("", {"PGSTORE_DSN": DSN}, Database(DSN, "public")),
        ("", {"PGSTORE_DSN": DSN, "PGSTORE_SCHEMA": "team"}, Database(DSN, "team")),
        ("~/mine.db", {"PGSTORE_DSN": DSN}, Path.home() / "mine.db"),
        ("/var/mine.db", {}, Path("/var/mine.db")),
    ],
)
def test_settings_come_before_the_shared_database(path: str, environ: dict[str, str], expected: Place) -> None:
    assert place_of(UsageLedger(path=path), environ) == expected


def test_a_place_is_described_without_its_password() -> None:
    assert described(Path("/var/mine.db")) == "/var/mine.db"
    assert described(Database(DSN, "team")) == "in PostgreSQL's schema team"


def test_what_nobody_wrote_yet_is_read_as_empty_and_not_made(place: Place) -> None:
    for _ in range(2):
        with closing(open_ledger(place, read_only=True)) as connection:
            assert journal(connection) == []
    if isinstance(place, Path):
        assert not place.parent.exists()


def test_what_is_open_for_reading_only_is_not_written(tmp_path: Path) -> None:
    open_ledger(tmp_path / "usage.db").close()
    with closing(open_ledger(tmp_path / "usage.db", read_only=True)) as connection:
        with pytest.raises(LedgerFault, match="readonly"):
            connection.run("DELETE FROM exchange")


def test_of_several_that_find_no_tables_one_makes_them(server: PostgresServer | None) -> None:
    ready = Barrier(4, timeout=10)

    def version(place: Place) -> int:
        ready.wait()
        with closing(open_ledger(place)) as connection:
            return connection.version()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            assert list(threads.map(version, [empty(server)] * 4)) == [1] * 4


def test_its_tables_are_beside_those_of_others(server: PostgresServer | None) -> None:
    """A schema that is there, with tables that are called as in SQLite."""
    place = empty(server)
    schema = sql.Identifier(place.schema).as_string()
    question = "SELECT tablename FROM pg_tables WHERE schemaname = ? ORDER BY 1"
    with closing(open_ledger(empty(server))) as other:
        other.run(f"CREATE SCHEMA {schema}")
        other.run(f'CREATE TABLE {schema}."exchange" (mine TEXT)')
        open_ledger(place).close()
        found = [row["tablename"] for row in other.rows(question, [place.schema])]
    ours = ("attempt", "exchange", "latency_hour", "ledger_version", "usage_hour")
    assert found == [*(f"cliproxy_{name}" for name in ours), "exchange"]

"""What every store does, each on the real thing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from itertools import count
from pathlib import Path

import boto3
import pytest
import pytest_asyncio
from dulwich.repo import Repo
from moto.server import ThreadedMotoServer

from cliproxy.database import Database
from cliproxy.stores import git
from cliproxy.stores import s3 as s3_module
from cliproxy.stores.file import FileStore
from cliproxy.stores.git import GitStore
from cliproxy.stores.postgres import PostgresStore
from cliproxy.stores.s3 import S3Store
from cliproxy.stores.store import CONFIG, Conflict, Store
from tests.stores.memory_store import MemoryStore
from tests.stores.postgres_server import PostgresServer, postgres_server, program

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = {"aws_access_key_id": "test-access", "aws_secret_access_key": "test-secret", "region_name": "us-east-1"}
A = "auths/a.json"
FIRST, SECOND = (json.dumps({"type": "claude", "note": note}, indent=2).encode() + b"\n" for note in ("first", "ünd"))

type Open = Callable[[], Store]
"""Opens the same store once more, as another gateway does."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database() -> AsyncIterator[PostgresServer | None]:
    if not program("postgres"):
        yield None
        return
    async with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server that speaks S3."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for polled in (git, s3_module):
        monkeypatch.setattr(polled, "POLLED_EVERY_S", 0.05)


@pytest_asyncio.fixture(loop_scope="module", params=["memory", "file", "git", "s3", "postgres"])
async def opened(
    request: pytest.FixtureRequest, tmp_path: Path, database: PostgresServer | None, s3: str
) -> AsyncIterator[Open]:
    schema = f"test_{tmp_path.name}"
    bucket = schema.replace("_", "-").lower()
    memory, clones = MemoryStore(), count()
    make: Mapping[str, Open] = {
        "memory": lambda: memory,
        "file": lambda: FileStore(tmp_path),
        "git": lambda: GitStore(str(tmp_path / "remote.git"), tmp_path / f"clone-{next(clones)}", "main"),
        "s3": lambda: S3Store(s3, bucket, "test-access", "test-secret"),
        "postgres": lambda: PostgresStore(Database(database.dsn if database else "", schema), f"holder {next(clones)}"),
    }
    match request.param:
        case "git":
            Repo.init_bare(str(tmp_path / "remote.git"), mkdir=True)
        case "s3":
            boto3.client("s3", endpoint_url=s3, **KEYS).create_bucket(Bucket=bucket)
        case "postgres" if database is None:
            pytest.skip("needs PostgreSQL")
        case _:
            pass
    async with AsyncExitStack() as open_ones:

        def _open() -> Store:
            store = make[request.param]()
            open_ones.push_async_callback(store.close)
            return store

        yield _open


@pytest.fixture
def store(opened: Open) -> Store:
    return opened()


async def test_an_empty_one_holds_nothing(store: Store) -> None:
    assert await store.versions() == {}
    assert await store.read(A) is None
    assert await store.read(CONFIG) is None


async def test_what_is_written_is_read_by_others(store: Store, opened: Open) -> None:
    text = b"# a comment\nport: 1\n"
    versions = {A: await store.write(A, FIRST, None), CONFIG: await store.write(CONFIG, text, None)}
    other = opened()
    assert await other.versions() == versions
    found, config = await other.read(A), await other.read(CONFIG)
    assert found and json.loads(found.content) == json.loads(FIRST)
    assert config == (text, versions[CONFIG])


async def test_only_who_knows_a_document_replaces_it(store: Store, opened: Open) -> None:
    other = opened()
    version = await store.write(A, FIRST, None)
    with pytest.raises(Conflict):
        await other.write(A, SECOND, None)
    newer = await other.write(A, SECOND, version)
    assert newer != version
    for late in (store.write(A, FIRST, version), store.remove(A, version), store.write("auths/b.json", FIRST, version)):
        with pytest.raises(Conflict):
            await late
    found = await store.read(A)
    assert found and (json.loads(found.content), found.version) == (json.loads(SECOND), newer)
    await store.remove(A, newer)
    assert await other.versions() == {}
    with pytest.raises(Conflict):
        await other.remove(A, newer)


async def test_of_many_writers_one_is_first(opened: Open) -> None:
    if isinstance(opened(), S3Store):
        pytest.skip("the test's server compares and puts in two steps")
    stores = [opened() for _ in range(5)]
    outcomes = await asyncio.gather(*(each.write(A, FIRST, None) for each in stores), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 4


async def test_others_are_told_of_changes(store: Store, opened: Open) -> None:
    other = opened()
    async with asyncio.timeout(20), aclosing(store.changes()) as changes:
        await anext(changes)
        version = await other.write(A, FIRST, None)
        while await store.versions() != {A: version}:
            await anext(changes)
        await other.remove(A, version)
        while await store.versions():
            await anext(changes)

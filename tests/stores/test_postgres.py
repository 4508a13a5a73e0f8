"""cliproxy.stores.postgres with a server that is killed, silent, strange or in use, and a network that is cut."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg import AsyncConnection

from cliproxy import watching
from cliproxy.database import Database
from cliproxy.postgres import composed
from cliproxy.stores import postgres, replica
from cliproxy.stores.postgres import PostgresStore
from cliproxy.stores.store import CONFIG, Conflict, StoreAway, Unfit
from tests.stores.postgres_server import PostgresServer, postgres_server, program
from tests.stores.relay import Relay, relay
from tests.stores.side import A, Side, login

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not program("postgres"), reason="needs PostgreSQL"),
]

type Open = Callable[[str], Side[PostgresStore]]
"""A gateway of a name."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[PostgresServer]:
    async with postgres_server() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def network(server: PostgresServer) -> AsyncIterator[Relay]:
    async with relay(lambda: asyncio.open_unix_connection(server.folder / ".s.PGSQL.5432")) as running:
        yield running


@pytest.fixture
def schema(tmp_path: Path) -> str:
    return f"schema_{tmp_path.name}"


@pytest_asyncio.fixture(loop_scope="module")
async def opened(tmp_path: Path, server: PostgresServer, schema: str) -> AsyncIterator[Open]:
    sides: list[Side[PostgresStore]] = []

    def _open(name: str, dsn: str = server.dsn) -> Side[PostgresStore]:
        sides.append(Side(tmp_path / name, PostgresStore(Database(dsn, schema), name)))
        return sides[-1]

    yield _open
    for side in sides:
        await side.store.close()


@pytest_asyncio.fixture(loop_scope="module")
async def far(opened: Open, tmp_path: Path, network: Relay, schema: str) -> AsyncIterator[Side[PostgresStore]]:
    """A gateway behind a network that can be cut."""
    dsn = f"postgresql://postgres@127.0.0.1:{network.port}/postgres"
    side = Side(tmp_path / "far", PostgresStore(Database(dsn, schema), "far"))
    yield side
    await side.store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_ANSWERED_WITHIN_S", 1.0)
    monkeypatch.setattr(postgres, "_LISTENED_FOR_S", 0.1)
    monkeypatch.setattr(postgres, "_LOCK_AWAITED_FOR", "20ms")
    monkeypatch.setattr(replica, "RETRIED_AFTER_S", (0.05,))
    monkeypatch.setattr(watching, "CHECKED_EVERY_MS", 100)


@asynccontextmanager
async def connected(server: PostgresServer) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(server.dsn, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def held(server: PostgresServer, schema: str) -> AsyncIterator[AsyncConnection]:
    """The row of A is locked. Yields another connection."""
    async with connected(server) as holder, connected(server) as other, holder.transaction():
        await holder.execute(composed("SELECT * FROM {schema}.auth_store WHERE id = 'a.json' FOR UPDATE", schema))
        yield other


async def someone_waits(connection: AsyncConnection) -> None:
    """Until a statement waits for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while not await (await connection.execute(waiting)).fetchall():
            pass


async def test_a_server_that_is_killed_in_a_write_has_it_or_not_and_both_become_alike(
    opened: Open, server: PostgresServer, schema: str
) -> None:
    left, right = opened("left"), opened("right")
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01"))
    await left.sync()
    with pytest.raises(psycopg.OperationalError):
        async with held(server, schema) as other:
            left.put(A, login("2", "02"))
            writing = asyncio.create_task(left.sync())
            await someone_waits(other)
            await server.kill()
            with pytest.raises(StoreAway):
                await writing
    await server.start()
    await right.sync()
    assert json.loads(right.files[A]) == json.loads(login("1", "01"))
    await left.sync()
    await right.sync()
    assert json.loads(right.files[A]) == json.loads(login("2", "02"))
    assert left.files.keys() == right.files.keys() == {A, CONFIG}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("path", "first", "second", "third"),
    [
        (CONFIG, b"port: 1\n", b"port: 2\n", b"port: 3\n"),
        (A, login("1", "01", note="1"), login("2", "02", note="2"), login("2", "02", note="3")),
    ],
)
async def test_a_commit_whose_answer_is_lost_is_no_conflict(
    far: Side, opened: Open, network: Relay, path: str, first: bytes, second: bytes, third: bytes
) -> None:
    right = opened("right")
    far.put(CONFIG, b"port: 1\n")
    far.put(path, first)
    await far.sync()
    far.put(path, second)
    network.last_words = b"COMMIT"
    with pytest.raises(StoreAway):
        await far.sync()
    network.reset()
    await right.sync()
    assert says(right.files[path]) == says(second), "it has arrived"
    far.put(path, third)
    await far.anew().sync()
    await right.sync()
    assert says(right.files[path]) == says(far.files[path]) == says(third)
    assert far.files.keys() == {CONFIG, path}


def says(content: bytes) -> object:
    return json.loads(content) if content.startswith(b"{") else content


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("end", [Relay.mend, Relay.reset])
async def test_a_network_that_is_cut_is_noticed_and_caught_up_with(
    far: Side, opened: Open, network: Relay, end: Callable[[Relay], None]
) -> None:
    right = opened("right")
    far.put(A, login("1", "01"))
    await far.sync()
    told: asyncio.Queue[str] = asyncio.Queue()
    tell = far.replica._told
    far.replica._told = lambda trouble: (tell(trouble), told.put_nowait(trouble))[0]
    running = asyncio.create_task(far.replica.run())
    async with asyncio.timeout(20):
        assert await told.get() == ""
        network.cut()
        while not await told.get():
            pass
        assert far.replica.trouble == "PostgreSQL: it does not answer"
        async with asyncio.timeout(5), far.replica.locked(A):
            far.put(A, login("2", "02"))
        end(network)
        while await told.get():
            pass
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await far.replica.close()
    await right.sync()
    assert json.loads(right.files[A]) == json.loads(login("2", "02"))


@pytest.mark.usefixtures("impatient")
async def test_who_waits_for_a_lock_that_is_held_goes_on_waiting(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = opened("left"), opened("right")
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    answers, taken = asyncio.Queue[bool](), postgres._taken

    async def told(connection: AsyncConnection, lock: int) -> bool:
        answers.put_nowait(is_taken := await taken(connection, lock))
        return is_taken

    async def seen() -> object:
        async with right.replica.locked(A):
            return json.loads(right.files[A])

    async with asyncio.timeout(20):
        async with left.replica.locked(A):
            monkeypatch.setattr(postgres, "_taken", told)
            waiting = asyncio.create_task(seen())
            assert [await answers.get() for _ in range(3)] == [False] * 3
            left.put(A, login("2", "02"))
        assert await waiting == json.loads(login("2", "02"))
    assert right.replica.trouble == ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("setting", ["idle_session_timeout", "statement_timeout"])
async def test_a_lock_is_had_and_waited_for_however_short_the_roles_patience_is(
    server: PostgresServer, schema: str, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(postgres, "_LOCK_AWAITED_FOR", "2s")
    role = f"role_{schema}"
    async with connected(server) as connection:
        await connection.execute(composed("CREATE ROLE {role} LOGIN SUPERUSER", schema, role=role))
        await connection.execute(composed(f"ALTER ROLE {{role}} SET {setting} = '100ms'", schema, role=role))
    dsn = server.dsn.replace("postgres@", f"{role}@")
    left, right = (PostgresStore(Database(dsn, schema), name) for name in ("left", "right"))

    async def lock() -> None:
        async with right.lock(A):
            pass

    async with left.lock(A):
        waiting = asyncio.create_task(lock())
        await asyncio.wait([waiting], timeout=0.4)
        assert not waiting.done()
    await waiting


async def renewed(side: Side[PostgresStore]) -> object:
    """The login that a gateway finds when its turn has come to renew it."""
    async with side.replica.locked(A) as is_had:
        assert is_had
        return json.loads(side.files[A])


async def test_a_login_renewed_when_the_server_went_down_is_waited_for(
    opened: Open, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = opened("left"), opened("right")
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    looks, look = asyncio.Queue[bool](), right.store._waits_for_another

    async def told(connection: AsyncConnection, path: str, waited_s: float) -> bool:
        looks.put_nowait(waits := await look(connection, path, waited_s))
        return waits

    monkeypatch.setattr(right.store, "_waits_for_another", told)
    async with left.replica.locked(A) as is_had:
        assert is_had
        await server.kill()
        left.put(A, login("2", "02"))
    await server.start()
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(renewed(right))
        assert [await looks.get() for _ in range(2)] == [True] * 2
        # Back, or started anew: `run` makes both alike, and settles what was locked.
        left = left.anew()
        running = asyncio.create_task(left.replica.run())
        assert await waiting == json.loads(login("2", "02"))
        running.cancel()


async def test_a_login_renewed_when_the_server_went_down_is_told_before_the_end(
    opened: Open, server: PostgresServer
) -> None:
    left, right = opened("left"), opened("right")
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    async with left.replica.locked(A):
        await server.kill()
        left.put(A, login("2", "02"))
    await server.start()
    await left.replica.close()
    async with asyncio.timeout(5):
        assert await renewed(right) == json.loads(login("2", "02"))


async def test_who_was_killed_with_a_lock_is_hardly_waited_for(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_SPARED_S", 0.1)
    left, right = opened("left"), opened("right")
    left.put(A, login("1", "01"))
    await left.sync()
    async with left.store.lock(A):
        pass  # Its connection ends, and nothing is settled.
    async with asyncio.timeout(2):
        assert await renewed(right) == json.loads(login("1", "01"))


async def test_who_does_not_come_back_is_not_waited_for_without_end(
    opened: Open, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CLOSED_WITHIN_S", 0.0)
    monkeypatch.setattr(postgres, "_WAITED_FOR_S", 0.3)
    left, right = opened("left"), opened("right")
    left.put(A, login("1", "01"))
    await left.sync()
    async with left.store.lock(A):
        pass
    began_s = time.monotonic()
    async with asyncio.timeout(5):
        assert await renewed(right) == json.loads(login("1", "01"))
    assert time.monotonic() - began_s > 0.25


async def test_a_write_that_is_cancelled_leaves_a_store_that_works(
    opened: Open, server: PostgresServer, schema: str
) -> None:
    store = opened("left").store
    version = await store.write(A, login("1", "01"), None)
    async with held(server, schema) as other:
        writing = asyncio.create_task(store.write(A, login("2", "02"), version))
        await someone_waits(other)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await store.versions() == {A: version}
    assert await store.write(A, login("3", "03"), version) != version


async def test_three_machines_that_change_one_login_at_once_end_alike(opened: Open) -> None:
    sides = [opened(name) for name in ("one", "other", "third")]
    sides[0].put(CONFIG, b"port: 1\n")
    for path in (A, "auths/b.json"):
        sides[0].put(path, login("1", "01", note="a", priority=1))
    for side in sides:
        await side.sync()
    sides[0].put(A, login("3", "03", note="a", priority=2))
    sides[1].put(A, login("2", "02", note="b", priority=1))
    sides[2].drop(A)
    sides[2].drop("auths/b.json")
    for _ in range(3):
        await asyncio.gather(*(side.sync() for side in sides))
    assert json.loads(sides[0].files[A]) == json.loads(login("3", "03", note="b", priority=2))
    for side in sides:
        assert says(side.files[A]) == says(sides[0].files[A])
        assert side.files.keys() == {CONFIG, A}


async def test_who_may_not_make_the_tables_may_try_again_and_use_them(server: PostgresServer, schema: str) -> None:
    role = f"role_{schema}"
    store = PostgresStore(Database(server.dsn.replace("postgres@", f"{role}@"), schema), role)
    async with connected(server) as connection:
        await connection.execute(composed("CREATE ROLE {role} LOGIN", schema, role=role))
        for _ in range(2):
            with pytest.raises(StoreAway, match="42501"):
                await store.versions()
        made = PostgresStore(Database(server.dsn, schema), "owner")
        version = await made.write(A, login("1", "01"), None)
        await made.close()
        await connection.execute(composed("GRANT USAGE ON SCHEMA {schema} TO {role}", schema, role=role))
        await connection.execute(composed("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}", schema, role=role))
        assert await store.versions() == {A: version}
        await store.close()


async def test_who_owns_a_schema_needs_no_right_beyond_it(server: PostgresServer, schema: str) -> None:
    role = f"role_{schema}"
    async with connected(server) as connection:
        await connection.execute(composed("CREATE ROLE {role} LOGIN", schema, role=role))
        await connection.execute(composed("CREATE SCHEMA {schema} AUTHORIZATION {role}", schema, role=role))
    store = PostgresStore(Database(server.dsn.replace("postgres@", f"{role}@"), schema), role)
    version = await store.write(A, login("1", "01"), None)
    assert await store.versions() == {A: version}
    await store.close()


async def test_a_thousand_logins_that_are_due_at_once_leave_connections_to_others(
    opened: Open, server: PostgresServer
) -> None:
    left, most = opened("left"), 0
    await left.sync()
    async with connected(server) as connection:

        async def lock(number: int) -> None:
            nonlocal most
            async with left.store.lock(f"auths/{number}.json"):
                count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                async with turn:
                    rows = await (await connection.execute(count)).fetchall()
                most = max(most, rows[0][0])

        turn = asyncio.Lock()
        await asyncio.gather(*(lock(number) for number in range(150)))
    assert most < 30


async def test_rows_of_others_lead_nowhere(opened: Open, server: PostgresServer, schema: str, tmp_path: Path) -> None:
    side = opened("left")
    await side.store.write(A, login("1", "01"), None)
    async with connected(server) as connection:
        insert = composed("INSERT INTO {schema}.auth_store VALUES (%s, %s)", schema)
        for id in ("../out.json", "sub/a.json", ".hidden.json", "notes.txt"):
            await connection.execute(insert, (id, "{}"))
        await connection.execute(insert, ("list.json", "[]"))
    await side.sync()
    assert side.files.keys() == {A}
    assert side.replica.unfit == {"auths/list.json": "what the store has is no JSON object"}
    side.put("auths/list.json", login("1", "01"))
    await side.sync()
    found = await side.store.read("auths/list.json")
    assert found and json.loads(found.content) == [], "it is not ours to overwrite"


async def test_what_a_database_cannot_hold_keeps_nothing_else_from_it(opened: Open) -> None:
    side = opened("left")
    for path, content in {CONFIG: b"# \xff\n", A: rb'{"type": "claude", "note": "\u0000"}'}.items():
        with pytest.raises(Unfit, match="cannot hold"):
            await side.store.write(path, content, None)
        side.put(path, content)
    side.put("auths/b.json", login("1", "01"))
    await side.sync()
    assert side.replica.unfit.keys() == {A, CONFIG}
    assert (await side.store.versions()).keys() == {"auths/b.json"}
    for path, content in {CONFIG: b"port: 1\n", A: login("1", "01")}.items():
        side.put(path, content)
    await side.sync()
    assert side.replica.unfit == {}
    with pytest.raises(Conflict):
        await side.store.write(A, login("2", "02"), None)

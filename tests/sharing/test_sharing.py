"""What gateways on one database know of each other, on a real PostgreSQL."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from cliproxy.accounts.account import LiveAccount
from cliproxy.config.schema import ClientKey
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.credentials.cooldown import Cooldowns
from cliproxy.credentials.pool import Pool
from cliproxy.database import Database
from cliproxy.limits import KeyLimits
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Quota, Window
from cliproxy.sharing.sharing import Sharing
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.model import Usage
from tests.accounts.keepers import NoKeeper
from tests.stores.postgres_server import PostgresServer, postgres_server, program
from tests.stores.relay import relay

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not program("postgres"), reason="needs PostgreSQL"),
]
schemas = (f"gateways_{number}" for number in itertools.count())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[PostgresServer]:
    # A socket's path must be short, and the server's user must reach it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        async with postgres_server(Path(folder)) as running:
            yield running


class Member:
    """A gateway's pool and limits, with its part in what is shared."""

    def __init__(self, database: Database) -> None:
        self.pool = Pool()
        self.limits = KeyLimits(price=lambda provider, model, usage: float(usage.output or 0))
        self.sharing = Sharing(database, self.pool, self.limits)

    @property
    def cooldowns(self) -> Cooldowns:
        return self.pool.cooldowns

    def sideline(self, credential: str, seconds: float = 60.0) -> None:
        self.cooldowns.sideline(
            credential, "some-model", self, seconds=seconds, reason="quota", status=429, message="too many"
        )


async def until(is_so: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait until something is so, which another task brings about."""
    async with asyncio.timeout(limit_s):
        while not is_so():  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.005)


@asynccontextmanager
async def taking_part(*members: Member) -> AsyncIterator[None]:
    async with AsyncExitStack() as ends:
        for member in members:
            task = asyncio.create_task(member.sharing.run())
            ends.callback(task.cancel)
        await until(lambda: not any(member.sharing.link.trouble for member in members))
        yield


@pytest.fixture
def members(server: PostgresServer) -> tuple[Member, Member]:
    database = Database(server.dsn, next(schemas))
    return Member(database), Member(database)


async def test_a_cooldown_is_soon_everyones(members: tuple[Member, Member]) -> None:
    one, other = members
    async with taking_part(one, other):
        one.sideline("a")
        await until(lambda: not other.cooldowns.is_ready("a", "some-model"), 1.0)
        blocking = other.cooldowns.blocking("a", "some-model")
        assert blocking and (blocking.reason, blocking.status, blocking.message) == ("quota", 429, "too many")
        assert other.cooldowns.is_ready("a", "another-model")
        other.cooldowns.clear("a")
        await until(lambda: one.cooldowns.is_ready("a", "some-model"), 1.0)
        assert one.cooldowns.saved("a", "some-model") is None


async def test_who_joins_learns_what_is_known(members: tuple[Member, Member]) -> None:
    one, other = members
    async with taking_part(one):
        one.sideline("a")
        one.sideline("b")
        await one.sharing.flush()
        one.cooldowns.clear("b")
        await one.sharing.flush()
        async with taking_part(other):
            await until(lambda: other.cooldowns.saved("a", "some-model"))
            assert other.cooldowns.saved("b", "some-model") is None


async def test_a_session_is_bound_everywhere(members: tuple[Member, Member]) -> None:
    one, other = members
    async with taking_part(one, other):
        one.pool.affinity.bind("session", "model", "a", "upstream-model")
        await until(lambda: other.pool.affinity.binding("session", "model"), 1.0)
        bound = other.pool.affinity.binding("session", "model")
        assert bound and (bound.credential_id, bound.model) == ("a", "upstream-model")
        other.pool.affinity.release("session", "model", "a", "upstream-model")
        await until(lambda: one.pool.affinity.binding("session", "model") is None, 1.0)


def key(**limits: object) -> ClientKey:
    return ClientKey.model_validate({"key": "sk-test-shared", "name": "ci", **limits})


async def refused(member: Member, key: ClientKey) -> bool:
    try:
        await member.limits.admit(key)
    except GatewayError as error:
        assert error.status == 429
        return True
    return False


async def test_requests_count_for_all_gateways_together_exactly(members: tuple[Member, Member]) -> None:
    limited = key(rpm=50)
    async with taking_part(*members):
        told = await asyncio.gather(*(refused(member, limited) for _ in range(40) for member in members))
        assert told.count(False) == 50


async def test_tokens_and_dollars_count_for_all_gateways(members: tuple[Member, Member]) -> None:
    one, other = members
    by_tokens, by_dollars = key(tpm=100), key(budget_usd=5)
    async with taking_part(one, other):
        assert not await refused(one, by_tokens)
        one.limits.book(by_tokens, Usage(input=60, output=40), "p", "m")
        await one.sharing.flush()
        assert await refused(other, by_tokens)

        one.limits.book(by_dollars, Usage(output=3), "p", "m")
        other.limits.book(by_dollars, Usage(output=3), "p", "m")
        await one.sharing.flush()
        await other.sharing.flush()
        await other.limits.refresh([by_dollars])
        assert await refused(one, by_dollars)
        assert one.limits.spent_usd(by_dollars) == other.limits.spent_usd(by_dollars) == 6


async def test_what_was_spent_before_is_known(members: tuple[Member, Member]) -> None:
    one, other = members
    limited = key(budget_usd=5)
    for member in members:
        member.limits.resume([limited], lambda name, since_s: 2.0)
    async with taking_part(one, other):
        one.limits.book(limited, Usage(output=2), "p", "m")
        await one.sharing.flush()
        assert not await refused(other, limited)
        assert other.limits.spent_usd(limited) == 4


async def test_without_the_database_each_goes_on_alone_and_tells_later(
    members: tuple[Member, Member], server: PostgresServer
) -> None:
    one, other = members
    limited = key(rpm=3, budget_usd=100)
    async with taking_part(one, other):
        assert not await refused(one, limited)
        await server.kill()
        await until(lambda: one.sharing.link.trouble and other.sharing.link.trouble)
        one.sideline("a")
        # Each knows of the one request.
        assert [await refused(one, limited) for _ in range(3)] == [False, False, True]
        one.limits.book(limited, Usage(output=7), "p", "m")
        await server.start()
        await until(lambda: not other.cooldowns.is_ready("a", "some-model"), 20.0)
        await one.sharing.flush()
        assert await refused(one, key(rpm=1))
        await refused(other, limited)
        assert other.limits.spent_usd(limited) == 7


async def test_a_cut_network_holds_nobody_up(server: PostgresServer) -> None:
    limited, schema = key(rpm=1000), next(schemas)
    there = Member(Database(server.dsn, schema))
    async with relay(lambda: asyncio.open_unix_connection(server.folder / ".s.PGSQL.5432")) as network:
        here = Member(Database(f"postgresql://postgres@127.0.0.1:{network.port}/postgres", schema))
        async with taking_part(here, there):
            assert not await refused(here, limited)
            network.cut()
            began_s = time.monotonic()
            here.sideline("a")
            assert [await refused(here, limited) for _ in range(20)] == [False] * 20
            assert time.monotonic() - began_s < 3
            await until(lambda: here.sharing.link.trouble)
            there.sideline("b")
            network.reset()
            await until(lambda: there.cooldowns.saved("a", "some-model"))
            await until(lambda: here.cooldowns.saved("b", "some-model"))


async def test_what_one_knows_of_accounts_the_others_know(members: tuple[Member, Member]) -> None:
    one, other = members
    file = AuthFile.of({"type": "codex", "access_token": "test-access-1"})
    here, there = (LiveAccount("me.json", file, VENDORS["codex"], NoKeeper()) for _ in members)
    one.sharing.quotas.accounts, other.sharing.quotas.accounts = [here], [there]
    async with taking_part(one, other):
        there.used_s = 1.0
        other.sharing.quotas.used(there)
        await until(lambda: here.used_s == 1.0)
        here.quota, here.quota_s = Quota("plus", (Window("5h", 0.5, 7.0),)), 2.0
        one.sharing.quotas.asked(here)
        await until(lambda: there.quota)
        assert (there.quota, there.quota_s) == (here.quota, 2.0)


async def test_each_knows_whether_it_is_alone(members: tuple[Member, Member], server: PostgresServer) -> None:
    one, other = members
    assert not one.sharing.presence.is_alone
    async with taking_part(one):
        assert one.sharing.presence.is_alone
        async with taking_part(other):
            await other.sharing.flush()
            for member in members:
                await until(lambda presence=member.sharing.presence: not presence.is_alone, 1.0)
            await other.sharing.leave()
            await until(lambda: one.sharing.presence.is_alone, 1.0)
        await other.sharing.leave()
        async with taking_part(other):
            await other.sharing.flush()
            await until(lambda: not one.sharing.presence.is_alone, 1.0)
            await server.kill()
            await until(lambda: one.sharing.link.trouble)
            assert not one.sharing.presence.is_alone
    await server.start()


async def test_one_leads_until_it_is_gone(members: tuple[Member, Member]) -> None:
    one, other = members
    async with taking_part(other):
        async with taking_part(one):
            assert await one.sharing.quotas.leads()
            assert not await other.sharing.quotas.leads()
            assert await one.sharing.quotas.leads()
        await until(lambda: one.sharing.link.trouble)
        async with asyncio.timeout(5):
            while not await other.sharing.quotas.leads():
                pass
    await until(lambda: other.sharing.link.trouble)
    assert not await other.sharing.quotas.leads()

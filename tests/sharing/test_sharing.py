"""What gateways on one database know of each other, on a real PostgreSQL."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from psycopg import AsyncConnection

from cliproxy.accounts.account import LiveAccount
from cliproxy.config.schema import ClientKey
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.credentials.cooldown import Cooldowns
from cliproxy.credentials.pool import Pool
from cliproxy.database import Database
from cliproxy.limits import KeyLimits
from cliproxy.postgres import composed
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Quota, Window
from cliproxy.sharing import board, limits
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
    async with postgres_server() as running:
        yield running


class Member:
    """A gateway's pool and limits, with its part in what is shared."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.pool = Pool(clock=clock)
        self.limits = KeyLimits(clock, price=lambda provider, model, usage: float(usage.output or 0))
        self.sharing = Sharing(database, self.pool, self.limits, clock)

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
            # Again they count together, what was let in meanwhile too.
            assert not await refused(here, limited)
            assert await refused(there, key(rpm=22))
            assert not await refused(there, key(rpm=23))


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


@pytest.mark.parametrize("strange", ["nul\0", "half a \ud800", "escaped \\u0000", '"\\', "🤖" * 30, "long" * 3000])
async def test_a_strange_name_keeps_no_other_entry_from_the_others(
    members: tuple[Member, Member], strange: str
) -> None:
    one, other = members
    async with taking_part(one, other):
        one.pool.affinity.bind("session", strange, "a", strange)
        one.cooldowns.sideline("a", strange, one, seconds=60, reason="quota", status=429, message=strange)
        one.sideline("b")
        await until(lambda: other.cooldowns.saved("b", "some-model"), 1.0)


async def test_a_strange_notification_is_passed_over(
    members: tuple[Member, Member], server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = members
    async with taking_part(one, other), await AsyncConnection.connect(server.dsn, autocommit=True) as stranger:
        for payload in ("", "hello", "[]", '["public"]', "{}"):
            await stranger.execute("SELECT pg_notify('cliproxy_board', %s)", (payload,))
        one.sideline("a")
        await until(lambda: other.cooldowns.saved("a", "some-model"), 1.0)
    assert "failed" not in caplog.text


async def test_a_backlog_is_told_in_parts(members: tuple[Member, Member], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "TOLD_AT_ONCE", 10)
    one, other = members
    for number in range(95):
        one.sideline(f"credential-{number}")
    async with taking_part(one, other):
        await until(lambda: all(other.cooldowns.saved(f"credential-{number}", "some-model") for number in range(95)))


async def test_what_is_told_when_the_teller_is_cancelled_is_told_later(members: tuple[Member, Member]) -> None:
    one, other = members
    limited = key(rpm=100, budget_usd=100)
    async with taking_part(one, other):
        await refused(one, limited)
        async with one.sharing.link.speaking():
            one.sideline("a")
            one.limits.book(limited, Usage(output=7), "p", "m")
            telling = asyncio.create_task(one.sharing.flush())
            refreshing = asyncio.create_task(one.limits.refresh([limited]))
            await asyncio.wait([telling, refreshing], timeout=0.05)
            telling.cancel()
            refreshing.cancel()
            await asyncio.gather(telling, refreshing, return_exceptions=True)
        await one.sharing.flush()
        await until(lambda: other.cooldowns.saved("a", "some-model"), 1.0)
        await other.limits.refresh([limited])
        assert other.limits.spent_usd(limited) == 7


async def test_an_absurd_count_of_tokens_is_a_great_many(members: tuple[Member, Member]) -> None:
    one, other = members
    limited = key(tpm=100)
    async with taking_part(one, other):
        one.limits.book(limited, Usage(output=10**30), "p", "m")
        one.limits.book(limited, Usage(output=10**30), "p", "m")
        await one.sharing.flush()
        assert await refused(other, limited)


async def test_a_minute_is_as_long_as_with_one_gateway(server: PostgresServer) -> None:
    now_s = time.time() // 1 + 0.9
    database = Database(server.dsn, next(schemas))
    one, other = (Member(database, lambda: now_s) for _ in range(2))
    limited = key(rpm=1)
    async with taking_part(one, other):
        assert not await refused(one, limited)
        now_s += 59.5
        assert await refused(other, limited)
        now_s += 1.5
        assert not await refused(other, limited)


async def test_what_is_used_while_an_account_is_begun_counts_once(
    members: tuple[Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = members
    limited = key(budget_usd=100)
    lock = limits._Account.lock

    async def locked(account: Any, names: list[str]) -> None:
        await lock(account, names)
        monkeypatch.undo()
        one.limits.book(limited, Usage(output=7), "p", "m")

    monkeypatch.setattr(limits._Account, "lock", locked)
    async with taking_part(one):
        assert not await refused(one, limited)
        await one.sharing.flush()
        await one.limits.refresh([limited])
        assert one.limits.spent_usd(limited) == 7


async def test_requests_count_exactly_whatever_the_role_isolates_by_default(server: PostgresServer) -> None:
    schema = next(schemas)
    async with await AsyncConnection.connect(server.dsn, autocommit=True) as owner:
        await owner.execute(composed("CREATE ROLE {role} LOGIN SUPERUSER", schema, role=f"user_{schema}"))
        strict = "ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"
        await owner.execute(composed(strict, schema, role=f"user_{schema}"))
    database, limited = Database(server.dsn.replace("postgres@", f"user_{schema}@"), schema), key(rpm=50)
    members = Member(database), Member(database)

    async def ask(member: Member) -> list[bool]:
        return [await refused(member, limited) for _ in range(10)]

    async with taking_part(*members):
        told = await asyncio.gather(*(ask(member) for _ in range(5) for member in members))
        assert sum(answers.count(False) for answers in told) == 50


async def test_who_may_only_use_the_tables_shares(members: tuple[Member, Member], server: PostgresServer) -> None:
    one, _ = members
    schema = one.sharing.link.database.schema
    async with taking_part(one), await AsyncConnection.connect(server.dsn, autocommit=True) as owner:
        for statement in (
            "CREATE ROLE {role} LOGIN",
            "GRANT USAGE ON SCHEMA {schema} TO {role}",
            "GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}",
        ):
            await owner.execute(composed(statement, schema, role=f"user_{schema}"))
        user = Member(Database(server.dsn.replace("postgres@", f"user_{schema}@"), schema))
        async with taking_part(user):
            one.sideline("a")
            await until(lambda: user.cooldowns.saved("a", "some-model"), 1.0)


async def test_who_owns_a_schema_needs_no_right_beyond_it(server: PostgresServer) -> None:
    schema = next(schemas)
    async with await AsyncConnection.connect(server.dsn, autocommit=True) as owner:
        await owner.execute(composed("CREATE ROLE {role} LOGIN", schema, role=f"user_{schema}"))
        await owner.execute(composed("CREATE SCHEMA {schema} AUTHORIZATION {role}", schema, role=f"user_{schema}"))
    member = Member(Database(server.dsn.replace("postgres@", f"user_{schema}@"), schema))
    async with taking_part(member):
        assert not await refused(member, key(rpm=1))
        assert await refused(member, key(rpm=1))

"""Two mitmdumps on one PostgreSQL: logins that end every second, turns, cooldowns, limits, and one that is killed."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError, ClientSession, ClientTimeout

from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from tests import native
from tests.answers import Answer
from tests.oauth.authorization_server import AuthorizationServer, Fault
from tests.processes import CLIENT_KEY, Gateway, listening, mitmproxy
from tests.stores.postgres_server import PostgresServer, postgres_server, program
from tests.upstream import Received, Upstream

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not program("postgres"), reason="needs PostgreSQL"),
]

LIMITED_KEY = "sk-test-limited-client-key"
MANAGEMENT_KEY = "test-management-key"
ASKED = {"model": "codex/gpt-5", "input": "hi", "stream": True}
REQUESTS = int(os.environ.get("REQUESTS", "180"))
CLIENTS = 6
schemas = (f"team_{number}" for number in itertools.count())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def database() -> AsyncIterator[PostgresServer]:
    async with postgres_server() as server:
        yield server


class Team:
    """Two gateways, the server that renews their logins, and the upstream that takes these."""

    def __init__(self, folder: Path, database: PostgresServer) -> None:
        self.folder = folder
        self.environ = {"PGSTORE_DSN": database.dsn, "PGSTORE_SCHEMA": next(schemas)}
        self.server = AuthorizationServer()
        self.upstream = Upstream(judge=self._judge)
        self.client = ClientSession(timeout=ClientTimeout(total=30))
        self.gateways: list[Gateway] = []
        self.served: Counter[str] = Counter()
        """Requests by login."""
        self.exhausted: set[str] = set()
        """Logins whose quota is used up."""

    def _judge(self, received: Received) -> Answer | None:
        token = received.headers.get("authorization", "").removeprefix("Bearer ")
        found = self.server.issuer.find(token)
        if not found or not self.server.issuer.accepts(token):
            return native.error("openai-responses", 401, "token_expired")
        if found.family in self.exhausted:
            return native.error("openai-responses", 429, "usage_limit_reached", retry_after="600")
        self.served[found.family] += 1
        return None

    def copy(self, name: str) -> AuthDir:
        """What one of them has of the logins."""
        return AuthDir(self.folder / name / "pgstore/auths")

    def log_in(self, count: int) -> None:
        for number in range(count):
            login = {"type": "codex", "account_id": f"test-account-{number}", **self.server.issuer.issue()}
            file = AuthFile.of({**login, "expired": time.time() + 1, "last_refresh": time.time()})
            self.copy("one").write(f"codex-{number}.json", file)

    def config(self) -> dict[str, Any]:
        oauth = {"token-url": f"{self.server.url}/oauth/token", "client-id": "test-client"}
        return {
            "demo": False,
            "api-keys": [CLIENT_KEY, {"key": LIMITED_KEY, "rpm": 20}],
            "routing": {"session-affinity": True},
            "remote-management": {"secret-key": MANAGEMENT_KEY},
            "providers": {"codex": {"base-url": self.upstream.url, "oauth": oauth}},
        }

    @asynccontextmanager
    async def running(self, *, logins: int, token_life_s: int) -> AsyncIterator[None]:
        async with AsyncExitStack() as ends:
            await ends.enter_async_context(self.client)
            await ends.enter_async_context(self.server)
            await ends.enter_async_context(self.upstream)
            self.server.settings.expires_in_s = token_life_s
            self.log_in(logins)
            for name in ("one", "other"):
                environ = {**self.environ, "PGSTORE_LOCAL_PATH": str(self.folder / name)}
                starting = mitmproxy(self.folder, config=self.config(), environ=environ)
                gateway = await listening(await ends.enter_async_context(starting))
                await gateway.wait_for("shares its state")
                self.gateways.append(gateway)
            yield

    async def ask(self, gateway: Gateway, session: str, key: str = CLIENT_KEY) -> int:
        headers = {"authorization": f"Bearer {key}", "session_id": session}
        async with self.client.post(f"{gateway.url}/v1/responses", json=ASKED, headers=headers) as answer:
            body = await answer.text()
            assert answer.status != 200 or "response.completed" in body, body
            return answer.status

    async def cooldowns(self, gateway: Gateway) -> list[dict[str, Any]]:
        """Those that a gateway knows."""
        headers = {"authorization": f"Bearer {MANAGEMENT_KEY}"}
        async with self.client.get(f"{gateway.url}/v0/management/credentials", headers=headers) as answer:
            return [one for entry in (await answer.json())["credentials"] for one in entry["cooldowns"]]


@pytest_asyncio.fixture(loop_scope="module")
async def team(tmp_path: Path, database: PostgresServer) -> Team:
    return Team(tmp_path, database)


@pytest.mark.timeout(180)
async def test_under_load_turns_are_fair_and_nothing_fails(team: Team) -> None:
    sessions = itertools.count()
    async with team.running(logins=3, token_life_s=1):

        async def use(gateway: Gateway) -> None:
            while (number := next(sessions)) < REQUESTS:
                assert await team.ask(gateway, f"session-{number}") == 200

        await asyncio.gather(*(use(gateway) for gateway in team.gateways for _ in range(CLIENTS // 2)))
    assert team.server.ledger.reuses == 0
    assert team.server.ledger.refusals.total() == 0
    assert team.server.ledger.grants["refresh_token"] > 3
    assert team.served.total() == REQUESTS
    fair = REQUESTS / 3
    assert all(abs(count - fair) <= 0.05 * fair for count in team.served.values()), team.served


@pytest.mark.timeout(180)
async def test_no_refresh_token_is_spent_twice_though_the_database_dies_again_and_again(
    team: Team, database: PostgresServer
) -> None:
    deaths, is_over = 3, asyncio.Event()
    async with team.running(logins=2, token_life_s=1):

        async def use(gateway: Gateway) -> None:
            while not is_over.is_set():
                # Without the database, nobody renews what another one may renew too.
                assert await team.ask(gateway, "") in (200, 502, 503)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for gateway in team.gateways:
                group.create_task(use(gateway))
            for _ in range(deaths):
                renewals = len(team.server.token_requests)
                await team.server.asked(renewals + 3)
                await database.kill()
                await database.start()
            is_over.set()
        async with asyncio.timeout(30):
            for gateway in team.gateways:
                while await team.ask(gateway, "") != 200:
                    pass
    assert team.server.ledger.reuses == 0
    assert team.server.ledger.refusals.total() == 0


async def test_what_one_finds_out_the_other_knows_within_a_second(team: Team) -> None:
    async with team.running(logins=2, token_life_s=3600):
        one, other = team.gateways
        assert await team.ask(one, "a") == 200
        (family,) = team.served
        # The session stays with its login, whichever gateway it comes to.
        assert [await team.ask(gateway, "a") for gateway in (other, one, other)] == [200] * 3
        assert team.served == {family: 4}

        team.exhausted.add(family)
        assert await team.ask(one, "a") == 200
        async with asyncio.timeout(1):
            while not await team.cooldowns(other):
                pass
        asked = len(team.upstream.requests)
        assert [await team.ask(other, session) for session in "abcd"] == [200] * 4
        assert len(team.upstream.requests) == asked + 4
        assert team.served[family] == 4


async def test_the_limit_of_a_key_holds_for_both(team: Team) -> None:
    async with team.running(logins=1, token_life_s=3600):
        asking = (team.ask(gateway, "a", LIMITED_KEY) for gateway in team.gateways for _ in range(15))
        assert Counter(await asyncio.gather(*asking)) == {200: 20, 429: 10}


async def test_one_that_is_killed_in_a_refresh_costs_nothing(team: Team) -> None:
    async with team.running(logins=1, token_life_s=1):
        one, other = team.gateways
        assert await team.ask(one, "a") == 200
        # The next refresh gets no answer, and holds the lock.
        renewals = len(team.server.token_requests)
        team.server.fail(Fault(gate=asyncio.Event()))
        for token in team.server.issuer.tokens:
            token.expires_at_s = 0
        asking = asyncio.create_task(team.ask(one, "a"))
        await team.server.asked(renewals + 1)
        waiting = asyncio.create_task(team.ask(other, "a"))
        await asyncio.wait([waiting], timeout=0.2)
        os.kill(one.process.pid, signal.SIGKILL)
        with pytest.raises(ClientError):
            await asking
        assert await waiting == 200
        assert team.server.ledger.reuses == 0
        assert [await team.ask(other, "a") for _ in range(3)] == [200] * 3

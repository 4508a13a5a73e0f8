"""Two gateways with one login, and tokens that live for a second: nothing is spent twice, lost, or told to a client."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout

from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from tests import native
from tests.answers import Answer
from tests.oauth.authorization_server import AuthorizationServer
from tests.processes import Gateway, listening, mitmproxy
from tests.stores.postgres_server import postgres_server, program
from tests.upstream import Received, Upstream

ROUNDS = int(os.environ.get("REFRESHES", "12"))
"""How many times the token is renewed, about twice a second."""
CLIENTS = 4
NAME = "codex-me@example.com.json"
ASKED = {"model": "codex/gpt-5", "input": "hi", "stream": True}


def judge(server: AuthorizationServer, received: Received) -> Answer | None:
    token = received.headers.get("authorization", "").removeprefix("Bearer ")
    return None if server.issuer.accepts(token) else native.error("openai-responses", 401, "token_expired")


def environs(store: str, folder: Path, dsn: str) -> list[dict[str, str]]:
    """Of two gateways that share a store, each with a copy of its own."""
    if store == "one auth dir":
        return [{}, {}]
    return [{"PGSTORE_DSN": dsn, "PGSTORE_LOCAL_PATH": str(folder / name)} for name in ("one", "other")]


def auth_dir(store: str, folder: Path, name: str) -> AuthDir:
    return AuthDir(folder / ("accounts" if store == "one auth dir" else f"{name}/pgstore/auths"))


@asynccontextmanager
async def two_gateways(
    store: str, folder: Path, server: AuthorizationServer, upstream: Upstream
) -> AsyncIterator[list[Gateway]]:
    tokens = server.issuer.issue()
    login = {"type": "codex", "email": "me@example.com", "account_id": "test-account", **tokens}
    file = AuthFile.of({**login, "expired": time.time() + 1, "last_refresh": time.time()})
    auth_dir(store, folder, "one").write(NAME, file)
    oauth = {"token-url": f"{server.url}/oauth/token", "client-id": "test-client"}
    config = {
        "host": "127.0.0.1",
        "port": 0,
        "auth-dir": str(folder / "accounts"),
        "demo": False,
        "providers": {"codex": {"base-url": upstream.url, "oauth": oauth}},
    }
    async with AsyncExitStack() as running:
        dsn = ""
        if store == "one PostgreSQL":
            dsn = (await running.enter_async_context(postgres_server())).dsn
        gateways = []
        for environ in environs(store, folder, dsn):
            gateway = await running.enter_async_context(mitmproxy(folder, config=config, environ=environ))
            gateways.append(await listening(gateway))
        yield gateways


async def ask(client: ClientSession, gateway: Gateway) -> None:
    async with client.post(f"{gateway.url}/v1/responses", json=ASKED) as answer:
        body = await answer.text()
        assert answer.status == 200, body
        assert "response.completed" in body


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["one auth dir", "one PostgreSQL"])
async def test_two_gateways_share_a_login_that_ends_every_second(tmp_path: Path, store: str) -> None:
    if store == "one PostgreSQL" and not program("postgres"):
        pytest.skip("needs PostgreSQL")
    async with (
        AuthorizationServer() as server,
        Upstream(judge=lambda received: judge(server, received)) as upstream,
        ClientSession(timeout=ClientTimeout(total=60)) as client,
    ):
        server.settings.expires_in_s = 1
        async with two_gateways(store, tmp_path, server, upstream) as gateways:

            async def use(gateway: Gateway) -> None:
                # Each new token is one more second of the login's life.
                while server.ledger.grants["refresh_token"] < ROUNDS:
                    await ask(client, gateway)

            await asyncio.gather(*(use(gateway) for gateway in gateways for _ in range(CLIENTS)))
            assert server.ledger.reuses == 0
            assert server.ledger.refusals.total() == 0
        newest = max(server.issuer.tokens, key=lambda token: token.expires_at_s)
        kept = [auth_dir(store, tmp_path, name).read(NAME) for name in ("one", "other")]
        assert not any(file.login_error for file in kept)
        # The copy of the one that ended first may be older.
        assert newest.access_token in [file.access_token for file in kept]

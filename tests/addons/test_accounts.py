"""Accounts of an auth dir in mitmdump: used as they are, and followed while files come, change and go."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from tests import native
from tests.oauth.authorization_server import AuthorizationServer
from tests.processes import Gateway, listening, mitmproxy
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED = {"model": "codex/gpt-5", "input": "hi", "stream": True}


@dataclass
class Site:
    gateway: Gateway
    accounts: AuthDir
    server: AuthorizationServer
    upstream: Upstream
    client: ClientSession

    async def ask(self) -> tuple[int, str]:
        async with self.client.post(f"{self.gateway.url}/v1/responses", json=ASKED) as answer:
            return answer.status, await answer.text()

    def login(self, **fields: Any) -> AuthFile:
        tokens = self.server.issuer.issue()
        login = {"type": "codex", "email": "me@example.com", "expired": time.time() + 3600, **tokens}
        return AuthFile.of({**login, "last_refresh": time.time(), **fields})

    async def changes(self, name: str, file: AuthFile | None) -> None:
        """Write a file, or remove it, as another program would; and wait until the gateway has noticed."""
        told = sum("credentials now" in line for line in self.gateway.log)
        if file:
            self.accounts.write(name, file)
        else:
            self.accounts.remove(name)
        await self.gateway.wait_for("credentials now", told + 1)


@pytest_asyncio.fixture(loop_scope="module")
async def site(confdir: Path, client: ClientSession, tmp_path: Path) -> AsyncIterator[Site]:
    async with AuthorizationServer() as server, Upstream() as upstream:
        oauth = {"token-url": f"{server.url}/oauth/token", "client-id": "test-client"}
        config = {
            "host": "127.0.0.1",
            "port": 0,
            "auth-dir": str(tmp_path / "accounts"),
            "usage-statistics-enabled": False,
            "providers": {"codex": {"base-url": upstream.url, "oauth": oauth}},
        }
        async with mitmproxy(confdir, config=config) as gateway:
            await listening(gateway)
            yield Site(gateway, AuthDir(tmp_path / "accounts"), server, upstream, client)


async def test_an_account_is_used_from_the_moment_it_is_there_until_it_is_gone(site: Site) -> None:
    status, body = await site.ask()
    assert (status, "unknown model" in body) == (404, True)
    login = site.login()
    await site.changes("codex-me.json", login)
    status, body = await site.ask()
    assert status == 200, body
    assert site.upstream.requests[-1].headers["authorization"] == f"Bearer {login.access_token}"
    await site.changes("codex-me.json", login.with_fields(disabled=True))
    assert (await site.ask())[0] == 404
    await site.changes("codex-me.json", login.with_fields(disabled=False))
    assert (await site.ask())[0] == 200
    await site.changes("codex-me.json", None)
    assert (await site.ask())[0] == 404


async def test_a_token_that_the_upstream_refuses_is_renewed_and_the_client_notices_nothing(site: Site) -> None:
    login = site.login()
    await site.changes("codex-me.json", login)
    site.upstream.script(native.error("openai-responses", 401, "token_expired"))
    status, body = await site.ask()
    assert status == 200, body
    first, second = site.upstream.requests[-2:]
    assert first.headers["authorization"] == f"Bearer {login.access_token}"
    kept = site.accounts.read("codex-me.json")
    assert second.headers["authorization"] == f"Bearer {kept.access_token}"
    assert kept.access_token != login.access_token


async def test_who_must_log_in_again_is_told_how_and_can_do_so_while_it_runs(site: Site) -> None:
    login = site.login(expired=time.time() - 60, last_refresh=time.time() - 3660)
    site.server.issuer.revoke(login.refresh_token)
    await site.changes("codex-me.json", login)
    status, body = await site.ask()
    assert status >= 500
    assert "run `cliproxy login codex`" in body
    await site.changes("codex-me.json", site.login(note="again"))
    status, body = await site.ask()
    assert status == 200, body


async def test_a_broken_file_is_told_and_the_others_go_on(site: Site) -> None:
    await site.changes("codex-me.json", site.login())
    (site.accounts.path / "codex-broken.json").write_text("{", "utf-8")
    await site.gateway.wait_for("codex-broken.json: it is not valid JSON")
    assert (await site.ask())[0] == 200

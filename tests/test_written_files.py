"""Everything that a gateway writes while all kinds of secrets pass it: none is left in any file, nor in what it prints."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from cliproxy.certs.store import CertificateStore
from cliproxy.config.schema import Intercept
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.interception.hosts import InterceptedHosts
from tests import mitmweb, native
from tests.answers import Answer
from tests.calls import Call, ask, call
from tests.mitmweb import Mitmweb
from tests.native import FORMATS, Format
from tests.oauth.authorization_server import AuthorizationServer
from tests.processes import (
    CLIENT_KEY,
    UPSTREAM_KEY,
    Gateway,
    Program,
    credentials,
    home,
    listening,
    mitmproxy,
    spawn,
    written,
)
from tests.upstream import Upstream
from tests.vendors import HOSTS, VENDORS_KEY, Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG_KEY, MANAGEMENT_KEY, COOKIE = "sk-test-wrong-key-1", "test-management-key-1", "test-cookie-of-a-session-1"
ASKED, ANSWERED = "the private words of a user", "the private words of a model"


class Site:
    """The ends of a gateway in mitmweb: an upstream, the vendors, an account, clients and tools."""

    def __init__(self, folder: Path, upstream: Upstream, vendors: Vendors, server: AuthorizationServer) -> None:
        self.upstream = upstream
        self.web_port, self._proxy_port = mitmweb.free_port(), mitmweb.free_port()
        self.written = folder / "written"
        self.written.mkdir()
        self._vendors = vendors
        self._certs, self._accounts = folder / "certs", AuthDir(folder / "accounts")
        CertificateStore(self._certs).authority(InterceptedHosts(Intercept()).names)
        self._first_login = AuthFile.of(
            {"type": "codex", "email": "me@example.com", "proxy_url": "direct", "expired": 1, **server.issuer.issue()}
        )
        self._accounts.write("codex-me.json", self._first_login)
        oauth = {"token-url": f"{server.url}/oauth/token", "client-id": "test-client"}
        self.config: dict[str, Any] = {
            **vendors.config(self._certs),
            **credentials(upstream.url, proxy_url="direct"),
            "api-keys": [CLIENT_KEY],
            "disable-cooling": True,
            "auth-dir": str(self._accounts.path),
            "providers": {"codex": {"base-url": upstream.url, "oauth": oauth}},
            "usage": {"path": str(self.written / "usage.db")},
            "remote-management": {"secret-key": MANAGEMENT_KEY},
            "request-log": True,
            "logging-to-file": True,
            "shutdown-grace-seconds": 0,
        }

    def options(self, level: str) -> tuple[str, ...]:
        """mitmweb's, so that it saves all it can. level: of `cliproxy_redact`."""
        settings = (f"hardump={self.written / 'flows.har'}", f"cliproxy_redact={level}")
        saving = ("-w", str(self.written / "flows"), *(part for each in settings for part in ("--set", each)))
        mode = ("--mode", f"regular@127.0.0.1:{self._proxy_port}")
        return (*saving, *mode, *mitmweb.options(self.web_port), *self._vendors.options())

    @property
    def secrets(self) -> Iterator[str]:
        yield from (CLIENT_KEY, UPSTREAM_KEY, VENDORS_KEY, WRONG_KEY, MANAGEMENT_KEY, COOKIE)
        for login in (self._first_login, self._accounts.read("codex-me.json")):
            yield from (login.access_token, login.refresh_token)

    async def converse(self, gateway: Gateway, client: ClientSession) -> None:
        """Each format whole, streamed, compressed, refused in the upstream's words and broken; then the account."""
        for format in FORMATS:
            for stream in (False, True):
                answer = native.text(format, words=[f"{ANSWERED}: {UPSTREAM_KEY}, ", CLIENT_KEY], stream=stream)
                await self._ask(gateway, client, format, answer, stream=stream)
                await self._ask(gateway, client, format, answer.encoded("gzip"), stream=stream)
            await self._ask(gateway, client, format, native.error(format, 400, f"{ANSWERED}: not {UPSTREAM_KEY}"))
            await self._ask(gateway, client, format, Answer(raw=b"HTTP/1.1 200"))
        asked = call("gemini")
        await ask(client, gateway, Call(f"{asked.path}?key={WRONG_KEY}", {"x-api-key": WRONG_KEY}, asked.json))
        asked = call("openai-responses", stream=True, model="codex/gpt-5")
        assert (await ask(client, gateway, asked)).status == 200
        managing = {"x-management-key": MANAGEMENT_KEY}
        async with client.get(f"{gateway.url}/v0/management/config", headers=managing) as answer:
            assert answer.status == 200

    async def _ask(
        self, gateway: Gateway, client: ClientSession, format: Format, answer: Answer, *, stream: bool = False
    ) -> None:
        self.upstream.script(replace(answer, headers={**answer.headers, "set-cookie": f"session={COOKIE}; HttpOnly"}))
        asked = call(format, stream=stream)
        path = f"{asked.path}{'&' if '?' in asked.path else '?'}key={CLIENT_KEY}"
        body = {**asked.json, "metadata": {"user_id": f"{ASKED}: {UPSTREAM_KEY}"}}
        await ask(client, gateway, Call(path, {**asked.headers, "cookie": f"session={COOKIE}"}, body))

    async def observed(self, client: ClientSession) -> None:
        """Tools that have keys of their own at their vendors."""
        trust = ssl.create_default_context(cafile=self._certs / "ca.pem")
        for format, host in HOSTS.items():
            asked = call(format, stream=True)
            url = f"https://{host}{asked.path}{'&' if '?' in asked.path else '?'}key={VENDORS_KEY}"
            headers = {name: value.replace(CLIENT_KEY, VENDORS_KEY) for name, value in asked.headers.items()}
            proxy = f"http://127.0.0.1:{self._proxy_port}"
            async with client.post(url, headers=headers, json=asked.json, proxy=proxy, ssl=trust) as answer:
                assert (answer.status, await answer.read() != b"") == (200, True)


async def _shared(web: Mitmweb, folder: Path) -> None:
    """Everything that a user can make of flows to give away."""
    await web.run("cliproxy.export", "@all", str(folder / "report.md"))
    await web.run("save.har", "@all", str(folder / "page.har"))
    (folder / "page").write_bytes(await web.saved())
    for number, flow in enumerate(await web.flows()):
        (folder / f"{number}.curl").write_text(await web.run("cliproxy.curl", f"@{flow.id}"), "utf-8")
        (folder / f"{number}.raw").write_text(await web.run("export", "raw_request", f"@{flow.id}"), "utf-8")


def _leaks(data: bytes, words: list[str]) -> list[str]:
    return [word for word in words if word.encode() in data]


@pytest.mark.parametrize("level", ["secrets", "content"])
async def test_no_secret_is_left_in_anything_that_is_written(
    level: str, confdir: Path, tmp_path: Path, shared_upstream: Upstream, client: ClientSession
) -> None:
    async with Vendors(tmp_path) as vendors, AuthorizationServer() as server:
        site = Site(tmp_path, shared_upstream, vendors, server)
        gateway_of = mitmproxy(confdir, *site.options(level), config=site.config, program="mitmweb")
        async with gateway_of as gateway, Mitmweb.of(gateway, site.web_port) as web:
            await listening(gateway)
            await site.converse(gateway, client)
            await site.observed(client)
            await _shared(web, site.written)
            await web.set(cliproxy_redact="off")
            before = tmp_path / "before"
            before.write_bytes(await web.saved())
            await web.set(cliproxy_redact=level)
        secrets = list(dict.fromkeys(site.secrets))
        assert len(secrets) == 10, "the account's tokens were not renewed"
    config, after = written(tmp_path, site.config), site.written / "after"
    options = ["--no-content"] if level == "content" else []
    redacting = await spawn(
        Program, "cliproxy", "flows", "redact", str(before), str(after), "--config", str(config), *options
    )
    assert await redacting.ended() == 0, redacting.text

    assert not _leaks(gateway.text.encode(), secrets)
    logs = list(home().rglob("*.log"))
    assert {path.name: leaked for path in logs if (leaked := _leaks(path.read_bytes(), secrets))} == {}
    assert any(path.name.startswith("v1-messages") for path in logs)
    # The ledger keeps why an attempt failed, in the upstream's words.
    words = [ASKED, ANSWERED] if level == "content" else []
    found = {
        path.name: _leaks(path.read_bytes(), secrets if "usage.db" in path.name else [*secrets, *words])
        for path in site.written.iterdir()
    }
    assert {name: leaked for name, leaked in found.items() if leaked} == {}
    assert found.keys() >= {"flows", "flows.har", "page", "page.har", "report.md", "after", "usage.db", "0.curl"}
    assert set(_leaks(before.read_bytes(), secrets)) >= {UPSTREAM_KEY, CLIENT_KEY}

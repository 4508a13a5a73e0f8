"""The management API in a real mitmdump: asked over a socket, in force at once, and kept out of what flows show."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from tests.calls import ask, call
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Gateway, config_for, listening, mitmproxy
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "test-management-key"
TOKEN = "test-access-of-an-account"
HEADERS = {"Authorization": f"Bearer {KEY}"}
NAME = "glm-test.json"


class Panel:
    """Someone who manages a gateway."""

    def __init__(self, gateway: Gateway, client: ClientSession) -> None:
        self.gateway = gateway
        self._client = client

    def url(self, path: str) -> str:
        return f"{self.gateway.url}/v0/management{path}"

    async def ask(self, method: str, path: str, value: Any = None, **options: Any) -> tuple[int, Any]:
        options = {"headers": HEADERS, **options}
        async with self._client.request(method, self.url(path), json=value, **options) as reply:
            return reply.status, await reply.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all flows are written."""
    return tmp_path_factory.mktemp("flows") / "all.flow"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def panel(confdir: Path, shared_upstream: Upstream, client: ClientSession, saved: Path) -> AsyncIterator[Panel]:
    folder = saved.parent
    config = config_for(
        shared_upstream,
        auth_dir=str(folder / "auth"),
        usage={"path": str(folder / "usage.db")},
        remote_management={"secret-key": KEY},
        providers={"glm": {"base-url": shared_upstream.url}},
    )
    async with mitmproxy(confdir, "-w", str(saved), config=config) as gateway:
        yield Panel(await listening(gateway), client)
        assert await gateway.stop() == 0
    flows = await asyncio.to_thread(saved.read_bytes)
    assert b"/v0/management/debug" in flows
    for secret in (KEY, CLIENT_KEY, UPSTREAM_KEY, TOKEN, "of-a-query"):
        assert secret.encode() not in flows, secret


async def test_the_key_is_asked_for_and_hashed_in_the_file(panel: Panel) -> None:
    status, debug = await panel.ask("GET", "/debug")
    assert (status, debug) == (200, {"debug": False})
    assert (await panel.ask("GET", "/debug", headers={}))[0] == 401
    replaced = await panel.gateway.wait_for(r"replaced by its hash in (\S+)")
    text = await asyncio.to_thread(Path(replaced[1]).read_text, "utf-8")
    assert KEY not in text and "$2b$" in text


async def test_a_setting_is_in_force_for_the_next_request(panel: Panel, client: ClientSession) -> None:
    assert (await panel.ask("GET", "/api-keys"))[1] == {"api-keys": [CLIENT_KEY]}
    assert (await panel.ask("PATCH", "/api-keys", {"old": CLIENT_KEY, "new": "sk-other"}))[0] == 200
    assert (await ask(client, panel.gateway, call("anthropic"))).status == 401
    assert (await panel.ask("PATCH", "/api-keys", {"old": "sk-other", "new": CLIENT_KEY}))[0] == 200
    assert (await ask(client, panel.gateway, call("anthropic"))).status == 200


async def test_an_invalid_config_is_refused_with_its_line_and_the_old_one_stays(
    panel: Panel, client: ClientSession
) -> None:
    async with client.put(panel.url("/config.yaml"), data=b"debug: true\nport: many\n", headers=HEADERS) as reply:
        refused = await reply.json()
    assert (reply.status, refused["error"], refused["problems"][0]["line"]) == (422, "invalid_config", 2)
    assert (await ask(client, panel.gateway, call("anthropic"))).status == 200


async def test_an_account_is_uploaded_used_and_switched_off(
    panel: Panel, client: ClientSession, shared_upstream: Upstream
) -> None:
    login = {"type": "glm", "api_key": TOKEN, "priority": 9, "model_aliases": [{"name": "glm-4.6", "alias": "mine"}]}
    status, answer = await panel.ask("POST", f"/auth-files?name={NAME}", login)
    assert (status, answer) == (200, {"status": "ok"})
    asked = {"model": "mine", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
    url = f"{panel.gateway.url}/v1/chat/completions"
    async with client.post(url, json=asked, headers=headers) as reply:
        assert reply.status == 200, await reply.text()
    assert TOKEN in str(shared_upstream.requests[-1].headers)
    (file,) = (await panel.ask("GET", "/auth-files"))[1]["files"]
    assert (file["name"], file["success"]) == (NAME, 1)
    assert (await panel.ask("PATCH", "/auth-files/status", {"name": NAME, "disabled": True}))[0] == 200
    async with client.post(url, json=asked, headers=headers) as reply:
        assert reply.status == 404
    assert (await panel.ask("DELETE", f"/auth-files?name={NAME}"))[0] == 200


async def test_an_oversized_upload_is_refused_while_it_arrives(panel: Panel, client: ClientSession) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 65536

    url = panel.url("/auth-files?name=large.json")
    try:
        async with client.post(url, data=pieces(), headers=HEADERS) as reply:
            assert reply.status == 413
    except OSError:
        # The connection is closed on who goes on sending.
        pass
    assert (await panel.ask("GET", "/auth-files"))[1] == {"files": []}


async def test_exchanges_are_told_while_they_happen(panel: Panel, client: ClientSession) -> None:
    limit = ClientTimeout(sock_read=20)
    async with client.get(panel.url("/events?topics=exchanges,config"), headers=HEADERS, timeout=limit) as stream:
        assert (await stream.content.readuntil(b"\n\n")).startswith(b"event: hello\n")
        await ask(client, panel.gateway, call("gemini", stream=True))
        begun = await stream.content.readuntil(b"\n\n")
        ended = await stream.content.readuntil(b"\n\n")
        assert begun.startswith(b"event: exchange-begun\n") and ended.startswith(b"event: exchange\n")
        row = json.loads(ended.partition(b"data: ")[2])
        assert (row["client_format"], row["status"], row["provider"]) == ("gemini", 200, "gemini")
        # A stream of events does not keep another configuration from being put in force.
        assert (await panel.ask("PUT", "/debug", {"value": True}))[0] == 200
        assert (await stream.content.readuntil(b"\n\n")).startswith(b"event: config\n")
    status, one = await panel.ask("GET", "/credentials")
    assert status == 200 and any(credential["success"] for credential in one["credentials"])


async def test_what_a_query_says_is_not_shown(panel: Panel) -> None:
    assert (await panel.ask("DELETE", "/api-keys?value=of-a-query"))[0] == 200
    assert "of-a-query" not in panel.gateway.text


async def test_other_sites_paths_and_methods_get_nothing(panel: Panel, client: ClientSession) -> None:
    async with client.options(panel.url("/debug"), headers={"Origin": "https://evil.example"}) as reply:
        assert reply.status == 401
        assert "Access-Control-Allow-Origin" not in reply.headers
    assert (await panel.ask("GET", "/nothing"))[0] == 404


async def test_readiness_and_the_page_lie_beside_it(panel: Panel, client: ClientSession) -> None:
    async with client.get(f"{panel.gateway.url}/readyz") as reply:
        assert (reply.status, (await reply.json())["status"]) == (200, "ready")
    async with client.get(f"{panel.gateway.url}/management.html") as reply:
        assert reply.status == 200 and reply.headers["content-type"].startswith("text/html")
    async with client.head(panel.url("/debug"), headers=HEADERS) as reply:
        assert (reply.status, await reply.read()) == (200, b"")
    async with client.get(f"{panel.gateway.url}/metrics") as reply:
        assert reply.status == 404


async def test_a_stream_of_events_does_not_hold_up_the_end(confdir: Path, client: ClientSession) -> None:
    config = {"remote-management": {"secret-key": KEY}, "usage-statistics-enabled": False}
    async with mitmproxy(confdir, config=config) as gateway:
        panel = Panel(await listening(gateway), client)
        async with client.get(panel.url("/events"), headers=HEADERS) as stream:
            await stream.content.readuntil(b"\n\n")
            assert await gateway.stop() == 0


async def test_five_wrong_keys_lock_this_machine_out_whatever_headers_say(confdir: Path, client: ClientSession) -> None:
    config = {"remote-management": {"secret-key": KEY}, "usage-statistics-enabled": False}
    async with mitmproxy(confdir, config=config) as gateway:
        panel = Panel(await listening(gateway), client)
        for number in range(5):
            headers = {"X-Management-Key": "wrong", "X-Forwarded-For": f"10.0.0.{number}"}
            assert (await panel.ask("GET", "/debug", headers=headers))[0] == 401
        status, refused = await panel.ask("GET", "/debug", headers={**HEADERS, "X-Forwarded-For": "10.0.0.9"})
        assert (status, refused["error"]) == (403, "IP banned due to too many failed attempts")

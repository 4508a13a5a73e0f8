"""A config file that is edited under a running gateway."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientConnectorError, ClientSession

from tests.calls import ask, call
from tests.processes import CLIENT_KEY, Gateway, config_for, listening, mitmproxy
from tests.streams import events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_KEY = "sk-test-other-client-key"
STAYS = "what it said before stays in force"


class Site:
    """A gateway with its config file."""

    gateway: Gateway

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    def edit(self, **keys: Any) -> None:
        """Put other values into the file, in place."""
        self.config |= {name.replace("_", "-"): value for name, value in keys.items()}
        self.write(yaml.safe_dump(self.config))

    def write(self, text: str) -> None:
        self.path.write_text(text, "utf-8")


@pytest.fixture
def run(confdir: Path, tmp_path: Path, shared_upstream: Upstream) -> Callable[..., Any]:
    @asynccontextmanager
    async def _run(mode: str | None = None, **keys: Any) -> AsyncIterator[Site]:
        site = Site(tmp_path / "config.yaml", config_for(shared_upstream, host="127.0.0.1", **keys))
        site.edit()
        options = ("--set", f"cliproxy_config={site.path}")
        async with mitmproxy(confdir, *options, mode=mode) as gateway:
            site.gateway = await listening(gateway)
            yield site

    return _run


@asynccontextmanager
async def streaming(client: ClientSession, gateway: Gateway) -> AsyncIterator[AsyncIterator[bytes]]:
    """The lines of a stream whose answer has begun."""
    asked = call("openai-chat", stream=True)
    async with client.post(gateway.url + asked.path, json=asked.json, headers=asked.headers) as response:
        assert response.status == 200
        yield aiter(response.content)


async def status(client: ClientSession, gateway: Gateway, key: str = CLIENT_KEY) -> int:
    return (await ask(client, gateway, call("openai-chat"), authorization=f"Bearer {key}")).status


async def readiness(client: ClientSession, gateway: Gateway) -> tuple[int, dict[str, Any]]:
    """Whether it serves, and what it says of its config file."""
    async with client.get(f"{gateway.url}/readyz") as answer:
        return answer.status, (await answer.json())["checks"]["config"]


async def test_an_edit_is_in_force_and_told_without_its_secrets(run: Any, client: ClientSession) -> None:
    async with run(port=0) as site:
        assert await status(client, site.gateway, OTHER_KEY) == 401
        site.edit(api_keys=[OTHER_KEY], request_retry=7)
        await site.gateway.wait_for(r"config: api-keys\[0\]\.key: changed$")
        await site.gateway.wait_for(r"config: request-retry: \d → 7$")
        assert [await status(client, site.gateway, key) for key in (OTHER_KEY, CLIENT_KEY)] == [200, 401]
        assert OTHER_KEY not in site.gateway.text


async def test_a_wrong_edit_changes_nothing_until_it_is_mended(run: Any, client: ClientSession) -> None:
    async with run(port=0) as site:
        site.write("api-keys: [")
        await site.gateway.wait_for(STAYS)
        site.write("")
        await site.gateway.wait_for("is empty now")
        assert await status(client, site.gateway) == 200
        assert await readiness(client, site.gateway) == (200, {"ok": False})
        site.edit(request_retry=7)
        await site.gateway.wait_for("config: request-retry")
        assert await readiness(client, site.gateway) == (200, {"ok": True})


async def test_no_stream_breaks_under_many_edits_and_the_last_one_holds(
    run: Any, client: ClientSession, shared_upstream: Upstream
) -> None:
    streams, edits = 50, 200
    async with run(port=0) as site:
        gate = asyncio.Event()
        shared_upstream.script(*[held("openai-chat", gate)] * streams)

        async def whole() -> bytes:
            async with streaming(client, site.gateway) as lines:
                return b"".join([line async for line in lines])

        asked = [asyncio.create_task(whole()) for _ in range(streams)]
        await shared_upstream.received(streams)
        for count in range(edits):
            site.edit(request_retry=count, max_retry_interval=count)
            await asyncio.sleep(0)
        await site.gateway.wait_for(f"config: request-retry: .* → {edits - 1}$")
        gate.set()
        assert all(answer.count(b"data:") >= len(events("openai-chat")) for answer in await asyncio.gather(*asked))
        assert await status(client, site.gateway) == 200


async def test_another_port_is_listened_on_while_old_connections_stay(
    run: Any, client: ClientSession, shared_upstream: Upstream, free_port: int
) -> None:
    async with run(port=0) as site:
        gate = asyncio.Event()
        shared_upstream.script(held("openai-chat", gate))
        async with streaming(client, site.gateway) as lines:
            await anext(lines)
            site.edit(port=free_port)
            await site.gateway.wait_for(rf"listening at 127\.0\.0\.1:{free_port}\.$")
            with pytest.raises(ClientConnectorError):
                async with ClientSession() as newcomer:
                    await status(newcomer, site.gateway)
            site.gateway.port = free_port
            assert await status(client, site.gateway) == 200
            gate.set()
            assert b"data: [DONE]\n" in [line async for line in lines]


async def test_a_port_that_is_taken_leaves_the_gateway_where_it_was(
    run: Any, client: ClientSession, shared_upstream: Upstream, free_port: int
) -> None:
    async with run(port=free_port) as site:
        site.edit(port=shared_upstream.port)
        await site.gateway.wait_for("stays where it was")
        await site.gateway.wait_for(rf"listening at 127\.0\.0\.1:{free_port}\.$", times=2)
        assert await status(client, site.gateway) == 200


async def test_a_mode_of_the_users_own_stays(run: Any, client: ClientSession, free_port: int) -> None:
    async with run(mode="reverse:http://cliproxy.internal@127.0.0.1:0", port=1) as site:
        site.edit(port=free_port)
        await site.gateway.wait_for("config: port")
        assert await status(client, site.gateway) == 200


async def test_https_comes_and_goes(run: Any, client: ClientSession, tmp_path: Path) -> None:
    async with run(port=0, certs_dir=str(tmp_path / "certs")) as site:
        site.edit(tls={"enable": True})
        await site.gateway.wait_for("config: tls.enable")
        trusting = ssl.create_default_context(cafile=tmp_path / "certs" / "ca.pem")
        async with client.get(f"{site.gateway.tls_url}/healthz", ssl=trusting) as answer:
            assert answer.status == 200
        async with client.get(f"{site.gateway.url}/healthz") as answer:
            assert answer.status == 400
        site.edit(tls={"enable": True, "cert": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.pem")})
        await site.gateway.wait_for(f"{STAYS}: No certificate: .*none.pem")
        async with client.get(f"{site.gateway.tls_url}/healthz", ssl=trusting) as answer:
            assert answer.status == 200

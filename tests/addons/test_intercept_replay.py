"""Intercepted calls in mitmweb: how they are marked, and what sending them again does."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests import mitmweb
from tests.calls import Call, call
from tests.mitmweb import Flow, Mitmweb
from tests.processes import CLIENT_KEY, Gateway, config_for, listening, mitmproxy
from tests.upstream import Upstream
from tests.vendors import HOSTS, Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIXED = "dashscope.aliyuncs.com"


class Site:
    """A gateway in mitmweb that observes Anthropic's calls, and routes those to a vendor whose paths have a prefix."""

    def __init__(self, gateway: Gateway, web: Mitmweb, vendors: Vendors, upstream: Upstream, certs: Path) -> None:
        self.web = web
        self.vendors = vendors
        self.upstream = upstream
        self._gateway = gateway
        self._trust = ssl.create_default_context(cafile=certs / "ca.pem")

    async def asked(self, client: ClientSession, host: str, asked: Call) -> Flow:
        """The client's flow of a call."""
        await self.web.clear()
        url = f"https://{host}{asked.path}"
        async with client.post(
            url, headers=asked.headers, json=asked.json, proxy=self._gateway.url, ssl=self._trust
        ) as answer:
            assert answer.status == 200
            await answer.read()
        return await self.web.wait_for(lambda flow: not flow.is_attempt and bool(flow.raw["marked"]))

    async def sent_again(self, command: str, flow: Flow) -> Flow:
        """What became of it, when a user gave a command."""
        await self.web.run(command, f"@{flow.id}")
        return await self.web.wait_for(lambda flow: flow.raw["is_replay"] == "request" and "response" in flow.raw)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    confdir: Path, shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder, port = tmp_path_factory.mktemp("site"), mitmweb.free_port()
    async with Vendors(folder) as vendors:
        hosts = {PREFIXED: "route"}
        config = {**config_for(shared_upstream), **vendors.config(folder / "certs", hosts=hosts)}
        # The vendors are reached by a proxy, the upstream of the config is not.
        for section in ("openai-compatibility", "codex-api-key", "claude-api-key", "gemini-api-key"):
            config[section] = [{**entry, **_direct(entry)} for entry in config[section]]
        options = (*mitmweb.options(port), *vendors.options())
        mode = "regular@127.0.0.1:0"
        async with mitmproxy(confdir, *options, config=config, program="mitmweb", mode=mode) as gateway:
            await listening(gateway)
            async with Mitmweb.of(gateway, port) as web:
                yield Site(gateway, web, vendors, shared_upstream, folder / "certs")


def _direct(entry: dict[str, Any]) -> dict[str, Any]:
    keys = entry.get("api-key-entries")
    return {"api-key-entries": [{**key, "proxy-url": "direct"} for key in keys]} if keys else {"proxy-url": "direct"}


async def test_an_observed_call_is_marked_and_not_sent_again_with_a_mask_for_its_key(
    site: Site, client: ClientSession
) -> None:
    flow = await site.asked(client, HOSTS["anthropic"], call("anthropic", model="anthropic-model"))
    assert CLIENT_KEY not in json.dumps(flow.raw)
    before = len(site.vendors.upstream.requests)
    again = await site.sent_again("replay.client", flow)
    assert again.raw["response"]["status_code"] == 409
    assert b"cliproxy.replay" in await site.web.body(again, "response")
    assert len(site.vendors.upstream.requests) == before


async def test_an_observed_call_can_be_sent_again_with_a_credential_of_ours(site: Site, client: ClientSession) -> None:
    flow = await site.asked(client, HOSTS["anthropic"], call("anthropic", model="anthropic-model"))
    before = len(site.vendors.upstream.requests)
    again = await site.sent_again("cliproxy.replay", flow)
    assert again.raw["response"]["status_code"] == 200
    assert site.upstream.requests[-1].path == "/v1/messages"
    assert len(site.vendors.upstream.requests) == before


@pytest.mark.parametrize("command", ["replay.client", "cliproxy.replay"])
async def test_a_routed_call_is_sent_again_as_it_was_routed(site: Site, client: ClientSession, command: str) -> None:
    asked = call("openai-chat", model="anthropic-model")
    prefixed = Call(f"/compatible-mode{asked.path}", asked.headers, asked.json)
    flow = await site.asked(client, PREFIXED, prefixed)
    before = len(site.upstream.requests)
    again = await site.sent_again(command, flow)
    assert again.raw["response"]["status_code"] == 200
    assert [request.path for request in site.upstream.requests[before:]] == ["/v1/messages"]

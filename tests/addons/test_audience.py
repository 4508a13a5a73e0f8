"""When nobody looks at flows the gateway saves itself the trouble, and no client can tell."""

import json
from collections.abc import AsyncIterator, Callable
from ssl import SSLContext
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, ClientSession
from mitmproxy.options import Options
from mitmproxy.tools.dump import DumpMaster
from mitmproxy.tools.web.master import WebMaster

from addons import audience
from tests import native
from tests.answers import Answer
from tests.calls import ask, call
from tests.conftest import Start
from tests.http2 import Http2Client
from tests.native import FORMATS, Format
from tests.processes import Gateway, config_for
from tests.streams import held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNSEEN = ("--set", "flow_detail=0")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(start: Start, shared_upstream: Upstream) -> Gateway:
    return await start(config_for(shared_upstream, max_request_body_bytes=50_000), *UNSEEN)


# ---------------------------------------------------------------- what clients get when nobody looks


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_unseen_calls_are_answered_alike(
    gateway: Gateway, client: ClientSession, authority: Callable[[], SSLContext], format: Format, stream: bool
) -> None:
    asked = call(format, stream=stream)
    known = native.text(format, model="upstream-model", stream=stream).whole
    assert (await ask(client, gateway, asked)).body == known
    async with Http2Client(gateway.port, authority()) as http2:
        answer = await http2.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode())
        assert await answer.read() == known


async def test_unseen_failures_are_told_alike(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    assert (await ask(client, gateway, call("anthropic", model="nobody"))).status == 404
    assert (await ask(client, gateway, call("anthropic"), body=b"x" * 60_000)).status == 413
    shared_upstream.script(Answer(raw=b""))
    assert (await ask(client, gateway, call("anthropic"))).status == 502
    encoded = native.text("anthropic", stream=True).encoded("gzip")
    shared_upstream.script(Answer(headers=encoded.headers, body=encoded.body[:2], cut=True))
    with pytest.raises(ClientPayloadError):
        await ask(client, gateway, call("anthropic", stream=True))


async def test_an_unseen_client_that_leaves_ends_the_upstream_call(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    shared_upstream.script(held("anthropic"))
    asked = call("anthropic", stream=True)
    async with client.post(gateway.url + asked.path, headers=asked.headers, json=asked.json) as answer:
        await answer.content.readany()
    await shared_upstream.requests[-1].disconnected.wait()


async def test_nothing_was_shown(gateway: Gateway, client: ClientSession) -> None:
    assert (await ask(client, gateway, call("anthropic"))).status == 200
    assert "/v1/messages" not in gateway.text


async def test_options_that_change_flows_are_honoured(
    start: Start, shared_upstream: Upstream, client: ClientSession
) -> None:
    added = ("modify_headers=/~q/x-added/to the request", "modify_headers=/~s/x-added/to the answer")
    gateway = await start(config_for(shared_upstream), *UNSEEN, "--set", added[0], "--set", added[1])
    for stream in (False, True):
        reply = await ask(client, gateway, call("anthropic", stream=stream))
        assert reply.headers["x-added"] == "to the answer"
        assert shared_upstream.requests[-1].headers["x-added"] == "to the request"


# ---------------------------------------------------------------- who counts as an audience


class Watcher:
    """An addon that is not mitmproxy's."""


@pytest_asyncio.fixture(loop_scope="module")
async def mitmdump() -> AsyncIterator[DumpMaster]:
    """mitmdump's addons and options in this process, not running."""
    master = DumpMaster(Options(), with_termlog=False)
    master.options.update(flow_detail=0)
    yield master
    await master.done()


async def test_mitmdump_by_itself_is_no_audience(mitmdump: DumpMaster) -> None:
    assert not audience.is_present()


@pytest.mark.parametrize(
    "changed",
    [
        {"flow_detail": 1},
        {"modify_body": ["/a/b"]},
        {"map_remote": ["|a|b"]},
        {"stickycookie": "~all"},
        {"dumper_filter": "~all"},
        {"store_streamed_bodies": True},
    ],
    ids=str,
)
async def test_an_option_about_flows_is_an_audience(mitmdump: DumpMaster, changed: dict[str, Any]) -> None:
    mitmdump.options.update(**changed)
    assert audience.is_present()


async def test_an_option_that_nobody_knows_is_an_audience(mitmdump: DumpMaster) -> None:
    mitmdump.options.add_option("of_another_script", bool, False, "")
    assert not audience.is_present()
    mitmdump.options.update(of_another_script=True)
    assert audience.is_present()


@pytest.mark.parametrize(
    "changed", [{"listen_port": 1}, {"ssl_insecure": True}, {"connection_strategy": "lazy"}], ids=str
)
async def test_an_option_about_connections_is_none(mitmdump: DumpMaster, changed: dict[str, Any]) -> None:
    mitmdump.options.update(**changed)
    assert not audience.is_present()


async def test_an_addon_of_the_users_is_an_audience(mitmdump: DumpMaster) -> None:
    mitmdump.addons.add(Watcher())
    assert audience.is_present()


async def test_mitmweb_is_an_audience() -> None:
    master = WebMaster(Options(), with_termlog=False)
    assert audience.is_present()
    await master.done()

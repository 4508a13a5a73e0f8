"""What becomes of exchanges when the program is told to end."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientPayloadError, ClientSession, WSMsgType
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from tests.calls import MODELS, ask, call
from tests.processes import CLIENT_KEY, Gateway, config_for, listening, mitmproxy
from tests.streams import held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = {"authorization": f"Bearer {CLIENT_KEY}"}


@pytest.fixture
def run(confdir: Path, shared_upstream: Upstream) -> Callable[..., Any]:
    @asynccontextmanager
    async def _run(*options: str, **keys: Any) -> AsyncIterator[Gateway]:
        async with mitmproxy(confdir, *options, config=config_for(shared_upstream, **keys)) as gateway:
            yield await listening(gateway)

    return _run


@asynccontextmanager
async def streaming(
    client: ClientSession, gateway: Gateway, shared_upstream: Upstream, gate: asyncio.Event
) -> AsyncIterator[Any]:
    """The lines of an answer that has begun, and goes on with the gate."""
    shared_upstream.script(held("openai-chat", gate))
    asked = call("openai-chat", stream=True)
    async with client.post(gateway.url + asked.path, json=asked.json, headers=asked.headers) as response:
        lines = aiter(response.content)
        await anext(lines)
        yield lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_is_under_way_comes_to_its_end_and_nothing_else_begins(
    run: Any, client: ClientSession, shared_upstream: Upstream, tmp_path: Path, number: signal.Signals
) -> None:
    gate, saved = asyncio.Event(), tmp_path / "saved.flows"
    async with run("-w", str(saved)) as gateway:
        async with streaming(client, gateway, shared_upstream, gate) as lines:
            gateway.process.send_signal(number)
            await gateway.wait_for("Stopping: 1 exchanges have 30 s")
            with pytest.raises(ClientConnectorError):
                async with ClientSession() as newcomer:
                    await ask(newcomer, gateway, call("openai-chat"))
            gate.set()
            assert b"data: [DONE]\n" in [line async for line in lines]
        assert await gateway.ended() == 0
    with saved.open("rb") as file:
        flows = [flow for flow in FlowReader(file).stream() if isinstance(flow, HTTPFlow)]
    assert all(flow.response and b"[DONE]" in (flow.response.content or b"") for flow in flows)
    assert len(flows) == 2


async def test_a_second_signal_ends_it_at_once(run: Any, client: ClientSession, shared_upstream: Upstream) -> None:
    async with run() as gateway, streaming(client, gateway, shared_upstream, asyncio.Event()) as lines:
        gateway.process.terminate()
        await gateway.wait_for("Another signal ends them at once")
        gateway.process.terminate()
        with pytest.raises(ClientPayloadError):
            [line async for line in lines]
        assert await gateway.ended() == 0


async def test_patience_has_an_end(run: Any, client: ClientSession, shared_upstream: Upstream) -> None:
    async with run(shutdown_grace_seconds=0.1) as gateway:
        async with streaming(client, gateway, shared_upstream, asyncio.Event()) as lines:
            gateway.process.terminate()
            with pytest.raises(ClientPayloadError):
                [line async for line in lines]
        assert await gateway.ended() == 0
        assert "1 exchanges are broken off." in gateway.text


async def test_a_connection_that_is_kept_alive_is_answered_once_more(
    run: Any, client: ClientSession, shared_upstream: Upstream
) -> None:
    gate = asyncio.Event()
    async with run() as gateway, ClientSession() as other:
        assert "connection" not in (await ask(other, gateway, call("anthropic"))).headers
        async with streaming(client, gateway, shared_upstream, gate):
            gateway.process.terminate()
            await gateway.wait_for("Stopping")
            reply = await ask(other, gateway, call("anthropic"))
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            gate.set()
        assert await gateway.ended() == 0


async def test_a_slow_client_gets_all_that_it_was_sent(run: Any, shared_upstream: Upstream) -> None:
    """More than sockets hold, and all of it answered before the client reads."""
    asked = call("openai-chat", stream=True)
    body = [f"data: {json.dumps({'filler': 'x' * 60_000})}\n\n".encode()] * 100
    async with run() as gateway, ClientSession(read_bufsize=2**12) as slow:
        shared_upstream.script(replace(held("openai-chat"), body=[*body, b"data: [DONE]\n\n"]))
        async with slow.post(gateway.url + asked.path, json=asked.json, headers=asked.headers) as response:
            gateway.process.terminate()
            await gateway.wait_for("Stopping")
            got = await response.read()
        assert got.endswith(b"data: [DONE]\n\n") and len(got) >= sum(map(len, body))
        assert await gateway.ended() == 0


async def test_conversations_end_after_their_answer(run: Any, client: ClientSession, shared_upstream: Upstream) -> None:
    gate, url = asyncio.Event(), "/v1/responses"
    message = {"type": "response.create", "model": MODELS["openai-responses"], "input": "hello", "store": False}
    async with (
        run() as gateway,
        client.ws_connect(gateway.url + url, headers=BEARER) as idle,
        client.ws_connect(gateway.url + url, headers=BEARER) as busy,
    ):
        shared_upstream.script(held("openai-responses", gate))
        await busy.send_json(message)
        await busy.receive()
        gateway.process.terminate()
        closed = await idle.receive()
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1001)
        gate.set()
        heard = [json.loads(heard.data)["type"] async for heard in busy if heard.type is WSMsgType.TEXT]
        assert heard[-1] == "response.completed"
        assert busy.close_code == 1001
        assert await gateway.ended() == 0

"""What becomes of exchanges when the program is told to end."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientError, ClientPayloadError, ClientSession, TCPConnector, WSMsgType
from h2.connection import ConnectionState
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from tests.calls import MODELS, ask, call, http1
from tests.http2 import Http2Client
from tests.native import text
from tests.processes import CLIENT_KEY, Gateway, config_for, listening, mitmproxy
from tests.streams import held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = {"authorization": f"Bearer {CLIENT_KEY}"}
NO_LONGER_LISTENING = r"reverse proxy .*stopped\.$"


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


@dataclass
class Askers:
    """Clients that ask again as soon as they are answered, until nobody takes their connections any more."""

    gateway: Gateway
    keeping: bool
    """Whether each keeps its connection as long as the gateway does."""
    broken: list[str] = field(default_factory=list)
    """What went wrong in other ways."""

    async def ask(self, *, stream: bool) -> None:
        asked = call("openai-chat", stream=stream)
        async with ClientSession(connector=TCPConnector(force_close=not self.keeping)) as client:
            while True:
                try:
                    reply = await ask(client, self.gateway, asked)
                except ClientConnectorError:
                    return
                except ClientError as error:
                    self.broken.append(repr(error))
                    return
                if reply.status != 200 or (stream and not reply.body.endswith(b"data: [DONE]\n\n")):
                    self.broken.append(f"{reply.status}: {reply.body[-100:]!r}")


@asynccontextmanager
async def load(gateway: Gateway, shared_upstream: Upstream, *, keeping: bool = True) -> AsyncIterator[Askers]:
    """20 clients that are at it when the block begins, and have given up when it ends."""
    askers, before = Askers(gateway, keeping), len(shared_upstream.requests)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(askers.ask(stream=number % 2 == 0))
        await shared_upstream.received(before + 200)
        yield askers


UNWATCHED = ("--set", "flow_detail=0")


@pytest.mark.parametrize("options", [(), UNWATCHED])
@pytest.mark.parametrize("keeping", [True, False])
async def test_no_request_is_lost_under_load(
    run: Any, shared_upstream: Upstream, options: tuple[str, ...], keeping: bool
) -> None:
    async with run(*options) as gateway:
        async with load(gateway, shared_upstream, keeping=keeping) as askers:
            gateway.process.terminate()
        # One may come between the last look at who waits to be accepted and the end of listening.
        assert len(askers.broken) <= (0 if keeping else 1), askers.broken
        assert await gateway.ended() == 0


async def test_what_is_broken_off_leaves_nothing_behind(run: Any, shared_upstream: Upstream) -> None:
    """The log says it otherwise."""
    async with run(*UNWATCHED, shutdown_grace_seconds=0) as gateway:
        async with load(gateway, shared_upstream):
            gateway.process.terminate()
        assert await gateway.ended() == 0


async def test_a_request_that_has_begun_to_arrive_is_answered(run: Any, client: ClientSession) -> None:
    sent = http1(call("anthropic"))
    async with run() as gateway:
        # It listens a moment before it minds signals.
        assert (await ask(client, gateway, call("anthropic"))).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(sent[:20])
        await gateway.wait_for("client connect", times=2)
        gateway.process.terminate()
        await gateway.wait_for(NO_LONGER_LISTENING)
        writer.write(sent[20:-20])
        # Another round of the gateway.
        with pytest.raises(ClientConnectorError):
            async with ClientSession() as newcomer:
                await ask(newcomer, gateway, call("anthropic"))
        writer.write(sent[-20:])
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer
        assert answer.endswith(b"}")
        writer.close()
        assert await gateway.ended() == 0


async def test_a_large_answer_is_sent_whole_over_a_connection_that_ends_with_it(
    run: Any, client: ClientSession, shared_upstream: Upstream
) -> None:
    # The kernel's buffers hold less.
    size_bytes, gate = 48 * 2**20, asyncio.Event()
    async with run() as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**12)
        async with streaming(client, gateway, shared_upstream, gate):
            gateway.process.terminate()
            await gateway.wait_for("Stopping")
            shared_upstream.script(text("openai-chat", words=["x" * size_bytes]))
            writer.write(http1(call("openai-chat")))
            await gateway.wait_for("client disconnect")
            gate.set()
        await gateway.wait_for("client disconnect", times=2)
        assert len(await reader.read()) > size_bytes
        writer.close()
        assert await gateway.ended() == 0


async def test_http2_is_left_between_answers_and_told_so(
    run: Any, shared_upstream: Upstream, authority: Callable[[], SSLContext]
) -> None:
    gate, asked = asyncio.Event(), call("anthropic", stream=True)
    headers, body = {**asked.headers, "content-type": "application/json"}, json.dumps(asked.json).encode()
    async with run() as gateway, Http2Client(gateway.port, authority()) as idle:
        assert await (await idle.send("POST", asked.path, headers, body)).read()
        async with Http2Client(gateway.port, authority()) as busy:
            shared_upstream.script(held("anthropic", gate))
            stream = await busy.send("POST", asked.path, headers, body)
            assert await stream.answered() == 200
            gateway.process.terminate()
            await idle.until(lambda: idle.h2.state_machine.state is ConnectionState.CLOSED)
            other = await busy.send("POST", asked.path, headers, body)
            assert await other.answered() == 200
            gate.set()
            assert b"message_stop" in await stream.read() and b"message_stop" in await other.read()
            await busy.until(lambda: busy.h2.state_machine.state is ConnectionState.CLOSED)
        assert await gateway.ended() == 0

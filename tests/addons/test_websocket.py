"""WebSockets of clients in a real mitmproxy: handshakes, frames of every kind, and leaving, on real sockets."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLContext
from typing import Any, overload

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from tests import native
from tests.answers import Answer
from tests.calls import MODELS
from tests.conftest import Start
from tests.http2 import Http2Client
from tests.processes import CLIENT_KEY, Gateway, config_for
from tests.streams import held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = Path(__file__).with_name("websocket_script.py")
MIB = 1024 * 1024
LIMIT_BYTES = 4 * MIB
HELD_BYTES = 40 * MIB
"""What may be on the way when nobody reads: sockets of the kernel on two connections, and the gateway's buffers."""
FLOOD_BYTES = 200 * MIB
PATH = "/v1/responses"
HANDSHAKE = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGVzdCB0ZXN0IHRlc3QgMQ==",
}
BEARER = {"authorization": f"Bearer {CLIENT_KEY}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["watched", "unwatched"])
async def gateway(request: pytest.FixtureRequest, start: Start, shared_upstream: Upstream) -> Gateway:
    options = ("--set", "flow_detail=0") if request.param == "unwatched" else ()
    return await start(config_for(shared_upstream, max_request_body_bytes=LIMIT_BYTES), *options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(start: Start, shared_upstream: Upstream) -> Gateway:
    return await start(config_for(shared_upstream), "-s", str(SCRIPT))


def create(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": MODELS["openai-responses"], "input": text, "store": False, **fields}


@asynccontextmanager
async def opened(client: ClientSession, gateway: Gateway, **options: Any) -> AsyncIterator[ClientWebSocketResponse]:
    async with client.ws_connect(gateway.url + PATH, headers=BEARER, max_msg_size=0, **options) as socket:
        yield socket


async def answered(socket: ClientWebSocketResponse) -> list[dict[str, Any]]:
    events = []
    while not events or events[-1]["type"] not in ("response.completed", "error"):
        message = await socket.receive()
        assert message.type is WSMsgType.TEXT, message
        events.append(json.loads(message.data))
    return events


class Frames:
    """A client that frames its messages itself, as well as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._frames = Connection(ConnectionType.CLIENT)

    async def send(self, *events: Event) -> None:
        for event in events:
            self.writer.write(self._frames.send(event))
        await self.writer.drain()

    async def event(self) -> Event:
        """The next message or control frame."""
        pieces: list[str] = []
        while True:
            for event in self._frames.events():
                if not isinstance(event, TextMessage):
                    return event
                pieces.append(event.data)
                if event.message_finished:
                    return TextMessage("".join(pieces))
            data = await self._reader.read(65536)
            assert data, "the connection ended"
            self._frames.receive_data(data)

    async def answer(self) -> str:
        """The type of the last event of an answer."""
        while True:
            event = await self.event()
            assert isinstance(event, TextMessage), event
            kind = json.loads(event.data)["type"]
            if kind in ("response.completed", "error"):
                return kind

    async def ended(self) -> bool:
        """Whether the gateway ends the connection, with nothing more to say."""
        return await self._reader.read() == b""


@asynccontextmanager
async def framing(gateway: Gateway) -> AsyncIterator[Frames]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"host": "gateway.test", **HANDSHAKE, **BEARER}.items())
    writer.write(f"GET {PATH} HTTP/1.1\r\n{head}\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"content-length" not in answer.lower()
    try:
        yield Frames(reader, writer)
    finally:
        writer.close()


# ---------------------------------------------------------------- handshakes


async def test_a_client_without_a_key_is_refused_in_json(gateway: Gateway, client: ClientSession) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(gateway.url + PATH)
    assert refused.value.status == 401
    async with client.get(gateway.url + PATH, headers=HANDSHAKE) as answer:
        assert (await answer.json())["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "change",
    [
        dict.fromkeys(HANDSHAKE),
        {"upgrade": "h2c"},
        {"connection": "keep-alive"},
        {"sec-websocket-version": "8"},
        {"sec-websocket-key": "c2hvcnQ="},
        {"sec-websocket-key": "not base64"},
        {"sec-websocket-key": None},
    ],
)
async def test_what_is_no_handshake_is_told_to_be_one(
    gateway: Gateway, client: ClientSession, change: dict[str, str | None]
) -> None:
    headers = {name: value for name, value in {**HANDSHAKE, **BEARER, **change}.items() if value is not None}
    async with client.get(gateway.url + PATH, headers=headers) as answer:
        assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
        assert "POST" in (await answer.json())["error"]["message"]


async def test_http2_has_no_upgrade(gateway: Gateway, authority: Callable[[], SSLContext]) -> None:
    headers = {name: value for name, value in HANDSHAKE.items() if name.startswith("sec-")}
    async with Http2Client(gateway.port, authority()) as client:
        stream = await client.send("GET", PATH, {**BEARER, **headers})
        assert await stream.answered() == 426
        assert "upgrade" not in stream.headers


async def test_on_other_paths_a_handshake_is_a_request(gateway: Gateway, client: ClientSession) -> None:
    async with client.get(f"{gateway.url}/v1/models", headers={**HANDSHAKE, **BEARER}) as answer:
        assert answer.status == 200


async def test_mitmproxy_may_be_told_to_leave_websockets_alone(start: Start, shared_upstream: Upstream) -> None:
    gateway = await start(config_for(shared_upstream), "--set", "websocket=false")
    async with ClientSession() as client, client.get(gateway.url + PATH, headers={**HANDSHAKE, **BEARER}) as answer:
        assert answer.status == 426


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("compress", [0, 9, 15], ids=["plain", "a small window", "deflate"])
async def test_requests_are_answered_in_order(gateway: Gateway, client: ClientSession, compress: int) -> None:
    async with opened(client, gateway, compress=compress) as socket:
        assert bool(socket.compress) == bool(compress)
        for text in ("one", "two"):
            await socket.send_json(create(text * 5000))
        for _ in range(2):
            assert (await answered(socket))[-1]["type"] == "response.completed"
        await socket.close()
        assert socket.close_code == 1000


@pytest.mark.parametrize(
    "offer", ["permessage-deflate; client_max_window_bits=x", "x-unknown; a=b", "permessage-deflate"]
)
async def test_a_strange_offer_is_not_taken(gateway: Gateway, client: ClientSession, offer: str) -> None:
    headers = {**HANDSHAKE, **BEARER, "sec-websocket-extensions": offer}
    async with client.get(gateway.url + PATH, headers=headers) as answer:
        assert answer.status == 101
        accepted = "permessage-deflate" if offer == "permessage-deflate" else None
        assert answer.headers.get("sec-websocket-extensions") == accepted


async def test_wss_on_the_same_port(
    gateway: Gateway, client: ClientSession, authority: Callable[[], SSLContext]
) -> None:
    async with client.ws_connect(gateway.tls_url + PATH, headers=BEARER, ssl=authority()) as socket:
        await socket.send_json(create())
        assert (await answered(socket))[-1]["type"] == "response.completed"


async def test_a_message_in_pieces_with_a_ping_among_them(gateway: Gateway, shared_upstream: Upstream) -> None:
    text = json.dumps(create("grüße " * 100), ensure_ascii=False)
    async with framing(gateway) as client:
        await client.send(
            TextMessage(text[:50], message_finished=False),
            Ping(b"are you there"),
            *(TextMessage(letter, message_finished=False) for letter in text[50:300]),
            TextMessage(text[300:]),
        )
        assert await client.event() == Pong(b"are you there")
        assert await client.answer() == "response.completed"
    assert shared_upstream.requests[-1].json["input"] == "grüße " * 100


@pytest.mark.parametrize("compress", [0, 15])
async def test_a_message_as_large_as_the_limit(gateway: Gateway, client: ClientSession, compress: int) -> None:
    head, tail = json.dumps(create("|", generate=False)).split("|")
    text = os.urandom(LIMIT_BYTES).hex()[: LIMIT_BYTES - len(head) - len(tail)]
    async with opened(client, gateway, compress=compress) as socket:
        await socket.send_str(head + text + tail)
        events = await answered(socket)
    assert events[-1]["type"] == "response.completed", events


async def test_a_message_beyond_the_limit_is_told_and_closes(gateway: Gateway) -> None:
    """While the client still sends it, and from then on nothing is kept of it."""
    rss_bytes = gateway.rss_bytes
    async with framing(gateway) as client:
        sending = asyncio.create_task(client.send(BytesMessage(bytes(HELD_BYTES + 8 * MIB))))
        event = await client.event()
        assert isinstance(event, TextMessage)
        told = json.loads(event.data)
        assert (told["type"], told["status"], told["error"]["code"]) == ("error", 413, "request_too_large")
        assert await client.event() == CloseConnection(1009, "message too large")
        sending.cancel()
    assert gateway.rss_bytes - rss_bytes < HELD_BYTES


async def test_small_messages_that_blow_up_are_too_large(gateway: Gateway, client: ClientSession) -> None:
    async with opened(client, gateway, compress=15) as socket:
        await socket.send_str(" " * (LIMIT_BYTES + 1))
        assert (await answered(socket))[-1]["status"] == 413
        assert (await socket.receive()).data == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that is none
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x80\x80\0\0\0\0", 1002),  # goes on with what has not begun
        (b"\x89\xfe\0\x80\0\0\0\0", 1002),  # a ping of 128 bytes
        (b"\x88\x81\0\0\0\0x", 1002),  # half a close code
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),  # no UTF-8
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
)
async def test_rubbish_closes_with_a_reason(gateway: Gateway, data: bytes, code: int) -> None:
    async with framing(gateway) as client:
        client.writer.write(data)
        event = await client.event()
        assert isinstance(event, CloseConnection)
        assert event.code == code
        await client.send(event.response())
        client.writer.write_eof()
        assert await client.ended()


@pytest.mark.parametrize("code", [1000, 1001, 4000, CloseReason.NO_STATUS_RCVD])
async def test_the_clients_close_is_answered_alike(gateway: Gateway, code: int) -> None:
    async with framing(gateway) as client:
        await client.send(CloseConnection(code))
        event = await client.event()
        assert isinstance(event, CloseConnection)
        assert event.code == code
        assert await client.ended()


# ---------------------------------------------------------------- leaving, and not reading


@pytest.mark.parametrize("how", ["close", "hang up", "reset"])
async def test_a_client_that_leaves_stops_its_answer(gateway: Gateway, shared_upstream: Upstream, how: str) -> None:
    before = len(shared_upstream.requests)
    shared_upstream.script(held("openai-responses", after=3))
    async with framing(gateway) as client:
        await client.send(TextMessage(json.dumps(create())))
        await client.event()
        match how:
            case "close":
                await client.send(CloseConnection(1001))
            case "hang up":
                client.writer.close()
            case _:
                client.writer.transport.abort()
        await shared_upstream.requests[before].disconnected.wait()


class Flood(Sequence[bytes]):
    """Events without end, made when they are taken."""

    def __init__(self) -> None:
        delta = {"type": "response.output_text.delta", "delta": "x" * 60_000}
        self._event = b"data: " + json.dumps(delta).encode() + b"\n\n"
        self.taken_bytes = 0
        self.held = asyncio.Event()
        """Set when more was taken than may be on the way while nobody reads."""

    def __len__(self) -> int:
        return FLOOD_BYTES // len(self._event)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(len(self)):
            yield self._event
            self.taken_bytes += len(self._event)
            if self.taken_bytes > HELD_BYTES:
                self.held.set()


async def test_a_client_that_does_not_read_holds_up_its_upstream(gateway: Gateway, shared_upstream: Upstream) -> None:
    before, rss_bytes, flood = len(shared_upstream.requests), gateway.rss_bytes, Flood()
    shared_upstream.script(Answer(headers={"content-type": "text/event-stream"}, body=flood))
    async with framing(gateway) as client:
        await client.send(TextMessage(json.dumps(create())))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood.held.wait(), 1)
        assert gateway.rss_bytes - rss_bytes < HELD_BYTES
        stopped_at = flood.taken_bytes
        while flood.taken_bytes < stopped_at + 2 * MIB:
            assert isinstance(await client.event(), TextMessage)
    await shared_upstream.requests[before].disconnected.wait()


async def test_what_waits_to_be_answered_holds_up_the_client(gateway: Gateway, shared_upstream: Upstream) -> None:
    gate, rss_bytes = asyncio.Event(), gateway.rss_bytes
    shared_upstream.script(held("openai-responses", gate))
    message, count = TextMessage(json.dumps(create("x" * (MIB - 1000)))), 60
    async with framing(gateway) as client:
        sending = asyncio.create_task(client.send(*[message] * count))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 1)
        assert gateway.rss_bytes - rss_bytes < HELD_BYTES
        gate.set()
        for _ in range(count):
            assert await client.answer() == "response.completed"
        await sending


# ---------------------------------------------------------------- whoever watches


async def test_a_script_may_change_what_the_client_says(
    scripted: Gateway, client: ClientSession, shared_upstream: Upstream
) -> None:
    async with opened(client, scripted) as socket:
        await socket.send_json(create("change me"))
        events = await answered(socket)
    assert shared_upstream.requests[-1].json["input"] == "changed"
    assert "response.in_progress" not in [event["type"] for event in events]
    await scripted.wait_for(r"-> WebSocket text message")


async def test_a_script_may_inject_messages_to_either_side(
    scripted: Gateway, client: ClientSession, shared_upstream: Upstream
) -> None:
    async with opened(client, scripted) as socket:
        await socket.send_json(create("inject to the client"))
        assert (await socket.receive_json()) == {"type": "injected"}
        await socket.send_json(create("inject"))
        assert (await answered(socket))[-1]["type"] == "response.completed"
    assert shared_upstream.requests[-1].json["input"] == "injected"


async def test_a_script_may_kill_it(scripted: Gateway) -> None:
    async with framing(scripted) as client:
        await client.send(TextMessage(json.dumps(create("kill me"))))
        assert await client.ended()


# ---------------------------------------------------------------- pages of AI Studio


async def test_a_page_serves_while_its_socket_is_open(gateway: Gateway, client: ClientSession) -> None:
    async def models() -> set[str]:
        async with client.get(f"{gateway.url}/v1beta/models", headers=BEARER) as answer:
            return {model["name"] for model in (await answer.json())["models"]}

    async def ask() -> tuple[int, str]:
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        path = "/v1beta/models/aistudio/gemini-2.5-pro:generateContent"
        async with client.post(gateway.url + path, headers=BEARER, json=body) as answer:
            return answer.status, await answer.text()

    before = await models()
    async with client.ws_connect(f"{gateway.url}/v1/ws?key={CLIENT_KEY}") as page:
        assert "models/gemini-2.5-pro" in await models() - before
        asking = asyncio.create_task(ask())
        call = await page.receive_json()
        body = native.text("gemini").whole.decode()
        await page.send_json({"id": call["id"], "type": "http_response", "payload": {"status": 200, "body": body}})
        status, text = await asking
        assert (status, json.loads(text)) == (200, json.loads(body))
    while await models() != before:
        pass
    assert (await ask())[0] == 404

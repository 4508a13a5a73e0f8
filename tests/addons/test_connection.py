"""The two ends of an exchange on real sockets: leaving, waiting, refusing, and input that is not HTTP at all."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from time import perf_counter
from typing import Literal, overload

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests import native
from tests.answers import Answer
from tests.calls import Call, ask, call, http1, message_of
from tests.conftest import Start
from tests.http2 import Http2Client, ResetByServer
from tests.processes import CLIENT_KEY, Gateway, config_for, credentials
from tests.streams import events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

type Protocol = Literal["HTTP/1.1", "HTTP/2"]

MIB = 1024 * 1024
LIMIT_BYTES = 50_000
HELD_BYTES = 40 * MIB
"""What may be on the way when nobody reads: sockets of the kernel on two connections, and the gateway's buffers."""
FLOOD_BYTES = 300 * MIB
LEAVING_S = 0.1


class Receiver:
    """An upstream that answers nothing by itself: the test reads its connections as far as it likes."""

    def __init__(self) -> None:
        self._connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def __aenter__(self) -> "Receiver":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.put_nowait((reader, writer))

    async def request(self) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """The head of the next request on a new connection, and the connection."""
        reader, writer = await self._connections.get()
        return await reader.readuntil(b"\r\n\r\n"), reader, writer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(start: Start, shared_upstream: Upstream, receiver: Receiver) -> Gateway:
    # Native calls, which have no model, go to the entry with the highest priority.
    to_the_receiver = credentials(receiver.url, "receiver-", priority=1)
    return await start(config_for(shared_upstream, to_the_receiver, max_request_body_bytes=LIMIT_BYTES))


@asynccontextmanager
async def connected(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def next_request(upstream: Upstream, before: int) -> asyncio.Event:
    """Wait for the request after the first `before` ones; return the event of its client leaving."""
    return (await upstream.received(before + 1))[before].disconnected


# ---------------------------------------------------------------- a client that leaves


type Leave = Callable[[], Awaitable[None]]


async def _over_http1(gateway: Gateway, asked: Call, stack: AsyncExitStack, *, reset: bool) -> Leave:
    _, writer = await stack.enter_async_context(connected(gateway))
    writer.write(http1(asked))

    async def leave() -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    return leave


async def _over_http2(gateway: Gateway, asked: Call, stack: AsyncExitStack, tls: SSLContext, *, reset: bool) -> Leave:
    client = await stack.enter_async_context(Http2Client(gateway.port, tls))
    stream = await client.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode())

    async def close() -> None:
        client.close()

    return stream.cancel if reset else close


@pytest.mark.parametrize("when", ["before the answer", "within the answer"])
@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
async def test_a_client_that_leaves_ends_the_upstream_call_at_once(
    gateway: Gateway,
    shared_upstream: Upstream,
    authority: Callable[[], SSLContext],
    protocol: Protocol,
    reset: bool,
    when: str,
) -> None:
    silent = {"before the answer": Answer(hang=True), "within the answer": held("anthropic", after=2)}[when]
    asked = call("anthropic", stream=True)
    took_s = []
    # The best of three: this machine may be busy with other tests.
    while len(took_s) < 3 and min(took_s, default=1.0) > LEAVING_S:
        async with AsyncExitStack() as stack:
            before = len(shared_upstream.requests)
            shared_upstream.script(silent)
            if protocol == "HTTP/1.1":
                leave = await _over_http1(gateway, asked, stack, reset=reset)
            else:
                leave = await _over_http2(gateway, asked, stack, authority(), reset=reset)
            disconnected = await next_request(shared_upstream, before)
            left_s = perf_counter()
            await leave()
            await disconnected.wait()
            took_s.append(perf_counter() - left_s)
    assert min(took_s) < LEAVING_S


async def test_a_stream_that_is_reset_leaves_the_others_of_its_connection_alone(
    gateway: Gateway, shared_upstream: Upstream, authority: Callable[[], SSLContext]
) -> None:
    gate = asyncio.Event()
    before = len(shared_upstream.requests)
    shared_upstream.script(held("anthropic", gate), Answer(hang=True))
    asked = call("anthropic", stream=True)
    body = json.dumps(asked.json).encode()
    async with Http2Client(gateway.port, authority()) as client:
        stays = await client.send("POST", asked.path, asked.headers, body)
        assert await stays.answered() == 200
        leaves = await client.send("POST", asked.path, asked.headers, body)
        disconnected = await next_request(shared_upstream, before + 1)
        await leaves.cancel()
        await disconnected.wait()
        gate.set()
        assert await stays.read() == b"".join(events("anthropic"))
    assert not shared_upstream.requests[before].disconnected.is_set()


async def test_a_client_that_leaves_within_its_upload_ends_the_upstream_call(
    gateway: Gateway, receiver: Receiver
) -> None:
    async with connected(gateway) as (_, writer):
        writer.write(upload_head(content_length="1000") + b"begun")
        _, up_reader, up_writer = await receiver.request()
        assert await up_reader.readuntil(b"begun")
    assert not (await up_reader.read()).endswith(b"0\r\n\r\n")
    up_writer.close()


# ---------------------------------------------------------------- back-pressure


@dataclass
class Flood(Sequence[bytes]):
    """A long stream of events, and how much of it was taken so far."""

    event: bytes = b'event: ping\ndata: {"type": "ping", "padding": "' + b"x" * 65_000 + b'"}\n\n'
    taken_bytes: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when more was taken than may be on the way while nobody reads."""

    def __len__(self) -> int:
        return FLOOD_BYTES // len(self.event)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(len(self)):
            yield self.event
            self.taken_bytes += len(self.event)
            if self.taken_bytes > HELD_BYTES:
                self.held.set()


async def never(event: asyncio.Event, within_s: float = 1.0) -> bool:
    """Whether an event stays away for a while."""
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return True
    return False


async def _read_over_http1(gateway: Gateway, asked: Call, stack: AsyncExitStack) -> Callable[[], Awaitable[bytes]]:
    reader, writer = await stack.enter_async_context(connected(gateway))
    writer.write(http1(asked))
    await reader.readuntil(b"\r\n\r\n")
    return lambda: reader.read(65536)


async def _read_over_http2(
    gateway: Gateway, asked: Call, stack: AsyncExitStack, tls: SSLContext
) -> Callable[[], Awaitable[bytes]]:
    client = await stack.enter_async_context(Http2Client(gateway.port, tls))
    stream = await client.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode())
    assert await stream.answered() == 200
    chunks = stream.chunks()
    return lambda: anext(chunks)


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
async def test_a_client_that_stops_reading_stops_the_upstream(
    gateway: Gateway, shared_upstream: Upstream, authority: Callable[[], SSLContext], protocol: Protocol
) -> None:
    flood = Flood()
    before = len(shared_upstream.requests)
    shared_upstream.script(Answer(headers=native.text("anthropic", stream=True).headers, body=flood))
    asked = call("anthropic", stream=True)
    rss_bytes = gateway.rss_bytes
    async with AsyncExitStack() as stack:
        if protocol == "HTTP/1.1":
            read = await _read_over_http1(gateway, asked, stack)
        else:
            read = await _read_over_http2(gateway, asked, stack, authority())
        assert await never(flood.held)
        assert gateway.rss_bytes - rss_bytes < HELD_BYTES
        # It goes on when the client does.
        stopped_at = flood.taken_bytes
        while flood.taken_bytes < stopped_at + 2 * MIB:
            assert await read()
    # And leaving while the gateway waits for the client is leaving, too.
    await shared_upstream.requests[before].disconnected.wait()
    assert gateway.rss_bytes - rss_bytes < HELD_BYTES


async def test_one_stream_that_is_not_read_does_not_hold_up_the_others(
    gateway: Gateway, shared_upstream: Upstream, authority: Callable[[], SSLContext]
) -> None:
    shared_upstream.script(Answer(headers=native.text("anthropic", stream=True).headers, body=Flood()))
    asked = call("anthropic", stream=True)
    body = json.dumps(asked.json).encode()
    async with Http2Client(gateway.port, authority(), window_bytes=16 * MIB) as client:
        unread = await client.send("POST", asked.path, asked.headers, body)
        assert await unread.answered() == 200
        other = await client.send("POST", asked.path, asked.headers, body)
        assert await other.read() == native.text("anthropic", stream=True, model="upstream-model").whole


# ---------------------------------------------------------------- uploads


def upload_head(path: str = "/v1/files", type: str = "multipart/form-data; boundary=b", **headers: str) -> bytes:
    """The head of an upload with the client's key."""
    key = {"authorization": f"Bearer {CLIENT_KEY}"}
    return http1(Call(path, key, {}), b"", content_type=type, **headers)


UPLOADS = {
    "form": ("/v1/files", "multipart/form-data; boundary=b", b"/v1/files"),
    "audio": ("/v1/audio/transcriptions", "multipart/form-data; boundary=b", b"/v1/audio/transcriptions"),
    "octets": ("/upload/v1beta/files?uploadType=media", "application/octet-stream", b"/upload/v1beta/files"),
    "octets of another type": ("/v1/videos", "video/mp4", b"/v1/videos"),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize("kind", UPLOADS)
async def test_an_upload_goes_upstream_while_it_arrives(
    gateway: Gateway, receiver: Receiver, kind: str, chunked: bool
) -> None:
    path, type, upstream_path = UPLOADS[kind]
    first, last = b"the first part;", b"x" * LIMIT_BYTES + b"the last part"
    async with connected(gateway) as (reader, writer):
        if chunked:
            writer.write(upload_head(path, type, transfer_encoding="chunked"))
            writer.write(_chunk(first))
        else:
            writer.write(upload_head(path, type, content_length=str(len(first + last))) + first)
        head, up_reader, up_writer = await receiver.request()
        assert head.startswith(b"POST " + upstream_path)
        assert CLIENT_KEY.encode() not in head
        assert await up_reader.readuntil(b"first part;")
        writer.write(_chunk(last) + _chunk(b"") if chunked else last)
        assert (await _rest(up_reader, b"the last part")).count(b"x") == LIMIT_BYTES
        up_writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        assert await reader.readuntil(b"\r\n\r\ndone")
        up_writer.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _rest(reader: asyncio.StreamReader, end: bytes) -> bytes:
    read = b""
    while end not in read:
        read += await reader.read(65536)
    return read


async def test_a_slow_upstream_slows_the_upload(gateway: Gateway, receiver: Receiver) -> None:
    piece, pieces = b"x" * MIB, 100
    sent, sent_too_much = 0, asyncio.Event()
    rss_bytes = gateway.rss_bytes

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            if sent > HELD_BYTES:
                sent_too_much.set()

    async with connected(gateway) as (reader, writer):
        writer.write(upload_head(content_length=str(len(piece) * pieces)))
        sending = asyncio.create_task(send(writer))
        _, up_reader, up_writer = await receiver.request()
        assert await never(sent_too_much)
        assert gateway.rss_bytes - rss_bytes < HELD_BYTES
        received = 0
        while received < len(piece) * pieces:
            received += len(await up_reader.read(MIB))
        await sending
        up_writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        assert await reader.readuntil(b"done")
        up_writer.close()
    assert gateway.rss_bytes - rss_bytes < HELD_BYTES


async def test_an_upload_that_is_refused_early_can_be_sent_to_its_end(gateway: Gateway, receiver: Receiver) -> None:
    async with connected(gateway) as (reader, writer):
        writer.write(upload_head(content_length=str(8 * MIB)) + b"begun")
        _, up_reader, up_writer = await receiver.request()
        assert await up_reader.readuntil(b"begun")
        up_writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        assert b" 400 " in await reader.readuntil(b"\r\n\r\nno")
        up_writer.close()
        writer.write(b"x" * (8 * MIB - len(b"begun")))
        await writer.drain()
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")


# ---------------------------------------------------------------- 413 and 100


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(length)


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_a_large_body_is_refused_while_its_rest_still_arrives(gateway: Gateway, chunked: bool) -> None:
    asked, rest = call("anthropic"), b"x" * 4 * MIB
    async with connected(gateway) as (reader, writer):
        begin = b"x" * (LIMIT_BYTES + 1)
        if chunked:
            writer.write(http1(asked, _chunk(begin), transfer_encoding="chunked"))
        else:
            writer.write(http1(asked, begin, content_length=str(len(begin + rest))))
        status, body = await _answer(reader)
        assert status == 413
        assert "max-request-body-bytes" in message_of("anthropic", 413, json.loads(body))
        writer.write(_chunk(rest) + _chunk(b"") if chunked else rest)
        await writer.drain()
        writer.write(http1(asked))
        assert (await _answer(reader))[0] == 200


async def test_a_large_body_is_refused_over_http2(gateway: Gateway, authority: Callable[[], SSLContext]) -> None:
    asked = call("anthropic")
    async with Http2Client(gateway.port, authority()) as client:
        stream = await client.send("POST", asked.path, asked.headers, b"x" * (LIMIT_BYTES + 1))
        assert await stream.answered() == 413
        assert message_of("anthropic", 413, json.loads(await stream.read()))
        again = await client.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode())
        assert await again.answered() == 200


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(gateway: Gateway) -> None:
    asked = call("anthropic")
    body = json.dumps(asked.json).encode()
    async with connected(gateway) as (reader, writer):
        head = http1(asked, b"", content_length=str(len(body)), expect="100-continue")
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await _answer(reader))[0] == 200


# ---------------------------------------------------------------- not HTTP


NOT_HTTP = {
    "noise": bytes(range(256)) * 8,
    "a line": b"hello\r\n\r\n",
    "nothing but a method": b"POST\r\n\r\n",
    "a proxy's request": b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a negative length": b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "lengths that differ": b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "two framings": b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 300_000,
    "HTTP/2 without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "half a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00",
    "a broken TLS greeting": b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c" + b"\xff" * 28,
    "an upload's bad chunk": http1(
        Call("/v1/files", {"x-api-key": CLIENT_KEY}, {}),
        b"3\r\nabc\r\nzz\r\n",
        content_type="multipart/form-data",
        transfer_encoding="chunked",
    ),
    "half a request": b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_input_that_is_not_http_harms_nobody_else(gateway: Gateway, client: ClientSession, sent: bytes) -> None:
    async with connected(gateway) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            # Not every end of such a connection is told.
            assert b" 200 " not in await asyncio.wait_for(reader.read(), 0.5)
    assert (await ask(client, gateway, call("anthropic"))).status == 200


async def test_http2_that_breaks_the_protocol_harms_nobody_else(
    gateway: Gateway, client: ClientSession, authority: Callable[[], SSLContext]
) -> None:
    async with Http2Client(gateway.port, authority()) as broken:
        stream = await broken.send("GET", "/healthz")
        assert await stream.answered() == 200
        broken.write(b"\x00\x00\x01" + bytes(6) + b"x")  # data of no stream
        other = await broken.send("GET", "/healthz")
        with pytest.raises((ConnectionResetError, ResetByServer)):
            await other.answered()
    assert (await ask(client, gateway, call("anthropic"))).status == 200

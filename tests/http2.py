"""An HTTP/2 client over TLS for tests, which can do what well-behaved ones hide: stop reading, and reset a stream.

Owns one connection and its streams; there are no redirects, codings or retries.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset


class ResetByServer(Exception):
    """The server broke the stream off."""


@dataclass
class Http2Stream:
    """One request and its answer, as far as it has come."""

    id: int
    connection: "Http2Client"
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: bool = False
    _chunks: list[DataReceived] = field(default_factory=list)

    async def answered(self) -> int:
        """Wait for the answer's headers; return its status."""
        await self.connection.until(lambda: bool(self.status) or self.reset)
        if not self.status:
            raise ResetByServer
        return self.status

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. What is not taken from here stays outside the stream's window.

        Raises ResetByServer where it does not end cleanly.
        """
        while True:
            await self.connection.until(lambda: bool(self._chunks) or self.ended or self.reset)
            while self._chunks:
                chunk = self._chunks.pop(0)
                await self.connection.acknowledge(chunk, self)
                yield chunk.data
            if self.reset:
                raise ResetByServer
            if self.ended:
                return

    async def read(self) -> bytes:
        """All of the body. Raises ResetByServer."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def cancel(self) -> None:
        """Tell the server that nobody waits any more (RST_STREAM)."""
        self.connection.h2.reset_stream(self.id, ErrorCodes.CANCEL)
        await self.connection.flush()

    def take(self, event: Event) -> None:
        """Note what the server sent."""
        match event:
            case ResponseReceived(headers=headers):
                self.headers = {bytes(name).decode(): bytes(value).decode() for name, value in headers or ()}
                self.status = int(self.headers[":status"])
            case DataReceived():
                self._chunks.append(event)
            case StreamEnded():
                self.ended = True
            case StreamReset():
                self.reset = True
            case _:
                pass


class Http2Client:
    """`async with Http2Client(port, tls) as client:` is one connection."""

    def __init__(self, port: int, tls: ssl.SSLContext, *, window_bytes: int = 0, tunnel_to: str = "") -> None:
        """tls: whom to trust; what it offers by ALPN is replaced by `h2`. window_bytes: added to the connection's.
        tunnel_to: the host that is meant, where there is a proxy at `port`.
        """
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self._window_bytes = window_bytes
        self._port = port
        self._tls = tls
        self._tunnel_to = tunnel_to
        self._streams: dict[int, Http2Stream] = {}
        self._progress = asyncio.Condition()
        self._closed = False

    async def __aenter__(self) -> Self:
        self._tls.set_alpn_protocols(["h2"])
        if self._tunnel_to:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writer.write(f"CONNECT {self._tunnel_to}:443 HTTP/1.1\r\n\r\n".encode())
            assert b" 200 " in await self._reader.readuntil(b"\r\n\r\n")
            await self._writer.start_tls(self._tls, server_hostname=self._tunnel_to)
        else:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        tls = self._writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "h2"
        self.h2.initiate_connection()
        if self._window_bytes:
            self.h2.increment_flow_control_window(self._window_bytes)
        await self.flush()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        self.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    def close(self) -> None:
        """Leave without a word."""
        self._writer.transport.abort()

    def write(self, data: bytes) -> None:
        """Write bytes that need not be HTTP/2."""
        self._writer.write(data)

    async def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Http2Stream:
        """Send a request; its body must fit into the initial window (64 KiB)."""
        stream = Http2Stream(self.h2.get_next_available_stream_id(), self)
        self._streams[stream.id] = stream
        pseudo = {":method": method, ":path": path, ":scheme": "https", ":authority": f"127.0.0.1:{self._port}"}
        self.h2.send_headers(stream.id, [*pseudo.items(), *(headers or {}).items()], end_stream=not body)
        for start in range(0, len(body), self.h2.max_outbound_frame_size):
            piece = body[start : start + self.h2.max_outbound_frame_size]
            self.h2.send_data(stream.id, piece, end_stream=start + len(piece) == len(body))
        await self.flush()
        return stream

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the server's bytes bring about. Raises ConnectionResetError where they end before."""
        async with self._progress:
            await self._progress.wait_for(lambda: condition() or self._closed)
        if not condition():
            raise ConnectionResetError

    async def acknowledge(self, chunk: DataReceived, stream: Http2Stream) -> None:
        """Open the windows again by what was read."""
        if chunk.flow_controlled_length:
            self.h2.increment_flow_control_window(chunk.flow_controlled_length)
            if not stream.ended and not stream.reset:
                self.h2.increment_flow_control_window(chunk.flow_controlled_length, stream.id)
            await self.flush()

    async def flush(self) -> None:
        """Write what HTTP/2 has to say."""
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                for event in self.h2.receive_data(data):
                    stream = self._streams.get(getattr(event, "stream_id", None) or 0)
                    if stream:
                        stream.take(event)
                await self.flush()
                async with self._progress:
                    self._progress.notify_all()
        finally:
            self._closed = True
            async with self._progress:
                self._progress.notify_all()

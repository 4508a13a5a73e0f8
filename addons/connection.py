"""The in-process upstream connection: mitmproxy's HTTP layer talks to it as to any server, and it is the gateway.

A claimed flow carries `GATEWAY` as the proxy of its server connection. `GatewayLayer`, which stands in for
mitmproxy's `HttpLayer`, then answers the stream's wish for a connection with one that is already open and
has no socket: requests sent into it start an exchange, and the exchange's `Reply` events come out of it as
if a server had answered. So flows, hooks, intercepting and killing stay mitmproxy's own, while the exchange
is free to call any number of upstreams.

What an exchange is and does is the business of `addons.gateway`; here are only its two ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

from mitmproxy import http
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.server_spec import ServerSpec
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.commands import CloseConnection, SendData, StartHook
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HTTPMode,
    SendHttp,
)
from mitmproxy.proxy.layers.http import HttpLayer as MitmHttpLayer
from mitmproxy.proxy.layers.http import HttpStream as MitmHttpStream
from mitmproxy.proxy.layers.http._base import HttpConnection, HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpRequestHeadersHook, HttpResponseHeadersHook
from mitmproxy.proxy.layers.http._http1 import Http1Server
from mitmproxy.proxy.layers.http._http2 import Http2Server

from addons.client_socket import SocketEvent
from addons.management import is_management
from addons.websocket import SocketHost, SocketLayer
from cliproxy.websocket import Conversation

PLACEHOLDER_HOST = "cliproxy.internal"
"""The reverse target that means "there is no other upstream than the gateway"."""

GATEWAY: ServerSpec = ("http", (PLACEHOLDER_HOST, 80))
"""`flow.server_conn.via` of a claimed flow."""


def is_claimed(flow: http.HTTPFlow) -> bool:
    """Whether the gateway answers this flow."""
    return flow.server_conn.via == GATEWAY


class Upload:
    """A request body that is passed on while it arrives.

    It is also the "socket writer" of the in-process connection: mitmproxy stops reading from the client
    while `drain()` waits, so a slow upstream slows the client down and memory stays bounded.
    """

    high_water_bytes = 256 * 1024

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False
        self._broken = False

    def feed(self, chunk: bytes) -> None:
        if not self._ended:
            self._chunks.append(chunk)
            self._size += len(chunk)
            self._arrived.set()

    def end(self) -> None:
        """The client sent everything."""
        self._ended = True
        self._arrived.set()

    def close(self) -> None:
        """Nobody reads any more: what still comes is thrown away."""
        self._ended = self._broken = True
        self._chunks.clear()
        self._size = 0
        self._arrived.set()
        self._taken.set()

    def is_closing(self) -> bool:
        return self._broken

    async def drain(self) -> None:
        while self._size > self.high_water_bytes:
            self._taken.clear()
            await self._taken.wait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            chunks, self._chunks = self._chunks, []
            self._size = 0
            self._taken.set()
            for chunk in chunks:
                yield chunk
            if self._broken:
                # A plain end would make half an upload look like a whole one.
                raise ConnectionResetError("the client left within its upload")
            if self._ended and not self._chunks:
                return


@dataclass
class Reply(events.ConnectionEvent):
    """What the exchange answers, as HTTP events of the response, in order."""

    http_events: Sequence[HttpEvent]

    def __repr__(self) -> str:
        return f"Reply({', '.join(type(e).__name__ for e in self.http_events)})"


@dataclass
class Leave(events.Event):
    """The gateway is about to end: the client's connection is closed where nothing goes on over it."""


class Exchange(Protocol):
    """A running exchange, as far as the connection is concerned."""

    def cancel(self) -> None:
        """The client is gone."""


class Host(SocketHost, Protocol):
    """What the layer needs of the addon that hosts the gateway."""

    @property
    def max_request_body_bytes(self) -> int: ...

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Claim the flow, or not."""
        ...

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Say in the answer what becomes of the connection."""
        ...

    def start_exchange(self, stream: "GatewayStream", connection: Server, upload: Upload | None) -> Exchange:
        """Begin answering `stream.flow`. `upload` is its body where that is not held in the flow."""
        ...


class GatewayConnection(HttpConnection):
    """The gateway, seen from mitmproxy's HTTP layer: the client side of an HTTP connection without a socket."""

    def __init__(self, context: Context, conn: Server, stream: "GatewayStream", forget: Callable[[], object]) -> None:
        """forget: called once, when neither side has anything more to say."""
        super().__init__(context, conn)
        self._server = conn
        self._stream = stream
        self._host = stream.http_layer.host
        self._forget = forget
        self._asked = False
        self._answered = False
        self._upload: Upload | None = None
        self._exchange: Exchange | None = None

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Reply):
            self._answered = isinstance(event.http_events[-1], ResponseEndOfMessage | ResponseProtocolError)
            for http_event in event.http_events:
                yield ReceiveHttp(http_event)
        else:
            self._receive(event)
        # An answer may be complete before the request is (413): then the rest of it is still to come.
        if self._asked and self._answered:
            self._forget()

    def _receive(self, event: events.Event) -> None:
        """Take an event of the request."""
        match event:
            case RequestHeaders(request=request):
                if request.stream:
                    self._upload = Upload()
                    self._exchange = self._host.start_exchange(self._stream, self._server, self._upload)
            case RequestData(data=data):
                if self._upload:
                    self._upload.feed(data)
            case RequestEndOfMessage():
                self._asked = True
                if self._upload:
                    self._upload.end()
                else:
                    self._exchange = self._host.start_exchange(self._stream, self._server, None)
            case RequestProtocolError():
                self._asked = self._answered = True
                if self._upload:
                    self._upload.close()
                if self._exchange:
                    self._exchange.cancel()
            case _:
                pass


class GatewayStream(MitmHttpStream):
    """mitmproxy's HTTP stream, which for claimed flows hands an oversized body on instead of holding it, and
    offers a flow to no addon when none would look at it."""

    conversation: Conversation | None = None
    """What goes on once the client has its WebSocket."""

    @cached_property
    def http_layer(self) -> "GatewayLayer":
        """The HTTP layer that this stream belongs to."""
        parent = self.context.layers[self.context.layers.index(self) - 1]
        assert isinstance(parent, GatewayLayer)
        return parent

    @property
    def is_tunnel(self) -> bool:
        # Before the request's headers there is no flow.
        flow = getattr(self, "flow", None)
        return flow is not None and flow.request.method == "CONNECT"

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        commands = super()._handle_event(event)
        if self.http_layer.host.watched:
            return (yield from commands)
        reply = None
        while True:
            try:
                command = commands.send(reply)
            except StopIteration:
                return None
            if isinstance(command, HttpRequestHeadersHook):
                self.http_layer.host.requestheaders(command.flow)
            elif isinstance(command, HttpResponseHeadersHook):
                self.http_layer.host.responseheaders(command.flow)
            if isinstance(command, StartHook) and is_claimed(self.flow):
                reply = None
            else:
                reply = yield command

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        if not request or not is_claimed_stream(self):
            return (yield from super().check_body_size(request))
        if len(self.request_body_buf) > self.http_layer.host.max_request_body_bytes:
            # Without a content-length the size shows only now. The exchange refuses it (413) while it arrives.
            held = bytes(self.request_body_buf)
            self.request_body_buf.clear()
            self.flow.request.stream = True
            yield from self.start_request_stream()
            yield from self.handle_event(RequestData(self.stream_id, held))
            return True
        return False

    def start_response_stream(self) -> layer.CommandGenerator[None]:
        # The parent's, without its log line: one a streamed answer costs as much as the answer's own hooks.
        if not is_claimed_stream(self):
            yield from super().start_response_stream()
            return
        assert self.flow.response
        yield SendHttp(ResponseHeaders(self.stream_id, self.flow.response, end_stream=False), self.context.client)
        self.server_state = self.state_stream_response_body

    def flow_done(self) -> layer.CommandGenerator[None]:
        if self.conversation is None or not self.flow.websocket:
            yield from super().flow_done()
            return
        # The parent's, with our layer in place of mitmproxy's.
        host = self.http_layer.host
        self.child_layer = SocketLayer(self.context, self.flow, self.stream_id, self.conversation, host)
        self._handle_event = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)


def is_claimed_stream(stream: MitmHttpStream) -> bool:
    # Before the request's headers there is no flow.
    flow = getattr(stream, "flow", None)
    return flow is not None and is_claimed(flow)


def declared_body_bytes(request: http.Request) -> int | None:
    """The size a request's headers announce; None for a chunked body or a nonsensical header."""
    try:
        size = expected_http_body_size(request)
    except ValueError:
        return None
    return None if size is None or size < 0 else size


class GatewayLayer(MitmHttpLayer):
    """mitmproxy's HTTP layer, in which a connection to `GATEWAY` needs no socket."""

    def __init__(self, context: Context, mode: HTTPMode, host: Host) -> None:
        super().__init__(context, mode)
        self.host = host
        self._progress: list[Callable[[], None]] = []

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Reply | SocketEvent | Leave) and (tunnel := self._tunnel()):
            # What answers is at its other end, in a layer like this one.
            yield from self.event_to_child(tunnel, event)
        elif isinstance(event, Reply):
            if event.connection not in self.connections:
                return  # The client left before the answer came.
            yield from super()._handle_event(event)
        elif isinstance(event, SocketEvent):
            if stream := self.streams.get(event.stream_id):
                yield from self.event_to_child(stream, event)
            else:
                event.taken()
        elif isinstance(event, Leave):
            yield from self._leave()
        else:
            yield from super()._handle_event(event)
            if self._progress and isinstance(event, events.ConnectionEvent):
                waiting, self._progress = self._progress, []
                for wake in waiting:
                    wake()

    def _tunnel(self) -> MitmHttpStream | None:
        """What a `CONNECT` made of the connection, where it is one of a proxy's clients."""
        if self.mode is HTTPMode.transparent:
            return None
        return next((s for s in self.streams.values() if isinstance(s, GatewayStream) and s.is_tunnel), None)

    def _within(self) -> "GatewayLayer | None":
        """The layer like this one at the other end of a tunnel."""
        tunnel = self._tunnel()
        layers = tunnel.context.layers if tunnel else ()
        return next((layer for layer in layers if isinstance(layer, GatewayLayer) and layer is not self), None)

    @property
    def is_free(self) -> bool:
        """Whether nothing goes on here: no request has begun to arrive, and all is sent."""
        if within := self._within():
            return within.is_free
        return not (self.streams or self._is_halfway)

    @property
    def is_busy(self) -> bool:
        """Whether a request for the gateway arrives here, or its answer is not all sent.

        Conversations are none, nor what an operator asks, which may go on for ever.
        """
        if within := self._within():
            return within.is_busy
        streams = [stream for stream in self.streams.values() if isinstance(stream, GatewayStream)]
        return self._is_halfway or any(
            is_claimed_stream(stream) and not stream.conversation and not is_management(stream.flow)
            for stream in streams
        )

    @property
    def _is_halfway(self) -> bool:
        """Whether there is more to a message than the streams know."""
        match self.connections.get(self.context.client):
            case Http1Server(buf=head):
                return bool(head)
            case Http2Server(h2_conn=connection):
                return bool(connection.stream_buffers)
            case _:
                return False

    def _leave(self) -> layer.CommandGenerator[None]:
        if not self.is_free:
            return
        connection = self.connections.get(self.context.client)
        if isinstance(connection, Http2Server):
            connection.h2_conn.close_connection()
            yield SendData(self.context.client, connection.h2_conn.data_to_send())
        yield CloseConnection(self.context.client)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        self.streams[stream_id] = GatewayStream(self.context.fork(), stream_id)
        yield from self.event_to_child(self.streams[stream_id], events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        if event.via != GATEWAY:
            yield from super().get_connection(event, reuse=reuse)
            return
        stream = self.command_sources.pop(event)
        assert isinstance(stream, GatewayStream)
        server = stream.flow.server_conn
        server.state = ConnectionState.OPEN
        forget = partial(self.connections.pop, server, None)
        self.connections[server] = GatewayConnection(self.context.fork(), server, stream, forget)
        yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (server, None)))

    async def drain_stream(self, stream_id: int, limit_bytes: int) -> None:
        """Wait until no more than `limit_bytes` of an HTTP/2 stream wait for the client's flow-control window.

        The socket's own buffer does not show them: mitmproxy keeps what a window does not admit.
        """
        connection = self.connections.get(self.context.client)
        if not isinstance(connection, Http2Server):
            return
        while sum(len(d.data) for d in connection.h2_conn.stream_buffers.get(stream_id, ())) > limit_bytes:
            progress = asyncio.Event()
            self._progress.append(progress.set)
            await progress.wait()

"""An exchange's way back to its client: the gateway's answer, sent into the flow that asked for it."""

import asyncio
import time
from contextlib import aclosing
from http import HTTPStatus

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Server
from mitmproxy.net.http.status_codes import RESPONSES
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.server import ConnectionHandler

from addons.connection import (
    GatewayLayer,
    GatewayStream,
    Reply,
    Upload,
)
from addons.streamed_body import StreamedBody
from addons.websocket import switching
from cliproxy.exchange import Answer, AnswerCut, ByteStream, ClientRequest, Headers
from cliproxy.secrets import SECRET_HEADERS, mask_header, mask_query
from cliproxy.websocket import Conversation
from cliproxy.wire.errors import GatewayError

UNSENT_BYTES = 256 * 1024
"""How much of a stream may wait for an HTTP/2 client's window before the upstream is no longer read."""


class RunningExchange:
    """An exchange's way back to its client."""

    task: "asyncio.Task[None]"

    def __init__(
        self,
        stream: GatewayStream,
        connection: Server,
        handler: ConnectionHandler,
        upload: Upload | None,
        keep_bytes: int,
    ) -> None:
        """keep_bytes: how much of a streamed answer, the newest, the flow shows afterwards."""
        self.flow = stream.flow
        self.upload = upload
        self._stream = stream
        self._connection = connection
        self._handler = handler
        self._keep_bytes = keep_bytes
        self._begun = False

    def cancel(self) -> None:
        """The client is gone."""
        self.task.cancel()

    async def send(self, answer: Answer) -> None:
        """Send an answer, waiting for the client as it goes."""
        id_ = self._stream.stream_id
        response = response_of(answer)
        self._begun = True
        if isinstance(answer.body, bytes):
            # mitmproxy would send a body whatever the method.
            body = b"" if self.flow.request.method == "HEAD" else answer.body
            await self._reply(ResponseHeaders(id_, response), ResponseData(id_, body), ResponseEndOfMessage(id_))
            return
        response.stream = True
        try:
            async with aclosing(answer.body) as body:
                await self._reply(ResponseHeaders(id_, response))
                await self._stream_out(body)
        except ConnectionError:
            return  # The client is gone; mitmproxy is about to learn it, too.
        except (AnswerCut, GatewayError) as error:
            await self._reply(ResponseProtocolError(id_, str(error), ErrorCode.GENERIC_SERVER_ERROR))
        else:
            await self._reply(ResponseEndOfMessage(id_))

    async def _stream_out(self, body: ByteStream) -> None:
        # mitmproxy does not keep what it streams; with this, views and files have it.
        shown = StreamedBody(self.flow, self._keep_bytes) if self._keep_bytes else None
        try:
            async for chunk in body:
                if self.flow.error:
                    raise AnswerCut("killed")
                await self._reply(ResponseData(self._stream.stream_id, chunk))
                if shown:
                    shown.feed(chunk)
                await self._drain()
        finally:
            if shown:
                shown.finish()

    async def switch(self, conversation: Conversation) -> None:
        """Let the client have its WebSocket."""
        self._stream.conversation = conversation
        await self.send(switching(self.flow.request))

    async def fail(self, answer: Answer) -> None:
        """Send an answer in place of one that broke off, or cut the connection where that one had begun."""
        if not self._begun:
            await self.send(answer)
        else:
            id_ = self._stream.stream_id
            await self._reply(ResponseProtocolError(id_, "the gateway failed", ErrorCode.GENERIC_SERVER_ERROR))

    async def _reply(self, *http_events: HttpEvent) -> None:
        await self._handler.server_event(Reply(self._connection, http_events))

    async def _drain(self) -> None:
        """Wait while the client does not read."""
        transport = self._handler.transports.get(self._handler.client)
        if transport and transport.writer:
            await transport.writer.drain()
        if self.flow.request.is_http2:
            await self._layer.drain_stream(self._stream.stream_id, UNSENT_BYTES)

    @property
    def _layer(self) -> GatewayLayer:
        return self._stream.http_layer

    def close(self) -> None:
        if self.upload:
            self.upload.close()
            self._handler.transports.pop(self._connection, None)


def client_request(flow: http.HTTPFlow, upload: Upload | None) -> ClientRequest:
    """A flow's request as the gateway takes it.

    The flow itself keeps masked credentials only: it may be saved or exported.
    """
    request = flow.request
    headers = Headers(
        (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in request.headers.fields
    )
    path, _, query = request.path.partition("?")
    body = upload if upload is not None else request.raw_content or b""
    peer = flow.client_conn.peername[0] if flow.client_conn.peername else ""
    trusted = flow.is_replay == "request"
    mask_credentials(request)
    return ClientRequest(request.method, path, query, headers, body, peer, trusted)


def mask_credentials(request: http.Request) -> None:
    for name in SECRET_HEADERS & {name.lower() for name in request.headers}:
        request.headers[name] = mask_header(request.headers[name])
    request.path = mask_query(request.path)


def response_of(answer: Answer) -> http.Response:
    """A mitmproxy response without a body, which travels in events of its own."""
    fields = [
        (name.encode("latin-1"), value.encode("utf-8", "surrogateescape")) for name, value in answer.headers.items()
    ]
    if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
        pass  # It has no body, and may not say how long it is.
    elif isinstance(answer.body, bytes):
        fields.append((b"content-length", str(len(answer.body)).encode()))
    elif "content-length" not in answer.headers:
        fields.append((b"transfer-encoding", b"chunked"))
    reason = RESPONSES.get(answer.status, "").encode()
    # Not `Response.make`, which would write a content-length of its own.
    return http.Response(b"HTTP/1.1", answer.status, reason, http.Headers(fields), None, None, time.time(), None)


def handler_of(flow: http.HTTPFlow) -> ConnectionHandler:
    proxyserver = ctx.master.addons.get("proxyserver")
    assert isinstance(proxyserver, Proxyserver)
    return proxyserver.connections[flow.client_conn.id]

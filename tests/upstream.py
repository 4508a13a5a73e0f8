"""A mock upstream on loopback for tests: records what it received, answers what the test scripted.

Owns sockets, timing and faults; the answers themselves are `tests.answers` and `tests.native`. Nothing here sleeps: a test
holds an answer back, or learns that its client has gone, through `asyncio.Event` objects.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from multidict import CIMultiDict

from tests import native
from tests.answers import Answer
from tests.certificates import server_context
from tests.native import Format


@dataclass(slots=True, eq=False)
class Received:
    """One request as it arrived; `body` is what was on the wire, still encoded."""

    method: str
    path: str
    query: str
    headers: CIMultiDict[str]
    """Looked up without regard to case; iterating shows the case that was sent."""
    body: bytes = b""
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the peer closed the connection before it had the whole answer."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Upstream:
    """`async with Upstream() as upstream:` listens on `upstream.url` until the block ends.

    Each request takes the next scripted answer. With none left it gets a native one for its path and `stream`
    field: the text "hello from upstream" in the format that the path names, or 404 for an unknown path.
    """

    url: str
    """Without a path or a trailing slash; with TLS, `certificates.client_context()` trusts it."""
    port: int

    def __init__(
        self, *, tls: bool | ssl.SSLContext = False, judge: Callable[[Received], Answer | None] | None = None
    ) -> None:
        """tls: a context shows a certificate of its own. judge: answers what a vendor would refuse, and whatever else is not for the script."""
        self.requests: list[Received] = []
        self._answers: deque[Answer] = deque()
        self._arrived = asyncio.Condition()
        self._tls = tls
        self._judge = judge or (lambda received: None)
        self._closing = False
        self._runner = web.ServerRunner(
            web.Server(self._serve, handler_cancellation=True, auto_decompress=False, access_log=None),
            shutdown_timeout=0.01,
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        context = (server_context() if self._tls else None) if isinstance(self._tls, bool) else self._tls
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        await self._runner.cleanup()

    def script(self, *scripted: Answer) -> None:
        """Queue answers for the next requests, first in, first out."""
        self._answers.extend(scripted)

    async def received(self, count: int = 1) -> Sequence[Received]:
        """Wait until `count` requests have arrived since the start; return all of them."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        # Not `rel_url`, which would spell percent-encoding its own way.
        path, _, query = request.raw_path.partition("?")
        received = Received(
            method=request.method,
            path=path,
            query=query,
            headers=CIMultiDict((name.decode(), value.decode("latin-1")) for name, value in request.raw_headers),
        )
        answered = False
        try:
            received.body = await request.read()
            async with self._arrived:
                self.requests.append(received)
                self._arrived.notify_all()
            answer = self._judge(received) or (self._answers.popleft() if self._answers else native_answer(received))
            response = await _send(request, answer)
            answered = True
            return response
        finally:
            if not answered and not self._closing:
                received.disconnected.set()


async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    if answer.hang:
        await asyncio.Event().wait()
    if answer.gate:
        await answer.gate.wait()
    if answer.raw is not None:
        return _close(request, answer.raw)
    pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if isinstance(answer.body, bytes):
        response.content_length = len(answer.body) + answer.cut
    else:
        response.enable_chunked_encoding()
    await response.prepare(request)
    for piece in pieces:
        if isinstance(piece, asyncio.Event):
            await piece.wait()
        else:
            await response.write(piece)
    if answer.cut:
        return _close(request, b"", reset=True)
    await response.write_eof()
    return response


def _close(request: web.BaseRequest, last: bytes, *, reset: bool = False) -> web.StreamResponse:
    """End the connection below HTTP; what aiohttp then tries to send is lost with it."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    transport.write(last)
    if reset:
        # No lingering makes close() send RST, and unlike abort() it first sends what is still buffered.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.close()
    return web.Response()


def native_answer(received: Received) -> Answer:
    """What the vendor whose path was called would say: "hello from upstream", streamed if it was asked to."""
    format = _format_of(received.path)
    if format is None or received.method != "POST":
        return native.error("openai-chat", 404, f"no such route: {received.method} {received.path}")
    if format != "gemini":
        asked = received.json
        return native.text(format, model=asked.get("model", ""), stream=bool(asked.get("stream")))
    model, _, verb = received.path.rpartition("/")[2].partition(":")
    if verb == "generateContent":
        return native.text(format, model=model)
    if "alt=sse" in received.query.split("&"):
        return native.text(format, model=model, stream=True)
    pieces = [b"[", native.text(format, model=model).whole, b"]"]
    return Answer(headers={"content-type": "application/json"}, body=pieces)


def _format_of(path: str) -> Format | None:
    if path.endswith("/chat/completions"):
        return "openai-chat"
    if path.endswith("/responses"):
        return "openai-responses"
    if path.endswith("/messages"):
        return "anthropic"
    if "/models/" in path and path.endswith((":generateContent", ":streamGenerateContent")):
        return "gemini"
    return None

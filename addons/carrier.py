"""Stands between an attempt and its transport: shows on a flow what passes, and lets it be paused, changed and killed.

    request ─▶ hooks, pause ─▶ changes taken over ─▶ transport ─▶ headers ─▶ pause, changes taken over ─▶ answer

An answer that is to be paused is read whole first, since it can only be changed while none of it has gone on. Others
stream, shown while they do.
"""

import logging
import time
from collections.abc import AsyncGenerator

from mitmproxy import ctx
from mitmproxy.addons.intercept import Intercept
from mitmproxy.hooks import Hook, UpdateHook
from mitmproxy.proxy.layers.http._hooks import HttpRequestHeadersHook, HttpRequestHook, HttpResponseHeadersHook

from addons.attempt_flow import AttemptFlow
from addons.editing import ShownResponse, shown_response, take_request
from addons.streamed_body import LEFT_OUT, StreamedBody
from cliproxy.exchange import Attempt, Transport, UpstreamRequest, UpstreamResponse
from cliproxy.wire.errors import UpstreamGarbled

logger = logging.getLogger(__name__)

MAX_PAUSED_BYTES = 16 * 1024 * 1024
"""The longest answer that is paused; a longer one passes on."""


class Carrier:
    """The `Transport` of one attempt while someone watches."""

    def __init__(self, flow: AttemptFlow, attempt: Attempt, transport: Transport, keep_bytes: int) -> None:
        """keep_bytes: how much of the answer, the newest, the flow shows."""
        self.flow = flow
        self._attempt = attempt
        self._transport = transport
        self._keep_bytes = keep_bytes
        self._body: StreamedBody | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        flow, secret = self.flow, self._attempt.secret_headers
        before = flow.request.copy()
        await _announce(HttpRequestHeadersHook(flow))
        # Whoever answers here guards mitmproxy's own door (`proxyauth`), which the client has passed.
        flow.response = None
        await _announce(HttpRequestHook(flow))
        await flow.decided()
        take_request(flow.request, before, request, secret)
        if flow.response:
            return ShownResponse(flow.response, None, secret)
        flow.request.timestamp_end = time.time()
        async with flow.alive():
            response = await self._transport.send(request)
        try:
            return await self._answered(response)
        except BaseException:
            response.close()
            raise

    async def _answered(self, response: UpstreamResponse) -> UpstreamResponse:
        flow, secret = self.flow, self._attempt.secret_headers
        flow.response = shown_response(response, secret)
        if response.peer:
            flow.server_conn.peername = response.peer
        self._body = StreamedBody(flow, self._keep_bytes)
        await _announce(HttpResponseHeadersHook(flow))
        watched = WatchedResponse(flow, response, self._body)
        return await self._paused(watched) if self._is_to_pause() else watched

    def _is_to_pause(self) -> bool:
        """Whether the user's filter wants the answer; of its body that is not known yet."""
        intercept = ctx.master.addons.get("intercept")
        return isinstance(intercept, Intercept) and intercept.should_intercept(self.flow)

    async def _paused(self, response: "WatchedResponse") -> UpstreamResponse:
        """The answer as it is when the user lets it go."""
        flow = self.flow
        held, size = list[bytes](), 0
        slices = response.chunks()
        async for piece in slices:
            held.append(piece)
            size += len(piece)
            if size > MAX_PAUSED_BYTES:
                logger.warning("An answer of more than %d bytes is not paused.", MAX_PAUSED_BYTES)
                return _Continued(response, held, slices)
        assert flow.response
        self.finish()
        flow.metadata.pop(LEFT_OUT, None)
        flow.response.raw_content = b"".join(held)
        flow.intercept()
        await ctx.master.addons.trigger_event(UpdateHook([flow]))
        await flow.decided()
        return ShownResponse(flow.response, response, self._attempt.secret_headers)

    def finish(self) -> None:
        """Nothing more will come of the answer."""
        if self._body:
            self._body.finish()
            self._body = None


class WatchedResponse:
    """A response whose body is shown while it is read."""

    def __init__(self, flow: AttemptFlow, response: UpstreamResponse, body: StreamedBody) -> None:
        self.status, self.reason = response.status, response.reason
        self.headers, self.peer = response.headers, response.peer
        self._flow = flow
        self._response = response
        self._body = body

    async def chunks(self) -> AsyncGenerator[bytes]:
        slices = self._response.chunks()
        while True:
            async with self._flow.alive():
                piece = await anext(slices, None)
            if piece is None:
                return
            self._body.feed(piece)
            yield piece

    async def read(self, limit_bytes: int) -> bytes:
        return await _read(self, limit_bytes)

    def close(self) -> None:
        self._response.close()


class _Continued:
    """A response of which some was read ahead."""

    def __init__(self, response: UpstreamResponse, begun: list[bytes], rest: AsyncGenerator[bytes]) -> None:
        self.status, self.reason = response.status, response.reason
        self.headers, self.peer = response.headers, response.peer
        self._response = response
        self._begun = begun
        self._rest = rest

    async def chunks(self) -> AsyncGenerator[bytes]:
        begun, self._begun = self._begun, []
        for piece in begun:
            yield piece
        async for piece in self._rest:
            yield piece

    async def read(self, limit_bytes: int) -> bytes:
        return await _read(self, limit_bytes)

    def close(self) -> None:
        self._response.close()


async def _read(response: UpstreamResponse, limit_bytes: int) -> bytes:
    pieces, size = list[bytes](), 0
    async for piece in response.chunks():
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            response.close()
            raise UpstreamGarbled(f"the upstream's answer exceeds {limit_bytes} bytes")
    return b"".join(pieces)


async def _announce(hook: Hook) -> None:
    await ctx.master.addons.handle_lifecycle(hook)

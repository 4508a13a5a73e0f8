"""Responses requests to upstreams that take them over a WebSocket, by HTTP where one does not.

A conversation keeps its socket from one request to the next. While it lives, only what is new is sent, with the id of
the response before, which the upstream remembers on that connection. Whoever asks sees none of this: a request with the
whole conversation goes in, and an answer as over HTTP comes out, server-sent events included.
"""

from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from cliproxy.exchange import Headers, UpstreamRequest, UpstreamResponse
from cliproxy.tasks import Tasks
from cliproxy.transport.client import HttpTransport, TimeLimits, WebSocket
from cliproxy.transport.whole import read_whole
from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamCut, UpstreamTimeout
from cliproxy.wire.model import Json
from cliproxy.wire.openai_responses.outcome import Outcome
from cliproxy.wire.sse import MAX_EVENT_BYTES, frame

BETA = "responses_websockets=2026-02-06"
"""What `openai-beta` says in the opening handshake."""

_HTTP_ONLY = frozenset({"accept", "accept-encoding", "content-type", "content-encoding", "content-length"})
_PASSING = frozenset({"previous_response_not_found", "websocket_connection_limit_reached"})
"""Codes of errors that the whole conversation on a new connection does not meet."""

Place = tuple[str, str, str | None]
"""URL, credential and proxy: requests that differ in these cannot share a socket."""


class UpstreamSockets:
    """The sockets of all conversations."""

    def __init__(self) -> None:
        self._conversations: dict[str, SocketTransport] = {}
        self._tasks = Tasks()

    def transport(self, conversation: str, http: HttpTransport) -> "SocketTransport":
        """What sends a conversation's requests. http: opens its sockets, and sends what cannot go over one."""
        known = self._conversations.get(conversation)
        if known is None or known.http is not http:
            if known:
                known.leave()
            known = self._conversations[conversation] = SocketTransport(http, self._tasks)
        return known

    def release(self, conversation: str) -> None:
        """The conversation is over."""
        if known := self._conversations.pop(conversation, None):
            known.leave()


class SocketTransport:
    """Sends the requests of one conversation."""

    def __init__(self, http: HttpTransport, tasks: Tasks) -> None:
        """tasks: hold what ends after it is no longer waited for."""
        self.http = http
        self._tasks = tasks
        self._line: Line | None = None
        self._is_asking = False
        self._refusing: set[Place] = set()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request and wait for the first event of its answer, or an error. Raises UpstreamFault."""
        place = request.url, request.headers.get("authorization", ""), request.proxy_url
        is_free = not self._is_asking and not (self._line and self._line.is_busy)
        body = _streamed(request) if is_free and place not in self._refusing else None
        if body is not None:
            self._is_asking = True
            try:
                if response := await self._ask(request, place, body):
                    return response
            finally:
                self._is_asking = False
            self._refusing.add(place)
        return await self.http.send(request)

    async def _ask(self, request: UpstreamRequest, place: Place, body: Json) -> UpstreamResponse | None:
        """Ask over the socket that there is, or a new one; None where the upstream wants none."""
        if self._line and self._line.place == place and (response := await self._line.ask(body)):
            return response
        self.leave()
        websocket = await self.http.open_websocket(_handshake(request), MAX_EVENT_BYTES)
        if websocket:
            self._line = Line(websocket, place, self.http.limits, self._tasks)
            return await self._line.ask(body)
        return None

    def leave(self) -> None:
        """Close the socket, if there is one."""
        if self._line:
            self._line.close()
            self._line = None


class Line:
    """One socket, and what was said over it."""

    def __init__(self, websocket: WebSocket, place: Place, limits: TimeLimits, tasks: Tasks) -> None:
        self.place = place
        self.is_busy = False
        """An answer is being read."""
        self._websocket = websocket
        self._limits = limits
        self._tasks = tasks
        self._is_closed = False
        self._was_used = False
        self._said: list[Any] = []
        """The conversation up to the last response, as the upstream remembers it."""
        self._response_id = ""

    async def ask(self, body: Json) -> UpstreamResponse | None:
        """Send a request; None where nobody hears it: the socket is closed, or the conversation forgotten.

        Raises UpstreamTimeout.
        """
        if self._is_closed:
            return None
        self.is_busy = True
        try:
            await self._websocket.send_str(json.dumps_text({"type": "response.create", **self._new(body)}))
            first = await self._next(self._limits.first_byte_s, "did not begin to answer", "first-byte")
        except (ConnectionError, aiohttp.ClientError, UpstreamCut):
            self.close()
            return None
        except BaseException:
            self.close()
            raise
        was_used, self._was_used = self._was_used, True
        outcome = Outcome()
        outcome.note(first)
        if outcome.type == "error" and outcome.status is not None:
            # The upstream forgets a conversation whose turn failed.
            self.is_busy, self._said = False, []
            refusal = SocketRefusal(outcome.status, json.loads(first), self.peer)
            return None if was_used and refusal.code in _PASSING else refusal
        return SocketResponse(self, body, first, outcome)

    def _new(self, body: Json) -> Json:
        """A request without what the upstream remembers of it."""
        said, items = self._said, body.get("input")
        if not said or not isinstance(items, list) or len(items) <= len(said):
            return body
        if [*map(_gist, items[: len(said)])] != said:
            return body
        return {**body, "input": items[len(said) :], "previous_response_id": self._response_id}

    async def next(self, outcome: Outcome) -> str:
        """The next event of the answer under way. Raises UpstreamCut, UpstreamTimeout."""
        event = await self._next(self._limits.idle_s, "sent nothing", "idle")
        outcome.note(event)
        return event

    def end(self, body: Json, outcome: Outcome) -> None:
        """The answer to `body` is complete."""
        self.is_busy = False
        items, response = body.get("input"), outcome.response
        self._said, self._response_id = [], ""
        if response and isinstance(items, list) and not body.get("previous_response_id"):
            self._said = [*map(_gist, items), *map(_gist, response["output"])]
            self._response_id = response["id"]

    async def _next(self, limit_s: float | None, what: str, limit: str) -> str:
        try:
            message = await self._websocket.receive(limit_s)
        except TimeoutError:
            raise UpstreamTimeout(f"the upstream {what} for {limit_s:g} s (timeouts.{limit}-seconds)") from None
        if message.type is aiohttp.WSMsgType.TEXT:
            return message.data
        if message.type is aiohttp.WSMsgType.BINARY:
            return message.data.decode("utf-8", "replace")
        raise UpstreamCut(f"the upstream closed its WebSocket ({self._websocket.close_code or 'without a word'})")

    @property
    def peer(self) -> tuple[str, int] | None:
        """The upstream's socket address."""
        name = self._websocket.get_extra_info("peername")
        return (name[0], name[1]) if name else None

    def close(self) -> None:
        """Give up; the upstream notices by the closing handshake."""
        if not self._is_closed:
            self._is_closed, self.is_busy = True, False
            self._tasks.start(self._websocket.close(), "close a WebSocket to an upstream")


class SocketResponse:
    """An `UpstreamResponse`: events that came over a WebSocket, as server-sent ones."""

    def __init__(self, line: Line, body: Json, first: str, outcome: Outcome) -> None:
        """body: the request's. outcome: has noted the first event."""
        self.status = 200
        self.reason = "over WebSocket"
        self.headers = Headers({"content-type": "text/event-stream"})
        self.peer = line.peer
        self._line = line
        self._body = body
        self._first = first
        self._outcome = outcome

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            yield frame(_one_line(self._first), self._outcome.type)
            while not self._outcome.ended:
                event = await self._line.next(self._outcome)
                yield frame(_one_line(event), self._outcome.type)
            self._line.end(self._body, self._outcome)
        finally:
            self.close()

    async def read(self, limit_bytes: int) -> bytes:
        return await read_whole(self, limit_bytes)

    def close(self) -> None:
        # What is left of an answer would be taken for the beginning of the next one.
        if self._line.is_busy:
            self._line.close()


class SocketRefusal:
    """An `UpstreamResponse`: an error event that came in place of an answer, as an error status."""

    def __init__(self, status: int, event: Json, peer: tuple[str, int] | None) -> None:
        error, stated = event.get("error"), event.get("headers")
        self.status = status
        self.reason = "over WebSocket"
        self.headers = Headers({"content-type": "application/json"})
        for name, value in stated.items() if isinstance(stated, dict) else ():
            if name.lower() not in _HTTP_ONLY and isinstance(value, str | int):
                self.headers[name] = str(value)
        self.peer = peer
        self.code = error.get("code") if isinstance(error, dict) else None
        self._body = json.dumps({"error": error})

    async def chunks(self) -> AsyncGenerator[bytes]:
        yield self._body

    async def read(self, limit_bytes: int) -> bytes:
        return self._body

    def close(self) -> None:
        pass


def _streamed(request: UpstreamRequest) -> Json | None:
    """The body of a request that a WebSocket can carry: one for a streamed response."""
    if not isinstance(request.body, bytes):
        return None
    try:
        body = json.loads_object(request.body, "the body")
    except ValueError:
        return None
    # Whatever comes over a WebSocket is a stream.
    return body if body.pop("stream", False) is True else None


def _handshake(request: UpstreamRequest) -> UpstreamRequest:
    headers = Headers((name, value) for name, value in request.headers.items() if name.lower() not in _HTTP_ONLY)
    headers["OpenAI-Beta"] = ", ".join(filter(None, (headers.get("openai-beta"), BETA)))
    return UpstreamRequest("GET", request.url, headers, None, request.proxy_url)


def _gist(item: Any) -> Any:
    """What of an item is the same when it comes back: clients and gateways leave out the rest, or fill it in."""
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in item.items() if name not in ("id", "status") and value is not None}


def _one_line(event: str) -> bytes:
    if "\n" in event or "\r" in event:
        return json.dumps(json.loads(event))
    return event.encode()

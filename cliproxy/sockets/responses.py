"""Responses over a WebSocket: each message of the client is a request, each event of the answer a message back.

A request is asked as if it had come by POST, so that whoever serves those serves these: any upstream, with failover.
What was said before is kept here and put before what is new, since a client sends only that, with the id of the
response which it goes on from. The protocol is OpenAI's WebSocket mode of the Responses API, as Codex speaks it.
"""

from contextlib import aclosing
from uuid import uuid4

from cliproxy.exchange import Answer, AnswerCut, ByteStream, ClientRequest, Headers
from cliproxy.sockets.events import Events, error_event, failure_event, prewarmed_events, whole_events
from cliproxy.transcripts import Transcripts
from cliproxy.transport.websocket import UpstreamSockets
from cliproxy.websocket import Ask, CloseCode, MessageTooLarge, Socket
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault, GatewayError, UpstreamCut
from cliproxy.wire.model import Json

BETA = "responses_websockets"
"""What `openai-beta` says in the opening handshake, of the WebSocket mode itself."""

_PATH = "/v1/responses"
_OWNER = ""
_MAX_RESPONSES = 32
"""Of one conversation that can be gone on from; clients go on from the last one."""
_MAX_SHOWN_CHARS = 80


class ResponsesConversation:
    """One client's socket."""

    silence_limit_s = None

    def __init__(self, handshake: ClientRequest, ask: Ask, sockets: UpstreamSockets, max_message_bytes: int) -> None:
        """ask: answers each of the requests. sockets: those to upstreams, of which this conversation may have one."""
        self.max_message_bytes = max_message_bytes
        self._id = uuid4().hex
        self._handshake = handshake
        self._headers = _request_headers(handshake.headers)
        self._ask = ask
        self._sockets = sockets
        self._transcripts = Transcripts(max_entries=_MAX_RESPONSES)
        self._settings: Json = {}
        """The fields of the last request but what was said."""
        self._last = ""
        """The id of the last response."""

    async def converse(self, socket: Socket) -> None:
        """Answer one request after the other, until the client leaves or sends one that is too large."""
        try:
            while (message := await socket.receive()) is not None:
                await self._reply(message, socket)
        except MessageTooLarge:
            limit = f"the message exceeds {self.max_message_bytes} bytes (max-request-body-bytes)"
            await socket.send(error_event(ClientFault(limit, status=413, code="request_too_large")))
            await socket.close(CloseCode.TOO_LARGE, "message too large")
        finally:
            self._sockets.release(self._id)

    async def _reply(self, message: str | bytes, socket: Socket) -> None:
        try:
            if (body := self._read(message)) is not None:
                await self._respond(body, socket)
        except GatewayError as error:
            await socket.send(error_event(error))

    # ------------------------------------------------------------ requests

    def _read(self, message: str | bytes) -> Json | None:
        """The request's body; None for a message that asks nothing. Raises ClientFault."""
        try:
            body = json.loads_object(message, "a message")
        except ValueError as error:
            raise ClientFault(f"the message is not a JSON object: {error}") from None
        match body.pop("type", None):
            case "response.create":
                pass
            case "response.append":
                body = self._appended(body)
            case "response.processed":
                # Codex says what it is done with.
                return None
            case other:
                raise ClientFault(
                    f"{other!r:.{_MAX_SHOWN_CHARS}} is no type of message: send response.create", param="type"
                )
        # Here every answer is a stream in the foreground.
        return {name: value for name, value in body.items() if name not in ("stream", "background")}

    def _appended(self, body: Json) -> Json:
        """A request that goes on from the last response, with the settings of the last request."""
        if not self._last:
            raise ClientFault("response.append needs a response to go on from: send response.create", param="type")
        return {**self._settings, **body, "previous_response_id": self._last}

    def _whole_body(self, body: Json) -> bytes:
        """The body as it would come by POST, with all of the conversation. Raises ClientFault."""
        sent = json.dumps({**body, "stream": True})
        previous = body.get("previous_response_id")
        if not isinstance(previous, str) or not previous:
            return sent
        if not self._transcripts.holds(_OWNER, previous) and body.get("store") is False:
            raise ClientFault(
                f"the response {previous[:_MAX_SHOWN_CHARS]!r} was not given on this connection: "
                "send the whole conversation in `input`, without previous_response_id",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return self._transcripts.expanded_body(_OWNER, sent)

    # ------------------------------------------------------------ answers

    async def _respond(self, body: Json, socket: Socket) -> None:
        if body.pop("generate", True) is False:
            events = Events()
            await socket.send(*events.feed(prewarmed_events(body)))
            self._remember(body, events)
            return
        handshake = self._handshake
        request = ClientRequest(
            "POST", _PATH, handshake.query, self._headers.copy(), self._whole_body(body), handshake.peer,
            handshake.trusted, self._id, handshake.intercepted,
        )  # fmt: skip
        answer = await self._ask(request)
        events = Events()
        if answer.status != 200:
            await socket.send(failure_event(answer))
        elif isinstance(answer.body, bytes):
            await socket.send(*events.feed(_as_stream(answer)))
        else:
            await _stream(answer.body, events, socket)
        self._remember(body, events)

    def _remember(self, body: Json, events: Events) -> None:
        """Keep what was said, so that the client can go on from it."""
        response = events.outcome.response
        if response is None:
            return
        self._transcripts.keep(_OWNER, body, response)
        self._last = response["id"]
        self._settings = {name: body[name] for name in body.keys() - {"input", "previous_response_id"}}


async def _stream(body: ByteStream, events: Events, socket: Socket) -> None:
    """Pass the events of an answer on while they come."""
    try:
        async with aclosing(body):
            async for chunk in body:
                if messages := events.feed(chunk):
                    await socket.send(*messages)
        if messages := events.finish():
            await socket.send(*messages)
        if not events.outcome.ended:
            raise UpstreamCut
    except AnswerCut as cut:
        raise UpstreamCut(str(cut)) from None


def _as_stream(answer: Answer) -> bytes:
    """A whole answer as the events that a stream would have had."""
    assert isinstance(answer.body, bytes)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        return answer.body
    return whole_events(json.loads_object(answer.body, "the answer"))


def _request_headers(handshake: Headers) -> Headers:
    """The headers for requests: those of the opening handshake without what concerns the WebSocket."""
    headers = Headers()
    for name, value in handshake.items():
        lower = name.lower()
        if lower == "openai-beta":
            value = ", ".join(beta for beta in map(str.strip, value.split(",")) if not beta.startswith(BETA))
        if value and lower not in ("connection", "upgrade") and not lower.startswith("sec-websocket-"):
            headers.add(name, value)
    # What is in a message is not compressed by whoever made it.
    headers.update({"content-type": "application/json", "accept-encoding": "identity"})
    return headers

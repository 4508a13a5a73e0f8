"""The relay to pages of Google AI Studio: each that opens a WebSocket here is a credential for as long as it is open.

Messages are JSON objects with `id`, `type` and `payload`, as CLIProxyAPI's pages speak them. The gateway sends
`http_request`s and gets `http_response`, or `stream_start`, `stream_chunk`s and `stream_end`, or `error`, each with the
id of its request; `cancel` says that nobody waits for an answer any more. `ping` is answered with `pong`.
"""

import asyncio
import secrets
import string
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from cliproxy.accounts.place import place_of
from cliproxy.config.schema import Config
from cliproxy.credentials.record import Account, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.members import Members
from cliproxy.providers.aistudio import VENDOR
from cliproxy.routing.offers import offered_models
from cliproxy.routing.registry import Registry
from cliproxy.tasks import Tasks
from cliproxy.transport.client import TimeLimits
from cliproxy.transport.whole import read_whole
from cliproxy.websocket import CloseCode, MessageTooLarge, Socket
from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamCut, UpstreamFault, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from cliproxy.wire.fields import object_of, text_of
from cliproxy.wire.gemini.framing import ArrayParser
from cliproxy.wire.model import Json
from cliproxy.wire.sse import frame

PROVIDER = VENDOR.name
MIB = 1024 * 1024
MAX_MESSAGE_BYTES = 64 * MIB
MAX_UNREAD_BYTES = 64 * MIB
"""Of one answer that whoever asked does not read: the others of the page shall not wait for it."""
SILENCE_LIMIT_S = 60.0

_ALPHABET = string.ascii_lowercase + string.digits
_NAME_CHARS = 16
_NOT_RELAYED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""The browser has undone them."""


class Relay:
    """Lets pages in, under one configuration."""

    def __init__(self, config: Config, registry: Registry, members: Members, limits: TimeLimits) -> None:
        """limits: for the beginning of an answer, and for the gaps in it."""
        self._config = config
        self._registry = registry
        self._members = members
        self._limits = limits

    def page(self) -> "Page":
        """The conversation with one page."""
        name = f"{PROVIDER}-{''.join(secrets.choice(_ALPHABET) for _ in range(_NAME_CHARS))}"
        return Page(self._credential(PageAccount(name, name)), self._members, self._limits)

    def _credential(self, account: Account) -> Credential:
        """What a page is worth, as any account of the vendor's."""
        config = self._config
        excluded = config.oauth_excluded_models.get(PROVIDER, ())
        aliases = config.oauth_model_alias.get(PROVIDER, ())
        return Credential(
            PROVIDER,
            VENDOR.formats,
            place_of(VENDOR, config).base_url,
            models=offered_models(PROVIDER, "", aliases, excluded, self._registry),
            excluded=tuple(pattern.lower() for pattern in excluded),
            cools=not config.disable_cooling,
            error_rules=config.oauth_request_scoped_errors.get(PROVIDER, ()),
            dialect=PROVIDER,
            account=account,
        )


@dataclass(slots=True)
class PageAccount:
    """The login behind a page, which stays in the browser."""

    id: str
    label: str
    token: str = field(default="", init=False)
    fields: Mapping[str, Any] = field(default_factory=dict, init=False)

    async def ready(self) -> None:
        """The browser sees to it."""

    async def renewed(self, refused: str) -> bool:
        return False


class Page:
    """One page: the conversation on its socket, and the transport over it."""

    max_message_bytes = MAX_MESSAGE_BYTES
    silence_limit_s = SILENCE_LIMIT_S

    def __init__(self, credential: Credential, members: Members, limits: TimeLimits) -> None:
        self._credential = credential
        self._members = members
        self._limits = limits
        self._socket: Socket | None = None
        self._calls: dict[str, PageResponse] = {}
        self._tasks = Tasks()

    # ------------------------------------------------------------ the page's side

    async def converse(self, socket: Socket) -> None:
        """Be a credential until the page leaves."""
        self._socket = socket
        self._members.join(self._credential, self)
        try:
            while (message := await socket.receive()) is not None:
                await self._take(message, socket)
        except MessageTooLarge:
            await socket.close(CloseCode.TOO_LARGE, f"a message exceeds {MAX_MESSAGE_BYTES} bytes")
        finally:
            self._socket = None
            self._members.leave(self._credential.id)
            for call in [*self._calls.values()]:
                call.fail(UpstreamCut("the page of AI Studio has left"))

    async def _take(self, message: str | bytes, socket: Socket) -> None:
        try:
            said = json.loads_object(message, "a message")
        except ValueError:
            return  # Not one of a page's; nobody waits for it.
        id_, kind = text_of(said, "id"), text_of(said, "type")
        if kind == "ping":
            await socket.send(json.dumps_text({"id": id_ or "", "type": "pong"}))
        elif call := self._calls.get(id_ or ""):
            call.take(kind or "", object_of(said, "payload"))

    # ------------------------------------------------------------ the gateway's side

    async def send(self, request: UpstreamRequest) -> "PageResponse":
        """Have the page make a call, and wait for its answer to begin. Raises UpstreamFault."""
        response = PageResponse(uuid4().hex, request.url, self._limits.idle_s, self._end)
        self._calls[response.id] = response
        try:
            await self._tell(response.id, "http_request", _payload(request))
            async with asyncio.timeout(self._limits.first_byte_s):
                await response.begun.wait()
        except TimeoutError:
            response.close()
            limit_s = self._limits.first_byte_s
            raise UpstreamTimeout(
                f"the page of AI Studio did not begin to answer within {limit_s:g} s (timeouts.first-byte-seconds)"
            ) from None
        except BaseException:
            response.close()
            raise
        if response.status:
            return response
        response.close()
        raise response.failure or UpstreamCut()

    async def _tell(self, id_: str, kind: str, payload: Json) -> None:
        if self._socket is None:
            raise UpstreamUnreachable("the page of AI Studio has left")
        try:
            await self._socket.send(json.dumps_text({"id": id_, "type": kind, "payload": payload}))
        except ConnectionError:
            raise UpstreamUnreachable("the page of AI Studio has left") from None

    def _end(self, response: "PageResponse") -> None:
        """Nobody waits for a response any more."""
        if self._calls.pop(response.id, None) and not response.is_complete and self._socket:
            self._tasks.start(self._cancel(response.id), "cancel a page's call")

    async def _cancel(self, id_: str) -> None:
        try:
            await self._tell(id_, "cancel", {})
        except UpstreamUnreachable:
            pass  # Then there is nothing to cancel.


class PageResponse:
    """An `UpstreamResponse` that comes in messages."""

    def __init__(self, id_: str, url: str, idle_s: float | None, ended: Callable[["PageResponse"], None]) -> None:
        """ended: told when nobody reads it any more."""
        self.id = id_
        self.status = 0
        """0: it has not begun, or failed before."""
        self.reason = ""
        self.headers: Headers = Headers()
        self.peer: tuple[str, int] | None = None
        self.begun = asyncio.Event()
        self.is_complete = False
        self.failure: UpstreamFault | None = None
        self._ended = ended
        self._idle_s = idle_s
        self._is_stream = "alt=sse" in url
        self._objects = ArrayParser()
        self._pieces: list[bytes] = []
        self._unread_bytes = 0
        self._arrived = asyncio.Event()

    # ------------------------------------------------------------ what the page says

    def take(self, kind: str, payload: Json) -> None:
        """One message about it."""
        match kind:
            case "stream_start":
                self._begin(payload)
            case "stream_chunk":
                self._begin({})
                self._add(text_of(payload, "data") or "")
            case "http_response":
                self._begin(payload)
                self._add(text_of(payload, "body") or "")
                self._complete()
            case "stream_end":
                self._begin({})
                self._complete()
            case "error":
                self._refuse(payload)
            case _:
                pass

    def fail(self, failure: UpstreamFault) -> None:
        """Nothing more will come."""
        self.failure = self.failure or failure
        self.begun.set()
        self._arrived.set()

    def _begin(self, payload: Json) -> None:
        if self.status:
            return
        self.status = _status(payload) or HTTPStatus.OK
        for name, values in object_of(payload, "headers").items():
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and name.lower() not in _NOT_RELAYED:
                    self.headers.add(name, value)
        streams = self._is_stream and self.status < HTTPStatus.MULTIPLE_CHOICES
        self.headers.setdefault("content-type", "text/event-stream" if streams else "application/json")
        self.begun.set()

    def _add(self, text: str) -> None:
        piece = text.encode("utf-8", "replace")
        if self._is_stream and self.status < HTTPStatus.MULTIPLE_CHOICES:
            # Pages cut streams as they like, some at the line ends, which are then missing.
            piece = b"".join(frame(_one_line(found)) for found in self._objects.feed(piece))
        if not piece:
            return
        self._pieces.append(piece)
        self._unread_bytes += len(piece)
        if self._unread_bytes > MAX_UNREAD_BYTES:
            self.fail(UpstreamGarbled(f"nobody has read {MAX_UNREAD_BYTES} bytes of the answer"))
            self._ended(self)
        self._arrived.set()

    def _complete(self) -> None:
        self.is_complete = True
        self._arrived.set()
        self._ended(self)

    def _refuse(self, payload: Json) -> None:
        """The page could not make the call, or not bring it to its end."""
        message, status = text_of(payload, "error") or "the page of AI Studio failed", _status(payload)
        self.is_complete = True
        if self.status or status is None or status < HTTPStatus.BAD_REQUEST:
            self.fail(UpstreamCut(message) if self.status else UpstreamFault(message))
            self._ended(self)
            return
        body = {"error": {"code": status, "message": message}}
        self.take("http_response", {"status": status, "body": json.dumps_text(body)})

    # ------------------------------------------------------------ whoever reads it

    async def chunks(self) -> AsyncGenerator[bytes]:
        while True:
            await self._more()
            self._arrived.clear()
            pieces, self._pieces, self._unread_bytes = self._pieces, [], 0
            if pieces:
                yield b"".join(pieces)
            elif self.failure:
                raise self.failure
            elif self.is_complete:
                return

    async def _more(self) -> None:
        if self._pieces or self.failure or self.is_complete:
            return
        try:
            async with asyncio.timeout(self._idle_s):
                await self._arrived.wait()
        except TimeoutError:
            self.close()
            raise UpstreamTimeout(
                f"the page of AI Studio sent nothing for {self._idle_s:g} s (timeouts.idle-seconds)"
            ) from None

    async def read(self, limit_bytes: int) -> bytes:
        return await read_whole(self, limit_bytes)

    def close(self) -> None:
        self._ended(self)


def _payload(request: UpstreamRequest) -> Json:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name, []).append(value)
    body = request.body.decode("utf-8", "replace") if isinstance(request.body, bytes) else ""
    sent_at = datetime.now(UTC).isoformat()
    return {"method": request.method, "url": request.url, "headers": headers, "body": body, "sent_at": sent_at}


def _status(payload: Json) -> int | None:
    status = payload.get("status")
    return int(status) if isinstance(status, int | float) and 100 <= status <= 599 else None


def _one_line(found: bytes) -> bytes:
    return json.dumps(json.loads(found)) if b"\n" in found or b"\r" in found else found

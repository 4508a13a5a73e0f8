"""What happens between a client and the gateway: the request, its attempts upstream, the answer.

These are records. `cliproxy.gateway` fills them in; whoever watches (mitmweb's attempt flows, the usage
ledger) reads them through an `Observer`.
"""

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from multidict import CIMultiDict

from cliproxy.config.schema import ClientKey, Treatment
from cliproxy.wire.errors import UpstreamFault
from cliproxy.wire.model import Format, Usage

Headers = CIMultiDict[str]


@dataclass(slots=True)
class ClientRequest:
    """A client's HTTP request. `body` is bytes as received, or its chunks where they are passed on unheld."""

    method: str
    path: str
    """Without the query, as sent (percent-encoded)."""
    query: str
    """Without the question mark, as sent."""
    headers: Headers
    body: bytes | AsyncIterable[bytes]
    peer: str = ""
    """The client's IP address, of the socket."""
    trusted: bool = False
    """Needs no client key: the operator replays it in mitmweb, or an intercepted tool on this machine sent it."""
    conversation: str = ""
    """The id of the WebSocket that it came over; empty: it came by itself."""
    intercepted: "Intercepted | None" = None
    """Where it was going; None: to this gateway."""


@dataclass(frozen=True, slots=True)
class Intercepted:
    """A vendor's API that a tool called, knowing nothing of this gateway."""

    treatment: Treatment
    provider: str
    url: str
    """As it was called, without the query."""


class ByteStream(Protocol):
    """A body that is still coming. Whoever holds it reads it to its end or closes it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    def aclose(self) -> Awaitable[None]: ...


@dataclass(slots=True)
class Answer:
    """What the client gets. A streaming body that raises `AnswerCut` must not look complete to the client."""

    status: int
    headers: Headers
    body: bytes | ByteStream

    async def close(self) -> None:
        """Give the answer up unread."""
        if not isinstance(self.body, bytes):
            await self.body.aclose()


class EmptyAnswer(UpstreamFault):
    """The upstream said nothing at all: worth another try, and the client's answer when there is none."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("the upstream's answer is empty")
        self.answer = answer


class AnswerCut(Exception):
    """The answer's body cannot go on, and its format has no way left to say so: abort the connection."""


@dataclass(slots=True)
class UpstreamRequest:
    """One HTTP request to an upstream. Header values hold secrets: show `masked()` ones only."""

    method: str
    url: str
    headers: Headers
    body: bytes | AsyncIterable[bytes] | None
    proxy_url: str | None = None
    """None: as the environment of the transport says; `direct`: no proxy."""


class UpstreamResponse(Protocol):
    """A response whose body has not been read yet."""

    status: int
    reason: str
    headers: Headers
    peer: tuple[str, int] | None

    def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it arrives, each slice all that has arrived. Raises UpstreamCut, UpstreamTimeout."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamGarbled beyond the limit, else as `chunks`."""
        ...

    def close(self) -> None:
        """Give up; aborts the call if it is still going on."""
        ...


class Transport(Protocol):
    """Whatever can send an `UpstreamRequest`."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Wait for the response's headers. Raises UpstreamFault."""
        ...


CLIENT_LEFT = "the client went away"
"""The `error` of an attempt that was given up: it says nothing of whoever was asked."""


@dataclass(slots=True)
class Attempt:
    """One upstream call of an exchange. Times are UTC epoch seconds; 0.0 means "did not happen"."""

    number: int
    provider: str
    credential: str
    """The credential's label; never its secret."""
    model: str
    """As the upstream calls it; empty where the call has no model."""
    format: Format | None
    request: UpstreamRequest
    secret_headers: frozenset[str] = frozenset()
    """Lower-case names of the request headers whose values must not be shown."""
    started_s: float = field(default_factory=time.time)
    headers_s: float = 0.0
    first_byte_s: float = 0.0
    ended_s: float = 0.0
    status: int = 0
    reason: str = ""
    response_headers: Headers = field(default_factory=CIMultiDict)
    response_bytes: int = 0
    """All bytes received."""
    peer: tuple[str, int] | None = None
    """The upstream's socket address."""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    error: str = ""
    """Why it failed; empty when it did not."""


class Observer(Protocol):
    """Someone who watches an exchange."""

    def carrier(self, exchange: "Exchange", attempt: Attempt, transport: Transport) -> Transport:
        """What sends the attempt's request: `transport`, or something before it that sees and may change what passes.

        What is changed of the request is changed on `attempt.request`.
        """
        ...

    def attempt_ended(self, exchange: "Exchange", attempt: Attempt) -> None:
        """Nothing more will come, for whatever reason."""
        ...


class NoObserver:
    """Nobody watches."""

    def carrier(self, exchange: "Exchange", attempt: Attempt, transport: Transport) -> Transport:
        return transport

    def attempt_ended(self, exchange: "Exchange", attempt: Attempt) -> None:
        return


@dataclass(slots=True)
class Exchange:
    """A client's request with everything that came of it."""

    request: ClientRequest
    observer: Observer
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    format: Format = "openai-chat"
    """The client's format, of the route that was called."""
    client_key: str = ""
    """The name or mask of the client key."""
    key: ClientKey | None = None
    book: Callable[[Attempt], None] | None = None
    """Called with each attempt that has ended, to account for what it used."""
    model: str = ""
    """As the client asked for it."""
    stand_in: str = ""
    """What answers in its place and under its name; empty: it does."""
    attempts: list[Attempt] = field(default_factory=list)
    operation: str = ""
    """What was asked for: `generate`, `count_tokens` …"""
    stream: bool = False
    """The client wanted a stream."""
    effort: str = ""
    """How hard the client wanted the model to think, in its own word or number; empty: it did not say."""
    started_s: float = field(default_factory=time.time)
    """UTC epoch seconds."""
    ended_s: float = 0.0
    """The same; 0.0: not yet."""
    status: int = 0
    """Of the client's answer."""
    error: str = ""
    """Why the answer is not what was asked for; empty when it is."""
    dropped: list[str] = field(default_factory=list)
    """What the upstream's format could not say."""
    settled: Callable[["Exchange"], None] | None = None
    """Called once, when the client's answer is known and nothing is under way any more."""
    _under_way: int = 0

    def begin(self) -> None:
        """Something begins that the exchange is not over without; `end` follows."""
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1
        self._settle()

    def answered(self, status: int) -> None:
        """The client's answer is known, though its body may still be coming."""
        self.status = status
        self._settle()

    def _settle(self) -> None:
        if self.status and not self._under_way and not self.ended_s:
            self.ended_s = time.time()
            if self.settled:
                self.settled(self)

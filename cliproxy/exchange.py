"""What happens between a client and the gateway: the request, its attempts upstream, the answer.

These are records. `cliproxy.gateway` fills them in; whoever watches (mitmweb's attempt flows, the usage
ledger) reads them through an `Observer`.
"""

import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from multidict import CIMultiDict

from cliproxy.config.schema import ClientKey
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
    """The operator sent it (a replay in mitmweb): needs no client key."""


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
    response_body: bytearray = field(default_factory=bytearray)
    """The newest bytes, up to the observer's limit; as on the wire (maybe compressed)."""
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

    body_limit_bytes: int
    """How much of an answer's body to keep on the attempt; 0 keeps nothing."""

    async def attempt_started(self, exchange: "Exchange", attempt: Attempt) -> None:
        """Before the request is sent; may change `attempt.request`."""
        ...

    async def attempt_answered(self, exchange: "Exchange", attempt: Attempt) -> None:
        """The response's headers are here."""
        ...

    def attempt_ended(self, exchange: "Exchange", attempt: Attempt) -> None:
        """Nothing more will come, for whatever reason."""
        ...


class NoObserver:
    """Nobody watches."""

    body_limit_bytes = 0

    async def attempt_started(self, exchange: "Exchange", attempt: Attempt) -> None:
        return

    async def attempt_answered(self, exchange: "Exchange", attempt: Attempt) -> None:
        return

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
    attempts: list[Attempt] = field(default_factory=list)
    served_by: str = ""
    """`provider/model` of the attempt that answered."""
    dropped: list[str] = field(default_factory=list)
    """What the upstream's format could not say."""

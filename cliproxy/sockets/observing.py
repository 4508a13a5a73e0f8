"""Reads along a WebSocket between a tool and its vendor: what is asked over it, and what that uses.

The messages are those of the Responses API; they pass whatever is made of them here.
"""

import time
from collections.abc import Callable

import msgspec

from cliproxy.access import presented_keys
from cliproxy.exchange import Attempt, ClientRequest, Exchange, Headers, NoObserver, UpstreamRequest
from cliproxy.secrets import mask
from cliproxy.wire.errors import GatewayError, UpstreamCut
from cliproxy.wire.sse import frame
from cliproxy.wire.tap import UsageTap

_ASKING = ("response.create", "response.append")


class _Asked(msgspec.Struct):
    """What a client's message says of itself."""

    type: str = ""
    model: str = ""
    generate: bool = True
    """False: the vendor is only to get ready."""


_asked = msgspec.json.Decoder(_Asked).decode


class ObservedSocket:
    """One WebSocket. Requests follow each other on it; each is an exchange of its own."""

    def __init__(self, handshake: ClientRequest, book: Callable[[Exchange], None]) -> None:
        """handshake: an intercepted one. book: told of each exchange that is over."""
        assert handshake.intercepted
        self._handshake = handshake
        self._intercepted = handshake.intercepted
        key = next(presented_keys(handshake), "")
        self._credential = f"{self._intercepted.provider} {mask(key)}".rstrip()
        self._book = book
        self._model = ""
        self._exchange: Exchange | None = None
        self._tap = UsageTap("openai-responses")

    def client_said(self, message: bytes) -> None:
        try:
            asked = _asked(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if asked.type in _ASKING and asked.generate:
            self._end(UpstreamCut("another request came before the answer's end"))
            self._model = asked.model or self._model
            self._begin()

    def vendor_said(self, message: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        attempt = exchange.attempts[0]
        if not attempt.first_byte_s:
            attempt.first_byte_s = time.time()
        attempt.response_bytes += len(message)
        self._tap.feed(frame(message))
        if self._tap.ended or self._tap.failure:
            self._end()

    def close(self) -> None:
        """The socket is closed."""
        self._end(UpstreamCut("the WebSocket was closed before the answer's end"))

    def _begin(self) -> None:
        exchange = Exchange(self._handshake, NoObserver(), format="openai-responses", settled=self._book)
        exchange.operation, exchange.model, exchange.stream = "converse", self._model, True
        sent = UpstreamRequest("GET", self._intercepted.url, Headers(), None)
        exchange.attempts.append(
            Attempt(1, self._intercepted.provider, self._credential, self._model, "openai-responses", sent)
        )
        exchange.begin()
        self._exchange, self._tap = exchange, UsageTap("openai-responses")

    def _end(self, cut: GatewayError | None = None) -> None:
        """What is under way is over. cut: why, where the vendor has not said so."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        attempt, failure = exchange.attempts[0], self._tap.failure or cut
        attempt.usage, attempt.finish_reason = self._tap.usage, self._tap.finish_reason
        attempt.ended_s, attempt.status = time.time(), 200
        attempt.error = exchange.error = failure.message if failure else ""
        exchange.answered(200)
        exchange.end()

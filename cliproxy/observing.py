"""A tool's call to its vendor, watched on its way: every byte passes as it is, what it used is read at the side."""

from typing import NamedTuple, Protocol

from cliproxy.access import presented_keys
from cliproxy.answering import MAX_ERROR_BYTES, PassedOn
from cliproxy.attempt import RunningAttempt, begin
from cliproxy.call import read_call
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Answer, Exchange, Headers, Intercepted, Transport, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.cloud_code import opened
from cliproxy.providers.gemini_answers import Reframing
from cliproxy.relay import EVENT_STREAM, Passing, media_type
from cliproxy.routes import Operation, Route
from cliproxy.transport.encoding import Decompressor
from cliproxy.transport.headers import end_to_end
from cliproxy.wire.errors import ClientFault, GatewayError
from cliproxy.wire.model import Format, ModelFacts, Usage
from cliproxy.wire.tap import UsageTap

MAX_READ_BYTES = 32 * 1024 * 1024
"""Of an answer in one piece; what is larger passes unread."""

_ASKING = frozenset({Operation.GENERATE, Operation.COMPLETE, Operation.COMPACT})
_NAMING = _ASKING | {Operation.COUNT_TOKENS}
"""What names a model in its body."""


async def observe(exchange: Exchange, route: Route, transport: Transport, max_body_bytes: int) -> Answer:
    """Pass a call on to where it was going, and its answer back. Raises UpstreamFault.

    max_body_bytes: how large a body may be for its model to be read.
    """
    exchange.format = route.format
    await _note_model(exchange, route, max_body_bytes)
    attempt = await _begun(exchange, route, transport)
    headers = attempt.response.headers
    reading = _reading(exchange, route, attempt) if route.operation in _ASKING else None
    body = _Watched(exchange, attempt, reading) if reading else PassedOn(attempt)
    return Answer(attempt.response.status, end_to_end(headers), body)


async def _note_model(exchange: Exchange, route: Route, max_body_bytes: int) -> None:
    """Put on record what is asked for; what cannot be read is the vendor's to judge."""
    if route.operation not in _NAMING or not isinstance(exchange.request.body, bytes):
        return
    try:
        call = await read_call(exchange.request, route, max_body_bytes)
    except ClientFault:
        return
    exchange.model, exchange.stream, exchange.effort = call.model, call.stream, call.effort


async def _begun(exchange: Exchange, route: Route, transport: Transport) -> RunningAttempt:
    request, intercepted = exchange.request, exchange.request.intercepted
    assert intercepted
    headers = end_to_end(request.headers)
    for name in ("host", "expect"):
        headers.popall(name, None)
    if isinstance(request.body, bytes):
        headers.popall("content-length", None)
    url = f"{intercepted.url}?{request.query}" if request.query else intercepted.url
    call = UpstreamCall(Purpose.NATIVE, route.format, request.method, "", "", headers, request.body or None)
    sent = UpstreamRequest(request.method, url, headers, call.body)
    candidate = Candidate(_clients_own(exchange, intercepted, route), exchange.model, ModelFacts(exchange.model))
    return await begin(exchange, candidate, call, transport, request=sent)


def _clients_own(exchange: Exchange, intercepted: Intercepted, route: Route) -> Credential:
    """The credential that the client brought along, for the record of the attempt."""
    origin = "/".join(intercepted.url.split("/", 3)[:3])
    return Credential(intercepted.provider, (route.format,), origin, next(presented_keys(exchange.request), ""))


# ---------------------------------------------------------------- answers


class _Outcome(NamedTuple):
    """What an answer was found to be."""

    usage: Usage | None = None
    finish_reason: str | None = None
    failure: GatewayError | None = None
    """Why it is not what was asked for."""


class _Reading(Protocol):
    """Reads an answer at the side. What it does not understand is no business of the client's."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, without its content coding."""
        ...

    def finish(self) -> _Outcome:
        """The body is over."""
        ...


def _reading(exchange: Exchange, route: Route, attempt: RunningAttempt) -> _Reading:
    headers, status = attempt.response.headers, attempt.response.status
    if status >= 400:
        return _Refused(route.format, status, headers)
    is_sse = media_type(headers) == EVENT_STREAM
    streams = is_sse or exchange.stream
    reading = _Streamed(route.format) if streams else _Whole(route.format)
    if not route.enveloped:
        return reading
    return _Enveloped(reading, Reframing("sse" if is_sse else "array" if streams else "whole", opened))


class _Streamed:
    def __init__(self, format_: Format) -> None:
        self._tap = UsageTap(format_)

    def feed(self, data: bytes) -> None:
        self._tap.feed(data)

    def finish(self) -> _Outcome:
        self._tap.finish()
        return _Outcome(self._tap.usage, self._tap.finish_reason, self._tap.failure)


class _Collected:
    """A body in one piece."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._body) <= self._limit_bytes:
            self._body += data

    @property
    def _is_whole(self) -> bool:
        return len(self._body) <= self._limit_bytes


class _Whole(_Collected):
    def __init__(self, format_: Format) -> None:
        super().__init__(MAX_READ_BYTES)
        self._format: Format = format_

    def finish(self) -> _Outcome:
        if not self._is_whole:
            return _Outcome()
        tap = UsageTap.whole(self._format, bytes(self._body))
        return _Outcome(tap.usage, tap.finish_reason, tap.failure)


class _Refused(_Collected):
    def __init__(self, format_: Format, status: int, headers: Headers) -> None:
        super().__init__(MAX_ERROR_BYTES)
        self._format: Format = format_
        self._status = status
        self._headers = headers.copy()
        self._headers.popall("content-encoding", None)

    def finish(self) -> _Outcome:
        body = bytes(self._body) if self._is_whole else b""
        return _Outcome(failure=Passing(self._format).refusal(self._status, self._headers, body))


class _Enveloped:
    """Takes Code Assist's envelope off for another one who reads."""

    def __init__(self, reading: _Reading, reframing: Reframing) -> None:
        self._reading = reading
        self._reframing = reframing

    def feed(self, data: bytes) -> None:
        self._reading.feed(self._reframing.feed(data))

    def finish(self) -> _Outcome:
        self._reading.feed(self._reframing.finish())
        return self._reading.finish()


class _Watched:
    """An answer's body as it arrives, in front of someone who reads it."""

    def __init__(self, exchange: Exchange, attempt: RunningAttempt, reading: _Reading) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._chunks = attempt.chunks()
        self._reading: _Reading | None = reading
        self._ended = False
        try:
            self._decompressor = Decompressor(attempt.response.headers.get("content-encoding", ""))
        except ValueError:
            self._reading = None

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._show(chunk)
        return chunk

    async def aclose(self) -> None:
        await self._chunks.aclose()
        self._end(GeneratorExit())

    def _show(self, chunk: bytes) -> None:
        if self._reading is None:
            return
        try:
            self._reading.feed(self._decompressor.feed(chunk))
        except (ValueError, GatewayError):
            self._reading = None  # It passes unread from here on.

    def _end(self, failure: BaseException | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        outcome = self._outcome()
        failure = failure or outcome.failure
        if isinstance(failure, GatewayError):
            self._exchange.error = failure.message
        self._attempt.end(outcome.usage, outcome.finish_reason, failure)

    def _outcome(self) -> _Outcome:
        try:
            return self._reading.finish() if self._reading else _Outcome()
        except (ValueError, GatewayError):
            return _Outcome()

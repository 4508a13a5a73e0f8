"""What is kept of one exchange while it runs, for the case that a file is written of it."""

from collections.abc import AsyncGenerator

from cliproxy.exchange import Answer, Attempt, ByteStream, Exchange, Observer, Transport, UpstreamRequest
from cliproxy.exchange import UpstreamResponse as Response

MAX_BODY_BYTES = 1024 * 1024
"""Of each body; the rest is left out."""
MARGIN_BYTES = 16 * 1024
"""Kept beyond that until secrets are masked, so that none is cut in two and not known any more."""


class Tape:
    """The first bytes of a body, and how many it had."""

    def __init__(self, body: bytes = b"") -> None:
        self._held = bytearray(body[: MAX_BODY_BYTES + MARGIN_BYTES])
        self.size_bytes = len(body)

    @property
    def kept(self) -> bytes:
        return bytes(self._held)

    def feed(self, chunk: bytes) -> None:
        if room := MAX_BODY_BYTES + MARGIN_BYTES - len(self._held):
            self._held += chunk[:room]
        self.size_bytes += len(chunk)


class Recording:
    """Watches one exchange, beside whoever else does."""

    def __init__(self, other: Observer, *, is_full: bool) -> None:
        """is_full: bodies of answers are kept, too, as far as they are not errors."""
        self.is_full = is_full
        self.answer: Answer | None = None
        """The client's; its body is in `answer_tape`."""
        self.answer_tape = Tape()
        self.tapes: dict[int, Tape] = {}
        """What upstreams answered, by the numbers of the attempts."""
        self._other = other

    def carrier(self, exchange: Exchange, attempt: Attempt, transport: Transport) -> Transport:
        carried = self._other.carrier(exchange, attempt, transport)
        if not self.is_full:
            return carried
        tape = self.tapes[attempt.number] = Tape()
        return _TapedTransport(carried, tape)

    def attempt_ended(self, exchange: Exchange, attempt: Attempt) -> None:
        self._other.attempt_ended(exchange, attempt)

    def answered(self, answer: Answer) -> Answer:
        """The answer on its way to the client."""
        self.answer = answer
        if isinstance(answer.body, bytes):
            if self.is_full or answer.status >= 400:
                self.answer_tape = Tape(answer.body)
        elif self.is_full:
            answer.body = _TapedBody(answer.body, self.answer_tape)
        return answer


class _TapedTransport:
    def __init__(self, transport: Transport, tape: Tape) -> None:
        self._transport = transport
        self._tape = tape

    async def send(self, request: UpstreamRequest) -> Response:
        return _TapedResponse(await self._transport.send(request), self._tape)


class _TapedResponse:
    def __init__(self, response: Response, tape: Tape) -> None:
        self._response = response
        self._tape = tape
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        self.peer = response.peer

    async def chunks(self) -> AsyncGenerator[bytes]:
        async for chunk in self._response.chunks():
            self._tape.feed(chunk)
            yield chunk

    async def read(self, limit_bytes: int) -> bytes:
        body = await self._response.read(limit_bytes)
        self._tape.feed(body)
        return body

    def close(self) -> None:
        self._response.close()


class _TapedBody:
    def __init__(self, body: ByteStream, tape: Tape) -> None:
        self._body = body
        self._tape = tape

    def __aiter__(self) -> "_TapedBody":
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._body)
        self._tape.feed(chunk)
        return chunk

    async def aclose(self) -> None:
        await self._body.aclose()

"""One upstream call while it runs: sent, watched, and recorded on its `Attempt` until nothing more can come."""

import time
from collections.abc import AsyncGenerator
from typing import Protocol

from cliproxy.credentials.record import Candidate
from cliproxy.exchange import CLIENT_LEFT, Attempt, Exchange, Headers, Transport, UpstreamRequest, UpstreamResponse
from cliproxy.providers import prepare, reader
from cliproxy.providers.call import UpstreamCall
from cliproxy.providers.dialect import AnswerReader
from cliproxy.secrets import SECRET_HEADERS, SHORTEST_SECRET, mask
from cliproxy.wire.errors import GatewayError, UpstreamGarbled
from cliproxy.wire.model import Usage


class Verdict(Protocol):
    """Who wants to know how an attempt went; is told once by whoever knows first."""

    def served(self) -> None: ...
    def failed(self, error: GatewayError) -> None: ...
    def abandoned(self) -> None: ...


class RunningAttempt:
    """A response that is being read. Every way of reading it ends the attempt and tells observer and verdict.

    What a vendor wraps around the answer is shown on the record and taken off for whoever reads.
    """

    def __init__(
        self,
        exchange: Exchange,
        record: Attempt,
        response: UpstreamResponse,
        verdict: Verdict | None,
        unwrapping: AnswerReader | None = None,
    ) -> None:
        self.record = record
        self.response = response
        self.headers = _unwrapped(response.headers, unwrapping) if unwrapping else response.headers
        """Of the answer as it is read here."""
        self._unwrapping = unwrapping
        self._exchange = exchange
        self._verdict = verdict

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it arrives; whoever reads calls `end`. Raises UpstreamFault."""
        unwrapping = self._unwrapping
        async for chunk in self.response.chunks():
            self._note(chunk)
            if not unwrapping:
                yield chunk
            elif out := unwrapping.feed(chunk):
                yield out
        if unwrapping and (out := unwrapping.finish()):
            yield out

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFault, having ended the attempt."""
        try:
            body = await self.response.read(limit_bytes)
            self._note(body)
            return self._unwrapping.feed(body) + self._unwrapping.finish() if self._unwrapping else body
        except BaseException as error:
            self.end(failure=error)
            raise

    def _note(self, chunk: bytes) -> None:
        record = self.record
        if not record.first_byte_s:
            record.first_byte_s = time.time()
        record.response_bytes += len(chunk)

    def end(
        self,
        usage: Usage | None = None,
        finish_reason: str | None = None,
        failure: BaseException | None = None,
    ) -> None:
        """Nothing more will come."""
        if usage is not None:
            self.record.usage, self.record.finish_reason = usage, finish_reason
        if failure is not None:
            self.response.close()
        _end(self._exchange, self.record, failure)
        if self._verdict is None:
            return
        if failure is None:
            self._verdict.served()
        elif isinstance(failure, GatewayError):
            self._verdict.failed(failure)
        else:
            self._verdict.abandoned()

    def pass_over(self, why: str) -> None:
        """Nothing more is wanted of it, and it says nothing of its credential: another call follows."""
        self.response.close()
        _end(self._exchange, self.record, UpstreamGarbled(why))


async def begin(
    exchange: Exchange,
    candidate: Candidate,
    call: UpstreamCall,
    transport: Transport,
    verdict: Verdict | None = None,
    request: UpstreamRequest | None = None,
) -> RunningAttempt:
    """Send a call and wait for the response's headers. Raises UpstreamFault, with the attempt recorded.

    request: what to send, where that is not the candidate's to say.
    """
    record = Attempt(
        number=len(exchange.attempts) + 1,
        provider=candidate.credential.provider,
        credential=candidate.credential.label,
        model=candidate.model,
        format=call.format,
        request=request or prepare(candidate, call, exchange.request.headers),
        secret_headers=SECRET_HEADERS | {name.lower() for name in candidate.credential.headers},
    )
    exchange.attempts.append(record)
    exchange.begin()
    try:
        response = await exchange.observer.carrier(exchange, record, transport).send(record.request)
    except BaseException as error:
        _end(exchange, record, error)
        raise
    record.headers_s = time.time()
    record.status, record.reason, record.response_headers = response.status, response.reason, response.headers
    record.peer = response.peer
    try:
        unwrapping = reader(candidate, call, response.headers) if 200 <= response.status < 300 else None
    except BaseException as error:
        response.close()
        _end(exchange, record, error)
        raise
    return RunningAttempt(exchange, record, response, verdict, unwrapping)


def _without_credential(words: str, record: Attempt) -> str:
    """What an upstream said: some quote the key that they refuse."""
    for name, value in record.request.headers.items():
        secret = value.rpartition(" ")[2]
        if len(secret) >= SHORTEST_SECRET and secret in words and name.lower() in record.secret_headers:
            words = words.replace(secret, mask(secret))
    return words


def _unwrapped(headers: Headers, unwrapping: AnswerReader) -> Headers:
    headers = headers.copy()
    headers.popall("content-length", None)
    headers["content-type"] = unwrapping.content_type
    return headers


def _end(exchange: Exchange, record: Attempt, failure: BaseException | None) -> None:
    record.ended_s = time.time()
    if isinstance(failure, GatewayError):
        # What the client is told, and what the ledger keeps of its exchange, is masked with it.
        record.error = failure.message = _without_credential(failure.message, record)
    elif isinstance(failure, Exception):
        record.error = type(failure).__name__
    elif failure is not None:
        record.error = CLIENT_LEFT
    if exchange.book:
        exchange.book(record)
    exchange.observer.attempt_ended(exchange, record)
    exchange.end()

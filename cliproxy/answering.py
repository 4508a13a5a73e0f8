"""From an upstream's response, or an error, to the answer that the client gets."""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any

from cliproxy.attempt import RunningAttempt
from cliproxy.call import ClientCall
from cliproxy.exchange import Answer, AnswerCut, EmptyAnswer, Headers
from cliproxy.relay import (
    EVENT_STREAM,
    JSON,
    NativeRefusal,
    Passing,
    Relay,
    StreamRelay,
    Translating,
    media_type,
    stream_type,
)
from cliproxy.transport.headers import returned
from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError, UpstreamFault, UpstreamGarbled
from cliproxy.wire.model import Format
from cliproxy.wire.translation import CODECS

MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""A whole answer is held in memory; images in base64 are large."""
MAX_ERROR_BYTES = 1024 * 1024


async def answered(attempt: RunningAttempt, relay: Relay, call: ClientCall) -> Answer:
    """The client's answer to a response. Raises GatewayError while what went wrong can still be an HTTP error."""
    kind = media_type(attempt.headers)
    if attempt.response.status >= 300:
        raise await refusal(attempt, relay)
    if call.stream and (kind == EVENT_STREAM or (isinstance(relay, Passing) and not call.sse and kind == JSON)):
        return await _streamed(attempt, relay, call)
    return await _whole(attempt, relay, call, kind)


async def _streamed(attempt: RunningAttempt, relay: Relay, call: ClientCall) -> Answer:
    """A streamed answer. It is committed to only when its first bytes are known: until then a failure raises."""
    try:
        stream = relay.stream(attempt.headers)
    except GatewayError as error:
        attempt.end(failure=error)
        raise
    slices = _slices(attempt, stream)
    first = await anext(slices, b"")
    if isinstance(relay, Passing):
        headers = returned(attempt.headers)
    else:
        headers = Headers({"content-type": stream_type(call.sse), "cache-control": "no-cache"})
    return Answer(200, headers, _Begun(first, slices))


class _Begun:
    """A stream whose first bytes were read ahead."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> "_Begun":
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()


async def _slices(attempt: RunningAttempt, stream: StreamRelay) -> AsyncGenerator[bytes]:
    """The client's stream. Before its first bytes a failure raises; later it is an event in the stream, or cuts it."""
    failure: BaseException | None = None
    begun = False
    try:
        try:
            async for chunk in attempt.chunks():
                if out := stream.feed(chunk):
                    begun = True
                    yield out
            out = stream.finish()
            failure = stream.failure
            if out:
                begun = True
                yield out
        except UpstreamFault as error:
            failure = error
            if not begun:
                raise
            yield stream.fail(error)
    except AnswerCut:
        # The failure that could not be told stays the attempt's.
        raise
    except BaseException as error:
        failure = error
        raise
    finally:
        attempt.end(stream.usage, stream.finish_reason, failure)


async def _whole(attempt: RunningAttempt, relay: Relay, call: ClientCall, kind: str) -> Answer:
    body = await attempt.read(MAX_ANSWER_BYTES)
    try:
        if kind != JSON and not (kind == EVENT_STREAM and isinstance(relay, Translating)):
            raise UpstreamGarbled(f"the upstream answered {kind or 'without a content-type'} where {JSON} was due")
        out = relay.whole(body, attempt.headers)
    except GatewayError as error:
        attempt.end(failure=error)
        raise
    if isinstance(relay, Passing):
        answer = Answer(200, returned(attempt.headers), out)
    else:
        answer = Answer(200, Headers({"content-type": stream_type(call.sse) if call.stream else JSON}), out)
    if relay.is_empty and relay.finish_reason == "stop":
        empty = EmptyAnswer(answer)
        attempt.end(relay.usage, relay.finish_reason, empty)
        raise empty
    attempt.end(relay.usage, relay.finish_reason)
    return answer


async def refusal(attempt: RunningAttempt, relay: Relay) -> GatewayError:
    """An upstream's error status as an error, with the upstream's own words for a client of the same format."""
    response = attempt.response
    body = await attempt.read(MAX_ERROR_BYTES)
    if response.status < 400:
        error: GatewayError = UpstreamGarbled(
            f"the upstream answered {response.status} (a redirect) where an answer was due"
        )
    else:
        error = relay.refusal(response.status, response.headers, body)
    attempt.end(failure=error)
    return error


class PassedOn:
    """A body of any kind, as it arrives."""

    def __init__(self, attempt: RunningAttempt) -> None:
        self._attempt = attempt
        self._chunks = attempt.chunks()
        self._ended = False

    def __aiter__(self) -> "PassedOn":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise

    async def aclose(self) -> None:
        await self._chunks.aclose()
        self._end(GeneratorExit())

    def _end(self, failure: BaseException | None = None) -> None:
        if not self._ended:
            self._ended = True
            self._attempt.end(failure=failure)


def header_text(text: str) -> str:
    """Text for a header of the gateway's own: a client's words must not break out of it."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def error_answer(error: GatewayError, format_: Format) -> Answer:
    """An error as a client of `format_` expects it; an upstream's own, in that format, as it came."""
    if isinstance(error, NativeRefusal) and error.format == format_:
        answer = Answer(error.status, returned(error.native_headers), error.native_body)
    else:
        status, body = CODECS[format_].encode_error(error)
        answer = json_answer(status, body)
    if error.status == HTTPStatus.UPGRADE_REQUIRED:
        answer.headers["upgrade"] = "websocket"
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    return answer


def json_answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, Headers({"content-type": JSON, **(headers or {})}), json.dumps(body))

"""Signs of life for clients, and boxes between them and us, that give up on a silent connection.

Off by default, for it has a price: what has begun to be sent is a 200, so that a failure which comes later can only be
told inside the answer. Failing over to another credential goes on underneath all the same.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from cliproxy.exchange import Answer, ByteStream, Headers
from cliproxy.relay import JSON, error_event, stream_type
from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.model import Format
from cliproxy.wire.translation import CODECS

_PINGS: dict[Format, bytes] = {
    "openai-chat": b": keep-alive\n\n",
    "openai-responses": b": keep-alive\n\n",
    "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
    # Gemini's clients break on comments and know no ping: what helps them is that status and headers come at once.
    "gemini": b"",
}


@dataclass(frozen=True, slots=True)
class Signs:
    """How to show a client of one format that its answer is still to come."""

    interval_s: float
    content_type: str
    ping: bytes
    failure: Callable[[GatewayError], bytes]
    """What to send in place of an answer, once it has begun."""
    between: bool
    """Pings may also stand between the slices of the answer."""


def stream_signs(format_: Format, interval_s: float, *, sse: bool) -> Signs:
    """Signs for a streamed answer; without `sse` it is Gemini's JSON array."""
    ping = _PINGS[format_] if sse else b"\n"
    return Signs(interval_s, stream_type(sse), ping, lambda error: error_event(format_, error, sse=sse), between=sse)


def whole_signs(format_: Format, interval_s: float) -> Signs:
    """Signs for a whole answer: JSON may begin with any number of line ends."""
    return Signs(
        interval_s, JSON, b"\n", lambda error: json.dumps(CODECS[format_].encode_error(error)[1]), between=False
    )


async def kept_alive(work: Coroutine[Any, Any, Answer], signs: Signs) -> Answer:
    """The answer that `work` gives; when it takes longer than an interval, one that shows signs of life until then.

    Raises GatewayError as `work` does, while that can still be an HTTP error.
    """
    task = asyncio.ensure_future(work)  # noqa: TID251 - awaited here or held by the answer's body
    try:
        done, _ = await asyncio.wait({task}, timeout=signs.interval_s)
    except BaseException:
        task.cancel()
        raise
    if not done:
        headers = Headers({"content-type": signs.content_type, "cache-control": "no-cache"})
        return Answer(200, headers, _Closing(_waiting(task, signs), partial(_give_up, task)))
    answer = task.result()
    if signs.between and signs.ping and not isinstance(answer.body, bytes):
        answer.body = _Closing(_pinged(answer.body, signs), answer.body.aclose)
    return answer


class _Closing:
    """Slices that a generator makes. Closing them before the first was asked for closes what it would have read.

    A generator that has not begun runs nothing of its own when it is closed.
    """

    def __init__(self, slices: AsyncGenerator[bytes], release: Callable[[], Awaitable[None]]) -> None:
        self._slices = slices
        self._release = release
        self._begun = False

    def __aiter__(self) -> "_Closing":
        return self

    async def __anext__(self) -> bytes:
        self._begun = True
        return await anext(self._slices)

    async def aclose(self) -> None:
        if not self._begun:
            await self._release()
        await self._slices.aclose()


async def _give_up(task: asyncio.Future[Answer]) -> None:
    """Stop the work, or close its answer unread."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and not task.exception():
        await task.result().close()


async def _waiting(task: asyncio.Future[Answer], signs: Signs) -> AsyncGenerator[bytes]:
    taken = False
    try:
        while not task.done():
            if signs.ping:
                yield signs.ping
            await asyncio.wait({task}, timeout=signs.interval_s)
        taken = True
        try:
            answer = task.result()
        except GatewayError as error:
            yield signs.failure(error)
            return
        if isinstance(answer.body, bytes):
            yield answer.body
            return
        async with aclosing(_pinged(answer.body, signs)) as slices:
            async for piece in slices:
                yield piece
    finally:
        if not taken:
            await _give_up(task)


async def _pinged(slices: ByteStream, signs: Signs) -> AsyncGenerator[bytes]:
    """The slices of a streamed answer, with pings where they are far apart."""
    following: asyncio.Future[bytes] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(slices.__anext__())  # noqa: TID251 - held in this frame
            done, _ = await asyncio.wait({following}, timeout=signs.interval_s)
            if not done:
                if signs.between and signs.ping:
                    yield signs.ping
                continue
            try:
                piece = following.result()
            except StopAsyncIteration:
                return
            following = None
            yield piece
    finally:
        if following and not following.done():
            following.cancel()
            await asyncio.wait({following})
        await slices.aclose()

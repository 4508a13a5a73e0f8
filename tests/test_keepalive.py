"""Signs of life for waiting clients: what each format's client gets before its answer, in it, and in its place."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors

from cliproxy.exchange import Answer as Served
from cliproxy.exchange import AnswerCut, ByteStream, ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.keepalive import kept_alive, stream_signs, whole_signs
from cliproxy.wire.errors import GatewayError, Unavailable
from tests import native, streams
from tests.answers import Answer
from tests.calls import call, message_of
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Site, whole
from tests.native import FORMATS, WORDS, Format
from tests.upstream import Upstream
from tests.wire import vendors

SHORT_S, LONG_S = 0.005, 60.0

PINGS: Mapping[Format, bytes] = {
    "openai-chat": b": keep-alive\n\n",
    "openai-responses": b": keep-alive\n\n",
    "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
}
"""Of streams; Gemini's clients bear none."""

every_format = pytest.mark.parametrize("format", FORMATS)
with_pings = pytest.mark.parametrize("format", PINGS)
in_both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


def gateway(site: Site, interval_s: float = SHORT_S, **options: Any) -> Gateway:
    """One whose intervals are shorter than a config can say."""
    config = site.config(**options)
    streaming = config.streaming.model_copy(update={"keepalive_seconds": interval_s})
    changed = {"streaming": streaming, "nonstream_keepalive_interval": interval_s}
    return site.over(config.model_copy(update=changed))


def request(format: Format, *, stream: bool) -> ClientRequest:
    asked = call(format, stream=stream, model=MODEL)
    path, _, query = asked.path.partition("?")
    return ClientRequest("POST", path, query, Headers(asked.headers), json.dumps(asked.json).encode())


async def waiting(gateway: Gateway, format: Format, *, stream: bool) -> ByteStream:
    """The body of an answer that is still to come, though its status and headers are there."""
    answer = await gateway.handle(request(format, stream=stream))
    assert answer.status == 200
    assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert not isinstance(answer.body, bytes)
    return answer.body


async def rest(body: ByteStream) -> bytes:
    return b"".join([piece async for piece in body])


def spoken(format: Format) -> int:
    """How many events a stream has up to its first word."""
    return next(number for number, event in enumerate(streams.events(format), 1) if WORDS[0].encode() in event)


def other(format: Format) -> Format:
    return "gemini" if format != "gemini" else "anthropic"


# ---------------------------------------------------------------- before the answer


@with_pings
@pytest.mark.parametrize("translated", [False, True], ids=["passed", "translated"])
async def test_a_waiting_stream_is_pinged_and_then_answered(site: Site, format: Format, translated: bool) -> None:
    upstream, gate = other(format) if translated else format, asyncio.Event()
    await site.upstream(upstream, replace(native.text(upstream, stream=True), gate=gate))
    body = await waiting(gateway(site), format, stream=True)
    assert [await anext(body) for _ in range(3)] == [PINGS[format]] * 3
    gate.set()
    raw = PINGS[format] * 3 + await rest(body)
    assert vendors.read(format, raw, stream=True).text == "hello from upstream"
    assert not raw.endswith(PINGS[format])


@pytest.mark.parametrize("upstream", ["gemini", "anthropic"])
async def test_a_gemini_client_gets_its_headers_and_nothing_more_until_the_answer(site: Site, upstream: Format) -> None:
    gate = asyncio.Event()
    await site.upstream(upstream, replace(native.text(upstream, stream=True), gate=gate))
    body = await waiting(gateway(site), "gemini", stream=True)
    first = asyncio.ensure_future(anext(body))
    await asyncio.wait({first}, timeout=5 * SHORT_S)
    assert not first.done()
    gate.set()
    raw = await first + await rest(body)
    assert raw.startswith(b"data: ")
    assert vendors.read("gemini", raw, stream=True).text == "hello from upstream"


async def test_a_gemini_client_gets_its_headers_in_time_even_without_keep_alives(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemini CLI gives up on a request whose headers take 65 s."""
    monkeypatch.setattr("cliproxy.planning.GEMINI_PATIENCE_S", SHORT_S)
    gate = asyncio.Event()
    await site.upstream("gemini", replace(native.text("gemini", stream=True), gate=gate))
    body = await waiting(site.over(site.config()), "gemini", stream=True)
    gate.set()
    assert vendors.read("gemini", await rest(body), stream=True).text == "hello from upstream"


async def test_a_gemini_clients_json_array_may_begin_with_line_ends(site: Site) -> None:
    gate = asyncio.Event()
    await site.upstream("anthropic", replace(native.text("anthropic", stream=True), gate=gate))
    answer = await gateway(site).handle(replace(request("gemini", stream=True), query=""))
    assert answer.headers["content-type"] == "application/json"
    assert not isinstance(answer.body, bytes)
    assert [await anext(answer.body) for _ in range(2)] == [b"\n", b"\n"]
    gate.set()
    chunks = json.loads(await rest(answer.body))
    assert "".join(chunk["candidates"][0]["content"]["parts"][0].get("text", "") for chunk in chunks) == "".join(WORDS)


@every_format
@pytest.mark.parametrize("translated", [False, True], ids=["passed", "translated"])
async def test_a_whole_answer_begins_with_line_ends(site: Site, format: Format, translated: bool) -> None:
    upstream, gate = other(format) if translated else format, asyncio.Event()
    await site.upstream(upstream, replace(native.text(upstream), gate=gate))
    body = await waiting(gateway(site), format, stream=False)
    assert [await anext(body) for _ in range(3)] == [b"\n"] * 3
    gate.set()
    raw = b"\n" * 3 + await rest(body)
    assert vendors.read(format, raw, stream=False).text == "hello from upstream"
    assert raw.endswith(b"}")


async def test_completions_are_kept_alive_as_chats_are(site: Site) -> None:
    gate = asyncio.Event()
    await site.upstream("anthropic", replace(native.text("anthropic", stream=True), gate=gate))
    body = json.dumps({"model": MODEL, "prompt": "hi", "stream": True}).encode()
    answer = await gateway(site).handle(ClientRequest("POST", "/v1/completions", "", Headers(), body))
    assert not isinstance(answer.body, bytes)
    assert await anext(answer.body) == PINGS["openai-chat"]
    gate.set()
    assert (await rest(answer.body)).endswith(b"data: [DONE]\n\n")


@every_format
@in_both_ways
async def test_a_swift_answer_has_no_signs(site: Site, format: Format, stream: bool) -> None:
    await site.upstream(format)
    answer = await gateway(site, LONG_S).handle(request(format, stream=stream))
    assert answer.headers["x-cliproxy-served-by"].endswith("/up-model")
    assert await whole(answer) == native.text(format, model=UPSTREAM_MODEL, stream=stream).whole


# ---------------------------------------------------------------- in the answer


@with_pings
@pytest.mark.parametrize("translated", [False, True], ids=["passed", "translated"])
async def test_pings_stand_between_events_that_are_far_apart(site: Site, format: Format, translated: bool) -> None:
    upstream, gate = other(format) if translated else format, asyncio.Event()
    await site.upstream(upstream, streams.held(upstream, gate, after=spoken(upstream)))
    body = await waiting(gateway(site), format, stream=True)
    raw, pings = b"", 0
    while pings < 2 or WORDS[0].encode() not in raw:
        piece = await anext(body)
        assert piece == PINGS[format] or not raw or raw.endswith(b"\n\n")
        pings += piece == PINGS[format] and WORDS[0].encode() in raw
        raw += piece
    gate.set()
    raw += await rest(body)
    assert vendors.read(format, raw, stream=True).text == "hello from upstream"
    assert not raw.endswith(PINGS[format])


@with_pings
async def test_a_ping_never_stands_inside_an_event(site: Site, format: Format) -> None:
    gate = asyncio.Event()
    said = native.text(format, stream=True)
    events = streams.events(format)
    at = spoken(format)
    half = len(events[at]) // 2
    pieces = [*events[:at], events[at][:half], gate, events[at][half:], *events[at + 1 :]]
    await site.upstream(format, replace(said, body=pieces))
    body = await waiting(gateway(site), format, stream=True)
    raw = b""
    while not raw.endswith(PINGS[format] * 2) or WORDS[0].encode() not in raw:
        raw += await anext(body)
    gate.set()
    raw += await rest(body)
    assert raw.replace(PINGS[format], b"") == said.whole.replace(PINGS[format], b"")


async def test_nothing_stands_between_a_gemini_clients_events(site: Site) -> None:
    gate = asyncio.Event()
    await site.upstream("gemini", streams.held("gemini", gate))
    body = await waiting(gateway(site), "gemini", stream=True)
    raw = await anext(body)
    following = asyncio.ensure_future(anext(body))
    await asyncio.wait({following}, timeout=5 * SHORT_S)
    assert not following.done()
    gate.set()
    assert raw + await following + await rest(body) == native.text("gemini", stream=True).whole


# ---------------------------------------------------------------- a failure instead


@every_format
@in_both_ways
async def test_what_fails_early_is_an_http_error(site: Site, format: Format, stream: bool) -> None:
    await site.upstream(other(format), native.error(other(format), 400, "this is wrong"))
    answer = await gateway(site, LONG_S).handle(request(format, stream=stream))
    assert answer.status == 400
    assert message_of(format, 400, json.loads(await whole(answer))) == "this is wrong"


async def raw_failure(site: Site, format: Format, *, stream: bool) -> bytes:
    """What a client gets whose upstream fails when signs have been sent."""
    gate = asyncio.Event()
    await site.upstream(other(format), replace(native.error(other(format), 503, "out of order"), gate=gate))
    body = await waiting(gateway(site), format, stream=stream)
    if stream and format == "gemini":
        gate.set()
        return await rest(body)
    first = await anext(body)
    gate.set()
    return first + await rest(body)


FAILURES: Mapping[Format, type[Exception]] = {
    "openai-chat": openai.APIError,
    "openai-responses": openai.APIError,
    "anthropic": anthropic.APIStatusError,
    "gemini": errors.APIError,
}


@every_format
async def test_what_fails_late_is_an_event_that_the_vendors_sdk_understands(site: Site, format: Format) -> None:
    raw = await raw_failure(site, format, stream=True)
    event = raw.replace(PINGS.get(format, b"\0"), b"")
    assert event.count(b"data: ") == 1 and event.endswith(b"\n\n")
    if format == "openai-responses":
        # The SDK hands this event on as it is.
        failure = json.loads(event.partition(b"data: ")[2])
        assert (failure["type"], failure["message"]) == ("error", "out of order")
        return
    with pytest.raises(FAILURES[format], match="out of order"):
        vendors.read(format, raw, stream=True)


@every_format
async def test_what_fails_late_is_a_json_error_in_place_of_a_whole_answer(site: Site, format: Format) -> None:
    raw = await raw_failure(site, format, stream=False)
    assert raw.startswith(b"\n")
    assert message_of(format, 503, json.loads(raw)) == "out of order"


async def test_what_fails_late_is_the_last_element_of_a_json_array(site: Site) -> None:
    gate = asyncio.Event()
    await site.upstream("anthropic", replace(native.error("anthropic", 503, "out of order"), gate=gate))
    answer = await gateway(site).handle(replace(request("gemini", stream=True), query=""))
    assert not isinstance(answer.body, bytes)
    first = await anext(answer.body)
    gate.set()
    [element] = json.loads(first + await rest(answer.body))
    assert element["error"]["message"] == "out of order"


@with_pings
async def test_what_breaks_off_after_pings_never_ends_well(site: Site, format: Format) -> None:
    await site.upstream(other(format), streams.broken(other(format), after=spoken(other(format))))
    answer = await gateway(site).handle(request(format, stream=True))
    raw = await whole(answer)
    assert WORDS[0].encode() in raw
    if format != "openai-responses":
        with pytest.raises(FAILURES[format]):
            vendors.read(format, raw, stream=True)
    else:
        assert b"event: response.failed" in raw and b"response.completed" not in raw


@every_format
@in_both_ways
async def test_another_upstream_may_still_serve(site: Site, format: Format, stream: bool) -> None:
    gate = asyncio.Event()
    await site.upstream(format, replace(native.error(format, 503), gate=gate), priority=1)
    await site.upstream(other(format))
    body = await waiting(gateway(site), format, stream=stream)
    raw = b"" if stream and format == "gemini" else await anext(body)
    gate.set()
    raw += await rest(body)
    assert vendors.read(format, raw, stream=stream).text == "hello from upstream"


# ---------------------------------------------------------------- a client that leaves


async def gone(upstream: Upstream) -> None:
    """Wait until the upstream's call has been given up."""
    [received] = await upstream.received()
    await asyncio.wait_for(received.disconnected.wait(), 5)


@every_format
@in_both_ways
async def test_who_leaves_while_waiting_ends_the_upstreams_call(site: Site, format: Format, stream: bool) -> None:
    vendor = await site.upstream(format, Answer(hang=True))
    body = await waiting(gateway(site), format, stream=stream)
    if not (stream and format == "gemini"):
        await anext(body)
    else:
        await asyncio.wait({reading := asyncio.ensure_future(anext(body))}, timeout=SHORT_S)
        reading.cancel()
        await asyncio.wait({reading})
    await vendor.received()
    await body.aclose()
    await gone(vendor)


@in_both_ways
async def test_who_leaves_before_the_first_sign_does_too(site: Site, stream: bool) -> None:
    vendor = await site.upstream("anthropic", Answer(hang=True))
    body = await waiting(gateway(site), "anthropic", stream=stream)
    await vendor.received()
    await body.aclose()
    await gone(vendor)


@in_both_ways
async def test_who_leaves_before_the_headers_does_too(site: Site, stream: bool) -> None:
    vendor = await site.upstream("anthropic", Answer(hang=True))
    asking = asyncio.ensure_future(gateway(site, LONG_S).handle(request("anthropic", stream=stream)))
    await vendor.received()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await gone(vendor)


@pytest.mark.parametrize("read_first", [False, True], ids=["unread", "begun"])
async def test_who_leaves_in_the_answer_does_too(site: Site, read_first: bool) -> None:
    vendor = await site.upstream("anthropic", streams.held("anthropic", after=spoken("anthropic")))
    answer = await gateway(site, LONG_S).handle(request("anthropic", stream=True))
    assert not isinstance(answer.body, bytes)
    if read_first:
        await anext(answer.body)
    await answer.close()
    await gone(vendor)


async def test_who_leaves_is_not_asked_for_elsewhere(site: Site) -> None:
    vendor = await site.upstream("anthropic", Answer(hang=True), priority=1)
    second = await site.upstream("anthropic")
    body = await waiting(gateway(site), "anthropic", stream=True)
    await anext(body)
    await vendor.received()
    await body.aclose()
    await gone(vendor)
    assert not second.requests
    # The credential has done nothing wrong: it is still the first to be asked.
    assert await whole(await gateway(site, LONG_S).handle(request("anthropic", stream=True)))
    assert (len(vendor.requests), len(second.requests)) == (2, 0)


# ---------------------------------------------------------------- by itself

SIGNS = stream_signs("anthropic", SHORT_S, sse=True)


class Slices:
    """A streamed body that knows whether it was closed."""

    def __init__(self, *held: bytes | asyncio.Event | Exception) -> None:
        self.is_closed = False
        self._pieces = _pieces(*held)

    def __aiter__(self) -> "Slices":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._pieces.aclose()
        self.is_closed = True


async def _pieces(*held: bytes | asyncio.Event | Exception) -> AsyncGenerator[bytes]:
    for piece in held:
        if isinstance(piece, asyncio.Event):
            await piece.wait()
        elif isinstance(piece, Exception):
            raise piece
        else:
            yield piece


class Work:
    """Makes an answer, or fails, when it is let."""

    def __init__(self, outcome: Served | GatewayError) -> None:
        self.gate = asyncio.Event()
        self.done = asyncio.Event()
        self.is_cancelled = False
        self._outcome = outcome

    async def __call__(self) -> Served:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        finally:
            self.done.set()
        if isinstance(self._outcome, GatewayError):
            raise self._outcome
        return self._outcome


def body_of(answer: Served) -> ByteStream:
    assert not isinstance(answer.body, bytes)
    return answer.body


async def test_an_answer_in_time_is_given_as_it_is() -> None:
    given = Served(418, Headers({"x-a": "b"}), b"whole")
    work = Work(given)
    work.gate.set()
    assert await kept_alive(work(), replace(SIGNS, interval_s=LONG_S)) is given
    assert (given.status, given.headers["x-a"], given.body) == (418, "b", b"whole")


async def test_a_stream_in_time_keeps_status_and_headers_and_is_pinged() -> None:
    gate = asyncio.Event()
    slices = Slices(b"a", gate, b"b")
    work = Work(Served(200, Headers({"x-a": "b"}), slices))
    work.gate.set()
    answer = await kept_alive(work(), SIGNS)
    assert answer.headers["x-a"] == "b"
    body = body_of(answer)
    assert [await anext(body) for _ in range(3)] == [b"a", SIGNS.ping, SIGNS.ping]
    gate.set()
    assert [piece async for piece in body if piece != SIGNS.ping] == [b"b"]
    assert slices.is_closed


async def test_an_error_in_time_is_raised() -> None:
    work = Work(Unavailable("busy"))
    work.gate.set()
    with pytest.raises(Unavailable, match="busy"):
        await kept_alive(work(), replace(SIGNS, interval_s=LONG_S))


async def test_a_late_answers_bytes_follow_the_pings() -> None:
    work = Work(Served(200, Headers(), b"whole"))
    body = body_of(await kept_alive(work(), whole_signs("openai-chat", SHORT_S)))
    assert await anext(body) == b"\n"
    work.gate.set()
    assert (await rest(body)).lstrip(b"\n") == b"whole"


async def test_a_cut_stays_a_cut() -> None:
    """It must not look complete."""
    gate = asyncio.Event()
    work = Work(Served(200, Headers(), Slices(b"a", gate, AnswerCut("cut"))))
    body = body_of(await kept_alive(work(), SIGNS))
    work.gate.set()
    while await anext(body) != b"a":
        pass
    assert await anext(body) == SIGNS.ping
    gate.set()
    with pytest.raises(AnswerCut):
        await rest(body)


async def test_who_cancels_the_wait_cancels_the_work() -> None:
    work = Work(Unavailable("never"))
    waiting = asyncio.ensure_future(kept_alive(work(), replace(SIGNS, interval_s=LONG_S)))
    await asyncio.wait({waiting}, timeout=SHORT_S)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(work.done.wait(), 5)
    assert work.is_cancelled


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_who_closes_a_waiting_answer_cancels_the_work(read: int) -> None:
    work = Work(Unavailable("never"))
    body = body_of(await kept_alive(work(), SIGNS))
    for _ in range(read):
        assert await anext(body) == SIGNS.ping
    await body.aclose()
    await asyncio.wait_for(work.done.wait(), 5)
    assert work.is_cancelled


@pytest.mark.parametrize("read", [0, 1])
async def test_who_closes_when_the_answer_has_just_come_closes_that_too(read: int) -> None:
    slices = Slices(b"a", asyncio.Event())
    work = Work(Served(200, Headers(), slices))
    body = body_of(await kept_alive(work(), SIGNS))
    for _ in range(read):
        assert await anext(body) == SIGNS.ping
    work.gate.set()
    await work.done.wait()
    await body.aclose()
    assert slices.is_closed


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_who_closes_a_stream_closes_what_it_comes_from(read: int) -> None:
    slices = Slices(b"a", asyncio.Event())
    work = Work(Served(200, Headers(), slices))
    work.gate.set()
    body = body_of(await kept_alive(work(), SIGNS))
    for _ in range(read):
        await anext(body)
    await body.aclose()
    assert slices.is_closed


@pytest.mark.parametrize("format", FORMATS)
def test_whole_answers_begin_with_line_ends_in_all_formats(format: Format) -> None:
    signs = whole_signs(format, SHORT_S)
    assert (signs.ping, signs.content_type, signs.between) == (b"\n", "application/json", False)
    assert message_of(format, 503, json.loads(signs.failure(Unavailable("busy")))) == "busy"

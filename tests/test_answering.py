"""From an upstream's response to the client's answer: what kind it becomes, when it is committed to, and how it ends.

The relays' bytes are `tests/test_relay.py`; here responses come over real sockets.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cliproxy.answering import MAX_ERROR_BYTES, PassedOn, answered, error_answer, json_answer, refusal
from cliproxy.attempt import RunningAttempt, begin
from cliproxy.call import ClientCall
from cliproxy.exchange import Answer as Served
from cliproxy.exchange import AnswerCut, ByteStream, ClientRequest, Exchange, Headers, NoObserver
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.relay import NativeRefusal, Passing, Relay, Translating
from cliproxy.routes import match
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import (
    ClientFault,
    GatewayError,
    Unavailable,
    UpstreamCut,
    UpstreamGarbled,
    UpstreamRefused,
)
from cliproxy.wire.model import FORMATS, Format, ModelFacts, Request, Text, Turn
from cliproxy.wire.translation import Translation
from tests import native, streams
from tests.answers import Answer
from tests.calls import message_of
from tests.candidates import candidate
from tests.certificates import client_context
from tests.features.gateways import whole
from tests.native import INPUT_TOKENS, OUTPUT_TOKENS, WORDS
from tests.upstream import Upstream
from tests.wire import vendors

PATHS: Mapping[Format, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/model:generateContent",
}

every_format = pytest.mark.parametrize("format", FORMATS)
in_both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Verdict:
    """What was said of an attempt."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.error: GatewayError | None = None

    def served(self) -> None:
        self.said.append("served")

    def failed(self, error: GatewayError) -> None:
        self.said.append("failed")
        self.error = error

    def abandoned(self) -> None:
        self.said.append("abandoned")


class Attempts:
    """Calls of one upstream, which speaks Anthropic's format."""

    def __init__(self, upstream: Upstream, transport: HttpTransport) -> None:
        self.upstream = upstream
        self.verdict = Verdict()
        self._transport = transport

    async def begin(self, answer: Answer, format: Format = "anthropic") -> RunningAttempt:
        self.upstream.script(answer)
        path = PATHS[format]
        request = ClientRequest("POST", path, "", Headers(), b"{}")
        exchange = Exchange(request, NoObserver())
        chosen = candidate("a", base_url=self.upstream.url, formats=(format,))
        call = UpstreamCall(Purpose.GENERATE, format, "POST", path, "", Headers(), b"{}")
        return await begin(exchange, chosen, call, self._transport, self.verdict)


@pytest.fixture
async def attempts(upstream: Upstream) -> AsyncIterator[Attempts]:
    transport = HttpTransport(client_context(), TimeLimits(5, 5, 5))
    yield Attempts(upstream, transport)
    await transport.close()


def call(format: Format = "anthropic", *, stream: bool, sse: bool = True) -> ClientCall:
    return ClientCall(match("POST", PATHS[format]), "model", stream, sse, b"{}", "")


def translating(client: Format, *, stream: bool, sse: bool = True, upstream: Format = "anthropic") -> Translating:
    asked = Request(client, "shown", [Turn("user", [Text("hi")])], stream=stream)
    translation = Translation(asked, upstream, ModelFacts("upstream-model"), "shown")
    return Translating(translation, upstream, stream=stream, sse=sse)


def relay_for(client: Format, *, stream: bool) -> Relay:
    """For an upstream of Anthropic's format."""
    return Passing("anthropic") if client == "anthropic" else translating(client, stream=stream)


def streamed(answer: Served) -> ByteStream:
    assert not isinstance(answer.body, bytes)
    return answer.body


def typed(content_type: str, body: bytes, **headers: str) -> Answer:
    return Answer(headers={"content-type": content_type, **headers}, body=body)


async def gone(upstream: Upstream) -> None:
    await asyncio.wait_for(upstream.requests[0].disconnected.wait(), 5)


def first_word() -> int:
    """How many events Anthropic's stream has up to its first word."""
    return next(n for n, event in enumerate(streams.events("anthropic"), 1) if WORDS[0].encode() in event)


# ---------------------------------------------------------------- what kind of answer it becomes


@every_format
@in_both_ways
async def test_an_answer_comes_as_the_client_wants_it(attempts: Attempts, format: Format, stream: bool) -> None:
    attempt = await attempts.begin(native.text("anthropic", stream=stream))
    answer = await answered(attempt, relay_for(format, stream=stream), call(format, stream=stream))
    assert answer.status == 200
    assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert isinstance(answer.body, bytes) != stream
    assert vendors.read(format, await whole(answer), stream=stream).text == "hello from upstream"
    assert attempts.verdict.said == ["served"]


@pytest.mark.parametrize("client", ["openai-chat", "openai-responses", "gemini"])
async def test_a_whole_answer_becomes_a_stream_for_who_wants_one(attempts: Attempts, client: Format) -> None:
    """Some upstreams do not heed `stream`."""
    attempt = await attempts.begin(native.text("anthropic"))
    answer = await answered(attempt, translating(client, stream=True), call(client, stream=True))
    assert answer.headers["content-type"] == "text/event-stream"
    assert vendors.read(client, await whole(answer), stream=True).text == "hello from upstream"


@pytest.mark.parametrize("client", ["openai-chat", "openai-responses", "gemini"])
async def test_a_stream_becomes_whole_for_who_wants_that(attempts: Attempts, client: Format) -> None:
    attempt = await attempts.begin(native.text("anthropic", stream=True))
    answer = await answered(attempt, translating(client, stream=False), call(client, stream=False))
    assert answer.headers["content-type"] == "application/json"
    assert vendors.read(client, await whole(answer), stream=False).text == "hello from upstream"
    assert attempt.record.usage.output == OUTPUT_TOKENS


async def test_a_gemini_client_may_want_a_json_array(attempts: Attempts) -> None:
    attempt = await attempts.begin(native.text("anthropic", stream=True))
    relay = translating("gemini", stream=True, sse=False)
    answer = await answered(attempt, relay, call("gemini", stream=True, sse=False))
    assert answer.headers["content-type"] == "application/json"
    chunks = json.loads(await whole(answer))
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_a_passed_json_array_streams(attempts: Attempts) -> None:
    gate = asyncio.Event()
    first, second = (json.dumps(json.loads(native.text("gemini", words=[word]).whole)).encode() for word in "ab")
    attempt = await attempts.begin(
        Answer(headers={"content-type": "application/json"}, body=[b"[" + first, gate, b"," + second + b"]"]), "gemini"
    )
    answer = await answered(attempt, Passing("gemini"), call("gemini", stream=True, sse=False))
    assert await anext(streamed(answer)) == b"[" + first
    gate.set()
    assert await whole(answer) == b"," + second + b"]"


async def test_a_passed_whole_answer_stays_whole_though_a_stream_was_wanted(attempts: Attempts) -> None:
    """Client and upstream agree on something that is not ours to mend."""
    said = native.text("anthropic")
    answer = await answered(await attempts.begin(said), Passing("anthropic"), call(stream=True))
    assert (answer.headers["content-type"], answer.body) == ("application/json", said.whole)


@in_both_ways
async def test_a_passed_answer_keeps_the_upstreams_headers(attempts: Attempts, stream: bool) -> None:
    said = native.text("anthropic", stream=stream)
    sent = {**said.headers, "request-id": "req_1", "anthropic-ratelimit-requests-remaining": "9", "set-cookie": "a=b"}
    answer = await answered(
        await attempts.begin(replace(said, headers=sent)), Passing("anthropic"), call(stream=stream)
    )
    assert (answer.headers["request-id"], answer.headers["anthropic-ratelimit-requests-remaining"]) == ("req_1", "9")
    assert not {"set-cookie", "content-length", "transfer-encoding"} & {name.lower() for name in answer.headers}
    assert await whole(answer) == said.whole


@in_both_ways
async def test_a_translated_answer_has_none_of_the_upstreams_headers(attempts: Attempts, stream: bool) -> None:
    said = native.text("anthropic", stream=stream).encoded("gzip")
    sent = {**said.headers, "request-id": "req_1", "anthropic-ratelimit-requests-remaining": "9"}
    attempt = await attempts.begin(replace(said, headers=sent))
    answer = await answered(attempt, translating("gemini", stream=stream), call("gemini", stream=stream))
    expected = (
        {"content-type": "text/event-stream", "cache-control": "no-cache"}
        if stream
        else {"content-type": "application/json"}
    )
    assert dict(answer.headers) == expected
    assert vendors.read("gemini", await whole(answer), stream=stream).text == "hello from upstream"


async def test_what_was_used_and_how_it_ended_is_on_record(attempts: Attempts) -> None:
    for stream in (False, True):
        attempt = await attempts.begin(native.text("anthropic", stream=stream))
        await whole(await answered(attempt, Passing("anthropic"), call(stream=stream)))
        usage = attempt.record.usage
        assert (usage.input, usage.output) == (INPUT_TOKENS, OUTPUT_TOKENS)
        assert attempt.record.finish_reason == "stop"
        assert attempt.record.ended_s >= attempt.record.first_byte_s > 0
        assert attempt.record.error == ""


# ---------------------------------------------------------------- what fails before the answer


@in_both_ways
@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
@pytest.mark.parametrize(
    ("said", "message"),
    [
        (typed("text/html", b"<html>Log in</html>"), "answered text/html where application/json was due"),
        (Answer(body=b"{}"), "without a content-type|answered application/octet-stream"),
        (typed("application/json", b"[]"), "not"),
        (typed("application/json", b"{"), "not"),
        (typed("application/json", b""), "not"),
        (typed("application/json", b"nonsense", **{"content-encoding": "gzip"}), "gzip"),
    ],
    ids=["HTML", "no type", "an array", "half", "nothing", "broken gzip"],
)
async def test_what_is_no_answer_is_garbled(
    attempts: Attempts, said: Answer, message: str, client: Format, stream: bool
) -> None:
    attempt = await attempts.begin(said)
    with pytest.raises(UpstreamGarbled, match=message):
        await answered(attempt, relay_for(client, stream=stream), call(client, stream=stream))
    assert attempts.verdict.said == ["failed"]
    assert attempt.record.ended_s and attempt.record.error


async def test_a_stream_is_no_whole_answer_where_it_would_pass(attempts: Attempts) -> None:
    attempt = await attempts.begin(native.text("anthropic", stream=True))
    with pytest.raises(UpstreamGarbled, match="text/event-stream where application/json was due"):
        await answered(attempt, Passing("anthropic"), call(stream=False))
    assert attempts.verdict.said == ["failed"]


@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
async def test_a_stream_that_begins_with_an_error_can_still_be_replaced(attempts: Attempts, client: Format) -> None:
    event = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
    attempt = await attempts.begin(replace(native.text("anthropic", stream=True), body=[event]))
    with pytest.raises(UpstreamRefused, match="busy") as refused:
        await answered(attempt, relay_for(client, stream=True), call(client, stream=True))
    assert refused.value.status == 529
    assert (attempts.verdict.said, attempts.verdict.error) == (["failed"], refused.value)


@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
async def test_a_stream_that_ends_before_it_began_can_still_be_replaced(
    attempts: Attempts, client: Format, reset: bool
) -> None:
    attempt = await attempts.begin(streams.broken("anthropic", after=0, tail=b"event: mess", reset=reset))
    with pytest.raises(UpstreamCut):
        await answered(attempt, relay_for(client, stream=True), call(client, stream=True))
    assert attempts.verdict.said == ["failed"]


@in_both_ways
async def test_a_client_that_leaves_first_abandons_the_attempt(attempts: Attempts, stream: bool) -> None:
    gate = asyncio.Event()
    said = native.text("anthropic", stream=stream)
    attempt = await attempts.begin(replace(said, body=[gate, said.whole]))
    waiting = asyncio.ensure_future(answered(attempt, Passing("anthropic"), call(stream=stream)))
    await asyncio.wait({waiting}, timeout=0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert attempts.verdict.said == ["abandoned"]
    await gone(attempts.upstream)


# ---------------------------------------------------------------- what fails in the answer


@every_format
async def test_what_breaks_off_ends_with_an_error_of_the_clients_format(attempts: Attempts, format: Format) -> None:
    attempt = await attempts.begin(streams.broken("anthropic", after=first_word()))
    answer = await answered(attempt, relay_for(format, stream=True), call(format, stream=True))
    raw = await whole(answer)
    assert WORDS[0].encode() in raw and b"error" in raw.strip().rpartition(b"\n\n")[2]
    assert (attempts.verdict.said, type(attempts.verdict.error)) == (["failed"], UpstreamCut)
    assert attempt.record.usage.input == INPUT_TOKENS


async def test_what_has_no_way_to_say_so_is_cut(attempts: Attempts) -> None:
    said = native.text("anthropic", stream=True).encoded("gzip")
    pieces = [piece for piece in said.body if isinstance(piece, bytes)]
    attempt = await attempts.begin(replace(said, body=pieces[: first_word()], cut=True))
    answer = await answered(attempt, Passing("anthropic"), call(stream=True))
    with pytest.raises(AnswerCut):
        await whole(answer)
    assert (attempts.verdict.said, type(attempts.verdict.error)) == (["failed"], UpstreamCut)
    assert "cut off" in attempt.record.error


@pytest.mark.parametrize("client", ["anthropic", "openai-chat"])
@pytest.mark.parametrize("read", [0, 1])
async def test_who_closes_an_answer_gives_the_attempt_up(attempts: Attempts, client: Format, read: int) -> None:
    attempt = await attempts.begin(streams.held("anthropic", after=first_word()))
    answer = await answered(attempt, relay_for(client, stream=True), call(client, stream=True))
    for _ in range(read):
        await anext(streamed(answer))
    await answer.close()
    assert attempts.verdict.said == ["abandoned"]
    assert attempt.record.error == "the client went away"
    await gone(attempts.upstream)


# ---------------------------------------------------------------- refusals


@every_format
@pytest.mark.parametrize("client", FORMATS)
async def test_a_refusal_is_told_in_the_clients_format(attempts: Attempts, format: Format, client: Format) -> None:
    """format: the upstream's."""
    said = native.error(format, 429, "slow down", retry_after="7", request_id="req_1")
    attempt = await attempts.begin(said, format)
    relay = Passing(format) if client == format else translating(client, stream=False, upstream=format)
    with pytest.raises(UpstreamRefused) as refused:
        await answered(attempt, relay, call(client, stream=False))
    assert attempts.verdict.error is refused.value
    answer = error_answer(refused.value, client)
    body = await whole(answer)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert message_of(client, 429, json.loads(body)) == "slow down"
    assert (body == said.whole) == (client == format)
    assert answer.headers.get("request-id") == ("req_1" if client == format else None)


async def test_a_refusal_that_came_natively_is_told_anew_to_another_format(attempts: Attempts) -> None:
    error = await refusal(await attempts.begin(native.error("anthropic", 529, "busy")), Passing("anthropic"))
    assert isinstance(error, NativeRefusal)
    answer = error_answer(error, "gemini")
    assert message_of("gemini", answer.status, json.loads(await whole(answer))) == "busy"


async def test_a_refusal_that_is_a_web_page_is_never_passed_on(attempts: Attempts) -> None:
    said = replace(typed("text/html", b"<html><title>Bad gateway</title></html>"), status=502)
    error = await refusal(await attempts.begin(said), Passing("anthropic"))
    body = await whole(error_answer(error, "anthropic"))
    assert b"<html" not in body
    assert message_of("anthropic", 502, json.loads(body))


@pytest.mark.parametrize("status", [300, 302, 307, 308])
async def test_a_redirect_is_no_answer(attempts: Attempts, status: int) -> None:
    """A body and a key must not follow it to another host."""
    attempt = await attempts.begin(Answer(status=status, headers={"location": "http://elsewhere.test/"}))
    with pytest.raises(UpstreamGarbled, match=f"{status} .a redirect."):
        await answered(attempt, Passing("anthropic"), call(stream=False))
    assert attempts.verdict.said == ["failed"]


async def test_an_endless_refusal_is_not_read_to_its_end(attempts: Attempts) -> None:
    said = Answer(
        status=500, headers={"content-type": "application/json"}, body=[b"x" * (MAX_ERROR_BYTES + 1), asyncio.Event()]
    )
    attempt = await attempts.begin(said)
    with pytest.raises(UpstreamGarbled, match="exceeds"):
        await answered(attempt, Passing("anthropic"), call(stream=False))
    assert attempts.verdict.said == ["failed"]
    await gone(attempts.upstream)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Unavailable("busy", retry_after_s=0.2), 503, "1"),
        (Unavailable("busy", retry_after_s=12.4), 503, "12"),
        (Unavailable("busy"), 503, None),
        (ClientFault("wrong"), 400, None),
        (UpstreamRefused("no", status=429, retry_after_s=7), 429, "7"),
    ],
)
@every_format
def test_an_error_says_when_to_come_back(
    error: GatewayError, status: int, retry_after: str | None, format: Format
) -> None:
    answer = error_answer(error, format)
    assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.body, bytes)
    assert message_of(format, status, json.loads(answer.body)) == error.message


def test_a_json_answer_may_have_headers_of_its_own() -> None:
    answer = json_answer(207, {"a": ["é"]}, {"x-b": "c"})
    assert (answer.status, answer.headers["x-b"], answer.headers["content-type"]) == (207, "c", "application/json")
    assert isinstance(answer.body, bytes) and json.loads(answer.body) == {"a": ["é"]}


# ---------------------------------------------------------------- bodies of any kind


async def test_a_body_of_any_kind_passes_as_it_arrives(attempts: Attempts) -> None:
    gate = asyncio.Event()
    attempt = await attempts.begin(Answer(headers={"content-type": "audio/mpeg"}, body=[b"\x00\xff", gate, b"\xfe"]))
    body = PassedOn(attempt)
    assert await anext(body) == b"\x00\xff"
    gate.set()
    assert [piece async for piece in body] == [b"\xfe"]
    assert attempts.verdict.said == ["served"]
    assert attempt.record.response_bytes == 3


async def test_a_body_of_any_kind_that_breaks_off_is_cut(attempts: Attempts) -> None:
    attempt = await attempts.begin(Answer(body=[b"half"], cut=True))
    body: Any = PassedOn(attempt)
    assert await anext(body) == b"half"
    with pytest.raises(UpstreamCut):
        await anext(body)
    assert attempts.verdict.said == ["failed"]


@pytest.mark.parametrize("read", [0, 1])
async def test_who_closes_a_body_of_any_kind_gives_the_attempt_up(attempts: Attempts, read: int) -> None:
    attempt = await attempts.begin(Answer(body=[b"half", asyncio.Event()]))
    answer = Served(200, Headers(), PassedOn(attempt))
    for _ in range(read):
        await anext(streamed(answer))
    await answer.close()
    assert attempts.verdict.said == ["abandoned"]
    await gone(attempts.upstream)

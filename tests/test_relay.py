"""cliproxy.relay: an upstream's answer on its way to the client, passed on byte for byte or told again."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors as genai_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.exchange import AnswerCut, Headers
from cliproxy.relay import NativeRefusal, Passing, StreamRelay, Translating, media_type, stream_type
from cliproxy.wire.errors import (
    GatewayError,
    UpstreamCut,
    UpstreamFault,
    UpstreamGarbled,
    UpstreamRefused,
    UpstreamTimeout,
)
from cliproxy.wire.model import FORMATS, Format, ModelFacts, Request, Text, Turn
from cliproxy.wire.translation import Translation
from tests import native
from tests.answers import Answer, Encoding
from tests.wire.vendors import Understood, read

SSE, JSON = Headers({"content-type": "text/event-stream; charset=utf-8"}), Headers({"content-type": "application/json"})
SDK_ERRORS = (openai.APIError, anthropic.APIError, genai_errors.APIError)
MAKERS: tuple[Callable[..., Answer], ...] = (native.text, native.tool_call)
every_format = pytest.mark.parametrize("format", FORMATS)
every_native_stream = pytest.mark.parametrize(
    ("format", "raw"),
    [(format, make(format, stream=True).whole) for format in FORMATS for make in MAKERS],
    ids=[f"{format}-{make.__name__}" for format in FORMATS for make in MAKERS],
)


def frames(raw: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in raw.split(b"\n\n") if frame]


def fed(relay: StreamRelay, slices: Iterable[bytes]) -> bytes:
    return b"".join(map(relay.feed, slices))


def cut(raw: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted({place % len(raw) for place in places}), len(raw)]
    return [raw[start:end] for start, end in pairwise(ends)]


def passing(format: Format, headers: Headers = SSE) -> StreamRelay:
    return Passing(format).stream(headers)


def translating(client: Format, upstream: Format, *, stream: bool = True, sse: bool = True) -> Translating:
    asked = Request(client, "client-model", [Turn("user", [Text("hi")])], stream=stream)
    translation = Translation(asked, upstream, ModelFacts("upstream-model"), "client-model")
    return Translating(translation, upstream, stream=stream, sse=sse)


def with_encoding(encoding: str, content_type: str = "text/event-stream") -> Headers:
    return Headers({"content-type": content_type, "content-encoding": encoding})


# ---------------------------------------------------------------- streams that pass


@every_native_stream
@given(places=st.lists(st.integers(0, 10_000), max_size=30))
@settings(max_examples=40, deadline=None)
def test_a_stream_in_any_slices_keeps_its_bytes(format: Format, raw: bytes, places: list[int]) -> None:
    relay = passing(format)
    assert fed(relay, cut(raw, places)) + relay.finish() == raw


_pieces = st.sampled_from(
    [
        b"data: {}",
        b"\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r\r",
        b"\r",
        b": ping",
        b"event: own\nid: 7\nretry: 10\n",
        b"\xff\xfe",
    ]
)


@given(st.lists(_pieces, min_size=1, max_size=12).map(b"".join), st.lists(st.integers(0, 200), max_size=6))
@settings(deadline=None)
def test_whatever_the_frames_are_bytes_pass_in_whole_frames_only(raw: bytes, places: list[int]) -> None:
    relay = passing("openai-chat")
    out = b""
    for piece in cut(raw, places):
        out += relay.feed(piece)
        assert raw.startswith(out)
        # What stands at the end may be followed by an error event: no frame may be open there.
        assert not out or out.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")), out


@every_format
def test_unknown_events_pings_and_comments_pass(format: Format) -> None:
    first, *rest = frames(native.text(format, stream=True).whole)
    own = [b": comment\n\n", b'event: vendor.own\ndata: {"type":"vendor.own","x":1}\n\n', b"id: 5\nretry: 100\n\n"]
    relay = passing(format)
    sent = [first, *own, *rest]
    assert [relay.feed(piece) for piece in sent] == sent
    assert relay.finish() == b""


@every_format
@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
def test_other_line_ends_pass(format: Format, ending: bytes) -> None:
    raw = native.text(format, stream=True).whole.replace(b"\n", ending)
    relay = passing(format)
    assert fed(relay, [raw[at : at + 50] for at in range(0, len(raw), 50)]) + relay.finish() == raw


@every_format
@pytest.mark.parametrize(("make", "finish"), [(native.text, "stop"), (native.tool_call, "tool")])
def test_usage_and_finish_are_read_at_the_side(format: Format, make: Callable[..., Answer], finish: str) -> None:
    relay = passing(format)
    fed(relay, frames(make(format, stream=True).whole))
    relay.finish()
    assert (relay.usage.input, relay.usage.output) == (native.INPUT_TOKENS, native.OUTPUT_TOKENS)
    assert relay.finish_reason == finish


def last_event(raw: bytes) -> tuple[str, Any]:
    """Name and JSON of the last frame."""
    lines = frames(raw)[-1].decode().splitlines()
    name = next((line.removeprefix("event: ") for line in lines if line.startswith("event: ")), "")
    return name, json.loads(next(line.removeprefix("data: ") for line in lines if line.startswith("data: ")))


def said_in(format: Format, raw: bytes) -> str:
    """The message of the error event with which a stream ends."""
    name, event = last_event(raw)
    match format:
        case "openai-chat":
            assert name == ""
            return event["error"]["message"]
        case "openai-responses":
            assert name == event["type"]
            # Translated answers say it as the vendor does; where bytes pass, the response's own state is not known.
            return event["response"]["error"]["message"] if name == "response.failed" else event["message"]
        case "anthropic":
            assert name == event["type"] == "error"
            return event["error"]["message"]
        case "gemini":
            assert name == ""
            assert event["error"]["code"] == 502
            return event["error"]["message"]


@every_native_stream
@pytest.mark.parametrize("size", [1, 40, 10_000])
def test_a_stream_that_ends_too_early_is_told_so(format: Format, raw: bytes, size: int) -> None:
    whole = frames(raw)
    between = {len(b"".join(whole[:2])), len(b"".join(whole[: len(whole) // 2]))}
    for at in {*range(30, len(raw) // 2, 61), *between} - {len(raw)}:
        relay = passing(format)
        out = fed(relay, [raw[start : min(start + size, at)] for start in range(0, at, size)])
        with pytest.raises(UpstreamCut) as caught:
            relay.finish()
        out += relay.fail(caught.value)
        kept = b"".join(whole[: raw[:at].count(b"\n\n")])
        assert out.startswith(kept)
        assert len(frames(out)) == len(frames(kept)) + 1, "half a frame went out"
        assert said_in(format, out) == caught.value.message


def assert_failed(format: Format, raw: bytes, message: str) -> None:
    """The stream ends in an error with the message, and the vendor's SDK does not take it for complete."""
    assert said_in(format, raw) == message
    # OpenAI's SDK hands an error event of Responses to its user, and misses the end.
    with pytest.raises(RuntimeError if format == "openai-responses" else SDK_ERRORS):
        read(format, raw, stream=True)


@every_format
def test_the_vendors_sdk_sees_the_error_of_a_cut_stream(format: Format) -> None:
    raw = native.text(format, stream=True).whole
    relay = passing(format)
    out = relay.feed(raw[: len(raw) // 2]) + relay.fail(UpstreamTimeout("too slow", status=502))
    assert_failed(format, out, "too slow")


@every_format
def test_a_stream_that_says_nothing_is_cut(format: Format) -> None:
    for slices in ([], [b""], [b": ping\n\n"], [b"\n\n\n\n"]):
        relay = passing(format)
        fed(relay, slices)
        with pytest.raises(UpstreamCut):
            relay.finish()


@every_format
def test_an_error_that_the_upstream_sent_itself_is_no_cut(format: Format) -> None:
    relay = passing(format)
    first = frames(native.text(format, stream=True).whole)[0]
    error = passing(format).fail(UpstreamRefused("overloaded", status=529))
    assert fed(relay, [first, error]) + relay.finish() == first + error


def test_a_last_frame_without_its_blank_line_is_complete() -> None:
    raw = native.text("openai-chat", stream=True).whole.removesuffix(b"\n\n")
    relay = passing("openai-chat")
    assert relay.feed(raw) + relay.finish() == raw


@every_format
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_packed_stream_keeps_its_bytes_and_is_read_at_the_side(format: Format, encoding: Encoding) -> None:
    packed = native.text(format, stream=True).encoded(encoding).whole
    relay = passing(format, with_encoding(encoding))
    assert fed(relay, [packed[at : at + 7] for at in range(0, len(packed), 7)]) + relay.finish() == packed
    assert relay.usage.output == native.OUTPUT_TOKENS


@every_format
def test_a_packed_stream_can_only_be_cut(format: Format) -> None:
    packed = native.text(format, stream=True).encoded("gzip").whole
    relay = passing(format, with_encoding("gzip"))
    assert relay.feed(packed[: len(packed) // 2]) == packed[: len(packed) // 2]
    with pytest.raises(UpstreamCut):
        relay.finish()
    with pytest.raises(AnswerCut, match="too slow"):
        relay.fail(UpstreamTimeout("too slow"))


def test_geminis_array_can_only_be_cut() -> None:
    raw = b"[" + native.text("gemini").whole + b",\n"
    relay = passing("gemini", JSON)
    assert relay.feed(raw) == raw
    with pytest.raises(AnswerCut, match="too slow"):
        relay.fail(UpstreamTimeout("too slow"))


def test_geminis_array_passes_in_any_slices() -> None:
    whole = native.text("gemini").whole
    raw = b"[" + whole.replace(b'"finishReason": "STOP"', b'"index": 0') + b",\r\n" + whole + b"]\n"
    for size in (1, 9, 10_000):
        relay = passing("gemini", JSON)
        assert fed(relay, [raw[at : at + size] for at in range(0, len(raw), size)]) + relay.finish() == raw
        assert (relay.usage.output, relay.finish_reason) == (native.OUTPUT_TOKENS, "stop")


def damaged(relay: Passing | Translating, encoding: str) -> None:
    """Read a stream that is not in the coding that it claims."""
    stream = relay.stream(with_encoding(encoding))
    stream.feed(b"data: {}\n\n")
    stream.finish()


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "snappy", "gzip, snappy"])
@pytest.mark.parametrize("relay", [Passing("openai-chat"), translating("anthropic", "openai-chat")])
def test_a_coding_that_is_not_what_it_claims_is_the_upstreams_fault(
    relay: Passing | Translating, encoding: str
) -> None:
    with pytest.raises(UpstreamGarbled):
        damaged(relay, encoding)


# ---------------------------------------------------------------- whole answers that pass


@every_format
@pytest.mark.parametrize("encoding", [None, "gzip", "br", "zstd", "deflate"])
def test_a_whole_answer_keeps_its_bytes(format: Format, encoding: Encoding | None) -> None:
    answer = native.text(format)
    if encoding:
        answer = answer.encoded(encoding)
    relay = Passing(format)
    headers = with_encoding(encoding, "application/json") if encoding else JSON
    assert relay.whole(answer.whole, headers) == answer.whole
    assert (relay.usage.input, relay.usage.output) == (native.INPUT_TOKENS, native.OUTPUT_TOKENS)
    assert relay.finish_reason == "stop"


@every_format
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"a":', b"\xff", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_a_whole_answer_that_is_no_object_is_the_upstreams_fault(format: Format, body: bytes) -> None:
    for relay in (Passing(format), translating("anthropic", format, stream=False)):
        with pytest.raises(UpstreamGarbled):
            relay.whole(body, JSON)


@every_format
def test_a_whole_answer_of_an_unknown_shape_passes(format: Format) -> None:
    body = b'{ "vendor":"own" , "x":[ 1.0 ]}'
    assert Passing(format).whole(body, JSON) == body


# ---------------------------------------------------------------- refusals


@every_format
def test_a_refusal_can_pass_as_it_came(format: Format) -> None:
    answer = native.error(format, 429, "slow down")
    headers = Headers({**answer.headers, "Retry-After": "7"})
    refused = Passing(format).refusal(429, headers, answer.whole)
    assert isinstance(refused, NativeRefusal)
    assert (refused.status, refused.message, refused.retry_after_s) == (429, "slow down", 7)
    assert (refused.native_body, refused.native_headers, refused.format) == (answer.whole, headers, format)


@every_format
def test_a_packed_refusal_is_read_and_passes_packed(format: Format) -> None:
    answer = native.error(format, 400, "no such thing").encoded("gzip")
    refused = Passing(format).refusal(400, Headers(answer.headers), answer.whole)
    assert isinstance(refused, NativeRefusal)
    assert (refused.message, refused.native_body) == ("no such thing", answer.whole)


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"<html>no</html>", b"[" * 100_000])
@every_format
def test_a_refusal_that_is_no_json_is_told_in_our_words(format: Format, body: bytes) -> None:
    for headers in (Headers({"content-type": "text/html"}), with_encoding("snappy", "text/html"), Headers()):
        refused = Passing(format).refusal(503, headers, body)
        assert not isinstance(refused, NativeRefusal)
        assert refused.status == 503
        assert refused.message


@every_format
def test_a_refusal_in_another_format_keeps_its_words(format: Format) -> None:
    client: Format = "anthropic" if format != "anthropic" else "gemini"
    answer = native.error(format, 404, "no such model")
    refused = translating(client, format).refusal(404, Headers(answer.headers), answer.whole)
    assert not isinstance(refused, NativeRefusal)
    assert (refused.status, refused.message) == (404, "no such model")


# ---------------------------------------------------------------- answers in another format

PAIRS = [(client, upstream) for client in FORMATS for upstream in FORMATS if client != upstream]


def hello(format: Format, raw: bytes, *, stream: bool) -> None:
    understood: Understood = read(format, raw, stream=stream)
    assert understood.text == "hello from upstream"
    assert understood.model == "client-model"
    assert understood.tokens == (native.INPUT_TOKENS, native.OUTPUT_TOKENS)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_every_shape_of_an_answer_becomes_every_shape(client: Format, upstream: Format) -> None:
    streamed, whole = native.text(upstream, stream=True).whole, native.text(upstream).whole
    relay = translating(client, upstream)
    stream = relay.stream(SSE)
    hello(client, fed(stream, frames(streamed)) + stream.finish(), stream=True)
    assert (stream.usage.output, stream.finish_reason) == (native.OUTPUT_TOKENS, "stop")

    hello(client, translating(client, upstream).whole(whole, JSON), stream=True)
    for body, headers in ((whole, JSON), (streamed, SSE)):
        relay = translating(client, upstream, stream=False)
        hello(client, relay.whole(body, headers), stream=False)
        assert (relay.usage.output, relay.finish_reason) == (native.OUTPUT_TOKENS, "stop")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_packed_answer_is_told_unpacked(encoding: Encoding) -> None:
    packed = native.text("anthropic", stream=True).encoded(encoding).whole
    stream = translating("openai-chat", "anthropic").stream(with_encoding(encoding))
    out = fed(stream, [packed[at : at + 11] for at in range(0, len(packed), 11)]) + stream.finish()
    hello("openai-chat", out, stream=True)
    relay = translating("openai-chat", "anthropic", stream=False)
    body = native.text("anthropic").encoded(encoding).whole
    hello("openai-chat", relay.whole(body, with_encoding(encoding, "application/json")), stream=False)


def test_geminis_array_is_one_json_array() -> None:
    stream = translating("gemini", "anthropic", sse=False).stream(SSE)
    raw = fed(stream, frames(native.text("anthropic", stream=True).whole)) + stream.finish()
    answers = json.loads(raw)
    assert "".join(
        part["text"] for answer in answers for part in answer["candidates"][0]["content"].get("parts", ())
    ) == "hello from upstream"  # fmt: skip


def begun(format: Format) -> list[bytes]:
    """The frames of an answer that has said something and is not yet complete."""
    whole = frames(native.text(format, stream=True).whole)
    return whole[: {"openai-chat": 3, "openai-responses": 6, "anthropic": 5, "gemini": 1}[format]]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_translated_stream_that_is_cut_ends_in_an_error(client: Format, upstream: Format) -> None:
    stream = translating(client, upstream).stream(SSE)
    out = fed(stream, begun(upstream)) + stream.finish()
    assert_failed(client, out, UpstreamCut().message)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_before_anything_was_said_a_failure_raises(client: Format, upstream: Format) -> None:
    stream = translating(client, upstream).stream(SSE)
    with pytest.raises(UpstreamFault):
        stream.finish()


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_translated_stream_can_be_failed(client: Format, upstream: Format) -> None:
    stream = translating(client, upstream).stream(SSE)
    out = fed(stream, begun(upstream)) + stream.fail(UpstreamTimeout("too slow", status=502))
    assert_failed(client, out, "too slow")
    assert stream.fail(GatewayError("again")) == b""


# ---------------------------------------------------------------- content types


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" text/event-stream ;x=y", "text/event-stream"),
        ("", ""),
    ],
)
def test_the_media_type_is_bare(value: str, kind: str) -> None:
    assert media_type(Headers({"Content-Type": value})) == kind
    assert media_type(Headers()) == ""


def test_a_stream_is_events_or_geminis_array() -> None:
    assert (stream_type(True), stream_type(False)) == ("text/event-stream", "application/json")

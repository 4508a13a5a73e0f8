"""cliproxy.wire.tap: usage and ending of an answer that passes by in its own format."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fold import unfold
from cliproxy.wire.model import FORMATS, Answer, Failure, FinishReason, Request, Text, ToolCall, Turn, Usage
from cliproxy.wire.tap import UsageTap
from cliproxy.wire.translation import CODECS
from tests import native

every_format = pytest.mark.parametrize("format", FORMATS)

COUNTS = Usage(input=60, cache_read=40, cache_write=0, output=30, reasoning=7)


def asked(format):
    return Request(format, "m", [Turn("user", [Text("hi")])], stream=True)


def streamed(format, *parts, finish: FinishReason = "stop", usage=COUNTS):
    encoder = CODECS[format].AnswerEncoder(asked(format), "m-1")
    answer = Answer("id1", "m-1", 1, list(parts), usage, finish)
    return b"".join([*map(encoder.push, unfold(answer)), encoder.finish()])


def tapped(format, *chunks):
    tap = UsageTap(format)
    for chunk in chunks:
        tap.feed(chunk)
    tap.finish()
    return tap


def frames(raw):
    return [frame + b"\n\n" for frame in raw.split(b"\n\n") if frame]


def seen(tap):
    total = (tap.usage.input or 0) + (tap.usage.cache_read or 0) + (tap.usage.cache_write or 0)
    return tap.model, total, tap.usage.cache_read, tap.usage.output, tap.finish_reason, tap.ended, tap.failure


@every_format
@pytest.mark.parametrize(
    ("parts", "finish"),
    [
        ([Text("Hello \u2028 world")], "stop"),
        ([Text('"usage" "error" "finish_reason":"x" message_stop [DONE]')], "stop"),
        ([Text("So."), ToolCall("call_1", "f", '{"usage":1}'), ToolCall("call_2", "g", "{}")], "tool"),
        ([Text("cut")], "length"),
        ([], "stop"),
    ],
)
def test_a_stream_in_any_slices(format, parts, finish):
    raw = streamed(format, *parts, finish=finish)
    wanted = ("m-1", 100, 40, 30, finish, True, None)
    assert seen(tapped(format, raw)) == wanted
    assert seen(tapped(format, *frames(raw))) == wanted
    for size in (1, 7, 100):
        assert seen(tapped(format, *(raw[at : at + size] for at in range(0, len(raw), size)))) == wanted
    assert seen(tapped(format, raw.replace(b"\n", b"\r\n"))) == wanted


@every_format
@pytest.mark.parametrize("make", [native.text, native.tool_call])
@pytest.mark.parametrize("stream", [True, False])
def test_what_the_vendors_send(format, make, stream):
    answer = make(format, stream=stream)
    tap = tapped(format, *frames(answer.whole)) if stream else UsageTap.whole(format, answer.whole)
    finish = "tool" if make is native.tool_call else "stop"
    assert seen(tap)[0:2] == ("test-model", native.INPUT_TOKENS)
    assert seen(tap)[3:] == (native.OUTPUT_TOKENS, finish, True, None)


@every_format
def test_an_upstream_that_counts_in_every_frame(format):
    """The latest count is the one, whether it comes before the end or with it."""
    whole = frames(streamed(format, Text("Hello")))
    counting = [frame.replace(b'"usage":null', b'"usage":{"prompt_tokens":5,"completion_tokens":1}') for frame in whole]
    assert seen(tapped(format, *counting))[1:4] == (100, 40, 30)


def test_a_count_after_the_last_word_is_still_read():
    """Chat's count comes after the finish reason, in a frame of its own; some servers send no [DONE]."""
    frames_ = [frame for frame in frames(streamed("openai-chat", Text("Hello"))) if b"[DONE]" not in frame]
    assert seen(tapped("openai-chat", *frames_)) == ("m-1", 100, 40, 30, "stop", True, None)


@every_format
def test_a_stream_that_was_cut_is_told(format):
    whole = frames(streamed(format, Text("Hello"), ToolCall("call_1", "f", "{}"), finish="tool"))
    for count in range(len(whole)):
        decoder = CODECS[format].AnswerDecoder()
        ended = not isinstance([*decoder.feed(b"".join(whole[:count])), *decoder.finish()][-1], Failure)
        tap = tapped(format, *whole[:count])
        assert tap.ended == ended
        assert isinstance(tap.failure, UpstreamCut) == (not ended)


@every_format
def test_an_error_in_the_stream_is_told(format):
    encoder = CODECS[format].AnswerEncoder(asked(format), "m-1")
    events = [
        *list(unfold(Answer("id1", "m-1", 1, [Text("Hello")])))[:3],
        Failure(UpstreamRefused("overloaded", status=529)),
    ]
    raw = b"".join([*map(encoder.push, events), encoder.finish()])
    tap = tapped(format, *frames(raw))
    assert tap.ended and isinstance(tap.failure, UpstreamRefused) and tap.failure.message == "overloaded"


@every_format
def test_an_error_as_a_whole_body_is_told(format):
    tap = UsageTap.whole(format, native.error(format, 429, "slow down").whole)
    assert tap.ended and isinstance(tap.failure, UpstreamRefused) and "slow down" in tap.failure.message


@every_format
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"a":1}', b"[" * 9999])
def test_what_is_no_answer_is_told(format, body):
    tap = UsageTap.whole(format, body)
    assert not tap.ended and isinstance(tap.failure, UpstreamGarbled)


@pytest.mark.parametrize("pretty", [True, False])
def test_an_array_stream_of_gemini(pretty):
    """What comes without `alt=sse`: one JSON array, an element at a time."""
    chunks = [
        json.loads(frame.removeprefix(b"data: "))
        for frame in frames(streamed("gemini", Text("a]},{b"), ToolCall("c", "f", "{}"), finish="tool"))
    ]
    texts = [json.dumps(chunk, indent=2 if pretty else None).encode() for chunk in chunks]
    raw = b"[" + b"\n,\r\n".join(texts) + b"\n]"
    wanted = ("m-1", 100, 40, 30, "tool", True, None)
    assert seen(tapped("gemini", raw)) == wanted
    assert seen(tapped("gemini", *(raw[at : at + 9] for at in range(0, len(raw), 9)))) == wanted
    cut = tapped("gemini", b"[" + texts[0])
    assert not cut.ended and isinstance(cut.failure, UpstreamCut)


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "gemini"])
def test_nothing_after_the_end_counts(format):
    raw = streamed(format, Text("Hello"))
    tap = tapped(format, raw, streamed(format, Text("Again"), usage=Usage(input=1, output=1)))
    assert seen(tap)[1:4] == (100, 40, 30)


@every_format
def test_a_tap_that_understands_nothing_goes_blind(format, monkeypatch):
    tap = UsageTap(format)
    monkeypatch.setattr(tap._decoder, "feed", lambda chunk: 1 / 0)
    tap.feed(streamed(format, Text("Hello")))
    tap.finish()
    assert (tap.ended, tap.failure, tap.usage) == (False, None, Usage())


@every_format
@settings(max_examples=40)
@given(st.data())
def test_no_bytes_make_the_tap_raise(format, data):
    raw = streamed(format, Text("Hello"), ToolCall("call_1", "f", "{}"), finish="tool")
    at = data.draw(st.integers(0, len(raw)))
    spoiled = raw[:at] + data.draw(st.binary(max_size=9)) + raw[at + data.draw(st.integers(0, 9)) :]
    tap = tapped(format, *(spoiled[i : i + 50] for i in range(0, len(spoiled), 50)))
    assert tap.ended or tap.failure is not None

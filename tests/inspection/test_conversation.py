"""cliproxy.inspection.conversation: requests and answers of all formats as conversations."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.inspection.conversation import (
    EARLIER_CHARACTERS,
    RECENT_TURNS,
    Answered,
    answer_text,
    decoded_request,
    request_text,
    usage_text,
)
from cliproxy.inspection.outline import MAX_CHARACTERS
from cliproxy.wire.model import Usage
from tests import native
from tests.calls import call
from tests.native import FORMATS, Format
from tests.streams import events
from tests.wire.conversations import CONVERSATIONS

STREAMED = Answered(content_type="text/event-stream")


def shown_request(format: Format, body: Any) -> str:
    text = request_text(format, json.dumps(body).encode(), "shown")
    assert text is not None
    return text


def shown_answer(format: Format, body: bytes, answered: Answered) -> str:
    text = answer_text(format, body, answered)
    assert text is not None
    return text


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("format", FORMATS)
def test_a_request_is_a_conversation(format: Format) -> None:
    text = shown_request(format, CONVERSATIONS[format])
    lines = text.splitlines()
    assert lines[0].startswith(f"request: shown ({format}")
    assert "tools, 1: [get_weather]" in lines
    assert "system: Be brief." in lines
    assert "  image: image/png, 3 bytes" in lines
    calls = [number for number, line in enumerate(lines) if line.strip().startswith("call get_weather")]
    assert [lines[number + 1].strip() for number in calls] == ["city: Oslo", "city: Rome"]
    results = [line.strip().partition(": ")[2] for line in lines if line.strip().startswith("result of get_weather")]
    assert sorted(results) == ["rain", "sun"]
    assert lines.index(next(line for line in lines if "Let me look." in line)) < calls[0]
    assert lines[-1].endswith("And now?")


def test_arguments_and_results_are_readable() -> None:
    body = {
        "model": "m",
        "max_tokens": 10,
        "temperature": 0.5,
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "messages": [
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {
                        "type": "tool_use",
                        "id": "toolu_0123456789",
                        "name": "Write",
                        "input": {"path": "a.py", "text": "x = 1\ny = 2"},
                    },
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_0123456789",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "wrong"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAEC"}},
                        ],
                    },
                    {"type": "text", "text": "again", "cache_control": {"type": "ephemeral"}},
                ],
            },
        ],
    }
    text = shown_request("anthropic", body)
    assert "  max_tokens: 10\n  temperature: 0.5\n  reasoning:\n    budget: 2048\n" in text
    assert "  reasoning, signed: Hm.\n" in text
    assert "  call Write (…23456789):\n    path: a.py\n    text: |\n      x = 1\n      y = 2\n" in text
    assert "  failed result of Write (…23456789):\n    text: wrong\n    image: image/png, 3 bytes\n" in text
    assert text.endswith("  text, cached up to here: again")


def test_what_came_long_before_is_shortened_more() -> None:
    messages = [{"role": role, "content": f"{n} " + "x" * 3000} for n in range(10) for role in ("user", "assistant")]
    text = shown_request("openai-chat", {"model": "m", "messages": messages})
    assert text.count("x" * 2900) == RECENT_TURNS
    assert len(text) < RECENT_TURNS * 3100 + (20 - RECENT_TURNS) * (EARLIER_CHARACTERS + 100)
    assert "20 turns" in text.splitlines()[0]


def test_a_huge_request_stays_within_bounds() -> None:
    messages = [{"role": "user", "content": "x" * 500_000} for _ in range(8)]
    tool = {"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "t", "arguments": json.dumps({"a": "y" * 9999})}}
        for n in range(300)
    ]
    body = {"model": "m", "messages": [*messages, {"role": "assistant", "tool_calls": calls}], "tools": [tool]}
    assert len(shown_request("openai-chat", body)) < 4 * MAX_CHARACTERS


@pytest.mark.parametrize("format", FORMATS)
def test_cloud_codes_envelope_is_no_obstacle(format: Format) -> None:
    body = CONVERSATIONS[format]
    if format == "gemini":
        enveloped = {"model": "inside", "project": "p", "request": {k: v for k, v in body.items() if k != "model"}}
        assert shown_request(format, enveloped).startswith("request: inside (gemini)")
    else:
        assert request_text(format, json.dumps({"request": body}).encode()) is None


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b"{", b"\xff", b'{"messages": 3}', b'{"input": {}}', b"[" * 9999]
)
def test_what_is_no_request_is_none(format: Format, body: bytes) -> None:
    assert request_text(format, body) is None


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_an_answer_says_what_was_said_and_what_it_cost(format: Format, stream: bool) -> None:
    answer = native.text(format, stream=stream)
    kind = answer.headers["content-type"].partition(";")[0]
    lines = shown_answer(
        format, answer.whole, Answered(content_type=kind, provider="claude", model="claude-sonnet-4-5")
    )
    assert lines.splitlines()[:2] == [f"answer: test-model ({format})", "text: hello from upstream"]
    assert "\nfinish: stop" in lines
    assert "\nusage: 11 input + 7 output tokens" in lines
    assert "\ncost: $0.000138 at list price" in lines


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_a_call_has_its_arguments(format: Format, stream: bool) -> None:
    answer = native.tool_call(format, stream=stream)
    kind = answer.headers["content-type"].partition(";")[0]
    text = shown_answer(format, answer.whole, Answered(content_type=kind))
    assert "call get_weather" in text
    assert "\n  city: Paris\n" in text
    assert "finish: tool" in text


@pytest.mark.parametrize("format", FORMATS)
def test_an_answer_that_still_comes_shows_what_is_there(format: Format) -> None:
    pieces = events(format)
    words = next(number for number, piece in enumerate(pieces) if b"hello" in piece)
    partial = b"".join(pieces[: words + 1])
    coming = shown_answer(format, partial, Answered(content_type="text/event-stream", is_complete=False))
    assert "text: hello" in coming
    assert "still coming" in coming
    broken_off = shown_answer(format, partial, STREAMED)
    assert "text: hello" in broken_off
    assert "ended before its end" in broken_off


@pytest.mark.parametrize("format", FORMATS)
def test_of_an_answer_without_its_beginning_the_text_is_shown(format: Format) -> None:
    body = native.text(format, words=["hello", " from", " up", "stream", "!"], stream=True).whole
    cut = body.index(b"hello") + 3
    text = shown_answer(format, body[cut:], Answered(content_type="text/event-stream", left_out_bytes=cut))
    assert f"the first {cut if cut < 1000 else f'{cut / 1000:.1f}'}" in text
    assert 'text: " from up' in text


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_is_told_as_one(format: Format) -> None:
    refusal = native.error(format, 429, "slow down")
    text = shown_answer(format, refusal.whole, Answered(429, "application/json"))
    assert text.startswith("error:\n  status: 429\n")
    assert text.endswith("message: slow down")
    assert "message: down" in shown_answer(format, b"down", Answered(502, "text/html"))


def test_an_enveloped_stream_is_read() -> None:
    pieces = [b'data: {"response": %s}\n\n' % piece[6:].strip() for piece in events("gemini")]
    assert "text: hello from upstream" in shown_answer("gemini", b"".join(pieces), STREAMED)
    whole = b'{"response": %s}' % native.text("gemini").whole
    assert "text: hello from upstream" in shown_answer("gemini", whole, Answered())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", None])
@given(
    data=st.binary(max_size=60)
    | st.from_regex(rb'(data: )?[{\[]"(type|choices|candidates|content)": ?[{\["]?.{0,20}\n\n')
)
def test_rubbish_is_never_an_exception(format: Format, content_type: str | None, data: bytes) -> None:
    for status in (200, 500):
        for complete in (True, False):
            answer_text(format, data, Answered(status, content_type, is_complete=complete))
    answer_text(format, data, Answered(200, content_type, left_out_bytes=7))
    request_text(format, data)


_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "role", "content", "text", "messages", "input", "contents", "parts", "choices", "delta", "message",
             "candidates", "output", "item", "index", "id", "name", "arguments", "function", "tool_calls", "usage"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@given(value=_junk)
def test_json_of_another_kind_is_never_an_exception(format: Format, value: Any) -> None:
    data = json.dumps(value).encode()
    request_text(format, data, "m")
    answer_text(format, data, Answered(200, "application/json"))
    answer_text(format, b"data: %s\n\n" % data, STREAMED)


def _broken(value: Any, data: st.DataObject) -> Any:
    """The value with one of its members or items replaced."""
    match value:
        case dict() if value and data.draw(st.booleans()):
            members = cast("dict[str, Any]", value)
            name = data.draw(st.sampled_from(sorted(members)))
            return {**members, name: _broken(members[name], data)}
        case list() if value:
            items = cast("list[Any]", value)
            at = data.draw(st.integers(0, len(items) - 1))
            return [*items[:at], _broken(items[at], data), *items[at + 1 :]]
        case _:
            return data.draw(_junk | st.sampled_from(["\ud800", "x" * 300, 10**30, -1.5, {"a": ["\udc00"]}]))


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
def test_a_body_that_is_broken_somewhere_is_never_an_exception(format: Format, data: st.DataObject) -> None:
    request = json.dumps(_broken(json.loads(json.dumps(call(format).json)), data)).encode()
    request_text(format, request, "m")
    whole = json.loads(native.text(format).whole)
    answer_text(format, json.dumps(_broken(whole, data)).encode(), Answered())
    pieces = list(events(format))
    at = data.draw(st.sampled_from([number for number, each in enumerate(pieces) if b"data: {" in each]))
    head, _, told = pieces[at].partition(b"data: ")
    pieces[at] = head + b"data: " + json.dumps(_broken(json.loads(told), data)).encode() + b"\n\n"
    stream = b"".join(pieces)
    for end in (len(stream), data.draw(st.integers(0, len(stream)))):
        answer_text(format, stream[:end], STREAMED)
        answer_text(format, stream[:end], Answered(200, "text/event-stream", left_out_bytes=3))


def test_usage_in_words() -> None:
    assert usage_text(Usage()) == ""
    assert usage_text(Usage(0, None, None, 5)) == "0 input + 5 output tokens"
    usage = Usage(1200, 800, 3, 350, 120)
    words = "1,200 input + 800 from the cache + 3 into the cache + 350 output tokens, 120 of them reasoning"
    assert usage_text(usage) == words


def test_the_simplest_calls_are_requests() -> None:
    for format in FORMATS:
        assert decoded_request(format, json.dumps(call(format).json).encode(), "m")

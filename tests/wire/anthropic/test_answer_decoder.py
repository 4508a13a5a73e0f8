"""What a Messages upstream answers, in the model's words."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.anthropic import AnswerDecoder, decode_answer
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fold import fold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Delta,
    Event,
    Failure,
    Finish,
    Json,
    Opaque,
    PartEnd,
    PartStart,
    Reasoning,
    ServerCall,
    ServerResult,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from tests.wire.event_grammar import check_events

LOCATION: Json = {
    "type": "web_search_result_location",
    "url": "https://x.test",
    "title": "T",
    "cited_text": "c",
    "encrypted_index": "e",
}
FOUND: Json = {
    "type": "web_search_result",
    "url": "https://x.test",
    "title": "T",
    "encrypted_content": "e",
    "page_age": None,
}

START: Json = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 5, "output_tokens": 1},
    },
}  # fmt: skip
STOP: Json = {"type": "message_stop"}


def ending(reason: str | None = "end_turn", sequence: str | None = None, **usage: Any) -> Json:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9, **usage}}


def block(index: int, start: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_delta(words: str) -> Json:
    return {"type": "text_delta", "text": words}


def json_delta(piece: str) -> Json:
    return {"type": "input_json_delta", "partial_json": piece}


TEXT: Json = {"type": "text", "text": ""}
THINKING: Json = {"type": "thinking", "thinking": "", "signature": ""}
CALL: Json = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}

STREAM: list[Json] = [
    {"type": "ping"},
    START,
    *block(
        0,
        THINKING,
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "cmVk"}),
    {"type": "ping"},
    *block(
        2,
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        json_delta('{"query"'),
        json_delta(':"q"}'),
    ),
    *block(3, {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [FOUND]}),
    *block(
        4,
        {**TEXT, "citations": []},
        text_delta("Grüße "),
        {"type": "citations_delta", "citation": LOCATION},
        text_delta("👩‍👩‍👧"),
    ),
    {"type": "brand_new_event", "foo": 1},
    *block(5, CALL, json_delta(""), json_delta('{"a'), json_delta('":1}')),
    *block(6, {**CALL, "id": "toolu_2"}),
    *block(7, {"type": "container_upload", "file_id": "f1"}),
    ending("tool_use", cache_read_input_tokens=301),
    STOP,
]
ANSWER = Answer(
    "msg_1",
    "claude-x",
    parts=[
        Reasoning("hm", Carrier("anthropic", "signature", "c2ln")),
        Reasoning("", Carrier("anthropic", "redacted", "cmVk")),
        ServerCall("s1", "web_search", "anthropic", {"query": "q"}, {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}),
        ServerResult("s1", "web_search", "anthropic", [Citation("https://x.test", "T")], {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [FOUND]}),
        Text("Grüße 👩‍👩‍👧", [Citation("https://x.test", "T", "c", raw=LOCATION)]),
        ToolCall("toolu_1", "f", '{"a":1}'),
        ToolCall("toolu_2", "f", "{}"),
        Opaque("anthropic", {"type": "container_upload", "file_id": "f1"}),
    ],
    usage=Usage(10, 301, 5, 9),
    finish="tool",
    raw_finish="tool_use",
)  # fmt: skip


def sse(*events: Json) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events
    )


def decode(*chunks: bytes) -> list[Event]:
    decoder = AnswerDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


def read(*events: Json) -> Answer:
    return fold(decode(sse(*events)))


def test_a_full_stream() -> None:
    events = decode(sse(*STREAM))
    check_events(events)
    assert fold(events) == ANSWER


def test_a_whole_body_is_the_same_answer() -> None:
    """A body and a stream take one way through the codec."""
    content: list[Json] = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [FOUND]},
        {"type": "text", "text": "Grüße 👩‍👩‍👧", "citations": [LOCATION]},
        {**CALL, "input": {"a": 1}},
        {**CALL, "id": "toolu_2"},
        {"type": "container_upload", "file_id": "f1"},
    ]
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 301,
        "cache_creation_input_tokens": 5,
        "output_tokens": 9,
    }
    body: Json = {**START["message"], "content": content, "stop_reason": "tool_use", "usage": usage}
    assert decode_answer(body) == ANSWER


def test_nothing_waits_that_could_go_on() -> None:
    decoder = AnswerDecoder()
    assert decoder.feed(sse(START)) == [Start("msg_1", "claude-x", usage=Usage(10, 300, 5, 1))]
    first, second, _ = block(0, TEXT, text_delta("a"))
    assert decoder.feed(sse(first, second)) == [PartStart(0, Text("")), Delta(0, "a")]
    assert decoder.feed(sse({"type": "content_block_stop", "index": 0})) == [PartEnd(0)]
    assert decoder.feed(sse(ending())) == [UsageReport(Usage(output=9))]
    assert decoder.feed(sse(STOP)) == [Finish("stop", None, "end_turn")]
    assert decoder.feed(sse(*STREAM)) == decoder.finish() == []


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(sse(*STREAM))), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_cut_gives_the_same_answer(cuts: list[int], newline: bytes) -> None:
    """class 1: bytes arrive as they please."""
    raw = sse(*STREAM).replace(b"\n", newline)
    edges = [0, *sorted(cuts), len(raw)]
    events = decode(*(raw[start:end] for start, end in pairwise(edges)))
    check_events(events)
    assert fold(events) == ANSWER


@pytest.mark.parametrize(
    ("reason", "call", "expected"),
    [
        ("end_turn", False, "stop"),
        ("end_turn", True, "tool"),
        ("tool_use", True, "tool"),
        ("max_tokens", False, "length"),
        ("model_context_window_exceeded", False, "length"),
        ("stop_sequence", False, "stop_sequence"),
        ("pause_turn", False, "pause"),
        ("refusal", False, "filter"),
        ("sensitive", False, "filter"),
        ("brand_new", False, "stop"),
    ],
)
def test_each_stop_reason(reason: str, call: bool, expected: str) -> None:
    content = block(0, CALL) if call else block(0, TEXT, text_delta("a"))
    answer = read(START, *content, ending(reason, "Z" if reason == "stop_sequence" else None), STOP)
    assert (answer.finish, answer.raw_finish) == (expected, reason)
    assert answer.stop_sequence == ("Z" if reason == "stop_sequence" else None)


# ---------------------------------------------------------------- endings


@pytest.mark.parametrize(
    "events",
    [
        [START, *block(0, TEXT, text_delta("a")), ending()],
        [START, *block(0, TEXT, text_delta("a"))[:-1], ending(), STOP],
        [*block(0, TEXT, text_delta("a")), ending(), STOP],
        [START, {"type": "content_block_delta", "index": 0, "delta": text_delta("a")}, ending(), STOP],
        [START, *block(0, {"type": "text", "text": "a"}), STOP],
    ],
    ids=["no stop", "open block", "no start", "no block start", "no stop reason"],
)
def test_what_is_missing_is_supplied(events: list[Json]) -> None:
    """class 1: servers leave out what seems to go without saying."""
    found = decode(sse(*events))
    check_events(found)
    answer = fold(found)
    assert (answer.parts, answer.finish) == ([Text("a")], "stop")


@pytest.mark.parametrize("count", range(1, len(STREAM) - 1))
def test_a_stream_that_is_cut_is_a_failure(count: int) -> None:
    """class 1: a cut stream never looks like success."""
    events = decode(sse(*STREAM[:count]))
    check_events(events)
    if ending("tool_use", cache_read_input_tokens=301) not in STREAM[:count]:
        assert isinstance(events[-1], Failure) and isinstance(events[-1].error, UpstreamCut)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("invalid_request_error", 400),
        ("api_error", 500),
        ("timeout_error", 504),
        ("brand_new_error", 502),
    ],
)
def test_an_error_in_the_stream(kind: str, status: int) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "overloaded zebra"}}
    events = decode(sse(START, *block(0, TEXT, text_delta("a")), error, ending(), STOP))
    check_events(events)
    failure = events[-1]
    assert isinstance(failure, Failure) and isinstance(failure.error, UpstreamRefused)
    assert (failure.error.status, failure.error.kind, failure.error.message) == (
        status,
        kind,
        "overloaded zebra",
    )


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", UpstreamCut),
        (b"<html>hello</html>", UpstreamGarbled),
        (b'{"type":"message","content":[]}', UpstreamGarbled),
        (b"data: {not json\n\n", UpstreamGarbled),
        (b"data: [1]\n\n", UpstreamGarbled),
        (b'data: {"type":"content_block_delta","index":0,"delta":5}\n\n', UpstreamGarbled),
        (sse({"type": "content_block_delta", "index": 0, "delta": json_delta("{")}), UpstreamGarbled),
        (b'data: {"error":"no credit"}\n\n', UpstreamRefused),
        (b"data: [DONE]\n\n", UpstreamCut),
    ],
)
def test_what_is_no_answer_fails(raw: bytes, fault: type[GatewayError]) -> None:
    (start, failure) = decode(raw)
    assert isinstance(start, Start) and isinstance(failure, Failure)
    assert type(failure.error) is fault


def test_the_name_of_an_event_stands_for_its_type() -> None:
    events = [START, *block(0, TEXT, text_delta("a")), ending(), STOP]
    raw = b"".join(
        f"event: {event['type']}\ndata: {json.dumps({k: v for k, v in event.items() if k != 'type'})}\n\n".encode()
        for event in events
    )
    assert fold(decode(raw)).parts == [Text("a")]


def test_what_msgspec_refuses_is_read_all_the_same() -> None:
    """A lone surrogate, which models do emit."""
    raw = sse(START, *block(0, TEXT, text_delta("SURROGATE")), ending(), STOP).replace(b"SURROGATE", b"\\ud83d!")
    assert fold(decode(raw)).parts == [Text("\ud83d!")]


def test_input_that_stands_in_the_start_of_a_call() -> None:
    assert read(START, *block(0, {**CALL, "input": {"a": 1}}), ending(), STOP).parts == [
        ToolCall("toolu_1", "f", '{"a":1}')
    ]


def test_blocks_may_be_open_together() -> None:
    first = block(0, CALL, json_delta('{"a":'), json_delta("1}"))
    second = block(1, {**CALL, "id": "toolu_2"}, json_delta('{"b":'), json_delta("2}"))
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    answer = read(START, *mixed, ending("tool_use"), STOP)
    assert answer.parts == [ToolCall("toolu_1", "f", '{"a":1}'), ToolCall("toolu_2", "f", '{"b":2}')]


def test_usage_of_the_end_wins_field_by_field() -> None:
    """class 8: message_delta counts are totals, and leave out what has not changed."""
    usage = ending(input_tokens=12, output_tokens_details={"thinking_tokens": 4})
    assert read(START, usage, STOP).usage == Usage(12, 300, 5, 9, 4)


def test_an_empty_answer_is_an_answer() -> None:
    """class 18: nothing said is not nothing received."""
    assert read(START, ending(), STOP).parts == []
    assert decode_answer({**START["message"], "stop_reason": "end_turn"}).parts == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"hello": "world"}, UpstreamGarbled),
        ({"content": "text"}, UpstreamGarbled),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, UpstreamRefused),
        ({"error": "no credit"}, UpstreamRefused),
    ],
)
def test_a_body_that_is_no_answer(body: Any, fault: type[GatewayError]) -> None:
    with pytest.raises(fault):
        decode_answer(body)


FRAGMENTS = st.sampled_from(
    [sse(event) for event in STREAM] + [b"data: ", b"{}", b"\n", b"\r", b"event: error\n", b"[DONE]", b"null"]
)


@settings(max_examples=200)
@given(st.lists(FRAGMENTS | st.binary(max_size=8), max_size=12))
def test_any_bytes_give_legal_events(pieces: list[bytes]) -> None:
    """class 1: one ending, whatever comes."""
    check_events(decode(*pieces))

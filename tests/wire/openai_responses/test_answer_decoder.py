"""Responses, streamed and whole → events and answers."""

import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fold import fold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Event,
    Failure,
    Finish,
    FinishReason,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    ServerCall,
    ServerResult,
    Start,
    Text,
    ToolCall,
    Usage,
)
from cliproxy.wire.openai_responses import AnswerDecoder, decode_answer
from tests.wire.event_grammar import check_events
from tests.wire.openai_responses.judge import EVENT_TYPES, sse

_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 109,
}
_REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "**Plan**"}, {"type": "summary_text", "text": "**Check**"}],
    "encrypted_content": "gAAA",
}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "Hello",
            "annotations": [
                {
                    "type": "url_citation",
                    "url": "https://a.test",
                    "title": "A",
                    "start_index": 0,
                    "end_index": 5,
                }
            ],
        },
        {"type": "refusal", "refusal": "No"},
    ],
}
_CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "arguments": '{"city":"Oslo"}',
    "call_id": "call_1",
    "name": "get_weather",
}
_CUSTOM = {
    "id": "ctc_1",
    "type": "custom_tool_call",
    "call_id": "call_2",
    "name": "exec",
    "namespace": "functions",
    "input": "ls",
}
_ITEMS: list[dict[str, Any]] = [_REASONING, _MESSAGE, _CALL, _CUSTOM]
_PARTS: list[Part] = [
    Reasoning("**Plan**\n\n**Check**", Carrier("openai-responses", "encrypted", "gAAA", "rs_1")),
    Text("Hello", [Citation("https://a.test", "A", None, 0, 5, _MESSAGE["content"][0]["annotations"][0])]),
    Refusal("No"),
    ToolCall("call_1", "get_weather", '{"city":"Oslo"}'),
    ToolCall("call_2", "exec", "ls", "custom", "functions"),
]


def _response(output: list[dict[str, Any]] | None = None, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "status": status,
        "model": "gpt",
        "output": output or [],
        "usage": None,
        **more,
    }


def _whole(**more: Any) -> dict[str, Any]:
    return _response(_ITEMS, usage=_USAGE, **more)


_ANSWER = Answer("resp_1", "gpt", 7, _PARTS, Usage(50, 30, 20, 9, 4), "tool", None, "completed")


def _deltas(item: dict[str, Any], index: int) -> list[dict[str, Any]]:
    """The events of one item as the API streams them, in small pieces."""
    place = {"output_index": index, "item_id": item["id"]}
    events: list[dict[str, Any]] = []

    def text(kind: str, text: str, done: str, **more: Any) -> None:
        events.extend({"type": f"response.{kind}.delta", **place, **more, "delta": piece} for piece in text)
        events.append({"type": f"response.{kind}.done", **place, **more, done: text})

    for number, part in enumerate(item.get("summary", [])):
        text("reasoning_summary_text", part["text"], "text", summary_index=number)
    for number, part in enumerate(item.get("content", [])):
        events.append({"type": "response.content_part.added", **place, "content_index": number, "part": {}})
        kind, member = ("refusal", "refusal") if "refusal" in part else ("output_text", "text")
        text(kind, part[member], member, content_index=number)
        for order, annotation in enumerate(part.get("annotations", [])):
            marks = {"content_index": number, "annotation_index": order, "annotation": annotation}
            events.append({"type": "response.output_text.annotation.added", **place, **marks})
        events.append({"type": "response.content_part.done", **place, "content_index": number, "part": part})
    if "arguments" in item:
        text("function_call_arguments", item["arguments"], "arguments")
    if "input" in item:
        text("custom_tool_call_input", item["input"], "input")
    return events


def _bare(item: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"summary": [], "content": [], "arguments": "", "input": ""}
    return {key: empty.get(key, value) for key, value in item.items() if key != "encrypted_content"}


def _streamed(*, added: bool = True, deltas: bool = True, done: bool = True, output: bool = True) -> list[Any]:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": _response(status="in_progress")}]
    for index, item in enumerate(_ITEMS):
        if added:
            events.append({"type": "response.output_item.added", "output_index": index, "item": _bare(item)})
        if deltas:
            events += _deltas(item, index)
        if done:
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    final = _whole() if output else _response(usage=_USAGE)
    return [*events, {"type": "response.completed", "response": final}]


def _decoded(raw: bytes) -> list[Event]:
    decoder = AnswerDecoder()
    events = decoder.feed(raw) + decoder.finish()
    check_events(events)
    return events


def _folded(*events: dict[str, Any]) -> Answer:
    return fold(_decoded(sse(*events)))


def _failure(raw: bytes) -> GatewayError:
    last = _decoded(raw)[-1]
    assert isinstance(last, Failure)
    return last.error


# ---------------------------------------------------------------- shapes of streams


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"output": False},
        {"added": False, "deltas": False},
        {"added": False, "deltas": False, "output": False},
        {"deltas": False},
        {"added": False, "deltas": False, "done": False},
        {"done": False},
        {"added": False},
    ],
    ids=str,
)
def test_a_stream_tells_the_same_whatever_it_leaves_out(shape: dict[str, bool]) -> None:
    """class 18: items from deltas, from output_item.done or from the last event alone."""
    assert _folded(*_streamed(**shape)) == _ANSWER


def test_a_whole_body_is_the_same_answer() -> None:
    assert decode_answer(_whole()) == _ANSWER


def test_calls_without_done_and_without_output_are_kept() -> None:
    events = [event for event in _streamed(done=False, output=False) if event["type"] != "response.created"]
    answer = _folded(*events)
    assert [part for part in answer.parts if isinstance(part, ToolCall)] == _PARTS[3:]


def test_items_without_any_index_or_id() -> None:
    """clients.md: streams of proxies may leave out output_index and item_id."""
    events = copy.deepcopy(_streamed())
    for event in events:
        event.pop("output_index", None)
        event.pop("item_id", None)
        event.get("item", {}).pop("id", None)
    for item in events[-1]["response"]["output"]:
        item.pop("id", None)
    answer = _folded(*events)
    assert [part for part in answer.parts if not isinstance(part, Reasoning)] == _PARTS[1:]
    assert len(answer.parts) == len(_PARTS)


def test_a_call_waits_for_its_name() -> None:
    arguments = {
        "type": "response.function_call_arguments.delta",
        "output_index": 0,
        "item_id": "fc_1",
        "delta": "{}",
    }
    done = {"type": "response.output_item.done", "output_index": 0, "item": {**_CALL, "arguments": "{}"}}
    answer = _folded(arguments, done, {"type": "response.completed", "response": _response()})
    assert answer.parts == [ToolCall("call_1", "get_weather", "{}")]


@pytest.mark.parametrize("arguments", ["", None])
def test_a_call_without_arguments_has_an_empty_object(arguments: str | None) -> None:
    answer = decode_answer(_response([{**_CALL, "arguments": arguments}]))
    assert answer.parts == [ToolCall("call_1", "get_weather", "{}")]


def test_empty_items_make_no_parts() -> None:
    """class 18: an empty text block is refused by other vendors' clients."""
    empty_message = {**_MESSAGE, "content": [{"type": "output_text", "text": "", "annotations": []}]}
    answer = decode_answer(_response([{"id": "rs_1", "type": "reasoning", "summary": []}, empty_message]))
    assert answer.parts == []


def test_reasoning_text_of_open_models() -> None:
    place = {"output_index": 0, "item_id": "rs_1", "content_index": 0}
    item = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hmm"}],
    }
    answer = _folded(
        {"type": "response.reasoning_text.delta", **place, "delta": "hm"},
        {"type": "response.reasoning_text.done", **place, "text": "hmm"},
        {"type": "response.completed", "response": _response([item])},
    )
    assert answer.parts == [Reasoning("hmm")]
    assert decode_answer(_response([item])).parts == [Reasoning("hmm")]


def test_a_response_without_output_parts_is_the_whole_message() -> None:
    events = [
        {
            "type": "response.output_text.delta",
            "output_index": 0,
            "item_id": "m",
            "content_index": 0,
            "delta": "a",
        },
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    assert _folded(*events).parts == [Text("a")]


# ---------------------------------------------------------------- hosted tools


def test_hosted_tools() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "https://s.test"}]},
    }
    code = {"type": "code_interpreter_call", "id": "ci_1", "code": "1+1", "outputs": None}
    image = {"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "output_format": "webp"}
    other = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}
    expected: list[Part] = [
        ServerCall("ws_1", "web_search", "openai-responses", {"query": "q"}, search),
        ServerResult("ws_1", "web_search", "openai-responses", [Citation("https://s.test")]),
        ServerCall("ci_1", "code_execution", "openai-responses", {"code": "1+1"}, code),
        Media("image", "image/webp", "AAAA"),
        Opaque("openai-responses", other),
    ]
    items: list[dict[str, Any]] = [search, code, image, other]
    assert decode_answer(_response(items)).parts == expected
    events: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        events += [
            {"type": "response.output_item.added", "output_index": index, "item": {**item, "result": None}},
            {"type": f"response.{item['type']}.in_progress", "output_index": index, "item_id": item["id"]},
            {"type": "response.image_generation_call.partial_image", "partial_image_b64": "BB"},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
    events.append({"type": "response.completed", "response": _response(items)})
    assert _folded(*events).parts == expected


# ---------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "length"), ("content_filter", "filter"), ("steered", "length"), (None, "length")],
)
def test_incomplete(reason: str | None, finish: FinishReason) -> None:
    details = {"reason": reason} if reason else None
    body = _response([_MESSAGE], "incomplete", incomplete_details=details)
    assert decode_answer(body).finish == finish
    answer = _folded({"type": "response.incomplete", "response": body})
    assert (answer.finish, answer.raw_finish) == (finish, reason or "incomplete")


@pytest.mark.parametrize(
    ("output", "finish"),
    [
        ([], "stop"),
        ([{**_MESSAGE, "content": [{"type": "refusal", "refusal": "No"}]}], "refusal"),
        ([_CALL], "tool"),
    ],
)
def test_completed(output: list[dict[str, Any]], finish: FinishReason) -> None:
    assert decode_answer(_response(output)).finish == finish


def test_usage_is_not_counted_twice() -> None:
    """class 8: cached tokens are part of input_tokens here."""
    assert decode_answer(_whole()).usage == Usage(input=50, cache_read=30, cache_write=20, output=9, reasoning=4)
    assert decode_answer(_response()).usage == Usage()


def test_a_cut_stream_is_not_an_answer() -> None:
    """class 1: EOF without an ending."""
    assert isinstance(_failure(sse(*_streamed()[:-1])), UpstreamCut)
    assert isinstance(_failure(b""), UpstreamCut)
    assert isinstance(_failure(b"<html>hello</html>"), UpstreamGarbled)


def test_what_comes_after_the_ending_is_ignored() -> None:
    raw = sse({"type": "response.completed", "response": _response()}, {"type": "error", "message": "late"})
    assert isinstance(_decoded(raw + b"data: not json\n\n")[-1], Finish)


def test_unknown_events_are_ignored() -> None:
    events = _streamed()
    events.insert(2, {"type": "response.brand_new.delta", "delta": {"x": 1}, "output_index": "zero"})
    events.insert(2, {"type": "keepalive", "sequence_number": 3})
    assert _folded(*events) == _ANSWER


def test_a_done_marker_does_no_harm() -> None:
    raw = sse(*_streamed())
    assert fold(_decoded(raw + b"data: [DONE]\n\n")) == _ANSWER
    assert isinstance(_failure(b"data: [DONE]\n\n"), UpstreamCut)


@pytest.mark.parametrize("data", [b"{not json", b"[1]", b'"x"', b"\xff", b"[" * 100_000], ids=range(5))
def test_not_json_is_garbled(data: bytes) -> None:
    assert isinstance(_failure(b"data: " + data + b"\n\n"), UpstreamGarbled)


def test_lone_surrogates_and_line_separators_inside_json() -> None:
    delta = b'{"type":"response.output_text.delta","output_index":0,"delta":"a\\ud800\xe2\x80\xa8b"}'
    raw = b"data:" + delta + b"\r\n\r\n" + sse({"type": "response.completed", "response": _response()})
    assert fold(_decoded(raw)).parts == [Text("a\ud800\u2028b")]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("rate_limit_exceeded", 429),
        ("insufficient_quota", 429),
        ("usage_limit_reached", 429),
        ("context_length_exceeded", 400),
        ("invalid_prompt", 400),
        ("invalid_image_format", 400),
        ("image_too_large", 400),
        ("server_is_overloaded", 503),
        ("slow_down", 503),
        ("invalid_api_key", 401),
        ("model_not_found", 404),
        ("vector_store_timeout", 504),
        ("server_error", 502),
        ("brand_new", 502),
    ],
)
def test_failed_responses(code: str, status: int) -> None:
    body = _response(status="failed", error={"code": code, "message": "zebra"})
    error = _failure(sse({"type": "response.failed", "response": body}))
    assert isinstance(error, UpstreamRefused)
    assert (error.status, error.code, error.message) == (status, code, "zebra")
    with pytest.raises(UpstreamRefused, match="zebra") as raised:
        decode_answer(body)
    assert raised.value.status == status


@pytest.mark.parametrize(
    "event",
    [
        {
            "type": "error",
            "code": "rate_limit_exceeded",
            "message": "zebra",
            "param": None,
            "sequence_number": 3,
        },
        {"type": "error", "status": 429, "error": {"type": "usage_limit_reached", "message": "zebra"}},
        {"error": {"type": "rate_limit_error", "message": "zebra"}},
    ],
)
def test_error_events(event: dict[str, Any]) -> None:
    error = _failure(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert isinstance(error, UpstreamRefused)
    assert (error.status, error.message) == (429, "zebra")


def test_an_error_after_some_text_is_not_an_end() -> None:
    events = _decoded(sse(*_streamed()[:20], {"type": "error", "code": None, "message": "zebra"}))
    assert isinstance(events[-1], Failure)
    assert isinstance(events[0], Start)


def test_a_cancelled_response_is_a_failure() -> None:
    error = _failure(sse({"type": "response.cancelled", "response": _response(status="cancelled")}))
    assert error.status == 502


def test_a_rate_limit_says_when_to_come_again() -> None:
    message = "Rate limit reached. Please try again in 1.5s."
    body = _response(status="failed", error={"code": "rate_limit_exceeded", "message": message})
    assert _failure(sse({"type": "response.failed", "response": body})).retry_after_s == 1.5


@pytest.mark.parametrize(
    "body",
    [{"hello": "world"}, {}, {"output": "text"}, _response(status="in_progress"), _response(status="queued")],
)
def test_what_is_no_response_is_garbled(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamGarbled):
        decode_answer(body)


def test_an_error_body_is_refused() -> None:
    with pytest.raises(UpstreamRefused, match="zebra"):
        decode_answer({"error": {"message": "zebra", "type": "invalid_request_error"}})


# ---------------------------------------------------------------- properties

_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 4) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_WORDS = [
    "message",
    "reasoning",
    "function_call",
    "custom_tool_call",
    "web_search_call",
    "output_text",
    "refusal",
]
_OBJECT: Any = st.dictionaries(
    st.sampled_from(["id", "type", "text", "summary", "content", "name", "call_id", "arguments", "status", "output"]),
    _JSON | st.sampled_from(_WORDS) | st.lists(st.fixed_dictionaries({"type": st.sampled_from(_WORDS)}), max_size=2),
)
_EVENT: Any = st.fixed_dictionaries(
    {"type": st.sampled_from([*EVENT_TYPES, "response.done", "x"])},
    optional={
        "output_index": st.integers(0, 3) | _JSON,
        "item_id": st.sampled_from(["a", "b"]) | _JSON,
        "delta": st.text(max_size=5) | _JSON,
        "text": st.text(max_size=5) | _JSON,
        "item": _OBJECT | _JSON,
        "part": _OBJECT | _JSON,
        "annotation": _OBJECT | _JSON,
        "response": _OBJECT | _JSON,
        "summary_index": st.integers(0, 2) | _JSON,
    },
)


@settings(max_examples=100, deadline=None)
@given(events=st.lists(_EVENT, max_size=8))
def test_any_events_give_a_legal_sequence(events: list[Any]) -> None:
    _decoded(sse(*events))


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=200))
def test_any_bytes_give_a_legal_sequence(raw: bytes) -> None:
    _decoded(raw)
    _decoded(b"data: " + raw + b"\n\n")


@settings(max_examples=60, deadline=None)
@given(
    body=st.dictionaries(
        st.sampled_from(["output", "status", "error", "usage", "id"]), _OBJECT | _JSON | st.lists(_OBJECT)
    )
)
def test_any_body_is_an_answer_or_the_upstreams_fault(body: dict[str, Any]) -> None:
    try:
        decode_answer(body)
    except (UpstreamGarbled, UpstreamRefused) as error:
        assert error.message


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_cut_gives_the_same_answer(cuts: list[int], line_end: bytes) -> None:
    raw = (b": ping\n\n" + sse(*_streamed())).replace(b"\n", line_end)
    decoder = AnswerDecoder()
    events: list[Event] = []
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    for start, end in itertools.pairwise(edges):
        events += decoder.feed(raw[start:end])
    assert fold(events + decoder.finish()) == _ANSWER

"""Events and answers → responses, judged by the openai SDK."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire import envelope
from cliproxy.wire.errors import UpstreamCut, UpstreamRefused
from cliproxy.wire.fold import fold, unfold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    FinishReason,
    Media,
    Opaque,
    Part,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ServerCall,
    ServerResult,
    Signed,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from cliproxy.wire.openai_responses import (
    AnswerDecoder,
    AnswerEncoder,
    decode_answer,
    decode_request,
    encode_answer,
)
from tests.wire.openai_responses.judge import stream_events, streamed_response, whole_response

_REQUEST = {"model": "alias", "input": "hi"}


def _encoded(events: Iterable[Event], **request: Any) -> bytes:
    encoder = AnswerEncoder(decode_request(_REQUEST | request), "alias")
    return b"".join(map(encoder.push, events)) + encoder.finish()


def _types(raw: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in stream_events(raw)]


def _last(raw: bytes) -> dict[str, Any]:
    return stream_events(raw)[-1]["response"]


def _answer(*parts: Part, finish: FinishReason = "stop", usage: Usage | None = None) -> Answer:
    return Answer("resp_1", "m", 1, list(parts), usage or Usage(), finish)


# ---------------------------------------------------------------- streams


def test_text_has_its_full_event_grammar() -> None:
    """class 1: every item is opened, filled, closed, and there is one ending."""
    raw = _encoded([Start(), PartStart(0, Text("")), Delta(0, "Hé"), Delta(0, "llo"), PartEnd(0), Finish("stop")])
    assert _types(raw) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    final = streamed_response(raw)
    assert final.output_text == "Héllo"
    assert final.output[0].type == "message"
    assert final.output[0].role == "assistant"


def test_a_function_call_has_its_full_event_grammar() -> None:
    call = ToolCall("call_1", "f", "")
    raw = _encoded([PartStart(0, call), Delta(0, '{"a"'), Delta(0, ":1}"), PartEnd(0), Finish("tool")])
    assert _types(raw)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    item = streamed_response(raw).output[0]
    assert item.type == "function_call"
    assert (item.call_id, item.name, item.arguments) == ("call_1", "f", '{"a":1}')


def test_a_freeform_call_comes_back_as_one_with_its_namespace() -> None:
    call = ToolCall("call_1", "exec", "", "custom", "functions")
    raw = _encoded([PartStart(0, call), Delta(0, "ls"), PartEnd(0), Finish("tool")])
    assert _types(raw)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    item = streamed_response(raw).output[0]
    assert item.type == "custom_tool_call"
    assert (item.call_id, item.name, item.input, item.namespace) == ("call_1", "exec", "ls", "functions")


def test_reasoning_has_its_full_event_grammar() -> None:
    raw = _encoded([PartStart(0, Reasoning()), Delta(0, "hm"), PartEnd(0), Finish("stop")])
    assert _types(raw)[2:-1] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    item = streamed_response(raw).output[0]
    assert item.type == "reasoning"
    assert [part.text for part in item.summary] == ["hm"]


def test_reasoning_without_text_has_an_empty_summary() -> None:
    carrier = Carrier("openai-responses", "encrypted", "gAAA", "rs_1")
    item = _last(_encoded(unfold(_answer(Reasoning("", carrier)))))["output"][0]
    assert item["summary"] == []
    assert item["encrypted_content"] == "gAAA"


def test_neighbouring_texts_are_contents_of_one_message() -> None:
    raw = _encoded(unfold(_answer(Text("a"), Refusal("b"), ToolCall("c", "f", "{}"), Text("d"))))
    output = _last(raw)["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert [content["type"] for content in output[0]["content"]] == ["output_text", "refusal"]
    streamed_response(raw)


def test_parts_that_are_open_together() -> None:
    events = [
        PartStart(0, Text("")),
        PartStart(1, ToolCall("c1", "f", "")),
        PartStart(2, ToolCall("c2", "g", "")),
        Delta(2, '{"b":'),
        Delta(0, "a"),
        Delta(1, "{}"),
        Delta(2, "2}"),
        PartEnd(2),
        PartEnd(0),
        PartStart(3, Text("z")),
        PartEnd(1),
        PartEnd(3),
        Finish("tool"),
    ]
    raw = _encoded(events)
    output = _last(raw)["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call", "message"]
    assert [item["arguments"] for item in output[1:3]] == ["{}", '{"b":2}']
    assert streamed_response(raw).output_text == "az"


def test_a_call_without_arguments_says_an_empty_object() -> None:
    raw = _encoded([PartStart(0, ToolCall("c", "f", "")), PartEnd(0), Finish("tool")])
    item = streamed_response(raw).output[0]
    assert item.type == "function_call"
    assert item.arguments == "{}"


def test_ids_look_like_the_apis_own() -> None:
    answer = _answer(Text("a"), ToolCall("", "f", "{}"), ToolCall("x", "g", "", "custom"), Reasoning("r"))
    answer.id = "chatcmpl-1"
    response = _last(_encoded(unfold(answer)))
    assert response["id"].startswith("resp_")
    assert [item["id"].partition("_")[0] for item in response["output"]] == ["msg", "fc", "ctc", "rs"]
    assert response["output"][1]["call_id"].startswith("call_")


def test_finish_closes_what_is_open_when_the_ending_comes_early() -> None:
    """class 1: an upstream that leaves out the end of a part."""
    raw = _encoded([PartStart(0, Text("")), Delta(0, "a"), PartStart(1, ToolCall("c", "f", "")), Finish("tool")])
    assert [item["status"] for item in _last(raw)["output"]] == ["completed", "completed"]


@pytest.mark.parametrize(
    ("reason", "refused", "status", "details"),
    [
        ("stop", False, "completed", None),
        ("stop_sequence", False, "completed", None),
        ("tool", False, "completed", None),
        ("pause", False, "completed", None),
        ("refusal", True, "completed", None),
        ("refusal", False, "incomplete", "content_filter"),
        ("filter", False, "incomplete", "content_filter"),
        ("length", False, "incomplete", "max_output_tokens"),
    ],
)
def test_endings(reason: FinishReason, refused: bool, status: str, details: str | None) -> None:
    part = Refusal("no") if refused else Text("a")
    raw = _encoded(unfold(_answer(part, finish=reason)))
    response = _last(raw)
    assert response["status"] == status
    assert response["incomplete_details"] == (details and {"reason": details})
    streamed_response(raw)


def test_usage_has_every_count_a_client_needs() -> None:
    """class 8: cache reads and writes are input here."""
    raw = _encoded([Start(usage=Usage(input=10)), UsageReport(Usage(None, 20, 30, 5, 2)), Finish("stop")])
    assert _last(raw)["usage"] == {
        "input_tokens": 60,
        "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 30},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 65,
    }


def test_usage_is_there_when_none_was_reported() -> None:
    assert _last(_encoded([Finish("stop")]))["usage"]["total_tokens"] == 0


def test_an_empty_answer_is_legal() -> None:
    """class 18: required arrays are there and empty."""
    response = _last(_encoded([Start(), Finish("stop")]))
    assert response["output"] == []
    assert whole_response(response).output_text == ""


def test_the_response_repeats_the_request() -> None:
    """class 12: the client sees the model name that it asked for."""
    settings_given = {
        "instructions": "Be kind",
        "metadata": {"trace": "abc"},
        "tool_choice": "auto",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 99,
        "parallel_tool_calls": False,
        "previous_response_id": "resp_0",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "truncation": "auto",
        "store": False,
        "user": "u1",
        "prompt_cache_key": "k",
    }
    for event in stream_events(_encoded([Start(), Finish("stop")], **settings_given)):
        assert {key: event["response"][key] for key in settings_given} == settings_given
        assert event["response"]["model"] == "alias"


# ---------------------------------------------------------------- tokens, citations, server tools, media


@pytest.mark.parametrize("origin", ["anthropic", "gemini"])
def test_a_foreign_token_is_sealed_and_comes_back(origin: Any) -> None:
    """class 6: the client returns what it got, and only its origin is given the token again."""
    carrier = Carrier(origin, "signature", "SIG")
    item = _last(_encoded(unfold(_answer(Reasoning("hm", carrier)))))["output"][0]
    assert envelope.unseal(item["encrypted_content"]) == carrier
    request = decode_request({"model": "m", "input": [item]})
    assert request.turns[0].parts == [Reasoning("hm", carrier)]


def test_a_token_of_a_call_travels_in_an_item_after_it() -> None:
    """class 6: Gemini signs calls, for which this API has no slot."""
    signed = Carrier("gemini", "signature", "SIG")
    events = [
        PartStart(0, ToolCall("c1", "f", "")),
        Delta(0, "{}"),
        Signed(0, signed),
        PartEnd(0),
        PartStart(1, ToolCall("c2", "g", "{}")),
        PartEnd(1),
        Finish("tool"),
    ]
    raw = _encoded(events)
    streamed_response(raw)
    request = decode_request({"model": "m", "input": _last(raw)["output"]})
    assert request.turns[0].parts == [ToolCall("c1", "f", "{}", carrier=signed), ToolCall("c2", "g", "{}")]


def test_the_token_of_a_call_is_done_after_the_call() -> None:
    """Codex keeps the items in the order in which each is done, not in that of the last response."""
    events = [PartStart(0, ToolCall("c1", "f", "{}", carrier=Carrier("gemini", "signature", "SIG"))), Finish("tool")]
    done = [event["item"] for event in stream_events(_encoded(events)) if event["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["function_call", "reasoning"]
    (turn,) = decode_request({"model": "m", "input": done}).turns
    assert isinstance(turn.parts[0], ToolCall)
    assert turn.parts[0].carrier == Carrier("gemini", "signature", "SIG")


def test_a_token_of_a_text_goes_back_to_that_text() -> None:
    signed = Carrier("gemini", "signature", "SIG")
    output = _last(_encoded(unfold(_answer(Text("a", carrier=signed), Text("b")))))["output"]
    request = decode_request({"model": "m", "input": output})
    assert request.turns[0].parts == [Text("a", carrier=signed), Text("b")]


def test_citations_become_annotations() -> None:
    ours = {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 0}
    events = [
        PartStart(0, Text("")),
        Delta(0, "abc"),
        Cited(0, Citation("https://whole.test", "W", raw={"type": "web_search_result_location"})),
        Cited(0, Citation("https://part.test", None, start=1, end=2)),
        Cited(0, Citation(raw=ours)),
        Cited(0, Citation(title="a book", raw={"type": "char_location"})),
        PartEnd(0),
        Finish("stop"),
    ]
    raw = _encoded(events)
    annotations = _last(raw)["output"][0]["content"][0]["annotations"]
    whole = {
        "type": "url_citation",
        "url": "https://whole.test",
        "title": "W",
        "start_index": 0,
        "end_index": 3,
    }
    part = {"type": "url_citation", "url": "https://part.test", "title": "", "start_index": 1, "end_index": 2}
    assert annotations == [part, whole, ours]
    assert _types(raw).count("output_text.annotation.added") == 3


def test_a_search_at_another_vendor() -> None:
    """class 25: a search is a typed item with what it found."""
    search = ServerCall("srv_1", "web_search", "anthropic", {"query": "q"})
    found = ServerResult("srv_1", "web_search", "anthropic", [Citation("https://found.test")])
    raw = _encoded(unfold(_answer(search, found, Text("a"))))
    item = _last(raw)["output"][0]
    assert item["id"].startswith("ws_")
    assert item["action"] == {
        "type": "search",
        "query": "q",
        "sources": [{"type": "url", "url": "https://found.test"}],
    }
    assert "web_search_call.searching" in _types(raw)
    streamed_response(raw)


def test_a_search_without_a_result_is_done_at_the_end() -> None:
    raw = _encoded(unfold(_answer(ServerCall("s", "web_search", "gemini", {"queries": ["q1"]}), Text("a"))))
    item = _last(raw)["output"][0]
    assert (item["status"], item["action"]["query"]) == ("completed", "q1")


def test_what_has_no_place_here_is_left_out() -> None:
    parts = [
        ServerCall("s", "code_execution", "anthropic", {"code": "1"}),
        ServerResult("s", "code_execution", "anthropic"),
        Opaque("gemini", {"x": 1}),
        Media("audio", "audio/wav", "AAAA"),
        Text("a"),
    ]
    assert [item["type"] for item in _last(_encoded(unfold(_answer(*parts))))["output"]] == ["message"]


def test_items_of_this_api_are_written_as_they_were() -> None:
    call = {
        "type": "web_search_call",
        "id": "ws_9",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    compaction = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}
    search = ServerCall("ws_9", "web_search", "openai-responses", {}, call)
    raw = _encoded(unfold(_answer(search, Opaque("openai-responses", compaction))))
    assert _last(raw)["output"] == [call, compaction]


def test_a_picture_is_a_generated_image() -> None:
    raw = _encoded(unfold(_answer(Media("image", "image/webp", "AAAA"))))
    item = streamed_response(raw).output[0]
    assert item.type == "image_generation_call"
    assert (item.result, item.status) == ("AAAA", "completed")


# ---------------------------------------------------------------- failures


def test_a_failure_half_way_ends_no_item() -> None:
    """class 1: a client must not run a call whose arguments were cut."""
    events = [
        PartStart(0, Text("")),
        Delta(0, "a"),
        PartEnd(0),
        PartStart(1, ToolCall("c", "f", "")),
        Delta(1, '{"a'),
        Failure(UpstreamRefused("overloaded zebra", status=529)),
    ]
    raw = _encoded(events)
    response = _last(raw)
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "overloaded zebra"}
    assert [item["type"] for item in response["output"]] == ["message"]
    assert streamed_response(raw).status == "failed"


def test_a_failure_before_anything_else() -> None:
    raw = _encoded([Failure(UpstreamRefused("no", status=401, code="invalid_api_key"))])
    assert _types(raw) == ["created", "in_progress", "failed"]
    assert _last(raw)["error"]["code"] == "invalid_api_key"


def test_a_stream_that_just_stops_is_a_failure() -> None:
    """class 1: a cut stream never looks like success."""
    assert _last(_encoded([Start(), PartStart(0, Text("")), Delta(0, "a")]))["status"] == "failed"
    assert _last(_encoded([]))["error"]["code"] == "server_error"


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "rate_limit_exceeded"), (503, "server_error"), (400, "invalid_prompt"), (500, "server_error")],
)
def test_codes_of_failures(status: int, code: str) -> None:
    raw = _encoded([Failure(UpstreamRefused("no", status=status))])
    assert _last(raw)["error"]["code"] == code


def test_the_time_to_wait_stands_in_the_message() -> None:
    """class 7: a stream has no retry-after header, and Codex reads the message."""
    raw = _encoded([Failure(UpstreamRefused("Slow down.", status=429, retry_after_s=7))])
    assert _last(raw)["error"]["message"] == "Slow down. Please try again in 7s."


def test_nothing_comes_after_the_ending() -> None:
    encoder = AnswerEncoder(decode_request(_REQUEST), "alias")
    encoder.push(Finish("stop"))
    assert encoder.push(Failure(UpstreamCut("late"))) == b""
    assert encoder.push(Finish("stop")) == b""
    assert encoder.finish() == b""


def test_pings_are_comments_and_do_not_count() -> None:
    encoder = AnswerEncoder(decode_request(_REQUEST), "alias")
    raw = encoder.push(Start()) + encoder.ping() + encoder.push(Finish("stop"))
    assert _types(raw) == ["created", "in_progress", "completed"]


# ---------------------------------------------------------------- whole bodies


def test_a_whole_body_is_the_last_state_of_the_stream() -> None:
    answer = _answer(Reasoning("r"), Text("a"), ToolCall("c", "f", "{}"), finish="tool", usage=Usage(1, 0, 0, 2, 1))
    body = encode_answer(answer, decode_request(_REQUEST), "alias")
    response = whole_response(body)
    assert response.output_text == "a"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert decode_answer(body) == Answer(
        "resp_1", "alias", 1, answer.parts, Usage(1, 0, 0, 2, 1), "tool", None, "completed"
    )


_TEXTS = st.text(max_size=12)
_PARTS = st.one_of(
    st.builds(Text, _TEXTS.filter(bool)),
    st.builds(Refusal, _TEXTS.filter(bool)),
    st.builds(
        ToolCall,
        st.uuids().map(str),
        st.sampled_from(["f", "g"]),
        st.dictionaries(_TEXTS, st.integers(0, 9), max_size=3).map(json.dumps),
    ),
    st.builds(ToolCall, st.uuids().map(str), st.just("x"), _TEXTS, st.just("custom"), st.just("ns")),
    st.builds(Reasoning, _TEXTS.filter(bool), st.none() | st.just(Carrier("anthropic", "signature", "SIG"))),
)


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(_PARTS, max_size=6), cut=st.integers(0, 40))
def test_every_stream_is_legal_and_tells_the_same(parts: list[Part], cut: int) -> None:
    """Encoder output is legal wherever the events stop, and decoding it gives the same parts."""
    events = list(unfold(_answer(*parts, finish="stop")))
    raw = _encoded(events)
    stream_events(raw)
    decoder = AnswerDecoder()
    decoded = fold(decoder.feed(raw) + decoder.finish())
    assert [_said(part) for part in decoded.parts] == [_said(part) for part in parts]
    stream_events(_encoded(events[:cut]))


def _said(part: Part) -> tuple[object, ...]:
    match part:
        case Text(text) | Refusal(text) | Reasoning(text):
            return type(part), text
        case ToolCall():
            return type(part), part.id, part.name, part.arguments, part.kind, part.namespace
        case _:
            raise AssertionError(part)

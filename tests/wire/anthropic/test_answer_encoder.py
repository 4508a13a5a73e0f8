"""Answers as a Messages client reads them, judged by Anthropic's own SDK."""

import json
from typing import Any

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire import envelope
from cliproxy.wire.anthropic import AnswerDecoder, AnswerEncoder, decode_request, encode_answer
from cliproxy.wire.errors import ClientFault, UpstreamRefused
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
    Json,
    Media,
    Opaque,
    Part,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    Signed,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from cliproxy.wire.names import call_id
from tests.wire.anthropic.judge import events_of, grammar_faults, read_stream, read_whole

REQUEST = Request("anthropic", "claude-alias", [])
SIGNED = Carrier("anthropic", "signature", "c2ln")
GEMINI = Carrier("gemini", "signature", "Z2Vt")
SEALED_CODEX = Carrier("openai-responses", "encrypted", "gAAAA", "rs_1")


def stream(*events: Event) -> bytes:
    encoder = AnswerEncoder(REQUEST, "claude-alias")
    return b"".join(map(encoder.push, events)) + encoder.finish()


def whole(*parts: Part, **more: Any) -> Json:
    answer = Answer("msg_1", "upstream-model", parts=list(parts), **{"usage": Usage(1, 2, 3, 4, 5), **more})
    return encode_answer(answer, REQUEST, "claude-alias")


def both(*parts: Part, **more: Any) -> Json:
    """The body of an answer, after the SDK has found the same in its stream."""
    answer = Answer("msg_1", "upstream-model", parts=list(parts), **{"usage": Usage(1, 2, 3, 4, 5), **more})
    body = encode_answer(answer, REQUEST, "claude-alias")
    raw = stream(*unfold(answer))
    assert grammar_faults(raw) == []
    assert read_stream(raw) == read_whole(body) == body
    return body


def test_the_frame_of_an_answer() -> None:
    """class 12: the client sees the name that it asked for."""
    assert both(Text("Hi")) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-alias",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 1,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 2,
            "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 5},
        },
    }


BLOCKS: list[tuple[Part, list[Json]]] = [
    (Text(""), []),
    (Text("a\u2028b\x85 🎉"), [{"type": "text", "text": "a\u2028b\x85 🎉"}]),
    (Refusal("No"), [{"type": "text", "text": "No"}]),
    (Reasoning("hm", SIGNED), [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]),
    (Reasoning("hm"), [{"type": "thinking", "thinking": "hm", "signature": ""}]),
    (Reasoning("", SIGNED), [{"type": "thinking", "thinking": "", "signature": "c2ln"}]),
    (Reasoning(""), []),
    (Reasoning("hm", SEALED_CODEX), [{"type": "thinking", "thinking": "hm", "signature": envelope.seal(SEALED_CODEX)}]),
    (Reasoning("", SEALED_CODEX), [{"type": "redacted_thinking", "data": envelope.seal(SEALED_CODEX)}]),
    (Reasoning("", Carrier("anthropic", "redacted", "cmVk")), [{"type": "redacted_thinking", "data": "cmVk"}]),
    (ToolCall("toolu_1", "f", '{"a":[1,{"b":null}]}'), [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, {"b": None}]}}]),
    (ToolCall("toolu_1", "f", ""), [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]),
    (ToolCall("toolu_1", "f", "null"), [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]),
    (ToolCall("call:1", "f", "{}"), [{"type": "tool_use", "id": call_id("call:1", 64, "a-zA-Z0-9_-"), "name": "f", "input": {}}]),
    (ToolCall("c1", "poem", 'ro"ses\n', "custom"), [{"type": "tool_use", "id": "c1", "name": "poem", "input": {"input": 'ro"ses\n'}}]),
    (
        ToolCall("c1", "f", "{}", carrier=GEMINI),
        [
            {"type": "redacted_thinking", "data": envelope.seal(Carrier("gemini", "signature", "Z2Vt", "c1"))},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
        ],
    ),
    (Media("image", "image/png", data="aWk="), [{"type": "text", "text": "![image](data:image/png;base64,aWk=)"}]),
    (Media("document", url="https://x.test/a", name="A"), [{"type": "text", "text": "[A](https://x.test/a)"}]),
    (Media("image", file_id="f"), []),
    (ServerCall("ws_1", "web_search", "openai-responses", {"query": "q"}), [{"type": "server_tool_use", "id": "srvtoolu_ws_1", "name": "web_search", "input": {"query": "q"}}]),
    (
        ServerResult("ws_1", "web_search", "gemini", [Citation("https://x.test")]),
        [
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_ws_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "url": "https://x.test",
                        "title": "https://x.test",
                        "encrypted_content": envelope.seal(Carrier("gemini", "encrypted", "")),
                        "page_age": None,
                    }
                ],
            }
        ],
    ),
    (ServerCall("x", "code_execution", "gemini"), []),
    (Opaque("gemini", {"type": "x"}), []),
    (Opaque("anthropic", {"type": "container_upload", "file_id": "f"}), [{"type": "container_upload", "file_id": "f"}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "blocks"), BLOCKS, ids=lambda value: type(value).__name__ if not isinstance(value, list) else ""
)
def test_each_part(part: Part, blocks: list[Json]) -> None:
    """class 18: content is always there, and no block of it empty."""
    assert both(part)["content"] == blocks


def test_citations() -> None:
    """class 25: sources of any vendor's search can be shown."""
    own = {
        "type": "char_location",
        "cited_text": "q",
        "document_index": 0,
        "document_title": None,
        "end_char_index": 1,
        "file_id": None,
        "start_char_index": 0,
    }
    text = Text(
        "T",
        [
            Citation(raw=own),
            Citation("https://x.test", "A", raw={"type": "url_citation"}),
            Citation(title="?"),
        ],
    )
    (block,) = both(text)["content"]
    assert block["citations"][0] == own
    assert len(block["citations"]) == 2
    assert block["citations"][1]["type"] == "web_search_result_location"
    assert (block["citations"][1]["url"], block["citations"][1]["title"]) == ("https://x.test", "A")


@pytest.mark.parametrize(
    ("finish", "called", "expected"),
    [
        ("stop", False, "end_turn"),
        ("stop", True, "tool_use"),
        ("tool", True, "tool_use"),
        ("tool", False, "end_turn"),
        ("length", True, "max_tokens"),
        ("stop_sequence", False, "stop_sequence"),
        ("filter", False, "refusal"),
        ("refusal", False, "refusal"),
        ("pause", False, "pause_turn"),
    ],
)
def test_each_finish_reason(finish: FinishReason, called: bool, expected: str) -> None:
    parts: list[Part] = [ToolCall("c1", "f", "{}")] if called else [Text("a")]
    body = both(*parts, finish=finish, stop_sequence="Z")
    assert body["stop_reason"] == expected
    assert body["stop_sequence"] == ("Z" if expected == "stop_sequence" else None)


def test_counts_that_nobody_reported_are_still_integers() -> None:
    """class 8: clients add them up."""
    zeros = {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }
    assert both(Text("a"), usage=Usage())["usage"] == zeros
    start, *_, delta, _ = events_of(stream(Start(), Finish("stop")))
    assert start["message"]["usage"] == zeros
    assert delta["usage"] == {"output_tokens": 0}


def test_counts_of_the_end_are_those_of_the_whole_answer() -> None:
    """class 8: they replace the start's, so what the start said must not be lost."""
    raw = stream(
        Start("a", usage=Usage(7, 1)),
        UsageReport(Usage(output=3)),
        UsageReport(Usage(8, output=9)),
        Finish("stop"),
    )
    start, delta, _ = events_of(raw)
    assert start["message"]["usage"]["input_tokens"] == 7
    assert delta["usage"] == {"input_tokens": 8, "cache_read_input_tokens": 1, "output_tokens": 9}


@pytest.mark.parametrize(("id", "sent"), [("msg_1", "msg_1"), ("chatcmpl-1", "msg_chatcmpl-1")])
def test_ids_look_like_ids_of_this_api(id: str, sent: str) -> None:
    assert encode_answer(Answer(id), REQUEST, "m")["id"] == sent
    assert encode_answer(Answer(), REQUEST, "m")["id"].startswith("msg_")
    (call,) = whole(ToolCall("", "f", "{}"))["content"]
    assert call["id"].startswith("toolu_")


# ---------------------------------------------------------------- streams


def deltas(raw: bytes) -> list[tuple[int, Any]]:
    return [
        (event["index"], next(value for key, value in event["delta"].items() if key != "type"))
        for event in events_of(raw)
        if event["type"] == "content_block_delta"
    ]


def test_text_and_arguments_go_on_as_they_come() -> None:
    encoder = AnswerEncoder(REQUEST, "m")
    encoder.push(Start("msg_1"))
    encoder.push(PartStart(0, Text("")))
    assert b'"text":"a"' in encoder.push(Delta(0, "a"))
    encoder.push(PartEnd(0))
    encoder.push(PartStart(1, ToolCall("c1", "f", "")))
    assert encoder.push(Delta(1, "")) == b""
    assert b'"partial_json":"{\\"a"' in encoder.push(Delta(1, '{"a'))
    assert b'"partial_json":"\\":1}"' in encoder.push(Delta(1, '":1}'))


def test_parts_that_overlap_come_one_after_the_other() -> None:
    """class 1: the API knows no interleaving."""
    raw = stream(
        Start("msg_1"),
        PartStart(0, Reasoning()),
        PartStart(1, ToolCall("c1", "f", "")),
        PartStart(2, ToolCall("c2", "g", "")),
        Delta(2, '{"b":2'),
        Delta(0, "h"),
        Delta(1, '{"a":'),
        Delta(0, "m"),
        Delta(2, "}"),
        PartEnd(2),
        PartEnd(0),
        Delta(1, "1}"),
        PartEnd(1),
        Finish("tool"),
    )
    assert grammar_faults(raw) == []
    assert deltas(raw) == [(0, "h"), (0, "m"), (0, ""), (1, '{"a":'), (1, "1}"), (2, '{"b":2'), (2, "}")]


def test_many_parts_may_wait() -> None:
    starts = [PartStart(index, ToolCall(f"c{index}", "f", "")) for index in range(1500)]
    raw = stream(Start(), *starts, *(PartEnd(index) for index in reversed(range(1500))), Finish("tool"))
    assert len(deltas(raw)) == 1500
    assert grammar_faults(raw) == []


@pytest.mark.parametrize("pieces", [["{", '"a":1}'], ['{"a":1}'], [" ", '{"a":1}'], ['{"a":1}', " "]])
@pytest.mark.parametrize("early", [True, False])
def test_a_signature_stands_beside_its_call(pieces: list[str], early: bool) -> None:
    """class 6: before it where that is still possible, and the client returns it in either place."""
    signed: list[Event] = [Signed(0, GEMINI)]
    given = [*(signed if early else []), *(Delta(0, piece) for piece in pieces), *([] if early else signed)]
    raw = stream(Start(), PartStart(0, ToolCall("c1", "f", "")), *given, PartEnd(0), Finish("tool"))
    content = read_stream(raw)["content"]
    order = [block["type"] for block in content]
    assert sorted(order) == ["redacted_thinking", "tool_use"]
    assert early is False or order[0] == "redacted_thinking"
    (turn,) = decode_request({"model": "m", "messages": [{"role": "assistant", "content": content}]}).turns
    assert turn.parts == [ToolCall("c1", "f", '{"a":1}', carrier=GEMINI)]


def test_a_foreign_answer_comes_back_as_it_was() -> None:
    """class 6: what a client returns is again what its vendor said, so that another vendor never gets it."""
    parts: list[Part] = [
        Reasoning("hm", SEALED_CODEX),
        Reasoning("", SEALED_CODEX),
        ServerCall("srvtoolu_1", "web_search", "openai-responses", {"query": "q"}),
        ServerResult("srvtoolu_1", "web_search", "openai-responses", [Citation("https://x.test", "T")]),
        Text("A", [Citation("https://x.test", "T")]),
        ToolCall("c1", "f", "{}", carrier=GEMINI),
    ]
    request = decode_request({"model": "m", "messages": [{"role": "assistant", "content": both(*parts)["content"]}]})
    assert request.turns[0].parts == parts


# ---------------------------------------------------------------- endings

REFUSED = UpstreamRefused("overloaded zebra", status=529, kind="overloaded_error")
CUT = "the upstream's answer ended before its end"


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Start("msg_1")],
        [Start("msg_1"), PartStart(0, Text("")), Delta(0, "a")],
        [Start("msg_1"), PartStart(0, ToolCall("c1", "f", "")), Delta(0, '{"a')],
        [Start("msg_1"), PartStart(0, Reasoning()), Signed(0, SIGNED), PartStart(1, Text("")), Delta(1, "b")],
    ],
)
@pytest.mark.parametrize("failure", [[], [Failure(REFUSED)]])
def test_a_failure_is_the_last_word_and_no_success(events: list[Event], failure: list[Event]) -> None:
    """class 1: an error event, and neither message_delta nor message_stop."""
    late: list[Event] = [PartStart(9, Text("late")), Finish("stop")] if failure else []
    found = events_of(stream(*events, *failure, *late))
    assert not {"message_delta", "message_stop"} & {event["type"] for event in found}
    assert [event["type"] for event in found].index("error") == len(found) - 1
    expected = ("overloaded_error", "overloaded zebra") if failure else ("api_error", CUT)
    assert (found[-1]["error"]["type"], found[-1]["error"]["message"]) == expected


def test_finish_without_an_ending_is_a_cut() -> None:
    """class 1: called on every path, it never makes an answer look complete."""
    encoder = AnswerEncoder(REQUEST, "m")
    raw = encoder.push(Start("msg_1")) + encoder.push(PartStart(0, Text(""))) + encoder.push(Delta(0, "a"))
    last = events_of(raw + encoder.finish())[-1]
    assert last == {"type": "error", "error": {"type": "api_error", "message": CUT}}
    assert encoder.finish() == encoder.push(Finish("stop")) == encoder.ping() == b""


def test_the_sdk_raises_for_an_error_event() -> None:
    with pytest.raises(anthropic.APIStatusError, match="overloaded zebra"):
        read_stream(stream(Start("msg_1"), PartStart(0, Text("")), Delta(0, "a"), Failure(REFUSED)))
    assert events_of(stream(Failure(ClientFault("no"))))[0]["error"]["type"] == "invalid_request_error"


def test_keep_alives_are_pings() -> None:
    """class 14: in the API's own form, which its SDK passes over."""
    encoder = AnswerEncoder(REQUEST, "m")
    answer = Answer("msg_1", parts=[Text("Hi")], usage=Usage(1, 2, 3, 4))
    raw = b"".join(encoder.push(event) + encoder.ping() for event in unfold(answer)) + encoder.finish()
    assert b"event: ping\ndata: {" in raw
    assert grammar_faults(raw) == []
    assert read_stream(raw)["content"] == [{"type": "text", "text": "Hi"}]


def test_surrogates_do_not_break_the_stream() -> None:
    raw = stream(Start(), PartStart(0, Text("")), Delta(0, "a\ud83d"), PartEnd(0), Finish("stop"))
    assert deltas(raw)[0][1].startswith("a\ufffd")


# ---------------------------------------------------------------- properties

WORDS = st.text(st.characters(codec="utf-8"), max_size=6)
CARRIERS = st.sampled_from([None, SIGNED, GEMINI, SEALED_CODEX, Carrier("anthropic", "redacted", "cmVk")])
ARGUMENTS = st.dictionaries(WORDS, st.integers(0, 9) | WORDS, max_size=2).map(json.dumps)
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Reasoning, WORDS, CARRIERS),
    st.builds(Refusal, WORDS),
    st.builds(
        ToolCall,
        st.uuids().map(lambda value: f"toolu_{value.hex}"),
        st.just("f"),
        ARGUMENTS | st.sampled_from(["", "[1]"]),
    ),
    st.sampled_from(
        [
            Media("image", url="https://x.test/i"),
            Opaque("gemini", {"a": 1}),
            ServerCall("s", "web_search", "gemini"),
        ]
    ),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Legal events of an answer, its parts interleaved and its texts cut anywhere."""
    queues: list[list[Event]] = []
    for part in draw(st.lists(PARTS, max_size=5)):
        queue: list[Event] = [PartStart(0, part)]
        if isinstance(part, Text | Refusal | Reasoning | ToolCall):
            text = part.arguments if isinstance(part, ToolCall) else part.text
            cut = draw(st.integers(0, len(text)))
            head = ToolCall(part.id, part.name, "") if isinstance(part, ToolCall) else type(part)("")
            queue = [PartStart(0, head), Delta(0, text[:cut]), Delta(0, text[cut:])]
        if isinstance(part, Reasoning) and part.carrier is not None:
            queue.append(Signed(0, part.carrier))
        if isinstance(part, Text):
            queue.append(Cited(0, Citation("https://x.test")))
        queues.append([*queue, PartEnd(0)])
    events: list[Event] = [Start("msg_1", usage=Usage(1))]
    begun = 0
    live: list[tuple[int, list[Event]]] = []
    while queues or live:
        if queues and (not live or draw(st.booleans())):
            live.append((begun, queues.pop(0)))
            begun += 1
            chosen = live[-1]
        else:
            chosen = draw(st.sampled_from(live))
        index, queue = chosen
        event = queue.pop(0)
        assert not isinstance(event, Start | UsageReport | Finish | Failure)
        event.index = index
        events.append(event)
        if not queue:
            live.remove(chosen)
    return [*events, UsageReport(Usage(output=3)), Finish("stop")]


@settings(max_examples=100)
@given(streams())
def test_any_answer_is_a_legal_stream_and_the_same_as_its_body(events: list[Event]) -> None:
    """class 1: whatever the upstream mixes up, the client gets one clean sequence."""
    raw = stream(*events)
    assert grammar_faults(raw) == []
    body = encode_answer(fold(events), REQUEST, "claude-alias")
    assert read_stream(raw) == body


@settings(max_examples=100)
@given(streams(), st.integers(0, 30))
def test_any_cut_answer_ends_in_an_error(events: list[Event], count: int) -> None:
    """class 1: there is no path on which a cut answer looks complete."""
    found = events_of(stream(*events[: min(count, len(events) - 1)]))
    assert [event["type"] for event in found].count("error") == 1
    assert found[-1]["type"] == "error"


@settings(max_examples=60)
@given(streams())
def test_what_is_written_can_be_read_again(events: list[Event]) -> None:
    """Encoding and decoding is the identity on what the format can say."""
    decoder = AnswerDecoder()
    again = fold([*decoder.feed(stream(*events)), *decoder.finish()])
    body = encode_answer(fold(events), REQUEST, "claude-alias")
    assert encode_answer(again, REQUEST, "claude-alias") == body

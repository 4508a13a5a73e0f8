"""cliproxy.wire.gemini.answer_decoder: any bytes become one legal answer."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.gemini import AnswerDecoder, decode_answer
from cliproxy.wire.model import (
    Carrier,
    Citation,
    Delta,
    Failure,
    Finish,
    Media,
    Opaque,
    Reasoning,
    ServerCall,
    ServerResult,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from tests import native
from tests.wire.event_grammar import check_events
from tests.wire.gemini.judge import chunk, decode, folded, sse

USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 30,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 7,
}

RICH = [
    chunk({"text": "Let me ", "thought": True}, usage={"promptTokenCount": 100}),
    chunk({"text": "think\u2028.", "thought": True}),
    chunk({"text": "Grüße "}),
    chunk({"text": "👩‍👩‍👧"}, {"text": "", "thoughtSignature": "c2ln"}),
    chunk({"functionCall": {"name": "f", "args": {"a": 'x"}{'}}, "thoughtSignature": "c2cy"}),
    chunk({"functionCall": {"name": "g", "id": "own"}}, finish="STOP", usage=USAGE),
]
RICH_PARTS = [
    Reasoning("Let me think\u2028."),
    Text("Grüße 👩‍👩‍👧", carrier=Carrier("gemini", "signature", "c2ln")),
    ToolCall("call_2", "f", '{"a":"x\\"}{"}', carrier=Carrier("gemini", "signature", "c2cy")),
    ToolCall("own", "g", "{}"),
]


def array(*chunks: Any) -> bytes:
    return json.dumps(list(chunks), ensure_ascii=False, indent=1).encode()


@pytest.mark.parametrize("raw", [sse(*RICH), array(*RICH)], ids=["sse", "array"])
def test_parts_join_and_keep_their_order(raw: bytes) -> None:
    answer = folded(decode(raw))
    assert answer.parts == RICH_PARTS
    assert (answer.id, answer.model, answer.finish, answer.raw_finish) == ("r1", "gemini-x", "tool", "STOP")
    assert answer.usage == Usage(input=70, cache_read=30, output=12, reasoning=7)


@given(st.sampled_from([sse(*RICH), array(*RICH), b"\xef\xbb\xbf" + sse(*RICH)]), st.lists(st.integers(0, 1500)))
@settings(max_examples=60)
def test_any_cut_of_a_stream_gives_the_same_answer(raw: bytes, cuts: list[int]) -> None:
    events = decode(raw, cuts)
    check_events(events)
    assert folded(events).parts == RICH_PARTS


@pytest.mark.parametrize("raw", [sse(*RICH), array(*RICH)], ids=["sse", "array"])
def test_one_byte_at_a_time(raw: bytes) -> None:
    assert folded(decode(raw, range(len(raw)))).parts == RICH_PARTS


_junk = st.sampled_from([
    b"data: ", b"\n\n", b"\r\n\r\n", b"[", b"]", b",", b"{", b"}", b'"', b"\\", b"data: {}\n\n", b"data: [DONE]\n\n",
    b"null", b"\xff", b"data: null\n\n", b"data: {\n\n", b'{"error":{}}', b'{"candidates":[]}', b"<html>",
    b'data: {"candidates":[{"content":{"parts":[{"text":"x"}]}}]}\n\n', b'data: {"candidates":5}\n\n',
    b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n', b'data: {"error":{"code":503,"message":"m"}}\n\n',
    b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":"{"}}]}}]}\n\n',
    b'data: {"candidates":[{"content":{"parts":[{"text":"\\ud800","thought":true}]}}]}\n\n',
    b'data: {"candidates":[{"content":{"parts":[{"inlineData":{"data":"AA"}},{}]}}]}\n\n',
])  # fmt: skip


@given(st.lists(st.one_of(_junk, st.binary(max_size=8)), max_size=12).map(b"".join), st.lists(st.integers(0, 99)))
@example(b'data: {"error":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n", [])
@settings(max_examples=150)
def test_any_bytes_give_a_legal_answer_or_a_fault(raw: bytes, cuts: list[int]) -> None:
    check_events(decode(raw, cuts))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["candidates", "content", "parts", "text", "functionCall", "args", "error", "index"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["candidates", "promptFeedback", "usageMetadata", "error", "x"]), _json))
@settings(max_examples=100)
def test_any_object_is_an_answer_or_an_upstream_fault(body: dict[str, Any]) -> None:
    try:
        decode_answer(body)
    except (UpstreamGarbled, UpstreamRefused):
        pass


@pytest.mark.parametrize("words", [native.WORDS, ("one",)])
def test_the_native_stream_and_body_say_the_same(words: tuple[str, ...]) -> None:
    streamed = fold_of(native.text("gemini", words=words, stream=True).whole)
    whole = decode_answer(json.loads(native.text("gemini", words=words).whole))
    assert streamed == whole
    assert whole.parts == [Text("".join(words))]


def fold_of(raw: bytes) -> Any:
    return folded(decode(raw))


# ---------------------------------------------------------------- how answers end


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "filter"), ("RECITATION", "filter"), ("LANGUAGE", "filter"),
        ("BLOCKLIST", "filter"), ("PROHIBITED_CONTENT", "filter"), ("SPII", "filter"), ("IMAGE_SAFETY", "filter"),
        ("MODEL_ARMOR", "filter"), ("IMAGE_PROHIBITED_CONTENT", "filter"), ("IMAGE_RECITATION", "filter"),
        ("OTHER", "stop"), ("FINISH_REASON_UNSPECIFIED", "stop"), ("NO_IMAGE", "stop"), ("IMAGE_OTHER", "stop"),
        ("MALFORMED_FUNCTION_CALL", "stop"), ("UNEXPECTED_TOOL_CALL", "stop"), ("A_WORD_OF_TOMORROW", "stop"),
    ],
)  # fmt: skip
def test_finish_reasons(word: str, reason: str) -> None:
    answer = folded(decode(sse(chunk({"text": "part"}, finish=word))))
    assert (answer.finish, answer.raw_finish) == (reason, word)


@pytest.mark.parametrize(("word", "reason"), [("STOP", "tool"), ("MAX_TOKENS", "length"), ("SAFETY", "filter")])
def test_calls_turn_a_stop_into_a_tool_stop(word: str, reason: str) -> None:
    answer = folded(decode(sse(chunk({"functionCall": {"name": "f"}}, finish=word))))
    assert answer.finish == reason


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_an_answer_that_was_thrown_away_is_no_answer(word: str) -> None:
    """class 18: an empty 200 is a failure that can be tried again, not a finished turn."""
    events = decode(sse(chunk({"text": "hm", "thought": True}), chunk(finish=word, finishMessage="call:f(")))
    assert isinstance(events[-1], Failure)
    assert isinstance(events[-1].error, UpstreamGarbled)
    assert "call:f(" in events[-1].error.message
    with pytest.raises(UpstreamGarbled):
        decode_answer(chunk(finish=word))


def test_half_a_surrogate_pair_in_a_wrong_place_is_garbled() -> None:
    events = decode(b'data: {"candidates": "\\ud800"}\n\n')
    assert isinstance(events[-1], Failure)
    assert isinstance(events[-1].error, UpstreamGarbled)


def test_a_blocked_prompt_is_filtered() -> None:
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}}
    for answer in (folded(decode(sse(body))), decode_answer(body)):
        assert (answer.finish, answer.raw_finish, answer.parts) == ("filter", "PROHIBITED_CONTENT", [])
        assert answer.usage.input == 3


def test_finish_is_held_back_until_the_stream_is_over() -> None:
    """class 1: some servers say STOP in every chunk, and the text goes on after the first."""
    decoder = AnswerDecoder()
    events = decoder.feed(sse(chunk({"text": "one "}, finish="STOP"), chunk({"text": "two"}, finish="STOP")))
    assert not any(isinstance(event, Finish) for event in events)
    assert folded(events + decoder.finish()).parts == [Text("one two")]


@pytest.mark.parametrize("raw", [sse(*RICH[:3]), array(*RICH)[:-200], b"", b"[", b"data:"])
def test_a_cut_stream_is_never_a_success(raw: bytes) -> None:
    """class 1: EOF before a finish reason is an upstream that was cut."""
    events = decode(raw)
    assert isinstance(events[-1], Failure)
    assert isinstance(events[-1].error, UpstreamCut)


def test_what_is_no_event_stream_is_garbled() -> None:
    (start, failure) = decode(b"<html>no</html>")
    assert isinstance(start, Start) and isinstance(failure, Failure)
    assert isinstance(failure.error, UpstreamGarbled)


def test_what_was_counted_before_the_cut_is_reported() -> None:
    """class 8: a broken answer costs tokens too."""
    events = decode(sse(chunk({"text": "x"}, usage=USAGE)))
    assert events[-2] == UsageReport(Usage(input=70, cache_read=30, output=12, reasoning=7))


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert folded(decode(sse(chunk({"text": "x"}, finish="STOP")).rstrip())).parts == [Text("x")]


@pytest.mark.parametrize("wrap", [lambda chunk: sse(chunk), lambda chunk: sse([chunk]), lambda chunk: array(chunk)])
def test_an_error_in_the_stream_is_a_refusal(wrap: Any) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}]
    error = {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": details}
    events = decode(wrap({"error": error}))
    (start, failure) = events
    assert isinstance(start, Start) and isinstance(failure, Failure)
    assert isinstance(failure.error, UpstreamRefused)
    assert (failure.error.status, failure.error.message, failure.error.retry_after_s) == (
        429,
        "slow down",
        1.5,
    )
    assert failure.error.kind == "RESOURCE_EXHAUSTED"


def test_after_an_error_nothing_counts() -> None:
    events = decode(
        sse(
            chunk({"text": "x"}),
            {"error": {"code": 503, "message": "m"}},
            chunk({"text": "y"}, finish="STOP"),
        )
    )
    assert [event.text for event in events if isinstance(event, Delta)] == ["x"]
    assert isinstance(events[-1], Failure)


def test_a_whole_body_under_200_can_be_an_error() -> None:
    with pytest.raises(UpstreamRefused, match="no such model") as raised:
        decode_answer({"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}})
    assert raised.value.status == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"hello": "world"}, {"candidates": []}, {"candidates": "no"}, {"candidates": "\ud800"}, {"choices": []}],
)
def test_another_formats_body_is_garbled(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamGarbled):
        decode_answer(body)


def test_a_whole_body_needs_no_finish_reason() -> None:
    answer = decode_answer({"candidates": [{"content": {"parts": [{"text": "x"}]}}]})
    assert (answer.parts, answer.finish, answer.usage) == ([Text("x")], "stop", Usage())


# ---------------------------------------------------------------- parts


def test_calls_without_ids_get_unique_ones() -> None:
    """class 2: two calls of one function stay two."""
    call = {"functionCall": {"name": "f", "args": {}}}
    answer = decode_answer(chunk(call, call, finish="STOP"))
    ids = [part.id for part in answer.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 2
    assert all(id.startswith("call_") for id in ids)


@pytest.mark.parametrize(
    ("args", "arguments"),
    [
        (None, "{}"),
        ({"a": 1}, '{"a":1}'),
        ('{"a":1}', '{"a":1}'),
        ("broken{", "{}"),
        ([1], "{}"),
        ({"n": 2**70}, None),
    ],
)
def test_arguments_are_always_an_object(args: Any, arguments: str | None) -> None:
    (call,) = decode_answer(chunk({"functionCall": {"name": "f", "args": args}}, finish="STOP")).parts
    assert isinstance(call, ToolCall)
    assert call.arguments == (arguments or json.dumps(args, separators=(",", ":")))


def test_a_signature_closes_the_part_it_comes_with() -> None:
    parts = [{"text": "a", "thoughtSignature": "s1"}, {"text": "b"}]
    assert decode_answer(chunk(*parts, finish="STOP")).parts == [
        Text("a", carrier=Carrier("gemini", "signature", "s1")),
        Text("b"),
    ]


def test_reasoning_and_text_alternate() -> None:
    parts = [{"text": "1", "thought": True}, {"text": "a"}, {"text": "2", "thought": True}, {"text": "b"}]
    assert decode_answer(chunk(*parts, finish="STOP")).parts == [
        Reasoning("1"),
        Text("a"),
        Reasoning("2"),
        Text("b"),
    ]


def test_an_empty_text_is_no_part() -> None:
    """class 18: the empty text that ends Gemini's streams opens nothing."""
    events = decode(sse(chunk({"functionCall": {"name": "f"}}), chunk({"text": ""}, finish="STOP")))
    assert [type(part) for part in folded(events).parts] == [ToolCall]


def test_other_parts() -> None:
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
        {
            "fileData": {
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x",
                "mimeType": "audio/wav",
            }
        },
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}, "thoughtSignature": "s"},
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}},
        {"toolResponse": {"id": "x"}},
    ]
    image, sound, code, outcome, call, response = decode_answer(chunk(*parts, finish="STOP")).parts
    assert image == Media("image", "image/png", data="iVBO")
    assert isinstance(sound, Media)
    assert (sound.kind, sound.origin) == ("audio", "gemini")
    assert isinstance(code, ServerCall)
    assert (code.name, code.input, code.raw) == ("code_execution", parts[2]["executableCode"], parts[2])
    assert isinstance(outcome, ServerResult)
    assert (outcome.id, outcome.raw) == (code.id, parts[3])
    assert (call, response) == (Opaque("gemini", parts[4]), Opaque("gemini", parts[5]))


def test_only_the_first_candidate_is_read() -> None:
    body = {
        "candidates": [{"index": i, "content": {"parts": [{"text": str(i)}]}, "finishReason": "STOP"} for i in (1, 0)]
    }
    assert decode_answer(body).parts == [Text("0")]


# ---------------------------------------------------------------- usage and sources


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, Usage()),
        ({"promptTokenCount": 9}, Usage(input=9)),
        ({"promptTokenCount": 9, "cachedContentTokenCount": 4}, Usage(input=5, cache_read=4)),
        (
            {"promptTokenCount": 9, "toolUsePromptTokenCount": 6, "candidatesTokenCount": 2},
            Usage(input=15, output=2),
        ),
        ({"candidatesTokenCount": 2, "thoughtsTokenCount": 3}, Usage(output=5, reasoning=3)),
        ({"thoughtsTokenCount": 3}, Usage(output=3, reasoning=3)),
    ],
)
def test_usage(counts: dict[str, int], usage: Usage) -> None:
    """class 8: what came from the cache is counted once, thoughts are output."""
    assert decode_answer({**chunk({"text": "x"}, finish="STOP"), "usageMetadata": counts}).usage == usage


def test_usage_is_that_of_the_last_chunk_and_the_first_is_in_start() -> None:
    early = {"promptTokenCount": 100, "totalTokenCount": 100}
    events = decode(sse(chunk({"text": "a"}, usage=early), chunk({"text": "b"}, finish="STOP", usage=USAGE)))
    assert isinstance(events[0], Start)
    assert events[0].usage == Usage(input=100)
    assert folded(events).usage == Usage(input=70, cache_read=30, output=12, reasoning=7)


def test_grounding_becomes_citations_and_a_search() -> None:
    """class 25: a search at Google is a typed server tool with its sources."""
    grounding = {
        "webSearchQueries": ["oslo weather", "oslo"],
        "groundingChunks": [
            {"web": {"uri": "https://a.test", "title": "A"}},
            {"web": {"uri": "https://b.test"}},
        ],
        "groundingSupports": [
            {
                "segment": {"startIndex": 0, "endIndex": 7, "text": "Grüße"},
                "groundingChunkIndices": [0, 1, 9],
            },
            {"segment": {"startIndex": 500, "endIndex": 505, "text": "aus"}, "groundingChunkIndices": [1]},
            {"segment": {"text": "never said"}, "groundingChunkIndices": [0]},
        ],
    }
    raw = sse(chunk({"text": "Grüße "}), chunk({"text": "aus Oslo"}, finish="STOP", groundingMetadata=grounding))
    text, call, result = folded(decode(raw)).parts
    assert text == Text(
        "Grüße aus Oslo",
        citations=[
            Citation("https://a.test", "A", start=0, end=5),
            Citation("https://b.test", start=0, end=5),
            Citation("https://b.test", start=6, end=9),
            Citation("https://a.test", "A"),
        ],
    )
    assert isinstance(call, ServerCall)
    assert (call.name, call.input) == (
        "web_search",
        {"query": "oslo weather", "queries": ["oslo weather", "oslo"]},
    )
    assert isinstance(result, ServerResult)
    assert result.sources == [Citation("https://a.test", "A"), Citation("https://b.test")]
    assert result.id == call.id

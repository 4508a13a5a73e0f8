"""cliproxy.wire.gemini.answer_encoder: what Google's own SDK reads, however the answer went."""

import base64
import json
from typing import Any

import pytest
from google.genai import errors
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.envelope import unseal
from cliproxy.wire.errors import UpstreamRefused
from cliproxy.wire.fold import fold, unfold
from cliproxy.wire.gemini import AnswerEncoder, decode_answer, encode_answer
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
from tests.wire.gemini.judge import REQUEST, decode, encode, folded, parts_of, read_stream, read_whole

OWN = Carrier("gemini", "signature", "c2ln")
CLAUDE = Carrier("anthropic", "signature", "EqQB")
CODEX = Carrier("openai-responses", "encrypted", "gAAAA", "rs_1")


def whole(*parts: Part, **fields: Any) -> Any:
    return encode_answer(Answer("r1", "upstream-model", parts=list(parts), **fields), REQUEST, "shown")


def chunks(raw: bytes) -> list[Any]:
    return [json.loads(frame.removeprefix(b"data: ")) for frame in raw.split(b"\n\n") if frame]


# ---------------------------------------------------------------- streams

STREAM: list[Event] = [
    Start("r1", "upstream-model", usage=Usage(input=90)),
    PartStart(0, Reasoning()),
    Delta(0, "hm "),
    Delta(0, "hm"),
    Signed(0, CLAUDE),
    PartEnd(0),
    PartStart(1, Text("")),
    Delta(1, "Grüße 👩‍👩‍👧"),
    Delta(1, "\u2028\u2029\u0085end"),
    PartEnd(1),
    PartStart(2, ToolCall("c1", "f", "")),
    PartStart(3, ToolCall("c2", "g", "")),
    Delta(2, '{"a":'),
    Delta(3, ""),
    Delta(2, "1}"),
    PartEnd(2),
    PartEnd(3),
    UsageReport(Usage(input=70, cache_read=20, cache_write=10, output=12, reasoning=7)),
    Finish("tool", raw="tool_use"),
]


@pytest.mark.parametrize("sse", [True, False])
def test_a_stream_as_the_sdk_reads_it(sse: bool) -> None:
    raw = encode(STREAM, sse=sse)
    if not sse:
        raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in json.loads(raw))
    read = read_stream(raw)
    parts = parts_of(read)
    assert "".join(part.text or "" for part in parts if part.thought) == "hm hm"
    said = "".join(part.text or "" for part in parts if not part.thought)
    assert said == "Grüße 👩‍👩‍👧\u2028\u2029\u0085end"
    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.id, call.name, call.args) for call in calls] == [("c1", "f", {"a": 1}), ("c2", "g", {})]
    (signature,) = [part.thought_signature for part in parts if part.thought_signature]
    assert unseal(base64.urlsafe_b64encode(signature).decode()) == CLAUDE
    assert {chunk.model_version for chunk in read} == {"shown"}
    assert {chunk.response_id for chunk in read} == {"r1"}
    usage, last = read[-1].usage_metadata, read[-1].candidates
    assert usage is not None
    assert (usage.prompt_token_count, usage.cached_content_token_count, usage.total_token_count) == (
        100,
        20,
        112,
    )
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (5, 7)
    assert last is not None
    assert last[0].finish_reason == "STOP"


def test_frames_are_those_that_every_client_reads() -> None:
    """class 1: `data: ` with its space, one line, no names, no ids, no comments, no [DONE]."""
    raw = encode(STREAM)
    for frame in raw.removesuffix(b"\n\n").split(b"\n\n"):
        assert frame.startswith(b"data: {")
        assert frame.decode().splitlines() == [frame.decode()]
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks(raw)].count("STOP") == 1
    assert AnswerEncoder(REQUEST, "m").ping() == b""


def test_text_and_thoughts_go_out_as_they_come() -> None:
    encoder = AnswerEncoder(REQUEST, "m")
    sent = [encoder.push(event) for event in STREAM[:9]]
    assert [bool(data) for data in sent] == [False, False, True, True, True, False, False, True, True]


def test_calls_go_out_whole_and_with_the_end() -> None:
    """A call is one part of one chunk, as Gemini's own are, and the end adds no part to it."""
    last = chunks(encode(STREAM))[-1]["candidates"][0]
    assert [part["functionCall"]["id"] for part in last["content"]["parts"]] == ["c1", "c2"]
    assert last["content"]["role"] == "model"


def test_calls_keep_their_place_before_later_parts() -> None:
    call = [PartStart(0, ToolCall("c1", "f", "{}")), PartEnd(0)]
    text = [PartStart(1, Text("")), Delta(1, "then"), PartEnd(1)]
    parts = parts_of(read_stream(encode([Start("r"), *call, *text, Finish("tool")])))
    assert [part.function_call is not None for part in parts[:2]] == [True, False]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "nothing", '"x"'])
def test_arguments_are_always_an_object(arguments: str) -> None:
    (part,) = whole(ToolCall("c", "f", arguments))["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["args"] == {}


def test_an_answer_of_nothing_still_has_a_part() -> None:
    """class 18: SDKs look for a part where a candidate is."""
    (chunk,) = read_stream(encode([Start("r"), Finish("stop")]))
    assert chunk.candidates is not None
    assert [part.text for part in parts_of([chunk])] == [""]
    assert read_whole(whole()).text == ""


@pytest.mark.parametrize("sse", [True, False])
@pytest.mark.parametrize("sent", range(0, len(STREAM) - 1, 4))
def test_a_cut_answer_ends_as_an_error(sse: bool, sent: int) -> None:
    """class 1: finish() is called on every path; without an ending it is never a success."""
    raw = encode(STREAM[:sent], sse=sse)
    last = chunks(raw)[-1] if sse else json.loads(raw)[-1]
    assert (last["error"]["code"], last["error"]["status"]) == (502, "UNAVAILABLE")
    assert b"finishReason" not in raw


def test_a_failure_in_mid_stream_raises_in_the_sdk() -> None:
    refused = UpstreamRefused("overloaded", status=529, retry_after_s=2)
    raw = encode([*STREAM[:4], Failure(refused), *STREAM[4:]])
    with pytest.raises(errors.APIError, match="overloaded"):
        read_stream(raw)
    assert chunks(raw)[-1]["error"]["code"] == 503


def test_after_the_end_nothing_is_written() -> None:
    encoder = AnswerEncoder(REQUEST, "m", sse=False)
    raw = encoder.push(Start("r")) + encoder.push(Finish("stop"))
    assert raw.startswith(b"[") and raw.endswith(b"]")
    assert encoder.push(Failure(UpstreamRefused("late", status=500))) == encoder.finish() == b""


def test_parts_left_open_are_closed_by_the_end() -> None:
    raw = encode([Start("r"), PartStart(0, ToolCall("c1", "f", '{"a":1}')), Finish("tool")])
    assert [part.function_call.args for part in parts_of(read_stream(raw)) if part.function_call] == [{"a": 1}]


# ---------------------------------------------------------------- signatures


def test_own_signatures_stay_and_foreign_ones_are_sealed() -> None:
    """class 6: each token says whose it is, for the way back."""
    parts = [Reasoning("a", CLAUDE), Text("b", carrier=OWN), ToolCall("c", "f", "{}", carrier=OWN)]
    thought, text, call = whole(*parts)["candidates"][0]["content"]["parts"]
    assert unseal(thought["thoughtSignature"]) == CLAUDE
    assert text == {"text": "b", "thoughtSignature": "c2ln"}
    assert call["thoughtSignature"] == "c2ln"


@pytest.mark.parametrize(
    ("reasoning", "rides"),
    [
        (Reasoning("", CODEX), True),
        (Reasoning("hm", CODEX), True),
        (Reasoning("", CLAUDE), True),
        (Reasoning("hm", CLAUDE), False),
    ],
)
def test_a_token_without_visible_reasoning_rides_on_the_next_call(reasoning: Reasoning, rides: bool) -> None:
    """class 6: Gemini CLI drops thoughts and returns calls; only text that must go with its token cannot ride."""
    answer = Answer(parts=[reasoning, ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}")], finish="tool")
    raw = encode(unfold(answer))
    for parts in (
        [part for chunk in chunks(raw) for part in chunk["candidates"][0]["content"]["parts"]],
        encode_answer(answer, REQUEST, "m")["candidates"][0]["content"]["parts"],
    ):
        first, second = [part for part in parts if "functionCall" in part]
        assert ("thoughtSignature" in first) is rides
        assert "thoughtSignature" not in second
        if rides:
            assert unseal(first["thoughtSignature"]) == reasoning.carrier


# ---------------------------------------------------------------- endings, counts, sources

ENDINGS: list[tuple[FinishReason, str | None, str]] = [
    ("stop", "end_turn", "STOP"),
    ("stop_sequence", None, "STOP"),
    ("length", None, "MAX_TOKENS"),
    ("tool", None, "STOP"),
    ("filter", "content_filter", "SAFETY"),
    ("filter", "RECITATION", "RECITATION"),
    ("refusal", None, "SAFETY"),
    ("pause", None, "STOP"),
]


@pytest.mark.parametrize(("reason", "raw", "word"), ENDINGS)
def test_finish_reasons(reason: FinishReason, raw: str | None, word: str) -> None:
    body = whole(Text("x"), finish=reason, raw_finish=raw)
    assert body["candidates"][0]["finishReason"] == word
    assert read_whole(body).candidates is not None


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (Usage(), (0, 0, 0, None, None)),
        (Usage(input=5, output=2), (5, 2, 7, None, None)),
        (Usage(200, 300, 500, 45, 40), (1000, 5, 1045, 300, 40)),
        (Usage(input=5, output=2, reasoning=9), (5, 0, 7, None, 9)),
    ],
)
def test_usage(usage: Usage, counts: tuple[int | None, ...]) -> None:
    """class 8: cache reads and writes are input, thoughts are output, and the total adds up."""
    said = whole(Text("x"), usage=usage)["usageMetadata"]
    names = (
        "promptTokenCount",
        "candidatesTokenCount",
        "totalTokenCount",
        "cachedContentTokenCount",
        "thoughtsTokenCount",
    )
    assert tuple(said.get(name) for name in names) == counts


def test_sources_become_grounding() -> None:
    """class 25: another vendor's search and its citations are shown as Google's are."""
    citations = [
        Citation("https://a.test", "A", start=6, end=9),
        Citation("https://b.test"),
        Citation(quote="nowhere"),
    ]
    parts = [
        ServerCall("s", "web_search", "anthropic", {"query": "oslo"}),
        ServerResult(
            "s", "web_search", "anthropic", [Citation("https://a.test", "A"), Citation("https://c.test", "C")]
        ),
        Text("Grüße aus Oslo", citations=citations),
    ]
    expected = {
        "webSearchQueries": ["oslo"],
        "groundingChunks": [
            {"web": {"uri": "https://a.test", "title": "A"}},
            {"web": {"uri": "https://c.test", "title": "C"}},
            {"web": {"uri": "https://b.test", "title": "https://b.test"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 8, "endIndex": 11, "text": "aus"}, "groundingChunkIndices": [0]},
            {
                "segment": {"startIndex": 0, "endIndex": 16, "text": "Grüße aus Oslo"},
                "groundingChunkIndices": [2],
            },
        ],
    }
    body = whole(*parts)
    assert body["candidates"][0]["groundingMetadata"] == expected
    assert body["candidates"][0]["content"]["parts"] == [{"text": "Grüße aus Oslo"}]
    streamed = chunks(encode(unfold(Answer(parts=list(parts)))))[-1]
    assert streamed["candidates"][0]["groundingMetadata"] == expected
    read = read_whole(body).candidates
    assert read is not None
    assert read[0].grounding_metadata is not None


def test_other_parts() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
    code = {"executableCode": {"code": "1", "language": "PYTHON"}}
    outcome = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    parts: list[Part] = [
        Refusal("I will not"),
        Media("image", "image/png", data="iVBO"),
        ServerCall("1", "code_execution", "gemini", raw=code),
        ServerResult("1", "code_execution", "gemini", raw=outcome),
        ServerCall("2", "code_execution", "anthropic", {"code": "1"}),
        Opaque("anthropic", {"type": "x"}),
        Opaque("gemini", {"toolCall": {"id": "1"}}),
    ]
    expected = [{"text": "I will not"}, image, code, outcome, {"toolCall": {"id": "1"}}]
    assert whole(*parts)["candidates"][0]["content"]["parts"] == expected
    streamed = chunks(encode(unfold(Answer(parts=parts))))
    said = [part for chunk in streamed for part in chunk["candidates"][0]["content"]["parts"]]
    assert [part for part in said if part != {"text": ""}] == expected


# ---------------------------------------------------------------- any answer

_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
_carriers = st.sampled_from([None, OWN])
_parts = st.one_of(
    st.builds(Text, _texts, st.just([]), _carriers),
    st.builds(Reasoning, _texts, _carriers),
    st.builds(ToolCall, st.sampled_from(["c1", "c2"]), st.just("f"), st.just('{"a":1}'), carrier=_carriers),
    st.just(Media("image", "image/png", data="iVBO")),
)
_usage = st.builds(Usage, st.integers(0, 9), st.integers(1, 9), st.none(), st.integers(5, 9), st.integers(1, 5))


def joined(parts: list[Part]) -> list[Part]:
    """Neighbouring texts that no signature parts are one text to Gemini."""
    result: list[Part] = []
    for part in parts:
        match part, result[-1] if result else None:
            case Text(text, carrier=carrier), Text(before, carrier=None):
                result[-1] = Text(before + text, carrier=carrier)
            case Reasoning(text, carrier), Reasoning(before, None):
                result[-1] = Reasoning(before + text, carrier)
            case _:
                result.append(part)
    return result


@given(st.lists(_parts, max_size=5), _usage, st.booleans())
@settings(max_examples=100)
def test_what_was_said_is_read_again(parts: list[Part], usage: Usage, sse: bool) -> None:
    calls = any(isinstance(part, ToolCall) for part in parts)
    answer = Answer("r1", "shown", parts=parts, usage=usage, finish="tool" if calls else "stop", raw_finish="STOP")
    expected = Answer("r1", "shown", None, joined(parts), usage, answer.finish, None, "STOP")
    assert folded(decode(encode(unfold(answer), sse=sse))) == expected
    assert decode_answer(encode_answer(answer, REQUEST, "shown")) == expected


_events = st.one_of(
    st.builds(PartStart, st.integers(0, 2), _parts | st.just(Refusal("no"))),
    st.builds(Delta, st.integers(0, 2), _texts),
    st.builds(Signed, st.integers(0, 2), st.sampled_from([OWN, CLAUDE])),
    st.builds(Cited, st.integers(0, 2), st.just(Citation("https://a.test"))),
    st.builds(PartEnd, st.integers(0, 2)),
    st.just(UsageReport(Usage(input=1))),
    st.sampled_from([Finish("stop"), Finish("length")]),
)


@given(st.lists(_events, max_size=12), st.booleans())
@settings(max_examples=100)
def test_any_events_make_a_stream_with_one_ending(events: list[Event], sse: bool) -> None:
    raw = encode([Start("r"), *events], sse=sse)
    sent = chunks(raw) if sse else json.loads(raw)
    ends = [chunk for chunk in sent if "error" in chunk or "finishReason" in chunk["candidates"][0]]
    assert ends == [sent[-1]]
    if "error" not in sent[-1]:
        assert fold(decode(raw)).finish in ("stop", "length", "tool")

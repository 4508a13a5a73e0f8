"""cliproxy.providers.gemini_answers: answers read in any framing, and framed as they are wanted."""

import json
from typing import Any

import pytest

from cliproxy.providers.gemini_answers import Framing, Reframing, wanted_framing
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled
from tests.providers.google import call

OBJECTS: list[Any] = [{"a": '1\\" } ]'}, {"a": {"b": [2]}}, {"a": "é\u2028"}]
SSE = "".join(f"data: {json.dumps(each)}\r\n\r\n" for each in OBJECTS).encode()
ARRAY = json.dumps(OBJECTS, indent=1).encode()


def read(framing: Framing, body: bytes, *, at: int | None = None) -> bytes:
    """The whole of it, cut in two at a place, or fed byte by byte."""
    reader = Reframing(framing, lambda data: data.replace(b'"a":', b'"z":').replace(b"\n", b""))
    pieces = [body[:at], body[at:]] if at is not None else [body[i : i + 1] for i in range(len(body))]
    return b"".join(map(reader.feed, pieces)) + reader.finish()


def parsed(framing: Framing, out: bytes) -> list[Any]:
    if framing == "array":
        return json.loads(out)
    frames = out.decode().split("\n\n")
    assert frames.pop() == ""
    return [json.loads(each.removeprefix("data: ")) for each in frames]


@pytest.mark.parametrize("framing", ["sse", "array"])
@pytest.mark.parametrize("body", [SSE, ARRAY], ids=["from sse", "from array"])
def test_each_object_is_changed_and_framed_anew_wherever_the_body_is_cut(framing: Framing, body: bytes) -> None:
    expected = [{"z": each["a"]} for each in OBJECTS]
    for at in (None, *range(len(body) + 1)):
        assert parsed(framing, read(framing, body, at=at)) == expected


def test_a_stream_is_passed_on_while_it_comes() -> None:
    reader = Reframing("array", lambda data: data)
    assert reader.feed(b'data: {"a": 1}\n\n') == b'[{"a": 1}'
    assert reader.feed(b'data: {"a": 2}\n\ndata: {"a"') == b',\n{"a": 2}'
    assert reader.feed(b": 3}\n\n") + reader.finish() == b',\n{"a": 3}]'


def test_what_comes_out_says_what_it_is() -> None:
    assert Reframing("sse", bytes).content_type == "text/event-stream"
    assert {Reframing(framing, bytes).content_type for framing in ("array", "whole")} == {"application/json"}


def test_an_empty_array_stays_one_and_nothing_is_no_answer() -> None:
    assert read("array", b"[]") == b"[]"
    with pytest.raises(UpstreamGarbled):
        read("whole", b" ")


def test_a_whole_answer_keeps_its_bytes() -> None:
    assert read("whole", b'{"a":  1}') == b'{"z":  1}'


# ---------------------------------------------------------------- folding


def chunk(*parts: Any, finish: str = "", index: int | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    if index is not None:
        candidate["index"] = index
    return {"candidates": [candidate], **more}


def folded(*chunks: dict[str, Any]) -> Any:
    return json.loads(read("whole", "".join(f"data: {json.dumps(each)}\n\n" for each in chunks).encode(), at=3))


def test_text_and_thoughts_in_pieces_are_one_part_each() -> None:
    answer = folded(
        chunk({"text": "I ", "thought": True}),
        chunk({"text": "think", "thought": True, "thoughtSignature": "sig"}, usageMetadata={"totalTokenCount": 1}),
        chunk({"text": "he"}, {"text": "llo"}, modelVersion="m"),
        chunk({"functionCall": {"name": "f"}}, {"text": "!"}, finish="STOP", usageMetadata={"totalTokenCount": 9}),
    )
    [candidate] = answer["candidates"]
    assert candidate["content"] == {
        "role": "model",
        "parts": [
            {"text": "I think", "thought": True, "thoughtSignature": "sig"},
            {"text": "hello"},
            {"functionCall": {"name": "f"}},
            {"text": "!"},
        ],
    }
    assert (candidate["finishReason"], answer["usageMetadata"], answer["modelVersion"]) == (
        "STOP",
        {"totalTokenCount": 9},
        "m",
    )


def test_text_after_a_signature_is_a_part_of_its_own() -> None:
    answer = folded(chunk({"text": "a", "thoughtSignature": "s"}), chunk({"text": "b"}, finish="STOP"))
    parts = answer["candidates"][0]["content"]["parts"]
    assert parts == [{"text": "a", "thoughtSignature": "s"}, {"text": "b"}]


def test_candidates_are_kept_apart() -> None:
    answer = folded(chunk({"text": "a"}, index=0), chunk({"text": "b"}, index=1), chunk({"text": "c"}, finish="STOP"))
    assert [each["content"]["parts"][0]["text"] for each in answer["candidates"]] == ["ac", "b"]


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    with pytest.raises(UpstreamCut):
        folded(chunk({"text": "a"}), chunk({"text": "b"}))


def test_a_blocked_prompt_is_an_answer() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    assert folded({"usageMetadata": {}}, blocked)["promptFeedback"] == {"blockReason": "SAFETY"}


@pytest.mark.parametrize(
    ("stream", "action", "query", "framing"),
    [
        (False, "", "", "whole"),
        (False, "generateContent", "", "whole"),
        (True, "", "", "sse"),
        (True, "streamGenerateContent", "alt=sse", "sse"),
        (True, "streamGenerateContent", "", "array"),
        (True, "streamGenerateContent", "alt=json&x=1", "array"),
    ],
)
def test_whoever_asks_says_how_they_want_it(stream: bool, action: str, query: str, framing: Framing) -> None:
    assert wanted_framing(call({}, stream=stream, action=action, query=query)) == framing

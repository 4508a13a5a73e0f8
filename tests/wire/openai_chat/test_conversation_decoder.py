"""cliproxy.wire.openai_chat.conversation_decoder: messages of all shapes that clients send."""

import pytest

from cliproxy.wire import envelope
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Media,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_chat import decode_request

HI = {"role": "user", "content": "Hi"}
OWN = Carrier("openai-chat", "signature", "reasoning_content")


def decoded(*messages, **more):
    return decode_request({"model": "m", "messages": list(messages) or [HI], **more})


def parts_of(content, role="user"):
    [turn] = decoded({"role": role, "content": content}).turns
    return turn.parts


# ---------------------------------------------------------------- messages


def test_leading_system_messages_are_the_system_prompt():
    request = decoded(
        {"role": "system", "content": "One"},
        {
            "role": "developer",
            "content": [{"type": "text", "text": "Two"}, {"type": "text", "text": "Three"}],
        },
        HI,
        {"role": "system", "content": "Four"},
    )
    assert request.system == [Text("One"), Text("Two"), Text("Three")]
    assert request.turns == [Turn("user", [Text("Hi")]), Turn("system", [Text("Four")])]


def test_empty_texts_are_nothing():
    """class 18: an empty system prompt or message makes no empty part."""
    request = decoded({"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant"}, HI)
    assert (request.system, request.turns) == ([], [Turn("user", [Text("Hi")])])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, Text("a")),
        ({"text": "a"}, Text("a")),
        ("a", Text("a")),
        ({"type": "input_text", "text": "a"}, Text("a")),
        ({"type": "refusal", "refusal": "No"}, Refusal("No")),
        ({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, Reasoning("hm")),
        ({"type": "thinking", "thinking": "hm"}, Reasoning("hm")),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
            Media("image", "image/png", data="QUJD", detail="low"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://a.test/b"}},
            Media("image", url="https://a.test/b"),
        ),
        (
            {"type": "image_url", "image_url": "https://a.test/b.png"},
            Media("image", "image/png", url="https://a.test/b.png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:application/pdf;base64,QUJD"}},
            Media("document", "application/pdf", data="QUJD"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
            Media("audio", "audio/mp3", data="QUJD"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "data:;base64,QUJD"}},
            Media("audio", "audio/wav", data="QUJD"),
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
            Media("document", "application/pdf", data="QUJD", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"filename": "a.csv", "file_data": "QUJD"}},
            Media("document", "text/csv", data="QUJD", name="a.csv"),
        ),
        (
            {"type": "file", "file": {"file_id": "file-1"}},
            Media("document", file_id="file-1", origin="openai-chat"),
        ),
        (
            {"type": "file", "file": {"file_url": "https://a.test/b.pdf"}},
            Media("document", "application/pdf", url="https://a.test/b.pdf"),
        ),
        (
            {"type": "video_url", "video_url": {"url": "https://a.test/b.mp4"}},
            Media("video", "video/mp4", url="https://a.test/b.mp4"),
        ),
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            Text("a", cache=CacheHint("1h")),
        ),
        (
            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            Text("a", cache=CacheHint()),
        ),
        ({"type": "brand_new", "x": 1}, Opaque("openai-chat", {"type": "brand_new", "x": 1})),
    ],
    ids=str,
)
def test_parts(part, expected):
    """class 10: media are parts like any other, as data or behind a URL."""
    assert parts_of([part]) == [expected]


def test_a_cache_hint_on_a_message_is_on_its_last_part():
    message = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    [turn] = decoded({**message, "cache_control": {"type": "ephemeral"}}).turns
    assert turn.parts == [Text("a"), Text("b", cache=CacheHint())]


def test_an_assistants_reasoning_words_and_calls():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    custom = {"id": "b", "type": "custom", "custom": {"name": "exec", "input": "ls"}}
    message = {
        "role": "assistant",
        "reasoning_content": "hm",
        "content": "ok",
        "refusal": "No",
        "tool_calls": [call, custom],
    }
    [_, turn, results] = decoded(HI, message, {"role": "tool", "tool_call_id": "b", "content": "out"}).turns
    assert turn == Turn(
        "assistant",
        [
            Reasoning("hm", OWN),
            Text("ok"),
            Refusal("No"),
            ToolCall("a", "f", '{"x":1}'),
            ToolCall("b", "exec", "ls", "custom"),
        ],
    )
    assert results.parts == [ToolResult("b", [Text("out")], kind="custom")]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"reasoning": "hm"}, Reasoning("hm", Carrier("openai-chat", "signature", "reasoning"))),
        ({"reasoning_content": "hm", "reasoning": "hm"}, Reasoning("hm", OWN)),
        (
            {
                "reasoning": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}],
            },
            Reasoning(
                "hm",
                Carrier("openai-chat", "signature", '[{"type":"reasoning.text","text":"hm","signature":"s"}]'),
            ),
        ),
        (
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
            Reasoning("", Carrier("openai-chat", "encrypted", '[{"type":"reasoning.encrypted","data":"x"}]')),
        ),
    ],
)
def test_reasoning_that_clients_give_back(fields, reasoning):
    """class 19: reasoning_content, reasoning and reasoning_details of earlier answers."""
    assert decoded({"role": "assistant", "content": "ok", **fields}).turns[0].parts == [reasoning, Text("ok")]


def test_a_signature_of_a_call_is_geminis_or_whose_it_says():
    """class 6: Gemini's own token as it is, a sealed one with its origin."""
    foreign = Carrier("anthropic", "signature", "c2ln")
    calls = [
        {
            "id": "a",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": text}},
        }
        for text in ("Z2Vt", envelope.seal(foreign))
    ]
    parts = decoded({"role": "assistant", "tool_calls": calls}).turns[0].parts
    assert parts == [
        ToolCall("a", "f", "{}", carrier=Carrier("gemini", "signature", "Z2Vt")),
        ToolCall("a", "f", "{}", carrier=foreign),
    ]


@pytest.mark.parametrize(("arguments", "text"), [('{"a":1}', '{"a":1}'), ({"a": 1}, '{"a":1}'), ("", ""), (None, "")])
def test_arguments(arguments, text):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert decoded({"role": "assistant", "tool_calls": [call]}).turns[0].parts == [ToolCall("a", "f", text)]


def test_the_deprecated_function_role():
    request = decoded(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "out"},
    )
    assert [turn.parts for turn in request.turns] == [
        [ToolCall("", "f", "{}")],
        [ToolResult("", [Text("out")], "f")],
    ]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("out", [Text("out")]),
        ("", []),
        (None, []),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], [Text("a"), Text("b")]),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}],
            [Media("image", "image/png", data="QUJD")],
        ),
    ],
)
def test_tool_results(content, parts):
    """class 10: a tool's result may hold media, and may be empty."""
    [turn] = decoded({"role": "tool", "tool_call_id": "a", "content": content}).turns
    assert turn.parts == [ToolResult("a", parts)]

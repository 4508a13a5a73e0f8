"""cliproxy.wire.gemini.conversation_decoder: contents and instructions of all shapes that Google's SDKs send."""

from typing import Any

import pytest

from cliproxy.wire.envelope import seal
from cliproxy.wire.gemini import decode_request
from cliproxy.wire.model import (
    Carrier,
    Media,
    Opaque,
    Reasoning,
    Request,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)


def read(**fields: Any) -> Request:
    fields.setdefault("contents", "hi")
    return decode_request(fields, model="gemini-2.5-pro", stream=True)


def parts_of(*parts: Any, role: str = "model") -> list[Any]:
    return read(contents=[{"role": role, "parts": list(parts)}]).turns[0].parts


SIGNED = Carrier("gemini", "signature", "c2ln")

# ---------------------------------------------------------------- contents


@pytest.mark.parametrize(
    "contents",
    [
        "hi",
        ["hi"],
        {"parts": {"text": "hi"}},
        {"parts": "hi"},
        [{"parts": [{"text": "hi"}]}],
        [{"role": "", "parts": ["hi"]}],
        [{"role": "user", "parts": [{"text": "hi"}]}],
    ],
)
def test_contents_come_in_many_shapes(contents: Any) -> None:
    assert read(contents=contents).turns == [Turn("user", [Text("hi")])]


def test_neighbours_of_one_role_are_one_turn() -> None:
    """class 2: google-genai's chats keep each chunk of an answer as a content of its own."""
    chunks = [
        [{"text": "I am "}],
        [{"text": "here"}],
        [{"text": "", "thoughtSignature": "c2ln"}],
        [{"text": "!"}],
    ]
    contents = [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
    contents += [{"role": "model", "parts": parts} for parts in chunks]
    assert read(contents=contents).turns == [
        Turn("user", [Text("a"), Text("b")]),
        Turn("assistant", [Text("I am here", carrier=SIGNED), Text("!")]),
    ]


def test_parts_in_both_spellings() -> None:
    camel = parts_of(
        {"inlineData": {"mimeType": "image/png", "data": "iVBO", "displayName": "a.png"}},
        {"fileData": {"fileUri": "https://x.test/a.pdf"}},
        {"functionResponse": {"id": "1", "name": "f", "response": {"output": "ok"}}},
        role="user",
    )
    snake = parts_of(
        {"inline_data": {"mime_type": "image/png", "data": "iVBO", "display_name": "a.png"}},
        {"file_data": {"file_uri": "https://x.test/a.pdf"}},
        {"function_response": {"id": "1", "name": "f", "response": {"output": "ok"}}},
        role="user",
    )
    assert camel == snake
    assert camel == [
        Media("image", "image/png", data="iVBO", name="a.png"),
        Media("document", "application/pdf", url="https://x.test/a.pdf"),
        ToolResult("1", [Text("ok")], name="f"),
    ]


@pytest.mark.parametrize(
    ("file", "kind", "origin"),
    [
        (
            {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a", "mimeType": "image/png"},
            "image",
            "gemini",
        ),
        ({"fileUri": "gs://bucket/a.mp3"}, "audio", "gemini"),
        ({"fileUri": "files/abc"}, "document", "gemini"),
        ({"fileUri": "https://www.youtube.com/watch?v=1"}, "video", None),
        ({"fileUri": "https://x.test/a.jpg?size=2"}, "image", None),
        ({"fileUri": "https://x.test/a"}, "document", None),
    ],
)
def test_only_googles_own_files_are_bound_to_it(file: dict[str, str], kind: str, origin: str | None) -> None:
    (media,) = parts_of({"fileData": file}, role="user")
    assert (media.kind, media.origin, media.url) == (kind, origin, file["fileUri"])


def test_calls_and_their_signatures() -> None:
    parts = parts_of(
        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
        {
            "functionCall": {"id": "1", "name": "f", "args": {"n": 1.5, "deep": [None]}},
            "thought_signature": "c2ln",
        },
        {"function_call": {"name": "g"}},
        {"functionCall": {"name": "h", "args": None}, "thoughtSignature": "skip_thought_signature_validator"},
    )
    assert parts == [
        Reasoning("hm", SIGNED),
        ToolCall("1", "f", '{"n":1.5,"deep":[null]}', carrier=SIGNED),
        ToolCall("", "g", "{}"),
        ToolCall("", "h", "{}"),
    ]


def test_another_vendors_token_is_unsealed() -> None:
    """class 6: what was sealed for the way through a Gemini client is that vendor's again."""
    carrier = Carrier("anthropic", "signature", "EqQB")
    assert parts_of({"text": "hm", "thought": True, "thoughtSignature": seal(carrier)}) == [Reasoning("hm", carrier)]


def test_a_token_that_rides_on_a_call_is_the_reasoning_before_it() -> None:
    """class 6: Gemini CLI drops thoughts; the token comes back with the call, and only once."""
    carrier = Carrier("openai-responses", "encrypted", "gAAAA", "rs_1")
    call = {"functionCall": {"name": "f"}, "thoughtSignature": seal(carrier)}
    reasoning, plain = Reasoning("", carrier), ToolCall("", "f", "{}")
    assert parts_of(call) == [reasoning, plain]
    thought = {"text": "", "thought": True, "thoughtSignature": seal(carrier)}
    assert parts_of(thought, {"text": "x"}, call) == [reasoning, Text("x"), plain]
    assert parts_of({"text": "hm", "thought": True}, call) == [Reasoning("hm", carrier), plain]


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "ok"}, "ok", False),
        ({"result": {"a": 1}}, '{"a":1}', False),
        ({"name": "f", "content": "ok"}, "ok", False),
        ({"error": "no"}, "no", True),
        ({"error": {"code": 1}}, '{"code":1}', True),
        ({"output": "ok", "error": None}, "ok", False),
        ({"output": "ok", "error": "warned"}, '{"output":"ok","error":"warned"}', False),
        ({"temperature": 20}, '{"temperature":20}', False),
        ({"name": "x"}, '{"name":"x"}', False),
        ({}, "{}", False),
        ("plain", "plain", False),
    ],
)
def test_what_a_function_returned(response: Any, text: str, is_error: bool) -> None:
    (result,) = parts_of({"functionResponse": {"name": "f", "response": response}}, role="user")
    assert result == ToolResult("", [Text(text)], name="f", is_error=is_error)


def test_media_in_a_result() -> None:
    """class 10: Qwen Code puts images into the result itself."""
    response = {
        "name": "read",
        "response": {"output": "see"},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "iV"}}],
    }
    (result,) = parts_of({"functionResponse": response}, role="user")
    assert result.parts == [Text("see"), Media("image", "image/png", data="iV")]


@pytest.mark.parametrize("role", ["user", "function", "model"])
def test_results_are_the_users_whoever_returns_them(role: str) -> None:
    contents = [{"role": role, "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]
    assert read(contents=contents).turns[0].role == "user"


def test_vendor_side_parts() -> None:
    code, outcome, other = (
        {"executableCode": {"code": "1"}},
        {"codeExecutionResult": {"output": "1"}},
        {"toolCall": {"id": "1"}},
    )
    assert parts_of(code, outcome, other, {}, {"thought": True}) == [
        ServerCall("", "code_execution", "gemini", {"code": "1"}, raw=code),
        ServerResult("", "code_execution", "gemini", raw=outcome),
        Opaque("gemini", other),
    ]


# ---------------------------------------------------------------- instructions


@pytest.mark.parametrize(
    "instruction",
    [
        "Be kind",
        {"parts": [{"text": "Be kind"}]},
        {"role": "user", "parts": {"text": "Be kind"}},
        {"text": "Be kind"},
        ["Be kind"],
    ],
)
@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_system_instruction(name: str, instruction: Any) -> None:
    assert read(**{name: instruction}).system == [Text("Be kind")]

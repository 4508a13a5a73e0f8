"""cliproxy.wire.anthropic.conversation_decoder: instructions and messages, block by block."""

from typing import Any

import pytest

from cliproxy.wire import envelope
from cliproxy.wire.anthropic import decode_request
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Citation,
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Request,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)


def body(content: Any = "Hi", role: str = "user", **more: Any) -> Json:
    return {
        "model": "claude-test",
        "max_tokens": 99,
        "messages": [{"role": role, "content": content}],
        **more,
    }


def decode(content: Any = "Hi", role: str = "user", **more: Any) -> Request:
    return decode_request(body(content, role, **more))


def parts(*blocks: Any, role: str = "user") -> list[Part]:
    return decode(list(blocks), role).turns[0].parts


@pytest.mark.parametrize("system", ["Be kind", [{"type": "text", "text": "Be kind"}]])
def test_instructions_are_a_string_or_blocks(system: Any) -> None:
    assert decode(system=system).system == [Text("Be kind")]


def test_claude_codes_billing_line_is_left_to_anthropic() -> None:
    lines = ["x-anthropic-billing-header: cc_version=1;", "You are Claude Code."]
    request = decode(system=[{"type": "text", "text": line} for line in lines])
    assert request.system == [Text("You are Claude Code.")]
    assert request.raw["system"][0]["text"] == lines[0]


def test_instructions_in_mid_conversation_keep_their_place() -> None:
    """Claude Code sends its reminders so, with a setting of their own and a cache mark for the message."""
    messages: list[Json] = [
        {"role": "user", "content": "Q"},
        {
            "role": "system",
            "content": "Note",
            "output_config": {"effort": "medium"},
            "cache_control": {"type": "ephemeral"},
        },
        {"role": "assistant", "content": "A"},
    ]
    request = decode_request({"model": "m", "messages": messages})
    assert request.turns == [
        Turn("user", [Text("Q")]),
        Turn("system", [Text("Note", cache=CacheHint())]),
        Turn("assistant", [Text("A")]),
    ]


def test_leading_system_messages_are_instructions() -> None:
    messages: list[Json] = [{"role": "system", "content": "S2"}, {"role": "user", "content": "Q"}]
    request = decode_request({"model": "m", "system": "S1", "messages": messages})
    assert request.system == [Text("S1"), Text("S2")]
    assert request.turns == [Turn("user", [Text("Q")])]


BLOCKS: list[tuple[Json, list[Part]]] = [
    ({"type": "text", "text": ""}, []),
    (
        {"type": "text", "text": "T", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        [Text("T", cache=CacheHint("1h"))],
    ),
    (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWk="}},
        [Media("image", "image/png", data="aWk=")],
    ),
    (
        {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
        [Media("image", url="https://x.test/i.png")],
    ),
    (
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        [Media("image", file_id="file_1", origin="anthropic")],
    ),
    (
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVA="},
        },
        [Media("document", "application/pdf", data="JVA=", name="a.pdf")],
    ),
    (
        {
            "type": "document",
            "context": "From 1999",
            "source": {"type": "url", "url": "https://x.test/a.pdf"},
        },
        [Text("From 1999"), Media("document", url="https://x.test/a.pdf")],
    ),
    (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        [Media("document", "text/plain", text="words")],
    ),
    (
        {
            "type": "document",
            "title": "D",
            "source": {
                "type": "content",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
        },
        [Media("document", "text/plain", text="a\n\nb", name="D")],
    ),
    (
        {"type": "document", "source": {"type": "file", "file_id": "file_2"}},
        [Media("document", file_id="file_2", origin="anthropic")],
    ),
    (
        {
            "type": "search_result",
            "title": "T",
            "source": "https://x.test",
            "content": [{"type": "text", "text": "found"}],
        },
        [Text("T\nhttps://x.test\nfound")],
    ),
    (
        {"type": "container_upload", "file_id": "f"},
        [Opaque("anthropic", {"type": "container_upload", "file_id": "f"})],
    ),
    ({"type": "tool_result", "tool_use_id": "t1"}, [ToolResult("t1", [])]),
    ({"type": "tool_result", "tool_use_id": "t1", "content": "out"}, [ToolResult("t1", [Text("out")])]),
    (
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "is_error": True,
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWk="}},
            ],
        },
        [ToolResult("t1", [Text("a"), Media("image", "image/png", data="aWk=")], is_error=True)],
    ),
    (
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": [{"type": "tool_reference", "tool_name": "WebSearch"}],
        },
        [ToolResult("t1", [Text("The tool WebSearch is available now.")])],
    ),
    (
        {
            "type": "tool_use",
            "id": "t1",
            "name": "f",
            "input": {"a": 1},
            "cache_control": {"type": "ephemeral"},
        },
        [ToolCall("t1", "f", '{"a":1}', cache=CacheHint())],
    ),
    ({"type": "tool_use", "id": "t1", "name": "f", "input": {}}, [ToolCall("t1", "f", "{}")]),
    (
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        [Reasoning("hm", Carrier("anthropic", "signature", "c2ln"))],
    ),
    ({"type": "thinking", "thinking": "hm", "signature": ""}, [Reasoning("hm")]),
    (
        {"type": "redacted_thinking", "data": "cmVk"},
        [Reasoning("", Carrier("anthropic", "redacted", "cmVk"))],
    ),
]


@pytest.mark.parametrize(
    ("block", "expected"), BLOCKS, ids=lambda value: value.get("type") if isinstance(value, dict) else ""
)
def test_each_block(block: Json, expected: list[Part]) -> None:
    """class 10: pictures and documents are parts of their own, in results of tools too."""
    assert parts(block) == expected


def test_citations_keep_the_words_of_their_origin() -> None:
    location = {
        "type": "char_location",
        "cited_text": "q",
        "document_index": 0,
        "document_title": "D",
        "start_char_index": 0,
        "end_char_index": 1,
    }
    assert parts({"type": "text", "text": "T", "citations": [location]}, role="assistant") == [
        Text("T", [Citation(title="D", quote="q", raw=location)])
    ]


def test_tools_that_ran_at_the_vendor() -> None:
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
    found = {
        "type": "web_search_result",
        "url": "https://x.test",
        "title": "T",
        "encrypted_content": "ZW5j",
        "page_age": None,
    }
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]}
    assert parts(call, result, role="assistant") == [
        ServerCall("srvtoolu_1", "web_search", "anthropic", {"query": "q"}, call),
        ServerResult("srvtoolu_1", "web_search", "anthropic", [Citation("https://x.test", "T")], result),
    ]


def test_a_foreign_token_is_known_again() -> None:
    """class 6: what another vendor signed returns as that vendor's."""
    sealed = Carrier("openai-responses", "encrypted", "gAAAA", "rs_1")
    assert parts(
        {"type": "thinking", "thinking": "hm", "signature": envelope.seal(sealed)},
        {"type": "redacted_thinking", "data": envelope.seal(sealed)},
        {"type": "text", "text": "A"},
        role="assistant",
    ) == [Reasoning("hm", sealed), Reasoning("", sealed), Text("A")]


@pytest.mark.parametrize("before", [True, False])
def test_a_calls_own_signature_returns_to_the_call(before: bool) -> None:
    """class 6: a tool call has no slot here for the signature that Gemini puts on it."""
    apart = {"type": "redacted_thinking", "data": envelope.seal(Carrier("gemini", "signature", "c2ln", "c1"))}
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    found = parts(*([apart, call] if before else [call, apart]), role="assistant")
    assert found == [ToolCall("c1", "f", "{}", carrier=Carrier("gemini", "signature", "c2ln"))]

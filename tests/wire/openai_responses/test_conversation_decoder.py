"""cliproxy.wire.openai_responses.conversation_decoder: input items of all kinds."""

from typing import Any

import pytest

from cliproxy.wire import envelope
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Citation,
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_responses import decode_request

_PNG = "iVBORw0KGgo="


def _decoded(**body: Any) -> Request:
    return decode_request({"model": "m", "input": "hi"} | body)


def _turns(*items: Json) -> list[Turn]:
    return _decoded(input=list(items)).turns


def _content(*parts: Json, role: str = "user") -> list[Part]:
    return _turns({"role": role, "content": list(parts)})[0].parts


# ---------------------------------------------------------------- conversation


def test_a_string_is_the_users_turn() -> None:
    assert _decoded().turns == [Turn("user", [Text("hi")])]


def test_items_with_and_without_a_type() -> None:
    """opencode sends messages without `type` and ids, Codex with both."""
    turns = _turns(
        {"role": "user", "content": "a"},
        {"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "b"}]},
        {
            "type": "message",
            "id": "msg_2",
            "status": "completed",
            "phase": "final_answer",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "c", "annotations": [], "logprobs": []}],
        },
        {"role": "user", "content": "d"},
    )
    assert turns == [
        Turn("user", [Text("a"), Text("b")]),
        Turn("assistant", [Text("c")]),
        Turn("user", [Text("d")]),
    ]


def test_instructions_come_before_developer_messages() -> None:
    request = _decoded(
        instructions="Alpha",
        input=[
            {"role": "developer", "content": "Beta"},
            {"role": "system", "content": [{"type": "input_text", "text": "Gamma"}]},
            {"role": "user", "content": "C"},
            {"role": "developer", "content": "Delta"},
            {"role": "user", "content": "D"},
        ],
    )
    assert request.system == [Text("Alpha"), Text("Beta"), Text("Gamma")]
    assert [turn.role for turn in request.turns] == ["user", "system", "user"]
    assert request.turns[1].parts == [Text("Delta")]


def test_empty_texts_are_left_out() -> None:
    request = _decoded(instructions="", input=[{"role": "user", "content": ""}, {"role": "user", "content": "x"}])
    assert request.system == []
    assert request.turns == [Turn("user", [Text("x")])]


def test_calls_and_their_outputs() -> None:
    """class 2: calls keep their ids, outputs may hold pictures."""
    turns = _turns(
        {"role": "user", "content": "Go"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {
            "type": "custom_tool_call",
            "call_id": "c2",
            "name": "exec",
            "namespace": "functions",
            "input": "ls",
        },
        {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "fine"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "seen"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "original"},
            ],
        },
    )
    assert turns[1].parts == [
        ToolCall("c1", "f", '{"a":1}'),
        ToolCall("c2", "exec", "ls", "custom", "functions"),
    ]
    image = Media("image", "image/png", _PNG, detail="original")
    assert turns[2].parts == [
        ToolResult("c1", [Text("fine")]),
        ToolResult("c2", [Text("seen"), image], kind="custom"),
    ]


@pytest.mark.parametrize("content", [None, [{"type": "reasoning_text", "text": "unseen"}]])
def test_reasoning_keeps_its_token_and_id(content: Any) -> None:
    """class 6: Codex sends `content: null` with what it got."""
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
        "content": content,
        "encrypted_content": "gAAA",
    }
    carrier = Carrier("openai-responses", "encrypted", "gAAA", "rs_1")
    assert _turns(item) == [Turn("assistant", [Reasoning("a\n\nb", carrier)])]


def test_reasoning_without_summary_has_its_content() -> None:
    item = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "c"}]}
    assert _turns(item)[0].parts == [Reasoning("c")]


def test_a_foreign_token_is_unsealed() -> None:
    carrier = Carrier("anthropic", "redacted", "UkVE")
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": envelope.seal(carrier)}
    assert _turns(item)[0].parts == [Reasoning("", carrier)]


def test_a_token_of_a_call_that_is_gone_stands_for_itself() -> None:
    carrier = Carrier("gemini", "signature", "SIG", "call:c9")
    item = {"type": "reasoning", "summary": [], "encrypted_content": envelope.seal(carrier)}
    assert _turns(item)[0].parts == [Reasoning("", carrier)]


def test_hosted_calls_and_unknown_items_are_kept_for_their_origin() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}}
    compaction = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}
    output = {"type": "local_shell_call_output", "id": "l", "output": "x"}
    trigger = {"type": "compaction_trigger"}
    assert _turns(search, compaction, output, trigger) == [
        Turn(
            "assistant",
            [
                ServerCall("ws_1", "web_search", "openai-responses", {"query": "q"}, search),
                Opaque("openai-responses", compaction),
            ],
        ),
        Turn("user", [Opaque("openai-responses", output), Opaque("openai-responses", trigger)]),
    ]


# ---------------------------------------------------------------- content


def test_pictures() -> None:
    """class 10."""
    assert _content(
        {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "low"},
        {"type": "input_image", "image_url": "https://i.test/a.png"},
        {"type": "input_image", "image_url": {"url": "https://i.test/b.png"}},
        {"type": "input_image", "file_id": "file-1"},
    ) == [
        Media("image", "image/png", _PNG, detail="low"),
        Media("image", url="https://i.test/a.png"),
        Media("image", url="https://i.test/b.png"),
        Media("image", file_id="file-1", origin="openai-responses"),
    ]


def test_files_and_sounds() -> None:
    """class 10."""
    assert _content(
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
        {"type": "input_file", "filename": "b.txt", "file_data": "QQ=="},
        {"type": "input_file", "file_url": "https://f.test/c.pdf"},
        {"type": "input_file", "file_id": "file-2"},
        {"type": "input_file", "filename": "d.png", "file_data": "data:image/png;base64,QQ=="},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "input_audio", "data": "UklG", "format": "mp3"},
    ) == [
        Media("document", "application/pdf", "QQ==", name="a.pdf"),
        Media("document", "text/plain", "QQ==", name="b.txt"),
        Media("document", url="https://f.test/c.pdf"),
        Media("document", file_id="file-2", origin="openai-responses"),
        Media("image", "image/png", "QQ==", name="d.png"),
        Media("audio", "audio/wav", "UklG"),
        Media("audio", "audio/mp3", "UklG"),
    ]


def test_refusals_citations_and_cache_breakpoints() -> None:
    annotation = {
        "type": "url_citation",
        "url": "https://a.test",
        "title": "A",
        "start_index": 0,
        "end_index": 1,
    }
    assert _content(
        {"type": "output_text", "text": "a", "annotations": [annotation]},
        {"type": "refusal", "refusal": "no"},
        {"type": "input_text", "text": "c", "prompt_cache_breakpoint": {"mode": "explicit"}},
        role="assistant",
    ) == [
        Text("a", [Citation("https://a.test", "A", None, 0, 1, annotation)]),
        Refusal("no"),
        Text("c", cache=CacheHint()),
    ]

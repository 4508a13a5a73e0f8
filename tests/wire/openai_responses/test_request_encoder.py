"""Request → bodies of POST /v1/responses, judged by the openai SDK's types."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire import history
from cliproxy.wire.errors import ClientFault, UnsupportedContent
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Citation,
    Effort,
    Encoded,
    Format,
    Json,
    Media,
    ModelFacts,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    ReasoningIntent,
    Refusal,
    Request,
    Role,
    Sampling,
    ServerCall,
    ServerResult,
    ServerTool,
    Text,
    ThinkingFacts,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_responses import decode_request, encode_request
from tests.wire.openai_responses.judge import check_request

_FACTS = ModelFacts("gpt-up")
_OWN_TOKEN = Carrier("openai-responses", "encrypted", "gAAA", "rs_1")


def _encoded(turns: list[Turn] | None = None, facts: ModelFacts = _FACTS, **members: Any) -> Encoded:
    members.setdefault("origin", "anthropic")
    request = Request(model="m", turns=turns or [Turn("user", [Text("hi")])], **members)
    before = copy.deepcopy(request)
    encoded = encode_request(request, facts)
    assert request == before
    check_request(encoded.body)
    return encoded


def _body(turns: list[Turn] | None = None, **members: Any) -> Json:
    return _encoded(turns, **members).body


def _input(*turns: Turn, **members: Any) -> list[Json]:
    return _body(list(turns), **members)["input"]


def _content(*parts: Part, role: Role = "user", **members: Any) -> list[Json]:
    return _input(Turn(role, list(parts)), **members)[0]["content"]


# ---------------------------------------------------------------- conversation


def test_a_small_request() -> None:
    assert _body() == {
        "model": "gpt-up",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "store": False,
        "stream": False,
    }


def test_a_foreign_system_prompt_is_the_instructions() -> None:
    body = _body(system=[Text("Rule one"), Text(""), Text("Rule two")])
    assert body["instructions"] == "Rule one\n\nRule two"
    assert len(body["input"]) == 1


def test_a_system_prompt_alone_is_the_input() -> None:
    body = _body([Turn("user", [Text("")])], system=[Text("Only system")])
    assert "instructions" not in body
    content = [{"type": "input_text", "text": "Only system"}]
    assert body["input"] == [{"type": "message", "role": "developer", "content": content}]


def test_a_system_prompt_with_a_picture_is_a_message() -> None:
    body = _body(system=[Text("Look"), Media("image", "image/png", "QQ==")])
    assert "instructions" not in body
    assert [part["type"] for part in body["input"][0]["content"]] == ["input_text", "input_image"]


def test_system_turns_stay_where_they_are() -> None:
    turns = [Turn("user", [Text("a")]), Turn("system", [Text("b")]), Turn("user", [Text("c")])]
    assert [item["role"] for item in _input(*turns)] == ["user", "developer", "user"]


def test_the_assistants_words() -> None:
    ours = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 1}
    parts = [Text("a", [Citation(raw=ours), Citation(title="book")]), Refusal("no")]
    assert _content(*parts, role="assistant") == [
        {"type": "output_text", "text": "a", "annotations": [ours]},
        {"type": "refusal", "refusal": "no"},
    ]


def test_text_calls_and_results_keep_their_order() -> None:
    """class 2."""
    items = _input(
        Turn("user", [Text("Go")]),
        Turn("assistant", [Text("Let me look"), ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}")]),
        Turn("user", [ToolResult("c1", [Text("fine")]), ToolResult("c2", []), Text("Now sum up")]),
    )
    assert [item["type"] for item in items] == [
        "message",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert items[2] == {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
    assert items[4] == {"type": "function_call_output", "call_id": "c1", "output": "fine"}
    assert items[5]["output"] == ""


def test_freeform_calls_stay_freeform() -> None:
    items = _input(
        Turn("assistant", [ToolCall("c1", "exec", "ls", "custom", "functions")]),
        Turn("user", [ToolResult("c1", [Text("a"), Text("b")], kind="custom")]),
    )
    call = {
        "type": "custom_tool_call",
        "call_id": "c1",
        "name": "exec",
        "namespace": "functions",
        "input": "ls",
    }
    assert items == [call, {"type": "custom_tool_call_output", "call_id": "c1", "output": "a\n\nb"}]


def test_media_in_a_result_stay_there() -> None:
    """class 10."""
    result = ToolResult(
        "c1",
        [
            Text("seen"),
            Media("image", "image/png", "QQ==", detail="original"),
            Media("document", "application/pdf", "QQ==", name="a.pdf"),
        ],
    )
    items = _input(Turn("assistant", [ToolCall("c1", "f", "{}")]), Turn("user", [result]))
    assert items[1]["output"] == [
        {"type": "input_text", "text": "seen"},
        {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "original"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
    ]


def test_sound_in_a_result_moves_to_the_user() -> None:
    result = ToolResult("c1", [Text("heard"), Media("audio", "audio/wav", "UklG")])
    request = Request("gemini", "m", [Turn("assistant", [ToolCall("c1", "f", "{}")]), Turn("user", [result])])
    items = encode_request(request, _FACTS).body["input"]
    assert items[1]["output"] == "heard"
    assert items[2]["role"] == "user"
    assert items[2]["content"] == [{"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}]


def test_a_failed_result_says_what_is_lost() -> None:
    turns = [
        Turn("assistant", [ToolCall("c", "f", "{}")]),
        Turn("user", [ToolResult("c", [Text("x")], is_error=True)]),
    ]
    assert _encoded(turns).dropped == ["is_error: a call's output has no such mark"]


def test_long_call_ids_change_alike() -> None:
    long = "toolu_" + "x" * 90
    items = _input(Turn("assistant", [ToolCall(long, "f", "{}")]), Turn("user", [ToolResult(long, [Text("x")])]))
    assert items[0]["call_id"] == items[1]["call_id"]
    assert len(items[0]["call_id"]) <= 64


# ---------------------------------------------------------------- reasoning in the history


def test_own_reasoning_goes_back_whole() -> None:
    """class 6."""
    body = _body([Turn("assistant", [Reasoning("hm", _OWN_TOKEN), Text("a")])])
    assert body["input"][0] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "gAAA",
    }
    assert body["include"] == ["reasoning.encrypted_content"]


def test_own_reasoning_without_text_has_an_empty_summary() -> None:
    carrier = Carrier("openai-responses", "encrypted", "gAAA")
    item = _input(Turn("assistant", [Reasoning("", carrier), Text("a")]))[0]
    assert item == {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}


@pytest.mark.parametrize(
    "carrier", [None, Carrier("anthropic", "signature", "SIG"), Carrier("gemini", "signature", "S")]
)
def test_foreign_reasoning_is_not_sent(carrier: Carrier | None) -> None:
    """class 6: never a token that this API did not make."""
    encoded = _encoded([Turn("assistant", [Reasoning("hm", carrier), Text("a")])])
    assert [item["type"] for item in encoded.body["input"]] == ["message"]
    assert encoded.dropped == ["reasoning: only what this API has encrypted itself can be given back to it"]


def test_what_ran_at_another_vendor_is_left_out() -> None:
    parts: list[Part] = [
        ServerCall("s", "web_search", "anthropic"),
        ServerResult("s", "web_search", "anthropic"),
        Opaque("anthropic", {"type": "container_upload"}),
        Text("a"),
    ]
    encoded = _encoded([Turn("assistant", parts)])
    assert [item["type"] for item in encoded.body["input"]] == ["message"]
    assert encoded.dropped == [
        "web_search in the history: it ran at anthropic",
        "container_upload: only anthropic knows it",
    ]


# ---------------------------------------------------------------- media


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (
            Media("image", "image/png", "QQ=="),
            {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"},
        ),
        (
            Media("image", url="https://i.test/a.png", detail="low"),
            {"type": "input_image", "image_url": "https://i.test/a.png", "detail": "low"},
        ),
        (
            Media("image", file_id="file-1", origin="openai-responses"),
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        ),
        (
            Media("document", "application/pdf", "QQ=="),
            {
                "type": "input_file",
                "filename": "document.pdf",
                "file_data": "data:application/pdf;base64,QQ==",
            },
        ),
        (
            Media("document", url="https://f.test/a.pdf"),
            {"type": "input_file", "file_url": "https://f.test/a.pdf"},
        ),
        (
            Media("document", file_id="file-2", origin="openai-responses"),
            {"type": "input_file", "file_id": "file-2"},
        ),
        (
            Media("document", text="Cats purr", name="Cats"),
            {"type": "input_text", "text": "Cats\n\nCats purr"},
        ),
    ],
)
def test_media(part: Media, content: Json) -> None:
    assert _content(part) == [content]


def test_sound() -> None:
    request = Request("gemini", "m", [Turn("user", [Media("audio", "audio/mpeg", "UklG")])])
    # The SDK has a type for sound, but not yet among those of a message's content.
    content = encode_request(request, _FACTS).body["input"][0]["content"]
    assert content == [{"type": "input_audio", "input_audio": {"data": "UklG", "format": "mp3"}}]


def test_the_assistants_picture_is_shown_by_the_user() -> None:
    encoded = _encoded([Turn("assistant", [Text("a"), Media("image", "image/png", "QQ=="), Text("b")])])
    assert [item["role"] for item in encoded.body["input"]] == ["assistant", "user", "assistant"]
    assert encoded.dropped == ["image of the assistant: sent as the user's"]


@pytest.mark.parametrize(
    "part",
    [
        Media("document", file_id="file_abc", origin="anthropic"),
        Media("document", url="https://files.test/abc", origin="gemini"),
        Media("video", "video/mp4", "QQ=="),
        Media("audio", "audio/wav", url="https://a.test/a.wav"),
    ],
)
def test_content_that_cannot_be_said_is_refused(part: Media) -> None:
    with pytest.raises(UnsupportedContent):
        _encoded([Turn("user", [part])])


def test_a_model_without_eyes_is_sent_no_picture() -> None:
    facts = ModelFacts("gpt-text", input_modalities=("text",), known=True)
    with pytest.raises(UnsupportedContent, match="an image cannot be sent to a gpt-text upstream"):
        _encoded([Turn("user", [Media("image", "image/png", "QQ==")])], facts)


# ---------------------------------------------------------------- tools

_SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(("strict", "written"), [(None, False), (False, False), (True, True)])
def test_a_tool_that_is_not_strict_says_so(strict: bool | None, written: bool) -> None:
    assert _body(tools=[Tool("f", "d", _SCHEMA, strict)])["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": _SCHEMA, "strict": written}
    ]


def test_a_tool_without_a_schema_takes_an_object() -> None:
    """clients.md section 4: Qwen Code sends functions without parameters."""
    tool = _body(tools=[Tool("f")])["tools"][0]
    assert tool["parameters"] == {"type": "object", "properties": {}}
    assert "description" not in tool


def test_freeform_tools_are_sent_natively() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    tools: list[Tool | ServerTool] = [Tool("exec", "d", kind="custom", grammar=grammar)]
    body = _body(tools=tools, tool_choice=ToolChoice("named", ["exec"]))
    assert body["tools"] == [{"type": "custom", "name": "exec", "description": "d", "format": grammar}]
    assert body["tool_choice"] == {"type": "custom", "name": "exec"}


def test_names_are_made_legal_and_can_be_restored() -> None:
    long = "mcp__a_very_long_server_name__and_a_very_long_tool_name_0123456789_abc"
    turns = [Turn("assistant", [ToolCall("c", "fs.read", "{}")]), Turn("user", [ToolResult("c", [])])]
    tools: list[Tool | ServerTool] = [Tool("fs.read"), Tool(long)]
    encoded = _encoded(turns, tools=tools, tool_choice=ToolChoice("allowed", ["fs.read", long], required=True))
    sent = [tool["name"] for tool in encoded.body["tools"]]
    assert all(len(name) <= 64 and "." not in name for name in sent)
    assert [encoded.names[name] for name in sent] == ["fs.read", long]
    assert encoded.body["input"][0]["name"] == sent[0]
    assert encoded.body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": name} for name in sent],
    }


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", ["f"]), {"type": "function", "name": "f"}),
        (
            ToolChoice("named", ["web_search"]),
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
        ),
        (
            ToolChoice("allowed", ["f"]),
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_tool_choice(choice: ToolChoice, written: Any) -> None:
    search = ServerTool("web_search", "anthropic", {"type": "web_search_20250305", "name": "web_search"})
    body = _body(tools=[Tool("f"), search], tool_choice=choice, parallel_calls=False)
    assert (body["tool_choice"], body["parallel_tool_calls"]) == (written, False)


def test_no_choice_without_tools() -> None:
    encoded = _encoded(tool_choice=ToolChoice("auto"), parallel_calls=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(encoded.body)
    assert encoded.dropped == ["tool_choice: no tool is offered"]


def test_web_search_of_another_vendor() -> None:
    """class 25."""
    search = ServerTool(
        "web_search",
        "anthropic",
        {"type": "web_search_20250305"},
        ["a.test"],
        None,
        {"country": "NO"},
        max_uses=3,
    )
    encoded = _encoded(tools=[search])
    assert encoded.body["tools"] == [
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.test"]},
            "user_location": {"type": "approximate", "country": "NO"},
        }
    ]
    assert encoded.dropped == ["web_search.max_uses: the search has no limit of its own"]


def test_other_tools_of_another_vendor_are_dropped() -> None:
    encoded = _encoded(tools=[ServerTool("web_fetch", "anthropic", {"type": "web_fetch_20250910"}), Tool("f")])
    assert [tool["type"] for tool in encoded.body["tools"]] == ["function"]
    assert encoded.dropped == ["tools.web_fetch: it runs at anthropic and has no counterpart here"]


# ---------------------------------------------------------------- settings


def test_sampling_and_what_has_no_place() -> None:
    sampling = Sampling(
        max_tokens=777,
        temperature=0,
        top_p=0.5,
        top_k=5,
        stop=["Z"],
        seed=1,
        presence_penalty=0.1,
        candidates=2,
    )
    encoded = _encoded(sampling=sampling, extras={"container": "c1"})
    body = encoded.body
    assert (body["max_output_tokens"], body["temperature"], body["top_p"]) == (777, 0, 0.5)
    assert {line.partition(":")[0] for line in encoded.dropped} == {
        "top_k",
        "stop",
        "seed",
        "presence_penalty",
        "n",
        "container",
    }


@pytest.mark.parametrize(("asked", "written"), [(1, 16), (99, 99), (9000, 4096)])
def test_max_tokens_stay_within_what_is_taken(asked: int, written: int) -> None:
    facts = ModelFacts("gpt", max_output_tokens=4096, known=True)
    encoded = _encoded(None, facts, sampling=Sampling(max_tokens=asked))
    assert encoded.body["max_output_tokens"] == written
    assert bool(encoded.dropped) == (asked != written)


_LEVELS: tuple[Effort, ...] = ("low", "medium", "high")


@pytest.mark.parametrize(
    ("intent", "thinking", "written"),
    [
        (ReasoningIntent("low"), None, {"effort": "low"}),
        (ReasoningIntent(budget=1024), None, {"effort": "low"}),
        (ReasoningIntent(budget=0), None, {"effort": "none"}),
        (ReasoningIntent(budget=8000, visible=True), None, {"effort": "medium", "summary": "auto"}),
        (ReasoningIntent("high", summary="concise"), None, {"effort": "high", "summary": "concise"}),
        (ReasoningIntent(visible=True), None, {"summary": "auto"}),
        (ReasoningIntent("xhigh"), ThinkingFacts(levels=_LEVELS), {"effort": "high"}),
        (ReasoningIntent("none"), ThinkingFacts(levels=_LEVELS, zero_allowed=False), {"effort": "low"}),
        (ReasoningIntent(budget=9000), ThinkingFacts(min=1024, max=32768), {"effort": "high"}),
    ],
)
def test_reasoning(intent: ReasoningIntent, thinking: ThinkingFacts | None, written: Json) -> None:
    """class 3."""
    facts = ModelFacts("gpt", thinking=thinking, known=thinking is not None)
    body = _body(None, facts=facts, reasoning=intent)
    assert body["reasoning"] == written
    assert body["include"] == ["reasoning.encrypted_content"]


def test_a_model_without_reasoning_is_not_asked_for_any() -> None:
    encoded = _encoded(None, ModelFacts("gpt", known=True), reasoning=ReasoningIntent("high"))
    assert not {"reasoning", "include"} & set(encoded.body)
    assert encoded.dropped == ["reasoning: gpt has no such setting"]


def test_a_reasoning_model_gives_its_encrypted_reasoning() -> None:
    facts = ModelFacts("gpt", thinking=ThinkingFacts(levels=_LEVELS), known=True)
    assert _body(None, facts=facts)["include"] == ["reasoning.encrypted_content"]
    assert "include" not in _body(None, facts=facts, origin="openai-chat", store=True)


@pytest.mark.parametrize(
    ("output", "written"),
    [
        (OutputFormat("text"), {"type": "text"}),
        (OutputFormat("json_object"), {"type": "json_object"}),
        (
            OutputFormat("json_schema", "city info!", "d", _SCHEMA, True),
            {
                "type": "json_schema",
                "name": "city_info_",
                "description": "d",
                "schema": _SCHEMA,
                "strict": True,
            },
        ),
        (
            OutputFormat("json_schema", schema=_SCHEMA),
            {"type": "json_schema", "name": "response", "schema": _SCHEMA},
        ),
    ],
)
def test_output_format(output: OutputFormat, written: Json) -> None:
    assert _body(output=output, verbosity="low")["text"] == {"verbosity": "low", "format": written}


def test_account() -> None:
    body = _body(user="u1", metadata={"a": "b"}, cache_key="k", service_tier="priority")
    assert (body["user"], body["metadata"], body["prompt_cache_key"]) == ("u1", {"a": "b"}, "k")
    assert body["service_tier"] == "priority"


def test_a_long_user_id_is_hashed() -> None:
    """Claude Code's user ids are JSON of more than 64 characters, alike at the start."""
    users = [_body(user='{"device_id":"' + "d" * 64 + end)["user"] for end in "ab"]
    assert [len(user) for user in users] == [64, 64]
    assert users[0] != users[1]


@pytest.mark.parametrize(("tier", "written"), [("standard_only", "default"), ("turbo", None)])
def test_service_tiers_of_others(tier: str, written: str | None) -> None:
    encoded = _encoded(service_tier=tier)
    assert encoded.body.get("service_tier") == written
    assert bool(encoded.dropped) == (written is None)


def test_cache_hints_are_recorded_once() -> None:
    hint = CacheHint()
    turn = Turn("user", [Text("a", cache=hint), Text("b", cache=hint)])
    assert _encoded([turn], tools=[Tool("f", cache=hint)]).dropped == ["cache_control: the API caches by itself"]


def test_fields_that_chat_shares() -> None:
    encoded = _encoded(origin="openai-chat", extras={"prompt_cache_retention": "24h", "prediction": {}})
    assert encoded.body["prompt_cache_retention"] == "24h"
    assert encoded.dropped == ["prediction: not in the Responses API"]


# ---------------------------------------------------------------- there and back

_RICH: Json = {
    "model": "gpt-up",
    "instructions": "Alpha",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Beta"}]},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "high"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "q"},
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yo", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":"b"}'},
        {
            "type": "custom_tool_call",
            "call_id": "c2",
            "name": "exec",
            "namespace": "functions",
            "input": "ls",
        },
        {"type": "function_call_output", "call_id": "c1", "output": "fine"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        },
        {"type": "compaction_trigger"},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": _SCHEMA},
        {
            "type": "namespace",
            "name": "functions",
            "description": "All of them",
            "tools": [{"type": "custom", "name": "exec", "format": {"type": "text"}}],
        },
        {"type": "web_search", "external_web_access": True},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "parallel_tool_calls": True,
    "temperature": 0.5,
    "top_p": 0.25,
    "max_output_tokens": 99,
    "reasoning": {"context": "all_turns", "effort": "low", "summary": "auto"},
    "text": {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "n", "schema": _SCHEMA, "strict": True},
    },
    "include": ["reasoning.encrypted_content", "file_search_call.results"],
    "store": False,
    "previous_response_id": "resp_0",
    "prompt_cache_key": "k",
    "service_tier": "flex",
    "metadata": {"a": "b"},
    "user": "u",
    "truncation": "auto",
    "client_metadata": {"x": "y"},
    "stream": True,
}


def test_a_request_of_this_api_comes_out_as_it_went_in() -> None:
    encoded = encode_request(decode_request(_RICH), _FACTS)
    assert encoded.body == _RICH
    assert encoded.dropped == []


def test_an_effort_that_the_model_does_not_have_is_the_clients_fault() -> None:
    facts = ModelFacts("gpt", thinking=ThinkingFacts(levels=_LEVELS), known=True)
    with pytest.raises(ClientFault):
        encode_request(decode_request({"model": "m", "input": "x", "reasoning": {"effort": "max"}}), facts)


_FORMATS: list[Format] = ["openai-chat", "openai-responses", "anthropic", "gemini"]
_TEXT = st.builds(Text, st.text(max_size=5))
_IDS = st.sampled_from(["a", "b", "", "x" * 80])
_PARTS: Any = st.one_of(
    _TEXT,
    st.builds(ToolCall, _IDS, st.sampled_from(["f", "g.h"]), st.text(max_size=5)),
    st.builds(ToolResult, _IDS, st.lists(_TEXT, max_size=2)),
    st.builds(
        Reasoning,
        st.text(max_size=3),
        st.sampled_from([None, _OWN_TOKEN, Carrier("gemini", "signature", "S")]),
    ),
)
_TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["user", "assistant", "system"]), st.lists(_PARTS, max_size=3)),
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(turns=_TURNS, origin=st.sampled_from(_FORMATS))
def test_calls_and_outputs_are_always_paired(turns: list[Turn], origin: Format) -> None:
    """class 2: each output comes after its call, and every id is legal."""
    request = Request(origin, "m", history.repair(turns, []))
    body = encode_request(request, _FACTS).body
    check_request(body)
    called: list[str] = []
    for item in body["input"]:
        if item["type"] == "function_call":
            called.append(item["call_id"])
        if item["type"] == "function_call_output":
            assert item["call_id"] in called
    assert len(set(called)) == len(called)
    assert all(0 < len(call_id) <= 64 for call_id in called)

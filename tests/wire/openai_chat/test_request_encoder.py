"""cliproxy.wire.openai_chat.request_encoder: a body that OpenAI and the compatible servers take."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.history import repair
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Media,
    ModelFacts,
    OutputFormat,
    Reasoning,
    ReasoningIntent,
    Refusal,
    Request,
    Sampling,
    ServerCall,
    ServerTool,
    Text,
    ThinkingFacts,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_chat import decode_request, encode_request
from tests.wire.openai_chat.judge import check_request

FACTS = ModelFacts("up")
FOREIGN = Carrier("anthropic", "signature", "c2ln")
HI = [Turn("user", [Text("Hi")])]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def encoded(facts=FACTS, **fields):
    fields = {"origin": "anthropic", "model": "m", "turns": HI, **fields}
    return encode_request(Request(**fields), facts)


def body_of(**fields):
    return encoded(**fields).body


# ---------------------------------------------------------------- tools


def test_a_function():
    tool = Tool("f", "d", SCHEMA, True)
    assert body_of(tools=[tool])["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True},
        }
    ]


def test_a_function_without_parameters_takes_an_empty_object():
    """class 11: compatible servers want a schema, and nothing is null."""
    [tool] = body_of(tools=[Tool("f")])["tools"]
    assert tool["function"] == {"name": "f", "parameters": {"type": "object", "properties": {}}}


def test_a_union_at_the_root_becomes_an_object():
    """class 11: OpenAI refuses a union at the root."""
    schema = {"anyOf": [SCHEMA, {"type": "object", "properties": {"b": {"type": "integer"}}}]}
    [tool] = body_of(tools=[Tool("f", schema=schema)])["tools"]
    parameters = tool["function"]["parameters"]
    assert (parameters["type"], set(parameters["properties"])) == ("object", {"a", "b"})
    assert "anyOf" not in parameters


def test_a_custom_tool_is_a_function_of_one_string():
    tool = Tool(
        "exec",
        "Run",
        kind="custom",
        grammar={"type": "grammar", "syntax": "lark", "definition": "start: WORD"},
    )
    [sent] = body_of(tools=[tool], origin="openai-responses")["tools"]
    assert sent["type"] == "function"
    assert sent["function"]["description"] == "Run\n\nThe input must match this grammar:\nstart: WORD"
    assert sent["function"]["parameters"]["properties"] == {"input": {"type": "string"}}


def test_names_become_legal_and_can_be_restored():
    """class 2: a name is changed alike in tools, choice and history."""
    long = "mcp__" + "x" * 70
    request = encoded(
        tools=[Tool("fs.read"), Tool(long)],
        tool_choice=ToolChoice("named", ["fs.read"]),
        turns=[
            *HI,
            Turn("assistant", [ToolCall("a", "fs.read", "{}")]),
            Turn("user", [ToolResult("a", [Text("r")])]),
        ],
    )
    names = [tool["function"]["name"] for tool in request.body["tools"]]
    assert names[0] == "fs_read"
    assert len(names[1]) <= 64
    assert request.names == {"fs_read": "fs.read", names[1]: long}
    assert request.body["tool_choice"]["function"]["name"] == "fs_read"
    assert request.body["messages"][1]["tool_calls"][0]["function"]["name"] == "fs_read"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", ["f"]), {"type": "function", "function": {"name": "f"}}),
        (ToolChoice("named", ["web_search"]), None),
        (None, None),
    ],
)
def test_tool_choice(choice, sent):
    body = body_of(tools=[Tool("f"), Tool("g")], tool_choice=choice)
    assert body.get("tool_choice") == sent
    assert len(body["tools"]) == 2


@pytest.mark.parametrize(("required", "mode"), [(True, "required"), (False, "auto")])
def test_allowed_tools_are_the_only_ones_offered(required, mode):
    choice = ToolChoice("allowed", ["f", "h"], required=required)
    body = body_of(tools=[Tool("f"), Tool("g"), Tool("h")], tool_choice=choice)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["f", "h"]
    assert body["tool_choice"] == mode


def test_without_tools_nothing_is_said_of_them():
    body = body_of(tool_choice=ToolChoice("auto"), parallel_calls=True)
    assert not body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_parallel_calls():
    assert body_of(tools=[Tool("f")], parallel_calls=False)["parallel_tool_calls"] is False


def test_foreign_server_tools_are_left_out_and_recorded():
    """class 25: a hosted tool never becomes a function, and the function beside it stays."""
    search = ServerTool("web_search", "anthropic", {"type": "web_search_20250305"}, location={"city": "Oslo"})
    request = encoded(tools=[search, Tool("f")], tool_choice=ToolChoice("required"))
    assert [tool["type"] for tool in request.body["tools"]] == ["function"]
    assert request.dropped == ["tools.web_search: it runs at anthropic and has no counterpart here"]
    searching = encoded(ModelFacts("gpt-9-search-api"), tools=[search])
    assert searching.body["web_search_options"] == {
        "user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}
    }
    assert searching.dropped == []


def test_deferred_and_cached_tools_are_plain_ones():
    request = encoded(tools=[Tool("f", deferred=True, cache=CacheHint())])
    assert set(request.body["tools"][0]) == {"type", "function"}
    assert [line.partition(":")[0] for line in request.dropped] == ["defer_loading", "cache_control"]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("facts", "origin", "raw", "field"),
    [
        (ModelFacts("up"), "anthropic", {}, "max_tokens"),
        (ModelFacts("up", known=True), "anthropic", {}, "max_tokens"),
        (
            ModelFacts("up", known=True, thinking=ThinkingFacts(levels=("low",))),
            "anthropic",
            {},
            "max_completion_tokens",
        ),
        (ModelFacts("up"), "openai-chat", {"max_completion_tokens": 9}, "max_completion_tokens"),
        (ModelFacts("up"), "openai-chat", {"max_tokens": 9}, "max_tokens"),
    ],
)
def test_which_word_for_the_output_limit(facts, origin, raw, field):
    body = encoded(facts, origin=origin, raw=raw, sampling=Sampling(max_tokens=9)).body
    assert {key: body[key] for key in body if key.startswith("max_")} == {field: 9}


def test_the_output_limit_is_cut_to_what_the_model_writes():
    request = encoded(ModelFacts("up", max_output_tokens=100), sampling=Sampling(max_tokens=128_000))
    assert request.body["max_tokens"] == 100
    assert request.dropped == ["max_tokens: 128000 is more than the 100 that up can write"]


def test_sampling():
    sampling = Sampling(9, 0, 0.5, 17, ["a", "b", "c", "d", "e"], 1, 0.1, 0.2, 2, True, 3)
    request = encoded(sampling=sampling)
    assert {key: request.body[key] for key in request.body if key not in ("model", "messages", "stream")} == {
        "max_tokens": 9,
        "temperature": 0,
        "top_p": 0.5,
        "stop": ["a", "b", "c", "d"],
        "seed": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }
    assert request.dropped == [
        "stop: only the first 4 sequences fit",
        "n: one answer is asked for, not 2",
        "top_k: OpenAI refuses it",
        "logprobs: the way back has no place for them",
    ]


@pytest.mark.parametrize(
    ("intent", "thinking", "effort"),
    [
        (None, None, None),
        (ReasoningIntent("high"), None, "high"),
        (ReasoningIntent(budget=1000), None, "low"),
        (ReasoningIntent("none"), None, "none"),
        (ReasoningIntent(visible=True), None, None),
        (ReasoningIntent("max"), ThinkingFacts(levels=("low", "medium", "high")), "high"),
        (ReasoningIntent("high"), ThinkingFacts(min=0, max=2000), "medium"),
        (ReasoningIntent(budget=-1), ThinkingFacts(min=0, max=2000), None),
        (ReasoningIntent("none"), ThinkingFacts(levels=("low", "high"), zero_allowed=False), "low"),
    ],
)
def test_reasoning_effort(intent, thinking, effort):
    """class 3: levels and budgets end as a level that the model takes."""
    facts = ModelFacts("up", thinking=thinking, known=thinking is not None)
    assert encoded(facts, reasoning=intent).body.get("reasoning_effort") == effort


@pytest.mark.parametrize(
    ("output", "format"),
    [
        (OutputFormat("text"), {"type": "text"}),
        (OutputFormat("json_object"), {"type": "json_object"}),
        (OutputFormat("json_schema"), {"type": "json_object"}),
        (
            OutputFormat("json_schema", "my name!", "d", SCHEMA, True),
            {
                "type": "json_schema",
                "json_schema": {"name": "my_name_", "description": "d", "schema": SCHEMA, "strict": True},
            },
        ),
        (
            OutputFormat("json_schema", schema=SCHEMA),
            {"type": "json_schema", "json_schema": {"name": "response", "schema": SCHEMA}},
        ),
    ],
)
def test_output_formats(output, format):
    assert body_of(output=output)["response_format"] == format


def test_the_stream_asks_for_usage():
    """class 8: a chat server counts only when it is asked to."""
    assert body_of(stream=True)["stream_options"] == {"include_usage": True}
    body = body_of(stream=False)
    assert body["stream"] is False
    assert "stream_options" not in body


def test_a_long_user_becomes_a_short_one_that_stays_the_same():
    """OpenAI takes 64 characters; Claude Code's user is a JSON object of three ids."""
    user = json.dumps({"device_id": "d" * 64, "account_uuid": "a", "session_id": "s"})
    sent = body_of(user=user)["user"]
    assert len(sent) == 64
    assert body_of(user=user)["user"] == sent
    assert body_of(user="u1")["user"] == "u1"


def test_what_has_no_counterpart_is_recorded():
    request = encoded(
        service_tier="standard_only", metadata={"a": "b"}, store=True, previous_response_id="resp_1",
        modalities=["text", "audio"], extras={"container": "c1"},
    )  # fmt: skip
    assert set(request.body) == {"model", "messages", "stream"}
    assert sorted(line.partition(":")[0] for line in request.dropped) == [
        *("container", "metadata", "modalities", "previous_response_id", "service_tier", "store"),
    ]


def test_what_has_one_is_sent():
    body = body_of(service_tier="priority", verbosity="low", cache_key="k", modalities=["text", "image"])
    assert (body["service_tier"], body["verbosity"], body["prompt_cache_key"]) == ("priority", "low", "k")
    assert body["modalities"] == ["text", "image"]


# ---------------------------------------------------------------- there and back

RICH = {
    "model": "up",
    "messages": [
        {"role": "system", "content": "Be terse", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
                },
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "video_url", "video_url": {"url": "https://a.test/b.mp4"}},
                {"type": "brand_new", "x": 1},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "No"}, {"type": "refusal", "refusal": "no"}],
            "reasoning_content": "hm",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x":1}'},
                    "extra_content": {"google": {"thought_signature": "c2ln"}},
                },
                {"id": "b", "type": "custom", "custom": {"name": "exec", "input": "ls"}},
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}],
        },
        {"role": "tool", "tool_call_id": "b", "content": "out"},
        {"role": "system", "content": "Switch"},
        {"role": "user", "content": "Go"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": False},
            "cache_control": {"type": "ephemeral"},
        },
        {
            "type": "custom",
            "custom": {
                "name": "exec",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
            },
        },
        {"google_search": {}},
    ],
    "web_search_options": {"search_context_size": "low"},
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "auto",
            "tools": [
                {"type": "function", "function": {"name": "f"}},
                {"type": "custom", "custom": {"name": "exec"}},
            ],
        },
    },
    "parallel_tool_calls": True,
    "max_completion_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop": ["a", "b", "c", "d", "e"],
    "seed": 1,
    "n": 2,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "logprobs": True,
    "top_logprobs": 3,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    "reasoning_effort": "low",
    "verbosity": "low",
    "modalities": ["text", "audio"],
    "user": "u" * 99,
    "metadata": {"a": "b"},
    "service_tier": "custom",
    "store": False,
    "prompt_cache_key": "k",
    "logit_bias": {"1": 2},
    "zz_unknown": 1,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_a_chat_request_comes_through_whole():
    """decode∘encode is the identity: what a chat client says, extensions included, a chat server hears."""
    request = decode_request(RICH)
    request.turns = repair(request.turns, [])
    again = encode_request(request, FACTS)
    expected = json.loads(json.dumps(RICH))
    # A hint on a message is on its last part, which is the same place.
    expected["messages"][0] = {
        "role": "system",
        "content": [{"type": "text", "text": "Be terse", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    }
    assert again.body == expected
    assert again.dropped == []


def test_the_sdk_takes_what_is_sent_for_other_clients():
    """class 19: strict servers get nothing that OpenAI does not know."""
    cached = CacheHint("1h")
    sent = body_of(
        system=[Text("Be kind", cache=cached), Text("Be terse")],
        turns=[
            Turn("user", [Text("Look", cache=cached), Media("image", "image/png", data="QUJD", detail="low")]),
            Turn("user", [Media("document", "application/pdf", data="QUJD"), Media("audio", data="QUJD")]),
            Turn("assistant", [Reasoning("hm", FOREIGN), Text("ok"), Refusal("no"), ServerCall("s", "web_search", "gemini")]),
            Turn("assistant", [ToolCall("a", "f", '{"x":1}', carrier=FOREIGN), ToolCall("b", "exec", "ls", "custom")]),
            Turn("user", [ToolResult("a", [Text("1"), Text("2")], is_error=True), ToolResult("b", [], kind="custom")]),
        ],
        tools=[Tool("f", "d", SCHEMA, True, cache=cached), Tool("exec", kind="custom"), ServerTool("x", "gemini", {"x": {}})],
        tool_choice=ToolChoice("allowed", ["f"]),
        parallel_calls=False,
        sampling=Sampling(9, 0.5, 0.5, 5, ["a"], 1, 0.1, 0.2, 1, True, 3),
        reasoning=ReasoningIntent(budget=9000, visible=True),
        output=OutputFormat("json_schema", "n", "d", SCHEMA, True),
        verbosity="low",
        stream=True,
        user="u" * 99,
        metadata={"a": "b"},
        service_tier="standard_only",
        store=True,
        cache_key="k",
        extras={"container": "c"},
    )  # fmt: skip
    check_request(sent)


_names = st.sampled_from(["f", "g", "a.b", "x" * 80])
_parts = st.one_of(
    st.builds(Text, st.text(max_size=3)),
    st.builds(ToolCall, st.sampled_from(["", "a", "b" * 50]), _names, st.sampled_from(["", "{}", "nonsense"])),
    st.builds(
        ToolResult,
        st.sampled_from(["", "a", "b" * 50]),
        st.lists(st.builds(Text, st.text(max_size=3)), max_size=2),
    ),
)
_turns = st.lists(
    st.builds(Turn, st.sampled_from(["user", "assistant", "system"]), st.lists(_parts, max_size=3)),
    max_size=6,
)


@given(_turns, st.lists(st.builds(Tool, _names), max_size=3, unique_by=lambda tool: tool.name))
def test_every_repaired_conversation_is_legal(turns, tools):
    """class 2: each call has its result right behind it, under the same id, and every name is legal."""
    body = body_of(turns=repair(turns, []), tools=tools)
    check_request(body)
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
        else:
            assert not waiting
            waiting = [call["id"] for call in message.get("tool_calls", [])]
    names = {call["function"]["name"] for message in body["messages"] for call in message.get("tool_calls", [])}
    names |= {tool["function"]["name"] for tool in body.get("tools", [])}
    assert all(len(name) <= 64 and name.replace("_", "").isalnum() for name in names)

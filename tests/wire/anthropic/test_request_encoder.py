"""Tools and settings of a request, as the Messages API takes them."""

from typing import Any

import pytest

from cliproxy.wire import history
from cliproxy.wire.anthropic import decode_request, encode_request
from cliproxy.wire.anthropic.thinking import DEFAULT_MAX_TOKENS
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Encoded,
    Format,
    Json,
    ModelFacts,
    Opaque,
    OutputFormat,
    Reasoning,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Text,
    ThinkingFacts,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from tests.wire.anthropic.judge import faults

UNKNOWN = ModelFacts("claude-new")
BUDGET = ModelFacts("claude-budget", 64_000, thinking=ThinkingFacts(1024, 32_000, dynamic_allowed=False), known=True)
LEVELS = ModelFacts(
    "claude-levels", 128_000, thinking=ThinkingFacts(levels=("low", "medium", "high", "max")), known=True
)
BOTH = ModelFacts(
    "claude-both", 128_000, thinking=ThinkingFacts(1024, 32_000, levels=("low", "medium", "high")), known=True
)
PLAIN = ModelFacts("claude-plain", 4096, known=True)
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def encode(facts: ModelFacts = BUDGET, origin: Format = "openai-chat", **more: Any) -> Encoded:
    fields = {"turns": [Turn("user", [Text("Hi")])], **more}
    result = encode_request(Request(origin=origin, model="m", **fields), facts)
    assert faults(result.body) == []
    return result


def body(facts: ModelFacts = BUDGET, origin: Format = "openai-chat", **more: Any) -> Json:
    return encode(facts, origin, **more).body


def test_the_least_that_is_sent() -> None:
    result = encode(stream=True)
    assert result.body == {
        "model": "claude-budget",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "stream": True,
    }
    assert (result.dropped, result.names) == ([], {})


def test_instructions_are_blocks_in_order_and_never_empty() -> None:
    assert body(system=[Text("One"), Text(""), Text("Two", cache=CacheHint())])["system"] == [
        {"type": "text", "text": "One"},
        {"type": "text", "text": "Two", "cache_control": {"type": "ephemeral"}},
    ]
    assert "system" not in body(system=[Text("")])


@pytest.mark.parametrize(
    ("facts", "asked", "sent"),
    [
        (BUDGET, 777, 777),
        (BUDGET, 99_999, 64_000),
        (UNKNOWN, 99_999, 99_999),
        (UNKNOWN, None, DEFAULT_MAX_TOKENS),
    ],
)
def test_an_output_limit_is_always_sent(facts: ModelFacts, asked: int | None, sent: int) -> None:
    assert body(facts, sampling=Sampling(asked))["max_tokens"] == sent


# ---------------------------------------------------------------- tools


def test_tools() -> None:
    tools = [
        Tool("get_weather", "Weather", SCHEMA, strict=True),
        Tool("fs.read", schema={"anyOf": [SCHEMA, {"type": "object", "properties": {"b": {}}}]}, strict=False),
        Tool(
            "poem",
            "Writes",
            kind="custom",
            grammar={"type": "grammar", "syntax": "lark", "definition": "start: WORD"},
        ),
        Tool("later", deferred=True, cache=CacheHint("1h")),
        Tool("later", "twice"),
    ]
    result = encode(tools=tools)
    weather, read, poem, later = result.body["tools"]
    closed = {**SCHEMA, "additionalProperties": False}
    assert weather == {
        "name": "get_weather",
        "description": "Weather",
        "strict": True,
        "input_schema": closed,
    }
    assert read["name"] == "fs_read" and list(read["input_schema"]["properties"]) == ["a", "b"]
    assert "description" not in read and "strict" not in read
    assert poem["description"] == "Writes\n\nThe input must match this grammar:\nstart: WORD"
    assert poem["input_schema"] == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
    }
    assert later == {
        "name": "later",
        "input_schema": {"type": "object", "properties": {}},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    assert result.names == {"fs_read": "fs.read"}
    assert result.dropped == ["defer_loading: all tools are offered at once", "tools.later: declared twice"]


def test_a_map_cannot_be_strict() -> None:
    """class 11: closed, it could only ever be empty."""
    schema: Json = {
        "type": "object",
        "properties": {"env": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    (tool,) = body(tools=[Tool("f", schema=schema, strict=True)])["tools"]
    assert tool == {"name": "f", "input_schema": schema}


def test_server_tools_map_where_there_is_a_counterpart() -> None:
    """class 25: web search is one tool under three names."""
    own = {"type": "bash_20250124", "name": "bash"}
    location = {"city": "Oslo", "region": None, "mood": "grey"}
    result = encode(
        tools=[
            ServerTool("web_search", "openai-responses", {"type": "web_search"}, ["a.test"], ["b.test"], location, 2),
            ServerTool("web_fetch", "gemini", {"urlContext": {}}),
            ServerTool("code_execution", "gemini", {"codeExecution": {}}),
            ServerTool("bash", "anthropic", own),
            ServerTool("image_generation", "openai-responses", {"type": "image_generation"}),
        ]
    )
    place = {"type": "approximate", "city": "Oslo"}
    assert result.body["tools"] == [
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "allowed_domains": ["a.test"],
            "user_location": place,
            "max_uses": 2,
        },
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "code_execution_20250825", "name": "code_execution"},
        own,
    ]
    assert result.dropped == ["tools.image_generation: it runs at openai-responses and has no counterpart here"]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("named", ["g.h"]), None, {"type": "tool", "name": "g_h"}),
        (ToolChoice("named", ["other"]), None, None),
        (ToolChoice("allowed", ["f"]), None, {"type": "auto"}),
        (ToolChoice("allowed", ["f"], required=True), None, {"type": "any"}),
    ],
)
def test_tool_choice(choice: ToolChoice | None, parallel: bool | None, sent: Json | None) -> None:
    sent_body = body(tools=[Tool("f"), Tool("g.h")], tool_choice=choice, parallel_calls=parallel)
    assert sent_body.get("tool_choice") == sent
    names = [tool["name"] for tool in sent_body["tools"]]
    assert names == (["f"] if choice and choice.mode == "allowed" else ["f", "g_h"])


@pytest.mark.parametrize("choice", [ToolChoice("auto"), ToolChoice("required"), ToolChoice("named", ["f"])])
def test_a_choice_without_tools_is_not_sent(choice: ToolChoice) -> None:
    assert "tool_choice" not in body(tool_choice=choice, parallel_calls=False)


# ---------------------------------------------------------------- thinking

EFFORT = ReasoningIntent("medium")


@pytest.mark.parametrize(
    ("facts", "intent", "thinking", "effort"),
    [
        (BUDGET, EFFORT, {"type": "enabled", "budget_tokens": 8192}, None),
        (BUDGET, ReasoningIntent("xhigh"), {"type": "enabled", "budget_tokens": 32_000}, None),
        (BUDGET, ReasoningIntent(budget=200), {"type": "enabled", "budget_tokens": 1024}, None),
        (
            BUDGET,
            ReasoningIntent(budget=4096, visible=False),
            {"type": "enabled", "budget_tokens": 4096, "display": "omitted"},
            None,
        ),
        (BUDGET, ReasoningIntent("none"), {"type": "disabled"}, None),
        (BUDGET, ReasoningIntent(visible=True), None, None),
        (LEVELS, ReasoningIntent("xhigh"), {"type": "adaptive"}, "high"),
        (LEVELS, ReasoningIntent(budget=1000), {"type": "adaptive"}, "low"),
        (LEVELS, ReasoningIntent("low", visible=True), {"type": "adaptive", "display": "summarized"}, "low"),
        (BOTH, EFFORT, {"type": "adaptive"}, "medium"),
        (BOTH, ReasoningIntent(budget=4096), {"type": "enabled", "budget_tokens": 4096}, None),
        (UNKNOWN, ReasoningIntent("high"), {"type": "enabled", "budget_tokens": 24_576}, None),
        (UNKNOWN, ReasoningIntent(budget=-1), {"type": "adaptive"}, "medium"),
        (UNKNOWN, ReasoningIntent("minimal", adaptive=True), {"type": "adaptive"}, "low"),
        (PLAIN, EFFORT, None, None),
    ],
)
def test_thinking_in_the_models_own_terms(
    facts: ModelFacts, intent: ReasoningIntent, thinking: Json | None, effort: str | None
) -> None:
    """class 3: budgets, levels and switches fitted to the model."""
    sent = body(facts, reasoning=intent)
    assert sent.get("thinking") == thinking
    assert sent.get("output_config") == (None if effort is None else {"effort": effort})


@pytest.mark.parametrize(
    ("facts", "limit", "budget", "sent_limit"),
    [
        (BUDGET, None, 24_576, 64_000),
        (BUDGET, 30_000, 24_576, 30_000),
        (BUDGET, 8_000, 6_000, 8_000),
        (BUDGET, 1_100, 1_024, 1_100),
        (BUDGET, 1_024, None, 1_024),
        (UNKNOWN, None, 24_576, 24_576 + DEFAULT_MAX_TOKENS),
    ],
)
def test_a_budget_stays_below_the_output_limit(
    facts: ModelFacts, limit: int | None, budget: int | None, sent_limit: int
) -> None:
    """class 3: what the client said of its output limit holds; the budget gives way."""
    result = encode(facts, reasoning=ReasoningIntent("high"), sampling=Sampling(limit))
    assert result.body["max_tokens"] == sent_limit
    assert result.body.get("thinking", {}).get("budget_tokens") == budget
    assert bool(result.dropped) == (budget is None)


@pytest.mark.parametrize("facts", [BUDGET, LEVELS])
@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", ["f"])])
def test_a_forced_tool_switches_thinking_off(facts: ModelFacts, choice: ToolChoice) -> None:
    """class 3: the API refuses both together."""
    result = encode(facts, reasoning=EFFORT, tools=[Tool("f")], tool_choice=choice)
    assert "thinking" not in result.body and "output_config" not in result.body
    assert any(line.startswith("reasoning:") for line in result.dropped)


SIGNED = Reasoning("hm", Carrier("anthropic", "signature", "c2ln"))
FOREIGN = Reasoning("hm", Carrier("gemini", "signature", "Z2Vt"))
CALL, RESULT = ToolCall("c1", "f", "{}"), ToolResult("c1", [Text("out")])
CALL2, RESULT2 = ToolCall("c2", "f", "{}"), ToolResult("c2", [Text("out")])


@pytest.mark.parametrize(
    ("turns", "on"),
    [
        ([[Text("Q")]], True),
        ([[Text("Q")], [CALL], [RESULT]], False),
        ([[Text("Q")], [FOREIGN, CALL], [RESULT]], False),
        ([[Text("Q")], [SIGNED, CALL], [RESULT]], True),
        ([[Text("Q")], [SIGNED, CALL], [RESULT], [CALL2], [RESULT2]], True),
        ([[Text("Q")], [CALL], [RESULT], [SIGNED, CALL2], [RESULT2]], False),
        ([[Text("Q")], [CALL], [RESULT], [Text("A")], [Text("Q2")]], True),
        ([[Text("Q")], [Text("The answer is")]], False),
        ([[Text("Q")], [SIGNED, Text("The answer is")]], True),
    ],
)
def test_a_budget_needs_signed_thinking_at_the_start_of_the_turn_in_progress(turns: list[Any], on: bool) -> None:
    """class 6: the API refuses a turn that began without thinking once it is switched on."""
    history = [Turn("assistant" if index % 2 else "user", parts) for index, parts in enumerate(turns)]
    sent = body(BUDGET, turns=history, tools=[Tool("f")], reasoning=EFFORT)
    assert ("thinking" in sent) == on
    assert body(LEVELS, turns=history, tools=[Tool("f")], reasoning=EFFORT)["thinking"]["type"] == "adaptive"


def test_thinking_that_is_off_leaves_the_models_last_words() -> None:
    turns = [Turn("user", [Text("Q")]), Turn("assistant", [SIGNED, Text("So")])]
    sent = body(turns=turns, reasoning=ReasoningIntent("none"))
    assert sent["messages"][-1]["content"] == [{"type": "text", "text": "So"}]


def test_an_anthropic_client_is_told_of_a_level_that_the_model_does_not_take() -> None:
    with pytest.raises(ClientFault, match="xhigh"):
        encode(BOTH, "anthropic", reasoning=ReasoningIntent("xhigh", adaptive=True))


# ---------------------------------------------------------------- other settings


@pytest.mark.parametrize(
    ("facts", "sampling", "intent", "sent"),
    [
        (BUDGET, Sampling(temperature=0), None, {"temperature": 0}),
        (BUDGET, Sampling(temperature=1.7), None, {"temperature": 1}),
        (BUDGET, Sampling(temperature=0.3, top_p=0.5, top_k=9), None, {"temperature": 0.3, "top_k": 9}),
        (BUDGET, Sampling(top_p=0.5), None, {"top_p": 0.5}),
        (BUDGET, Sampling(temperature=0.3, top_p=0.5, top_k=9), EFFORT, {}),
        (BUDGET, Sampling(temperature=1, top_k=9), EFFORT, {"temperature": 1}),
        (BUDGET, Sampling(top_p=0.97), EFFORT, {"top_p": 0.97}),
        (LEVELS, Sampling(temperature=0.3), EFFORT, {}),
        (LEVELS, Sampling(temperature=0.3, top_p=0.5, top_k=9), None, {}),
        (BUDGET, Sampling(stop=["Z", "", " \n"]), None, {"stop_sequences": ["Z"]}),
        (BUDGET, Sampling(stop=[" "]), None, {}),
        (BUDGET, Sampling(seed=7, presence_penalty=1, candidates=2, logprobs=True), None, {}),
    ],
)
def test_sampling(facts: ModelFacts, sampling: Sampling, intent: ReasoningIntent | None, sent: Json) -> None:
    """class 3: what thinking and newer models refuse is left out, and recorded."""
    result = encode(facts, sampling=sampling, reasoning=intent)
    names = ("temperature", "top_p", "top_k", "stop_sequences", "seed", "n")
    assert {name: result.body[name] for name in names if name in result.body} == sent
    asked = [value for value in (sampling.temperature, sampling.top_p, sampling.top_k) if value is not None]
    assert len([line for line in result.dropped if line.startswith(("temp", "top"))]) >= len(asked) - len(sent)


def test_one_answer_is_what_everybody_gets() -> None:
    assert encode(sampling=Sampling(candidates=1)).dropped == []
    assert encode(sampling=Sampling(candidates=2)).dropped == ["n: one answer is asked for, not 2"]


def test_a_schema_is_enforced() -> None:
    output = OutputFormat("json_schema", "city", "A city", SCHEMA, strict=True)
    assert body(output=output)["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {**SCHEMA, "additionalProperties": False, "description": "A city"},
        }
    }
    assert body(LEVELS, output=output, reasoning=EFFORT)["output_config"]["effort"] == "medium"


@pytest.mark.parametrize("schema", [None, {"type": "object"}])
def test_json_that_cannot_be_enforced_is_asked_for(schema: Json | None) -> None:
    sent = body(system=[Text("S")], output=OutputFormat("json_schema" if schema else "json_object", schema=schema))
    assert "output_config" not in sent
    assert "JSON" in sent["system"][1]["text"]
    assert [block["text"] for block in body(system=[Text("S")], output=OutputFormat("text"))["system"]] == ["S"]


@pytest.mark.parametrize(
    ("tier", "sent"),
    [
        ("auto", "auto"),
        ("priority", "auto"),
        ("default", "standard_only"),
        ("flex", "standard_only"),
        ("scale", None),
    ],
)
def test_service_tier(tier: str, sent: str | None) -> None:
    result = encode(service_tier=tier)
    assert result.body.get("service_tier") == sent
    assert bool(result.dropped) == (sent is None)


def test_what_has_no_counterpart_is_recorded() -> None:
    result = encode(
        user="u1",
        metadata={"a": "b"},
        verbosity="low",
        modalities=["text", "audio"],
        store=True,
        extras={"truncation": "auto"},
    )
    assert result.body["metadata"] == {"user_id": "u1"}
    assert [line.partition(":")[0] for line in result.dropped] == [
        "verbosity",
        "modalities",
        "metadata",
        "store",
        "truncation",
    ]


def test_at_most_four_cache_breakpoints_and_long_ones_first() -> None:
    system = [Text(str(index), cache=CacheHint()) for index in range(3)]
    turns = [Turn("user", [Text("Q", cache=CacheHint("1h")), Text("Q2", cache=CacheHint())])]
    sent = body(system=system, turns=turns, tools=[Tool("f", cache=CacheHint("1h"))])
    assert "cache_control" not in sent["tools"][0] and "cache_control" not in sent["system"][0]
    marks = [block["cache_control"] for block in [*sent["system"][1:], *sent["messages"][0]["content"]]]
    assert marks == [{"type": "ephemeral"}] * 4


def test_a_mark_that_is_none_is_left_to_the_api() -> None:
    parts: list[Any] = [Opaque("anthropic", {"type": "new_block", "cache_control": 5}), Text("Q", cache=CacheHint())]
    request = Request("anthropic", "m", [Turn("user", parts)])
    content = encode_request(request, BUDGET).body["messages"][0]["content"]
    assert [block["cache_control"] for block in content] == [5, {"type": "ephemeral"}]


def test_a_cache_key_marks_instructions_and_conversation() -> None:
    """class 13: OpenAI caches by itself, Anthropic only where it is told to."""
    sent = body(system=[Text("S")], cache_key="session-1")
    assert (
        sent["system"][0]["cache_control"]
        == sent["messages"][0]["content"][0]["cache_control"]
        == {"type": "ephemeral"}
    )
    hinted = body(system=[Text("S", cache=CacheHint())], cache_key="session-1")
    assert "cache_control" not in hinted["messages"][0]["content"][0]


RICH: Json = {
    "model": "claude-both",
    "max_tokens": 9000,
    "system": [{"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWk="}},
                {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}, "title": "A"},
                {"type": "container_upload", "file_id": "file_9"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "cmVk"},
                {
                    "type": "server_tool_use",
                    "id": "srvtoolu_1",
                    "name": "web_search",
                    "input": {"query": "q"},
                },
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "srvtoolu_1",
                    "content": [
                        {
                            "type": "web_search_result",
                            "url": "u",
                            "title": "t",
                            "encrypted_content": "e",
                            "page_age": None,
                        }
                    ],
                },
                {
                    "type": "text",
                    "text": "Found",
                    "citations": [
                        {
                            "type": "web_search_result_location",
                            "url": "u",
                            "title": "t",
                            "cited_text": "c",
                            "encrypted_index": "i",
                        }
                    ],
                },
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.5, "b": [None, "é🎉"]}},
                {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
                    ],
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "Go on"},
            ],
        },
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": SCHEMA, "defer_loading": True},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 4096, "display": "omitted"},
    "output_config": {"format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}},
    "temperature": 1,
    "stop_sequences": ["Z"],
    "metadata": {"user_id": "u1"},
    "service_tier": "standard_only",
    "context_management": {"edits": []},
    "stream": True,
}


def test_decoding_and_encoding_is_the_identity() -> None:
    """What the format can say, the model can hold."""
    request = decode_request(RICH)
    request.turns = history.repair(request.turns, [])
    result = encode_request(request, BOTH)
    assert result.body == RICH
    assert (result.dropped, result.names) == ([], {})

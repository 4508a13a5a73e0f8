"""cliproxy.wire.anthropic.request_decoder: tools and settings, and what is wrong with a body that cannot be read."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.anthropic import decode_request
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import (
    CacheHint,
    Json,
    OutputFormat,
    ReasoningIntent,
    Request,
    ServerTool,
    Text,
    Tool,
    ToolChoice,
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


def test_a_plain_request() -> None:
    source = body(temperature=0, top_p=0.9, top_k=5, stop_sequences=["Z"], metadata={"user_id": "u1"}, stream=True)
    request = decode_request(source)
    assert (request.origin, request.model, request.stream, request.user) == (
        "anthropic",
        "claude-test",
        True,
        "u1",
    )
    assert request.turns == [Turn("user", [Text("Hi")])]
    said = request.sampling
    assert (said.max_tokens, said.temperature, said.top_p, said.top_k, said.stop) == (99, 0, 0.9, 5, ["Z"])
    assert request.raw is source
    assert (request.reasoning, request.output, request.tool_choice, request.extras) == (None, None, None, {})


def test_model_and_stream_can_be_overridden() -> None:
    request = decode_request(body(stream=False), model="other", stream=True)
    assert (request.model, request.stream) == ("other", True)


TOOLS: list[tuple[Json, Tool | ServerTool]] = [
    (
        {
            "type": "custom",
            "name": "f",
            "description": "d",
            "strict": True,
            "input_schema": {"type": "object"},
        },
        Tool("f", "d", {"type": "object"}, strict=True),
    ),
    (
        {
            "name": "f",
            "input_schema": {},
            "defer_loading": True,
            "eager_input_streaming": True,
            "input_examples": None,
            "cache_control": {"type": "ephemeral"},
        },
        Tool("f", schema={}, deferred=True, cache=CacheHint(), extras={"eager_input_streaming": True}),
    ),
    (
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 3,
            "allowed_domains": ["a.test"],
            "user_location": {"type": "approximate", "city": "Oslo"},
        },
        ServerTool("web_search", "anthropic", {}, allowed_domains=["a.test"], location={"city": "Oslo"}, max_uses=3),
    ),
    ({"type": "bash_20250124", "name": "bash"}, ServerTool("bash", "anthropic", {})),
    ({"type": "text_editor_20250728", "name": "e"}, ServerTool("text_editor", "anthropic", {})),
    (
        {"type": "tool_search_tool_bm25_20251119", "name": "s"},
        ServerTool("tool_search_tool_bm25", "anthropic", {}),
    ),
]


@pytest.mark.parametrize(
    ("entry", "expected"), TOOLS, ids=lambda value: value["name"] if isinstance(value, dict) else ""
)
def test_each_tool(entry: Json, expected: Tool | ServerTool) -> None:
    """class 25: what Anthropic defines never turns into a function without a schema."""
    if isinstance(expected, ServerTool):
        expected.raw = entry
    assert decode(tools=[entry]).tools == [expected]


def test_claude_codes_stand_in_for_tools_is_left_out() -> None:
    entry = {"name": "DeferredToolPlaceholder", "input_schema": {"type": "object"}, "defer_loading": True}
    assert decode(tools=[entry]).tools == []


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "none"}, ToolChoice("none"), None),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("named", ["f"]), True),
    ],
)
def test_tool_choice(choice: Json, expected: ToolChoice, parallel: bool | None) -> None:
    request = decode(tool_choice=choice)
    assert (request.tool_choice, request.parallel_calls) == (expected, parallel)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, ReasoningIntent("none")),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, ReasoningIntent("none")),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            ReasoningIntent(budget=2048, visible=True),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}},
            ReasoningIntent(budget=2048, visible=False),
        ),
        ({"thinking": {"type": "adaptive"}}, ReasoningIntent(adaptive=True, visible=True)),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
            ReasoningIntent("max", adaptive=True, visible=False),
        ),
        ({"output_config": {"effort": "low"}}, ReasoningIntent("low")),
        ({"output_config": {"effort": "some day"}}, None),
    ],
)
def test_thinking(settings: Json, expected: ReasoningIntent | None) -> None:
    assert decode(**settings).reasoning == expected


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_structured_output_old_and_new(name: str) -> None:
    wanted: Json = {"type": "json_schema", "schema": {"type": "object"}}
    source = {**body(), name: {"format": wanted} if name == "output_config" else wanted}
    assert decode_request(source).output == OutputFormat("json_schema", schema={"type": "object"})


def test_other_settings_are_kept_by_their_names() -> None:
    more: Json = {
        "context_management": {"edits": []},
        "container": "c1",
        "mcp_servers": [],
        "inference_geo": None,
    }
    request = decode(service_tier="standard_only", **more)
    assert request.extras == {"context_management": {"edits": []}, "container": "c1", "mcp_servers": []}
    assert request.service_tier == "default"


FAULTS: list[tuple[Any, str]] = [
    ({"messages": [{"role": "user", "content": "x"}]}, "model"),
    ({"model": 5, "messages": [{"role": "user", "content": "x"}]}, "model"),
    ({"model": "m"}, "messages"),
    ({"model": "m", "messages": []}, "messages"),
    ({"model": "m", "messages": {}}, "messages"),
    ({"model": "m", "messages": [5]}, "messages[0]"),
    ({"model": "m", "messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ({"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
    (
        {"model": "m", "messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 5}]},
        "messages[1].content",
    ),
    (body([{"text": "no type"}]), "messages[0].content[0].type"),
    (body([{"type": "text", "text": 5}]), "messages[0].content[0].text"),
    (body([{"type": "image"}]), "messages[0].content[0].source"),
    (body([{"type": "image", "source": {"type": "base64"}}]), "messages[0].content[0].source.data"),
    (body([{"type": "image", "source": {"type": "magic"}}]), "messages[0].content[0].source.type"),
    (body([{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]), "messages[0].content[0].input"),
    (body([{"type": "tool_use", "id": "t", "input": {}}]), "messages[0].content[0].name"),
    (body([{"type": "tool_result", "content": "x"}]), "messages[0].content[0].tool_use_id"),
    (body(tools=[None]), "tools[0]"),
    (body(tools=[{}]), "tools[0].name"),
    (body(tools=[{"name": "f", "input_schema": []}]), "tools[0].input_schema"),
    (body(tool_choice="auto"), "tool_choice"),
    (body(tool_choice={"type": "some"}), "tool_choice.type"),
    (body(tool_choice={"type": "tool"}), "tool_choice.name"),
    (body(thinking={"type": "deep"}), "thinking.type"),
    (body(max_tokens="many"), "max_tokens"),
    (body(max_tokens=True), "max_tokens"),
    (body(temperature="hot"), "temperature"),
    (body(stop_sequences=["a", 5]), "stop_sequences[1]"),
    (body(stream="yes"), "stream"),
]


@pytest.mark.parametrize(("source", "place"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_read_is_named(source: Json, place: str) -> None:
    with pytest.raises(ClientFault) as caught:
        decode_request(source)
    assert (caught.value.status, caught.value.param) == (400, place)
    assert place in caught.value.message


def test_a_wrong_type_is_told_with_what_was_expected() -> None:
    with pytest.raises(ClientFault, match=r"^messages\[0\]\.content must be a string or a list, not an integer$"):
        decode(5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.sampled_from(["", "user", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "content", "source"]), inner)
    ),
    max_leaves=6,
)
NAMES = [
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "metadata",
    "stop_sequences",
    "zz",
]


@settings(max_examples=150)
@given(
    st.dictionaries(st.sampled_from(NAMES), JSON),
    st.sampled_from(
        [
            *("text", "image", "document", "search_result", "tool_reference", "thinking", "redacted_thinking"),
            *("tool_use", "tool_result", "server_tool_use", "web_search_tool_result", "container_upload"),
        ]
    ),
    JSON,
)
def test_any_object_is_a_request_or_the_clients_fault(more: Json, kind: str, value: Any) -> None:
    block = {"type": kind, "text": value, "source": value, "content": value, "input": value, "data": value}
    for source in (
        {"model": "m", **more},
        body([block], **{k: v for k, v in more.items() if k != "messages"}),
    ):
        try:
            assert isinstance(decode_request(source), Request)
        except ClientFault as fault:
            assert fault.status == 400

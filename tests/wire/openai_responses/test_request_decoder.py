"""cliproxy.wire.openai_responses.request_decoder: tools and settings, and what of them is a fault."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import (
    Json,
    OutputFormat,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Text,
    Tool,
    ToolChoice,
)
from cliproxy.wire.openai_responses import decode_request


def _decoded(**body: Any) -> Request:
    return decode_request({"model": "m", "input": "hi"} | body)


# ---------------------------------------------------------------- tools

_SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
_STRICT_SCHEMA: Json = {**_SCHEMA, "additionalProperties": False}


@pytest.mark.parametrize(
    ("declared", "strict"),
    [
        ({"parameters": _STRICT_SCHEMA}, True),
        ({"parameters": _SCHEMA}, None),
        ({"parameters": {**_STRICT_SCHEMA, "required": []}}, None),
        ({"parameters": {**_STRICT_SCHEMA, "required": 5}}, None),
        ({"parameters": _STRICT_SCHEMA, "strict": False}, False),
        ({"parameters": _STRICT_SCHEMA, "strict": None}, None),
        ({"parameters": _SCHEMA, "strict": True}, True),
        ({"parameters": None}, None),
    ],
)
def test_strict_is_true_by_default_where_the_schema_allows_it(declared: Json, strict: bool | None) -> None:
    tool = _decoded(tools=[{"type": "function", "name": "f", **declared}]).tools[0]
    assert tool == Tool("f", schema=declared["parameters"], strict=strict)


def test_kinds_of_tools() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    search = {
        "type": "web_search_preview",
        "filters": {"allowed_domains": ["a.test"]},
        "user_location": {"type": "approximate", "country": "NO"},
    }
    code = {"type": "code_interpreter", "container": {"type": "auto"}}
    shell = {"type": "local_shell"}
    request = _decoded(
        tools=[
            {"type": "custom", "name": "exec", "description": "d", "format": grammar},
            {"type": "function", "name": "late", "defer_loading": True, "strict": False},
            search,
            code,
            shell,
        ]
    )
    assert request.tools == [
        Tool("exec", "d", kind="custom", grammar=grammar),
        Tool("late", strict=False, deferred=True),
        ServerTool("web_search", "openai-responses", search, ["a.test"], None, {"country": "NO"}),
        ServerTool("code_execution", "openai-responses", code),
        ServerTool("local_shell", "openai-responses", shell),
    ]


def test_tools_inside_the_input_with_namespaces() -> None:
    """clients.md finding 4: Codex's newer models carry their tools in an input item."""
    request = _decoded(
        input=[
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [
                    {
                        "type": "namespace",
                        "name": "functions",
                        "description": "",
                        "tools": [
                            {"type": "custom", "name": "exec", "format": {"type": "text"}},
                            {"type": "function", "name": "wait", "strict": False, "parameters": _SCHEMA},
                        ],
                    },
                    {"type": "function", "name": "bare", "strict": False},
                ],
            },
            {"role": "developer", "content": "Base"},
            {"role": "user", "content": "Hi"},
        ],
        tools=[{"type": "function", "name": "top", "strict": False}],
    )
    assert request.tools == [
        Tool("top", strict=False),
        Tool("exec", kind="custom", grammar={"type": "text"}, namespace="functions"),
        Tool("wait", schema=_SCHEMA, strict=False, namespace="functions"),
        Tool("bare", strict=False),
    ]
    assert request.system == [Text("Base")]


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("named", ["f"])),
        ({"type": "custom", "name": "exec"}, ToolChoice("named", ["exec"])),
        ({"type": "web_search_preview"}, ToolChoice("named", ["web_search"])),
        ({"type": "mcp", "server_label": "x"}, ToolChoice("named", ["mcp"])),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "image_generation"}],
            },
            ToolChoice("allowed", ["f", "image_generation"], required=True),
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, ToolChoice("allowed", [])),
    ],
)
def test_tool_choice(value: Any, choice: ToolChoice) -> None:
    assert _decoded(tool_choice=value).tool_choice == choice


# ---------------------------------------------------------------- settings


def test_settings() -> None:
    request = _decoded(
        stream=True,
        temperature=0,
        top_p=0.5,
        top_logprobs=3,
        max_output_tokens=99,
        parallel_tool_calls=False,
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        text={"verbosity": "low", "format": {"type": "json_object"}},
        store=False,
        previous_response_id="resp_0",
        prompt_cache_key="k",
        service_tier="flex",
        metadata={"a": "b"},
        safety_identifier="s",
    )
    assert request.stream
    assert request.sampling == Sampling(max_tokens=99, temperature=0, top_p=0.5, logprobs=True, top_logprobs=3)
    assert request.parallel_calls is False
    assert (request.verbosity, request.output) == ("low", OutputFormat("json_object"))
    assert (request.store, request.previous_response_id) == (False, "resp_0")
    assert (request.cache_key, request.service_tier) == ("k", "flex")
    assert (request.metadata, request.user) == ({"a": "b"}, "s")
    assert request.extras == {}


def test_null_is_not_given() -> None:
    fields = [
        "temperature",
        "top_p",
        "max_output_tokens",
        "reasoning",
        "text",
        "instructions",
        "tools",
        "user",
    ]
    nulls: Json = dict.fromkeys([*fields, "tool_choice", "previous_response_id", "truncation", "include"])
    request, plain = _decoded(**nulls), _decoded()
    request.raw = plain.raw
    assert request == plain


def test_what_has_no_place_is_an_extra() -> None:
    request = _decoded(
        truncation="auto",
        background=True,
        include=["file_search_call.results"],
        zz_unknown=1,
        max_tool_calls=None,
    )
    assert request.extras == {
        "truncation": "auto",
        "background": True,
        "include": ["file_search_call.results"],
        "zz_unknown": 1,
    }


@pytest.mark.parametrize(
    ("reasoning", "intent"),
    [
        ({}, None),
        ({"context": "all_turns"}, None),
        ({"effort": "none"}, ReasoningIntent("none")),
        ({"effort": "xhigh", "summary": None}, ReasoningIntent("xhigh")),
        ({"summary": "auto"}, ReasoningIntent(visible=True, summary="auto")),
        (
            {"effort": "low", "generate_summary": "concise"},
            ReasoningIntent("low", visible=True, summary="concise"),
        ),
    ],
)
def test_reasoning_intent(reasoning: Json, intent: ReasoningIntent | None) -> None:
    assert _decoded(reasoning=reasoning).reasoning == intent


def test_json_schema() -> None:
    schema = {"type": "json_schema", "name": "n", "description": "d", "schema": _SCHEMA, "strict": True}
    assert _decoded(text={"format": schema}).output == OutputFormat("json_schema", "n", "d", _SCHEMA, True)


def test_model_and_stream_can_be_overridden() -> None:
    request = decode_request({"input": "hi", "stream": True}, model="other", stream=False)
    assert (request.model, request.stream) == ("other", False)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"input": 5}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [5, None]}, "input[0]"),
        ({"input": [{"content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "hologram"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [None]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_faults_name_the_place(body: Json, param: str) -> None:
    with pytest.raises(ClientFault) as raised:
        _decoded(**body)
    assert (raised.value.status, raised.value.param) == (400, param)
    assert param in raised.value.message


def test_a_fault_says_what_was_expected() -> None:
    with pytest.raises(ClientFault) as raised:
        _decoded(input=[{"role": "user", "content": 5}])
    assert raised.value.message == "input[0].content must be a string or a list, not an integer"


_WORDS = st.sampled_from(["message", "user", "assistant", "developer", "function", "custom", "namespace", "reasoning"])
_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_TYPES = [
    "message", "function_call", "function_call_output", "custom_tool_call", "reasoning", "additional_tools",
    "item_reference", "web_search_call", "image_generation_call", "input_text", "output_text", "input_image",
    "input_file", "input_audio", "refusal", "function", "custom", "namespace", "web_search", "allowed_tools",
]  # fmt: skip
_KEYS = [
    "role", "content", "name", "arguments", "call_id", "output", "summary", "encrypted_content", "tools",
    "parameters", "strict", "text", "image_url", "file_data", "input_audio", "filters", "result", "action",
]  # fmt: skip
_ITEM: Any = st.deferred(
    lambda: st.fixed_dictionaries(
        {"type": st.sampled_from(_TYPES)},
        optional={key: _JSON | st.lists(_ITEM, max_size=2) for key in _KEYS},
    )
)
_OPTIONAL: dict[str, Any] = {
    "tools": st.lists(_ITEM, max_size=3) | _JSON,
    "tool_choice": _ITEM | _JSON,
    "instructions": _JSON,
    "temperature": _JSON,
    "include": _JSON,
    "metadata": _JSON,
    "text": _JSON,
    "reasoning": _JSON,
    "store": _JSON,
}
_BODY: Any = st.fixed_dictionaries(
    {"model": st.just("m") | _JSON, "input": st.lists(_ITEM, max_size=4) | _JSON}, optional=_OPTIONAL
)


@settings(max_examples=100, deadline=None)
@given(_BODY)
def test_any_object_is_a_request_or_a_fault(body: Json) -> None:
    try:
        request = decode_request(body)
    except ClientFault as fault:
        assert fault.status == 400
    else:
        assert request.origin == "openai-responses"

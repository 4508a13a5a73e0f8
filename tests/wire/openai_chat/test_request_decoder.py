"""cliproxy.wire.openai_chat.request_decoder: tools and settings that chat clients send, and what of it is a fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import (
    CacheHint,
    OutputFormat,
    ReasoningIntent,
    Sampling,
    ServerTool,
    Tool,
    ToolChoice,
)
from cliproxy.wire.openai_chat import decode_request

HI = {"role": "user", "content": "Hi"}


def decoded(*messages, **more):
    return decode_request({"model": "m", "messages": list(messages) or [HI], **more})


# ---------------------------------------------------------------- tools

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True},
            },
            Tool("f", "d", SCHEMA, True),
        ),
        ({"type": "function", "function": {"name": "f"}}, Tool("f")),
        (
            {"type": "function", "function": {"name": "f", "parametersJsonSchema": SCHEMA}},
            Tool("f", schema=SCHEMA),
        ),
        ({"type": "function", "name": "f", "parameters": SCHEMA}, Tool("f", schema=SCHEMA)),
        ({"name": "f", "input_schema": SCHEMA}, Tool("f", schema=SCHEMA)),
        (
            {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}},
            Tool("f", cache=CacheHint()),
        ),
        (
            {"type": "custom", "custom": {"name": "exec", "description": "d"}},
            Tool("exec", "d", kind="custom"),
        ),
        (
            {
                "type": "custom",
                "custom": {
                    "name": "exec",
                    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}},
                },
            },
            Tool(
                "exec",
                kind="custom",
                grammar={"type": "grammar", "syntax": "lark", "definition": "start: WORD"},
            ),
        ),
    ],
    ids=str,
)
def test_tools(tool, expected):
    assert decoded(tools=[tool]).tools == [expected]


def test_the_deprecated_functions():
    request = decoded(functions=[{"name": "f", "parameters": SCHEMA}], function_call={"name": "f"})
    assert (request.tools, request.tool_choice) == ([Tool("f", schema=SCHEMA)], ToolChoice("named", ["f"]))
    assert decoded(function_call="none").tool_choice == ToolChoice("none")


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ({"google_search": {}}, {"name": "web_search"}),
        ({"code_execution": {}}, {"name": "code_execution"}),
        ({"urlContext": {}}, {"name": "web_fetch"}),
        (
            {
                "type": "web_search",
                "filters": {"allowed_domains": ["a.test"]},
                "user_location": {"type": "approximate", "city": "Oslo"},
            },
            {"name": "web_search", "allowed_domains": ["a.test"], "location": {"city": "Oslo"}},
        ),
        (
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            {"name": "web_search", "max_uses": 3},
        ),
        ({"type": "mcp", "server_label": "x"}, {"name": "mcp"}),
    ],
)
def test_vendor_side_tools_are_no_functions(tool, expected):
    """class 25: a hosted tool never becomes a broken function."""
    assert decoded(tools=[tool]).tools == [ServerTool(origin="openai-chat", raw=tool, **expected)]


def test_web_search_options_are_a_tool():
    options = {
        "search_context_size": "low",
        "user_location": {"type": "approximate", "approximate": {"country": "NO"}},
    }
    assert decoded(web_search_options=options).tools == [
        ServerTool("web_search", "openai-chat", {"web_search_options": options}, location={"country": "NO"})
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ("any", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("named", ["f"])),
        ({"type": "custom", "custom": {"name": "exec"}}, ToolChoice("named", ["exec"])),
        ({"type": "function", "name": "f"}, ToolChoice("named", ["f"])),
        ({"type": "web_search_preview"}, ToolChoice("named", ["web_search"])),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "g"}},
                    ],
                },
            },
            ToolChoice("allowed", ["f", "g"], required=True),
        ),
        (None, None),
    ],
    ids=str,
)
def test_tool_choice(choice, expected):
    assert decoded(tool_choice=choice).tool_choice == expected


# ---------------------------------------------------------------- settings


def test_sampling():
    request = decoded(
        max_tokens=9, temperature=0, top_p=0.5, top_k=4, stop="x", seed=1, n=2,
        presence_penalty=0.1, frequency_penalty=0.2, logprobs=True, top_logprobs=3,
    )  # fmt: skip
    assert request.sampling == Sampling(9, 0, 0.5, 4, ["x"], 1, 0.1, 0.2, 2, True, 3)
    assert decoded(max_tokens=9, max_completion_tokens=8, stop=["x", "y"]).sampling == Sampling(8, stop=["x", "y"])


def test_identity_and_the_rest():
    request = decoded(
        user="u", metadata={"a": "b"}, service_tier="flex", store=True, prompt_cache_key="k", verbosity="low",
        modalities=["TEXT", "image"], parallel_tool_calls=False,
    )  # fmt: skip
    assert (request.user, request.metadata, request.service_tier, request.store) == (
        "u",
        {"a": "b"},
        "flex",
        True,
    )
    assert (request.cache_key, request.verbosity, request.modalities) == ("k", "low", ["text", "image"])
    assert request.parallel_calls is False
    assert request.extras == {}


def test_unknown_fields_are_extras():
    request = decoded(logit_bias={"1": 2}, zz_unknown=1, zz_null=None)
    assert request.extras == {"logit_bias": {"1": 2}, "zz_unknown": 1}


def test_a_safety_identifier_stands_for_the_user():
    assert decoded(safety_identifier="s").user == "s"
    both = decoded(user="u", safety_identifier="s")
    assert (both.user, both.extras) == ("u", {"safety_identifier": "s"})


@pytest.mark.parametrize(
    ("fields", "stream", "include_usage"),
    [
        ({}, False, True),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream": True, "stream_options": None}, True, False),
        ({"stream_options": {"include_usage": False}}, False, True),
    ],
)
def test_streaming(fields, stream, include_usage):
    request = decoded(**fields)
    assert (request.stream, request.include_usage) == (stream, include_usage)


def test_model_and_stream_can_be_given():
    request = decode_request({"messages": [HI]}, model="given", stream=True)
    assert (request.model, request.stream) == ("given", True)


@pytest.mark.parametrize(
    ("fields", "intent"),
    [
        ({}, None),
        ({"reasoning_effort": "high"}, ReasoningIntent("high")),
        ({"reasoning_effort": "none"}, ReasoningIntent("none")),
        ({"reasoning_effort": "auto"}, ReasoningIntent(adaptive=True)),
        ({"reasoning": {"effort": "low", "exclude": True}}, ReasoningIntent("low", visible=False)),
        ({"reasoning": {"max_tokens": 2000}}, ReasoningIntent(budget=2000)),
        ({"reasoning": {"enabled": True}}, ReasoningIntent(adaptive=True)),
        ({"reasoning": {"enabled": False}}, ReasoningIntent("none")),
        ({"thinking": {"type": "disabled"}}, ReasoningIntent("none")),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, ReasoningIntent(budget=2000)),
        ({"thinking": {"type": "enabled"}}, ReasoningIntent(adaptive=True)),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "low"}, ReasoningIntent("low")),
        ({"enable_thinking": False}, ReasoningIntent("none")),
        ({"enable_thinking": True}, ReasoningIntent(adaptive=True)),
    ],
    ids=str,
)
def test_reasoning_switches(fields, intent):
    """class 3: every dialect's switch is understood, off ones too."""
    assert decoded(**fields).reasoning == intent


@pytest.mark.parametrize(
    ("format", "output"),
    [
        ({"type": "text"}, OutputFormat("text")),
        ({"type": "json_object"}, OutputFormat("json_object")),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "description": "d", "schema": SCHEMA, "strict": True},
            },
            OutputFormat("json_schema", "n", "d", SCHEMA, True),
        ),
    ],
)
def test_output_formats(format, output):
    request = decoded(response_format=format)
    assert (request.output, request.extras) == (output, {})


def test_an_output_format_of_some_server_is_an_extra():
    request = decoded(response_format={"type": "regex", "regex": "a+"})
    assert (request.output, request.extras) == (None, {"response_format": {"type": "regex", "regex": "a+"}})


def test_null_is_not_given():
    fields = (
        "temperature",
        "top_p",
        "stop",
        "max_tokens",
        "tools",
        "tool_choice",
        "user",
        "response_format",
        "seed",
    )
    request = decoded(**dict.fromkeys(fields))
    plain = decoded()
    plain.raw = request.raw
    assert request == plain


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"messages": [HI]}, "model", "model is required"),
        ({"model": 5, "messages": [HI]}, "model", "model must be a string, not an integer"),
        ({"model": "m"}, "messages", "messages must hold at least one message"),
        ({"model": "m", "messages": []}, "messages", "messages must hold at least one message"),
        ({"model": "m", "messages": "x"}, "messages", "messages must be a list, not a string"),
        ({"model": "m", "messages": [5]}, "messages[0]", "messages[0] must be an object, not an integer"),
        (
            {"model": "m", "messages": [{"role": "wizard", "content": "x"}]},
            "messages[0].role",
            "messages[0].role must be system, developer, user, assistant, tool or function, not 'wizard'",
        ),
        (
            {"model": "m", "messages": [{"role": "user"}]},
            "messages[0].content",
            "messages[0].content is required",
        ),
        (
            {"model": "m", "messages": [HI, HI, {"role": "user", "content": 5}]},
            "messages[2].content",
            "messages[2].content must be a string or a list, not an integer",
        ),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].image_url",
            "messages[0].content[0].image_url is required",
        ),
        (
            {
                "model": "m",
                "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:x"}]}],
            },
            "messages[0].content[0].image_url",
            "messages[0].content[0].image_url is cut off: a data: URL holds a comma and the data after it",
        ),
        (
            {
                "model": "m",
                "messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}],
            },
            "messages[0].tool_calls[0].function",
            "messages[0].tool_calls[0].function is required",
        ),
        (
            {"model": "m", "messages": [HI], "tools": [None]},
            "tools[0]",
            "tools[0] must be an object, not null",
        ),
        (
            {"model": "m", "messages": [HI], "tools": [{"type": "function"}]},
            "tools[0].function",
            "tools[0].function is required",
        ),
        ({"model": "m", "messages": [HI], "tools": [{}]}, "tools[0].type", "tools[0].type is required"),
        (
            {"model": "m", "messages": [HI], "tool_choice": "maybe"},
            "tool_choice",
            "tool_choice must be auto, none, required or an object, not 'maybe'",
        ),
        (
            {"model": "m", "messages": [HI], "stop": [5]},
            "stop[0]",
            "stop[0] must be a string, not an integer",
        ),
        (
            {"model": "m", "messages": [HI], "reasoning_effort": "huge"},
            "reasoning_effort",
            "reasoning_effort must be none, minimal, low, medium, high, xhigh or max, not 'huge'",
        ),
    ],
)
def test_faults_say_what_and_where(body, param, message):
    with pytest.raises(ClientFault) as raised:
        decode_request(body)
    assert (raised.value.status, raised.value.param, raised.value.message) == (400, param, message)


_FIELDS = """
    role content type text name id function custom arguments tool_calls image_url url file file_data input_audio data
    thinking reasoning_details cache_control format tool_call_id function_call parameters extra_content google
    web_search filters
""".split()
_WORDS = [
    *"user assistant system tool function text image_url file input_audio thinking custom allowed_tools".split(),
    *"json_schema refusal data:,x data: auto".split(),
    "",
]
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(_WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
    max_leaves=12,
)
_TOP = """
    tools functions tool_choice function_call stop response_format reasoning thinking max_tokens metadata modalities
    stream stream_options web_search_options user n
""".split()


@given(
    st.fixed_dictionaries(
        {"model": st.just("m") | _json, "messages": st.lists(st.just(HI) | _json, max_size=4) | _json},
        optional=dict.fromkeys(_TOP, _json),
    )
    | st.dictionaries(st.text(max_size=5), _json, max_size=3)
)
def test_any_object_is_a_request_or_the_clients_fault(body):
    try:
        request = decode_request(body)
    except ClientFault as fault:
        assert fault.message
        return
    assert request.raw is body

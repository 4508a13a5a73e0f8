"""cliproxy.providers.demo: the built-in model answers in all four formats, and the vendors' SDKs agree."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.demo import MODEL, DemoResponse, DemoTransport, reply
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import FORMATS, Format, ReasoningIntent, Request, Text, ToolCall, Turn
from cliproxy.wire.model import Tool as OfferedTool
from cliproxy.wire.translation import CODECS
from tests.wire.vendors import Understood, read

every_format = pytest.mark.parametrize("format", FORMATS)
either_way = pytest.mark.parametrize("stream", [False, True])

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "rate": {"type": "number"},
        "sure": {"type": "boolean"},
        "list": {"type": "array", "items": {"type": "string"}},
        "more": {"type": "object", "properties": {}},
        "extra": {"type": "string"},
    },
    "required": ["text", "count", "rate", "sure", "list", "more"],
}
ARGUMENTS = {"text": "use it", "count": 1, "rate": 1, "sure": True, "list": [], "more": {}}


def body(format: Format, said: str, *, stream: bool = False, tool: str = "") -> dict[str, Any]:
    """A request of the format, with a tool of that name."""
    message = {"role": "user", "content": said}
    streamed = {"stream": stream} if format != "gemini" else {}
    function = {"name": tool, "description": "d", "parameters": SCHEMA}
    match format:
        case "openai-chat":
            tools: Any = {"tools": [{"type": "function", "function": function}]}
            options = {"stream_options": {"include_usage": True}} if stream else {}
            request = {"model": "echo", "messages": [message], **options}
        case "openai-responses":
            tools = {"tools": [{"type": "function", **function}]}
            request = {"model": "echo", "input": said}
        case "anthropic":
            tools = {"tools": [{"name": tool, "input_schema": SCHEMA}]}
            request = {"model": "echo", "max_tokens": 99, "messages": [message]}
        case "gemini":
            tools = {"tools": [{"functionDeclarations": [function]}]}
            request = {"contents": [{"role": "user", "parts": [{"text": said}]}]}
    return {**request, **streamed, **(tools if tool else {})}


PATHS: Mapping[Format, str] = {
    "openai-chat": "/chat/completions",
    "openai-responses": "/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/echo:generateContent",
}


async def send(path: str, asked: Any) -> tuple[DemoResponse, bytes]:
    raw = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    response = await DemoTransport().send(UpstreamRequest("POST", f"demo://in-process{path}", Headers(), raw))
    return response, b"".join([piece async for piece in response.chunks()])


async def ask(format: Format, asked: Any, *, stream: bool) -> Understood:
    path = PATHS[format]
    if stream and format == "gemini":
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse"
    response, raw = await send(path, asked)
    assert response.status == 200
    assert response.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert await response.read(0) == raw
    return read(format, raw, stream=stream)


@every_format
@either_way
async def test_it_says_what_it_heard(format: Format, stream: bool) -> None:
    understood = await ask(format, body(format, "Hello there, it is me", stream=stream), stream=stream)
    assert understood.text == "You said: Hello there, it is me"
    assert understood.model == MODEL
    assert understood.finish in ("stop", "completed", "end_turn", "STOP")
    assert not understood.calls
    assert all(understood.tokens)


@every_format
@either_way
async def test_it_calls_a_tool_of_its_name(format: Format, stream: bool) -> None:
    understood = await ask(format, body(format, "use it", stream=stream, tool="demo"), stream=stream)
    assert understood.calls == [("demo", ARGUMENTS)]
    assert understood.text == "I will ask the demo tool."
    assert understood.finish in ("tool_calls", "completed", "tool_use", "STOP")


@every_format
@either_way
async def test_it_calls_no_other_tool(format: Format, stream: bool) -> None:
    understood = await ask(format, body(format, "hi", stream=stream, tool="get_weather"), stream=stream)
    assert (understood.calls, understood.text) == ([], "You said: hi")


RESULTS: Mapping[Format, Any] = {
    "openai-chat": {
        "messages": [
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "demo", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "it is sunny"},
        ]
    },
    "openai-responses": {
        "input": [
            {"role": "user", "content": "go"},
            {"type": "function_call", "call_id": "c1", "name": "demo", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "it is sunny"},
        ]
    },
    "anthropic": {
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "demo", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "it is sunny"}]},
        ]
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "demo", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "demo", "response": {"result": "it is sunny"}}}]},
        ]
    },
}


@every_format
@either_way
async def test_it_tells_what_its_tool_answered(format: Format, stream: bool) -> None:
    asked = {**body(format, "", stream=stream, tool="demo"), **RESULTS[format]}
    understood = await ask(format, asked, stream=stream)
    assert understood.calls == []
    assert understood.text.startswith("The tool answered: ")
    assert "it is sunny" in understood.text


THINKING: Mapping[Format, Any] = {
    "openai-chat": {"reasoning_effort": "high"},
    "openai-responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096},
    "gemini": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}}},
}


@every_format
@either_way
async def test_it_thinks_when_asked_to(format: Format, stream: bool) -> None:
    path = PATHS[format].replace(":generate", ":streamGenerate") + "?alt=sse" if stream else PATHS[format]
    plain, thinking = body(format, "hi", stream=stream), {**body(format, "hi", stream=stream), **THINKING[format]}
    assert b"Let " not in (await send(path, plain))[1]
    raw = (await send(path, thinking))[1]
    assert b"Let " in raw
    assert read(format, raw, stream=stream).text == "You said: hi"


@pytest.mark.parametrize(
    ("intent", "thinks"),
    [
        (None, False),
        (ReasoningIntent(effort="none"), False),
        (ReasoningIntent(budget=0), False),
        (ReasoningIntent(effort="low"), True),
        (ReasoningIntent(budget=-1), True),
        (ReasoningIntent(adaptive=True), True),
    ],
)
def test_thinking_can_be_off(intent: ReasoningIntent | None, thinks: bool) -> None:
    answer = reply(Request("anthropic", "m", [Turn("user", [Text("hi")])], reasoning=intent))
    assert (len(answer.parts) == 2) == thinks


@every_format
async def test_a_stream_comes_word_by_word(format: Format) -> None:
    path = PATHS[format].replace(":generate", ":streamGenerate") + ("?alt=sse" if format == "gemini" else "")
    transport = DemoTransport()
    raw = json.dumps(body(format, "one two three four", stream=True)).encode()
    response = await transport.send(UpstreamRequest("POST", f"demo://in-process{path}", Headers(), raw))
    slices = [piece async for piece in response.chunks()]
    holders = [
        next(at for at, piece in enumerate(slices) if word in piece) for word in (b"one", b"two", b"three", b"four")
    ]
    assert holders == sorted(set(holders))


async def test_gemini_streams_an_array_without_alt_sse() -> None:
    path = "/v1beta/models/echo:streamGenerateContent"
    response, raw = await send(path, body("gemini", "one two"))
    assert response.headers["content-type"] == "application/json"
    texts = [part["text"] for answer in json.loads(raw) for part in answer["candidates"][0]["content"].get("parts", ())]
    assert "".join(texts) == "You said: one two"


@pytest.mark.parametrize(
    ("path", "asked", "key"),
    [
        (
            "/v1/messages/count_tokens",
            {"model": "echo", "messages": [{"role": "user", "content": "hello"}]},
            "input_tokens",
        ),
        ("/responses/input_tokens", {"model": "echo", "input": "hello"}, "input_tokens"),
        ("/v1beta/models/echo:countTokens", {"contents": [{"parts": [{"text": "hello"}]}]}, "totalTokens"),
        (
            "/v1beta/models/echo:countTokens",
            {"generateContentRequest": {"model": "models/echo", "contents": [{"parts": [{"text": "hello"}]}]}},
            "totalTokens",
        ),
    ],
)
async def test_it_counts_tokens(path: str, asked: Any, key: str) -> None:
    response, raw = await send(path, asked)
    assert response.status == 200
    assert json.loads(raw)[key] > 0


@every_format
async def test_a_request_that_is_none_is_refused_as_its_vendor_would(format: Format) -> None:
    wrong: Mapping[Format, Any] = {
        "openai-chat": {"model": "echo", "messages": 5},
        "openai-responses": {"model": "echo", "input": 5},
        "anthropic": {"model": "echo", "max_tokens": 9, "messages": 5},
        "gemini": {"contents": 5},
    }
    response, raw = await send(PATHS[format], wrong[format])
    assert (response.status, response.headers["content-type"]) == (400, "application/json")
    assert CODECS[format].decode_error(400, {}, raw).message


async def test_an_unknown_path_is_not_answered() -> None:
    with pytest.raises(ClientFault):
        await send("/unknown", {})


async def test_an_answer_given_up_says_no_more() -> None:
    raw = json.dumps(body("openai-chat", "hi")).encode()
    response = await DemoTransport().send(UpstreamRequest("POST", "demo://in-process/chat/completions", Headers(), raw))
    response.close()
    assert await response.read(9) == b""


def test_silence_is_answered() -> None:
    assert reply(Request("anthropic", "m", [])).parts == [Text("You said nothing.")]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "properties", "required", "text", "string", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.none() | st.dictionaries(st.sampled_from(["type", "properties", "required", "a"]), _json, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_schema_of_its_tool_gets_arguments(schema: Any) -> None:
    asked = Request("openai-chat", "m", [Turn("user", [Text("hi")])], tools=[OfferedTool("demo", schema=schema)])
    call = reply(asked).parts[-1]
    assert isinstance(call, ToolCall)
    assert isinstance(json.loads(call.arguments), dict)


def test_a_freeform_tool_gets_what_was_heard() -> None:
    tools: Any = [OfferedTool("demo", kind="custom")]
    call = reply(Request("openai-responses", "m", [Turn("user", [Text("any words")])], tools=tools)).parts[-1]
    assert isinstance(call, ToolCall)
    assert (call.kind, call.arguments) == ("custom", "any words")

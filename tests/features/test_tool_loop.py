"""A tool's whole round, streamed, between each two formats: the model calls, the client answers, the model speaks.

The client's side is the vendor's SDK, which takes what it got into its next request as its documentation says.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from google.genai import types

from tests import native
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients, Site
from tests.native import FORMATS, Format

QUESTION = "How warm is it in Paris?"
CITY = {"city": "Paris"}
WARMTH = "18 degrees"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TELLS = "Tells the weather of a city."


@dataclass
class Loop:
    """What the client's side saw."""

    name: str
    arguments: Any
    finishes: tuple[Any, Any]
    """Why each of the two answers ended."""
    text: str
    """The second one's."""
    models: set[str | None]
    tokens: set[tuple[int | None, int | None]]
    """Input and output of each answer."""


async def chat(clients: Clients) -> Loop:
    tool: Any = {"type": "function", "function": {"name": "get_weather", "description": TELLS, "parameters": SCHEMA}}
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    completions = []
    for _ in range(2):
        asked: Any = {"model": MODEL, "messages": messages, "tools": [tool]}
        async with clients.openai.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
            completions.append(await events.get_final_completion())
        message = completions[-1].choices[0].message
        messages.append(message.to_dict())
        for call in message.tool_calls or ():
            messages.append({"role": "tool", "tool_call_id": call.id, "content": WARMTH})
    called, said = (completion.choices[0] for completion in completions)
    [call] = called.message.tool_calls
    return Loop(
        call.function.name,
        json.loads(call.function.arguments),
        (called.finish_reason, said.finish_reason),
        said.message.content or "",
        {completion.model for completion in completions},
        {(completion.usage.prompt_tokens, completion.usage.completion_tokens) for completion in completions},
    )


async def responses(clients: Clients) -> Loop:
    tool: Any = {"type": "function", "name": "get_weather", "description": TELLS, "parameters": SCHEMA, "strict": True}
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    given = []
    for _ in range(2):
        async with clients.openai.responses.stream(model=MODEL, input=items, tools=[tool], store=False) as events:
            given.append(await events.get_final_response())
        items += [item.to_dict() for item in given[-1].output]
        for item in given[-1].output:
            if item.type == "function_call":
                items.append({"type": "function_call_output", "call_id": item.call_id, "output": WARMTH})
    called, said = given
    [call] = called.output
    return Loop(
        call.name,
        json.loads(call.arguments),
        (called.status, said.status),
        said.output_text,
        {response.model for response in given},
        {(response.usage.input_tokens, response.usage.output_tokens) for response in given},
    )


async def messages(clients: Clients) -> Loop:
    tool: Any = {"name": "get_weather", "description": TELLS, "input_schema": SCHEMA}
    turns: list[Any] = [{"role": "user", "content": QUESTION}]
    given = []
    for _ in range(2):
        asked: Any = {"model": MODEL, "max_tokens": 64, "messages": turns, "tools": [tool]}
        async with clients.anthropic.messages.stream(**asked) as events:
            given.append(await events.get_final_message())
        turns.append({"role": "assistant", "content": given[-1].content})
        uses = [block for block in given[-1].content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": use.id, "content": WARMTH} for use in uses]
        turns.append({"role": "user", "content": results})
    called, said = given
    [call] = called.content
    return Loop(
        call.name,
        call.input,
        (called.stop_reason, said.stop_reason),
        said.content[0].text,
        {message.model for message in given},
        {(message.usage.input_tokens, message.usage.output_tokens) for message in given},
    )


async def contents(clients: Clients) -> Loop:
    declared = types.FunctionDeclaration(name="get_weather", description=TELLS, parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    turns = [types.Content(role="user", parts=[types.Part.from_text(text=QUESTION)])]
    streams: list[list[types.GenerateContentResponse]] = []
    for _ in range(2):
        stream = await clients.google.models.generate_content_stream(model=MODEL, contents=turns, config=config)
        streams.append([chunk async for chunk in stream])
        turns.append(types.Content(role="model", parts=_parts(streams[-1])))
        called = [part.function_call for part in _parts(streams[-1]) if part.function_call]
        answers = [types.FunctionResponse(id=call.id, name=call.name, response={"result": WARMTH}) for call in called]
        turns.append(types.Content(role="user", parts=[types.Part(function_response=each) for each in answers]))
    first, second = streams
    [call] = [part.function_call for part in _parts(first) if part.function_call]
    ends = [[chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates] for chunks in streams]
    usages = [chunks[-1].usage_metadata for chunks in streams]
    return Loop(
        call.name or "",
        call.args,
        (ends[0][-1], ends[1][-1]),
        "".join(part.text or "" for part in _parts(second)),
        {chunk.model_version for chunk in (*first, *second)},
        {(usage.prompt_token_count, usage.candidates_token_count) for usage in usages if usage},
    )


def _parts(chunks: list[types.GenerateContentResponse]) -> list[types.Part]:
    contents = [chunk.candidates[0].content for chunk in chunks if chunk.candidates]
    return [part for content in contents if content for part in content.parts or ()]


LOOPS: Mapping[Format, tuple[Callable[[Clients], Awaitable[Loop]], tuple[Any, Any]]] = {
    "openai-chat": (chat, ("tool_calls", "stop")),
    "openai-responses": (responses, ("completed", "completed")),
    "anthropic": (messages, ("tool_use", "end_turn")),
    "gemini": (contents, (types.FinishReason.STOP, types.FinishReason.STOP)),
}
"""How each format's client goes through it, and the vendor's words for the two ends."""


@pytest.mark.parametrize(("client", "upstream"), [*permutations(FORMATS, 2)])
async def test_a_tool_is_called_and_answered(site: Site, client: Format, upstream: Format) -> None:
    vendor = await site.upstream(upstream, native.tool_call(upstream, stream=True), native.text(upstream, stream=True))
    go_through, finishes = LOOPS[client]
    loop = await go_through(site.clients())
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
    assert loop.finishes == finishes
    assert (loop.models, loop.tokens) == ({MODEL}, {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)})
    first, second = vendor.requests
    for request in (first, second):
        assert UPSTREAM_MODEL in (request.json.get("model"), request.path.rpartition("/")[2].partition(":")[0])
        assert QUESTION.encode() in request.body
    assert declared(upstream, first.json) == declared(upstream, second.json) == ("get_weather", TELLS, ["city"])
    assert called(upstream, second.json) == ("get_weather", CITY, WARMTH)


def declared(format: Format, body: Any) -> tuple[str, str, list[str]]:
    """The one tool that a request offers: name, description, required arguments."""
    [tool] = body["tools"]
    match format:
        case "openai-chat":
            tool = tool["function"]
            schema = tool["parameters"]
        case "openai-responses":
            schema = tool["parameters"]
        case "anthropic":
            schema = tool["input_schema"]
        case "gemini":
            [tool] = tool["functionDeclarations"]
            schema = tool.get("parametersJsonSchema") or tool["parameters"]
    return tool["name"], tool["description"], schema["required"]


def called(format: Format, body: Any) -> tuple[str, Any, str]:
    """The call that a request tells of, with the result that is tied to it: name, arguments, text."""
    match format:
        case "openai-chat":
            _, asked, answered = body["messages"]
            [call] = asked["tool_calls"]
            assert (answered["role"], answered["tool_call_id"]) == ("tool", call["id"])
            return call["function"]["name"], json.loads(call["function"]["arguments"]), _text(answered["content"])
        case "openai-responses":
            [call] = [item for item in body["input"] if item.get("type") == "function_call"]
            answered = body["input"][-1]
            assert (answered["type"], answered["call_id"]) == ("function_call_output", call["call_id"])
            return call["name"], json.loads(call["arguments"]), _text(answered["output"])
        case "anthropic":
            _, asked, answers = body["messages"]
            [call], [answered] = asked["content"], answers["content"]
            assert (answered["type"], answered["tool_use_id"]) == ("tool_result", call["id"])
            return call["name"], call["input"], _text(answered["content"])
        case "gemini":
            _, asked, answers = body["contents"]
            [part], [answered] = asked["parts"], answers["parts"]
            call, result = part["functionCall"], answered["functionResponse"]
            assert (asked["role"], answers["role"], result["name"]) == ("model", "user", call["name"])
            assert result.get("id") == call.get("id")
            [text] = result["response"].values()
            return call["name"], call["args"], text


def _text(content: Any) -> str:
    """The text of a result, which may be wrapped as one part; Gemini's results are objects."""
    text = content if isinstance(content, str) else content[0]["text"]
    return json.loads(text)["result"] if text.startswith("{") else text

"""Opaque reasoning tokens: each goes back to its own vendor byte for byte, and to nobody else.

Turn 1 is answered by one vendor, thinking and calling a tool. The client, a vendor's SDK, carries what it got into its
next request, which then goes to upstreams of every format.
"""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from google.genai import types

from tests import native
from tests.answers import Answer
from tests.features.gateways import Clients, Site
from tests.native import FORMATS, Format
from tests.upstream import Received

THOUGHT = "It is a question of the weather."
TOKENS: Mapping[Format, str] = {
    "openai-responses": "gAAAAABo-test_encrypted-reasoning_0123456789==",
    "anthropic": "EqQBCkYIBRgCKkDtest+signature/0123456789abcdefgh==",
    "gemini": "CsIBAdHtim8test+thought/signature0123456789abcdefg==",
}
"""The vendor's token for its thought, by format; Chat Completions has none."""
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}


def thoughtful(format: Format, *, stream: bool) -> Answer:
    """The vendor's call of a tool, with a thought and its token before it."""
    call = native.tool_call(format, stream=stream)
    match format:
        case "anthropic":
            return _thoughtful_message(call, stream)
        case "gemini":
            return _thoughtful_contents(stream)
        case _:
            return _thoughtful_response(call, stream)


def _streamed(payloads: list[dict[str, Any]], *, named: bool = True) -> Answer:
    lines = [f"event: {payload['type']}\n" if named else "" for payload in payloads]
    pieces = [f"{line}data: {json.dumps(payload)}\n\n".encode() for line, payload in zip(lines, payloads, strict=True)]
    return Answer(headers={"content-type": "text/event-stream"}, body=pieces)


def _whole(body: Any) -> Answer:
    return Answer(headers={"content-type": "application/json"}, body=json.dumps(body).encode())


def _payloads(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(event.rpartition(b"data: ")[2]) for event in answer.whole.strip().split(b"\n\n")]


def _thoughtful_message(call: Answer, stream: bool) -> Answer:
    block = {"type": "thinking", "thinking": THOUGHT, "signature": TOKENS["anthropic"]}
    if not stream:
        body = json.loads(call.whole)
        return _whole({**body, "content": [block, *body["content"]]})
    start, *rest = _payloads(call)
    for payload in rest:
        if "index" in payload:
            payload["index"] += 1
    thinking = [
        {"type": "content_block_start", "index": 0, "content_block": {**block, "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": THOUGHT}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "signature_delta", "signature": TOKENS["anthropic"]},
        },
        {"type": "content_block_stop", "index": 0},
    ]
    return _streamed([start, *thinking, *rest])


def _thoughtful_contents(stream: bool) -> Answer:
    thought = {"text": THOUGHT, "thought": True}
    called = {
        "functionCall": {"name": "get_weather", "args": {"city": "Paris"}},
        "thoughtSignature": TOKENS["gemini"],
    }
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}

    def response(*parts: Any) -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if called in parts:
            candidate["finishReason"] = "STOP"
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}

    if stream:
        return _streamed([response(thought), response(called)], named=False)
    return _whole(response(thought, called))


def _thoughtful_response(call: Answer, stream: bool) -> Answer:
    item = {
        "id": "rs_test",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": THOUGHT}],
        "encrypted_content": TOKENS["openai-responses"],
    }
    if not stream:
        body = json.loads(call.whole)
        return _whole({**body, "output": [item, *body["output"]]})
    created, in_progress, *rest = _payloads(call)
    for payload in rest:
        if "output_index" in payload:
            payload["output_index"] += 1
    rest[-1]["response"]["output"].insert(0, item)
    where = {"item_id": "rs_test", "output_index": 0, "summary_index": 0}
    part = {"type": "summary_text", "text": ""}
    thinking = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "summary": []}},
        {"type": "response.reasoning_summary_part.added", **where, "part": part},
        {"type": "response.reasoning_summary_text.delta", **where, "delta": THOUGHT},
        {"type": "response.reasoning_summary_text.done", **where, "text": THOUGHT},
        {"type": "response.reasoning_summary_part.done", **where, "part": {**part, "text": THOUGHT}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    payloads = [created, in_progress, *thinking, *rest]
    return _streamed([{**payload, "sequence_number": number} for number, payload in enumerate(payloads)])


# ---------------------------------------------------------------- clients that carry tokens


class AnthropicClient:
    """Takes the assistant's blocks into its history as they came."""

    def __init__(self, clients: Clients) -> None:
        self._messages = clients.anthropic.messages
        self._history: list[Any] = [{"role": "user", "content": "How warm is it in Paris?"}]

    async def turn(self, model: str, *, stream: bool) -> Any:
        asked: Any = {
            "model": model,
            "max_tokens": 4096,
            "messages": self._history,
            "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
            "thinking": {"type": "enabled", "budget_tokens": 2048},
        }
        if not stream:
            return await self._messages.create(**asked)
        async with self._messages.stream(**asked) as events:
            return await events.get_final_message()

    def carry(self, message: Any) -> None:
        [call] = [block for block in message.content if block.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"}
        self._history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]


class ResponsesClient:
    """Stores nothing, so that it carries encrypted reasoning itself."""

    def __init__(self, clients: Clients) -> None:
        self._responses = clients.openai.responses
        self._history: list[Any] = [{"role": "user", "content": "How warm is it in Paris?"}]

    async def turn(self, model: str, *, stream: bool) -> Any:
        tool: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
        asked: dict[str, Any] = {
            "model": model,
            "input": self._history,
            "tools": [tool],
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"effort": "medium", "summary": "auto"},
        }
        if not stream:
            return await self._responses.create(**asked)
        async with self._responses.stream(**asked) as events:
            return await events.get_final_response()

    def carry(self, response: Any) -> None:
        [call] = [item for item in response.output if item.type == "function_call"]
        self._history += [item.to_dict() for item in response.output]
        self._history.append({"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"})


class GeminiClient:
    """Its SDK decodes tokens to bytes and encodes them again in the other of base64's two alphabets."""

    def __init__(self, clients: Clients) -> None:
        self._models = clients.google.models
        self._history = [types.Content(role="user", parts=[types.Part.from_text(text="How warm is it in Paris?")])]

    async def turn(self, model: str, *, stream: bool) -> list[types.Part]:
        declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
        config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[declared])],
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2048),
        )
        asked: Any = {"model": model, "contents": self._history, "config": config}
        if stream:
            replies = [reply async for reply in await self._models.generate_content_stream(**asked)]
        else:
            replies = [await self._models.generate_content(**asked)]
        return [part for reply in replies for part in reply.candidates[0].content.parts or ()]

    def carry(self, parts: list[types.Part]) -> None:
        [call] = [part.function_call for part in parts if part.function_call]
        result = types.FunctionResponse(id=call.id, name=call.name, response={"result": "18 degrees"})
        self._history.append(types.Content(role="model", parts=parts))
        self._history.append(types.Content(role="user", parts=[types.Part(function_response=result)]))


CLIENTS: Mapping[Format, type[AnthropicClient | ResponsesClient | GeminiClient]] = {
    "anthropic": AnthropicClient,
    "openai-responses": ResponsesClient,
    "gemini": GeminiClient,
}


def token_in_its_place(format: Format, request: Received) -> str:
    """The token where the vendor looks for it, with the thought or the call that it belongs to."""
    body = request.json
    match format:
        case "anthropic":
            thinking, call = body["messages"][1]["content"]
            assert (thinking["type"], thinking["thinking"], call["type"]) == ("thinking", THOUGHT, "tool_use")
            assert body["thinking"]["type"] == "enabled"
            return thinking["signature"]
        case "gemini":
            [part] = [part for part in body["contents"][1]["parts"] if "functionCall" in part]
            return part["thoughtSignature"]
        case _:
            reasoning, call = body["input"][1:3]
            assert (reasoning["type"], reasoning["id"], call["type"]) == ("reasoning", "rs_test", "function_call")
            return reasoning["encrypted_content"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "origin"), [*product(CLIENTS, TOKENS)])
async def test_a_token_goes_back_to_its_own_vendor_and_to_nobody_else(
    site: Site, client: Format, origin: Format, stream: bool
) -> None:
    vendors = {format: await site.upstream(format, models=[{"name": f"{format}-model"}]) for format in FORMATS}
    # An upstream of the `codex` provider is asked for streams only, but where the client speaks its format.
    streamed = stream or origin == "openai-responses" != client
    vendors[origin].script(thoughtful(origin, stream=streamed))
    speaker = CLIENTS[client](site.clients())
    speaker.carry(await speaker.turn(f"{origin}-model", stream=stream))
    for format in FORMATS:
        await speaker.turn(f"{format}-model", stream=stream)
        request = vendors[format].requests[-1]
        assert b"18 degrees" in request.body and b"cpx1" not in request.body
        if format == origin:
            token = token_in_its_place(format, request)
            # Google's SDK itself writes Google's own tokens in the other alphabet.
            assert token == TOKENS[origin] or (client == format == "gemini" and is_same_base64(token, TOKENS[origin]))
        else:
            assert TOKENS[origin].encode() not in request.body


def is_same_base64(one: str, other: str) -> bool:
    return one.replace("-", "+").replace("_", "/") == other.replace("-", "+").replace("_", "/")


async def test_an_anthropic_upstream_that_gets_no_thinking_back_is_not_told_to_think(site: Site) -> None:
    """It refuses a turn in progress that does not begin with thinking of its own."""
    origin = await site.upstream("openai-responses", models=[{"name": "first"}])
    vendor = await site.upstream("anthropic", models=[{"name": "second"}])
    origin.script(thoughtful("openai-responses", stream=True))
    speaker = AnthropicClient(site.clients())
    speaker.carry(await speaker.turn("first", stream=True))
    await speaker.turn("second", stream=True)
    body = vendor.requests[0].json
    assert "thinking" not in body
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


async def test_a_failover_to_another_vendor_takes_the_token_out(site: Site) -> None:
    models = [{"name": "model"}]
    origin = await site.upstream("openai-responses", models=models, priority=1)
    vendor = await site.upstream("anthropic", models=models)
    origin.script(thoughtful("openai-responses", stream=True), native.error("openai-responses", 503))
    speaker = AnthropicClient(site.clients())
    speaker.carry(await speaker.turn("model", stream=True))
    await speaker.turn("model", stream=True)
    assert token_in_its_place("openai-responses", origin.requests[1]) == TOKENS["openai-responses"]
    assert b"cpx1" not in vendor.requests[0].body


async def test_counting_tokens_takes_it_out_too(site: Site) -> None:
    origin = await site.upstream("openai-responses", models=[{"name": "first"}])
    counted = Answer(headers={"content-type": "application/json"}, body=b'{"input_tokens": 42}')
    vendor = await site.upstream("anthropic", counted, models=[{"name": "second"}])
    origin.script(thoughtful("openai-responses", stream=True))
    clients = site.clients()
    speaker = AnthropicClient(clients)
    message = await speaker.turn("first", stream=True)
    assert any(block.signature.startswith("cpx1") for block in message.content if block.type == "thinking")
    history: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": message.content[:1]}]
    history.append({"role": "user", "content": "And?"})
    count = await clients.anthropic.messages.count_tokens(model="second", messages=history)
    assert count.input_tokens == 42
    assert b"cpx1" not in vendor.requests[0].body

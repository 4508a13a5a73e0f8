"""What Anthropic's own SDK makes of the bytes and bodies that the codec emits, and what the API would refuse."""

import json
from collections.abc import Mapping
from typing import Any

import anthropic
import anthropic.types as sdk
import httpx2
from anthropic.types.message_create_params import MessageCreateParamsBase

from cliproxy.wire.model import Json
from cliproxy.wire.sse import SseParser

_BLOCKS: Mapping[str, Any] = {
    "text": sdk.TextBlockParam,
    "image": sdk.ImageBlockParam,
    "document": sdk.DocumentBlockParam,
    "tool_use": sdk.ToolUseBlockParam,
    "tool_result": sdk.ToolResultBlockParam,
    "thinking": sdk.ThinkingBlockParam,
    "redacted_thinking": sdk.RedactedThinkingBlockParam,
    "server_tool_use": sdk.ServerToolUseBlockParam,
    "web_search_tool_result": sdk.WebSearchToolResultBlockParam,
    "search_result": sdk.SearchResultBlockParam,
    "container_upload": sdk.ContainerUploadBlockParam,
    "tool_reference": sdk.ToolReferenceBlockParam,
}
_TOOLS: Mapping[str, Any] = {
    "custom": sdk.ToolParam,
    "web_search_20250305": sdk.WebSearchTool20250305Param,
    "web_fetch_20250910": sdk.WebFetchTool20250910Param,
    "code_execution_20250825": sdk.CodeExecutionTool20250825Param,
    "bash_20250124": sdk.ToolBash20250124Param,
}
_TOP_LEVEL = {*MessageCreateParamsBase.__annotations__, "temperature", "top_p", "top_k", "stream"}


def faults(body: Json) -> list[str]:
    """What the API would refuse in a request: unknown or missing members, and the rules that its errors teach."""
    bad = [f"unknown member {key}" for key in body if key not in _TOP_LEVEL]
    bad += [f"{key} is missing" for key in ("model", "max_tokens", "messages") if key not in body]
    for block in body.get("system", []):
        bad += _member_faults(block, sdk.TextBlockParam)
    bad += _tool_faults(body)
    bad += _thinking_faults(body)
    bad += _message_faults(body["messages"])
    blocks = [*body.get("tools", []), *body.get("system", []), *_blocks(body)]
    marks = [block["cache_control"] for block in blocks if "cache_control" in block]
    if len(marks) > 4:
        bad.append("more than four cache breakpoints")
    lifetimes = [mark.get("ttl") == "1h" for mark in marks]
    if lifetimes != sorted(lifetimes, reverse=True):
        bad.append("a long-lived cache breakpoint after a short-lived one")
    return bad


def _blocks(body: Json) -> list[Json]:
    return [block for message in body["messages"] for block in message["content"]]


def _member_faults(value: Json, params: Any) -> list[str]:
    where = value.get("type") or value.get("name")
    unknown = [f"{where}: unknown member {key}" for key in value if key not in params.__annotations__]
    return unknown + [f"{where}: {key} is missing" for key in params.__required_keys__ if key not in value]


def _tool_faults(body: Json) -> list[str]:
    bad: list[str] = []
    tools = body.get("tools")
    if tools is not None and not tools:
        bad.append("an empty list of tools")
    for tool in tools or []:
        bad += _member_faults(tool, _TOOLS[tool.get("type", "custom")])
        root = tool.get("input_schema", {"type": "object"})
        if root.get("type") != "object" or {"anyOf", "oneOf", "allOf"} & set(root):
            bad.append(f"{tool['name']}: the schema's root is not a plain object")
    names = [tool["name"] for tool in tools or []]
    if len(set(names)) < len(names):
        bad.append("two tools of one name")
    if "tool_choice" in body and not tools:
        bad.append("tool_choice without tools")
    if not tools and any(block["type"] in ("tool_use", "tool_result") for block in _blocks(body)):
        bad.append("calls in the history without tools")
    return bad


def _thinking_faults(body: Json) -> list[str]:
    thinking: Json = body.get("thinking") or {"type": "disabled"}
    if thinking["type"] == "disabled":
        last = body["messages"][-1]
        thought = any(block["type"].endswith("thinking") for block in last["content"])
        return ["thinking in the last message"] if last["role"] == "assistant" and thought else []
    bad = [f"thinking with {key}" for key in ("top_k",) if key in body]
    bad += ["thinking with a temperature"] if body.get("temperature", 1) != 1 else []
    bad += ["thinking with a low top_p"] if body.get("top_p", 1) < 0.95 else []
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        bad.append("thinking with a forced tool")
    if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        bad.append("a budget outside 1024 … max_tokens")
    return bad


def _message_faults(messages: list[Json]) -> list[str]:
    bad: list[str] = []
    roles = [message["role"] for message in messages]
    if roles != (["user", "assistant"] * len(roles))[: len(roles)] or not roles:
        bad.append(f"roles do not alternate: {roles}")
    for message in messages:
        if set(message) != {"role", "content"} or not message["content"]:
            bad.append("a message of another shape, or an empty one")
        kinds = [block["type"] for block in message["content"]]
        results = kinds.count("tool_result")
        if any(kind != "tool_result" for kind in kinds[:results]):
            bad.append("results do not come first")
        if message["role"] == "assistant" and kinds[-1].endswith("thinking"):
            bad.append("a message ends in thinking")
        for block in message["content"]:
            bad += _block_faults(block)
    last = messages[-1]["content"][-1]
    if roles[-1:] == ["assistant"] and last["type"] == "text" and last["text"] != last["text"].rstrip():
        bad.append("trailing whitespace")
    return bad


def _block_faults(block: Json) -> list[str]:
    bad = _member_faults(block, _BLOCKS[block["type"]])
    if block["type"] == "text" and not block["text"]:
        bad.append("an empty text")
    if block["type"] == "tool_use" and not isinstance(block["input"], dict):
        bad.append("input is not an object")
    inner = block.get("content") if block["type"] == "tool_result" else None
    for child in inner if isinstance(inner, list) else []:
        bad += _block_faults(child)
    return bad


# ---------------------------------------------------------------- answers


def read_stream(raw: bytes) -> Json:
    """What the SDK accumulates from a stream. Raises its error for an `error` event."""
    with _client(raw, "text/event-stream").messages.stream(**_ANY) as stream:
        message = stream.get_final_message().model_dump(mode="json", exclude_unset=True)
    # The accumulator sets this itself, whether or not the stream says it.
    del message["stop_details"]
    return message


def read_whole(body: Json) -> Json:
    client = _client(json.dumps(body).encode(), "application/json")
    return client.messages.create(**_ANY).model_dump(mode="json", exclude_unset=True)


_ANY: Any = {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "x"}]}


def _client(content: bytes, content_type: str) -> anthropic.Anthropic:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": content_type}, content=content)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key="sk-test-key", base_url="http://gateway.test", http_client=http, max_retries=0)


def events_of(raw: bytes) -> list[Json]:
    """The data of each event; asserts that each event is named as its type."""
    parser = SseParser()
    events: list[Json] = []
    for name, data in [*parser.feed(raw), *parser.finish()]:
        event = json.loads(data)
        assert name == event["type"]
        events.append(event)
    return events


def grammar_faults(raw: bytes) -> list[str]:
    """Where a stream that ends well breaks the API's order of events."""
    bad: list[str] = []
    types = [event["type"] for event in events_of(raw) if event["type"] != "ping"]
    if types[:1] != ["message_start"] or types[-2:] != ["message_delta", "message_stop"]:
        bad.append(f"begins or ends wrongly: {types[:2]} … {types[-2:]}")
    if types.count("message_start") + types.count("message_delta") + types.count("message_stop") != 3:
        bad.append("not one start, one delta and one stop")
    open_block, expected = None, 0
    for event in events_of(raw):
        match event["type"]:
            case "content_block_start":
                if open_block is not None or event["index"] != expected:
                    bad.append(f"block {event['index']} begins out of order")
                open_block, expected = event["index"], expected + 1
            case "content_block_delta":
                if event["index"] != open_block:
                    bad.append("a delta of a block that is not open")
            case "content_block_stop":
                if event["index"] != open_block:
                    bad.append("the end of a block that is not open")
                open_block = None
            case _:
                if open_block is not None and event["type"] != "ping":
                    bad.append(f"{event['type']} inside a block")
    return bad

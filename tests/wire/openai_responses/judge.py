"""What the vendor's own SDK makes of the bytes and bodies that the codec emits."""

import json
from typing import Any, get_args

import httpx2
import openai
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFailedEvent,
    ResponseIncompleteEvent,
    ResponseInputItemParam,
    ResponseStreamEvent,
    ToolParam,
)
from openai.types.responses.response_create_params import ResponseCreateParamsBase, ToolChoice
from pydantic import TypeAdapter

_STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_INPUT_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam)
_TOOL: TypeAdapter[Any] = TypeAdapter(ToolParam)
_TOOL_CHOICE: TypeAdapter[Any] = TypeAdapter(ToolChoice)

EVENT_TYPES: list[str] = [
    get_args(event.model_fields["type"].annotation)[0] for event in get_args(get_args(ResponseStreamEvent)[0])
]
"""All that the SDK knows."""

_ENDINGS = ("response.completed", "response.incomplete", "response.failed")


def sse(*events: dict[str, Any]) -> bytes:
    """The events as an upstream streams them."""
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return "".join(lines).encode()


def stream_events(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each judged by the SDK's own type and all by the API's grammar."""
    events: list[dict[str, Any]] = []
    for block in raw.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
        if event["type"] == "response.failed":
            # The API itself sends more codes than the SDK's type lists.
            event = {
                **event,
                "response": {**event["response"], "error": {"code": "server_error", "message": ""}},
            }
        _STREAM_EVENT.validate_python(event)
    _check_grammar(events)
    return events


def check_request(body: dict[str, Any]) -> None:
    """Judge the input items, tools and top-level fields of a request by the SDK's own types."""
    assert set(body) <= set(ResponseCreateParamsBase.__annotations__) | {"stream"}
    for item in body["input"]:
        # The SDK's types want these two, which the API does not ask of a client that stores nothing.
        if item.get("role") == "assistant" or item["type"] == "reasoning":
            item = {"id": "x", "status": "completed", **item}
        _INPUT_ITEM.validate_python(item)
    for tool in body.get("tools", []):
        _TOOL.validate_python(tool)
    _TOOL_CHOICE.validate_python(body.get("tool_choice", "auto"))


def _check_grammar(events: list[dict[str, Any]]) -> None:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    types = [event["type"] for event in events]
    assert types[:2] == ["response.created", "response.in_progress"]
    assert [kind for kind in types if kind in _ENDINGS] == types[-1:]
    added: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    for event in events:
        index: Any = event.get("output_index")
        if event["type"] == "response.output_item.added":
            assert index == len(added)
            added[index] = event["item"]
        elif event["type"] == "response.output_item.done":
            assert index not in done
            assert event["item"]["id"] == added[index]["id"]
            done[index] = event["item"]
        elif index is not None:
            assert index in added
            assert index not in done
            assert event["item_id"] == added[index]["id"]
    ended = events[-1]["response"]
    assert ended["status"] == types[-1].partition(".")[2]
    assert ended["id"] == events[0]["response"]["id"]
    assert ended["output"] == [done[index] for index in sorted(done)]
    if ended["status"] != "failed":
        assert set(done) == set(added)


def streamed_response(raw: bytes) -> Response:
    """The response that the SDK's accumulator holds at the end of the stream."""
    final: Response | None = None
    with _client(raw, "text/event-stream") as client, client.responses.stream(model="m", input="x") as stream:
        for event in stream:
            if isinstance(event, ResponseCompletedEvent | ResponseIncompleteEvent | ResponseFailedEvent):
                final = event.response
    assert final is not None
    return final


def whole_response(body: dict[str, Any]) -> Response:
    """A whole body, judged strictly and read by the SDK's client."""
    Response.model_validate(body)
    with _client(json.dumps(body).encode(), "application/json") as client:
        return client.responses.create(model="m", input="x")


def _client(content: bytes, content_type: str) -> openai.OpenAI:
    answer = httpx2.Response(200, headers={"content-type": content_type}, content=content)
    http_client = httpx2.Client(transport=httpx2.MockTransport(lambda request: answer))
    return openai.OpenAI(api_key="sk-test", base_url="http://gateway.test/v1", http_client=http_client, max_retries=0)

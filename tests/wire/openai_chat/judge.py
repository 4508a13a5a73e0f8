"""What OpenAI's own SDK makes of the bytes and bodies that the codec emits."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2
import openai
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

DONE = b"data: [DONE]\n\n"

_STREAMED: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)
_WHOLE: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)


def check_request(body: Mapping[str, Any]) -> None:
    """Hold a body against the SDK's types: what they do not know would not come out again."""
    params = _STREAMED if body["stream"] else _WHOLE
    assert _read(params.validate_python(body)) == body


def _read(value: Any) -> Any:
    """Pydantic checks the entries of an iterable only when they are read."""
    if isinstance(value, Mapping):
        return {key: _read(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_read(entry) for entry in value]
    return value


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it; without `delta` one without choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "up"}
    return {**common, "choices": choices, **more}


def sse(*chunks: Mapping[str, Any]) -> bytes:
    """The chunks as an upstream streams them, without [DONE]."""
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)


def chunks_of(raw: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream that ended well, each judged by the SDK's own type and all by the API's grammar."""
    assert raw.endswith(DONE)
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in raw.decode().split("\n\n")[:-2]]
    for one in chunks:
        strict = json.loads(json.dumps(one))
        for choice in strict["choices"]:
            # The SDK's type for a streamed call knows no custom tools, though the API has them.
            calls = choice["delta"].get("tool_calls", [])
            choice["delta"]["tool_calls"] = [call for call in calls if "custom" not in call]
        ChatCompletionChunk.model_validate(strict)
    _check_grammar(chunks)
    return chunks


def _check_grammar(chunks: list[dict[str, Any]]) -> None:
    choices = [one["choices"][0] for one in chunks if one["choices"]]
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) == 1
    assert choices[0]["delta"]["role"] == "assistant"
    assert [choice["finish_reason"] is None for choice in choices] == [True] * (len(choices) - 1) + [False]
    assert [bool(one["choices"]) for one in chunks[: len(choices)]] == [True] * len(choices)
    heads = [call for choice in choices for call in choice["delta"].get("tool_calls", []) if "id" in call]
    assert [call["index"] for call in heads] == list(range(len(heads)))
    assert len({call["id"] for call in heads}) == len(heads)
    assert all(call[call["type"]]["name"] is not None for call in heads)


def accumulated(raw: bytes) -> dict[str, Any]:
    """What the SDK's accumulator (`chat.completions.stream`) makes of a stream; see `told`."""
    with (
        _client(raw, "text/event-stream") as client,
        client.chat.completions.stream(model="m", messages=[]) as stream,
    ):
        for _ in stream:
            pass
        return told(stream.current_completion_snapshot.model_dump(mode="json", exclude_none=True, warnings=False))


def told(body: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a completion, without nulls and list indexes, and with what else it says of the answer."""
    [choice] = body["choices"]
    message = {key: value for key, value in choice["message"].items() if value is not None and key != "parsed"}
    for entries in message.values():
        for entry in entries if isinstance(entries, list) else ():
            entry.pop("index", None)
            entry.get("function", {}).pop("parsed_arguments", None)
    return {**message, "finish_reason": choice["finish_reason"], "usage": body.get("usage")}


def errors_of(raw: bytes) -> openai.APIError | None:
    """The error that the SDK raises while it reads a stream."""
    with _client(raw, "text/event-stream") as client:
        try:
            for _ in client.chat.completions.create(model="m", messages=[], stream=True):
                pass
        except openai.APIError as error:
            return error
    return None


def completion(body: Mapping[str, Any]) -> ChatCompletion:
    with _client(json.dumps(body).encode(), "application/json") as client:
        answer = client.chat.completions.create(model="m", messages=[])
    return ChatCompletion.model_validate(answer.model_dump(exclude_unset=True, warnings=False))


def text_completions(raw: bytes) -> list[Completion]:
    with _client(raw, "text/event-stream") as client:
        return list(client.completions.create(model="m", prompt="p", stream=True))


def _client(raw: bytes, content_type: str) -> openai.OpenAI:
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, headers={"content-type": content_type}, content=raw))
    return openai.OpenAI(
        api_key="sk-test",
        base_url="http://gateway.test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=answer),
    )

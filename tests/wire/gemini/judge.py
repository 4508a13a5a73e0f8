"""What Google's own SDK makes of the bytes and bodies that the codec emits."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import httpx2
from google import genai
from google.genai import types

from cliproxy.wire.fold import fold
from cliproxy.wire.gemini import AnswerDecoder, AnswerEncoder
from cliproxy.wire.model import Answer, Event, Request, Text, ToolCall, Turn

REQUEST = Request("gemini", "m", [Turn("user", [Text("hi")])])


def client(raw: bytes, content_type: str) -> genai.Client:
    answer = httpx2.Response(200, headers={"content-type": content_type}, content=raw)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    options = types.HttpOptions(base_url="http://gateway.test", httpx_client=http)
    return genai.Client(api_key="test-key", http_options=options)


def read_stream(raw: bytes) -> list[types.GenerateContentResponse]:
    """What google-genai makes of a stream."""
    sdk = client(raw, "text/event-stream")
    return list(sdk.models.generate_content_stream(model="m", contents="hi"))


def read_whole(body: Any) -> types.GenerateContentResponse:
    """What google-genai makes of a whole body."""
    sdk = client(json.dumps(body).encode(), "application/json")
    return sdk.models.generate_content(model="m", contents="hi")


def parts_of(chunks: Iterable[types.GenerateContentResponse]) -> list[types.Part]:
    return [
        part
        for chunk in chunks
        for candidate in chunk.candidates or ()
        if candidate.content is not None
        for part in candidate.content.parts or ()
    ]


def check_request(body: dict[str, Any]) -> None:
    """Fails when google-genai's own types do not know a field, or the conversation is out of order."""
    known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
    assert body.keys() <= known | {"safetySettings", "cachedContent", "labels", "serviceTier"}
    for content in body["contents"]:
        assert content["parts"]
        types.Content.model_validate(content)
    roles = [content["role"] for content in body["contents"]]
    assert roles[0] == "user"
    assert all(one != other for one, other in pairwise(roles))
    for tool in body.get("tools", ()):
        types.Tool.model_validate(tool)
    if "systemInstruction" in body:
        types.Content.model_validate(body["systemInstruction"])
    if "toolConfig" in body:
        types.ToolConfig.model_validate(body["toolConfig"])
    if "generationConfig" in body:
        types.GenerationConfig.model_validate(body["generationConfig"])


def encode(events: Iterable[Event], *, sse: bool = True, model: str = "shown") -> bytes:
    encoder = AnswerEncoder(REQUEST, model, sse=sse)
    return b"".join([encoder.push(event) for event in events] + [encoder.finish()])


def decode(raw: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    """The events of a stream that arrives cut at `cuts`."""
    decoder = AnswerDecoder()
    edges = [0, *sorted(cut for cut in cuts if cut <= len(raw)), len(raw)]
    events: list[Event] = []
    for start, end in pairwise(edges):
        events.extend(decoder.feed(raw[start:end]))
    events.extend(decoder.finish())
    assert decoder.feed(b"data: {}\n\n") == decoder.finish() == []
    return events


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def chunk(*parts: Any, finish: str | None = None, usage: Any = None, **candidate: Any) -> dict[str, Any]:
    candidate |= {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    body: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r1"}
    return body | ({"usageMetadata": usage} if usage else {})


def folded(events: list[Event]) -> Answer:
    """The whole answer, its made-up call ids numbered, so that two readings of one answer are equal."""
    answer = fold(events)
    for number, part in enumerate(answer.parts):
        if isinstance(part, ToolCall) and part.id.startswith("call_"):
            part.id = f"call_{number}"
    return answer

"""What clients of the four formats send, and how the gateway's errors look to them.

Owns the clients' side as plain literals; the upstreams' side is `tests.native`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession
from multidict import CIMultiDictProxy
from yarl import URL

from tests.native import Format
from tests.processes import CLIENT_KEY, Gateway

MODELS: Mapping[Format, str] = {
    "openai-chat": "chat-model",
    "openai-responses": "responses-model",
    "anthropic": "anthropic-model",
    "gemini": "gemini-model",
}
"""The clients' names of the models in `tests.processes.config_for`."""

PATHS: Mapping[Format, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a client."""

    path: str
    """With the query."""
    headers: Mapping[str, str]
    """The client's key, as its vendor's tools show it."""
    json: dict[str, Any]


def call(format: Format, *, stream: bool = False, model: str = "") -> Call:
    """Say hello to a model; without `model` to the one in `MODELS`."""
    model = model or MODELS[format]
    path = PATHS[format].replace("{model}", model)
    message = {"role": "user", "content": "hello"}
    streamed = {"stream": True} if stream else {}
    match format:
        case "openai-chat":
            return Call(path, _bearer(), {"model": model, "messages": [message], **streamed})
        case "openai-responses":
            return Call(path, _bearer(), {"model": model, "input": "hello", **streamed})
        case "anthropic":
            body = {"model": model, "max_tokens": 64, "messages": [message], **streamed}
            return Call(path, {"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01"}, body)
        case "gemini":
            if stream:
                path = path.replace(":generate", ":streamGenerate") + "?alt=sse"
            contents = [{"role": "user", "parts": [{"text": "hello"}]}]
            return Call(path, {"x-goog-api-key": CLIENT_KEY}, {"contents": contents})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    client: ClientSession, gateway: Gateway, asked: Call, *, body: bytes | None = None, **headers: str
) -> Reply:
    """Send a call and wait for all of the answer. body: sent in place of the call's own JSON."""
    url = URL(gateway.url + asked.path, encoded=True)
    sent = {"content-type": "application/json", **asked.headers}
    sent.update((name.replace("_", "-"), value) for name, value in headers.items())
    data = json.dumps(asked.json).encode() if body is None else body
    async with client.post(url, headers=sent, data=data) as answer:
        return Reply(answer.status, answer.headers, await answer.read())


def _bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {CLIENT_KEY}"}


_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
}
_GEMINI_KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    504: "DEADLINE_EXCEEDED",
}


def message_of(format: Format, status: int, body: Any) -> str:
    """The message of an error body, which must have the shape that clients of the format expect."""
    match format:
        case "openai-chat" | "openai-responses":
            error = body["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["type"]
        case "anthropic":
            assert body["type"] == "error"
            error = body["error"]
            assert error["type"] == _ANTHROPIC_KINDS.get(status, error["type"])
        case "gemini":
            error = body["error"]
            assert error["code"] == status
            assert error["status"] == _GEMINI_KINDS.get(status, error["status"])
    assert isinstance(error["message"], str)
    return error["message"]


def http1(asked: Call, body: bytes | None = None, **headers: str) -> bytes:
    """A call as bytes on an HTTP/1.1 connection. body: sent in place of the call's own JSON."""
    body = json.dumps(asked.json).encode() if body is None else body
    fields = {"host": "gateway.test", "content-type": "application/json", **asked.headers}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    if "transfer-encoding" not in fields:
        fields.setdefault("content-length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {asked.path} HTTP/1.1\r\n{head}\r\n".encode() + body

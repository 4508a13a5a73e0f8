"""A mock of the service on loopback, which refuses what the real one refuses, in the real one's words.

Its rules are those that clients of the service have met: aws/amazon-q-developer-cli, and issues of gateways in front of
the service.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from multidict import CIMultiDict

from tests.providers.kiro.event_stream import CONTENT_TYPE

TOKEN = "test-access-1"
PROFILE = "arn:aws:codewhisperer:us-east-1:000000000000:profile/TEST"
TARGET = "AmazonCodeWhispererStreamingService.GenerateAssistantResponse"
EFFORTS = {"claude-opus-4.6": "output_config", "gpt-5.6-luna": "reasoning"}
MODELS = {"claude-sonnet-4.5", *EFFORTS}


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: CIMultiDict[str]
    body: Any

    @property
    def current(self) -> dict[str, Any]:
        return self.body["conversationState"]["currentMessage"]["userInputMessage"]

    @property
    def history(self) -> list[dict[str, Any]]:
        return self.body["conversationState"].get("history", [])


class Refused(Exception):
    """An HTTP error of the service."""

    def __init__(self, status: int, kind: str, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.body = {"message": message, "reason": reason}


class Service:
    """`async with Service() as service:` listens on `service.url`. Each good request takes the next answer."""

    url: str

    def __init__(self, *, token: str = TOKEN, needs_profile: bool = False) -> None:
        self.token = token
        self.requests: list[Received] = []
        self._needs_profile = needs_profile
        self._answers: deque[Sequence[bytes | asyncio.Event] | Refused] = deque()
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.01)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def script(self, *answers: Sequence[bytes | asyncio.Event] | Refused) -> None:
        """Queue answers: an error, or the pieces of a stream, one write for each; events among them hold it back."""
        self._answers.extend(answers)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self.requests.append(self._checked(request, await request.read()))
            answer = self._answers.popleft()
            if isinstance(answer, Refused):
                raise answer
        except Refused as refused:
            return _error(refused)
        response = web.StreamResponse(headers={"content-type": CONTENT_TYPE})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in answer:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                await response.write(piece)
        await response.write_eof()
        return response

    def _checked(self, request: web.BaseRequest, raw: bytes) -> Received:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(403, "AccessDeniedException", "The bearer token included in the request is invalid.")
        _check_endpoint(request)
        try:
            body = json.loads(raw)
        except ValueError:
            raise _invalid("The request body is not valid JSON.", "REQUEST_BODY_INVALID_JSON") from None
        if self._needs_profile and not body.get("profileArn"):
            raise _invalid("profileArn is required for this request.")
        check(body)
        return Received(request.path, CIMultiDict(request.headers), body)


def _error(refused: Refused) -> web.Response:
    return web.json_response(refused.body, status=refused.status, headers={"x-amzn-errortype": refused.kind})


def _check_endpoint(request: web.BaseRequest) -> None:
    """Either protocol, each with its own path and type."""
    kind, target = request.headers.get("content-type"), request.headers.get("x-amz-target")
    if (request.path, kind, target) not in (
        ("/generateAssistantResponse", "application/json", None),
        ("/", "application/x-amz-json-1.0", TARGET),
    ):
        raise Refused(404, "UnknownOperationException", "UnknownOperationException")


# ---------------------------------------------------------------- what a body must be like


def check(body: dict[str, Any]) -> None:
    """Raises Refused, as the service's validation does."""
    _only(body, "conversationState", "profileArn", "additionalModelRequestFields")
    state = body["conversationState"]
    _only(state, "chatTriggerType", "conversationId", "currentMessage", "history")
    _check(state["chatTriggerType"] == "MANUAL")
    _check(
        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", state["conversationId"]), "INVALID_CONVERSATION_ID"
    )
    messages = [*state.get("history", []), state["currentMessage"]]
    roles = ("userInputMessage", "assistantResponseMessage")
    _check(all(list(message) == [roles[index % 2]] for index, message in enumerate(messages)))
    _check(len(messages) % 2)
    _check(all(isinstance(text := _inner(message)["content"], str) and text.strip() for message in messages))
    users = [_inner(message) for message in messages[::2]]
    for user in users:
        _check_user(user)
    current = users[-1]
    _check(not any("tools" in user.get("userInputMessageContext", {}) for user in users[:-1]))
    tools = _check_tools(current.get("userInputMessageContext", {}).get("tools", []))
    _check_calls(messages, tools)
    _check_fields(body, current.get("modelId"))


def _check_user(user: dict[str, Any]) -> None:
    _only(user, "content", "modelId", "origin", "images", "documents", "userInputMessageContext")
    _check(user["origin"] in ("AI_EDITOR", "CLI"))
    _only(user.get("userInputMessageContext", {}), "tools", "toolResults")
    if user.get("modelId", "claude-sonnet-4.5") not in MODELS:
        raise _invalid("Invalid model. Please select a different model to continue.", "INVALID_MODEL_ID")
    for image in user.get("images", []):
        _check(image["format"] in ("gif", "jpeg", "png", "webp"), "IMAGE_FORMAT_UNSUPPORTED")
        _check(set(image["source"]) == {"bytes"})
    names = [document["name"] for document in user.get("documents", [])]
    _check(len(names) == len(set(names)), "DOCUMENT_DUPLICATE_NAME")


def _check_tools(tools: list[Any]) -> set[str]:
    names: set[str] = set()
    for tool in tools:
        spec = tool["toolSpecification"]
        _only(spec, "name", "description", "inputSchema")
        _check(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", spec["name"]))
        _check(spec["name"] not in names, "TOOL_DUPLICATE")
        _check(0 < len(spec["description"].strip()) and len(spec["description"]) <= 10_240)
        for node in _nodes(spec["inputSchema"]["json"]):
            _check("additionalProperties" not in node and node.get("required") != [], "TOOL_SCHEMA_INVALID")
        names.add(spec["name"])
    return names


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas of a schema; below `properties` stand names."""
    if isinstance(schema, list):
        for each in schema:
            yield from _nodes(each)
    elif isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            if key not in ("enum", "const", "default", "examples"):
                yield from _nodes(list(value.values()) if key == "properties" else value)


def _check_calls(messages: list[Any], tools: set[str]) -> None:
    """Each call has its result in the next message, and each result its call in the one before."""
    expected: list[str] = []
    for message in messages:
        inner = _inner(message)
        results = inner.get("userInputMessageContext", {}).get("toolResults", [])
        for result in results:
            _only(result, "toolUseId", "content", "status")
            _check(result["content"] and all(part["text"].strip() for part in result["content"]))
            _check(result["status"] in ("success", "error"))
        _check([result["toolUseId"] for result in results] == expected, "TOOL_USE_RESULT_MISMATCH")
        calls = inner.get("toolUses", [])
        _check(all(isinstance(call["input"], dict) for call in calls))
        _check({call["name"] for call in calls} <= tools, "TOOL_CONFIG_MISSING")
        expected = [call["toolUseId"] for call in calls]


def _check_fields(body: dict[str, Any], model: str | None) -> None:
    fields = body.get("additionalModelRequestFields")
    if fields is None:
        return
    takes = EFFORTS.get(model or "")
    if takes is None:
        raise _invalid("additionalModelRequestFields is not supported for this model", "REQUEST_BODY_INVALID")
    allowed = {"output_config", "thinking"} if takes == "output_config" else {"reasoning"}
    for name in set(fields) - allowed:
        message = f"Invalid additionalModelRequestFields: property '{name}' is not defined in the schema"
        raise _invalid(message, "REQUEST_BODY_INVALID")
    if fields.get("thinking", {}).get("type", "adaptive") not in ("adaptive", "disabled"):
        message = (
            'Invalid additionalModelRequestFields: does not have a value in the enumeration ["adaptive", "disabled"]'
        )
        raise _invalid(message, "REQUEST_BODY_INVALID")


def _inner(message: dict[str, Any]) -> dict[str, Any]:
    [inner] = message.values()
    return inner


def _only(holder: dict[str, Any], *names: str) -> None:
    _check(set(holder) <= set(names))


def _check(holds: object, reason: str = "REQUEST_BODY_INVALID") -> None:
    if not holds:
        raise _invalid("Improperly formed request.", reason)


def _invalid(message: str, reason: str | None = None) -> Refused:
    return Refused(400, "ValidationException", message, reason)

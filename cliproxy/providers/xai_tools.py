"""Requests and answers for an upstream that speaks Responses, but knows no freeform tools and no namespaces.

The request is read and written anew, with functions in their place; the answer's calls are what they were again.
Reasoning without its encrypted form, ids and whatever else the upstream would stumble over is lost on that way, as the
codec has it.
"""

import re

from msgspec.structs import replace

from cliproxy.wire import json, stand_ins
from cliproxy.wire.errors import GatewayError, UpstreamGarbled
from cliproxy.wire.model import (
    Event,
    Failure,
    Json,
    ModelFacts,
    Part,
    Request,
    ServerTool,
    Start,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_responses import (
    AnswerDecoder,
    AnswerEncoder,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from cliproxy.wire.restore import Restorer, flattened

_SERVED = frozenset({
    "web_search", "x_search", "image_generation", "collections_search", "file_search", "code_execution",
    "code_interpreter", "mcp", "shell",
})  # fmt: skip
"""Tools that run at xAI, besides functions; any other type makes the whole request fail (422)."""
_SEARCH_FIELDS = frozenset({
    "type", "filters", "allowed_domains", "excluded_domains", "user_location", "enable_image_understanding",
})  # fmt: skip
"""What its web search takes of OpenAI's; another field makes the whole request fail (400)."""
_VERSION = re.compile(r"grok-(\d+)(?:\.(\d+))?(?=-|$)")
_FIRST_THAT_PAINTS = (4, 6)


class Simplified:
    """A Responses body as xAI takes it.

    request: as it came. names: tool names as sent → as in the request, where they differ. body: what to send.
    is_told_again: the answer must be, for the request has tools that xAI does not know.
    """

    def __init__(self, body: bytes, facts: ModelFacts) -> None:
        """Raises ClientFault for a body that is no request, or that needs what only OpenAI's servers hold."""
        self.request = decode_request(json.loads_object(body, "the body"))
        self.is_told_again = any(
            isinstance(tool, Tool) and (tool.kind == "custom" or tool.namespace is not None)
            for tool in self.request.tools
        )
        encoded = encode_request(_simple(self.request, facts), facts)
        self.body: Json = encoded.body
        self.names = encoded.names


def _simple(request: Request, facts: ModelFacts) -> Request:
    request = flattened(request)
    tools = [simple for tool in request.tools if (simple := _simple_tool(tool, facts)) is not None]
    turns = [Turn(turn.role, [_simple_part(part) for part in turn.parts]) for turn in request.turns]
    return replace(request, tools=tools, turns=turns, tool_choice=_simple_choice(request.tool_choice, tools))


def _simple_tool(tool: Tool | ServerTool, facts: ModelFacts) -> Tool | ServerTool | None:
    if isinstance(tool, ServerTool):
        return _served(tool, facts)
    tool = replace(tool, namespace=None, deferred=False)
    if tool.kind == "function":
        return tool
    description = stand_ins.custom_tool_description(tool)
    return Tool(tool.name, description, stand_ins.CUSTOM_TOOL_SCHEMA)


def _served(tool: ServerTool, facts: ModelFacts) -> ServerTool | None:
    if tool.name == "web_search":
        raw = {key: value for key, value in tool.raw.items() if key in _SEARCH_FIELDS}
        return replace(tool, raw={**raw, "type": "web_search"})
    if tool.raw.get("type") == "image_generation" and not _paints(facts.name):
        return None
    return tool if tool.raw.get("type") in _SERVED else None


def _paints(model: str) -> bool:
    """Whether a model takes the image tool, as far as its name says."""
    version = _VERSION.match(model)
    return version is None or (int(version[1]), int(version[2] or 0)) >= _FIRST_THAT_PAINTS


def _simple_choice(choice: ToolChoice | None, tools: list[Tool | ServerTool]) -> ToolChoice | None:
    """A choice among the tools that are left. xAI takes the name of one of its own tools only in a list."""
    if choice is None or choice.mode not in ("named", "allowed"):
        return choice
    kinds = {tool.name: type(tool) for tool in tools}
    names = [name for name in choice.names if name in kinds]
    if not names:
        return None
    if choice.mode == "named" and kinds[names[0]] is ServerTool:
        return ToolChoice("allowed", names, required=True)
    return replace(choice, names=names)


def _simple_part(part: Part) -> Part:
    match part:
        case ToolCall(kind="custom"):
            arguments = json.dumps_text(stand_ins.custom_tool_arguments(part.arguments))
            return replace(part, kind="function", namespace=None, arguments=arguments)
        case ToolCall():
            return replace(part, namespace=None)
        case ToolResult(kind="custom"):
            return replace(part, kind="function")
        case _:
            return part


class Restored:
    """An answer of xAI's, told again with the client's own tools."""

    def __init__(self, simplified: Simplified, model: str, *, stream: bool) -> None:
        """model: as the answer names it."""
        self.content_type = "text/event-stream" if stream else "application/json"
        self._request = simplified.request
        self._restorer = Restorer(simplified.request, simplified.names)
        self._model = model
        self._stream = (AnswerDecoder(), AnswerEncoder(simplified.request, model)) if stream else None
        self._body: list[bytes] = []
        self._failure: GatewayError | None = None

    def feed(self, data: bytes) -> bytes:
        if self._stream is None:
            self._body.append(data)
            return b""
        return self._told(self._stream[0].feed(data), self._stream[1])

    def finish(self) -> bytes:
        if self._stream is None:
            return self._whole()
        decoder, encoder = self._stream
        told = self._told(decoder.finish(), encoder)
        if self._failure:
            raise self._failure
        return told + encoder.finish()

    def _told(self, events: list[Event], encoder: AnswerEncoder) -> bytes:
        """What was said before a failure is told before it is raised."""
        if self._failure:
            raise self._failure
        told: list[bytes] = []
        says_something = False
        for event in self._restorer.apply(events):
            if isinstance(event, Failure):
                self._failure = event.error
                if not says_something:
                    raise event.error
                break
            says_something = says_something or not isinstance(event, Start)
            told.append(encoder.push(event))
        return b"".join(told)

    def _whole(self) -> bytes:
        try:
            body = json.loads_object(b"".join(self._body), "the upstream's answer")
        except ValueError as error:
            raise UpstreamGarbled(f"the upstream's answer is not what it claims to be: {error}") from None
        answer = self._restorer.answer(decode_answer(body))
        return json.dumps(encode_answer(answer, self._request, self._model))

"""The built-in `demo` provider: answers in all four formats without a network, a key or a model.

It repeats what it hears, calls a tool named `demo` when one is offered, and thinks when asked to. It stands where
an upstream's HTTP server would, so that everything before and after it works as with a real one.
"""

from collections.abc import AsyncGenerator, Iterator
from urllib.parse import parse_qs, urlsplit

from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.routes import Operation, match
from cliproxy.wire import json, tokens
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.fold import unfold
from cliproxy.wire.gemini.counting import decode_count_request, encode_count
from cliproxy.wire.model import (
    Answer,
    Delta,
    Event,
    Format,
    Json,
    Part,
    Reasoning,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from cliproxy.wire.names import new_id
from cliproxy.wire.translation import CODECS

TOOL = "demo"
MODEL = "demo/echo"


class DemoResponse:
    """An `UpstreamResponse` that was made here."""

    def __init__(self, status: int, content_type: str, slices: list[bytes]) -> None:
        self.status = status
        self.reason = ""
        self.headers = Headers({"content-type": content_type})
        self.peer: tuple[str, int] | None = None
        self._slices = slices

    async def chunks(self) -> AsyncGenerator[bytes]:
        for piece in self._slices:
            yield piece

    async def read(self, limit_bytes: int) -> bytes:
        return b"".join(self._slices)

    def close(self) -> None:
        self._slices = []


class DemoTransport:
    """Takes requests as an upstream of any format would."""

    async def send(self, request: UpstreamRequest) -> DemoResponse:
        url = urlsplit(request.url)
        # OpenAI's paths come without the version, which their base URLs hold.
        route = match(request.method, url.path if url.path.startswith("/v1") else f"/v1{url.path}")
        codec = CODECS[route.format]
        assert isinstance(request.body, bytes)
        try:
            stream = route.action == "streamGenerateContent" if route.model else None
            body = json.loads_object(request.body, "the body")
            if route.operation is Operation.COUNT_TOKENS:
                return _counted(route.format, body)
            asked = codec.decode_request(body, model=MODEL, stream=stream)
        except GatewayError as error:
            status, body = codec.encode_error(error)
            return DemoResponse(status, "application/json", [json.dumps(body)])
        answer = reply(asked)
        if not asked.stream:
            return DemoResponse(200, "application/json", [json.dumps(codec.encode_answer(answer, asked, MODEL))])
        if route.format == "gemini":
            sse = parse_qs(url.query).get("alt") == ["sse"]
            encoder = codec.AnswerEncoder(asked, MODEL, sse=sse)
        else:
            sse = True
            encoder = codec.AnswerEncoder(asked, MODEL)
        slices = [piece for event in _in_words(unfold(answer)) if (piece := encoder.push(event))]
        return DemoResponse(200, "text/event-stream" if sse else "application/json", [*slices, encoder.finish()])


def reply(request: Request) -> Answer:
    """What the demo model answers."""
    parts: list[Part] = []
    intent = request.reasoning
    if intent and intent.effort != "none" and intent.budget != 0:
        parts.append(Reasoning("Let me see what was said, and say it again."))
    heard = _last_words(request)
    tool = next((t for t in request.tools if isinstance(t, Tool) and t.name == TOOL), None)
    if tool and not isinstance(heard, ToolResult):
        parts.append(Text("I will ask the demo tool."))
        parts.append(ToolCall(new_id("call_"), tool.name, _arguments(tool, heard), tool.kind))
    elif isinstance(heard, ToolResult):
        said = " ".join(part.text for part in heard.parts if isinstance(part, Text))
        parts.append(Text(f"The tool answered: {said}"))
    else:
        parts.append(Text(f"You said: {heard}" if heard else "You said nothing."))
    spoken = sum(len(part.text if isinstance(part, Text | Reasoning) else part.arguments) for part in parts)  # pyright: ignore[reportAttributeAccessIssue]
    finish = "tool" if isinstance(parts[-1], ToolCall) else "stop"
    usage = Usage(input=tokens.count(request), output=max(1, spoken // 4))
    return Answer(new_id("demo_"), MODEL, None, parts, usage, finish)


def _last_words(request: Request) -> str | ToolResult:
    """The last thing the user or a tool said."""
    for turn in reversed(request.turns):
        if turn.role != "user":
            continue
        for part in reversed(turn.parts):
            if isinstance(part, ToolResult):
                return part
            if isinstance(part, Text) and part.text:
                return part.text
    return ""


def _arguments(tool: Tool, heard: str | ToolResult) -> str:
    """Arguments that fit the tool's schema: each required text property gets what was heard."""
    text = heard if isinstance(heard, str) else ""
    if tool.kind == "custom":
        return text
    schema = tool.schema or {}
    properties = schema.get("properties")
    required = schema.get("required")
    samples: Json = {"string": text, "number": 1, "integer": 1, "boolean": True, "array": [], "object": {}}
    filled: Json = {}
    if isinstance(properties, dict) and isinstance(required, list):
        for name in filter(lambda name: isinstance(name, str), required):
            kind = properties[name].get("type") if isinstance(properties.get(name), dict) else None
            filled[name] = samples.get(kind, text) if isinstance(kind, str) else text
    return json.dumps_text(filled)


def _in_words(events: Iterator[Event]) -> Iterator[Event]:
    """Cut deltas into words, so that a stream looks like one."""
    for event in events:
        if isinstance(event, Delta):
            for word in event.text.split(" ")[:-1]:
                yield Delta(event.index, word + " ")
            yield Delta(event.index, event.text.split(" ")[-1])
        else:
            yield event


def _counted(format_: Format, body: Json) -> DemoResponse:
    """A token count. Raises GatewayError."""
    if format_ == "gemini":
        answer = encode_count(tokens.count(decode_count_request(body, model=MODEL)))
    else:
        # Anthropic's counter takes no max_tokens, which its requests must have.
        asked = CODECS[format_].decode_request({"max_tokens": 1, **body} if format_ == "anthropic" else body)
        answer = {"input_tokens": tokens.count(asked)}
    return DemoResponse(200, "application/json", [json.dumps(answer)])

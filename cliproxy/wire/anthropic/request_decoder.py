"""Reads a Messages request into the model."""

from collections.abc import Callable
from typing import Any, cast

from msgspec.structs import replace

from cliproxy.wire import reasoning
from cliproxy.wire.anthropic.fields import Fields, text_of, wrong_type
from cliproxy.wire.anthropic.vocabulary import (
    FORMAT,
    citation_of,
    redacted_part,
    server_call,
    server_result,
    server_tool_name,
    thinking_part,
)
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import (
    CacheHint,
    Effort,
    Format,
    Json,
    Media,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    ReasoningIntent,
    Request,
    Role,
    Sampling,
    ServerCall,
    ServerResult,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

_TYPED = frozenset({
    "model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k",
    "stop_sequences", "stream", "thinking", "output_config", "output_format", "metadata", "service_tier",
})  # fmt: skip

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

_BILLING_LINE = "x-anthropic-billing-header"
"""Begins Claude Code's note to Anthropic's billing. It changes with every request, so it would spoil any
other vendor's prompt cache; a request that stays Anthropic's is passed on as bytes and keeps it."""

_PLACEHOLDER_TOOL = "DeferredToolPlaceholder"
"""Claude Code's stand-in for tools that are not loaded; it cannot be called."""


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """The request that `body` makes; `model` and `stream` override what it says.

    Raises ClientFault for a wrong type, an unknown role or a missing part, naming the place.
    """
    fields = Fields(body, "")
    turns = _turns(fields)
    system = _system(fields)
    while turns and turns[0].role == "system":
        system += [part for part in turns.pop(0).parts if isinstance(part, Text | Media | Opaque)]
    if not turns:
        raise ClientFault("messages must hold at least one message of a user", param="messages")
    choice, parallel = _tool_choice(fields.child("tool_choice"))
    output_config = fields.child("output_config")
    metadata = fields.child("metadata")
    tier = fields.string("service_tier")
    return Request(
        origin=FORMAT,
        model=fields.required("model") if model is None else model,
        turns=turns,
        system=system,
        tools=[tool for entry in fields.children("tools") if (tool := _tool(entry)) is not None],
        tool_choice=choice,
        parallel_calls=parallel,
        sampling=Sampling(
            max_tokens=fields.integer("max_tokens"),
            temperature=fields.number("temperature"),
            top_p=fields.number("top_p"),
            top_k=fields.integer("top_k"),
            stop=fields.strings("stop_sequences") or None,
        ),
        reasoning=_reasoning(fields.child("thinking"), output_config),
        output=_output((output_config and output_config.child("format")) or fields.child("output_format")),
        stream=bool(fields.boolean("stream")) if stream is None else stream,
        user=metadata.string("user_id") if metadata else None,
        service_tier="default" if tier == "standard_only" else tier,
        extras={key: value for key, value in body.items() if key not in _TYPED and value is not None},
        raw=body,
    )


# ---------------------------------------------------------------- instructions and turns


def _system(fields: Fields) -> list[Text | Media | Opaque]:
    parts = [part for part in _content(fields, "system") if isinstance(part, Text | Media | Opaque)]
    return [part for part in parts if not (isinstance(part, Text) and part.text.startswith(_BILLING_LINE))]


def _turns(fields: Fields) -> list[Turn]:
    if fields.object.get("messages") is None:
        raise ClientFault("messages is required and must be a list", param="messages")
    return [_turn(message) for message in fields.children("messages")]


def _turn(message: Fields) -> Turn:
    name = message.required("role")
    role = _ROLES.get(name)
    if role is None:
        place = message.place("role")
        raise ClientFault(f"{place} must be user, assistant or system, not {name[:40]!r}", param=place)
    if message.object.get("content") is None:
        raise wrong_type(message.place("content"), "a string or a list", None)
    parts = _content(message, "content")
    hint = _cache(message)
    if hint is not None and parts:
        last = parts[-1]
        if isinstance(last, Text | Media | ToolCall | ToolResult) and last.cache is None:
            last.cache = hint
    return Turn(role, _reunited(parts))


def _content(holder: Fields, key: str) -> list[Part]:
    """The parts of a string or a list of blocks; empty texts are left out."""
    value: Any = holder.object.get(key)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [Text(value)]
    place = holder.place(key)
    if not isinstance(value, list):
        raise wrong_type(place, "a string or a list", value)
    parts: list[Part] = []
    for index, entry in enumerate(cast("list[Any]", value)):
        block = Fields(entry, f"{place}[{index}]")
        decode = _BLOCKS.get(block.required("type"), _other)
        parts += decode(block)
    return parts


def _reunited(parts: list[Part]) -> list[Part]:
    """The parts with what `AnswerEncoder` had to set apart put back in its place.

    A tool call has no slot for its origin's signature, which therefore travels as redacted thinking that
    names the call; and only the result of a foreign search shows that the call to it was foreign as well.
    """
    calls = {part.id: part for part in parts if isinstance(part, ToolCall)}
    results = [part for part in parts if isinstance(part, ServerResult)]
    foreign: dict[str, Format] = {result.id: result.origin for result in results if result.origin != FORMAT}
    reunited: list[Part] = []
    for part in parts:
        if isinstance(part, Reasoning) and part.carrier is not None and part.carrier.kind == "signature":
            call = calls.get(part.carrier.id or "")
            if call is not None and not part.text:
                call.carrier = replace(part.carrier, id=None)
                continue
        elif isinstance(part, ServerCall) and part.id in foreign:
            part = ServerCall(part.id, part.name, foreign[part.id], part.input)
        reunited.append(part)
    return reunited


# ---------------------------------------------------------------- blocks


def _cache(block: Fields) -> CacheHint | None:
    hint = block.child("cache_control")
    return None if hint is None else CacheHint(hint.string("ttl"))


def _text(block: Fields) -> list[Part]:
    text = block.string("text")
    if not text:
        return []
    citations = [citation_of(location.object) for location in block.children("citations")]
    return [Text(text, citations, cache=_cache(block))]


def _image(block: Fields) -> list[Part]:
    source = _source(block)
    match source.required("type"):
        case "base64":
            media = Media("image", source.string("media_type"), data=source.required("data"))
        case "url":
            media = Media("image", url=source.required("url"))
        case "file":
            media = Media("image", file_id=source.required("file_id"), origin=FORMAT)
        case other:
            raise _unknown_source(source, other)
    media.cache = _cache(block)
    return [media]


def _document(block: Fields) -> list[Part]:
    source = _source(block)
    parts: list[Part] = []
    match source.required("type"):
        case "base64":
            parts = [Media("document", source.string("media_type"), data=source.required("data"))]
        case "url":
            parts = [Media("document", url=source.required("url"))]
        case "file":
            parts = [Media("document", file_id=source.required("file_id"), origin=FORMAT)]
        case "text":
            mime = source.string("media_type") or "text/plain"
            parts = [Media("document", mime, text=source.string("data") or "")]
        case "content":
            parts = _documents_content(source)
        case other:
            raise _unknown_source(source, other)
    title, hint = block.string("title"), _cache(block)
    for part in parts:
        if isinstance(part, Media) and part.kind == "document":
            part.name, part.cache = title, hint
    context = block.string("context")
    return [Text(context), *parts] if context else parts


def _documents_content(source: Fields) -> list[Part]:
    """A document made of blocks: one text where it holds nothing else."""
    parts = _content(source, "content")
    texts = [part.text for part in parts if isinstance(part, Text)]
    if len(texts) < len(parts):
        return parts
    return [Media("document", "text/plain", text="\n\n".join(texts))]


def _source(block: Fields) -> Fields:
    source = block.child("source")
    if source is None:
        raise wrong_type(block.place("source"), "an object", None)
    return source


def _unknown_source(source: Fields, found: str) -> ClientFault:
    place = source.place("type")
    return ClientFault(f"{place} {found[:40]!r} is not a known type of source", param=place)


def _tool_use(block: Fields) -> list[Part]:
    value: Any = block.object.get("input")
    if value is not None and not isinstance(value, dict):
        raise wrong_type(block.place("input"), "an object", value)
    arguments = dumps_text(cast("Json", value)) if value else "{}"
    return [ToolCall(block.string("id") or "", block.required("name"), arguments, cache=_cache(block))]


def _tool_result(block: Fields) -> list[Part]:
    parts = [part for part in _content(block, "content") if isinstance(part, Text | Media | Opaque)]
    failed = bool(block.boolean("is_error"))
    return [ToolResult(block.required("tool_use_id"), parts, is_error=failed, cache=_cache(block))]


def _tool_reference(block: Fields) -> list[Part]:
    return [Text(f"The tool {block.required('tool_name')} is available now.")]


def _search_result(block: Fields) -> list[Part]:
    texts = [part.text for part in _content(block, "content") if isinstance(part, Text)]
    head = [line for line in (block.string("title"), block.string("source")) if line]
    return [Text("\n".join([*head, *texts]), cache=_cache(block))]


def _thinking(block: Fields) -> list[Part]:
    return [thinking_part(block.object)]


def _redacted_thinking(block: Fields) -> list[Part]:
    block.required("data")
    return [redacted_part(block.object)]


def _server_tool_use(block: Fields) -> list[Part]:
    return [server_call(block.object, block.json("input") or {})]


def _other(block: Fields) -> list[Part]:
    """A result of the vendor's own tools, or a block that is none of the typed ones."""
    if text_of(block.object, "type").endswith("_tool_result"):
        return [server_result(block.object)]
    return [Opaque(FORMAT, block.object)]


_BLOCKS: dict[str, Callable[[Fields], list[Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "tool_reference": _tool_reference,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
    "server_tool_use": _server_tool_use,
    "mcp_tool_use": _server_tool_use,
}


# ---------------------------------------------------------------- tools and settings


def _tool(entry: Fields) -> Tool | ServerTool | None:
    kind = entry.string("type")
    if kind is not None and kind != "custom":
        return _server_tool(entry, kind)
    name = entry.required("name")
    if name == _PLACEHOLDER_TOOL:
        return None
    return Tool(
        name,
        entry.string("description"),
        entry.json("input_schema"),
        entry.boolean("strict"),
        deferred=bool(entry.boolean("defer_loading")),
        cache=_cache(entry),
    )


def _server_tool(entry: Fields, kind: str) -> ServerTool:
    """A tool that Anthropic defines.

    Some of them (`bash`, `computer` …) the client runs, but their definition lies in the model: as a function
    of another model they would have no description and no schema.
    """
    location = entry.json("user_location")
    if location is not None:
        location = {key: value for key, value in location.items() if key != "type" and value is not None}
    return ServerTool(
        server_tool_name(kind),
        FORMAT,
        entry.object,
        allowed_domains=entry.strings("allowed_domains") or None,
        blocked_domains=entry.strings("blocked_domains") or None,
        location=location,
        max_uses=entry.integer("max_uses"),
    )


def _tool_choice(choice: Fields | None) -> tuple[ToolChoice | None, bool | None]:
    if choice is None:
        return None, None
    alone = choice.boolean("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    match choice.required("type"):
        case "auto":
            return ToolChoice("auto"), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "none":
            return ToolChoice("none"), parallel
        case "tool":
            return ToolChoice("named", [choice.required("name")]), parallel
        case other:
            place = choice.place("type")
            raise ClientFault(f"{place} must be auto, any, tool or none, not {other[:40]!r}", param=place)


def _reasoning(thinking: Fields | None, output_config: Fields | None) -> ReasoningIntent | None:
    effort: Effort | None = None
    said = output_config.string("effort") if output_config else None
    for level in reasoning.EFFORTS:
        if level == said:
            effort = level
    if thinking is None:
        return None if effort is None else ReasoningIntent(effort)
    # Clients that think get the thoughts unless they say otherwise.
    visible = thinking.string("display") != "omitted"
    match thinking.required("type"):
        case "disabled":
            return ReasoningIntent("none")
        case "enabled":
            budget = thinking.integer("budget_tokens")
            return ReasoningIntent(effort, budget, adaptive=budget is None, visible=visible)
        case "adaptive" | "auto" | "between_tools":
            return ReasoningIntent(effort, adaptive=True, visible=visible)
        case other:
            place = thinking.place("type")
            raise ClientFault(f"{place} must be enabled, adaptive or disabled, not {other[:40]!r}", param=place)


def _output(format: Fields | None) -> OutputFormat | None:
    if format is None or format.required("type") != "json_schema":
        return None
    return OutputFormat("json_schema", schema=format.json("schema"))

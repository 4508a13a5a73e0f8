"""The system prompt and the messages of a Messages body → the system prompt and the turns of a `Request`."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from cliproxy.wire.anthropic.vocabulary import (
    FORMAT,
    citation_of,
    redacted_part,
    server_call,
    server_result,
    thinking_part,
)
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fields import Fields
from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import (
    CacheHint,
    Format,
    Media,
    Opaque,
    Part,
    Reasoning,
    Role,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}

_BILLING_LINE = "x-anthropic-billing-header"
"""Begins Claude Code's note to Anthropic's billing. It changes with every request, so it would spoil any other
vendor's prompt cache; a request that stays Anthropic's is passed on as bytes and keeps it."""


def decode_conversation(body: Fields) -> tuple[list[Text | Media | Opaque], list[Turn]]:
    """The instructions before the first turn, and the turns."""
    system = [part for part in _content(body, "system") if isinstance(part, Text | Media | Opaque)]
    system = [part for part in system if not (isinstance(part, Text) and part.text.startswith(_BILLING_LINE))]
    turns = [_turn(message) for message in body.children("messages")]
    while turns and turns[0].role == "system":
        system += [part for part in turns.pop(0).parts if isinstance(part, Text | Media | Opaque)]
    if not turns:
        raise ClientFault("messages must hold at least one message of a user", param="messages")
    return system, turns


def _turn(message: Fields) -> Turn:
    role = _ROLES.get(message.required("role"))
    if role is None:
        raise message.invalid("role", _ROLES)
    if message.object.get("content") is None:
        raise message.missing("content")
    parts = _content(message, "content")
    hint = cache_hint(message)
    if hint is not None and parts:
        last = parts[-1]
        if isinstance(last, Text | Media | ToolCall | ToolResult) and last.cache is None:
            last.cache = hint
    return Turn(role, _reunited(parts) if role == "assistant" and len(parts) > 1 else parts)


def _content(holder: Fields, key: str) -> list[Part]:
    """The parts of a string or a list of blocks; empty texts are left out."""
    content = holder.text_or_items(key)
    if isinstance(content, str):
        return [Text(content)] if content else []
    parts: list[Part] = []
    for index, entry in enumerate(content):
        block = Fields(entry, holder, key, index)
        parts += _PARTS.get(block.required("type"), _other)(block)
    return parts


def cache_hint(holder: Fields) -> CacheHint | None:
    hint = holder.child("cache_control")
    return None if hint is None else CacheHint(hint.string("ttl"))


def _reunited(parts: list[Part]) -> list[Part]:
    """The parts with what `AnswerEncoder` had to set apart put back in its place.

    A tool call has no slot for its origin's signature, which therefore travels as redacted thinking that names the
    call; and only the result of a foreign search shows that the call to it was foreign as well.
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


# ---------------------------------------------------------------- parts


def _text(block: Fields) -> list[Part]:
    text = block.string("text")
    if not text:
        return []
    citations = [citation_of(location.object) for location in block.children("citations")]
    return [Text(text, citations, cache=cache_hint(block))]


def _image(block: Fields) -> list[Part]:
    source = block.required_child("source")
    match source.required("type"):
        case "base64":
            media = Media("image", source.string("media_type"), data=source.required("data"))
        case "url":
            media = Media("image", url=source.required("url"))
        case "file":
            media = Media("image", file_id=source.required("file_id"), origin=FORMAT)
        case _:
            raise source.invalid("type", ("base64", "url", "file"))
    media.cache = cache_hint(block)
    return [media]


def _document(block: Fields) -> list[Part]:
    source = block.required_child("source")
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
        case _:
            raise source.invalid("type", ("base64", "url", "file", "text", "content"))
    title, hint = block.string("title"), cache_hint(block)
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


def _search_result(block: Fields) -> list[Part]:
    texts = [part.text for part in _content(block, "content") if isinstance(part, Text)]
    head = [line for line in (block.string("title"), block.string("source")) if line]
    return [Text("\n".join([*head, *texts]), cache=cache_hint(block))]


def _tool_reference(block: Fields) -> list[Part]:
    return [Text(f"The tool {block.required('tool_name')} is available now.")]


def _other(block: Fields) -> list[Part]:
    """A result of the vendor's own tools, or a block that is none of the typed ones."""
    if block.required("type").endswith("_tool_result"):
        return [server_result(block.object)]
    return [Opaque(FORMAT, block.object)]


# ---------------------------------------------------------------- reasoning, calls and results


def _thinking(block: Fields) -> list[Part]:
    return [thinking_part(block.object)]


def _redacted_thinking(block: Fields) -> list[Part]:
    block.required("data")
    return [redacted_part(block.object)]


def _tool_call(block: Fields) -> list[Part]:
    input: Any = block.json("input")
    arguments = dumps_text(input) if input else "{}"
    return [ToolCall(block.string("id") or "", block.required("name"), arguments, cache=cache_hint(block))]


def _tool_result(block: Fields) -> list[Part]:
    parts = [part for part in _content(block, "content") if isinstance(part, Text | Media | Opaque)]
    failed = bool(block.boolean("is_error"))
    return [ToolResult(block.required("tool_use_id"), parts, is_error=failed, cache=cache_hint(block))]


def _server_call(block: Fields) -> list[Part]:
    return [server_call(block.object, block.json("input") or {})]


_PARTS: dict[str, Callable[[Fields], list[Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _tool_reference,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
    "tool_use": _tool_call,
    "tool_result": _tool_result,
    "server_tool_use": _server_call,
    "mcp_tool_use": _server_call,
}

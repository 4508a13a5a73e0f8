"""Writes the turns of a conversation as the Messages API takes them: alternating, results first, none empty.

What comes in has been through `history.repair`; the rules here are those of this API alone.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Any

from cliproxy.wire import media, names
from cliproxy.wire.anthropic.vocabulary import FORMAT, ID_LIMIT, LEGAL, own_citation
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.json import loads
from cliproxy.wire.model import (
    CacheHint,
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
THINKING_TYPES = ("thinking", "redacted_thinking")

_FIRST_WORD = "."
"""The API wants a user to speak first, and not to be silent."""


class MessageWriter:
    """Writes one request's messages; `dropped` gets a line for each kind of thing that cannot be said."""

    def __init__(self, tool_names: names.ToolNames, dropped: list[str]) -> None:
        self._names = tool_names
        self._dropped = dropped
        self._messages: list[Json] = []
        self._pictures: list[Json] = []
        """Media of assistant turns, which only a user can send: they wait for the next user turn."""
        self._writers: dict[type[Any], Callable[[Any], Json | None]] = {
            Text: self._text,
            Refusal: self._refusal,
            Media: media_block,
            ToolCall: self._tool_call,
            ToolResult: self._tool_result,
            Reasoning: self._reasoning,
            ServerCall: self._server_part,
            ServerResult: self._server_part,
            Opaque: self._opaque,
        }

    def write(self, lead: list[Media], turns: list[Turn]) -> list[Json]:
        """The messages. `lead`: media of the instructions, which only a user can send."""
        self._pictures = [media_block(part) for part in lead]
        for turn in turns:
            if turn.role == "assistant":
                self._assistant(turn.parts)
            elif turn.role == "user":
                self._user(self._blocks(turn.parts))
            else:
                self._user(_reminders(turn.parts))
        if self._pictures:
            self._user([])
        return self._legal()

    def _assistant(self, parts: list[Part]) -> None:
        blocks = self._blocks(part for part in parts if type(part) is not Media)
        while blocks and blocks[-1]["type"] in THINKING_TYPES:
            # No message may end in thinking; without what followed it, it is worth nothing.
            blocks.pop()
        self._append("assistant", blocks)
        self._pictures += [media_block(part) for part in parts if type(part) is Media]

    def _user(self, blocks: list[Json]) -> None:
        self._append("user", [*self._pictures, *blocks])
        self._pictures = []

    def _append(self, role: str, blocks: list[Json]) -> None:
        if not blocks:
            return
        if self._messages and self._messages[-1]["role"] == role:
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": role, "content": blocks})

    def _blocks(self, parts: Iterable[Part]) -> list[Json]:
        blocks: list[Json] = []
        for part in parts:
            block = self._writers[type(part)](part)
            if block is not None:
                blocks.append(block)
        return blocks

    def _legal(self) -> list[Json]:
        messages = self._messages
        for message in messages:
            if message["role"] == "user":
                message["content"].sort(key=_after_results)
        if messages and messages[-1]["role"] == "assistant":
            _trim_end(messages)
        if not messages or messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": _FIRST_WORD}]})
        return messages

    # ------------------------------------------------------------ parts

    def _text(self, part: Text) -> Json | None:
        if not part.text:
            return None
        block: Json = {"type": "text", "text": part.text}
        citations = [raw for citation in part.citations if (raw := own_citation(citation)) is not None]
        if citations:
            block["citations"] = citations
        return with_cache(block, part.cache)

    def _refusal(self, part: Refusal) -> Json | None:
        return {"type": "text", "text": part.text} if part.text else None

    def _tool_call(self, part: ToolCall) -> Json:
        block: Json = {
            "type": "tool_use",
            "id": names.call_id(part.id, ID_LIMIT, LEGAL, "toolu_"),
            "name": self._names.send(part.name),
            "input": {"input": part.arguments} if part.kind == "custom" else self._arguments(part),
        }
        return with_cache(block, part.cache)

    def _arguments(self, part: ToolCall) -> Any:
        try:
            value = loads(part.arguments or "{}")
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value  # pyright: ignore[reportUnknownVariableType]
        self._drop(f"arguments of {part.name}", "not a JSON object")
        return {}

    def _tool_result(self, part: ToolResult) -> Json:
        block: Json = {
            "type": "tool_result",
            "tool_use_id": names.call_id(part.id, ID_LIMIT, LEGAL, "toolu_"),
        }
        content = self._blocks(part.parts)
        for inner in content:
            # The hint of the whole result is the one that counts among the four that are allowed.
            inner.pop("cache_control", None)
        if len(content) == 1 and content[0]["type"] == "text":
            block["content"] = content[0]["text"]
        elif content:
            block["content"] = content
        if part.is_error:
            block["is_error"] = True
        return with_cache(block, part.cache)

    def _reasoning(self, part: Reasoning) -> Json | None:
        carrier = part.carrier
        if carrier is None or carrier.origin != FORMAT:
            self._drop("reasoning", "only signed thinking of its own can be returned to Anthropic")
            return None
        if carrier.kind == "signature":
            return {"type": "thinking", "thinking": part.text, "signature": carrier.data}
        return {"type": "redacted_thinking", "data": carrier.data}

    def _server_part(self, part: ServerCall | ServerResult) -> Json | None:
        if part.origin == FORMAT and part.raw is not None:
            return dict(part.raw)
        self._drop(part.name, f"a tool that ran at another vendor ({part.origin})")
        return None

    def _opaque(self, part: Opaque) -> Json | None:
        if part.origin == FORMAT:
            return dict(part.raw)
        self._drop(str(part.raw.get("type") or "content"), f"only {part.origin} understands it")
        return None

    def _drop(self, field: str, reason: str) -> None:
        line = f"{field}: {reason}"
        if line not in self._dropped:
            self._dropped.append(line)


def _after_results(block: Json) -> bool:
    return block["type"] != "tool_result"


def _reminders(parts: list[Part]) -> list[Json]:
    """Instructions in mid-conversation: not every model takes the role `system` there, all know this tag."""
    blocks: list[Json] = []
    for part in parts:
        if isinstance(part, Text) and part.text:
            text = f"<system-reminder>\n{part.text}\n</system-reminder>"
            blocks.append(with_cache({"type": "text", "text": text}, part.cache))
        elif isinstance(part, Media):
            blocks.append(media_block(part))
    return blocks


def _trim_end(messages: list[Json]) -> None:
    """The words that the model shall go on from must not end in whitespace."""
    content: list[Json] = messages[-1]["content"]
    while content:
        last = content[-1]
        if last["type"] == "text":
            last["text"] = last["text"].rstrip()
        if last.get("text") or last["type"] not in ("text", *THINKING_TYPES):
            return
        content.pop()
    messages.pop()


def with_cache(block: Json, hint: CacheHint | None) -> Json:
    """`block` itself, with the mark that `hint` asks for."""
    if hint is not None:
        mark = block["cache_control"] = {"type": "ephemeral"}
        if hint.ttl is not None:
            mark["ttl"] = hint.ttl
    return block


# ---------------------------------------------------------------- media


def media_block(part: Media) -> Json:
    """An image or document block. Raises UnsupportedContent for what this API has no block for."""
    if part.kind == "image":
        return with_cache({"type": "image", "source": _image_source(part)}, part.cache)
    if part.kind == "document":
        block: Json = {"type": "document", "source": _document_source(part)}
        if part.name:
            block["title"] = part.name
        return with_cache(block, part.cache)
    raise UnsupportedContent(part.kind, "Claude")


def _image_source(part: Media) -> Json:
    if part.data is None:
        return _remote_source(part)
    mime = (part.mime or media.mime_of(part.name or "") or "image/png").lower()
    mime = "image/jpeg" if mime == "image/jpg" else mime
    if mime not in _IMAGE_TYPES:
        raise UnsupportedContent(f"an image of the type {mime}", "Claude")
    return {"type": "base64", "media_type": mime, "data": part.data}


def _document_source(part: Media) -> Json:
    if part.text is not None:
        return _plain_text(part.text)
    if part.data is None:
        return _remote_source(part)
    mime = (part.mime or media.mime_of(part.name or "") or "application/pdf").lower().partition(";")[0]
    if mime == "application/pdf":
        return {"type": "base64", "media_type": mime, "data": part.data}
    if mime.startswith("text/") or mime in ("application/json", "application/xml"):
        try:
            return _plain_text(base64.b64decode(part.data).decode())
        except (binascii.Error, ValueError):
            pass
    raise UnsupportedContent(f"a document of the type {mime}", "Claude")


def _plain_text(text: str) -> Json:
    return {"type": "text", "media_type": "text/plain", "data": text}


def _remote_source(part: Media) -> Json:
    if part.origin not in (None, FORMAT):
        raise UnsupportedContent(f"a file that was uploaded to another vendor ({part.origin})", "Claude")
    if part.url is not None and part.url.startswith(("https://", "http://")):
        return {"type": "url", "url": part.url}
    if part.file_id is not None and part.origin == FORMAT:
        return {"type": "file", "file_id": part.file_id}
    raise UnsupportedContent(f"{part.kind} content that is neither data nor a web address", "Claude")

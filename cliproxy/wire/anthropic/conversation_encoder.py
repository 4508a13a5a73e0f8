"""The turns of a `Request` → Messages messages: alternating, results first, none empty."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from cliproxy.wire import media, stand_ins
from cliproxy.wire.anthropic.vocabulary import FORMAT, ID_LIMIT, NAME_CHARS, THINKING_TYPES, own_citation
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.json import loads_object
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
)
from cliproxy.wire.names import call_id

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

_FIRST_WORD = "."
"""The API wants a user to speak first, and not to be silent."""


class ConversationEncoder:
    """Writes one request's conversation.

    Raises UnsupportedContent for content whose loss would change the meaning.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._messages: list[Json] = []
        self._waiting: list[Json] = []
        """Media of the instructions and of assistant turns: only a user can send them, in the next user turn."""
        self._writers: dict[type[Any], Callable[[Any], Json | None]] = {
            Text: self._text,
            Refusal: self._refusal,
            Media: self._media,
            Reasoning: self._reasoning,
            ToolCall: self._tool_call,
            ToolResult: self._tool_result,
            ServerCall: self._server_part,
            ServerResult: self._server_part,
            Opaque: self._opaque,
        }

    def messages(self) -> list[Json]:
        request = self._encoding.request
        self._waiting = self._blocks([part for part in request.system if type(part) is Media])
        for turn in request.turns:
            match turn.role:
                case "user":
                    self._user(self._blocks(turn.parts))
                case "assistant":
                    self._assistant(turn.parts)
                case "system":
                    self._user(self._reminders(turn.parts))
        if self._waiting:
            self._user([])
        return self._legal()

    # ------------------------------------------------------------ turns

    def _user(self, blocks: list[Json]) -> None:
        self._append("user", [*self._waiting, *blocks] if self._waiting else blocks)
        self._waiting = []

    def _assistant(self, parts: Sequence[Part]) -> None:
        media = [part for part in parts if type(part) is Media]
        blocks = self._blocks([part for part in parts if type(part) is not Media] if media else parts)
        while blocks and blocks[-1]["type"] in THINKING_TYPES:
            # No message may end in thinking; without what followed it, it is worth nothing.
            blocks.pop()
        self._append("assistant", blocks)
        self._waiting += self._blocks(media)

    def _reminders(self, parts: Sequence[Part]) -> list[Json]:
        """Instructions in mid-conversation: not every model takes the role `system` there, all know this tag."""
        blocks: list[Json] = []
        for part in parts:
            if isinstance(part, Text) and part.text:
                blocks.append(marked(_text_block(stand_ins.system_reminder(part.text)), part.cache))
            elif isinstance(part, Media):
                blocks.append(self._media(part))
        return blocks

    def _append(self, role: str, blocks: list[Json]) -> None:
        if not blocks:
            return
        if self._messages and self._messages[-1]["role"] == role:
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": role, "content": blocks})

    def _legal(self) -> list[Json]:
        messages = self._messages
        for message in messages:
            if message["role"] == "user":
                message["content"].sort(key=_after_results)
        if messages and messages[-1]["role"] == "assistant":
            _trim_end(messages)
        if not messages or messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [_text_block(_FIRST_WORD)]})
        return messages

    def _blocks(self, parts: Sequence[Part]) -> list[Json]:
        written = [self._writers[type(part)](part) for part in parts]
        return [block for block in written if block is not None]

    # ------------------------------------------------------------ parts

    def _text(self, part: Text) -> Json | None:
        if not part.text:
            return None
        block = _text_block(part.text)
        if part.citations:
            citations = [raw for citation in part.citations if (raw := own_citation(citation)) is not None]
            if citations:
                block["citations"] = citations
        return marked(block, part.cache)

    def _refusal(self, part: Refusal) -> Json | None:
        return _text_block(part.text) if part.text else None

    def _media(self, part: Media) -> Json:
        self._encoding.check_media(part)
        match part.kind:
            case "image":
                return marked({"type": "image", "source": self._image_source(part)}, part.cache)
            case "document":
                block: Json = {"type": "document", "source": self._document_source(part)}
                if part.name:
                    block["title"] = part.name
                return marked(block, part.cache)
            case _:
                raise self._encoding.unsupported(part.kind)

    def _image_source(self, part: Media) -> Json:
        if part.data is None:
            return self._remote_source(part)
        mime = (part.mime or media.mime_of(part.name or "") or "image/png").lower()
        mime = "image/jpeg" if mime == "image/jpg" else mime
        if mime not in _IMAGE_TYPES:
            raise self._encoding.unsupported(f"an image of the type {mime}")
        return {"type": "base64", "media_type": mime, "data": part.data}

    def _document_source(self, part: Media) -> Json:
        if part.text is not None:
            return _plain_text(part.text)
        if part.data is None:
            return self._remote_source(part)
        mime = (part.mime or media.mime_of(part.name or "") or "application/pdf").lower().partition(";")[0]
        if mime == "application/pdf":
            return {"type": "base64", "media_type": mime, "data": part.data}
        if mime.startswith("text/") or mime in ("application/json", "application/xml"):
            try:
                return _plain_text(base64.b64decode(part.data).decode())
            except (binascii.Error, ValueError):
                pass
        raise self._encoding.unsupported(f"a document of the type {mime}")

    def _remote_source(self, part: Media) -> Json:
        if part.url is not None and part.url.startswith(("https://", "http://")):
            return {"type": "url", "url": part.url}
        if part.file_id is not None:
            return {"type": "file", "file_id": part.file_id}
        raise self._encoding.unsupported(f"{part.kind} content that is neither data nor a web address")

    def _server_part(self, part: ServerCall | ServerResult) -> Json | None:
        if part.origin == FORMAT and part.raw is not None:
            return dict(part.raw)
        self._encoding.drop_foreign(part)
        return None

    def _opaque(self, part: Opaque) -> Json | None:
        if part.origin == FORMAT:
            return dict(part.raw)
        self._encoding.drop_foreign(part)
        return None

    # ------------------------------------------------------------ reasoning, calls and results

    def _reasoning(self, part: Reasoning) -> Json | None:
        carrier = part.carrier
        if carrier is None or carrier.origin != FORMAT:
            self._encoding.drop("reasoning", "only signed thinking of its own can be returned to Anthropic")
            return None
        if carrier.kind == "signature":
            return {"type": "thinking", "thinking": part.text, "signature": carrier.data}
        return {"type": "redacted_thinking", "data": carrier.data}

    def _tool_call(self, call: ToolCall) -> Json:
        name = self._encoding.names.send(call.name)
        block: Json = {"type": "tool_use", "id": _call_id(call.id), "name": name, "input": self._input(call)}
        return marked(block, call.cache)

    def _input(self, call: ToolCall) -> Json:
        if call.kind == "custom":
            return stand_ins.custom_tool_arguments(call.arguments)
        try:
            return loads_object(call.arguments or "{}", "the arguments")
        except ValueError:
            self._encoding.drop(f"arguments of {call.name}", "not a JSON object")
            return {}

    def _tool_result(self, result: ToolResult) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": _call_id(result.id)}
        content = self._blocks(result.parts)
        for inner in content:
            # The hint of the whole result is the one that counts among the four that are allowed.
            inner.pop("cache_control", None)
        if len(content) == 1 and content[0]["type"] == "text":
            block["content"] = content[0]["text"]
        elif content:
            block["content"] = content
        if result.is_error:
            block["is_error"] = True
        return marked(block, result.cache)


def marked(block: Json, cache: CacheHint | None) -> Json:
    """`block` itself, with the mark that `cache` asks for."""
    if cache is not None:
        block["cache_control"] = {"type": "ephemeral"} if cache.ttl is None else {"type": "ephemeral", "ttl": cache.ttl}
    return block


def _after_results(block: Json) -> bool:
    return block["type"] != "tool_result"


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


def _text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def _plain_text(text: str) -> Json:
    return {"type": "text", "media_type": "text/plain", "data": text}


def _call_id(id: str) -> str:
    return call_id(id, ID_LIMIT, NAME_CHARS, "toolu_")

"""The system prompt and the turns of a `Request` → Chat Completions messages."""

import base64
import binascii
import mimetypes
from collections.abc import Callable, Sequence
from typing import Any

from cliproxy.wire import media, stand_ins
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.json import dumps_text
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
from cliproxy.wire.openai_chat.vocabulary import FORMAT, REASONING_FIELDS, carried_details

_ID_LIMIT = 40
"""OpenAI refuses longer ids of calls here, though its Responses API makes them."""
_ID_CHARS = "!-~"

_DEFAULT_REASONING_FIELD = "reasoning_content"

_ATTACHED = "The result is attached to the next user message."
"""Stands in a tool message, which can hold only text, for media alone."""


class ConversationEncoder:
    """Writes one request's conversation.

    Raises UnsupportedContent for content whose loss would change the meaning.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._messages: list[Json] = []
        self._writers: dict[type[Any], Callable[[Any], list[Json]]] = {
            Text: self._text,
            Refusal: self._refusal,
            Media: self._media,
            ServerCall: self._server_part,
            ServerResult: self._server_part,
            Opaque: self._opaque,
            ToolCall: self._misplaced,
            ToolResult: self._misplaced,
            Reasoning: self._misplaced,
        }

    def messages(self) -> list[Json]:
        request = self._encoding.request
        self._system(request.system)
        for turn in request.turns:
            match turn.role:
                case "user":
                    self._user(turn.parts)
                case "assistant":
                    self._assistant(turn.parts)
                case "system":
                    self._system(turn.parts)
        return self._messages

    # ------------------------------------------------------------ turns

    def _system(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, Media) and part.text is None:
                raise self._encoding.unsupported(f"{part.kind} content in the system prompt")
        content = self._contents(parts)
        if content:
            self._messages.append({"role": "system", "content": _joined(content)})

    def _user(self, parts: list[Part]) -> None:
        """Tool messages right after their calls, then what was attached to them, then the user's words."""
        results = [part for part in parts if type(part) is ToolResult]
        content = [entry for result in results for entry in self._tool_result(result)]
        content += self._contents([part for part in parts if type(part) is not ToolResult] if results else parts)
        if content or not results:
            self._messages.append({"role": "user", "content": _joined(content)})

    def _assistant(self, parts: list[Part]) -> None:
        said: list[Part] = []
        calls: list[Json] = []
        reasoning: list[Reasoning] = []
        for part in parts:
            if type(part) is ToolCall:
                calls.append(self._tool_call(part))
            elif type(part) is Reasoning:
                reasoning.append(part)
            else:
                said.append(part)
        content = self._contents(said)
        message: Json = {"role": "assistant", "content": _joined(content) if content or not calls else None}
        if reasoning:
            self._reason(message, reasoning, called=bool(calls))
        if calls:
            message["tool_calls"] = calls
        if content or calls:
            self._messages.append(message)
        elif reasoning:
            self._encoding.drop("assistant turn", "it holds nothing but reasoning")

    def _contents(self, parts: Sequence[Part]) -> list[Json]:
        return [entry for part in parts for entry in self._writers[type(part)](part)]

    # ------------------------------------------------------------ parts

    def _text(self, part: Text) -> list[Json]:
        if part.citations:
            self._encoding.drop("citations", "no place for them in a message that is sent")
        return [self._marked(_text_entry(part.text), part.cache)] if part.text else []

    def _refusal(self, part: Refusal) -> list[Json]:
        return [{"type": "refusal", "refusal": part.text} if self._encoding.own else _text_entry(part.text)]

    def _media(self, part: Media) -> list[Json]:
        self._encoding.check_media(part)
        return [self._marked(self._media_entry(part), part.cache)]

    def _media_entry(self, part: Media) -> Json:
        if part.text is not None:
            return _text_entry(stand_ins.titled(part.name, part.text))
        match part.kind:
            case "document":
                return self._document(part)
            case "audio":
                return self._audio(part)
            case "video":
                return self._video(part)
            case "image":
                if part.file_id is not None:
                    raise self._encoding.unsupported(f"the uploaded file {part.file_id}")
                image: Json = {"url": _url(part)}
                if part.detail is not None:
                    image["detail"] = part.detail
                return {"type": "image_url", "image_url": image}

    def _document(self, part: Media) -> Json:
        if part.file_id is not None:
            name = {} if part.name is None else {"filename": part.name}
            return {"type": "file", "file": {"file_id": part.file_id, **name}}
        if part.data is None:
            raise self._encoding.unsupported("a document behind a URL")
        mime = part.mime or "application/pdf"
        text = _decoded(part.data) if mime.startswith("text/") else None
        if text is not None:
            return _text_entry(stand_ins.titled(part.name, text))
        name = part.name or f"document{mimetypes.guess_extension(mime) or ''}"
        return {"type": "file", "file": {"filename": name, "file_data": _url(part)}}

    def _audio(self, part: Media) -> Json:
        if part.data is not None:
            audio = {"data": part.data, "format": media.audio_format(part.mime)}
            return {"type": "input_audio", "input_audio": audio}
        if self._encoding.own:
            return {"type": "audio_url", "audio_url": {"url": _url(part)}}
        raise self._encoding.unsupported("audio behind a URL")

    def _video(self, part: Media) -> Json:
        """Qwen, GLM and vLLM take films, OpenAI does not: only where somebody said that this model does."""
        if self._encoding.own or self._encoding.facts.input_modalities:
            return {"type": "video_url", "video_url": {"url": _url(part)}}
        raise self._encoding.unsupported("video")

    def _server_part(self, part: ServerCall | ServerResult) -> list[Json]:
        self._encoding.drop_foreign(part)
        return []

    def _opaque(self, part: Opaque) -> list[Json]:
        if part.origin == FORMAT:
            return [part.raw]
        self._encoding.drop_foreign(part)
        return []

    def _misplaced(self, part: ToolCall | ToolResult | Reasoning) -> list[Json]:
        self._encoding.drop(type(part).__name__, "not possible in a turn of this role")
        return []

    def _marked(self, entry: Json, cache: CacheHint | None) -> Json:
        return marked(self._encoding, entry, cache)

    # ------------------------------------------------------------ reasoning, calls and results

    def _reason(self, message: Json, reasoning: list[Reasoning], *, called: bool) -> None:
        """Give a chat server its own reasoning back, in the field it came in.

        Another vendor's goes along only with tool calls, because DeepSeek and Kimi refuse a call without its
        reasoning; anywhere else it would only tempt a strict server to refuse an unknown field.
        """
        texts: dict[str, list[str]] = {}
        details: list[Json] = []
        for part in reasoning:
            carrier = part.carrier
            if carrier is not None and carrier.origin == FORMAT:
                if carrier.data in REASONING_FIELDS:
                    texts.setdefault(carrier.data, []).append(part.text)
                else:
                    details += carried_details(carrier)
            elif called and part.text:
                texts.setdefault(_DEFAULT_REASONING_FIELD, []).append(part.text)
            else:
                self._encoding.drop("reasoning", "made by another vendor")
        for field, pieces in texts.items():
            message[field] = "\n\n".join(pieces)
        if details:
            message["reasoning_details"] = details

    def _tool_call(self, call: ToolCall) -> Json:
        encoding = self._encoding
        name = encoding.names.send(call.name)
        entry: Json = {"id": _call_id(call.id)}
        if call.kind == "custom" and encoding.own:
            entry |= {"type": "custom", "custom": {"name": name, "input": call.arguments}}
        else:
            arguments = call.arguments or "{}"
            if call.kind == "custom":
                arguments = dumps_text(stand_ins.custom_tool_arguments(call.arguments))
            entry |= {"type": "function", "function": {"name": name, "arguments": arguments}}
        carrier = call.carrier
        # Google's compatibility layer calls a signature its own that a Gemini upstream gave to a chat client.
        if carrier is not None and (carrier.origin == FORMAT or (carrier.origin == "gemini" and encoding.own)):
            entry["extra_content"] = {"google": {"thought_signature": carrier.data}}
        elif carrier is not None:
            encoding.drop("signature of a tool call", "made by another vendor")
        return self._marked(entry, call.cache)

    def _tool_result(self, result: ToolResult) -> list[Json]:
        """Append the tool message; return its media, which belong to the user message behind it."""
        encoding = self._encoding
        content: list[Json] = []
        attached: list[Json] = []
        for part in result.parts:
            if type(part) is not Media or part.text is not None:
                content += self._writers[type(part)](part)
            elif encoding.takes(part.kind):
                attached += self._media(part)
            else:
                content.append(_text_entry(f"[{part.kind} left out: {encoding.facts.name} takes none]"))
                encoding.drop(f"{part.kind} in a tool result", f"{encoding.facts.name} takes none")
        if attached and not content:
            content.append(_text_entry(_ATTACHED))
        if result.is_error:
            encoding.drop("is_error", "a tool message has no place for it")
        message = {"role": "tool", "tool_call_id": _call_id(result.id), "content": _joined(content)}
        self._messages.append(self._marked(message, result.cache))
        return attached


def marked(encoding: Encoding, entry: Json, cache: CacheHint | None) -> Json:
    """`entry` itself, with the mark that `cache` asks for."""
    if cache is not None and encoding.own:
        entry["cache_control"] = {"type": "ephemeral"} if cache.ttl is None else {"type": "ephemeral", "ttl": cache.ttl}
    elif cache is not None:
        encoding.drop("cache_control", "compatible servers cache by themselves, strict ones refuse it")
    return entry


def _joined(entries: list[Json]) -> str | list[Json]:
    """A plain string for a single text, which every server takes; else the list."""
    if not entries:
        return ""
    only = entries[0]
    # A text with a mark beside it stays an object.
    return only["text"] if len(entries) == 1 and len(only) == 2 and "text" in only else entries


def _text_entry(text: str) -> Json:
    return {"type": "text", "text": text}


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _url(part: Media) -> str:
    return media.data_url(part) or part.url or ""


def _call_id(id: str) -> str:
    return call_id(id, _ID_LIMIT, _ID_CHARS)

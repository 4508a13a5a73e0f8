"""The system prompt and the turns of a `Request` as Chat Completions messages."""

import base64
import binascii
import mimetypes

from cliproxy.wire import media
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import (
    CacheHint,
    Json,
    Media,
    ModelFacts,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.names import ToolNames, call_id
from cliproxy.wire.openai_chat.vocabulary import FORMAT, REASONING_FIELDS, carried_details

_ID_LIMIT = 40
"""OpenAI refuses longer ids of calls here, though its Responses API makes them."""
_ID_CHARS = "\\x21-\\x7e"

_DEFAULT_REASONING_FIELD = "reasoning_content"

_ATTACHED = "The result is attached to the next user message."
"""Stands in a tool message, which can hold only text, for media alone."""


class Messages:
    """Writes one request's conversation.

    names: shared with the tools of the request. dropped: gets a key for each thing that cannot be said.
    Raises UnsupportedContent for content whose loss would change the meaning.
    """

    def __init__(self, request: Request, facts: ModelFacts, names: ToolNames, dropped: dict[str, None]) -> None:
        self._request = request
        self._facts = facts
        self._names = names
        self._dropped = dropped
        # A client of this format wrote its extensions for a server that it knows; others' servers get none.
        self._own = request.origin == FORMAT
        self._messages: list[Json] = []

    def encoded(self) -> list[Json]:
        self._system(self._request.system)
        for turn in self._request.turns:
            match turn.role:
                case "system":
                    self._system(turn.parts)
                case "user":
                    self._user(turn)
                case "assistant":
                    self._assistant(turn)
        return self._messages

    def _system(self, parts: list[Text | Media | Opaque] | list[Part]) -> None:
        content: list[Json] = []
        for part in parts:
            if isinstance(part, Media) and part.text is None:
                raise UnsupportedContent(f"{_article(part)} in the system prompt", FORMAT, param="system")
            content += self._parts(part)
        if content:
            self._messages.append({"role": "system", "content": _content(content)})

    def _user(self, turn: Turn) -> None:
        """Tool messages right after their calls, then what was attached to them, then the user's words."""
        attached: list[Json] = []
        content: list[Json] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                attached += self._tool_message(part)
            else:
                content += self._parts(part)
        content = attached + content
        if content:
            self._messages.append({"role": "user", "content": _content(content)})
        elif not any(isinstance(part, ToolResult) for part in turn.parts):
            self._messages.append({"role": "user", "content": ""})

    def _tool_message(self, result: ToolResult) -> list[Json]:
        """Append the tool message; return its media, which belong to the user message behind it."""
        content: list[Json] = []
        attached: list[Json] = []
        for part in result.parts:
            if isinstance(part, Media) and part.text is None and self._sees(part):
                attached += self._parts(part)
            elif isinstance(part, Media) and part.text is None:
                content.append(_text(f"[{part.kind} left out: {self._facts.name} takes none]"))
                self._drop(f"{part.kind} in a tool result", f"{self._facts.name} takes none")
            else:
                content += self._parts(part)
        if attached and not content:
            content.append(_text(_ATTACHED))
        if result.is_error:
            self._drop("is_error", "a tool message has no place for it")
        message = {"role": "tool", "tool_call_id": self._id(result.id), "content": _content(content)}
        self._messages.append(message)
        self._mark(message, result.cache)
        return attached

    def _assistant(self, turn: Turn) -> None:
        content: list[Json] = []
        calls: list[Json] = []
        reasoning: list[Reasoning] = []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif isinstance(part, Reasoning):
                reasoning.append(part)
            else:
                content += self._parts(part)
        message: Json = {"role": "assistant", "content": _content(content) if content or not calls else None}
        self._reason(message, reasoning, called=bool(calls))
        if calls:
            message["tool_calls"] = calls
        if content or calls:
            self._messages.append(message)
        elif reasoning:
            self._drop("assistant turn", "it holds nothing but reasoning")

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
                self._drop("reasoning", "made by another vendor")
        for field, pieces in texts.items():
            message[field] = "\n\n".join(pieces)
        if details:
            message["reasoning_details"] = details

    def _call(self, call: ToolCall) -> Json:
        name = self._names.send(call.name)
        message: Json = {"id": self._id(call.id)}
        if call.kind == "custom" and self._own:
            message |= {"type": "custom", "custom": {"name": name, "input": call.arguments}}
        else:
            custom = call.kind == "custom"
            arguments = dumps_text({"input": call.arguments}) if custom else call.arguments or "{}"
            message |= {"type": "function", "function": {"name": name, "arguments": arguments}}
        carrier = call.carrier
        # Google's compatibility layer calls a signature its own that a Gemini upstream gave to a chat client.
        if carrier is not None and (carrier.origin == FORMAT or (carrier.origin == "gemini" and self._own)):
            message["extra_content"] = {"google": {"thought_signature": carrier.data}}
        elif carrier is not None:
            self._drop("signature of a tool call", "made by another vendor")
        self._mark(message, call.cache)
        return message

    # ------------------------------------------------------------ parts

    def _parts(self, part: Part) -> list[Json]:
        """A part as content: one entry, or none where it cannot be said."""
        match part:
            case Text(text):
                if part.citations:
                    self._drop("citations", "no place for them in a message that is sent")
                entry = _text(text)
                self._mark(entry, part.cache)
                return [entry] if text else []
            case Media():
                entry = self._media(part)
                self._mark(entry, part.cache)
                return [entry]
            case Refusal(text):
                return [{"type": "refusal", "refusal": text} if self._own else _text(text)]
            case Opaque(origin, raw):
                if origin == FORMAT:
                    return [raw]
                self._drop(str(raw.get("type", "content")), f"only {origin} knows it")
            case ServerCall(_, name, origin) | ServerResult(_, name, origin):
                self._drop(f"{name} in the history", f"ran at {origin}")
            case Reasoning() | ToolCall() | ToolResult():
                self._drop(type(part).__name__, "not possible in a turn of this role")
        return []

    def _media(self, part: Media) -> Json:
        if part.text is not None:
            return _text(_titled(part.name, part.text))
        if part.file_id is not None:
            if part.kind != "document" or not self._own:
                raise UnsupportedContent(f"the file id {part.file_id!r}", FORMAT)
            return {"type": "file", "file": {"file_id": part.file_id, **_named(part)}}
        if part.origin is not None and part.origin != FORMAT:
            raise UnsupportedContent(f"{_article(part)} that only {part.origin} can fetch", FORMAT)
        if not self._sees(part):
            raise UnsupportedContent(_article(part), self._facts.name)
        match part.kind:
            case "document":
                return _document(part)
            case "audio":
                return self._audio(part)
            case "video":
                return self._video(part)
            case "image":
                image: Json = {"url": _url(part)}
                if part.detail is not None:
                    image["detail"] = part.detail
                return {"type": "image_url", "image_url": image}

    def _audio(self, part: Media) -> Json:
        if part.data is None:
            if self._own:
                return {"type": "audio_url", "audio_url": {"url": _url(part)}}
            raise UnsupportedContent("audio behind a URL", FORMAT)
        return {
            "type": "input_audio",
            "input_audio": {"data": part.data, "format": media.audio_format(part.mime)},
        }

    def _video(self, part: Media) -> Json:
        """Qwen, GLM and vLLM take films, OpenAI does not: only where somebody said that this model does."""
        if not self._own and not self._facts.input_modalities:
            raise UnsupportedContent("video", FORMAT)
        return {"type": "video_url", "video_url": {"url": _url(part)}}

    def _sees(self, part: Media) -> bool:
        known = self._facts.input_modalities
        return known is None or part.kind == "document" or part.kind in (word.lower() for word in known)

    def _mark(self, entry: Json, cache: CacheHint | None) -> None:
        if cache is None:
            return
        if self._own:
            entry["cache_control"] = cache_control(cache)
        else:
            self._drop("cache_control", "compatible servers cache by themselves, strict ones refuse it")

    def _id(self, id: str) -> str:
        return call_id(id, _ID_LIMIT, _ID_CHARS)

    def _drop(self, what: str, why: str) -> None:
        self._dropped[f"{what}: {why}"] = None


def cache_control(cache: CacheHint) -> Json:
    return {"type": "ephemeral"} if cache.ttl is None else {"type": "ephemeral", "ttl": cache.ttl}


def _content(parts: list[Json]) -> str | list[Json]:
    """A plain string for a single text, which every server takes; else the list."""
    if not parts:
        return ""
    only = parts[0]
    return only["text"] if len(parts) == 1 and only.keys() == {"type", "text"} else parts


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _document(part: Media) -> Json:
    if part.data is None:
        raise UnsupportedContent("a document behind a URL", FORMAT)
    mime = part.mime or "application/pdf"
    if mime.startswith("text/"):
        text = _decoded(part.data)
        if text is not None:
            return _text(_titled(part.name, text))
    name = part.name or f"document{mimetypes.guess_extension(mime) or ''}"
    return {"type": "file", "file": {"filename": name, "file_data": _url(part)}}


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _titled(name: str | None, text: str) -> str:
    return f"{name}\n\n{text}" if name else text


def _named(part: Media) -> Json:
    return {} if part.name is None else {"filename": part.name}


def _url(part: Media) -> str:
    return media.data_url(part) or part.url or ""


def _article(part: Media) -> str:
    return {"image": "an image", "document": "a document", "audio": "audio", "video": "video"}[part.kind]

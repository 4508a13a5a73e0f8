"""The messages of a Chat Completions body → the system prompt and the turns of a `Request`."""

from collections.abc import Callable
from typing import Any, Literal

from cliproxy.wire import envelope, media
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fields import Fields
from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_chat.vocabulary import (
    FORMAT,
    REASONING_FIELDS,
    details_carrier,
    details_text,
    field_carrier,
)

type _Kind = Literal["image", "document", "audio", "video"]


def decode_conversation(body: Fields) -> tuple[list[Text | Media | Opaque], list[Turn]]:
    """The instructions before the first turn, and the turns; a message that says nothing is no turn."""
    system: list[Text | Media | Opaque] = []
    turns: list[Turn] = []
    custom_calls: set[str] = set()
    messages = body.children("messages")
    if not messages:
        raise ClientFault("messages must hold at least one message", param="messages")
    for message in messages:
        turn = _turn(message, custom_calls)
        if turn.role == "system" and not turns:
            system += [part for part in turn.parts if isinstance(part, Text | Media | Opaque)]
        elif turn.parts:
            turns.append(turn)
    return system, turns


def _turn(message: Fields, custom_calls: set[str]) -> Turn:
    """One message. custom_calls: ids of the custom calls so far, which results do not tell from others."""
    match message.required("role"):
        case "user":
            if message.object.get("content") is None:
                raise message.missing("content")
            return Turn("user", _content(message))
        case "assistant":
            return Turn("assistant", _assistant(message, custom_calls))
        case "tool" | "function":
            return Turn("user", [_tool_result(message, custom_calls)])
        case "system" | "developer":
            return Turn("system", _content(message))
        case _:
            raise message.invalid("role", ("system", "developer", "user", "assistant", "tool", "function"))


def _assistant(message: Fields, custom_calls: set[str]) -> list[Part]:
    parts: list[Part] = [*_reasoning(message), *_content(message)]
    refusal = message.string("refusal")
    if refusal:
        parts.append(Refusal(refusal))
    for entry in message.children("tool_calls"):
        call = _tool_call(entry)
        if call.kind == "custom":
            custom_calls.add(call.id)
        parts.append(call)
    function = message.child("function_call")
    if function is not None:
        parts.append(ToolCall("", function.required("name"), _arguments(function)))
    return parts


def _content(message: Fields) -> list[Part]:
    """The parts of `content`, empty texts left out. A cache hint on the message belongs to its last part."""
    content = message.text_or_items("content")
    if isinstance(content, str):
        parts: list[Part] = [Text(content)] if content else []
    else:
        parts = [_part(message, index, entry) for index, entry in enumerate(content)]
        parts = [part for part in parts if not isinstance(part, Text | Refusal) or part.text]
    hint = cache_hint(message)
    if hint is not None and parts:
        last = parts[-1]
        if isinstance(last, Text | Media) and last.cache is None:
            last.cache = hint
    return parts


def cache_hint(holder: Fields) -> CacheHint | None:
    """Anthropic's `cache_control`, or OpenAI's breakpoint, whose lifetimes are its own."""
    if "cache_control" in holder.object:
        control = holder.child("cache_control")
        return CacheHint(control.string("ttl")) if control is not None else None
    return CacheHint() if holder.object.get("prompt_cache_breakpoint") is not None else None


# ---------------------------------------------------------------- parts


def _part(message: Fields, index: int, entry: Any) -> Part:
    if isinstance(entry, str):
        return Text(entry)
    part = Fields(entry, message, "content", index)
    kind = part.string("type") or ("text" if "text" in part.object else part.required("type"))
    decode = _PARTS.get(kind)
    return Opaque(FORMAT, part.object) if decode is None else decode(part)


def _text(part: Fields) -> Text:
    return Text(part.string("text") or "", cache=cache_hint(part))


def _refusal(part: Fields) -> Refusal:
    return Refusal(part.string("refusal") or "")


def _image(part: Fields) -> Media:
    return _linked(part, "image_url", "image")


def _file(part: Fields) -> Media:
    file = part.required_child("file")
    name, cache = file.string("filename"), cache_hint(part)
    data, url, id = file.string("file_data"), file.string("file_url"), file.string("file_id")
    if data:
        if data[:5].lower() == "data:":
            return _media(data, file.place("file_data"), "document", name=name, cache=cache)
        mime = (media.mime_of(name) if name else None) or "application/pdf"
        return Media(_kind(mime, "document"), mime, data=data, name=name, cache=cache)
    if url:
        return _media(url, file.place("file_url"), "document", name=name, cache=cache)
    if id:
        return Media("document", file_id=id, name=name, origin=FORMAT, cache=cache)
    raise file.missing("file_data")


def _input_audio(part: Fields) -> Media:
    audio = part.required_child("input_audio")
    data = audio.required("data")
    inline = media.parse_data_url(data)
    mime = media.audio_mime(audio.string("format") or "wav")
    return Media("audio", mime, data=inline[1] if inline else data, cache=cache_hint(part))


def _audio(part: Fields) -> Media:
    return _linked(part, "audio_url", "audio")


def _video(part: Fields) -> Media:
    return _linked(part, "video_url", "video")


def _linked(part: Fields, key: str, kind: _Kind) -> Media:
    cache = cache_hint(part)
    if isinstance(part.object.get(key), str):
        return _media(part.required(key), part.place(key), kind, cache=cache)
    link = part.required_child(key)
    return _media(link.required("url"), link.place("url"), kind, detail=link.string("detail"), cache=cache)


def _media(
    url: str,
    place: str,
    kind: _Kind,
    *,
    name: str | None = None,
    detail: str | None = None,
    cache: CacheHint | None = None,
) -> Media:
    inline = media.parse_data_url(url)
    if inline is not None:
        mime, data = inline
        return Media(_kind(mime, kind), mime, data=data, name=name, detail=detail, cache=cache)
    if url[:5].lower() == "data:":
        raise ClientFault(f"{place} is cut off: a data: URL holds a comma and the data after it", param=place)
    return Media(kind, media.mime_of(url), url=url, name=name, detail=detail, cache=cache)


def _kind(mime: str, otherwise: _Kind) -> _Kind:
    match mime.partition("/")[0]:
        case "image" | "audio" | "video" as kind:
            return kind
        case _:
            return "document" if mime == "application/pdf" else otherwise


def _thinking(part: Fields) -> Reasoning:
    """Mistral's reasoning among the content."""
    if part.object.get("thinking") is None:
        return Reasoning(part.string("text") or "")
    words = part.text_or_items("thinking")
    if isinstance(words, str):
        return Reasoning(words)
    return Reasoning("".join(word.string("text") or "" for word in part.children("thinking")))


_PARTS: dict[str, Callable[[Fields], Part]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _input_audio,
    "audio_url": _audio,
    "video_url": _video,
    "thinking": _thinking,
    "reasoning": _thinking,
}

# ---------------------------------------------------------------- reasoning, calls and results


def _reasoning(message: Fields) -> list[Reasoning]:
    for field in REASONING_FIELDS:
        text = message.object.get(field)
        if isinstance(text, str) and text:
            carrier = field_carrier(field)
            break
    else:
        text, carrier = "", None
    details = [detail.object for detail in message.children("reasoning_details")]
    if details:
        text = text or details_text(details)
        carrier = details_carrier(details, visible=bool(text))
    return [Reasoning(text, carrier)] if carrier is not None else []


def _tool_call(call: Fields) -> ToolCall:
    id, cache = call.string("id") or "", cache_hint(call)
    custom = call.child("custom")
    if custom is not None:
        return ToolCall(id, custom.required("name"), custom.string("input") or "", "custom", cache=cache)
    function = call.required_child("function")
    return ToolCall(id, function.required("name"), _arguments(function), carrier=_signature(call), cache=cache)


def _arguments(function: Fields) -> str:
    # Some clients forget that arguments are JSON inside a string.
    value = function.object.get("arguments")
    return dumps_text(value) if isinstance(value, dict) else function.string("arguments") or ""


def _signature(call: Fields) -> Carrier | None:
    """Gemini's signature of a call, in the place where Google's own compatibility layer has it."""
    extra = call.child("extra_content")
    google = extra.child("google") if extra is not None else None
    text = google.string("thought_signature") if google is not None else None
    if not text:
        return None
    return envelope.unseal(text) or Carrier("gemini", "signature", text)


def _tool_result(message: Fields, custom_calls: set[str]) -> ToolResult:
    id = message.string("tool_call_id") or ""
    parts = [
        Text(part.text) if isinstance(part, Refusal) else part
        for part in _content(message)
        if isinstance(part, Text | Media | Opaque | Refusal)
    ]
    kind = "custom" if id and id in custom_calls else "function"
    return ToolResult(id, parts, message.string("name"), kind=kind)

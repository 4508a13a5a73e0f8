"""The instructions and input items of a Responses body → the system prompt and the turns of a `Request`."""

from collections.abc import Callable

from cliproxy.wire import envelope, media
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fields import Fields, object_of, objects_of, text_of
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_responses.summary import told
from cliproxy.wire.openai_responses.vocabulary import FORMAT, citation_of, hosted_parts, is_hosted, joined

_USER_ITEM_ENDINGS = ("_output", "_response", "_trigger")
"""How the types of those items end that the client, not the model, has made."""


def decode_conversation(body: Fields) -> tuple[list[Text | Media | Opaque], list[Turn], list[Fields]]:
    """The instructions before the first turn, the turns, and the tools that stand among the items."""
    conversation = _Conversation()
    instructions = body.string("instructions")
    if instructions:
        conversation.system.append(Text(instructions))
    value = body.text_or_items("input")
    if isinstance(value, str):
        conversation.add("user", [Text(value)])
    elif not value and not body.object.get("previous_response_id"):
        raise ClientFault("input is required: a string, or a list with at least one item", param="input")
    else:
        for item in body.children("input"):
            kind = item.string("type") or ("message" if "role" in item.object else item.required("type"))
            _ITEMS.get(kind, _other)(item, conversation)
    return conversation.system, conversation.turns, conversation.tools


class _Conversation:
    """Collects the items of `input`: each is one part or a few, and neighbours of one role are one turn."""

    def __init__(self) -> None:
        self.system: list[Text | Media | Opaque] = []
        self.turns: list[Turn] = []
        self.tools: list[Fields] = []

    def add(self, role: Role, parts: list[Part]) -> None:
        if role == "system" and not self.turns:
            self.system += [part for part in parts if isinstance(part, Text | Media | Opaque)]
        elif self.turns and self.turns[-1].role == role:
            self.turns[-1].parts += parts
        elif parts:
            self.turns.append(Turn(role, parts))

    def sign(self, carrier: Carrier) -> bool:
        """Give a token back to the call or text that it came with; False when it stands for itself.

        The API has no slot for a token on a call or a text, so the answer encoder sends it as a reasoning item after
        it, with the place in the carrier's id.
        """
        if not self.turns or self.turns[-1].role != "assistant":
            return False
        place = carrier.id or ""
        for part in reversed(self.turns[-1].parts):
            if (isinstance(part, ToolCall) and place == f"call:{part.id}") or (
                isinstance(part, Text) and place == "text"
            ):
                part.carrier = Carrier(carrier.origin, carrier.kind, carrier.data)
                return True
        return False


# ---------------------------------------------------------------- items


def _message(item: Fields, conversation: _Conversation) -> None:
    role = _ROLES.get(item.required("role"))
    if role is None:
        raise item.invalid("role", _ROLES)
    conversation.add(role, _content(item, "content"))


def _reasoning(item: Fields, conversation: _Conversation) -> None:
    text = joined([part.string("text") or "" for part in item.children("summary")])
    if not text:
        text = joined([part.string("text") or "" for part in item.children("content")])
    encrypted = item.string("encrypted_content")
    if not encrypted:
        conversation.add("assistant", [Reasoning(text)])
        return
    carrier = envelope.unseal(encrypted)
    if carrier is None:
        carrier = Carrier(FORMAT, "encrypted", encrypted, item.string("id"))
    elif not text and conversation.sign(carrier):
        return
    conversation.add("assistant", [Reasoning(text, carrier)])


def _tool_call(item: Fields, conversation: _Conversation) -> None:
    custom = item.string("type") == "custom_tool_call"
    call = ToolCall(
        item.string("call_id") or item.string("id") or "",
        item.required("name"),
        item.string("input") or "" if custom else item.string("arguments") or "{}",
        "custom" if custom else "function",
        item.string("namespace"),
    )
    conversation.add("assistant", [call])


def _tool_result(item: Fields, conversation: _Conversation) -> None:
    parts = [part for part in _content(item, "output") if isinstance(part, Text | Media | Opaque)]
    kind = "custom" if item.string("type") == "custom_tool_call_output" else "function"
    conversation.add("user", [ToolResult(item.required("call_id"), parts, item.string("name"), kind=kind)])


def _additional_tools(item: Fields, conversation: _Conversation) -> None:
    conversation.tools += item.children("tools")


def _compaction(item: Fields, conversation: _Conversation) -> None:
    summary = told(item.string("encrypted_content") or "")
    if summary is None:
        _other(item, conversation)
    else:
        conversation.add("user", [Text(summary)])


def _item_reference(item: Fields, conversation: _Conversation) -> None:
    place = item.place()
    raise ClientFault(
        f"{place} refers to an item, and none are stored here: send the item itself (`store: false`)",
        code="unsupported_content",
        param=place,
    )


def _other(item: Fields, conversation: _Conversation) -> None:
    kind = item.string("type") or ""
    role = "user" if kind.endswith(_USER_ITEM_ENDINGS) and not is_hosted(kind) else "assistant"
    conversation.add(role, hosted_parts(item.object))


_ITEMS: dict[str, Callable[[Fields, _Conversation], None]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _tool_call,
    "custom_tool_call": _tool_call,
    "function_call_output": _tool_result,
    "custom_tool_call_output": _tool_result,
    "additional_tools": _additional_tools,
    "compaction": _compaction,
    "item_reference": _item_reference,
}

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

# ---------------------------------------------------------------- parts


def _content(item: Fields, key: str) -> list[Part]:
    """The parts of a message or of a call's output."""
    content = item.text_or_items(key)
    if isinstance(content, str):
        return [Text(content)] if content else []
    parts: list[Part] = []
    for index, entry in enumerate(content):
        part = Fields(entry, item, key, index)
        decode = _PARTS.get(part.required("type"))
        if decode is None:
            raise part.invalid("type", _PARTS)
        parts.append(decode(part))
    return parts


def _cache_hint(part: Fields) -> CacheHint | None:
    return CacheHint() if part.object.get("prompt_cache_breakpoint") else None


def _text(part: Fields) -> Text:
    text = part.string("text")
    if text is None:
        raise part.missing("text")
    annotations = objects_of(part.object, "annotations")
    return Text(text, [citation_of(annotation) for annotation in annotations], cache=_cache_hint(part))


def _refusal(part: Fields) -> Refusal:
    return Refusal(part.string("refusal") or "")


def _image(part: Fields) -> Media:
    # Some clients put Chat's {"url": …} here.
    url = text_of(object_of(part.object, "image_url"), "url") or part.string("image_url")
    image = Media("image", detail=part.string("detail"), cache=_cache_hint(part))
    return _located(image, part, url or None, "image_url")


def _file(part: Fields) -> Media:
    name = part.string("filename")
    document = Media("document", name=name, cache=_cache_hint(part))
    data = part.string("file_data")
    if data and not data.startswith("data:"):
        document.data = data
        document.mime = (media.mime_of(name) if name else None) or "application/pdf"
    else:
        _located(document, part, data or part.string("file_url"), "file_data")
    # A file is an image, sound or film when its MIME type says so.
    family = (document.mime or "").partition("/")[0]
    if family in ("image", "audio", "video"):
        document.kind = family
    return document


def _located(found: Media, part: Fields, url: str | None, key: str) -> Media:
    """`found` itself, with where its content is."""
    if url:
        inline = media.parse_data_url(url)
        if inline is None:
            found.url = url
        else:
            found.mime, found.data = inline
        return found
    found.file_id = part.string("file_id")
    if not found.file_id:
        raise part.missing(key)
    found.origin = FORMAT
    return found


def _audio(part: Fields) -> Media:
    audio = part.child("input_audio") or part
    return Media("audio", media.audio_mime(audio.string("format") or "wav"), audio.required("data"))


_PARTS: dict[str, Callable[[Fields], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "summary_text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}

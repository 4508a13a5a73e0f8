"""The system prompt and the turns of a `Request` → the instructions and input items of a Responses body."""

from collections.abc import Callable, Sequence
from typing import Any

from cliproxy.wire import media, stand_ins
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.fields import text_of
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
)
from cliproxy.wire.names import call_id
from cliproxy.wire.openai_responses.vocabulary import FORMAT, citation_json

_ID_LIMIT = 64
_ID_CHARS = "!-~"

_WIRE_ROLES: dict[Role, str] = {"user": "user", "assistant": "assistant", "system": "developer"}


class ConversationEncoder:
    """Writes one request's conversation.

    has_own_reasoning: some of the reasoning in it was encrypted by this API. Raises UnsupportedContent for content
    whose loss would change the meaning.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.has_own_reasoning = False
        self._encoding = encoding
        self._items: list[Json] = []
        self._role: Role = "user"
        """Whose turn is being written."""
        self._message: Json | None = None
        """The message that takes what is said next."""
        self._attached: list[Json] = []
        """What the outputs of calls cannot hold, for the message behind them."""
        self._writers: dict[type[Any], Callable[[Any], None]] = {
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

    def instructions_and_items(self) -> tuple[str, list[Json]]:
        """`instructions`, which may be empty, and `input`. Another format's system prompt is the instructions."""
        request = self._encoding.request
        system = request.system
        head = len(system)
        if self._encoding.own:
            head = 1 if text_of(request.raw, "instructions") else 0
        # Pictures have no place in instructions.
        if not all(isinstance(part, Text) for part in system[:head]):
            head = 0
        instructions = [part.text for part in system[:head] if isinstance(part, Text) and part.text]
        self._turn("system", system[head:])
        before = len(self._items)
        for turn in request.turns:
            self._turn(turn.role, turn.parts)
        if len(self._items) > before or not head:
            return "\n\n".join(instructions), self._items
        # An empty input is refused: what would be the instructions is said in it.
        self._items = []
        self._turn("system", system)
        return "", self._items

    # ------------------------------------------------------------ turns

    def _turn(self, role: Role, parts: Sequence[Part]) -> None:
        """The items of one turn: neighbouring texts and media are one message."""
        self._role = role
        self._message = None
        for part in parts:
            self._writers[type(part)](part)
        if self._attached:
            self._add_item({"type": "message", "role": "user", "content": self._attached})
            self._attached = []

    def _add_item(self, item: Json) -> None:
        self._items.append(item)
        self._message = None

    def _say(self, role: Role, content: Json) -> None:
        wire_role = _WIRE_ROLES[role]
        if self._message is None or self._message["role"] != wire_role:
            message: Json = {"type": "message", "role": wire_role, "content": []}
            self._add_item(message)
            self._message = message
        self._message["content"].append(content)

    # ------------------------------------------------------------ parts

    def _text(self, part: Text) -> None:
        if not part.text:
            return
        if self._role != "assistant":
            self._say(self._role, self._marked(_input_text(part.text), part.cache))
            return
        annotations = [citation_json(citation, len(part.text)) for citation in part.citations]
        known = [annotation for annotation in annotations if annotation is not None]
        self._say("assistant", {"type": "output_text", "text": part.text, "annotations": known})

    def _refusal(self, part: Refusal) -> None:
        said = {"type": "refusal", "refusal": part.text} if self._role == "assistant" else _input_text(part.text)
        self._say(self._role, said)

    def _media(self, part: Media) -> None:
        content = self._media_content(part)
        if self._role != "assistant":
            self._say(self._role, content)
            return
        # The API has no pictures in the assistant's messages; the next best place is the user's.
        self._encoding.drop(f"{part.kind} of the assistant", "sent as the user's")
        self._say("user", content)

    def _media_content(self, part: Media) -> Json:
        return self._marked(self._media_entry(part), part.cache)

    def _media_entry(self, part: Media) -> Json:
        if part.kind != "audio":
            # Which of its models can hear is for the API to say: the registry only knows which of them see.
            self._encoding.check_media(part)
        if part.text is not None:
            return _input_text(stand_ins.titled(part.name, part.text))
        match part.kind:
            case "document":
                return _document(part)
            case "audio":
                return self._audio(part)
            case "video":
                raise self._encoding.unsupported("video")
            case "image":
                return _image(part)

    def _audio(self, part: Media) -> Json:
        if part.data is None:
            raise self._encoding.unsupported("audio behind a URL")
        audio = {"data": part.data, "format": media.audio_format(part.mime)}
        return {"type": "input_audio", "input_audio": audio}

    def _server_part(self, part: ServerCall | ServerResult) -> None:
        if part.origin != FORMAT:
            self._encoding.drop_foreign(part)
        elif part.raw is not None:
            # What a call found stands in the call's own item.
            self._add_item(part.raw)

    def _opaque(self, part: Opaque) -> None:
        if part.origin == FORMAT:
            self._add_item(part.raw)
        else:
            self._encoding.drop_foreign(part)

    def _marked(self, content: Json, cache: CacheHint | None) -> Json:
        if cache is not None and self._encoding.own:
            content["prompt_cache_breakpoint"] = {"mode": "explicit"}
        elif cache is not None:
            self._encoding.drop("cache_control", "the API caches by itself")
        return content

    # ------------------------------------------------------------ reasoning, calls and results

    def _reasoning(self, part: Reasoning) -> None:
        carrier = part.carrier
        if carrier is None or carrier.origin != FORMAT:
            self._encoding.drop("reasoning", "only what this API has encrypted itself can be given back to it")
            return
        self.has_own_reasoning = True
        self._add_item(_encrypted_item(carrier, part.text))

    def _tool_call(self, call: ToolCall) -> None:
        custom = call.kind == "custom"
        item: Json = {
            "type": "custom_tool_call" if custom else "function_call",
            "call_id": _call_id(call.id),
            "name": self._encoding.names.send(call.name),
        }
        if call.namespace is not None:
            item["namespace"] = call.namespace
        item["input" if custom else "arguments"] = call.arguments
        self._add_item(item)

    def _tool_result(self, result: ToolResult) -> None:
        if result.is_error:
            self._encoding.drop("is_error", "a call's output has no such mark")
        held: list[Json] = []
        for part in result.parts:
            match part:
                case Opaque():
                    self._encoding.drop(str(part.raw.get("type", "content")), "unknown in a tool result")
                case Media(kind="audio", text=None):
                    self._attached.append(self._media_content(part))
                case Media():
                    held.append(self._media_content(part))
                case Text():
                    held.append(self._marked(_input_text(part.text), part.cache))
        texts = [content["text"] for content in held if content["type"] == "input_text"]
        as_text = len(texts) == len(held) and not (self._encoding.own and len(held) > 1)
        kind = "custom_tool_call_output" if result.kind == "custom" else "function_call_output"
        output = "\n\n".join(texts) if as_text else held
        self._add_item({"type": kind, "call_id": _call_id(result.id), "output": output})


def _input_text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _image(part: Media) -> Json:
    content: Json = {"type": "input_image"}
    url = part.url or media.data_url(part)
    if url is not None:
        content["image_url"] = url
    else:
        content["file_id"] = part.file_id
    content["detail"] = part.detail or "auto"
    return content


def _document(part: Media) -> Json:
    if part.file_id is not None:
        return {"type": "input_file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    name = part.name or f"document.{(part.mime or 'application/pdf').rpartition('/')[2]}"
    return {"type": "input_file", "filename": name, "file_data": media.data_url(part)}


def _encrypted_item(carrier: Carrier, text: str) -> Json:
    item: Json = {"type": "reasoning"}
    if carrier.id is not None:
        item["id"] = carrier.id
    item["summary"] = [{"type": "summary_text", "text": text}] if text else []
    item["encrypted_content"] = carrier.data
    return item


def _call_id(id: str) -> str:
    return call_id(id, _ID_LIMIT, _ID_CHARS)

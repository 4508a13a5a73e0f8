"""The conversation as Gemini's `contents` and `systemInstruction`."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from cliproxy.wire import json
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.gemini.vocabulary import FILLER_SIGNATURE, FORMAT, media_part
from cliproxy.wire.model import (
    Carrier,
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
from cliproxy.wire.names import ToolNames

_EMPTY_TURN_TEXT = " "
"""The text of a turn that has to be there and says nothing: an empty one is refused."""


class Contents:
    """Writes the turns of one request.

    names: what each tool is called upstream. drop: told what is left out, each time as `field: reason`.
    """

    def __init__(self, request: Request, facts: ModelFacts, names: ToolNames, drop: Callable[[str], None]) -> None:
        self._request = request
        self._facts = facts
        self._names = names
        self._drop = drop
        self._contents: list[Json] = []

    def system(self) -> list[Json]:
        """The parts of `systemInstruction`, which can hold nothing but text."""
        parts: list[Json] = []
        for part in self._request.system:
            match part:
                case Text(text=text):
                    self._note_cache(part)
                    if text:
                        parts.append({"text": text})
                case Media(text=None):
                    raise UnsupportedContent(f"{part.kind} content in the system prompt", FORMAT)
                case Media():
                    parts.append(media_part(part))
                case Opaque():
                    parts.extend(self._own(part))
        return parts

    def turns(self) -> list[Json]:
        """`contents`: roles alternate, the user begins, no content and no text is empty."""
        for turn in self._request.turns:
            match turn.role:
                case "user":
                    self._add("user", self._user_parts(turn))
                case "assistant":
                    self._add("model", [part for item in turn.parts for part in self._model_part(item)])
                case "system":
                    self._add("user", self._reminder(turn))
        if not self._contents or self._contents[0]["role"] == "model":
            self._contents.insert(0, {"role": "user", "parts": [{"text": _EMPTY_TURN_TEXT}]})
        return self._contents

    def _add(self, role: str, parts: list[Json]) -> None:
        if not parts:
            return
        if self._contents and self._contents[-1]["role"] == role:
            self._contents[-1]["parts"].extend(parts)
        else:
            self._contents.append({"role": role, "parts": parts})

    # ------------------------------------------------------------ turns

    def _user_parts(self, turn: Turn) -> list[Json]:
        """Results first, then the media in them: old models take none in a result, all take it beside one."""
        results: list[Json] = []
        attached: list[Json] = []
        others: list[Json] = []
        for part in turn.parts:
            if type(part) is ToolResult:
                self._note_cache(part)
                results.append(self._function_response(part))
                attached.extend(self._media(item) for item in part.parts if type(item) is Media and item.text is None)
            else:
                others.extend(self._user_part(part))
        return results + attached + others

    def _user_part(self, part: Part) -> Iterable[Json]:
        match part:
            case Text(text=text):
                self._note_cache(part)
                return [{"text": text}] if text else []
            case Media():
                self._note_cache(part)
                return [self._media(part)]
            case Opaque() | ServerCall() | ServerResult():
                return self._own(part)
            case _:
                self._drop(f"{type(part).__name__}: only the model's turns hold it")
                return []

    def _reminder(self, turn: Turn) -> list[Json]:
        """A system message in mid-conversation: Gemini has no such role, so the user passes it on."""
        said = "\n\n".join(part.text for part in turn.parts if isinstance(part, Text) and part.text)
        parts = [item for part in turn.parts if not isinstance(part, Text) for item in self._user_part(part)]
        if said:
            parts.insert(0, {"text": f"<system-reminder>\n{said}\n</system-reminder>"})
        return parts

    def _model_part(self, part: Part) -> Iterable[Json]:
        match part:
            case Text(text=text, carrier=carrier):
                self._note_cache(part)
                signature = _own_signature(carrier)
                return [{"text": text, **signature}] if text or signature else []
            case Refusal(text=text):
                return [{"text": text}] if text else []
            case Reasoning():
                return self._thought(part)
            case ToolCall():
                self._note_cache(part)
                return [self._function_call(part)]
            case Media():
                return [self._media(part)]
            case Opaque() | ServerCall() | ServerResult():
                return self._own(part)
            case ToolResult():
                self._drop(f"tool result {part.id}: stands in a turn of the model")
                return []

    # ------------------------------------------------------------ parts

    def _thought(self, part: Reasoning) -> list[Json]:
        """Only thoughts of Gemini's own go back to it; others would be words in its mouth."""
        signature = _own_signature(part.carrier)
        own = self._request.origin == FORMAT and part.carrier is None
        if not signature and not own:
            self._drop("reasoning: it is another model's, which Gemini cannot take back")
            return []
        return [{"text": part.text, "thought": True, **signature}]

    def _function_call(self, call: ToolCall) -> Json:
        arguments = {"input": call.arguments} if call.kind == "custom" else _arguments(call.arguments)
        function: Json = {"id": call.id, "name": self._names.send(call.name), "args": arguments}
        return {"functionCall": function, **_own_signature(call.carrier)}

    def _function_response(self, result: ToolResult) -> Json:
        texts: list[str] = []
        attached: list[str] = []
        for part in result.parts:
            match part:
                case Text(text=str(text)) | Media(text=str(text)):
                    texts.append(text)
                case Media():
                    attached.append(part.mime or part.kind)
                case Opaque():
                    self._drop(f"tool result {result.id}: {_word(part)} has no counterpart")
        text = "\n".join(texts) if texts or not attached else f"attached: {', '.join(attached)}"
        response = {"error": text} if result.is_error else _object(text)
        if response is None:
            response = {"result": text}
        name = self._names.send(result.name or result.id)
        return {"functionResponse": {"id": result.id, "name": name, "response": response}}

    def _media(self, media: Media) -> Json:
        allowed = self._facts.input_modalities
        if allowed is not None and media.kind != "document" and media.kind not in allowed:
            raise UnsupportedContent(f"{media.kind} content", self._facts.name)
        foreign = media.origin not in (None, FORMAT)
        if media.file_id is not None and media.origin != FORMAT:
            raise UnsupportedContent(f"the uploaded file {media.file_id}", FORMAT)
        if media.url is not None and foreign:
            raise UnsupportedContent(f"the file at {media.url}", FORMAT)
        if media.name and media.text is None:
            self._drop("file name: Gemini has no place for it")
        return media_part(media)

    def _own(self, part: Opaque | ServerCall | ServerResult) -> list[Json]:
        if part.origin == FORMAT and part.raw is not None:
            return [part.raw]
        self._drop(f"{_word(part)}: it means something to {part.origin} alone")
        return []

    def _note_cache(self, part: Text | Media | ToolCall | ToolResult) -> None:
        if part.cache is not None:
            self._drop("cache_control: Gemini caches by itself")


def _word(part: Opaque | ServerCall | ServerResult) -> str:
    return str(part.raw.get("type", "a part")) if isinstance(part, Opaque) else part.name


def _own_signature(carrier: Carrier | None) -> Json:
    return {"thoughtSignature": carrier.data} if carrier is not None and carrier.origin == FORMAT else {}


def _arguments(text: str) -> Json:
    """The arguments as an object, which is all that Gemini takes."""
    return _object(text) or {}


def _object(text: str) -> Json | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Json", value) if isinstance(value, dict) else None


def fill_in_signatures(contents: list[Json]) -> None:
    """Sign the calls of the current tool loop that lost their signature or never had one.

    From Gemini 3 on, the first call of each step since the user last spoke must be signed. Google names a
    filler for calls that other models made; older turns are not checked and stay as they are.
    """
    for content in reversed(contents):
        parts = cast("list[Json]", content["parts"])
        if content["role"] == "user":
            if not any("functionResponse" in part for part in parts):
                return
            continue
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None:
            first.setdefault("thoughtSignature", FILLER_SIGNATURE)

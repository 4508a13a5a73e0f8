"""The system prompt and the turns of a `Request` → Gemini's `systemInstruction` and `contents`."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from cliproxy.wire import stand_ins
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.gemini.vocabulary import FILLER_SIGNATURE, FORMAT, media_json
from cliproxy.wire.json import loads_object
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
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

_EMPTY_TURN_TEXT = " "
"""The text of a turn that has to be there and says nothing: an empty one is refused."""


class ConversationEncoder:
    """Writes one request's conversation.

    Raises UnsupportedContent for content whose loss would change the meaning.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._contents: list[Json] = []
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

    def system(self) -> list[Json]:
        """The parts of `systemInstruction`, which can hold nothing but text."""
        for part in self._encoding.request.system:
            if isinstance(part, Media) and part.text is None:
                raise self._encoding.unsupported(f"{part.kind} content in the system prompt")
        return self._parts(self._encoding.request.system)

    def contents(self) -> list[Json]:
        """`contents`: roles alternate, the user begins, no content and no text is empty."""
        for turn in self._encoding.request.turns:
            match turn.role:
                case "user":
                    self._user(turn.parts)
                case "assistant":
                    self._append("model", self._parts(turn.parts))
                case "system":
                    self._append("user", self._reminder(turn.parts))
        if not self._contents or self._contents[0]["role"] == "model":
            self._contents.insert(0, {"role": "user", "parts": [{"text": _EMPTY_TURN_TEXT}]})
        return self._contents

    # ------------------------------------------------------------ turns

    def _user(self, parts: Sequence[Part]) -> None:
        """Results first, then the media in them: old models take none in a result, all take it beside one."""
        results = [part for part in parts if type(part) is ToolResult]
        if not results:
            self._append("user", self._parts(parts))
            return
        attached = [
            part for result in results for part in result.parts if isinstance(part, Media) and part.text is None
        ]
        others = [part for part in parts if type(part) is not ToolResult]
        self._append("user", self._parts([*results, *attached, *others]))

    def _reminder(self, parts: Sequence[Part]) -> list[Json]:
        """A system message in mid-conversation: Gemini has no such role, so the user passes it on."""
        said = "\n\n".join(part.text for part in parts if isinstance(part, Text) and part.text)
        written = self._parts([part for part in parts if not isinstance(part, Text)])
        return [{"text": stand_ins.system_reminder(said)}, *written] if said else written

    def _append(self, role: str, parts: list[Json]) -> None:
        if not parts:
            return
        if self._contents and self._contents[-1]["role"] == role:
            self._contents[-1]["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})

    def _parts(self, parts: Sequence[Part]) -> list[Json]:
        written = [self._writers[type(part)](part) for part in parts]
        return [part for part in written if part is not None]

    # ------------------------------------------------------------ parts

    def _text(self, part: Text) -> Json | None:
        self._note_cache(part.cache)
        if part.carrier is None:
            return {"text": part.text} if part.text else None
        signature = _own_signature(part.carrier)
        return {"text": part.text, **signature} if part.text or signature else None

    def _refusal(self, part: Refusal) -> Json | None:
        return {"text": part.text} if part.text else None

    def _media(self, part: Media) -> Json:
        self._encoding.check_media(part)
        self._note_cache(part.cache)
        if part.text is not None:
            return {"text": stand_ins.titled(part.name, part.text)}
        if part.name:
            self._encoding.drop("file name", "Gemini has no place for it")
        return media_json(part)

    def _server_part(self, part: ServerCall | ServerResult) -> Json | None:
        if part.origin == FORMAT and part.raw is not None:
            return part.raw
        self._encoding.drop_foreign(part)
        return None

    def _opaque(self, part: Opaque) -> Json | None:
        if part.origin == FORMAT:
            return part.raw
        self._encoding.drop_foreign(part)
        return None

    def _note_cache(self, cache: CacheHint | None) -> None:
        if cache is not None:
            self._encoding.drop("cache_control", "Gemini caches by itself")

    # ------------------------------------------------------------ reasoning, calls and results

    def _reasoning(self, part: Reasoning) -> Json | None:
        """Only thoughts of Gemini's own go back to it; others would be words in its mouth."""
        signature = _own_signature(part.carrier)
        own = self._encoding.own and part.carrier is None
        if not signature and not own:
            self._encoding.drop("reasoning", "it is another model's, which Gemini cannot take back")
            return None
        return {"text": part.text, "thought": True, **signature}

    def _tool_call(self, call: ToolCall) -> Json:
        self._note_cache(call.cache)
        custom = call.kind == "custom"
        arguments = stand_ins.custom_tool_arguments(call.arguments) if custom else _object(call.arguments) or {}
        function: Json = {"id": call.id, "name": self._encoding.names.send(call.name), "args": arguments}
        return {"functionCall": function, **_own_signature(call.carrier)}

    def _tool_result(self, result: ToolResult) -> Json:
        self._note_cache(result.cache)
        texts: list[str] = []
        attached: list[str] = []
        for part in result.parts:
            match part:
                case Text(text=str(text)) | Media(text=str(text)):
                    texts.append(text)
                case Media():
                    attached.append(part.mime or part.kind)
                case Opaque():
                    self._encoding.drop_foreign(part)
        text = "\n".join(texts) if texts or not attached else f"attached: {', '.join(attached)}"
        response = {"error": text} if result.is_error else _object(text)
        if response is None:
            response = {"result": text}
        name = self._encoding.names.send(result.name or result.id)
        return {"functionResponse": {"id": result.id, "name": name, "response": response}}


def _own_signature(carrier: Carrier | None) -> Json:
    return {"thoughtSignature": carrier.data} if carrier is not None and carrier.origin == FORMAT else {}


def _object(text: str) -> Json | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        return loads_object(text, "the arguments")
    except ValueError:
        return None


def fill_in_signatures(contents: list[Json]) -> None:
    """Sign the calls of the current tool loop that lost their signature or never had one.

    From Gemini 3 on, the first call of each step since the user last spoke must be signed. Google names a filler for
    calls that other models made; older turns are not checked and stay as they are.
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

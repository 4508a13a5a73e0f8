"""Chat Completions chunks, or a whole completion → events, or an `Answer`."""

from typing import Any, cast

import msgspec
from msgspec import Struct

from cliproxy.wire import media
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled
from cliproxy.wire.fields import object_of, objects, text_of
from cliproxy.wire.fold import fold
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import Answer, Carrier, Json, Media, Reasoning, Refusal, Text, ToolCall
from cliproxy.wire.openai_chat.errors import streamed_error
from cliproxy.wire.openai_chat.vocabulary import (
    DONE,
    FAILED_FINISHES,
    FORMAT,
    REASONING_FIELDS,
    citation_of,
    details_carrier,
    details_text,
    field_carrier,
    finish_reason,
    usage_of,
)
from cliproxy.wire.streaming import StreamDecoder, StreamReader
from cliproxy.wire.upstream_error import read_body


class _Function(Struct):
    name: str | None = None
    arguments: str | Json | None = None


class _Custom(Struct):
    name: str | None = None
    input: str | None = None


class _CallDelta(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None
    extra_content: Any = None


class _Message(Struct):
    """A chunk's `delta` or a completion's `message`: the same fields, in pieces or whole."""

    content: str | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None
    function_call: _Function | None = None
    # OpenAI knows none of these in a chunk, so nobody says what else they may be.
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    annotations: Any = None
    images: Any = None


class _Choice(Struct):
    index: int | None = 0
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    usage: Any = None
    """Moonshot."""
    error: Any = None
    """OpenRouter."""


class _Chunk(Struct):
    """The members of a chunk or a completion that are read."""

    id: Any = None
    object: Any = None
    model: str | None = None
    created: float | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    # vLLM's errors have no envelope, only `object: error`.
    message: Any = None
    type: Any = None
    code: Any = None

    def stated_error(self) -> Any:
        if self.object == "error":
            return self.error or {"message": self.message, "type": self.type, "code": self.code}
        return self.error


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class AnswerDecoder(StreamDecoder):
    """Turns the bytes of one stream into events."""

    def __init__(self) -> None:
        super().__init__(_Reader())


def decode_answer(body: Json) -> Answer:
    """The answer that a whole body holds.

    Raises UpstreamRefused when it is an error, UpstreamGarbled when it is no answer of this format.
    """
    chunk = _converted(body)
    if not chunk.stated_error() and not any(choice.message or choice.delta for choice in chunk.choices or ()):
        raise UpstreamGarbled("the upstream's answer is not a chat completion: it has no message in its choices")
    reader = _Reader()
    reader.take(chunk)
    reader.end(complete=True)
    return fold(reader.events.drain())


def _decoded(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _converted(loads(data))
    except ValueError as error:
        raise UpstreamGarbled(f"the upstream's stream holds what is not JSON: {error}") from None


def _converted(value: Any) -> _Chunk:
    """What msgspec refuses and Python takes, and numbers in strings."""
    try:
        return msgspec.convert(value, _Chunk, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter by half a surrogate pair
        raise UpstreamGarbled(f"the upstream's answer is not a chat completion: {error}") from None


class _Call(Struct):
    """A tool call in progress. Until its name is known it has no part, and its arguments wait."""

    id: str = ""
    part: int = -1
    waiting: str = ""
    signature: str = ""
    custom: bool = False


class _Reader(StreamReader):
    """The state of one answer, over decoded chunks. Prose is open one at a time, calls stay open."""

    def __init__(self) -> None:
        super().__init__()
        self._prose: type[Text | Reasoning | Refusal] | None = None
        self._prose_part = -1
        self._reasoning_field = ""
        self._details: list[Json] = []
        self._calls: list[_Call] = []
        self._call_by_index: dict[int, _Call] = {}
        self._finish_word: str | None = None

    def read(self, name: str, data: bytes) -> None:
        if self.events.over or not data or data.isspace():
            return
        if data.startswith(DONE):
            self.end(complete=self.events.parts > 0)
            return
        if name == "error":
            raise streamed_error(read_body(data))
        try:
            chunk = _decoded(data)
        except UpstreamGarbled:
            # An event with a name of its own is none of ours, unless it looks like it.
            if name in ("", "message"):
                raise
        else:
            self.take(chunk)

    def take(self, chunk: _Chunk) -> None:
        """Raises UpstreamRefused when the chunk is an error."""
        error = chunk.stated_error()
        if error:
            raise streamed_error(error)
        if not self.events.started and (chunk.choices or chunk.usage):
            self._start(chunk)
        self._report(chunk.usage)
        for choice in chunk.choices or ():
            # Further choices (`n` > 1) have no place in an answer.
            if not choice.index:
                self._take_choice(choice)

    def end(self, *, complete: bool = False) -> None:
        if self.events.over:
            return
        if self._finish_word in FAILED_FINISHES:
            raise streamed_error({"message": f"the upstream broke its answer off ({self._finish_word})"})
        if self._finish_word is None and not complete:
            raise UpstreamCut
        if any(call.part < 0 for call in self._calls):
            raise UpstreamGarbled("the upstream called a tool without naming it")
        self._close_prose()
        for call in self._calls:
            self.events.close(call.part)
        kinds = self.events.kinds
        reason = finish_reason(self._finish_word, called=ToolCall in kinds, refused=Refusal in kinds)
        self.events.finish(reason, raw=self._finish_word)

    # ------------------------------------------------------------ the message

    def _start(self, chunk: _Chunk) -> None:
        id = chunk.id if isinstance(chunk.id, str) else ""
        created_s = int(chunk.created) if chunk.created and abs(chunk.created) < 1e12 else None
        self.events.start(id, chunk.model or "", created_s)

    def _report(self, counts: Any) -> None:
        if isinstance(counts, dict) and counts:
            self.events.usage(usage_of(cast("Json", counts)))

    def _take_choice(self, choice: _Choice) -> None:
        if choice.error:
            raise streamed_error(choice.error)
        message = choice.delta
        if message is None and not self.events.parts:
            message = choice.message
        if message is not None:
            self._take_message(message)
        self._report(choice.usage)
        if choice.finish_reason:
            self._finish_word = choice.finish_reason

    def _take_message(self, message: _Message) -> None:
        if message.reasoning_content or message.reasoning or message.reasoning_details:
            self._take_reasoning(message)
        content = message.content
        if content:
            if isinstance(content, str):
                self._say(Text, content)
            else:
                self._take_parts(content)
        if message.refusal:
            self._say(Refusal, message.refusal)
        if message.annotations:
            self._cite(objects(message.annotations))
        if message.images:
            for image in objects(message.images):
                self._show(image)
        for delta in message.tool_calls or ():
            self._take_call(delta)
        if message.function_call:
            self._take_call(_CallDelta(index=-1, function=message.function_call))

    # ------------------------------------------------------------ prose

    def _say(self, kind: type[Text | Reasoning | Refusal], text: str) -> None:
        if self._prose is not kind:
            self._close_prose()
            self._prose, self._prose_part = kind, self.events.open(kind(""))
        if text:
            self.events.delta(self._prose_part, text)

    def _close_prose(self) -> None:
        if self._prose is None:
            return
        if self._prose is Reasoning:
            carrier = self._reasoning_carrier()
            if carrier is not None:
                self.events.sign(self._prose_part, carrier)
        self.events.close(self._prose_part)
        self._prose = None

    def _reasoning_carrier(self) -> Carrier | None:
        field, details = self._reasoning_field, self._details
        self._reasoning_field, self._details = "", []
        if details:
            return details_carrier(details, visible=bool(field or details_text(details)))
        return field_carrier(field) if field else None

    def _take_reasoning(self, message: _Message) -> None:
        details = objects(message.reasoning_details)
        for field in REASONING_FIELDS:
            text = getattr(message, field)
            if isinstance(text, str) and text:
                self._say(Reasoning, text)
                self._reasoning_field = field
                break
        else:
            if details:
                self._say(Reasoning, details_text(details))
        for detail in details:
            self._keep_detail(detail)

    def _keep_detail(self, detail: Json) -> None:
        """Put OpenRouter's structured reasoning together for the way back."""
        last = self._details[-1] if self._details else {}
        same = last.get("type") == detail.get("type") and last.get("index") == detail.get("index")
        if not same or detail.get("type") not in ("reasoning.text", "reasoning.summary"):
            self._details.append(dict(detail))
            return
        for key, value in detail.items():
            grows = key in ("text", "summary") and isinstance(value, str) and isinstance(last.get(key), str)
            if value is not None:
                last[key] = last[key] + value if grows else value

    def _take_parts(self, parts: list[Any]) -> None:
        """Content as a list of parts, as Mistral's reasoning models and image models send it."""
        for part in parts:
            match part:
                case str():
                    self._say(Text, part)
                case {"type": "thinking", "thinking": str(text)}:
                    self._say(Reasoning, text)
                case {"type": "thinking", "thinking": words}:
                    self._say(Reasoning, details_text(objects(words)))
                case {"type": "refusal", "refusal": str(text)}:
                    self._say(Refusal, text)
                case {"text": str(text)}:
                    self._say(Text, text)
                case {"image_url": _}:
                    self._show(part)
                case _:
                    pass

    def _cite(self, annotations: list[Json]) -> None:
        """Sources belong to text: without any open there is nothing that they could be about."""
        for annotation in annotations:
            citation = citation_of(annotation)
            if self._prose is Text and citation is not None:
                self.events.cite(self._prose_part, citation)

    def _show(self, image: Json) -> None:
        url = text_of(image, "image_url") or text_of(object_of(image, "image_url"), "url")
        if url:
            self._close_prose()
            inline = media.parse_data_url(url)
            self.events.whole(Media("image", inline[0], data=inline[1]) if inline else Media("image", url=url))

    # ------------------------------------------------------------ calls

    def _take_call(self, delta: _CallDelta) -> None:
        function, custom = delta.function or _Function(), delta.custom
        name = custom.name if custom else function.name
        call = self._call_of(delta, name)
        piece = (custom.input if custom else _text_of(function.arguments)) or ""
        if isinstance(delta.extra_content, dict):
            extra = cast("Json", delta.extra_content)
            call.signature = text_of(object_of(extra, "google"), "thought_signature") or call.signature
        if call.part < 0:
            call.waiting += piece
            call.custom = call.custom or custom is not None
            if not name:
                return
            self._open_call(call, name)
            piece = call.waiting
        if piece:
            self.events.delta(call.part, piece)
        if call.signature:
            self.events.sign(call.part, Carrier(FORMAT, "signature", call.signature))
            call.signature = ""

    def _call_of(self, delta: _CallDelta, name: str | None) -> _Call:
        """The call that a delta continues, or a new one.

        Servers leave out the index, or the id, or both, and some number every call 0.
        """
        known = self._known_call(delta, name)
        if known is not None:
            known.id = known.id or delta.id or ""
            return known
        call = _Call(delta.id or "")
        self._calls.append(call)
        if delta.index is not None:
            self._call_by_index[delta.index] = call
        return call

    def _known_call(self, delta: _CallDelta, name: str | None) -> _Call | None:
        if delta.index is not None:
            known = self._call_by_index.get(delta.index)
            another = known is not None and delta.id and known.id and delta.id != known.id and name
            return None if another else known
        if delta.id:
            by_id = next((call for call in self._calls if call.id == delta.id), None)
            if by_id is not None or name:
                return by_id
        if name or not self._calls:
            return None
        return self._calls[-1]

    def _open_call(self, call: _Call, name: str) -> None:
        self._close_prose()
        call.part = self.events.open(ToolCall(call.id, name, "", "custom" if call.custom else "function"))


def _text_of(arguments: str | Json | None) -> str | None:
    return dumps_text(arguments) if isinstance(arguments, dict) else arguments

"""Chat Completions chunks, or a whole completion → events."""

from typing import Any, cast

import msgspec
from msgspec import Struct

from cliproxy.wire import media
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled
from cliproxy.wire.fold import fold
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    FinishReason,
    Json,
    Media,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Signed,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from cliproxy.wire.openai_chat.errors import error_of
from cliproxy.wire.openai_chat.vocabulary import (
    DONE,
    FAILED_FINISHES,
    FINISH_REASONS,
    FORMAT,
    REASONING_FIELDS,
    WireUsage,
    decode_usage,
    details_carrier,
    details_text,
    field_carrier,
    objects,
)
from cliproxy.wire.sse import SseParser


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


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
    usage: WireUsage | None = None
    """Moonshot."""
    error: Any = None
    """OpenRouter."""


class _Chunk(Struct):
    id: Any = None
    object: Any = None
    model: str | None = None
    created: float | None = None
    choices: list[_Choice] | None = None
    usage: WireUsage | None = None
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


class AnswerDecoder:
    """Turns the bytes of a Chat Completions stream into events."""

    def __init__(self) -> None:
        self._sse = SseParser()
        self._reading = _Reading()

    def feed(self, chunk: bytes) -> list[Event]:
        """Take 0..n bytes, cut anywhere; return the events they complete."""
        reading = self._reading
        try:
            for name, data in self._sse.feed(chunk):
                _take(reading, name, data)
        except GatewayError as error:
            reading.fail(error)
        return reading.collect()

    def finish(self) -> list[Event]:
        """The body ended; return what remains, Finish or Failure at the latest."""
        reading = self._reading
        try:
            for name, data in self._sse.finish():
                _take(reading, name, data)
        except GatewayError as error:
            reading.fail(error)
        reading.end(complete=False)
        return reading.collect()


def decode_answer(body: Json) -> Answer:
    """A whole completion. Raises UpstreamGarbled when it is none, UpstreamRefused when it states an error."""
    try:
        chunk = msgspec.convert(body, _Chunk, strict=False)
    except msgspec.ValidationError as error:
        raise UpstreamGarbled(f"the upstream's answer is not a chat completion: {error}") from None
    if not chunk.stated_error() and not any(choice.message or choice.delta for choice in chunk.choices or ()):
        raise UpstreamGarbled("the upstream's answer is not a chat completion: it has no message in its choices")
    reading = _Reading()
    reading.take(chunk)
    reading.end(complete=True)
    return fold(reading.collect())


def _take(reading: "_Reading", name: str, data: bytes) -> None:
    """Read one server-sent event. Raises UpstreamGarbled when it is not JSON."""
    if name == "error":
        reading.fail(error_of(_error_payload(data)))
    elif data.startswith(DONE):
        reading.end(complete=reading.has_begun)
    elif data and not data.isspace():
        try:
            reading.take(_decode(data))
        except UpstreamGarbled:
            # An event with a name of its own is none of ours, unless it looks like it.
            if name in ("", "message"):
                raise


def _error_payload(data: bytes) -> Any:
    try:
        return loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")


def _decode(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # What msgspec refuses and Python takes, and numbers in strings.
    try:
        return msgspec.convert(loads(data), _Chunk, strict=False)
    except (ValueError, RecursionError) as error:
        raise UpstreamGarbled(f"the upstream's stream holds what is no chat completion chunk: {error}") from None


class _Call(Struct):
    """A tool call in progress. Until its name is known it has no part, and its arguments wait."""

    id: str = ""
    part: int = -1
    waiting: str = ""
    signature: str = ""
    custom: bool = False


class _Reading:
    """Builds a legal sequence of events out of chunks. Prose is open one at a time, calls stay open."""

    def __init__(self) -> None:
        self.has_begun = False
        """Anything of an answer has come, a finish reason included."""
        self._events: list[Event] = []
        self._started = False
        self._over = False
        self._next_part = 0
        self._prose: type[Text | Reasoning | Refusal] | None = None
        self._prose_part = -1
        self._reasoning_field = ""
        self._details: list[Json] = []
        self._refused = False
        self._calls: list[_Call] = []
        self._call_by_index: dict[int, _Call] = {}
        self._finish_word: str | None = None

    def collect(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def take(self, chunk: _Chunk) -> None:
        if self._over:
            return
        error = chunk.stated_error()
        if error:
            self.fail(error_of(error))
            return
        if not self._started and (chunk.choices or chunk.usage):
            self._start(chunk)
        if chunk.usage:
            self._events.append(UsageReport(decode_usage(chunk.usage)))
        for choice in chunk.choices or ():
            # Further choices (`n` > 1) have no place in an answer.
            if not choice.index:
                self._take_choice(choice)

    def fail(self, error: GatewayError) -> None:
        if not self._over:
            self._over = True
            self._events.append(Failure(error))

    def end(self, *, complete: bool) -> None:
        """Nothing more comes. complete: it is the whole answer even if no finish reason was given."""
        if self._over:
            return
        if self._finish_word in FAILED_FINISHES:
            self.fail(error_of({"message": f"the upstream broke its answer off ({self._finish_word})"}))
        elif self._finish_word is None and not complete:
            self.fail(UpstreamCut("the upstream's answer ended before its end"))
        elif any(call.part < 0 for call in self._calls):
            self.fail(UpstreamGarbled("the upstream called a tool without naming it"))
        else:
            self._close_prose()
            self._events += [PartEnd(call.part) for call in self._calls]
            self._over = True
            self._events.append(Finish(self._finish_reason(), raw=self._finish_word))

    def _start(self, chunk: _Chunk) -> None:
        self._started = True
        id = chunk.id if isinstance(chunk.id, str) else ""
        created_s = int(chunk.created) if chunk.created and abs(chunk.created) < 1e12 else None
        self._events.append(Start(id, chunk.model or "", created_s))

    def _take_choice(self, choice: _Choice) -> None:
        if choice.error:
            self.fail(error_of(choice.error))
            return
        message = choice.delta
        if message is None and not self.has_begun:
            message = choice.message
        if message is not None:
            self._take_message(message)
        if choice.usage:
            self._events.append(UsageReport(decode_usage(choice.usage)))
        if choice.finish_reason:
            self._finish_word = choice.finish_reason
            self.has_begun = True

    def _take_message(self, message: _Message) -> None:
        if message.reasoning_content or message.reasoning or message.reasoning_details:
            self._take_reasoning(message)
        if message.content:
            if isinstance(message.content, str):
                self._say(Text, message.content)
            else:
                self._take_parts(message.content)
        if message.refusal:
            self._refused = True
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
            self._open_prose(kind)
        if text:
            self._events.append(Delta(self._prose_part, text))

    def _open_prose(self, kind: type[Text | Reasoning | Refusal]) -> None:
        self._close_prose()
        self._prose, self._prose_part = kind, self._new_part()
        part = Reasoning() if kind is Reasoning else kind("")
        self._events.append(PartStart(self._prose_part, part))

    def _close_prose(self) -> None:
        if self._prose is None:
            return
        if self._prose is Reasoning:
            carrier = self._reasoning_carrier()
            if carrier is not None:
                self._events.append(Signed(self._prose_part, carrier))
        self._events.append(PartEnd(self._prose_part))
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
        self._keep_details(details)

    def _keep_details(self, details: list[Json]) -> None:
        """OpenRouter's structured reasoning, put together for the way back."""
        for detail in details:
            last = self._details[-1] if self._details else {}
            same = last.get("type") == detail.get("type") and last.get("index") == detail.get("index")
            if same and detail.get("type") in ("reasoning.text", "reasoning.summary"):
                for key, value in detail.items():
                    grows = key in ("text", "summary") and isinstance(value, str) and isinstance(last.get(key), str)
                    if value is not None:
                        last[key] = last[key] + value if grows else value
            else:
                self._details.append(dict(detail))

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
                    self._refused = True
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
            source = annotation.get("url_citation")
            if self._prose is Text and isinstance(source, dict):
                self._events.append(Cited(self._prose_part, _citation(cast("Json", source))))

    def _show(self, image: Any) -> None:
        match image:
            case {"image_url": {"url": str(url)}} | {"image_url": str(url)}:
                self._close_prose()
                inline = media.parse_data_url(url)
                part = Media("image", inline[0], data=inline[1]) if inline else Media("image", url=url)
                index = self._new_part()
                self._events += (PartStart(index, part), PartEnd(index))
            case _:
                pass

    # ------------------------------------------------------------ calls

    def _take_call(self, delta: _CallDelta) -> None:
        function = delta.function or _Function()
        custom = delta.custom
        name = custom.name if custom else function.name
        call = self._call_of(delta, name)
        piece = (custom.input if custom else _text_of(function.arguments)) or ""
        match delta.extra_content:
            case {"google": {"thought_signature": str(signature)}}:
                call.signature = signature
            case _:
                pass
        if call.part < 0:
            call.waiting += piece
            call.custom = call.custom or custom is not None
            if not name:
                return
            self._open_call(call, name)
            piece = call.waiting
        if piece:
            self._events.append(Delta(call.part, piece))
        if call.signature:
            self._events.append(Signed(call.part, Carrier(FORMAT, "signature", call.signature)))
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
        call.part = self._new_part()
        head = ToolCall(call.id, name, "", "custom" if call.custom else "function")
        self._events.append(PartStart(call.part, head))

    # ------------------------------------------------------------ both

    def _new_part(self) -> int:
        self.has_begun = True
        index = self._next_part
        self._next_part += 1
        return index

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._finish_word or "stop", "stop")
        if reason in ("stop", "tool") and self._calls:
            return "tool"
        if reason == "tool":
            return "stop"
        return "refusal" if self._refused and reason == "stop" else reason


def _text_of(arguments: str | dict[str, Any] | None) -> str | None:
    return dumps_text(arguments) if isinstance(arguments, dict) else arguments


def _citation(source: Json) -> Citation:
    url, title, quote = (source.get(key) for key in ("url", "title", "content"))
    start, end = (source.get(key) for key in ("start_index", "end_index"))
    return Citation(
        url=url if isinstance(url, str) else None,
        title=title if isinstance(title, str) else None,
        quote=quote if isinstance(quote, str) else None,
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
    )

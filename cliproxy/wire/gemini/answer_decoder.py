"""Gemini's answers, streamed in either framing or whole, as events."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import Struct

from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamCut, UpstreamFault, UpstreamGarbled
from cliproxy.wire.fold import fold
from cliproxy.wire.gemini.array_stream import ArrayParser
from cliproxy.wire.gemini.errors import streamed_error
from cliproxy.wire.gemini.grounding import GroundingMetadata, citations, search
from cliproxy.wire.gemini.vocabulary import (
    BROKEN_REASONS,
    FINISH_REASONS,
    FORMAT,
    UsageMetadata,
    inline_media,
    linked_media,
    usage_of,
)
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    FinishReason,
    Json,
    Opaque,
    Part,
    PartEnd,
    PartStart,
    Reasoning,
    ServerCall,
    ServerResult,
    Signed,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from cliproxy.wire.names import new_id
from cliproxy.wire.sse import SseParser

_BOM = b"\xef\xbb\xbf"
_NOTHING = (b"", b"[DONE]")
"""What compatible servers send now and then and Google does not."""


class _FunctionCall(Struct):
    name: str = ""
    id: str | None = None
    args: Any = None


class _Blob(Struct, rename="camel"):
    data: str = ""
    mime_type: str | None = None


class _File(Struct, rename="camel"):
    file_uri: str = ""
    mime_type: str | None = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    inline_data: _Blob | None = None
    file_data: _File | None = None
    executable_code: Json | None = None
    code_execution_result: Json | None = None
    tool_call: Json | None = None
    tool_response: Json | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    index: int | None = None
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    grounding_metadata: GroundingMetadata | None = None


class _PromptFeedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: UsageMetadata | None = None
    prompt_feedback: _PromptFeedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class AnswerDecoder:
    """Reads one streamed answer: server-sent events, or a JSON array where the first byte says so."""

    def __init__(self) -> None:
        self._parser: SseParser | ArrayParser | None = None
        self._head = b""
        self._answer = _Reader()
        self._over = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take 0..n bytes, cut anywhere; return the events they complete."""
        events: list[Event] = []
        if self._over:
            return events
        try:
            for data in self._frames(chunk):
                self._answer.take(_chunk(data), events)
        except UpstreamFault as fault:
            self._fail(fault, events)
        return events

    def finish(self) -> list[Event]:
        """End of the body: the last events, of which the very last is Finish or Failure."""
        events: list[Event] = []
        if self._over:
            return events
        try:
            if isinstance(self._parser, SseParser):
                for event in self._parser.finish():
                    self._answer.take(_chunk(event.data), events)
            self._answer.end(events)
            self._over = True
        except UpstreamFault as fault:
            self._fail(fault, events)
        return events

    def _fail(self, fault: UpstreamFault, events: list[Event]) -> None:
        self._answer.report_usage(events)
        events.append(Failure(fault))
        self._over = True

    def _frames(self, chunk: bytes) -> Iterator[bytes]:
        if self._parser is None:
            self._head += chunk
            start = self._head.removeprefix(_BOM).lstrip()
            if not start or _BOM.startswith(self._head):
                return
            self._parser = ArrayParser() if start[:1] in b"[{" else SseParser()
            chunk, self._head = self._head, b""
        if isinstance(self._parser, ArrayParser):
            yield from self._parser.feed(chunk)
        else:
            for event in self._parser.feed(chunk):
                yield event.data


def decode_answer(body: Json) -> Answer:
    """Read a whole answer.

    Raises UpstreamGarbled when it is none, UpstreamRefused when it is an error under status 200.
    """
    events: list[Event] = []
    reader = _Reader()
    reader.take(_converted(body), events)
    reader.end(events, whole=True)
    return fold(events)


def _chunk(data: bytes) -> _Chunk:
    try:
        return _decode(data)
    except msgspec.DecodeError:
        if data.strip() in _NOTHING:
            return _Chunk()
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UpstreamGarbled("the upstream's stream holds something that is not JSON") from error
    except RecursionError as error:
        raise UpstreamGarbled("the upstream's stream nests too deeply") from error
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]  # some servers wrap the error that ends a stream into a list
    return _converted(value)


def _converted(value: Any) -> _Chunk:
    try:
        return msgspec.convert(value, _Chunk, strict=False)
    except msgspec.ValidationError as error:
        raise UpstreamGarbled(f"the upstream's answer is not one of Gemini's: {error}") from error


class _Reader:
    """Turns chunks into events. What comes in many chunks is one part for as long as it is of one kind."""

    def __init__(self) -> None:
        self._started = False
        self._count = 0
        self._open: type[Text] | type[Reasoning] | None = None
        self._signed = False
        self._text: list[str] = []
        self._called = False
        self._spoken = False
        self._code_id = ""
        self._usage: UsageMetadata | None = None
        self._grounding = GroundingMetadata()
        self._finish: str | None = None
        self._finish_message: str | None = None
        self._blocked: str | None = None

    def take(self, chunk: _Chunk, events: list[Event]) -> None:
        """Raises UpstreamRefused when the chunk is an error."""
        if chunk.error is not None:
            raise streamed_error(chunk.error)
        if chunk.usage_metadata is not None:
            self._usage = chunk.usage_metadata
        if not self._started:
            self._started = True
            usage = usage_of(self._usage) if self._usage is not None else None
            events.append(Start(chunk.response_id or "", chunk.model_version or "", usage=usage))
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._blocked = chunk.prompt_feedback.block_reason
        for candidate in chunk.candidates or ():
            if candidate.index:
                continue  # one answer is all that can be told
            if candidate.content is not None:
                for part in candidate.content.parts or ():
                    self._take_part(part, events)
            if candidate.grounding_metadata is not None:
                self._grounding.update(candidate.grounding_metadata)
            if candidate.finish_reason:
                self._finish = candidate.finish_reason
                self._finish_message = candidate.finish_message

    def end(self, events: list[Event], *, whole: bool = False) -> None:
        """The end of the answer. A whole body needs no finish reason to be complete, if it holds an answer.

        Raises UpstreamCut when it ended too early, UpstreamGarbled when it is no answer.
        """
        reason = self._reason(whole)
        if self._open is Text:
            for citation in citations(self._grounding, "".join(self._text)):
                events.append(Cited(self._count, citation))
        self._close(events)
        for part in search(self._grounding):
            self._whole_part(part, events)
        self.report_usage(events)
        events.append(Finish(reason, raw=self._finish or self._blocked))

    def report_usage(self, events: list[Event]) -> None:
        if self._started and self._usage is not None:
            events.append(UsageReport(usage_of(self._usage)))

    def _reason(self, whole: bool) -> FinishReason:
        if self._finish is None:
            if self._blocked is not None:
                return "filter"
            if not whole:
                raise UpstreamCut("the upstream's answer ended before its end")
            if not self._count and self._open is None:
                raise UpstreamGarbled("the upstream's answer holds no candidates")
        elif self._finish in BROKEN_REASONS and not self._spoken:
            said = f": {self._finish_message}" if self._finish_message else ""
            raise UpstreamGarbled(f"the model's answer could not be used ({self._finish}){said}")
        reason = FINISH_REASONS.get(self._finish or "STOP", "stop")
        return "tool" if reason == "stop" and self._called else reason

    # ------------------------------------------------------------ parts

    def _take_part(self, part: _Part, events: list[Event]) -> None:
        text, signature = part.text, part.thought_signature
        if text is None:
            self._take_other(part, events)
            return
        kind = Reasoning if part.thought else Text
        if text or signature:
            if self._open is not kind or self._signed:
                self._close(events)
                self._open = kind
                events.append(PartStart(self._count, kind("")))
            if text:
                events.append(Delta(self._count, text))
                if kind is Text:
                    self._spoken = True
                    self._text.append(text)
            if signature:
                self._signed = True
                events.append(Signed(self._count, Carrier(FORMAT, "signature", signature)))

    def _take_other(self, part: _Part, events: list[Event]) -> None:
        call = part.function_call
        if call is not None:
            self._take_call(call, part.thought_signature, events)
        elif part.inline_data is not None:
            blob = part.inline_data
            self._whole_part(inline_media(blob.mime_type, blob.data), events)
        elif part.file_data is not None:
            file = part.file_data
            self._whole_part(linked_media(file.mime_type, file.file_uri), events)
        elif part.executable_code is not None:
            self._code_id = new_id("code_")
            raw = _raw("executableCode", part.executable_code, part)
            self._whole_part(ServerCall(self._code_id, "code_execution", FORMAT, part.executable_code, raw), events)
        elif part.code_execution_result is not None:
            raw = _raw("codeExecutionResult", part.code_execution_result, part)
            self._whole_part(ServerResult(self._code_id, "code_execution", FORMAT, raw=raw), events)
        elif part.tool_call is not None:
            self._whole_part(Opaque(FORMAT, _raw("toolCall", part.tool_call, part)), events)
        elif part.tool_response is not None:
            self._whole_part(Opaque(FORMAT, _raw("toolResponse", part.tool_response, part)), events)

    def _take_call(self, call: _FunctionCall, signature: str | None, events: list[Event]) -> None:
        self._close(events)
        self._called = self._spoken = True
        events.append(PartStart(self._count, ToolCall(call.id or new_id("call_"), call.name, "")))
        events.append(Delta(self._count, _arguments(call.args)))
        if signature:
            events.append(Signed(self._count, Carrier(FORMAT, "signature", signature)))
        events.append(PartEnd(self._count))
        self._count += 1

    def _whole_part(self, part: Part, events: list[Event]) -> None:
        self._close(events)
        self._spoken = True
        events.append(PartStart(self._count, part))
        events.append(PartEnd(self._count))
        self._count += 1

    def _close(self, events: list[Event]) -> None:
        if self._open is None:
            return
        events.append(PartEnd(self._count))
        self._count += 1
        self._open = None
        self._signed = False
        self._text = []


def _raw(name: str, content: Json, part: _Part) -> Json:
    raw: Json = {name: content}
    if part.thought_signature:
        raw["thoughtSignature"] = part.thought_signature
    return raw


def _arguments(args: Any) -> str:
    """A call's arguments as JSON text; some compatible servers send them as text already."""
    if isinstance(args, str):
        try:
            args = json.loads(args)
        except (ValueError, RecursionError):
            args = None
    return json.dumps_text(args) if isinstance(args, dict) else "{}"

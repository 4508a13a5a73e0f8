"""Chunks of a Gemini answer, streamed in either framing, or a whole one → events, or an `Answer`."""

from typing import Any, cast

import msgspec
from msgspec import Struct

from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled
from cliproxy.wire.fold import fold
from cliproxy.wire.gemini.errors import streamed_error
from cliproxy.wire.gemini.framing import FrameParser
from cliproxy.wire.gemini.grounding import GroundingMetadata, citations, search
from cliproxy.wire.gemini.vocabulary import (
    BROKEN_FINISHES,
    FORMAT,
    finish_reason,
    inline_media,
    linked_media,
    usage_of,
)
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Json,
    Opaque,
    Part,
    Reasoning,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
)
from cliproxy.wire.names import new_id
from cliproxy.wire.streaming import StreamDecoder, StreamReader


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
    """The members of a chunk or a whole answer that are read."""

    candidates: list[_Candidate] | None = None
    usage_metadata: Json | None = None
    prompt_feedback: _PromptFeedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class AnswerDecoder(StreamDecoder):
    """Turns the bytes of one stream into events."""

    def __init__(self) -> None:
        super().__init__(_Reader(), FrameParser())


def decode_answer(body: Json) -> Answer:
    """The answer that a whole body holds.

    Raises UpstreamRefused when it is an error, UpstreamGarbled when it is no answer of this format.
    """
    reader = _Reader()
    reader.take(_converted(body))
    reader.end(complete=True)
    return fold(reader.events.drain())


def _decoded(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = loads(data)
    except ValueError as error:
        raise UpstreamGarbled(f"the upstream's stream holds what is not JSON: {error}") from None
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]  # some servers wrap the error that ends a stream into a list
    return _converted(value)


def _converted(value: Any) -> _Chunk:
    try:
        return msgspec.convert(value, _Chunk, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter by half a surrogate pair
        raise UpstreamGarbled(f"the upstream's answer is not one of Gemini's: {error}") from None


class _Reader(StreamReader):
    """The state of one answer, over decoded chunks. What comes in many chunks is one part while it is of one kind."""

    def __init__(self) -> None:
        super().__init__()
        self._prose: type[Text | Reasoning] | None = None
        self._prose_part = -1
        self._text: list[str] = []
        self._signed = False
        self._spoken = False
        """Something but thoughts has come."""
        self._code_id = ""
        self._usage: Json = {}
        self._grounding = GroundingMetadata()
        self._finish_word: str | None = None
        self._finish_message: str | None = None
        self._blocked: str | None = None

    def read(self, name: str, data: bytes) -> None:
        # What compatible servers send now and then and Google does not.
        if self.events.over or not data or data.isspace() or data == b"[DONE]":
            return
        self.take(_decoded(data))

    def take(self, chunk: _Chunk) -> None:
        """Raises UpstreamRefused when the chunk is an error."""
        if chunk.error is not None:
            raise streamed_error({"error": chunk.error})
        if chunk.usage_metadata:
            self._usage = chunk.usage_metadata
        if not self.events.started:
            usage = usage_of(self._usage) if self._usage else None
            self.events.start(chunk.response_id or "", chunk.model_version or "", usage=usage)
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._blocked = chunk.prompt_feedback.block_reason
        for candidate in chunk.candidates or ():
            # Further candidates have no place in an answer.
            if not candidate.index:
                self._take_candidate(candidate)

    def fail(self, error: GatewayError) -> None:
        if not self.events.over:
            self._report_usage()
        super().fail(error)

    def end(self, *, complete: bool = False) -> None:
        if self.events.over:
            return
        if self._finish_word is None and self._blocked is None:
            if not complete:
                raise UpstreamCut
            if not self.events.parts:
                raise UpstreamGarbled("the upstream's answer holds no candidates")
        if self._finish_word in BROKEN_FINISHES and not self._spoken:
            said = f": {self._finish_message}" if self._finish_message else ""
            raise UpstreamGarbled(f"the model's answer could not be used ({self._finish_word}){said}")
        if self._prose is Text:
            for citation in citations(self._grounding, "".join(self._text)):
                self.events.cite(self._prose_part, citation)
        self._close_prose()
        for part in search(self._grounding):
            self.events.whole(part)
        self._report_usage()
        word = self._finish_word or self._blocked
        blocked = self._finish_word is None and self._blocked is not None
        self.events.finish("filter" if blocked else finish_reason(word, called=ToolCall in self.events.kinds), raw=word)

    def _report_usage(self) -> None:
        if self._usage:
            self.events.usage(usage_of(self._usage))

    def _take_candidate(self, candidate: _Candidate) -> None:
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._take_part(part)
        if candidate.grounding_metadata is not None:
            self._grounding.update(candidate.grounding_metadata)
        if candidate.finish_reason:
            self._finish_word = candidate.finish_reason
            self._finish_message = candidate.finish_message

    # ------------------------------------------------------------ prose

    def _take_part(self, part: _Part) -> None:
        text, signature = part.text, part.thought_signature
        if text is None:
            self._take_other(part)
        elif text or signature:
            self._say(Reasoning if part.thought else Text, text)
            if signature:
                self._signed = True
                self.events.sign(self._prose_part, Carrier(FORMAT, "signature", signature))

    def _say(self, kind: type[Text | Reasoning], text: str) -> None:
        if self._prose is not kind or self._signed:
            self._close_prose()
            self._prose, self._prose_part = kind, self.events.open(kind(""))
        if text:
            self.events.delta(self._prose_part, text)
            if kind is Text:
                self._spoken = True
                self._text.append(text)

    def _close_prose(self) -> None:
        if self._prose is not None:
            self.events.close(self._prose_part)
            self._prose = None
            self._signed = False
            self._text = []

    # ------------------------------------------------------------ calls and other parts

    def _take_other(self, part: _Part) -> None:
        if part.function_call is not None:
            self._take_call(part.function_call, part.thought_signature)
        elif part.inline_data is not None:
            self._whole(inline_media(part.inline_data.mime_type, part.inline_data.data))
        elif part.file_data is not None:
            self._whole(linked_media(part.file_data.mime_type, part.file_data.file_uri))
        elif part.executable_code is not None:
            self._code_id, code = new_id("code_"), part.executable_code
            raw = _raw("executableCode", code, part)
            self._whole(ServerCall(self._code_id, "code_execution", FORMAT, code, raw))
        elif part.code_execution_result is not None:
            raw = _raw("codeExecutionResult", part.code_execution_result, part)
            self._whole(ServerResult(self._code_id, "code_execution", FORMAT, raw=raw))
        elif part.tool_call is not None:
            self._whole(Opaque(FORMAT, _raw("toolCall", part.tool_call, part)))
        elif part.tool_response is not None:
            self._whole(Opaque(FORMAT, _raw("toolResponse", part.tool_response, part)))

    def _take_call(self, call: _FunctionCall, signature: str | None) -> None:
        self._close_prose()
        self._spoken = True
        index = self.events.open(ToolCall(call.id or new_id("call_"), call.name, ""))
        self.events.delta(index, _arguments(call.args))
        if signature:
            self.events.sign(index, Carrier(FORMAT, "signature", signature))
        self.events.close(index)

    def _whole(self, part: Part) -> None:
        self._close_prose()
        self._spoken = True
        self.events.whole(part)


def _raw(name: str, content: Json, part: _Part) -> Json:
    raw: Json = {name: content}
    if part.thought_signature:
        raw["thoughtSignature"] = part.thought_signature
    return raw


def _arguments(args: Any) -> str:
    """A call's arguments as JSON text; some compatible servers send them as text already."""
    if isinstance(args, str):
        try:
            args = loads(args)
        except ValueError:
            args = None
    return dumps_text(args) if isinstance(args, dict) else "{}"

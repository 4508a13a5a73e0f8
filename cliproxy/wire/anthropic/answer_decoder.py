"""Stream events of a message, or a whole one → events, or an `Answer`."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from cliproxy.wire.anthropic.errors import streamed_error
from cliproxy.wire.anthropic.vocabulary import (
    FORMAT,
    citation_of,
    finish_reason,
    redacted_part,
    server_call,
    server_result,
    usage_of,
)
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.fold import fold
from cliproxy.wire.json import dumps_text, loads, loads_object
from cliproxy.wire.model import Answer, Carrier, Json, Opaque, Reasoning, Text, ToolCall
from cliproxy.wire.streaming import StreamDecoder, StreamReader


class _Delta(Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: Json | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Chunk(Struct):
    """The members of all stream events that are read."""

    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: Json | None = None
    message: Json | None = None
    usage: Json | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode

_KIND_OF_DELTA = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}
"""The kind of block that each kind of delta belongs to."""

_CALL_TYPES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class AnswerDecoder(StreamDecoder):
    """Turns the bytes of one stream into events."""

    def __init__(self) -> None:
        super().__init__(_Reader())


def decode_answer(body: Json) -> Answer:
    """The answer that a whole body holds.

    Raises UpstreamRefused when it is an error, UpstreamGarbled when it is no answer of this format.
    """
    if body.get("type") == "error" or body.get("error"):
        raise streamed_error(body)
    if not isinstance(body.get("content"), list):
        raise UpstreamGarbled("the upstream's answer is not a message of the Messages API")
    reader = _Reader()
    reader.take("message_start", _Chunk(message=body))
    for index, block in enumerate(objects_of(body, "content")):
        reader.take("content_block_start", _Chunk(index=index, content_block=block))
        reader.take("content_block_stop", _Chunk(index=index))
    reason, sequence = text_of(body, "stop_reason") or None, text_of(body, "stop_sequence") or None
    reader.take("message_delta", _Chunk(delta=_Delta(stop_reason=reason, stop_sequence=sequence)))
    reader.end(complete=True)
    return fold(reader.events.drain())


def _decoded(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.convert(loads(data), _Chunk)
    except (ValueError, msgspec.ValidationError) as error:
        raise UpstreamGarbled(f"the upstream's stream holds what is no event: {error}") from None


class _Block:
    """A content block that is open."""

    __slots__ = ("arguments", "begun", "kind", "part", "raw", "signature")

    def __init__(self, kind: str, raw: Json) -> None:
        self.kind = kind
        self.part = -1
        """Index of its part; -1 while the part is not begun."""
        self.raw = raw
        self.begun = False
        """Arguments of a call have come as deltas."""
        self.arguments: list[str] = []
        self.signature: list[str] = []


class _Reader(StreamReader):
    """The state of one answer, over decoded events."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, _Block] = {}
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None

    def read(self, name: str, data: bytes) -> None:
        # Some servers close with OpenAI's end mark, which adds nothing.
        if self.events.over or not data or data == b"[DONE]":
            return
        chunk = _decoded(data)
        self.take(chunk.type or name, chunk)

    def take(self, kind: str, chunk: _Chunk) -> None:
        """Raises UpstreamRefused when the event is an error."""
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, chunk)
        elif chunk.error or kind == "error":
            raise streamed_error({"error": chunk.error})

    def end(self, *, complete: bool = False) -> None:
        if self.events.over:
            return
        # Some servers close without `message_stop`, but not without a stop reason.
        if self._stop_reason is None and not complete:
            raise UpstreamCut
        self.on_message_stop(_Chunk())

    # ------------------------------------------------------------ one method an event type

    def on_message_start(self, chunk: _Chunk) -> None:
        message = chunk.message or {}
        usage = usage_of(object_of(message, "usage"))
        self.events.start(text_of(message, "id"), text_of(message, "model"), usage=usage)

    def on_block_start(self, chunk: _Chunk) -> None:
        known = self._blocks.get(chunk.index)
        if known is not None:
            self._close(known)
        raw = chunk.content_block or {}
        self._open(chunk.index, text_of(raw, "type"), raw)

    def on_block_delta(self, chunk: _Chunk) -> None:
        delta = chunk.delta
        if delta is None:
            return
        wanted = _KIND_OF_DELTA.get(delta.type)
        block = self._blocks.get(chunk.index)
        if block is None:
            if wanted is None:
                return
            if wanted == "tool_use":
                raise UpstreamGarbled("the upstream sent arguments of a tool call that it did not begin")
            block = self._open(chunk.index, wanted, {})
        if block.kind != wanted and not (wanted == "tool_use" and block.kind in _CALL_TYPES):
            return
        match delta:
            case _Delta(type="text_delta", text=str(text)) | _Delta(type="thinking_delta", thinking=str(text)) if text:
                self.events.delta(block.part, text)
            case _Delta(type="input_json_delta", partial_json=str(text)) if text:
                self._take_arguments(block, text)
            case _Delta(type="signature_delta", signature=str(signature)):
                block.signature.append(signature)
            case _Delta(type="citations_delta", citation=dict(location)) if location:
                self.events.cite(block.part, citation_of(location))
            case _:
                pass

    def on_block_stop(self, chunk: _Chunk) -> None:
        block = self._blocks.pop(chunk.index, None)
        if block is not None:
            self._close(block)

    def on_message_delta(self, chunk: _Chunk) -> None:
        self.events.start()
        if chunk.delta is not None and chunk.delta.stop_reason is not None:
            self._stop_reason = chunk.delta.stop_reason
            self._stop_sequence = chunk.delta.stop_sequence
        if chunk.usage:
            self.events.usage(usage_of(chunk.usage))

    def on_message_stop(self, chunk: _Chunk) -> None:
        for block in self._blocks.values():
            self._close(block)
        reason = finish_reason(self._stop_reason, called=ToolCall in self.events.kinds)
        self.events.finish(reason, self._stop_sequence, self._stop_reason)

    # ------------------------------------------------------------ blocks

    def _open(self, index: int, kind: str, raw: Json) -> _Block:
        block = self._blocks[index] = _Block(kind, raw)
        match kind:
            case "text":
                block.part = self.events.open(Text(""))
                self._say(block, "text")
                for location in objects_of(raw, "citations"):
                    self.events.cite(block.part, citation_of(location))
            case "thinking":
                block.part = self.events.open(Reasoning())
                self._say(block, "thinking")
                block.signature.append(text_of(raw, "signature"))
            case "redacted_thinking":
                block.part = self.events.open(Reasoning())
                carrier = redacted_part(raw).carrier
                if carrier is not None:
                    self.events.sign(block.part, carrier)
            case "tool_use":
                block.part = self.events.open(ToolCall(text_of(raw, "id"), text_of(raw, "name"), ""))
            case "server_tool_use" | "mcp_tool_use":
                pass  # One whole part: it begins when its input is complete.
            case _:
                whole = server_result(raw) if kind.endswith("_tool_result") else Opaque(FORMAT, raw)
                block.part = self.events.open(whole)
        return block

    def _say(self, block: _Block, key: str) -> None:
        """What stood in the block's start already."""
        text = text_of(block.raw, key)
        if text:
            self.events.delta(block.part, text)

    def _take_arguments(self, block: _Block, text: str) -> None:
        block.begun = True
        if block.kind == "tool_use":
            self.events.delta(block.part, text)
        else:
            block.arguments.append(text)

    def _close(self, block: _Block) -> None:
        if block.kind == "tool_use":
            if not block.begun:
                # The whole input may have stood in the block's start; the model wants an object in any case.
                self.events.delta(block.part, dumps_text(object_of(block.raw, "input")))
        elif block.kind == "thinking":
            signature = "".join(block.signature)
            if signature:
                self.events.sign(block.part, Carrier(FORMAT, "signature", signature))
        elif block.kind in _CALL_TYPES:
            block.part = self.events.open(server_call(block.raw, _input_of(block)))
        self.events.close(block.part)


_HANDLERS: dict[str, Callable[[_Reader, _Chunk], None]] = {
    "message_start": _Reader.on_message_start,
    "content_block_start": _Reader.on_block_start,
    "content_block_delta": _Reader.on_block_delta,
    "content_block_stop": _Reader.on_block_stop,
    "message_delta": _Reader.on_message_delta,
    "message_stop": _Reader.on_message_stop,
}


def _input_of(block: _Block) -> Json:
    if not block.arguments:
        return object_of(block.raw, "input")
    try:
        return loads_object("".join(block.arguments), "the input")
    except ValueError:
        return {}

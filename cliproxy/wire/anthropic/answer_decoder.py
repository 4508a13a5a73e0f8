"""Reads the answers of a Messages upstream: event streams and whole bodies, through one state machine."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from cliproxy.wire.anthropic.errors import streamed_error
from cliproxy.wire.anthropic.fields import object_of, objects_of, text_of
from cliproxy.wire.anthropic.vocabulary import (
    FORMAT,
    citation_of,
    finish_reason,
    redacted_part,
    server_call,
    server_result,
    usage_of,
)
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled
from cliproxy.wire.fold import fold
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    Json,
    Opaque,
    Part,
    PartEnd,
    PartStart,
    Reasoning,
    Signed,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from cliproxy.wire.sse import ServerSentEvent, SseParser


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
    """The members of all event types that are read."""

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


class AnswerDecoder:
    """Turns the bytes of one event stream into events, however they are cut."""

    def __init__(self) -> None:
        self._parser = SseParser()
        self._reader = _Reader()
        self._heard = False
        """Some event has come: what arrives is an event stream at all."""
        self._spoken = False
        """Some byte has come."""

    def feed(self, chunk: bytes) -> list[Event]:
        if self._reader.ended:
            return []
        self._spoken = self._spoken or bool(chunk)
        try:
            frames = self._parser.feed(chunk)
        except UpstreamGarbled as fault:
            self._reader.fail(fault)
            frames = []
        return self._read(frames)

    def finish(self) -> list[Event]:
        if self._reader.ended:
            return []
        events = self._read(self._parser.finish())
        if not self._reader.ended:
            if self._spoken and not self._heard:
                self._reader.fail(UpstreamGarbled("the upstream's answer is not an event stream"))
            else:
                self._reader.end_of_stream()
            events += self._reader.take()
        return events

    def _read(self, frames: list[ServerSentEvent]) -> list[Event]:
        reader = self._reader
        for name, data in frames:
            # Some servers close with OpenAI's end mark, which adds nothing.
            if reader.ended or not data or data == b"[DONE]":
                continue
            self._heard = True
            try:
                chunk = _decode_chunk(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                chunk = _read_leniently(data)
            if chunk is None:
                reader.fail(UpstreamGarbled("the upstream sent an event that is not one of the Messages API"))
            else:
                reader.read(chunk.type or name, chunk)
        return reader.take()


def _read_leniently(data: bytes) -> _Chunk | None:
    try:
        return msgspec.convert(loads(data), _Chunk)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None


def decode_answer(body: Json) -> Answer:
    """The answer that a whole body holds.

    Raises UpstreamRefused when it is an error, UpstreamGarbled when it is no answer of this format.
    """
    value: Any = body
    if isinstance(value, dict) and (body.get("type") == "error" or body.get("error")):
        raise streamed_error(body)
    if not isinstance(value, dict) or not isinstance(body.get("content"), list):
        raise UpstreamGarbled("the upstream's answer is not a message of the Messages API")
    reader = _Reader()
    reader.read("message_start", _Chunk(message=body))
    for index, block in enumerate(objects_of(body, "content")):
        reader.read("content_block_start", _Chunk(index=index, content_block=block))
        reader.read("content_block_stop", _Chunk(index=index))
    reason, sequence = text_of(body, "stop_reason") or None, text_of(body, "stop_sequence") or None
    reader.read("message_delta", _Chunk(delta=_Delta(stop_reason=reason, stop_sequence=sequence)))
    reader.read("message_stop", _Chunk())
    return fold(reader.take())


class _Block:
    """A content block that is open."""

    __slots__ = ("arguments", "begun", "kind", "part", "raw", "signature")

    def __init__(self, kind: str, part: int, raw: Json) -> None:
        self.kind = kind
        self.part = part
        """Index of its part; -1 while the part is not begun."""
        self.raw = raw
        self.begun = False
        """Arguments of a call have come as deltas."""
        self.arguments: list[str] = []
        self.signature: list[str] = []


class _Reader:
    """The state of one answer, over decoded events."""

    def __init__(self) -> None:
        self.ended = False
        self._events: list[Event] = []
        self._started = False
        self._blocks: dict[int, _Block] = {}
        self._parts = 0
        self._called = False
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None
        self._readers: dict[str, Callable[[_Chunk], None]] = {
            "content_block_delta": self._delta,
            "content_block_start": self._block_start,
            "content_block_stop": self._block_stop,
            "message_start": self._message_start,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }
        self._starters: dict[str, Callable[[_Block], None]] = {
            "text": self._start_text,
            "thinking": self._start_thinking,
            "tool_use": self._start_call,
            "server_tool_use": _wait_for_input,
            "mcp_tool_use": _wait_for_input,
            "redacted_thinking": self._start_redacted,
        }
        self._takers: dict[str, Callable[[_Block, _Delta], None]] = {
            "input_json_delta": self._take_arguments,
            "signature_delta": _take_signature,
            "citations_delta": self._take_citation,
        }

    def read(self, kind: str, chunk: _Chunk) -> None:
        if self.ended:
            return
        reader = self._readers.get(kind)
        if reader is not None:
            reader(chunk)
        elif chunk.error:
            self._error(chunk)

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def fail(self, error: GatewayError) -> None:
        self._start()
        self._events.append(Failure(error))
        self.ended = True

    def end_of_stream(self) -> None:
        """The upstream has closed: well only after a stop reason."""
        if self._stop_reason is None:
            self.fail(UpstreamCut("the upstream's answer ended before its end"))
        else:
            self._finish()

    def _finish(self) -> None:
        self._start()
        for block in list(self._blocks.values()):
            self._close(block)
        reason = finish_reason(self._stop_reason, called=self._called)
        self._events.append(Finish(reason, self._stop_sequence, self._stop_reason))
        self.ended = True

    # ------------------------------------------------------------ the message

    def _start(self, message: Json | None = None) -> None:
        if not self._started:
            self._started = True
            said = message or {}
            usage = usage_of(object_of(said, "usage"))
            self._events.append(Start(text_of(said, "id"), text_of(said, "model"), usage=usage))

    def _message_start(self, chunk: _Chunk) -> None:
        self._start(chunk.message)

    def _message_delta(self, chunk: _Chunk) -> None:
        self._start()
        if chunk.delta is not None and chunk.delta.stop_reason is not None:
            self._stop_reason = chunk.delta.stop_reason
            self._stop_sequence = chunk.delta.stop_sequence
        if chunk.usage:
            self._events.append(UsageReport(usage_of(chunk.usage)))

    def _message_stop(self, chunk: _Chunk) -> None:
        self._finish()

    def _error(self, chunk: _Chunk) -> None:
        self.fail(streamed_error({"error": chunk.error}))

    # ------------------------------------------------------------ blocks

    def _block_start(self, chunk: _Chunk) -> None:
        self._start()
        known = self._blocks.get(chunk.index)
        if known is not None:
            self._close(known)
        raw = chunk.content_block or {}
        self._open(chunk.index, text_of(raw, "type"), raw)

    def _open(self, index: int, kind: str, raw: Json) -> _Block:
        block = self._blocks[index] = _Block(kind, -1, raw)
        self._starters.get(kind, self._start_whole)(block)
        return block

    def _begin(self, block: _Block, part: Part) -> None:
        block.part = self._parts
        self._parts += 1
        self._events.append(PartStart(block.part, part))

    def _start_text(self, block: _Block) -> None:
        self._begin(block, Text(""))
        text = text_of(block.raw, "text")
        if text:
            self._events.append(Delta(block.part, text))
        for location in objects_of(block.raw, "citations"):
            self._events.append(Cited(block.part, citation_of(location)))

    def _start_thinking(self, block: _Block) -> None:
        self._begin(block, Reasoning())
        thinking = text_of(block.raw, "thinking")
        if thinking:
            self._events.append(Delta(block.part, thinking))
        block.signature.append(text_of(block.raw, "signature"))

    def _start_redacted(self, block: _Block) -> None:
        self._begin(block, Reasoning())
        carrier = redacted_part(block.raw).carrier
        if carrier is not None:
            self._events.append(Signed(block.part, carrier))

    def _start_call(self, block: _Block) -> None:
        self._called = True
        self._begin(block, ToolCall(text_of(block.raw, "id"), text_of(block.raw, "name"), ""))

    def _start_whole(self, block: _Block) -> None:
        whole = server_result(block.raw) if block.kind.endswith("_tool_result") else Opaque(FORMAT, block.raw)
        self._begin(block, whole)

    def _block_stop(self, chunk: _Chunk) -> None:
        block = self._blocks.get(chunk.index)
        if block is not None:
            self._close(block)
            del self._blocks[chunk.index]

    def _close(self, block: _Block) -> None:
        if block.kind == "tool_use":
            if not block.begun:
                # The whole input may have stood in the block's start; the model wants an object in any case.
                self._events.append(Delta(block.part, dumps_text(object_of(block.raw, "input"))))
        elif block.kind == "thinking":
            signature = "".join(block.signature)
            if signature:
                self._events.append(Signed(block.part, Carrier(FORMAT, "signature", signature)))
        elif block.kind in _CALL_TYPES:
            self._begin(block, server_call(block.raw, _input_of(block)))
        self._events.append(PartEnd(block.part))

    # ------------------------------------------------------------ deltas

    def _delta(self, chunk: _Chunk) -> None:
        delta = chunk.delta
        if delta is None:
            return
        block = self._blocks.get(chunk.index)
        wanted = _KIND_OF_DELTA.get(delta.type)
        if block is None:
            if wanted is None:
                return
            if wanted == "tool_use":
                self.fail(UpstreamGarbled("the upstream sent arguments of a tool call that it did not begin"))
                return
            self._start()
            block = self._open(chunk.index, wanted, {})
        if block.kind != wanted and not (wanted == "tool_use" and block.kind in _CALL_TYPES):
            return
        text = delta.text if wanted == "text" else delta.thinking
        if text:
            self._events.append(Delta(block.part, text))
        else:
            take = self._takers.get(delta.type)
            if take is not None:
                take(block, delta)

    def _take_arguments(self, block: _Block, delta: _Delta) -> None:
        if not delta.partial_json:
            return
        block.begun = True
        if block.kind == "tool_use":
            self._events.append(Delta(block.part, delta.partial_json))
        else:
            block.arguments.append(delta.partial_json)

    def _take_citation(self, block: _Block, delta: _Delta) -> None:
        if delta.citation:
            self._events.append(Cited(block.part, citation_of(delta.citation)))


def _wait_for_input(block: _Block) -> None:
    """A call at the vendor is one whole part: it begins when its input is complete."""


def _take_signature(block: _Block, delta: _Delta) -> None:
    block.signature.append(delta.signature or "")


def _input_of(block: _Block) -> Json:
    try:
        value = loads("".join(block.arguments)) if block.arguments else block.raw.get("input")
    except (ValueError, RecursionError):
        value = None
    return object_of({"input": value}, "input")

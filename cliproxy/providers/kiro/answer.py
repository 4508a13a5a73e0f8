"""The service's event stream → the stream, or the whole message, of the Anthropic format.

The service tells credits and how full the context is, but counts tokens only at times: otherwise they are estimated.
References to code and the web, follow-up prompts and the like have no place in an answer.
"""

from collections.abc import Callable
from typing import Any, cast

from cliproxy.providers.kiro.errors import TOO_LONG, exception_name, refusal
from cliproxy.providers.kiro.frames import Frame, FrameParser
from cliproxy.providers.kiro.tools import tool_names
from cliproxy.wire import json, tokens
from cliproxy.wire.anthropic import AnswerEncoder, encode_answer
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.event_sequence import EventSequence
from cliproxy.wire.fields import integer_of, object_of, text_of
from cliproxy.wire.fold import Fold
from cliproxy.wire.model import Event, FinishReason, Json, Reasoning, Request, Text, ToolCall, Usage

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_JSON, _SSE = "application/json", "text/event-stream"

_FINISHES: dict[str, FinishReason] = {
    "CONTENT_FILTERED": "refusal",
    "END_TURN": "stop",
    "MAX_TOKENS": "length",
    "MODEL_CONTEXT_WINDOW_EXCEEDED": "length",
    "PAUSE_TURN": "pause",
    "TOOL_USE": "tool",
}


class KiroAnswer:
    """An `AnswerReader` of one answer. request: as the service got it. stream: what is read is wanted as a stream."""

    def __init__(self, request: Request, *, stream: bool) -> None:
        self.content_type = _SSE if stream else _JSON
        self._request = request
        self._frames = FrameParser()
        self._answer = _Events(request)
        self._encoder = AnswerEncoder(request, request.model) if stream else None
        self._whole = Fold()
        self._fault: GatewayError | None = None
        """Why nothing more can be read; raised once all that came before is handed out."""

    def feed(self, data: bytes) -> bytes:
        if self._fault:
            raise self._fault
        try:
            for frame in self._frames.feed(data):
                self._answer.read(frame)
        except UpstreamGarbled as fault:
            self._fault = fault
        out = self._written(self._answer.drain())
        if self._fault and not out:
            raise self._fault
        return out

    def finish(self) -> bytes:
        if self._fault:
            raise self._fault
        self._frames.finish()
        self._answer.end()
        out = self._written(self._answer.drain())
        if self._encoder:
            return out
        return json.dumps(encode_answer(self._whole.answer, self._request, self._request.model))

    def _written(self, events: list[Event]) -> bytes:
        if self._encoder:
            return b"".join(map(self._encoder.push, events))
        for event in events:
            self._whole.push(event)
        return b""


class _Events:
    """What the frames of one answer say, as events. Nothing is said before there is content or an error."""

    def __init__(self, request: Request) -> None:
        self._events = EventSequence()
        self._names = tool_names(request).restored
        self._estimate = tokens.count(request)
        intent = request.reasoning
        self._thinks_aloud = intent is not None and intent.effort != "none" and intent.visible is not False
        """The client asked for reasoning; others do not expect any."""
        self._id = ""
        self._open: tuple[type[Text | Reasoning], int] | None = None
        """The part that words are added to."""
        self._calls: dict[str, int] = {}
        """The calls whose arguments are still coming."""
        self._written: list[str] = []
        """All that was generated."""
        self._usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._handlers: dict[str, Callable[[Json], None]] = {
            "assistantResponseEvent": self._text,
            "reasoningContentEvent": self._reasoning,
            "toolUseEvent": self._tool_use,
            "messageMetadataEvent": self._message,
            "metadataEvent": self._metadata,
            "invalidStateEvent": self._invalid_state,
        }

    def drain(self) -> list[Event]:
        return self._events.drain()

    def read(self, frame: Frame) -> None:
        """Take one frame; nothing after the end. Raises UpstreamGarbled."""
        if self._events.over:
            return
        if frame.type != "event":
            self._refused(frame)
        elif handler := self._handlers.get(frame.name):
            try:
                handler(json.loads_object(frame.payload, frame.name))
            except ValueError as error:
                raise UpstreamGarbled(f"the upstream's event stream is damaged: {error}") from None

    def end(self) -> None:
        """The body is over: end the answer, unless it has ended. Raises UpstreamCut within a call."""
        if self._events.over:
            return
        if self._calls and self._finish != "length":
            raise UpstreamCut
        for index in self._calls.values():
            self._events.close(index)
        self._close()
        self._begin()
        self._events.usage(self._usage or Usage(output=tokens.estimate("".join(self._written))))
        self._events.finish(self._finish or ("tool" if ToolCall in self._events.kinds else "stop"))

    # ------------------------------------------------------------ content

    def _text(self, event: Json) -> None:
        self._say(Text, text_of(event, "content"))

    def _reasoning(self, event: Json) -> None:
        """Signatures are left out: they hold for this account only, and are never sent back to it."""
        words = text_of(event, "text")
        if self._thinks_aloud:
            self._say(Reasoning, words)
        else:
            self._written.append(words)

    def _say(self, kind: type[Text | Reasoning], words: str) -> None:
        if not words:
            return
        if self._open is None or self._open[0] is not kind:
            self._close()
            self._begin()
            self._open = (kind, self._events.open(kind("")))
        self._written.append(words)
        self._events.delta(self._open[1], words)

    def _close(self) -> None:
        if self._open:
            self._events.close(self._open[1])
            self._open = None

    def _tool_use(self, event: Json) -> None:
        id = text_of(event, "toolUseId")
        index = self._calls.get(id)
        if index is None:
            self._close()
            self._begin()
            name = text_of(event, "name")
            index = self._calls[id] = self._events.open(ToolCall(id, self._names.get(name, name), ""))
        if arguments := _arguments(event.get("input")):
            self._written.append(arguments)
            self._events.delta(index, arguments)
        if event.get("stop") is True:
            self._events.close(self._calls.pop(id))

    def _begin(self) -> None:
        self._events.start(self._id, usage=Usage(input=self._estimate))

    # ------------------------------------------------------------ beside the content

    def _message(self, event: Json) -> None:
        self._id = text_of(event, "utteranceId")

    def _metadata(self, event: Json) -> None:
        if finish := _FINISHES.get(text_of(event, "stopReason")):
            self._finish = finish
        counts = object_of(event, "tokenUsage")
        if counts:
            self._usage = Usage(
                input=integer_of(counts, "uncachedInputTokens"),
                cache_read=integer_of(counts, "cacheReadInputTokens"),
                cache_write=integer_of(counts, "cacheWriteInputTokens"),
                output=integer_of(counts, "outputTokens"),
            )

    # ------------------------------------------------------------ errors

    def _invalid_state(self, event: Json) -> None:
        message = text_of(event, "message") or text_of(event, "reason") or "the conversation is in no valid state"
        self._events.fail(UpstreamRefused(message, status=400))

    def _refused(self, frame: Frame) -> None:
        if exception_name(frame) == TOO_LONG and self._events.started:
            self._finish = "length"
        else:
            self._events.fail(refusal(frame))


def _arguments(value: Any) -> str:
    """A fragment of JSON, or at times the whole object."""
    if isinstance(value, str):
        return value
    return json.dumps_text(cast("Json", value)) if isinstance(value, dict) and value else ""

"""Stream events of a response, or a whole one → events, or an `Answer`."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fields import integer_of, object_of, objects_of, text_of
from cliproxy.wire.fold import fold
from cliproxy.wire.json import loads_object
from cliproxy.wire.model import Answer, Json, Refusal, Text, ToolCall
from cliproxy.wire.openai_responses.errors import streamed_error
from cliproxy.wire.openai_responses.output_decoder import (
    CallReader,
    ItemReader,
    MessageReader,
    ReasoningReader,
    reader_class,
)
from cliproxy.wire.openai_responses.vocabulary import citation_of, finish_reason, usage_of
from cliproxy.wire.streaming import StreamDecoder, StreamReader


class _Chunk(Struct):
    """The members of all stream events that are read."""

    type: str = ""
    output_index: int | None = None
    item_id: str | None = None
    content_index: int = 0
    summary_index: int = 0
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    item: Json | None = None
    part: Json | None = None
    annotation: Json | None = None
    response: Json | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode

_TEXT, _NUMBER, _OBJECT = (str,), (int,), (dict,)
_MEMBER_TYPES: dict[str, tuple[type, ...]] = {
    "type": _TEXT, "output_index": _NUMBER, "item_id": _TEXT, "content_index": _NUMBER, "summary_index": _NUMBER,
    "delta": _TEXT, "text": _TEXT, "refusal": _TEXT, "arguments": _TEXT, "input": _TEXT, "item": _OBJECT,
    "part": _OBJECT, "annotation": _OBJECT, "response": _OBJECT, "error": (dict, str),
}  # fmt: skip

_ENDINGS = ("completed", "incomplete", "failed", "cancelled")


class AnswerDecoder(StreamDecoder):
    """Turns the bytes of one stream into events."""

    def __init__(self) -> None:
        super().__init__(_Reader())


def decode_answer(body: Json) -> Answer:
    """The answer that a whole body holds.

    Raises UpstreamRefused when it is an error or a failed response, UpstreamGarbled when it is no answer of this
    format.
    """
    status = text_of(body, "status")
    if not isinstance(body.get("output"), list):
        if body.get("error"):
            raise streamed_error(body)
        raise UpstreamGarbled("the upstream's answer is not a response: it has no output")
    if status in ("queued", "in_progress"):
        raise UpstreamGarbled(f"the upstream's response is not finished but {status}")
    reader = _Reader()
    reader.begin(body)
    reader.conclude(status or "completed", body)
    return fold(reader.events.drain())


def _decoded(data: bytes) -> _Chunk:
    """Raises UpstreamGarbled for what is not a JSON object; a member of a wrong type counts as absent."""
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = loads_object(data, "a stream event")
    except ValueError as error:
        raise UpstreamGarbled(f"the upstream's stream holds what is no event: {error}") from None
    # By the exact type: True is an int to Python, but never to a server.
    members = {name: value[name] for name, kinds in _MEMBER_TYPES.items() if type(value.get(name)) in kinds}
    return msgspec.convert(members, _Chunk)


class _Reader(StreamReader):
    """The state of one response, over decoded events: its items by place and by id."""

    def __init__(self) -> None:
        super().__init__()
        self._items: list[ItemReader] = []
        self._by_index: dict[int, ItemReader] = {}
        self._by_id: dict[str, ItemReader] = {}

    def read(self, name: str, data: bytes) -> None:
        if self.events.over or not data or data == b"[DONE]":
            return
        chunk = _decoded(data)
        handler = _HANDLERS.get(chunk.type)
        if handler is not None:
            handler(self, chunk)
        elif chunk.type == "error" or (chunk.error and not chunk.type):
            raise streamed_error(loads_object(data, "a stream event"))

    def end(self, *, complete: bool = False) -> None:
        if not self.events.over:
            raise UpstreamCut

    def begin(self, response: Json) -> None:
        self.events.start(text_of(response, "id"), text_of(response, "model"), integer_of(response, "created_at"))

    def conclude(self, status: str, response: Json) -> None:
        """The response is over: tell what only its final form holds, close what is open.

        Raises UpstreamRefused when it has failed.
        """
        if status in ("completed", "incomplete"):
            self.begin(response)
            for index, item in enumerate(objects_of(response, "output")):
                known = self._known(index, item)
                if not known.over:
                    known.finish(item)
            for item in self._items:
                if not item.over:
                    item.finish({})
        usage = object_of(response, "usage")
        if usage and self.events.started:
            self.events.usage(usage_of(usage))
        if status == "failed":
            raise streamed_error(response)
        if status not in ("completed", "incomplete"):
            raise UpstreamRefused("the upstream cancelled its response", status=502)
        kinds = self.events.kinds
        reason, raw = finish_reason(status, response, called=ToolCall in kinds, refused=Refusal in kinds)
        self.events.finish(reason, raw=raw)

    # ------------------------------------------------------------ items

    def _known(self, index: int | None, item: Json) -> ItemReader:
        """The reader of this item, by its id, else by its place; a new one when it was not met yet."""
        item_id = text_of(item, "id")
        known = self._by_id.get(item_id)
        if known is None and index is not None:
            known = self._by_index.get(index)
        elif known is None and not item_id and self._items and not self._items[-1].over:
            known = self._items[-1]
        wanted = reader_class(item)
        if known is None or type(known) is not wanted:
            known = wanted(self.events)
            self._add(known, index, item_id)
        elif item_id:
            self._by_id[item_id] = known
        return known

    def _add(self, item: ItemReader, index: int | None, item_id: str | None) -> None:
        self._by_index[len(self._items) if index is None else index] = item
        self._items.append(item)
        if item_id:
            self._by_id[item_id] = item

    def _find[Wanted: (MessageReader, ReasoningReader, CallReader)](
        self, chunk: _Chunk, wanted: type[Wanted]
    ) -> Wanted:
        """The reader of the item that an event speaks of; one that was never announced is added."""
        found: ItemReader | None = None
        if chunk.output_index is not None:
            found = self._by_index.get(chunk.output_index)
        elif chunk.item_id:
            found = self._by_id.get(chunk.item_id)
        elif self._items:
            found = self._items[-1]
        if not isinstance(found, wanted):
            found = wanted(self.events)
            self._add(found, chunk.output_index, chunk.item_id)
        return found

    # ------------------------------------------------------------ one method an event type

    def on_lifecycle(self, chunk: _Chunk) -> None:
        self.begin(chunk.response or {})

    def on_item_added(self, chunk: _Chunk) -> None:
        if chunk.item is not None:
            self._known(chunk.output_index, chunk.item).begin(chunk.item)

    def on_item_done(self, chunk: _Chunk) -> None:
        if chunk.item is not None:
            item = self._known(chunk.output_index, chunk.item)
            if not item.over:
                item.finish(chunk.item)

    def on_content_done(self, chunk: _Chunk) -> None:
        part = chunk.part or {}
        if text_of(part, "type") in ("output_text", "refusal"):
            self._find(chunk, MessageReader).content(chunk.content_index, part)

    def on_text_delta(self, chunk: _Chunk) -> None:
        self._find(chunk, MessageReader).flow(chunk.content_index, Text).more(chunk.delta or "")

    def on_text_done(self, chunk: _Chunk) -> None:
        self._find(chunk, MessageReader).flow(chunk.content_index, Text).whole(chunk.text or "")

    def on_annotation(self, chunk: _Chunk) -> None:
        if chunk.annotation is not None:
            self._find(chunk, MessageReader).flow(chunk.content_index, Text).cite(citation_of(chunk.annotation))

    def on_refusal_delta(self, chunk: _Chunk) -> None:
        self._find(chunk, MessageReader).flow(chunk.content_index, Refusal).more(chunk.delta or "")

    def on_refusal_done(self, chunk: _Chunk) -> None:
        self._find(chunk, MessageReader).flow(chunk.content_index, Refusal).whole(chunk.refusal or "")

    def on_summary_delta(self, chunk: _Chunk) -> None:
        self._find(chunk, ReasoningReader).more("summary", chunk.summary_index, chunk.delta or "")

    def on_summary_done(self, chunk: _Chunk) -> None:
        text = chunk.text or text_of(chunk.part or {}, "text")
        self._find(chunk, ReasoningReader).whole("summary", chunk.summary_index, text)

    def on_reasoning_delta(self, chunk: _Chunk) -> None:
        self._find(chunk, ReasoningReader).more("content", chunk.content_index, chunk.delta or "")

    def on_reasoning_done(self, chunk: _Chunk) -> None:
        self._find(chunk, ReasoningReader).whole("content", chunk.content_index, chunk.text or "")

    def on_arguments_delta(self, chunk: _Chunk) -> None:
        self._find(chunk, CallReader).more(chunk.delta or "")

    def on_arguments_done(self, chunk: _Chunk) -> None:
        self._find(chunk, CallReader).whole(chunk.arguments or chunk.input or "")

    def on_end(self, chunk: _Chunk) -> None:
        response = chunk.response or {}
        status = text_of(response, "status")
        if status not in _ENDINGS:
            status = chunk.type.rpartition(".")[2]
        self.conclude("completed" if status == "done" else status, response)


_HANDLERS: dict[str, Callable[[_Reader, _Chunk], None]] = {
    "response.created": _Reader.on_lifecycle,
    "response.queued": _Reader.on_lifecycle,
    "response.in_progress": _Reader.on_lifecycle,
    "response.output_item.added": _Reader.on_item_added,
    "response.output_item.done": _Reader.on_item_done,
    "response.content_part.done": _Reader.on_content_done,
    "response.output_text.delta": _Reader.on_text_delta,
    "response.output_text.done": _Reader.on_text_done,
    "response.output_text.annotation.added": _Reader.on_annotation,
    "response.refusal.delta": _Reader.on_refusal_delta,
    "response.refusal.done": _Reader.on_refusal_done,
    "response.reasoning_summary_text.delta": _Reader.on_summary_delta,
    "response.reasoning_summary_text.done": _Reader.on_summary_done,
    "response.reasoning_summary_part.done": _Reader.on_summary_done,
    "response.reasoning_text.delta": _Reader.on_reasoning_delta,
    "response.reasoning_text.done": _Reader.on_reasoning_done,
    "response.function_call_arguments.delta": _Reader.on_arguments_delta,
    "response.function_call_arguments.done": _Reader.on_arguments_done,
    "response.custom_tool_call_input.delta": _Reader.on_arguments_delta,
    "response.custom_tool_call_input.done": _Reader.on_arguments_done,
    "response.completed": _Reader.on_end,
    "response.incomplete": _Reader.on_end,
    "response.failed": _Reader.on_end,
    "response.cancelled": _Reader.on_end,
    "response.done": _Reader.on_end,
}

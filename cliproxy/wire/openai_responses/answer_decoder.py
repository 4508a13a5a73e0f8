"""An upstream's response, streamed or whole → events or an Answer."""

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fold import fold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    Json,
    Part,
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
from cliproxy.wire.openai_responses.errors import streamed_error
from cliproxy.wire.openai_responses.fields import object_of, objects_of, text_of
from cliproxy.wire.openai_responses.vocabulary import FORMAT, citation_of, finish_of, hosted_parts, usage_of
from cliproxy.wire.sse import SseParser


class AnswerDecoder:
    """Events of a streamed response, whose bytes may be cut anywhere."""

    def __init__(self) -> None:
        self._parser = SseParser()
        self._response = _Response()

    def feed(self, chunk: bytes) -> list[Event]:
        response = self._response
        if response.over:
            return []
        try:
            frames = self._parser.feed(chunk)
        except UpstreamGarbled as error:
            response.fail(error)
            return response.drain()
        for frame in frames:
            response.read(frame.data)
        return response.drain()

    def finish(self) -> list[Event]:
        """The body is over: what is still to say, in any case an ending."""
        response = self._response
        for frame in self._parser.finish():
            response.read(frame.data)
        if not response.over:
            response.fail(UpstreamCut("the upstream's answer ended before its end"))
        return response.drain()


def decode_answer(body: Json) -> Answer:
    """Read a whole response.

    Raises UpstreamRefused when it is an error or a failed response, UpstreamGarbled when it is no response.
    """
    status = text_of(body, "status")
    if not isinstance(body.get("output"), list):
        if body.get("error"):
            raise streamed_error(body)
        raise UpstreamGarbled("the upstream's answer is not a response: it has no output")
    if status in ("queued", "in_progress"):
        raise UpstreamGarbled(f"the upstream's response is not finished but {status}")
    response = _Response()
    response.begin(body)
    response.end(status or "completed", body)
    return fold(response.drain())


# ---------------------------------------------------------------- events as they come


class _StreamEvent(msgspec.Struct):
    """The members of all stream events that are used."""

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


_decode_event = msgspec.json.Decoder(_StreamEvent).decode

_MEMBER_TYPES: dict[str, type] = {
    "type": str, "output_index": int, "item_id": str, "content_index": int, "summary_index": int,
    "delta": str, "text": str, "refusal": str, "arguments": str, "input": str,
    "item": dict, "part": dict, "annotation": dict, "response": dict,
}  # fmt: skip


def _read_event(data: bytes) -> _StreamEvent:
    """Raises ValueError for what is not a JSON object; a member of a wrong type counts as absent."""
    try:
        return _decode_event(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = json.loads_object(data, "a stream event")
    members: dict[str, Any] = {
        name: value[name] for name, kind in _MEMBER_TYPES.items() if isinstance(value.get(name), kind)
    }
    return _StreamEvent(**members)


# ---------------------------------------------------------------- output items


class _Flow:
    """One part on its way: it starts with its first content, and what is sent is sent once."""

    __slots__ = ("cited", "ended", "index", "part", "response", "sent")

    def __init__(self, response: "_Response", part: Part) -> None:
        self.response = response
        self.part = part
        self.index = -1
        self.sent = 0
        """Characters."""
        self.cited = 0
        self.ended = False

    def start(self) -> None:
        if self.index < 0 and not self.ended:
            self.index = self.response.start(self.part)

    def more(self, text: str) -> None:
        if text and not self.ended:
            if self.index < 0:
                self.start()
            self.sent += len(text)
            self.response.events.append(Delta(self.index, text))

    def whole(self, text: str) -> None:
        """All of the text is known: send what was not sent as deltas."""
        if len(text) > self.sent:
            self.more(text[self.sent :])

    def cite(self, citation: Citation) -> None:
        if not self.ended:
            self.start()
            self.cited += 1
            self.response.events.append(Cited(self.index, citation))

    def sign(self, carrier: Carrier) -> None:
        if not self.ended:
            self.start()
            self.response.events.append(Signed(self.index, carrier))

    def end(self) -> None:
        if self.index >= 0 and not self.ended:
            self.response.events.append(PartEnd(self.index))
        self.ended = True


class _Message:
    types: ClassVar[frozenset[str]] = frozenset({"message"})

    def __init__(self, response: "_Response") -> None:
        self.response = response
        self.flows: dict[tuple[int, type], _Flow] = {}
        self.over = False

    def flow(self, index: int, kind: type[Text] | type[Refusal]) -> _Flow:
        flow = self.flows.get((index, kind))
        if flow is None:
            flow = self.flows[index, kind] = _Flow(self.response, kind(""))
            flow.ended = self.over
        return flow

    def begin(self, item: Json) -> None:
        pass

    def content(self, index: int, part: Json) -> None:
        """One content part is complete."""
        if "refusal" in part:
            flow = self.flow(index, Refusal)
            flow.whole(text_of(part, "refusal"))
        else:
            flow = self.flow(index, Text)
            flow.whole(text_of(part, "text"))
            for annotation in objects_of(part, "annotations")[flow.cited :]:
                flow.cite(citation_of(annotation))
        flow.end()

    def finish(self, item: Json) -> None:
        for index, part in enumerate(objects_of(item, "content")):
            self.content(index, part)
        for flow in self.flows.values():
            flow.end()
        self.over = True


class _Reasoning:
    types: ClassVar[frozenset[str]] = frozenset({"reasoning"})

    def __init__(self, response: "_Response") -> None:
        self.flow = _Flow(response, Reasoning())
        self.source = ""
        """`summary` or `content`, whichever came first: the item's text is told once."""
        self.sections: dict[int, int] = {}
        """Characters sent of each part of the summary or content."""
        self.over = False

    def begin(self, item: Json) -> None:
        pass

    def more(self, source: str, section: int, text: str) -> None:
        if not text or (self.source or source) != source:
            return
        self.source = source
        sent = self.sections.get(section)
        if sent is None:
            sent = 0
            if self.sections:
                self.flow.more("\n\n")
        self.sections[section] = sent + len(text)
        self.flow.more(text)

    def whole(self, source: str, section: int, text: str) -> None:
        self.more(source, section, text[self.sections.get(section, 0) :])

    def finish(self, item: Json) -> None:
        for source in ("summary", "content"):
            for section, part in enumerate(objects_of(item, source)):
                self.whole(source, section, text_of(part, "text"))
        encrypted = text_of(item, "encrypted_content")
        if encrypted:
            self.flow.sign(Carrier(FORMAT, "encrypted", encrypted, text_of(item, "id") or None))
        self.flow.end()
        self.over = True


class _Call:
    """A call cannot start before its name and id are known; arguments that come earlier wait."""

    types: ClassVar[frozenset[str]] = frozenset({"function_call", "custom_tool_call"})

    def __init__(self, response: "_Response") -> None:
        self.response = response
        self.flow: _Flow | None = None
        self.waiting = ""
        self.over = False

    def begin(self, item: Json) -> None:
        if self.flow is None and text_of(item, "call_id"):
            self._start(item)

    def more(self, text: str) -> None:
        if self.flow is None:
            self.waiting += text
        else:
            self.flow.more(text)

    def whole(self, text: str) -> None:
        if self.flow is None:
            self.waiting = text
        else:
            self.flow.whole(text)

    def finish(self, item: Json) -> None:
        if self.flow is None:
            self._start(item)
        if self.flow is not None:
            self.flow.whole(text_of(item, "arguments") or text_of(item, "input"))
            part = self.flow.part
            if not self.flow.sent and isinstance(part, ToolCall) and part.kind == "function":
                self.flow.more("{}")
            self.flow.end()
        self.over = True

    def _start(self, item: Json) -> None:
        name = text_of(item, "name")
        if name:
            kind = "custom" if text_of(item, "type") == "custom_tool_call" else "function"
            call_id = text_of(item, "call_id") or text_of(item, "id")
            call = ToolCall(call_id, name, "", kind, text_of(item, "namespace") or None)
            self.flow = _Flow(self.response, call)
            self.flow.start()
            self.flow.more(self.waiting)


class _Hosted:
    """What ran at the vendor, and anything unknown: told as a whole when it is done."""

    types: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, response: "_Response") -> None:
        self.response = response
        self.over = False

    def begin(self, item: Json) -> None:
        pass

    def finish(self, item: Json) -> None:
        for part in hosted_parts(item) if item else ():
            flow = _Flow(self.response, part)
            flow.start()
            flow.end()
        self.over = True


type _Item = _Message | _Reasoning | _Call | _Hosted

_ITEM_CLASSES: tuple[type[_Message] | type[_Reasoning] | type[_Call], ...] = (_Message, _Reasoning, _Call)


# ---------------------------------------------------------------- the response


class _Response:
    """The state of one response: its items by place and by id, and the events not yet handed out."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.over = False
        self.begun = False
        self.parts: list[Part] = []
        self.items: list[_Item] = []
        self.by_index: dict[int, _Item] = {}
        self.by_id: dict[str, _Item] = {}

    def drain(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def read(self, data: bytes) -> None:
        """Take the data of one server-sent event."""
        if self.over or data == b"[DONE]":
            return
        try:
            event = _read_event(data)
            if event.type == "error" or not event.type:
                self._read_error(json.loads_object(data, "a stream event"))
                return
        except (ValueError, RecursionError):
            self.fail(UpstreamGarbled("the upstream sent a stream event that is not a JSON object"))
            return
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    def _read_error(self, value: Json) -> None:
        if value.get("error") or value.get("type") == "error":
            self.fail(streamed_error(value))

    def fail(self, error: GatewayError) -> None:
        self.events.append(Failure(error))
        self.over = True

    def begin(self, response: Json) -> None:
        if not self.begun:
            self.begun = True
            created: Any = response.get("created_at")
            created_s = int(created) if _is_whole(created) else None
            self.events.append(Start(text_of(response, "id"), text_of(response, "model"), created_s))

    def start(self, part: Part) -> int:
        """Start a part and return its index."""
        self.begin({})
        self.parts.append(part)
        self.events.append(PartStart(len(self.parts) - 1, part))
        return len(self.parts) - 1

    def end(self, status: str, response: Json) -> None:
        """The response is over: tell what only its final form holds, close what is open."""
        usage = object_of(response, "usage")
        if status not in ("completed", "incomplete"):
            if usage and self.begun:
                self.events.append(UsageReport(usage_of(usage)))
            cancelled = UpstreamRefused("the upstream cancelled its response", status=502)
            self.fail(streamed_error(response) if status == "failed" else cancelled)
            return
        self.begin(response)
        for index, item in enumerate(objects_of(response, "output")):
            known = self._known(index, item)
            if not known.over:
                known.finish(item)
        for item in self.items:
            if not item.over:
                item.finish({})
        if usage:
            self.events.append(UsageReport(usage_of(usage)))
        reason, raw = finish_of(status, response, self.parts)
        self.events.append(Finish(reason, raw=raw))
        self.over = True

    def _known(self, index: int | None, item: Json) -> _Item:
        """The item that this is, by its id, else by its place; a new one when it was not met yet."""
        item_type, item_id = text_of(item, "type"), text_of(item, "id")
        known = self.by_id.get(item_id)
        if known is None and index is not None:
            known = self.by_index.get(index)
        elif known is None and not item_id and self.items and not self.items[-1].over:
            known = self.items[-1]
        wanted = next((cls for cls in _ITEM_CLASSES if item_type in cls.types), _Hosted)
        if known is None or type(known) is not wanted:
            known = wanted(self)
            self._add(known, index, item_id)
        elif item_id:
            self.by_id[item_id] = known
        return known

    def _add(self, item: _Item, index: int | None, item_id: str | None) -> None:
        self.by_index[len(self.items) if index is None else index] = item
        self.items.append(item)
        if item_id:
            self.by_id[item_id] = item

    def _find[Wanted: (_Message, _Reasoning, _Call)](self, event: _StreamEvent, wanted: type[Wanted]) -> Wanted:
        """The item that an event speaks of; one that was never announced is added."""
        found: _Item | None = None
        if event.output_index is not None:
            found = self.by_index.get(event.output_index)
        elif event.item_id:
            found = self.by_id.get(event.item_id)
        elif self.items:
            found = self.items[-1]
        if not isinstance(found, wanted):
            found = wanted(self)
            self._add(found, event.output_index, event.item_id)
        return found

    # ---------------------------------------------------------------- one method an event type

    def on_lifecycle(self, event: _StreamEvent) -> None:
        self.begin(event.response or {})

    def on_item_added(self, event: _StreamEvent) -> None:
        if event.item is not None:
            self._known(event.output_index, event.item).begin(event.item)

    def on_item_done(self, event: _StreamEvent) -> None:
        if event.item is not None:
            item = self._known(event.output_index, event.item)
            if not item.over:
                item.finish(event.item)

    def on_content_done(self, event: _StreamEvent) -> None:
        part = event.part or {}
        if text_of(part, "type") in ("output_text", "refusal"):
            self._find(event, _Message).content(event.content_index, part)

    def on_text_delta(self, event: _StreamEvent) -> None:
        self._find(event, _Message).flow(event.content_index, Text).more(event.delta or "")

    def on_text_done(self, event: _StreamEvent) -> None:
        self._find(event, _Message).flow(event.content_index, Text).whole(event.text or "")

    def on_annotation(self, event: _StreamEvent) -> None:
        if event.annotation is not None:
            citation = citation_of(event.annotation)
            self._find(event, _Message).flow(event.content_index, Text).cite(citation)

    def on_refusal_delta(self, event: _StreamEvent) -> None:
        self._find(event, _Message).flow(event.content_index, Refusal).more(event.delta or "")

    def on_refusal_done(self, event: _StreamEvent) -> None:
        self._find(event, _Message).flow(event.content_index, Refusal).whole(event.refusal or "")

    def on_summary_delta(self, event: _StreamEvent) -> None:
        self._find(event, _Reasoning).more("summary", event.summary_index, event.delta or "")

    def on_summary_done(self, event: _StreamEvent) -> None:
        text = event.text or text_of(event.part or {}, "text")
        self._find(event, _Reasoning).whole("summary", event.summary_index, text)

    def on_reasoning_delta(self, event: _StreamEvent) -> None:
        self._find(event, _Reasoning).more("content", event.content_index, event.delta or "")

    def on_reasoning_done(self, event: _StreamEvent) -> None:
        self._find(event, _Reasoning).whole("content", event.content_index, event.text or "")

    def on_arguments_delta(self, event: _StreamEvent) -> None:
        self._find(event, _Call).more(event.delta or "")

    def on_arguments_done(self, event: _StreamEvent) -> None:
        self._find(event, _Call).whole(event.arguments or event.input or "")

    def on_end(self, event: _StreamEvent) -> None:
        response = event.response or {}
        status = text_of(response, "status")
        if status not in _ENDINGS:
            status = event.type.rpartition(".")[2]
        self.end("completed" if status == "done" else status, response)


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


_ENDINGS = ("completed", "incomplete", "failed", "cancelled")

_HANDLERS: dict[str, Callable[[_Response, _StreamEvent], None]] = {
    "response.created": _Response.on_lifecycle,
    "response.queued": _Response.on_lifecycle,
    "response.in_progress": _Response.on_lifecycle,
    "response.output_item.added": _Response.on_item_added,
    "response.output_item.done": _Response.on_item_done,
    "response.content_part.done": _Response.on_content_done,
    "response.output_text.delta": _Response.on_text_delta,
    "response.output_text.done": _Response.on_text_done,
    "response.output_text.annotation.added": _Response.on_annotation,
    "response.refusal.delta": _Response.on_refusal_delta,
    "response.refusal.done": _Response.on_refusal_done,
    "response.reasoning_summary_text.delta": _Response.on_summary_delta,
    "response.reasoning_summary_text.done": _Response.on_summary_done,
    "response.reasoning_summary_part.done": _Response.on_summary_done,
    "response.reasoning_text.delta": _Response.on_reasoning_delta,
    "response.reasoning_text.done": _Response.on_reasoning_done,
    "response.function_call_arguments.delta": _Response.on_arguments_delta,
    "response.function_call_arguments.done": _Response.on_arguments_done,
    "response.custom_tool_call_input.delta": _Response.on_arguments_delta,
    "response.custom_tool_call_input.done": _Response.on_arguments_done,
    "response.completed": _Response.on_end,
    "response.incomplete": _Response.on_end,
    "response.failed": _Response.on_end,
    "response.cancelled": _Response.on_end,
    "response.done": _Response.on_end,
}

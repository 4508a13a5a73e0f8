"""The output items of a response as they come, each of which becomes one part or a few."""

from typing import ClassVar

from cliproxy.wire.event_sequence import EventSequence
from cliproxy.wire.fields import objects_of, text_of
from cliproxy.wire.model import Carrier, Citation, Json, Part, Reasoning, Refusal, Text, ToolCall
from cliproxy.wire.openai_responses.vocabulary import FORMAT, citation_of, hosted_parts


class _Flow:
    """One part on its way: it starts with its first content, and what is sent is sent once."""

    __slots__ = ("_events", "cited", "ended", "index", "part", "sent")

    def __init__(self, events: EventSequence, part: Part) -> None:
        self._events = events
        self.part = part
        self.index = -1
        self.sent = 0
        """Characters."""
        self.cited = 0
        self.ended = False

    def start(self) -> None:
        if self.index < 0 and not self.ended:
            self.index = self._events.open(self.part)

    def more(self, text: str) -> None:
        if text and not self.ended:
            if self.index < 0:
                self.start()
            self.sent += len(text)
            self._events.delta(self.index, text)

    def whole(self, text: str) -> None:
        """All of the text is known: send what was not sent as deltas."""
        if len(text) > self.sent:
            self.more(text[self.sent :])

    def cite(self, citation: Citation) -> None:
        if not self.ended:
            self.start()
            self.cited += 1
            self._events.cite(self.index, citation)

    def sign(self, carrier: Carrier) -> None:
        if not self.ended:
            self.start()
            self._events.sign(self.index, carrier)

    def end(self) -> None:
        if self.index >= 0 and not self.ended:
            self._events.close(self.index)
        self.ended = True


class MessageReader:
    """A message: a text or refusal for each of its contents."""

    types: ClassVar[frozenset[str]] = frozenset({"message"})

    def __init__(self, events: EventSequence) -> None:
        self.over = False
        self._events = events
        self._flows: dict[tuple[int, type], _Flow] = {}

    def begin(self, item: Json) -> None:
        """Its contents announce themselves."""

    def flow(self, index: int, kind: type[Text] | type[Refusal]) -> _Flow:
        flow = self._flows.get((index, kind))
        if flow is None:
            flow = self._flows[index, kind] = _Flow(self._events, kind(""))
            flow.ended = self.over
        return flow

    def content(self, index: int, part: Json) -> None:
        """One content is complete."""
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
        for flow in self._flows.values():
            flow.end()
        self.over = True


class ReasoningReader:
    """Reasoning, whose summary or content is one text."""

    types: ClassVar[frozenset[str]] = frozenset({"reasoning"})

    def __init__(self, events: EventSequence) -> None:
        self.over = False
        self._flow = _Flow(events, Reasoning())
        self._source = ""
        """`summary` or `content`, whichever came first: the item's text is told once."""
        self._sections: dict[int, int] = {}
        """Characters sent of each part of the summary or content."""

    def begin(self, item: Json) -> None:
        """Its text announces itself."""

    def more(self, source: str, section: int, text: str) -> None:
        if not text or (self._source or source) != source:
            return
        self._source = source
        sent = self._sections.get(section)
        if sent is None:
            sent = 0
            if self._sections:
                self._flow.more("\n\n")
        self._sections[section] = sent + len(text)
        self._flow.more(text)

    def whole(self, source: str, section: int, text: str) -> None:
        self.more(source, section, text[self._sections.get(section, 0) :])

    def finish(self, item: Json) -> None:
        for source in ("summary", "content"):
            for section, part in enumerate(objects_of(item, source)):
                self.whole(source, section, text_of(part, "text"))
        encrypted = text_of(item, "encrypted_content")
        if encrypted:
            self._flow.sign(Carrier(FORMAT, "encrypted", encrypted, text_of(item, "id") or None))
        self._flow.end()
        self.over = True


class CallReader:
    """A call, which cannot start before its name and id are known; arguments that come earlier wait."""

    types: ClassVar[frozenset[str]] = frozenset({"function_call", "custom_tool_call"})

    def __init__(self, events: EventSequence) -> None:
        self.over = False
        self._events = events
        self._flow: _Flow | None = None
        self._waiting = ""

    def begin(self, item: Json) -> None:
        if self._flow is None and text_of(item, "call_id"):
            self._start(item)

    def more(self, text: str) -> None:
        if self._flow is None:
            self._waiting += text
        else:
            self._flow.more(text)

    def whole(self, text: str) -> None:
        if self._flow is None:
            self._waiting = text
        else:
            self._flow.whole(text)

    def finish(self, item: Json) -> None:
        if self._flow is None:
            self._start(item)
        if self._flow is not None:
            self._flow.whole(text_of(item, "arguments") or text_of(item, "input"))
            part = self._flow.part
            if not self._flow.sent and isinstance(part, ToolCall) and part.kind == "function":
                self._flow.more("{}")
            self._flow.end()
        self.over = True

    def _start(self, item: Json) -> None:
        name = text_of(item, "name")
        if name:
            kind = "custom" if text_of(item, "type") == "custom_tool_call" else "function"
            call_id = text_of(item, "call_id") or text_of(item, "id")
            self._flow = _Flow(self._events, ToolCall(call_id, name, "", kind, text_of(item, "namespace") or None))
            self._flow.start()
            self._flow.more(self._waiting)


class HostedReader:
    """What ran at the vendor, and anything unknown: told as a whole when it is done."""

    types: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, events: EventSequence) -> None:
        self.over = False
        self._events = events

    def begin(self, item: Json) -> None:
        """Nothing of it is worth telling before its end."""

    def finish(self, item: Json) -> None:
        for part in hosted_parts(item) if item else ():
            self._events.whole(part)
        self.over = True


type ItemReader = MessageReader | ReasoningReader | CallReader | HostedReader

_CLASSES: tuple[type[MessageReader] | type[ReasoningReader] | type[CallReader], ...] = (
    MessageReader,
    ReasoningReader,
    CallReader,
)


def reader_class(item: Json) -> type[ItemReader]:
    """The class that reads an item of this type."""
    item_type = text_of(item, "type")
    return next((cls for cls in _CLASSES if item_type in cls.types), HostedReader)

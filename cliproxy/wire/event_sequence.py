"""Builds the events of one answer in the order that the grammar of `model.Event` demands."""

from cliproxy.wire.errors import GatewayError, UpstreamGarbled
from cliproxy.wire.model import (
    Carrier,
    Citation,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    FinishReason,
    Part,
    PartEnd,
    PartStart,
    Signed,
    Start,
    ToolCall,
    Usage,
    UsageReport,
)


class EventSequence:
    """The events of one answer that were not yet handed out.

    started: Start has come. over: Finish or Failure has come, and nothing more will. parts: how many have begun.
    kinds: the types of those.
    """

    __slots__ = ("_events", "kinds", "over", "parts", "started")

    def __init__(self) -> None:
        self.started = False
        self.over = False
        self.parts = 0
        self.kinds: set[type[Part]] = set()
        self._events: list[Event] = []

    def drain(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def start(self, id: str = "", model: str = "", created_s: int | None = None, usage: Usage | None = None) -> None:
        """Begin the answer; nothing happens when it has begun."""
        if not self.started:
            self.started = True
            self._events.append(Start(id, model, created_s, usage))

    def open(self, part: Part) -> int:
        """Begin a part and return its index. Raises UpstreamGarbled for a call without a name, which nobody can run."""
        if type(part) is ToolCall and not part.name:
            raise UpstreamGarbled("the upstream called a tool without naming it")
        self.start()
        index = self.parts
        self.parts = index + 1
        self.kinds.add(type(part))
        self._events.append(PartStart(index, part))
        return index

    def delta(self, index: int, text: str) -> None:
        self._events.append(Delta(index, text))

    def sign(self, index: int, carrier: Carrier) -> None:
        self._events.append(Signed(index, carrier))

    def cite(self, index: int, citation: Citation) -> None:
        self._events.append(Cited(index, citation))

    def close(self, index: int) -> None:
        self._events.append(PartEnd(index))

    def whole(self, part: Part) -> None:
        """A part that is known in full."""
        self.close(self.open(part))

    def usage(self, usage: Usage) -> None:
        self._events.append(UsageReport(usage))

    def finish(self, reason: FinishReason, stop_sequence: str | None = None, raw: str | None = None) -> None:
        """End the answer well. The parts have to be closed."""
        self.start()
        self._events.append(Finish(reason, stop_sequence, raw))
        self.over = True

    def fail(self, error: GatewayError) -> None:
        """End the answer, unless it has ended."""
        if not self.over:
            self.start()
            self._events.append(Failure(error))
            self.over = True

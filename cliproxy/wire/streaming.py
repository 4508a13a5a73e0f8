"""What the streams of all formats share: bytes become events, and events bytes, and each ends once."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from cliproxy.wire.errors import GatewayError, UpstreamCut
from cliproxy.wire.event_sequence import EventSequence
from cliproxy.wire.fold import merge_usage
from cliproxy.wire.model import (
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    PartEnd,
    PartStart,
    Signed,
    Start,
    Usage,
    UsageReport,
)
from cliproxy.wire.sse import ServerSentEvent, SseParser, drained


class StreamParser(Protocol):
    """Cuts a body that arrives in slices into the frames of its stream."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]: ...
    def finish(self) -> list[ServerSentEvent]: ...


class StreamReader(ABC):
    """The state of one upstream answer, over the frames of its stream. events: what they say."""

    def __init__(self) -> None:
        self.events = EventSequence()

    @abstractmethod
    def read(self, name: str, data: bytes) -> None:
        """Take one frame; nothing after the end. Raises UpstreamFault when it is an error or no frame of the format."""

    @abstractmethod
    def end(self, *, complete: bool = False) -> None:
        """The body is over: end the answer, unless it has ended.

        complete: it was a whole body, which is an answer even if it does not say how it ended. Raises UpstreamFault
        when it is none.
        """

    def fail(self, error: GatewayError) -> None:
        """End the answer with an error, unless it has ended."""
        self.events.fail(error)


class StreamDecoder:
    """Turns the bytes of one stream into events, however they are cut."""

    def __init__(self, reader: StreamReader, parser: StreamParser | None = None) -> None:
        self._reader = reader
        self._parser = parser or SseParser()

    def feed(self, chunk: bytes) -> list[Event]:
        """Take 0..n bytes; return the events they complete."""
        reader = self._reader
        try:
            for name, data in self._parser.feed(chunk):
                reader.read(name, data)
        except GatewayError as error:
            reader.fail(error)
        return reader.events.drain()

    def finish(self) -> list[Event]:
        """The body is over: what is still to say, in any case an ending."""
        reader = self._reader
        try:
            for name, data in self._parser.finish():
                reader.read(name, data)
            reader.end()
        except GatewayError as error:
            reader.fail(error)
        return reader.events.drain()


class StreamEncoder(ABC):
    """Turns the events of one answer into a client's stream: one handler an event, and one ending.

    _out: bytes not yet handed out. _usage: the counts so far.
    """

    PING: ClassVar[bytes] = b""

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._usage = Usage()
        self._ended = False
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            Start: self._on_start,
            PartStart: self._part_start,
            Delta: self._delta,
            Signed: self._signed,
            Cited: self._cited,
            PartEnd: self._part_end,
            UsageReport: self._usage_report,
            Finish: self._on_end,
            Failure: self._on_end,
        }

    def push(self, event: Event) -> bytes:
        """The bytes of one event; nothing after the end."""
        if self._ended:
            return b""
        self._handlers[type(event)](event)
        return drained(self._out)

    def finish(self) -> bytes:
        """The last bytes: as of an answer that was cut, unless Finish or Failure came."""
        return self.push(Failure(UpstreamCut()))

    def ping(self) -> bytes:
        """A keep-alive in the format's own form; empty where it has none, and after the end."""
        return b"" if self._ended else self.PING

    def _on_start(self, event: Start) -> None:
        if event.usage is not None:
            merge_usage(self._usage, event.usage)
        self._start(event)

    def _usage_report(self, event: UsageReport) -> None:
        merge_usage(self._usage, event.usage)

    def _on_end(self, event: Finish | Failure) -> None:
        if isinstance(event, Finish):
            self._finish(event)
        else:
            self._failure(event)
        self._ended = True

    @abstractmethod
    def _start(self, event: Start) -> None: ...
    @abstractmethod
    def _part_start(self, event: PartStart) -> None: ...
    @abstractmethod
    def _delta(self, event: Delta) -> None: ...
    @abstractmethod
    def _signed(self, event: Signed) -> None: ...
    @abstractmethod
    def _cited(self, event: Cited) -> None: ...
    @abstractmethod
    def _part_end(self, event: PartEnd) -> None: ...
    @abstractmethod
    def _finish(self, event: Finish) -> None: ...
    @abstractmethod
    def _failure(self, event: Failure) -> None: ...

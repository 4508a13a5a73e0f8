"""A whole answer is the fold of its stream, and a stream is a whole answer unfolded: one meaning, two shapes."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from cliproxy.wire.errors import UpstreamCut
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    Media,
    Opaque,
    Part,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ServerCall,
    ServerResult,
    Signed,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)


def merge_usage(into: Usage, later: Usage) -> None:
    """Let later counts win field by field; what was not reported changes nothing."""
    for name in Usage.__struct_fields__:
        value = getattr(later, name)
        if value is not None:
            setattr(into, name, value)


class Fold:
    """Accumulates events into an `Answer`. Raises the error of a Failure when it comes.

    The events and their parts stay as they are: whoever else reads them may come later.
    """

    def __init__(self) -> None:
        self.answer = Answer()
        self.finished = False
        self._open: dict[int, tuple[Part, list[str]]] = {}

    def push(self, event: Event) -> None:
        match event:
            case Delta(index, text):
                self._open[index][1].append(text)
            case PartStart(index, part):
                part = replace(part, citations=[*part.citations]) if isinstance(part, Text) else replace(part)
                self._open[index] = (part, [])
                self.answer.parts.append(part)
            case PartEnd(index):
                self._close(index)
            case Signed(index, carrier):
                _sign(self._open[index][0], carrier)
            case Cited(index, citation):
                part = self._open[index][0]
                if isinstance(part, Text):
                    part.citations.append(citation)
            case UsageReport(usage):
                merge_usage(self.answer.usage, usage)
            case Start():
                self.answer.id, self.answer.model, self.answer.created_s = event.id, event.model, event.created_s
                if event.usage is not None:
                    merge_usage(self.answer.usage, event.usage)
            case Finish():
                self.answer.finish, self.answer.stop_sequence = event.reason, event.stop_sequence
                self.answer.raw_finish = event.raw
                self.finished = True
            case Failure(error):
                raise error

    def _close(self, index: int) -> None:
        part, pieces = self._open.pop(index)
        if not pieces:
            return
        joined = "".join(pieces)
        match part:
            case Text() | Refusal() | Reasoning():
                part.text += joined
            case ToolCall():
                part.arguments += joined
            case _:
                pass


def _sign(part: Part, carrier: Carrier) -> None:
    match part:
        case Text() | ToolCall() | Reasoning():
            part.carrier = carrier
        case _:
            pass


def fold(events: Iterable[Event]) -> Answer:
    """Add the events of one answer up.

    Raises the GatewayError of a Failure, and UpstreamCut when neither Finish nor Failure came.
    """
    folding = Fold()
    for event in events:
        folding.push(event)
    if not folding.finished:
        raise UpstreamCut
    return folding.answer


def unfold(answer: Answer) -> Iterator[Event]:
    """The shortest stream that folds to `answer`: one delta a part."""
    yield Start(answer.id, answer.model, answer.created_s)
    for index, part in enumerate(answer.parts):
        match part:
            case Text(text, citations, carrier):
                yield PartStart(index, Text(""))
                if text:
                    yield Delta(index, text)
                for citation in citations:
                    yield Cited(index, citation)
            case Reasoning(text, carrier):
                yield PartStart(index, Reasoning())
                if text:
                    yield Delta(index, text)
            case Refusal(text):
                carrier = None
                yield PartStart(index, Refusal(""))
                yield Delta(index, text)
            case ToolCall():
                carrier = part.carrier
                head = ToolCall(part.id, part.name, "", part.kind, part.namespace)
                yield PartStart(index, head)
                if part.arguments:
                    yield Delta(index, part.arguments)
            case Media() | ServerCall() | ServerResult() | Opaque():
                carrier = None
                yield PartStart(index, part)
            case _:
                raise TypeError(f"an answer cannot hold a {type(part).__name__}")
        if carrier is not None:
            yield Signed(index, carrier)
        yield PartEnd(index)
    yield UsageReport(answer.usage)
    yield Finish(answer.finish, answer.stop_sequence, answer.raw_finish)

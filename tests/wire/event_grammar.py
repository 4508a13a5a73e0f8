"""What `cliproxy.wire.model.Event` says of the order of events, as a check."""

from collections.abc import Iterable

from cliproxy.wire.model import (
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    Part,
    PartEnd,
    PartStart,
    Signed,
    Start,
    Text,
    UsageReport,
)


def check_events(events: Iterable[Event]) -> None:
    """Fails when `events` are not a whole answer: Start, then parts, then Finish or Failure and nothing more."""
    first, *rest = events
    assert isinstance(first, Start)
    assert isinstance(rest[-1], Finish | Failure)
    open_parts: dict[int, Part] = {}
    begun = 0
    for event in rest[:-1]:
        match event:
            case PartStart(index, part):
                assert index == begun
                begun += 1
                open_parts[index] = part
            case PartEnd(index):
                del open_parts[index]
            case Delta(index, text):
                assert index in open_parts
                assert text
            case Signed(index):
                assert index in open_parts
            case Cited(index):
                assert isinstance(open_parts[index], Text)
            case UsageReport():
                pass
            case _:
                raise AssertionError(f"{type(event).__name__} in the middle of an answer")
    if isinstance(rest[-1], Finish):
        assert not open_parts

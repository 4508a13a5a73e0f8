"""cliproxy.wire.event_sequence: legal answers, whatever comes."""

import pytest

from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled
from cliproxy.wire.event_sequence import EventSequence
from cliproxy.wire.model import (
    Delta,
    Failure,
    Finish,
    Opaque,
    PartEnd,
    PartStart,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from tests.wire.event_grammar import check_events


def test_an_answer_in_order():
    events = EventSequence()
    events.start("id", "m", 5, Usage(input=1))
    text = events.open(Text(""))
    call = events.open(ToolCall("c", "f", ""))
    events.delta(text, "a")
    events.delta(call, "{}")
    events.close(call)
    events.close(text)
    events.whole(Opaque("gemini", {}))
    events.usage(Usage(output=2))
    events.finish("tool", raw="STOP")
    drained = events.drain()
    check_events(drained)
    assert drained[0] == Start("id", "m", 5, Usage(input=1))
    assert drained[-4:] == [
        PartStart(2, Opaque("gemini", {})),
        PartEnd(2),
        UsageReport(Usage(output=2)),
        Finish("tool", raw="STOP"),
    ]
    assert (events.parts, events.kinds, events.over) == (3, {Text, ToolCall, Opaque}, True)
    assert events.drain() == []


@pytest.mark.parametrize(
    "begin",
    [
        lambda events: events.open(Text("")),
        lambda events: events.finish("stop"),
        lambda events: events.fail(UpstreamCut()),
    ],
)
def test_every_answer_starts_once(begin):
    events = EventSequence()
    begin(events)
    events.start("late")
    drained = events.drain()
    assert drained[0] == Start()
    assert sum(isinstance(event, Start) for event in drained) == 1


def test_an_answer_fails_once_and_not_after_its_end():
    events = EventSequence()
    events.fail(UpstreamCut())
    events.fail(UpstreamGarbled("late"))
    assert [type(event) for event in events.drain()] == [Start, Failure]
    events = EventSequence()
    events.finish("stop")
    events.fail(UpstreamCut())
    assert [type(event) for event in events.drain()] == [Start, Finish]


def test_events_come_as_they_are_made():
    events = EventSequence()
    index = events.open(Text(""))
    assert [type(event) for event in events.drain()] == [Start, PartStart]
    events.delta(index, "a")
    assert events.drain() == [Delta(0, "a")]


def test_a_call_that_nobody_can_run():
    with pytest.raises(UpstreamGarbled, match="without naming it"):
        EventSequence().open(ToolCall("c", "", ""))

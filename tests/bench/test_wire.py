"""Each direction is measured against JSON, and a translator that loses text is not measured at all."""

import pytest

from bench import wire
from bench.formats import WORD
from cliproxy.wire.model import FORMATS, Format


def test_each_direction_has_a_cost_beside_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_REPEATS", 1)
    measured = list(wire.costs(("anthropic", "openai-chat")))
    assert [(cost.client, cost.upstream) for cost in measured] == [
        ("anthropic", "openai-chat"),
        ("openai-chat", "anthropic"),
    ]
    assert all(cost.frame_ratio > 0 and cost.request_ratio > 0 for cost in measured)
    assert len(list(wire.table(measured))) == 5
    assert wire.as_json(measured)[0]["client"] == "anthropic"


@pytest.mark.parametrize("format", FORMATS)
def test_the_sources_are_one_event_a_word(format: Format) -> None:
    opening, frames = wire.source_frames(format, wire.long_question())
    assert WORD not in opening
    assert all(frame.count(WORD) == frame.count(b"data: ") == 1 for frame in frames)


def test_lost_text_is_an_error() -> None:
    direction = wire.Direction("anthropic", "openai-chat", wire.long_question())
    direction.frames[3] = b": nothing\n\n"
    with pytest.raises(ValueError, match="499 of 500"):
        direction.cost()

"""cliproxy.wire.fold: one meaning, two shapes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import UpstreamCut, UpstreamRefused
from cliproxy.wire.fold import Fold, fold, merge_usage, unfold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Failure,
    Finish,
    Media,
    Opaque,
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
    ToolResult,
    Usage,
    UsageReport,
)

_texts = st.text(max_size=20)
_carriers = st.none() | st.builds(Carrier, st.just("gemini"), st.just("signature"), _texts)
_citations = st.lists(st.builds(Citation, url=st.just("https://a.test"), start=st.integers(0, 9)), max_size=2)
_parts = st.one_of(
    st.builds(Text, _texts, _citations, _carriers),
    st.builds(Reasoning, _texts, _carriers),
    st.builds(Refusal, _texts),
    st.builds(ToolCall, _texts, _texts, _texts, st.sampled_from(["function", "custom"]), carrier=_carriers),
    st.builds(Media, st.just("image"), data=_texts),
    st.builds(ServerCall, _texts, st.just("web_search"), st.just("anthropic")),
    st.builds(ServerResult, _texts, st.just("web_search"), st.just("anthropic")),
    st.builds(Opaque, st.just("gemini"), st.just({"a": 1})),
)
_counts = st.none() | st.integers(0, 9)
_answers = st.builds(
    Answer,
    id=_texts,
    model=_texts,
    created_s=st.none() | st.integers(0, 9),
    parts=st.lists(_parts, max_size=4),
    usage=st.builds(Usage, _counts, _counts, _counts, _counts, _counts),
    finish=st.sampled_from(["stop", "stop_sequence", "length", "tool", "filter", "refusal", "pause"]),
    stop_sequence=st.none() | _texts,
    raw_finish=st.none() | _texts,
)


@given(_answers)
def test_fold_is_the_inverse_of_unfold(answer):
    before = repr(answer)
    assert fold(unfold(answer)) == answer
    assert repr(answer) == before


def test_interleaved_parts_are_added_up_by_their_index():
    answer = fold(
        [
            Start("a", "m"),
            PartStart(0, ToolCall("c1", "f", "")),
            PartStart(1, ToolCall("c2", "g", "{")),
            Delta(0, '{"a"'),
            Delta(1, '"b"'),
            Delta(0, ":1}"),
            Delta(1, ":2}"),
            PartEnd(1),
            PartEnd(0),
            Finish("tool"),
        ]
    )
    assert answer.parts == [ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", '{"b":2}')]
    assert answer.finish == "tool"


def test_the_events_stay_as_they_are():
    """A tee folds the events that an encoder reads after it."""
    events = [
        Start(),
        PartStart(0, Text("a")),
        Delta(0, "b"),
        Cited(0, Citation(url="https://a.test")),
        PartEnd(0),
        PartStart(1, ToolCall("c", "f", "")),
        Delta(1, "{}"),
        PartEnd(1),
        Finish("tool"),
    ]
    before = repr(events)
    assert fold(events) == fold(events)
    assert repr(events) == before


def test_signatures_and_sources_belong_to_their_part():
    carrier = Carrier("anthropic", "signature", "s")
    answer = fold(
        [
            Start(),
            PartStart(0, Reasoning()),
            Delta(0, "hm"),
            Signed(0, carrier),
            PartEnd(0),
            PartStart(1, Text("")),
            Cited(1, Citation(url="https://a.test")),
            PartEnd(1),
            Finish("stop"),
        ]
    )
    assert answer.parts == [Reasoning("hm", carrier), Text("", [Citation(url="https://a.test")])]


def test_a_cut_stream_is_no_answer():
    """Class 1: only Finish makes an answer."""
    with pytest.raises(UpstreamCut):
        fold([Start(), PartStart(0, Text("")), Delta(0, "half"), PartEnd(0)])


def test_a_failure_raises_its_error():
    error = UpstreamRefused("overloaded", status=529)
    with pytest.raises(UpstreamRefused) as caught:
        fold([Start(), PartStart(0, Text("")), Failure(error)])
    assert caught.value is error


def test_fold_tells_whether_it_is_finished():
    folding = Fold()
    folding.push(Start())
    assert not folding.finished
    folding.push(Finish("length", raw="max_tokens"))
    assert folding.finished
    assert folding.answer.raw_finish == "max_tokens"


def test_later_counts_win_field_by_field():
    """Class 8: what a later report leaves out stays as it was."""
    answer = fold(
        [
            Start(usage=Usage(input=9, cache_read=3, output=1)),
            UsageReport(Usage(output=20, reasoning=5)),
            UsageReport(Usage(input=0)),
            Finish("stop"),
        ]
    )
    assert answer.usage == Usage(input=0, cache_read=3, output=20, reasoning=5)


@given(*[st.builds(Usage, _counts, _counts, _counts, _counts, _counts)] * 2)
def test_merged_usage_forgets_nothing(first, second):
    merged = Usage()
    merge_usage(merged, first)
    merge_usage(merged, second)
    for name in Usage.__struct_fields__:
        later = getattr(second, name)
        assert getattr(merged, name) == (getattr(first, name) if later is None else later)


def test_an_answer_cannot_hold_a_tool_result():
    with pytest.raises(TypeError, match="ToolResult"):
        list(unfold(Answer(parts=[ToolResult("a", [])])))

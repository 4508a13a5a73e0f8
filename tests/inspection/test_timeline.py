"""cliproxy.inspection.timeline and deltas: events with their moments, and texts put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.inspection.body import frames
from cliproxy.inspection.deltas import bit_of, joined
from cliproxy.inspection.timeline import MAX_ROWS, timeline_text
from tests import native
from tests.native import FORMATS, Format


def timed(format: Format, *, stream: bool = True) -> tuple[bytes, list[int]]:
    """A streamed call of a tool, of which each piece came 10 ms after the one before."""
    pieces = [
        piece
        for piece in native.text(format, words=["one", " two", " three", "\n"], stream=stream).body
        if isinstance(piece, bytes)
    ]
    return b"".join(pieces), [number for n, piece in enumerate(pieces) for number in (1000 + 10 * n, len(piece))]


@pytest.mark.parametrize("format", FORMATS)
def test_each_event_has_its_moment_and_deltas_are_joined(format: Format) -> None:
    body, arrivals = timed(format)
    text = timeline_text(body, arrivals)
    assert text
    head, *rows = text.partition("\n \n")[0].splitlines()
    assert head.split()[:4] == ["at", "ms", "for", "ms"]
    # Gemini's last bit comes with the end.
    bits, said, took = (3, "one two three", "20") if format == "gemini" else (4, "one two three⏎", "30")
    [joined_row] = [row for row in rows if f"×{bits}" in row]
    assert joined_row.rstrip().endswith(f"text: {said}")
    assert joined_row.split()[1] == took
    moments = [int(row.split()[0].replace(",", "")) for row in rows]
    assert moments == sorted(moments)
    assert moments[0] == 1000
    assert len(rows) == len(arrivals) // 2 - bits + 1
    assert "the first after 1,000 ms" in text
    assert "the longest silence: 10 ms" in text


def test_the_arguments_of_a_call_are_joined() -> None:
    for format in FORMATS:
        body = native.tool_call(format, arguments={"city": "Paris"}, stream=True).whole
        text = timeline_text(body, [5, len(body)])
        assert text
        assert format == "gemini" or "×2" in text
        assert "Paris" in text


def test_without_times_the_events_are_shown_all_the_same() -> None:
    body, _ = timed("anthropic")
    text = timeline_text(body, ())
    assert text
    assert "when they came is not known" in text
    assert "text: one two three" in text


def test_a_beginning_that_is_gone_is_mentioned() -> None:
    body, arrivals = timed("openai-chat")
    text = timeline_text(body[40:], arrivals, 40)
    assert text
    assert "the first 40 bytes of this answer are not kept" in text


def test_a_stream_of_another_kind_is_a_time_line_too() -> None:
    text = timeline_text(b"event: tick\ndata: 1\n\ndata: not json\n\n", [7, 20, 9, 16])
    assert text
    rows = text.splitlines()[1:3]
    assert [row.split() for row in rows] == [["7", "tick", "1"], ["9", "data", "not", "json"]]


def test_a_long_stream_stays_within_bounds() -> None:
    body = b"".join(b'data: {"type":"x","n":%d}\n\n' % number for number in range(MAX_ROWS + 5))
    text = timeline_text(body, ())
    assert text
    assert "… and 5 more" in text
    long = native.text("openai-chat", words=["x" * 100] * 5000, stream=True).whole
    shown = timeline_text(long, ())
    assert shown
    assert len(shown) < 3000


@given(st.binary(max_size=100), st.lists(st.integers(0, 99), max_size=8))
def test_rubbish_is_never_an_exception(data: bytes, arrivals: list[int]) -> None:
    timeline_text(data, arrivals[: len(arrivals) // 2 * 2], 3)


@given(
    st.dictionaries(
        st.sampled_from(["type", "delta", "choices", "candidates"]),
        st.none() | st.text() | st.lists(st.dictionaries(st.sampled_from(["delta", "content"]), st.text())),
        max_size=4,
    )
)
def test_events_of_another_kind_add_to_no_text(data: dict[str, object]) -> None:
    bit = bit_of(data)
    assert bit is None or isinstance(bit.text, str)


@pytest.mark.parametrize("format", FORMATS)
def test_reasoning_and_text_are_told_apart(format: Format) -> None:
    events = {
        "openai-chat": '{"choices":[{"delta":{"reasoning_content":"hm"}}]}',
        "openai-responses": '{"type":"response.reasoning_summary_text.delta","delta":"hm"}',
        "anthropic": '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}',
        "gemini": '{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}]}}]}',
    }
    [said] = joined(frames(f"data: {events[format]}\n\n".encode()))
    assert said == ("reasoning", "hm")

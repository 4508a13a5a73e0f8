"""cliproxy.inspection.body: what a body is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.inspection.body import format_of, frames, is_stream, opened_answer, opened_request
from tests import native
from tests.native import FORMATS, Format
from tests.streams import events


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/api/v1/chat/completions?x=1", "openai-chat"),
        ("/v1/responses", "openai-responses"),
        ("/backend-api/codex/responses", "openai-responses"),
        ("/v1/messages?beta=true", "anthropic"),
        ("/v1/messages/count_tokens", None),
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini"),
        ("/v1internal:streamGenerateContent?alt=sse", "gemini"),
        ("/v1/files", None),
    ],
)
def test_the_path_tells_the_format(path: str, format: Format | None) -> None:
    assert format_of(path) == format


def test_cloud_codes_envelopes_are_opened() -> None:
    request = {"contents": []}
    assert opened_request({"model": "m", "project": "p", "request": request}) == {"model": "m", "contents": []}
    assert opened_request({"request": "a word"}) == {"request": "a word"}
    assert opened_answer({"response": {"candidates": []}}) == {"candidates": []}
    event = {"type": "response.created", "response": {"id": "r"}}
    assert opened_answer(event) == event


@pytest.mark.parametrize("format", FORMATS)
def test_events_have_the_moment_at_which_they_were_complete(format: Format) -> None:
    pieces = events(format)
    # Each event comes in two halves; the first half of the next one comes with the second of the one before.
    body = b"".join(pieces)
    cuts = [sum(map(len, pieces[: n + 1])) - 5 for n in range(len(pieces))]
    sizes = [later - earlier for earlier, later in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    arrivals = [number for n, size in enumerate(sizes) for number in (100 + n, size)]
    found = frames(body, arrivals)
    assert [frame.offset_ms for frame in found] == [101 + n for n in range(len(pieces))]


@pytest.mark.parametrize("format", FORMATS)
def test_a_body_without_its_beginning_gives_the_events_that_are_there_in_full(format: Format) -> None:
    pieces = events(format)
    body = b"".join(pieces)[7:]
    arrivals = [number for n, piece in enumerate(pieces) for number in (n, len(piece))]
    whole = frames(b"".join(pieces), arrivals)
    assert frames(body, arrivals, left_out=True) == whole[1:]
    # Of the oldest slices the times may be gone, too.
    found = frames(body, arrivals[-2:], left_out=True)
    assert [frame.offset_ms for frame in found] == [*[None] * (len(whole) - 2), arrivals[-2]]


def test_half_an_event_at_the_end_is_none() -> None:
    assert [frame.data for frame in frames(b'data: {"a":1}\n\ndata: {"b"')] == [b'{"a":1}']
    assert [frame.data for frame in frames(b'data: {"a":1}\n\ndata: [DONE]')] == [b'{"a":1}', b"[DONE]"]


def test_geminis_array_is_a_stream() -> None:
    body = b'[{"a":1},\n{"b":2}]'
    assert is_stream(body, "application/json")
    assert [frame.data for frame in frames(body)] == [b'{"a":1}', b'{"b":2}']
    assert not is_stream(b'{"a":1}', "application/json")
    assert is_stream(native.text("anthropic", stream=True).whole, None)


@given(st.binary(max_size=200), st.lists(st.integers(0, 50), max_size=20), st.booleans())
def test_rubbish_is_no_stream(data: bytes, arrivals: list[int], left_out: bool) -> None:
    for frame in frames(data, arrivals[: len(arrivals) // 2 * 2], left_out=left_out):
        assert frame.data in data.replace(b"\r\n", b"\n") or b"\n" in frame.data

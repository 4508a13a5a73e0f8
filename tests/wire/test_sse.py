"""cliproxy.wire.sse: bytes to events and back, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire import sse
from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.sse import ServerSentEvent, SseParser, frame


def parse(*chunks: bytes) -> list[tuple[str, bytes]]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    try:
        events += parser.finish()
    except UpstreamGarbled:
        return [("", b"not an event stream")]
    return [(event.name, event.data) for event in events]


CASES = {
    "plain": (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
    "named": (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
    "crlf": (b"event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", [("x", b"a"), ("", b"b")]),
    "cr": (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
    "no space": (b"data:a\n\n", [("", b"a")]),
    "only one space is taken off": (b"data:  a\n\n", [("", b" a")]),
    "multi-line data": (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
    "comments": (b": keep-alive\n\n:x\ndata: a\n:y\n\n", [("", b"a")]),
    "id and retry": (b"id: 1\nretry: 5\ndata: a\n\n", [("", b"a")]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
    "no blank line at the end": (b"data: a\n\ndata: b", [("", b"a"), ("", b"b")]),
    "no line end at the end": (b"data: a\r", [("", b"a")]),
    "event without data": (b"event: x\n\ndata: a\n\n", [("", b"a")]),
    "name of an event without data is forgotten": (b"event: x\n\n\ndata: a\n\n", [("", b"a")]),
    "data without colon": (b"data\n\n", [("", b"")]),
    "U+2028 and U+0085 end no line": (
        'data: "a\u2028b\u0085c"\n\n'.encode(),
        [("", '"a\u2028b\u0085c"'.encode())],
    ),
    "U+000B and U+001C end no line": (b"data: a\x0bb\x1cc\n\n", [("", b"a\x0bb\x1cc")]),
    "other fields": (b"foo: bar\ndata: a\n\n", [("", b"a")]),
    "nothing": (b"", []),
    "only comments": (b":\n\n:\n\n", []),
}


@pytest.mark.parametrize("name", CASES)
def test_events_of_a_body(name):
    body, events = CASES[name]
    assert parse(body) == events


@pytest.mark.parametrize("name", CASES)
def test_any_cut_of_a_body_gives_the_same_events(name):
    """Class 1: frames and their line ends are cut anywhere, inside CRLF and inside UTF-8 too."""
    body, events = CASES[name]
    for at in range(len(body) + 1):
        assert parse(body[:at], body[at:]) == events
    assert parse(*(body[i : i + 1] for i in range(len(body)))) == events


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
def test_any_bytes_cut_anywhere_give_the_same_events(body, first, second):
    first, second = sorted((first, second))
    assert parse(body[:first], body[first:second], body[second:]) == parse(body)


@given(
    st.text().map(lambda text: text.encode().replace(b"\r", b"").replace(b"\n", b"")),
    st.sampled_from(["", "ping"]),
)
def test_frame_is_read_back(data, name):
    assert parse(frame(data, name)) == [(name, data)]


def test_events_come_as_soon_as_their_blank_line():
    parser = SseParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\ndata: b") == [ServerSentEvent("", b"a")]
    assert parser.feed(b"\n\n") == [ServerSentEvent("", b"b")]
    assert parser.finish() == []


@pytest.mark.parametrize("body", [b"data: " + b"x" * 100, b"data: xx\n" * 50])
def test_an_event_without_end_is_refused(monkeypatch, body):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 64)
    parser = SseParser()
    with pytest.raises(UpstreamGarbled, match="64 bytes"):
        for start in range(0, len(body), 10):
            parser.feed(body[start : start + 10])


@pytest.mark.parametrize("body", [b"<html>\n<p>502</p>", b'{"error": "busy"}', b"just words\n\n"])
def test_a_body_that_is_no_event_stream_is_refused(body):
    parser = SseParser()
    assert parser.feed(body) == []
    with pytest.raises(UpstreamGarbled, match="not an event stream"):
        parser.finish()


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"event: message_st", b"dat", b"retry: 5\nid: 1\n"])
def test_an_event_stream_that_was_cut_is_one(body):
    parser = SseParser()
    parser.feed(body)
    assert parser.finish() == []

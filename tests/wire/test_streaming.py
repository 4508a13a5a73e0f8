"""cliproxy.wire.streaming: what the decoders and encoders of all four formats do alike."""

import pytest

from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamTimeout
from cliproxy.wire.fold import merge_usage
from cliproxy.wire.model import (
    FORMATS,
    Delta,
    Failure,
    Finish,
    PartEnd,
    PartStart,
    Request,
    Start,
    Text,
    Turn,
    Usage,
    UsageReport,
)
from cliproxy.wire.translation import CODECS
from tests import native
from tests.wire.event_grammar import check_events

every_format = pytest.mark.parametrize("format", FORMATS)
REQUEST = Request("openai-chat", "m", [Turn("user", [Text("Hi")])])
SPOKEN = [Start("id", "m"), PartStart(0, Text("")), Delta(0, "words")]
WHOLE = [*SPOKEN, PartEnd(0), UsageReport(Usage(input=11, output=22)), Finish("stop")]


def encoder(format):
    return CODECS[format].AnswerEncoder(REQUEST, "m")


def decoded(format, raw):
    decoder = CODECS[format].AnswerDecoder()
    return [*decoder.feed(raw), *decoder.finish()]


# ---------------------------------------------------------------- decoders


@every_format
def test_nothing_comes_after_the_end(format):
    decoder = CODECS[format].AnswerDecoder()
    events = [*decoder.feed(native.text(format, stream=True).whole), *decoder.finish()]
    check_events(events)
    assert isinstance(events[-1], Finish)
    assert decoder.feed(b"data: {}\n\n") == decoder.feed(b"data: nonsense\n\n") == decoder.finish() == []


@every_format
@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", UpstreamCut),
        (b": ping\n\n", UpstreamCut),
        (b"data: [DONE]\n\n", UpstreamCut),
        (b"<html>502</html>", UpstreamGarbled),
        (b"data: nonsense\n\n", UpstreamGarbled),
        (b"data: \x80\n\n", UpstreamGarbled),
        (b"data: [[[\n\n", UpstreamGarbled),
        (b"data: " + b"[" * 99_999 + b"\n\n", UpstreamGarbled),
        (b"data: 5\n\n", UpstreamGarbled),
    ],
)
def test_what_is_no_answer_fails(format, raw, fault):
    events = decoded(format, raw)
    check_events(events)
    assert type(events[-1]) is Failure and type(events[-1].error) is fault


# ---------------------------------------------------------------- encoders


@every_format
def test_usage_is_told_wherever_it_came(format):
    """Class 8: with the start, or later; what is reported later counts."""
    writing = encoder(format)
    start = Start("id", "m", usage=Usage(input=11, output=1))
    raw = b"".join(map(writing.push, [start, *WHOLE[1:4], UsageReport(Usage(output=22)), WHOLE[-1]]))
    usage = Usage()
    for event in decoded(format, raw + writing.finish()):
        if isinstance(event, Start | UsageReport) and event.usage is not None:
            merge_usage(usage, event.usage)
    assert (usage.input, usage.output) == (11, 22)


@every_format
def test_a_stream_ends_once(format):
    writing = encoder(format)
    raw = b"".join(map(writing.push, WHOLE))
    assert isinstance(decoded(format, raw)[-1], Finish)
    assert writing.finish() == writing.push(Delta(0, "late")) == writing.push(Failure(UpstreamCut())) == b""
    assert writing.ping() == b""


@every_format
@pytest.mark.parametrize("count", range(len(SPOKEN) + 1))
def test_a_stream_without_an_ending_is_cut(format, count):
    """Class 1: however far it came, it never looks like a success."""
    writing = encoder(format)
    events = decoded(format, b"".join(map(writing.push, SPOKEN[:count])) + writing.finish())
    assert isinstance(events[-1], Failure) and not isinstance(events[-1].error, UpstreamGarbled)
    assert "ended before its end" in events[-1].error.message


@every_format
@pytest.mark.parametrize("error", [UpstreamTimeout("too slow"), GatewayError("full", status=503, retry_after_s=7)])
def test_a_failure_is_told_in_the_formats_own_words(format, error):
    writing = encoder(format)
    raw = b"".join(map(writing.push, [*SPOKEN, Failure(error)]))
    failure = decoded(format, raw)[-1]
    assert isinstance(failure, Failure) and error.message in failure.error.message
    assert writing.finish() == b""


@every_format
def test_a_keep_alive_means_nothing(format):
    """Class 17: in the client's own form, or none."""
    writing = encoder(format)
    raw = b"".join(writing.push(event) + writing.ping() for event in WHOLE)
    plain = encoder(format)
    without = decoded(format, b"".join(map(plain.push, WHOLE)))
    assert [type(event) for event in decoded(format, raw)] == [type(event) for event in without]

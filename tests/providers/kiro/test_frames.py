"""cliproxy.providers.kiro.frames: whole frames out of any slices, and damage told from an early end."""

import struct
from zlib import crc32

import pytest

from cliproxy.providers.kiro.frames import Frame, FrameParser
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled
from tests.providers.kiro.event_stream import error, event, exception

STREAM = b"".join(
    [
        event("assistantResponseEvent", content="Grüße"),
        exception("throttlingException", message="slow down"),
        error("InternalFailure", "something broke"),
        event("metadataEvent", stopReason="END_TURN"),
    ]
)
FRAMES = [
    Frame("event", "assistantResponseEvent", "", b'{"content": "Gr\\u00fc\\u00dfe"}'),
    Frame("exception", "throttlingException", "", b'{"message": "slow down"}'),
    Frame("error", "InternalFailure", "something broke", b""),
    Frame("event", "metadataEvent", "", b'{"stopReason": "END_TURN"}'),
]


def read(*slices: bytes) -> list[Frame]:
    parser = FrameParser()
    frames = [frame for piece in slices for frame in parser.feed(piece)]
    parser.finish()
    return frames


def test_a_stream_in_one_piece() -> None:
    assert read(STREAM) == FRAMES


def test_a_stream_split_at_every_byte() -> None:
    for at in range(len(STREAM) + 1):
        assert read(STREAM[:at], STREAM[at:]) == FRAMES


def test_a_stream_byte_by_byte() -> None:
    assert read(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == FRAMES


def test_a_frame_made_by_hand() -> None:
    """By the format's description, so that no one library reads what the same library wrote."""
    headers = b""
    for name, value in ((b":message-type", b"event"), (b":event-type", b"toolUseEvent")):
        headers += bytes([len(name)]) + name + b"\x07" + struct.pack("!H", len(value)) + value
    payload = b'{"stop":true}'
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    frame = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    frame += struct.pack("!I", crc32(frame))
    assert read(frame) == [Frame("event", "toolUseEvent", "", payload)]


def test_an_end_within_a_frame_is_a_cut() -> None:
    for at in range(1, len(event("a", b=1))):
        with pytest.raises(UpstreamCut):
            read(event("a", b=1)[:at])


def test_every_damaged_byte_is_noticed() -> None:
    """Each byte is under a CRC: a damaged frame is never read as one, and never waited for."""
    good = event("assistantResponseEvent", content="hello")
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 0x20
        with pytest.raises(UpstreamGarbled):
            read(bytes(damaged))


def test_frames_before_the_damage_are_read() -> None:
    parser = FrameParser()
    frames = parser.feed(STREAM[: len(STREAM) - 1] + b"\x00")
    assert [next(frames) for _ in FRAMES[:-1]] == FRAMES[:-1]
    with pytest.raises(UpstreamGarbled):
        next(frames)


@pytest.mark.parametrize(
    ("length", "headers_length"),
    [(0, 0), (15, 0), (16, 1), (100, 90), (17 * 2**20, 0), (2**32 - 1, 0), (2**20, 2**20 - 16)],
)
def test_impossible_lengths_are_damage(length: int, headers_length: int) -> None:
    prelude = struct.pack("!II", length, headers_length)
    with pytest.raises(UpstreamGarbled):
        read(prelude + struct.pack("!I", crc32(prelude)) + bytes(64))


@pytest.mark.parametrize("headers", [b"\x05:abc", b"\x01a\x63", b"\x01a\x07\x00\x01\xff", b"\x02\xff\xfe\x00"])
def test_headers_that_are_none_are_damage(headers: bytes) -> None:
    prelude = struct.pack("!II", 16 + len(headers), len(headers))
    frame = prelude + struct.pack("!I", crc32(prelude)) + headers
    with pytest.raises(UpstreamGarbled):
        read(frame + struct.pack("!I", crc32(frame)))


def test_a_page_of_html_is_damage() -> None:
    with pytest.raises(UpstreamGarbled):
        read(b"<html><body>Bad gateway</body></html>")

"""cliproxy.transport.encoding: bodies unpacked whole and in slices, within limits."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.transport.encoding import Decompressor, decompress, decompress_request
from cliproxy.wire.errors import ClientFault


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
PACKED = {coding: pack for coding, pack in PACKERS.items() if coding != "identity"}
every_coding = pytest.mark.parametrize("coding", PACKERS)
every_packed_coding = pytest.mark.parametrize("coding", PACKED)
MIB = 1024 * 1024


@every_coding
@given(data=st.binary(max_size=300), size=st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_slices_of_any_size_add_up_to_the_body(coding: str, data: bytes, size: int) -> None:
    packed = PACKERS[coding](data)
    decompressor = Decompressor(coding)
    assert b"".join(decompressor.feed(packed[at : at + size]) for at in range(0, len(packed), size)) == data
    assert decompress(packed, coding) == data
    assert decompress_request(packed, coding, 300) == data


@every_coding
def test_each_slice_gives_all_it_can(coding: str) -> None:
    """A stream must not wait in the decompressor for more to come."""
    streams: dict[str, Callable[[], tuple[Callable[[bytes], bytes], Callable[[], bytes]]]] = {
        "identity": lambda: (bytes, bytes),
        "gzip": lambda: (z := zlib.compressobj(wbits=31)) and (z.compress, lambda: z.flush(zlib.Z_SYNC_FLUSH)),
        "x-gzip": lambda: (z := zlib.compressobj(wbits=31)) and (z.compress, lambda: z.flush(zlib.Z_SYNC_FLUSH)),
        "deflate": lambda: (z := zlib.compressobj()) and (z.compress, lambda: z.flush(zlib.Z_SYNC_FLUSH)),
        "br": lambda: (b := brotli.Compressor()) and (b.process, b.flush),
        "zstd": lambda: (
            (z := zstandard.ZstdCompressor().compressobj())
            and (z.compress, lambda: z.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        ),
    }
    compress, flush = streams[coding]()
    decompressor = Decompressor(coding)
    for event in (b"data: one\n\n", b"data: two\n\n"):
        assert decompressor.feed(compress(event) + flush()) == event


@pytest.mark.parametrize("coding", ["GZIP", " gzip ", "Gzip"])
def test_a_codings_case_and_spaces_do_not_matter(coding: str) -> None:
    assert decompress(gzip.compress(b"x"), coding) == b"x"
    assert Decompressor(coding).feed(gzip.compress(b"x")) == b"x"
    assert decompress_request(gzip.compress(b"x"), coding, 9) == b"x"


def test_deflate_may_lack_its_header() -> None:
    packed = raw_deflate(b"hello" * 20)
    assert decompress(packed, "deflate") == b"hello" * 20
    decompressor = Decompressor("deflate")
    assert b"".join(decompressor.feed(packed[at : at + 1]) for at in range(len(packed))) == b"hello" * 20
    assert Decompressor("deflate").feed(b"") == b""


def test_zstd_may_come_in_several_frames() -> None:
    packed = zstandard.compress(b"one ") + zstandard.compress(b"two")
    assert decompress(packed, "zstd") == b"one two"
    assert decompress_request(packed, "zstd", 99) == b"one two"


@pytest.mark.parametrize(
    ("coding", "layers"),
    [
        ("gzip, br", "gzip br"),
        ("identity, gzip", "gzip"),
        ("gzip,", "gzip"),
        ("deflate,zstd , gzip", "deflate zstd gzip"),
    ],
)
def test_stacked_codings_are_undone_from_the_last(coding: str, layers: str) -> None:
    packed = b"hello"
    for layer in layers.split():
        packed = PACKERS[layer](packed)
    assert decompress(packed, coding) == b"hello"
    assert decompress_request(packed, coding, 99) == b"hello"
    assert Decompressor(coding).feed(packed) == b"hello"


@pytest.mark.parametrize("coding", ["", " ", "identity", "Identity, identity", ","])
def test_no_coding_is_no_work(coding: str) -> None:
    assert decompress_request(b"{}", coding, 99) == b"{}"
    assert decompress(b"{}", coding) == b"{}"


@pytest.mark.parametrize("coding", ["snappy", "gzip, snappy", "*", "gzip;q=1"])
def test_an_unknown_coding_is_named_with_those_that_are_known(coding: str) -> None:
    with pytest.raises(ClientFault, match=r"unknown content-encoding .* use gzip, deflate, br or zstd") as caught:
        decompress_request(gzip.compress(b"{}"), coding, 99)
    assert caught.value.status == 415
    for unpack in (decompress, lambda body, coding: Decompressor(coding).feed(body)):
        with pytest.raises(ValueError, match="unknown content-encoding"):
            unpack(gzip.compress(b"{}"), coding)


@every_packed_coding
@pytest.mark.parametrize("body", [b"plainly not packed", b'{"model":"m"}', b"\xff" * 40])
def test_damaged_bytes_are_told_so(coding: str, body: bytes) -> None:
    with pytest.raises(ClientFault, match="damaged content-encoding") as caught:
        decompress_request(body, coding, 9999)
    assert caught.value.status == 400
    with pytest.raises(ValueError, match="damaged content-encoding"):
        decompress(body, coding)


@every_packed_coding
@given(body=st.binary(max_size=60), limit=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_bytes_are_a_body_or_the_callers_mistake(coding: str, body: bytes, limit: int) -> None:
    try:
        assert len(decompress_request(body, coding, limit)) <= limit
    except ClientFault as fault:
        assert fault.status in (400, 413)


@every_packed_coding
def test_a_body_may_unpack_to_the_limit_and_not_beyond(coding: str) -> None:
    packed = PACKED[coding](b"x" * 1000)
    assert decompress_request(packed, coding, 1000) == b"x" * 1000
    with pytest.raises(ClientFault, match="unpacked body exceeds 999 bytes") as caught:
        decompress_request(packed, coding, 999)
    assert caught.value.status == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_a_bomb_is_refused_before_it_fills_the_memory(coding: str) -> None:
    bomb = bytes(64 * MIB)
    for layer in coding.split(", "):
        bomb = brotli.compress(bomb, quality=1) if layer == "br" else PACKED[layer](bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ClientFault) as caught:
            decompress_request(bomb, coding, MIB)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.status == 413
    assert peak_bytes < 8 * MIB

"""An encoded answer stays a stream: a reader gets each piece as it comes."""

import zlib

import brotli
import pytest
import zstandard

from tests.answers import Answer, Encoding


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_each_piece_of_an_encoded_stream_can_be_read_at_once(encoding: Encoding) -> None:
    answer = Answer(body=[b"one ", b"two"]).encoded(encoding)
    read = {
        "gzip": zlib.decompressobj(wbits=31).decompress,
        "deflate": zlib.decompressobj().decompress,
        "br": brotli.Decompressor().process,
        "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
    }[encoding]
    assert [read(piece) for piece in answer.body if isinstance(piece, bytes)] == [b"one ", b"two", b""]
    assert answer.headers["content-encoding"] == encoding


def test_an_encoded_whole_body_stays_whole() -> None:
    assert zlib.decompress(Answer(body=b"text").encoded("deflate").whole) == b"text"

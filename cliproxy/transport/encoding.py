"""Content codings (gzip, deflate, br, zstd) of bodies that arrive whole or in slices."""

import zlib
from collections.abc import Callable, Iterator

import brotli
import zstandard

from cliproxy.wire.errors import ClientFault


class Decompressor:
    """Undoes a content coding, or several that were applied one after the other (`gzip, br`), slice by slice.

    Raises ValueError for a coding it does not know, and for bytes that are not in it.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._steps = [_decoder(one) for one in reversed(_codings(coding))]

    def feed(self, chunk: bytes) -> bytes:
        try:
            for step in self._steps:
                chunk = step(chunk)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise ValueError(f"damaged content-encoding {self._coding}: {error}") from None
        return chunk


def _codings(coding: str) -> list[str]:
    """The codings of a `content-encoding`, in the order they were applied, without those that change nothing."""
    named = (one.strip().lower() for one in coding.split(","))
    return [one for one in named if one and one != "identity"]


def _decoder(coding: str) -> Callable[[bytes], bytes]:
    match coding:
        case "gzip" | "x-gzip":
            return zlib.decompressobj(wbits=31).decompress
        case "deflate":
            return _Deflate().feed
        case "br":
            return brotli.Decompressor().process
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress
        case _:
            raise ValueError(f"unknown content-encoding {coding!r}: use gzip, deflate, br or zstd")


class _Deflate:
    """`deflate` means zlib, but some senders leave the zlib header out."""

    def __init__(self) -> None:
        self._decompress: Callable[[bytes], bytes] | None = None

    def feed(self, chunk: bytes) -> bytes:
        if self._decompress is None and chunk:
            raw = chunk[0] & 0x0F != 8
            self._decompress = zlib.decompressobj(wbits=-15 if raw else 15).decompress
        return self._decompress(chunk) if self._decompress else b""


_STEP_BYTES = 64 * 1024
"""Of a request's body at a time, so that a small one cannot unpack to a huge one before anyone counts."""


def decompress_request(body: bytes, coding: str, limit_bytes: int) -> bytes:
    """Undo a client's content coding.

    Raises ClientFault: 415 for an unknown coding, 400 for damaged bytes, 413 when more than `limit_bytes` come out.
    """
    for one in reversed(_codings(coding)):
        unpacked, size = [], 0
        try:
            for piece in _pieces(body, one):
                size += len(piece)
                if size > limit_bytes:
                    message = f"the unpacked body exceeds {limit_bytes} bytes (max-request-body-bytes)"
                    raise ClientFault(message, status=413, code="request_too_large")
                unpacked.append(piece)
        except ValueError as error:
            raise ClientFault(str(error), status=415) from None
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise ClientFault(f"damaged content-encoding: {error}") from None
        body = b"".join(unpacked)
    return body


def _pieces(body: bytes, coding: str) -> Iterator[bytes]:
    """A whole body unpacked, in pieces of bounded size."""
    match coding:
        case "gzip" | "x-gzip" | "deflate":
            raw = coding == "deflate" and body[:1] and body[0] & 0x0F != 8
            unpacker = zlib.decompressobj(wbits=-15 if raw else 15 if coding == "deflate" else 31)
            while body and not unpacker.eof:
                yield unpacker.decompress(body, _STEP_BYTES)
                body = unpacker.unconsumed_tail
            yield unpacker.flush()
        case "br":
            decompressor = brotli.Decompressor()
            yield decompressor.process(body, output_buffer_limit=_STEP_BYTES)
            while not decompressor.is_finished() and (
                piece := decompressor.process(b"", output_buffer_limit=_STEP_BYTES)
            ):
                yield piece
        case "zstd":
            with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
                while piece := reader.read(_STEP_BYTES):
                    yield piece
        case _:
            raise ValueError(f"unknown content-encoding {coding!r}: use gzip, deflate, br or zstd")


def decompress(body: bytes, coding: str) -> bytes:
    """Undo an upstream's content coding. Raises ValueError."""
    return Decompressor(coding).feed(body)

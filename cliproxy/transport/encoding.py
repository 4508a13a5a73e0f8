"""Content codings (gzip, deflate, br, zstd) of bodies that arrive whole or in slices."""

import zlib
from collections.abc import Callable

import brotli
import zstandard

from cliproxy.wire.errors import ClientFault


class Decompressor:
    """Undoes one content coding, slice by slice.

    Raises ValueError for a coding it does not know, and for bytes that are not in it.
    """

    def __init__(self, coding: str) -> None:
        self._feed = _decoder(coding.strip().lower())

    def feed(self, chunk: bytes) -> bytes:
        try:
            return self._feed(chunk)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise ValueError(f"damaged content-encoding: {error}") from None


def _decoder(coding: str) -> Callable[[bytes], bytes]:
    match coding:
        case "" | "identity":
            return bytes
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


def decompress_request(body: bytes, coding: str, limit_bytes: int) -> bytes:
    """Undo a client's content coding.

    Raises ClientFault: 415 for an unknown coding, 400 for damaged bytes, 413 when more than `limit_bytes` come out.
    """
    codings = [c for c in coding.split(",") if c.strip() and c.strip().lower() != "identity"]
    for one in reversed(codings):
        try:
            decompressor = Decompressor(one)
        except ValueError as error:
            raise ClientFault(str(error), status=415) from None
        pieces, size = [], 0
        # In slices, so that a small body cannot unpack to a huge one in a single step.
        for start in range(0, len(body), 64 * 1024):
            try:
                piece = decompressor.feed(body[start : start + 64 * 1024])
            except ValueError as error:
                raise ClientFault(str(error)) from None
            size += len(piece)
            if size > limit_bytes:
                raise ClientFault(f"the unpacked body exceeds {limit_bytes} bytes (max-request-body-bytes)", status=413)
            pieces.append(piece)
        body = b"".join(pieces)
    return body


def decompress(body: bytes, coding: str) -> bytes:
    """Undo an upstream's content coding. Raises ValueError."""
    for one in reversed([c for c in coding.split(",") if c.strip()]):
        body = Decompressor(one).feed(body)
    return body

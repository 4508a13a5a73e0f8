"""What a test scripts an upstream to answer; sending it is `tests.upstream`, ready-made ones are `tests.native`."""

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import brotli
import zstandard

type Encoding = Literal["gzip", "deflate", "br", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of an upstream, and where it stops to wait for the test."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Sequence[bytes | asyncio.Event] = b""
    """Bytes go out with a `content-length`; a sequence goes out chunked, one write for each piece, and an
    event among the pieces holds back what follows until the test sets it."""
    gate: asyncio.Event | None = None
    """Holds back the status and headers."""
    cut: bool = False
    """Resets the connection after the last byte of `body`; a `body` of bytes then promises one byte more."""
    hang: bool = False
    """Reads the request and never answers."""
    raw: bytes | None = None
    """Sent as it is in place of an HTTP answer; the connection closes after it."""

    @property
    def whole(self) -> bytes:
        """All of the body."""
        return self.body if isinstance(self.body, bytes) else b"".join(p for p in self.body if isinstance(p, bytes))

    def encoded(self, encoding: Encoding) -> "Answer":
        """The same answer compressed, each piece flushed so that it can be read when it arrives."""
        compress = _COMPRESSORS[encoding]()
        pieces = [self.body] if isinstance(self.body, bytes) else self.body
        body = [compress(piece, False) if isinstance(piece, bytes) else piece for piece in pieces]
        body.append(compress(b"", True))
        encoded = replace(self, headers={**self.headers, "content-encoding": encoding}, body=body)
        return replace(encoded, body=encoded.whole) if isinstance(self.body, bytes) else encoded


def _zlib_compressor(wbits: int) -> Callable[[bytes, bool], bytes]:
    stream = zlib.compressobj(wbits=wbits)
    return lambda piece, last: stream.compress(piece) + stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _brotli_compressor() -> Callable[[bytes, bool], bytes]:
    stream = brotli.Compressor()
    return lambda piece, last: stream.process(piece) + (stream.finish() if last else stream.flush())


def _zstd_compressor() -> Callable[[bytes, bool], bytes]:
    stream = zstandard.ZstdCompressor().compressobj()
    finish, flush = zstandard.COMPRESSOBJ_FLUSH_FINISH, zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return lambda piece, last: stream.compress(piece) + stream.flush(finish if last else flush)


_COMPRESSORS: Mapping[Encoding, Callable[[], Callable[[bytes, bool], bytes]]] = {
    "gzip": lambda: _zlib_compressor(zlib.MAX_WBITS | 16),
    "deflate": lambda: _zlib_compressor(zlib.MAX_WBITS),
    "br": _brotli_compressor,
    "zstd": _zstd_compressor,
}

"""Streamed answers of an upstream that stop, or break off, where a test wants them to."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tests import native
from tests.answers import Answer
from tests.native import Format


def events(format: Format) -> list[bytes]:
    """The events of `native.text`'s stream."""
    return [piece for piece in native.text(format, stream=True).body if isinstance(piece, bytes)]


def held(format: Format, gate: asyncio.Event | None = None, *, after: int = 1) -> Answer:
    """A stream that stops after some events until `gate` is set; without one, for good."""
    pieces = events(format)
    return _stream(format, [*pieces[:after], gate or asyncio.Event(), *pieces[after:]])


def broken(format: Format, *, after: int, tail: bytes = b"", reset: bool = True) -> Answer:
    """A stream that ends after some events and `tail`: with the connection, or as if it were complete."""
    pieces = events(format)[:after]
    return replace(_stream(format, [*pieces, tail] if tail else pieces), cut=reset)


def _stream(format: Format, body: Sequence[bytes | asyncio.Event]) -> Answer:
    return replace(native.text(format, stream=True), body=body)

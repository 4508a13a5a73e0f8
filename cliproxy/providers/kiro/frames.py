"""Cuts an `application/vnd.amazon.eventstream` body, however it arrives, into its frames.

AWS's own library reads and checks a frame. It reads whole ones only, so where one ends is found here.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple
from zlib import crc32

from smithy_aws_event_stream.events import Event, EventPrelude
from smithy_aws_event_stream.exceptions import EventError

from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled

_PRELUDE = struct.Struct("!III")
"""Length of the frame, length of its headers, CRC of both."""
_LEAST_BYTES = 16
"""A prelude and the frame's own CRC."""


class Frame(NamedTuple):
    type: str
    """`event`, `exception` (modelled by the service) or `error` (not modelled)."""
    name: str
    """Of the event, exception or error."""
    message: str
    """What an `error` says; the others have a payload."""
    payload: bytes


class FrameParser:
    """Takes 0..n bytes at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises UpstreamGarbled, having yielded those before."""
        self._buffer += data
        while len(self._buffer) >= _PRELUDE.size and len(self._buffer) >= (size_bytes := self._next_bytes()):
            whole = bytes(self._buffer[:size_bytes])
            del self._buffer[:size_bytes]
            yield _frame(whole)

    def finish(self) -> None:
        """The body is over. Raises UpstreamCut within a frame."""
        if self._buffer:
            raise UpstreamCut

    def _next_bytes(self) -> int:
        """The length of the frame that begins here: checked first, or a wrong one would have us wait for ever."""
        length, headers_length, crc = _PRELUDE.unpack_from(self._buffer)
        if crc32(self._buffer[:8]) != crc or length < headers_length + _LEAST_BYTES:
            raise UpstreamGarbled("the upstream's event stream is damaged")
        try:
            EventPrelude(total_length=length, headers_length=headers_length, crc=crc)
        except EventError as error:
            raise UpstreamGarbled(f"the upstream's event stream is damaged: {error}") from None
        return length


def _frame(whole: bytes) -> Frame:
    try:
        event = Event.decode(BytesIO(whole))
    except (EventError, struct.error, LookupError, ValueError) as error:
        raise UpstreamGarbled(f"the upstream's event stream is damaged: {error}") from None
    assert event
    headers = event.message.headers
    kind = str(headers.get(":message-type", "event"))
    name = headers.get(":error-code" if kind == "error" else f":{kind}-type", "")
    return Frame(kind, str(name), str(headers.get(":error-message", "")), event.message.payload)

"""Server-sent events, bytes in and bytes out.

Lines end at CR, LF or CRLF and nowhere else: models put U+2028 and U+0085 inside JSON, where
`str.splitlines()` would cut them. Comments, `id:` and `retry:` are not events and are left out.
"""

import re
from typing import NamedTuple

from cliproxy.wire.errors import UpstreamGarbled

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""A larger event is an upstream's fault; an image in base64 fits."""

_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class ServerSentEvent(NamedTuple):
    name: str
    """The `event:` field, or an empty string."""
    data: bytes
    """The `data:` lines joined by LF."""


class SseParser:
    """Splits a body that arrives in arbitrary slices into events."""

    def __init__(self) -> None:
        self._rest: bytes = b""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False
        self._pieces: list[bytes] = []
        """Slices of a line that has not ended, after `_rest`, and their length."""
        self._length = 0
        self._seen = False
        """An event has come."""
        self._other = False
        """A line has come that belongs to no event stream."""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take 0..n bytes, cut anywhere; return the events they complete.

        Raises UpstreamGarbled when one event exceeds MAX_EVENT_BYTES.
        """
        if not chunk:
            return []
        if self._begun and b"\n" not in chunk and b"\r" not in chunk and not self._rest.endswith(b"\r"):
            # A long line in many slices, an image maybe: joined once.
            self._pieces.append(chunk)
            self._length += len(chunk)
            if self._length + len(self._rest) + self._size > MAX_EVENT_BYTES:
                raise UpstreamGarbled(f"the upstream sent an event of more than {MAX_EVENT_BYTES} bytes")
            return []
        if self._pieces:
            self._rest = b"".join((self._rest, *self._pieces))
            self._pieces, self._length = [], 0
        buffer = self._rest + chunk if self._rest else chunk
        if not self._begun:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                self._rest = buffer
                return []
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        # A CR at the very end may be the first half of CRLF: keep it back until the next slice tells.
        held = b""
        if buffer.endswith(b"\r"):
            buffer, held = buffer[:-1], b"\r"
        lines = _LINE_END.split(buffer) if b"\r" in buffer else buffer.split(b"\n")
        self._rest = lines.pop() + held
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise UpstreamGarbled(f"the upstream sent an event of more than {MAX_EVENT_BYTES} bytes")
        return self._take(lines)

    def finish(self) -> list[ServerSentEvent]:
        """End of the body: return the last event where its blank line is missing.

        Raises UpstreamGarbled when the body was no event stream at all.
        """
        rest, self._rest = b"".join((self._rest, *self._pieces)), b""
        self._pieces = []
        events = self._take([rest.removesuffix(b"\r"), b""])
        if self._other and not self._seen:
            raise UpstreamGarbled("the upstream's answer is not an event stream")
        return events

    def _take(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for line in lines:
            if not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(ServerSentEvent(self._name, data))
                    self._data = []
                    self._size = 0
                self._name = ""
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._size += len(value)
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("utf-8", "replace")
            elif line == b"data":
                self._data.append(b"")
            elif not line.startswith(_FIELDS) and not any(field.startswith(line) for field in _FIELDS):
                self._other = True
        self._seen = self._seen or bool(events)
        return events


def drained(frames: list[bytes]) -> bytes:
    """The frames collected so far as one piece; the list is empty again."""
    if len(frames) == 1:
        return frames.pop()
    piece = b"".join(frames)
    frames.clear()
    return piece


def frame(data: bytes, name: str = "") -> bytes:
    """One event as bytes. `data` must be a single line, as JSON from `cliproxy.wire.json.dumps` always is."""
    if name:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"

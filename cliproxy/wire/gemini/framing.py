"""The two framings of Gemini's streams: server-sent events, and without `alt=sse` a JSON array in slices."""

import re

from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.sse import MAX_EVENT_BYTES, ServerSentEvent, SseParser

_BOM = b"\xef\xbb\xbf"
_OUTSIDE_STRINGS = re.compile(rb'[{}"]')
_INSIDE_STRINGS = re.compile(rb'["\\]')


class FrameParser:
    """Reads either; which of the two it is shows with the first byte."""

    def __init__(self) -> None:
        self._head = b""
        self._sse: SseParser | None = None
        self._array: ArrayParser | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take 0..n bytes, cut anywhere; return the frames they complete. Raises UpstreamGarbled as the parsers do."""
        if self._sse is None and self._array is None:
            chunk, self._head = self._head + chunk, b""
            start = chunk.removeprefix(_BOM).lstrip()
            if not start or _BOM.startswith(chunk):
                self._head = chunk
                return []
            if start[:1] in b"[{":
                self._array = ArrayParser()
            else:
                self._sse = SseParser()
        if self._sse is not None:
            return self._sse.feed(chunk)
        return [] if self._array is None else [ServerSentEvent("", data) for data in self._array.feed(chunk)]

    def finish(self) -> list[ServerSentEvent]:
        """End of the body: return the last event where its blank line is missing. Raises as `feed` does."""
        return [] if self._sse is None else self._sse.finish()


class ArrayParser:
    """Cuts a body into the top-level objects in it; brackets, commas and spaces between them are passed over.

    A body that is one object only, as from an upstream that does not stream, is cut just as well.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._start = 0
        self._depth = 0
        self._in_string = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take 0..n bytes, cut anywhere; return the objects they complete.

        Raises UpstreamGarbled when one object exceeds MAX_EVENT_BYTES.
        """
        self._buffer += chunk
        objects: list[bytes] = []
        while (found := self._next_sign()) is not None:
            at, sign = found
            self._scanned = at + 1
            if sign == b"\\":
                if at + 1 >= len(self._buffer):
                    self._scanned = at  # what it escapes has not come yet
                    break
                self._scanned = at + 2
            elif sign == b'"':
                self._in_string = not self._in_string and self._depth > 0
            elif sign == b"{":
                if self._depth == 0:
                    self._start = at
                self._depth += 1
            elif self._depth > 0:
                self._depth -= 1
                if self._depth == 0:
                    objects.append(bytes(self._buffer[self._start : at + 1]))
                    self._start = at + 1
        self._forget()
        return objects

    def _next_sign(self) -> tuple[int, bytes] | None:
        pattern = _INSIDE_STRINGS if self._in_string else _OUTSIDE_STRINGS
        found = pattern.search(self._buffer, self._scanned)
        if found is None:
            self._scanned = len(self._buffer)
            return None
        return found.start(), found.group()

    def _forget(self) -> None:
        """Drop what was cut off; with no object open, everything was."""
        done = self._start if self._depth else self._scanned
        del self._buffer[:done]
        self._scanned -= done
        self._start = 0
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise UpstreamGarbled(f"the upstream sent an object of more than {MAX_EVENT_BYTES} bytes")

"""The objects of a JSON array that arrives in slices: how Gemini streams without `alt=sse`."""

import re

from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.sse import MAX_EVENT_BYTES

_OUTSIDE_STRINGS = re.compile(rb'[{}"]')
_INSIDE_STRINGS = re.compile(rb'["\\]')


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

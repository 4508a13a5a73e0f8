"""`force-mapping`: an answer that passes in its own format names the model as the client did. Nothing else changes.

The name's place is found without decoding the answer: every other byte stays, and a frame that cannot hold a name costs
one search.
"""

import re

from cliproxy.wire import json
from cliproxy.wire.model import Format

type _Path = tuple[bytes, ...]

_WHOLE: dict[Format, _Path] = {
    "openai-chat": (b"model",),
    "openai-responses": (b"model",),
    "anthropic": (b"model",),
    "gemini": (b"modelVersion",),
}
_FRAME: dict[Format, _Path] = {
    "openai-chat": (b"model",),
    "openai-responses": (b"response", b"model"),
    "anthropic": (b"message", b"model"),
    "gemini": (b"modelVersion",),
}
"""Where the name stands, in a whole answer and in a stream's frame: the keys of objects, from the outermost."""

_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)(?:"(\s*+:\s*+)?)?|\{|\}|\[|\]', re.DOTALL)
"""A string, with the colon that makes it a key, or a bracket; what is between them says nothing of the structure.
A string without an end goes to the end of the text, so that garbage takes no longer than JSON does."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BETWEEN_FRAMES = re.compile(rb"((?>\r\n|\n|\r){2,})")
_DATA_LINE = re.compile(rb"(?:^|[\r\n])data:")


class Renamer:
    """Renames the model in the answers of one request."""

    def __init__(self, format: Format, shown: str) -> None:
        """shown: the model's name for the client."""
        self._shown = json.dumps(shown)
        self._whole = _WHOLE[format]
        self._frame = _FRAME[format]
        self._mark = b'"%b"' % self._frame[0]
        self._head = b"\0"
        self._renamed_head = b""
        """How the last frame began, up to the name's end, before and after. All of a stream may begin alike."""

    def whole(self, body: bytes) -> bytes:
        """A whole answer, without content coding."""
        place = _place(body, 0, self._whole)
        return body if place is None else b"%b%b%b" % (body[: place[0]], self._shown, body[place[1] :])

    def frames(self, data: bytes) -> bytes:
        """Whole server-sent events, 0..n of them."""
        if self._mark not in data:
            return data
        if b"\r" in data:
            return b"".join(map(self._in_frame, _BETWEEN_FRAMES.split(data)))
        return b"\n\n".join(map(self._in_frame, data.split(b"\n\n")))

    def _in_frame(self, frame: bytes) -> bytes:
        if not frame.startswith(self._head):
            line = _DATA_LINE.search(frame)
            place = _place(frame, line.end(), self._frame) if line else None
            if place is None:
                return frame
            self._head = frame[: place[1]]
            self._renamed_head = frame[: place[0]] + self._shown
        return self._renamed_head + frame[len(self._head) :]


def _place(text: bytes, start: int, path: _Path) -> tuple[int, int] | None:
    """From where to where the string at `path` stands in the JSON object that begins at `start`; None: nowhere."""
    depth = 0
    entered = 0
    """How many of the path's objects are open around the current token."""
    for token in _TOKEN.finditer(text, start):
        key, colon = token.groups()
        if key is None:
            if token[0] in b"{[":
                depth += 1
            else:
                depth -= 1
                if depth <= entered:
                    return None
        elif colon is not None and depth == entered + 1 and key == path[entered]:
            value = token.end()
            if entered == len(path) - 1:
                found = _STRING.match(text, value)
                return found.span() if found else None
            if text[value : value + 1] != b"{":
                return None
            entered += 1
    return None

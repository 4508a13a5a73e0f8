"""What a body is: of which format, whole or streamed, in which envelope. Nothing here raises: rubbish is None."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import batched
from typing import NamedTuple, cast

from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.gemini.framing import FrameParser
from cliproxy.wire.model import Format, Json

_ENDINGS: dict[str, Format] = {
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
    "/responses/compact": "openai-responses",
    "/messages": "anthropic",
    ":generateContent": "gemini",
    ":streamGenerateContent": "gemini",
}
_FRAME_ENDS = (b"\n\n", b"\r\n\r\n")


def format_of(path: str) -> Format | None:
    """The format of the calls to a path, at this gateway or at any vendor's; the query does not matter."""
    path = path.partition("?")[0]
    return next((format_ for ending, format_ in _ENDINGS.items() if path.endswith(ending)), None)


def json_object(data: bytes) -> Json | None:
    """A body that is one JSON object."""
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return cast("Json", value) if isinstance(value, dict) else None


def opened_request(body: Json) -> Json:
    """A request to Google's Cloud Code API without its envelope; any other as it is."""
    request = body.get("request")
    if isinstance(request, dict) and "contents" in request:
        return {"model": body.get("model"), **cast("Json", request)}
    return body


def opened_answer(body: Json) -> Json:
    """The same of an answer, or of a piece of one."""
    response = body.get("response")
    # The events of the Responses format have such a member too, and a type.
    return cast("Json", response) if isinstance(response, dict) and "type" not in body else body


class Frame(NamedTuple):
    """One event of a streamed body."""

    name: str
    """The `event:` field, or an empty string."""
    data: bytes
    offset_ms: int | None
    """When it was complete, after the request; None: not known."""


def is_stream(data: bytes, content_type: str | None) -> bool:
    """Whether a body is server-sent events, or Gemini's JSON array. content_type: without parameters."""
    return content_type == "text/event-stream" or data[:64].lstrip().startswith((b"event:", b"data:", b"[{", b"[\n"))


def frames(data: bytes, arrivals: Sequence[int] = (), *, left_out: bool = False) -> list[Frame]:
    """The events of a streamed body; what is no event is passed over.

    arrivals: offset in ms and size in bytes of the newest slices in turn; the last one ends where `data` does.
    left_out: the body had a beginning that is not there any more.
    """
    start = _first_frame(data) if left_out else 0
    parser, found = FrameParser(), list[Frame]()
    try:
        for piece, offset_ms in _slices(data, start, arrivals):
            found += (Frame(name, body, offset_ms) for name, body in parser.feed(piece))
        last_ms = arrivals[-2] if arrivals else None
        # Without a blank line after it, the last one may be half an event.
        last = (each for each in parser.finish() if each.data == b"[DONE]" or json_object(each.data))
        found += (Frame(name, body, last_ms) for name, body in last)
    except GatewayError:
        pass
    return found


def _first_frame(data: bytes) -> int:
    """Where the first frame begins that is there in full."""
    ends = [at + len(mark) for mark in _FRAME_ENDS if (at := data.find(mark)) >= 0]
    return min(ends, default=0)


def _slices(data: bytes, start: int, arrivals: Sequence[int]) -> Iterator[tuple[bytes, int | None]]:
    """The bytes from `start` on, as they came."""
    ends: list[tuple[int, int | None]] = []
    at = len(data)
    newest_first: Iterable[tuple[int, ...]] = batched(reversed(arrivals), 2)
    for size, offset_ms in newest_first:
        if at <= start:
            break
        ends.append((at, offset_ms))
        at -= size
    if at > start:
        ends.append((at, None))
    for end, offset_ms in reversed(ends):
        yield data[start:end], offset_ms
        start = end

"""Reads usage and ending of an answer that passes through in its own format, at the side and at little cost.

Only the frames that can say something of these are decoded, by the format's own decoder. What goes wrong here
goes wrong for nobody: the bytes pass on whatever the tap makes of them.
"""

from collections.abc import Callable

import msgspec

from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled
from cliproxy.wire.fold import merge_usage
from cliproxy.wire.model import Event, Failure, Finish, Format, Start, Usage, UsageReport
from cliproxy.wire.sse import SseParser, frame
from cliproxy.wire.translation import CODECS

# What a frame that must be decoded holds, and what one of which only the latest must be: some upstreams count
# in every frame.
_DECISIVE: dict[Format, tuple[bytes, ...]] = {
    "openai-chat": (b'"finish_reason"', b'"error"', b"[DONE]"),
    "openai-responses": (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"'),
    "anthropic": (b'"stop_reason"', b'"message_stop"', b'"error"'),
    "gemini": (b'"finishReason"', b'"functionCall"', b'"blockReason"', b'"error"'),
}
_USAGE: dict[Format, tuple[bytes, ...]] = {
    "openai-chat": (b'"usage"',),
    "openai-responses": (),
    "anthropic": (b'"usage"',),
    "gemini": (b'"usageMetadata"',),
}
_TOOL_WORDS = ("tool_calls", "function_call", "tool_use")

_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class UsageTap:
    """Watches one answer.

    usage, finish_reason, model: what it said so far. ended: its terminal event was seen.
    failure: the error it ended with, or UpstreamCut when it ended before its end.
    """

    def __init__(self, format: Format) -> None:
        self.usage = Usage()
        self.finish_reason: str | None = None
        self.model = ""
        self.ended = False
        self.is_empty = False
        """A whole answer that says nothing at all."""
        self.failure: GatewayError | None = None
        self._codec = CODECS[format]
        self._decoder = self._codec.AnswerDecoder()
        self._parser = SseParser()
        self._decisive = _DECISIVE[format]
        self._usage = _USAGE[format]
        self._latest_usage = b""
        self._over = False
        self._arrived = False
        """Something but white space has come."""
        self._begun = False
        """The first frame was decoded, which names the model."""
        self._aligned = True
        self._array: bytes | None = None
        """What is not yet read of a JSON array stream; None for server-sent events."""

    @classmethod
    def whole(cls, format: Format, body: bytes) -> "UsageTap":
        """The tap of an answer that came in one piece."""
        tap = cls(format)
        try:
            answer = tap._codec.decode_answer(json.loads_object(body, "the upstream's answer"))
        except GatewayError as error:
            tap.failure = error
        except (ValueError, RecursionError):
            tap.failure = UpstreamGarbled("the upstream's answer is not a JSON object")
        else:
            tap.usage, tap.finish_reason, tap.model = answer.usage, answer.finish, answer.model
            tap.is_empty = not answer.parts
        tap.ended = not isinstance(tap.failure, UpstreamGarbled)
        return tap

    def feed(self, chunk: bytes) -> None:
        """Look at 0..n bytes of the body, without its content encoding, cut anywhere."""
        if chunk and not self._over:
            self._safely(self._feed, chunk)

    def finish(self) -> None:
        """The body is over."""
        if not self._over:
            self._safely(self._finish)

    def _safely(self, look: Callable[..., None], *args: bytes) -> None:
        try:
            look(*args)
        except GatewayError as error:
            self.failure = error
            self._over = True
        except Exception:
            # An answer that the tap does not understand is still the client's: the tap goes blind, no more.
            self._over = True

    def _feed(self, chunk: bytes) -> None:
        if not self._arrived:
            first = chunk.lstrip()[:1]
            self._arrived = first != b""
            self._array = b"" if first == b"[" else None
        if self._array is not None:
            self._feed_array(chunk)
            return
        ends_a_frame = chunk.endswith(b"\n\n")
        if self._begun and self._aligned and ends_a_frame and not _says(chunk, self._decisive):
            if _says(chunk, self._usage):
                self._latest_usage = chunk
            return
        self._aligned = ends_a_frame
        for each in self._parser.feed(chunk):
            self._look(each.data, each.name)

    def _finish(self) -> None:
        for each in self._parser.finish():
            self._look(each.data, each.name)
        if not self._over:
            self._take(self._decoder.feed(self._latest_usage))
            self._take(self._decoder.finish())

    def _feed_array(self, chunk: bytes) -> None:
        """The elements of a JSON array as they come: each ends where a piece ends in a bracket and parses."""
        self._array = (self._array or b"") + chunk
        if chunk.rstrip()[-1:] not in (b"}", b",", b"]"):
            return
        try:
            elements = _elements(b"[" + self._array.strip(b"[], \t\r\n") + b"]")
        except msgspec.DecodeError:
            return
        self._array = b""
        for element in elements:
            self._look(bytes(element), "")

    def _look(self, data: bytes, name: str) -> None:
        if self._over:
            return
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
        if not self._begun or _says(data, self._decisive):
            self._begun = True
            before, self._latest_usage = self._latest_usage, b""
            self._take(self._decoder.feed(before + frame(data, name)))
        elif _says(data, self._usage):
            self._latest_usage = frame(data, name)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case UsageReport(usage):
                    merge_usage(self.usage, usage)
                case Start():
                    self.model = event.model
                    if event.usage is not None:
                        merge_usage(self.usage, event.usage)
                case Finish():
                    self.ended = self._over = True
                    # The frames with the calls were not decoded, so that the origin's own word counts.
                    self.finish_reason = "tool" if event.raw in _TOOL_WORDS else event.reason
                case Failure(error):
                    self.failure = error
                    self._over = True
                    self.ended = not isinstance(error, UpstreamCut | UpstreamGarbled)
                case _:
                    pass


def _says(data: bytes, keys: tuple[bytes, ...]) -> bool:
    """Whether one of the keys stands in `data` with a value that may be other than null."""
    find = data.find
    for key in keys:
        at = find(key)
        while at >= 0:
            at += len(key)
            if not data[at : at + 8].lstrip(b": \t").startswith(b"null"):
                return True
            at = find(key, at)
    return False

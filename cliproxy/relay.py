"""How one attempt's answer becomes the client's: passed on as it is, or translated.

Both ways have the same face. `stream()` turns the upstream's slices into the client's; `whole()` does so for a
body in one piece. Neither touches a socket.
"""

import re
from typing import Protocol

from cliproxy.exchange import AnswerCut, Headers
from cliproxy.renaming import Renamer
from cliproxy.transport.encoding import Decompressor, decompress
from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.model import Format, Usage
from cliproxy.wire.sse import frame
from cliproxy.wire.tap import UsageTap
from cliproxy.wire.translation import CODECS, Translation

EVENT_STREAM = "text/event-stream"
JSON = "application/json"


def stream_type(sse: bool) -> str:
    """The `content-type` of a streamed answer; without `sse` it is Gemini's JSON array."""
    return EVENT_STREAM if sse else JSON


def media_type(headers: Headers) -> str:
    """The `content-type` without parameters, lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class StreamRelay(Protocol):
    """One streamed answer on its way to the client."""

    @property
    def usage(self) -> Usage: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def failure(self) -> GatewayError | None:
        """Why the answer did not end well, where the client's stream says so already."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """Take a slice of the upstream's body; return what of the client's it completes. Raises UpstreamFault."""
        ...

    def finish(self) -> bytes:
        """The upstream's body has ended. Raises UpstreamCut when it ended too early."""
        ...

    def fail(self, error: GatewayError) -> bytes:
        """End the client's stream with an error. Raises AnswerCut where the format cannot say one any more."""
        ...


class NativeRefusal(UpstreamRefused):
    """An upstream's error in the client's own format: body and headers can be passed on as they came."""

    def __init__(self, error: UpstreamRefused, format_: Format, headers: Headers, body: bytes) -> None:
        super().__init__(
            error.message,
            status=error.status,
            code=error.code,
            kind=error.kind,
            param=error.param,
            retry_after_s=error.retry_after_s,
            headers=error.headers,
            body=error.body,
        )
        self.format: Format = format_
        self.native_headers = headers
        self.native_body = body


class PassingStream:
    """The upstream's stream, byte for byte, in whole frames: half a frame is never passed on before an error event."""

    def __init__(
        self, format_: Format, headers: Headers, renamer: Renamer | None = None, *, holds_handshake: bool = False
    ) -> None:
        """holds_handshake: pass nothing on before the upstream begins to generate, so that it can still be replaced."""
        self._format: Format = format_
        self._renamer = renamer
        self._tap = UsageTap(format_)
        self._begun = False
        self._handshake = b"" if holds_handshake else None
        self._decompressor = _decompressor(headers)
        self._held: list[bytes] = []
        """Slices of a frame that is not complete yet; joined once, for an image can take thousands."""
        self._last = b""
        self._frames = media_type(headers) == EVENT_STREAM and self._decompressor is None

    @property
    def usage(self) -> Usage:
        return self._tap.usage

    @property
    def finish_reason(self) -> str | None:
        return self._tap.finish_reason

    @property
    def failure(self) -> GatewayError | None:
        return self._tap.failure if isinstance(self._tap.failure, UpstreamRefused) else None

    def feed(self, chunk: bytes) -> bytes:
        if self._decompressor:
            try:
                self._tap.feed(self._decompressor.feed(chunk))
            except ValueError as error:
                raise UpstreamGarbled(str(error)) from None
            return chunk
        self._tap.feed(chunk)
        if not self._frames:
            return chunk
        out = self._whole_frames(chunk)
        self._last = out or self._last
        if self._begun:
            return out
        if isinstance(self._tap.failure, UpstreamRefused):
            # Nothing has gone out yet: this can still be an HTTP error, or another upstream's turn.
            raise self._tap.failure
        if self._handshake is not None:
            self._handshake += out
            if _is_handshake(self._handshake):
                return b""
            out, self._handshake = self._handshake, None
        self._begun = bool(out)
        return out

    @property
    def _sequence_number(self) -> int:
        """Of the last event that was passed on, in the Responses format."""
        numbers = _SEQUENCE_NUMBER.findall(self._last)
        return int(numbers[-1]) if numbers else -1

    def _whole_frames(self, chunk: bytes) -> bytes:
        """What of the stream so far can be passed on without ending inside a frame."""
        if not self._held and chunk.endswith((b"\n\n", b"\r\n\r\n")):
            return self._named(chunk)
        # A mark may begin in what is held, which holds no whole one.
        before = b"".join(self._held[-3:])[-3:]
        seam = before + chunk
        end = max(seam.rfind(mark) + len(mark) if mark in seam else 0 for mark in _FRAME_ENDS) - len(before)
        if end <= 0:
            self._held.append(chunk)
            return b""
        frames = b"".join((*self._held, chunk[:end]))
        self._held = [chunk[end:]] if end < len(chunk) else []
        return self._named(frames)

    def _named(self, frames: bytes) -> bytes:
        return self._renamer.frames(frames) if self._renamer else frames

    def finish(self) -> bytes:
        understood = self._tap.failure is None
        self._tap.finish()
        # What the tap could not read passes all the same, but then nobody knows whether it ended.
        if understood and not self._tap.ended:
            raise UpstreamCut("the upstream's answer ended before its end")
        held, self._held = b"".join(self._held), []
        return (self._handshake or b"") + self._named(held)

    def fail(self, error: GatewayError) -> bytes:
        if not self._frames:
            raise AnswerCut(error.message)
        self._held = []
        return error_event(self._format, error, sequence_number=self._sequence_number + 1)


_FRAME_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_HANDSHAKE_EVENTS = (b"response.created", b"response.in_progress", b"response.queued")
_SEQUENCE_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
_EVENT_NAME = re.compile(rb'"type"\s*:\s*"(response\.[a-z_.]+)"')


def _is_handshake(frames: bytes) -> bool:
    """Whether an upstream of the Responses format has said no more yet than that it has the request."""
    return all(name in _HANDSHAKE_EVENTS for name in _EVENT_NAME.findall(frames))


def error_event(format_: Format, error: GatewayError, *, sse: bool = True, sequence_number: int = 0) -> bytes:
    """An error as the last event of a stream in `format_`; without `sse` as the last element of Gemini's JSON array.

    sequence_number: of the event, in the Responses format.
    """
    _, body = CODECS[format_].encode_error(error)
    if not sse:
        return b"[" + json.dumps(body) + b"]"
    match format_:
        case "anthropic":
            return frame(json.dumps(body), "error")
        case "openai-responses":
            # Over HTTP the error is an object of its own; in a stream it is an event with these fields.
            inner = body["error"]
            event = {"type": "error", "code": inner.get("code"), "message": inner["message"], "param": None}
            return frame(json.dumps({**event, "sequence_number": sequence_number}), "error")
        case _:
            return frame(json.dumps(body))


class Passing:
    """Client and upstream speak the same format: bytes pass."""

    def __init__(self, format_: Format, renamer: Renamer | None = None, *, holds_handshake: bool = False) -> None:
        """renamer: for answers that shall name the model as the client did; they must come without content coding."""
        self._format: Format = format_
        self._renamer = renamer
        self._holds_handshake = holds_handshake
        self.is_empty = False
        """The whole answer said nothing at all."""
        self.usage = Usage()
        self.finish_reason: str | None = None

    def stream(self, headers: Headers) -> PassingStream:
        """Relay a streamed answer; headers: the upstream's."""
        return PassingStream(self._format, headers, self._renamer, holds_handshake=self._holds_handshake)

    def whole(self, body: bytes, headers: Headers) -> bytes:
        """Relay a body in one piece. Raises UpstreamGarbled when it is not a JSON object."""
        plain = _plain(body, headers)
        try:
            json.loads_object(plain, "the upstream's answer")
        except ValueError as error:
            raise UpstreamGarbled(f"the upstream's answer is not what it claims to be: {error}") from None
        tap = UsageTap.whole(self._format, plain)
        self.usage, self.finish_reason, self.is_empty = tap.usage, tap.finish_reason, tap.is_empty
        return self._renamer.whole(body) if self._renamer and plain is body else body

    def refusal(self, status: int, headers: Headers, body: bytes) -> UpstreamRefused:
        """An upstream's error, which its client reads as it is."""
        error = _refusal(self._format, status, headers, body)
        is_readable = media_type(headers) == JSON and _holds_error(error.body)
        return NativeRefusal(error, self._format, headers, body) if is_readable else error


class TranslatedStream:
    """The upstream's stream, told again in the client's format."""

    def __init__(self, translation: Translation, headers: Headers, *, sse: bool) -> None:
        self._stream = translation.stream(sse)
        self._decompressor = _decompressor(headers)

    @property
    def usage(self) -> Usage:
        return self._stream.usage

    @property
    def finish_reason(self) -> str | None:
        return self._stream.finish_reason

    @property
    def failure(self) -> GatewayError | None:
        return self._stream.failure

    def feed(self, chunk: bytes) -> bytes:
        if self._decompressor:
            try:
                chunk = self._decompressor.feed(chunk)
            except ValueError as error:
                raise UpstreamGarbled(str(error)) from None
        return self._stream.feed(chunk)

    def finish(self) -> bytes:
        return self._stream.finish()

    def fail(self, error: GatewayError) -> bytes:
        return self._stream.fail(error)


class Translating:
    """Client and upstream speak different formats."""

    def __init__(self, translation: Translation, upstream: Format, *, stream: bool, sse: bool) -> None:
        """stream: the client wants a stream; sse: as server-sent events."""
        self._translation = translation
        self._upstream: Format = upstream
        self._to_stream = stream
        self._sse = sse

    @property
    def usage(self) -> Usage:
        return self._translation.usage

    @property
    def finish_reason(self) -> str | None:
        return self._translation.finish_reason

    @property
    def is_empty(self) -> bool:
        return self._translation.is_empty

    def stream(self, headers: Headers) -> TranslatedStream:
        """Relay a streamed answer; headers: the upstream's."""
        return TranslatedStream(self._translation, headers, sse=self._sse)

    def whole(self, body: bytes, headers: Headers) -> bytes:
        """Relay a body in one piece, to a client that wants either shape."""
        plain = _plain(body, headers)
        if self._to_stream:
            return self._translation.unfolded(plain, self._sse)
        if media_type(headers) == EVENT_STREAM:
            collector = self._translation.collect()
            collector.feed(plain)
            return collector.finish()
        return self._translation.answer(plain)

    def refusal(self, status: int, headers: Headers, body: bytes) -> UpstreamRefused:
        """An upstream's error, to be told in the client's format."""
        return _refusal(self._upstream, status, headers, body)


Relay = Passing | Translating


def _refusal(format_: Format, status: int, headers: Headers, body: bytes) -> UpstreamRefused:
    try:
        body = _plain(body, headers)
    except UpstreamGarbled:
        body = b""
    return CODECS[format_].decode_error(status, {name.lower(): value for name, value in headers.items()}, body)


def _holds_error(body: bytes) -> bool:
    """Whether a client that looks for `error` finds an object there: some upstreams have shapes of their own."""
    try:
        value = json.loads(body)
    except ValueError:
        return False
    if isinstance(value, list) and value:
        # Gemini's streams are lists.
        value = value[0]
    return isinstance(value, dict) and isinstance(value.get("error"), dict)


def _decompressor(headers: Headers) -> Decompressor | None:
    coding = headers.get("content-encoding", "")
    if not coding or coding.lower() == "identity":
        return None
    try:
        return Decompressor(coding)
    except ValueError as error:
        raise UpstreamGarbled(str(error)) from None


def _plain(body: bytes, headers: Headers) -> bytes:
    coding = headers.get("content-encoding", "")
    if not coding:
        return body
    try:
        return decompress(body, coding)
    except ValueError as error:
        raise UpstreamGarbled(str(error)) from None

"""How Gemini's answers are framed: read in whatever framing they come, and framed again as they are wanted."""

from collections.abc import Callable
from typing import Literal, Protocol, cast
from urllib.parse import parse_qs

from cliproxy.providers.call import UpstreamCall
from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled
from cliproxy.wire.fields import objects_of
from cliproxy.wire.gemini.framing import FrameParser
from cliproxy.wire.model import Json
from cliproxy.wire.sse import ServerSentEvent, frame

Framing = Literal["sse", "array", "whole"]
"""Server-sent events; without `alt=sse` a JSON array in slices; one object."""


def wanted_framing(call: UpstreamCall) -> Framing:
    """How whoever makes a call wants its answer."""
    if not call.stream:
        return "whole"
    # Only a client that names the method itself can want an array.
    return "array" if call.action and parse_qs(call.query).get("alt") != ["sse"] else "sse"


def on_one_line(data: bytes) -> bytes:
    """JSON without line ends, as an event must have it."""
    return json.dumps(json.loads(data)) if b"\n" in data or b"\r" in data else data


class Reframing:
    """An `AnswerReader` that changes each object of an answer, and frames them anew."""

    def __init__(self, framing: Framing, change: Callable[[bytes], bytes]) -> None:
        """change: from an object's JSON to that of another one, without line ends."""
        self.content_type = "text/event-stream" if framing == "sse" else "application/json"
        self._change = change
        self._parser = FrameParser()
        self._writer: _Writer = _WRITERS[framing]()

    def feed(self, data: bytes) -> bytes:
        return self._written(self._parser.feed(data))

    def finish(self) -> bytes:
        return self._written(self._parser.finish()) + self._writer.end()

    def _written(self, events: list[ServerSentEvent]) -> bytes:
        return self._writer.write([self._change(event.data) for event in events]) if events else b""


class _Writer(Protocol):
    def write(self, objects: list[bytes]) -> bytes: ...
    def end(self) -> bytes: ...


class _Sse:
    def write(self, objects: list[bytes]) -> bytes:
        return b"".join(map(frame, objects))

    def end(self) -> bytes:
        return b""


class _Array:
    def __init__(self) -> None:
        self._lead = b"["

    def write(self, objects: list[bytes]) -> bytes:
        lead, self._lead = self._lead, b",\n"
        return lead + b",\n".join(objects)

    def end(self) -> bytes:
        return b"[]" if self._lead == b"[" else b"]"


class _Whole:
    def __init__(self) -> None:
        self._objects: list[bytes] = []

    def write(self, objects: list[bytes]) -> bytes:
        self._objects += objects
        return b""

    def end(self) -> bytes:
        match self._objects:
            case []:
                raise UpstreamGarbled("the upstream's answer is empty")
            case [only]:
                return only
            case chunks:
                return json.dumps(_folded([json.loads_object(chunk, "the upstream's answer") for chunk in chunks]))


_WRITERS: dict[Framing, Callable[[], _Writer]] = {"sse": _Sse, "array": _Array, "whole": _Whole}


def _folded(chunks: list[Json]) -> Json:
    """The whole answer that a stream's chunks make up. Raises UpstreamCut where they break off."""
    whole: Json = {}
    candidates: dict[int, Json] = {}
    for chunk in chunks:
        whole |= chunk
        for candidate in objects_of(chunk, "candidates"):
            known = candidates.setdefault(candidate.get("index") or 0, {})
            parts = [*_parts(known), *_parts(candidate)]
            content = {**(known.get("content") or {}), **(candidate.get("content") or {})}
            known |= candidate
            known["content"] = {"role": "model", **content, "parts": _joined(parts)}
    is_over = whole.get("promptFeedback") or any(candidate.get("finishReason") for candidate in candidates.values())
    if not is_over:
        raise UpstreamCut
    return {**whole, "candidates": list(candidates.values())}


def _parts(candidate: Json) -> list[Json]:
    return objects_of(cast("Json", candidate.get("content") or {}), "parts")


def _joined(parts: list[Json]) -> list[Json]:
    """Parts in which text that came in pieces is one part again. A signature ends its text."""
    joined: list[Json] = []
    for part in parts:
        last = joined[-1] if joined else {}
        kind = part.keys() - {"thoughtSignature"}
        if "text" in part and last.keys() == kind <= {"text", "thought"} and last.get("thought") == part.get("thought"):
            joined[-1] = {**part, "text": f"{last['text']}{part['text']}"}
        else:
            joined.append(part)
    return joined

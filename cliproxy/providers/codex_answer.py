"""The ChatGPT backend's answers as the public API gives them.

The backend only streams, and its last event may leave the response's `output` empty: the items are those that were
done before.
"""

import re
from typing import Any

import msgspec

from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamCut, UpstreamRefused
from cliproxy.wire.model import Json
from cliproxy.wire.openai_responses.errors import streamed_error
from cliproxy.wire.sse import ServerSentEvent, SseParser, frame

JSON, EVENT_STREAM = "application/json", "text/event-stream"

_ITEM_DONE = "response.output_item.done"
_ENDINGS = ("response.completed", "response.incomplete", "response.done")
_FAILURES = ("response.failed", "response.cancelled", "error")
_tells = re.compile("|".join(f'"{re.escape(name)}"' for name in (_ITEM_DONE, *_ENDINGS)).encode()).search


class _Event(msgspec.Struct):
    type: str = ""
    output_index: int | None = None
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


_event = msgspec.json.Decoder(_Event).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Items:
    """The output items that are done, in their places."""

    def __init__(self) -> None:
        self._done: dict[int, msgspec.Raw] = {}

    def add(self, event: _Event) -> None:
        if event.item:
            place = len(self._done) if event.output_index is None else event.output_index
            # A copy: the event that it stands in is not kept.
            self._done[place] = event.item.copy()

    def completed(self, response: msgspec.Raw) -> msgspec.Raw:
        """The response with its output."""
        members = _members(response)
        if not self._done or json.loads(bytes(members.get("output", b"null"))):
            return response
        output: list[Any] = [item for _, item in sorted(self._done.items())]
        return msgspec.Raw(json.dumps({**members, "output": output}))


class Completed:
    """A stream that passes, with the whole output in its last event."""

    content_type = EVENT_STREAM

    def __init__(self) -> None:
        self._parser = SseParser()
        self._items = _Items()
        self._aligned = True
        """All that came ended with an event's end."""

    def feed(self, data: bytes) -> bytes:
        ends_an_event = data.endswith(b"\n\n")
        if self._aligned and ends_an_event and not _tells(data):
            return data
        self._aligned = ends_an_event
        return b"".join(map(self._passed, self._parser.feed(data)))

    def finish(self) -> bytes:
        return b"".join(map(self._passed, self._parser.finish()))

    def _passed(self, each: ServerSentEvent) -> bytes:
        data = each.data.replace(b"\n", b" ")
        if _tells(data) and (event := _read(data)):
            if event.type == _ITEM_DONE:
                self._items.add(event)
            elif event.type in _ENDINGS and event.response:
                completed = self._items.completed(event.response)
                if completed is not event.response:
                    data = json.dumps({**_members(data), "response": completed})
        return frame(data, each.name)


class Collected:
    """A stream as the one body that a client without streaming wants.

    Raises UpstreamRefused for an error in it, UpstreamCut where it ends before the response is complete.
    """

    content_type = JSON

    def __init__(self) -> None:
        self._parser = SseParser()
        self._items = _Items()
        self._response: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        for each in self._parser.feed(data):
            self._take(each.data)
        return b""

    def finish(self) -> bytes:
        for each in self._parser.finish():
            self._take(each.data)
        if self._response is None:
            raise UpstreamCut
        return self._response

    def _take(self, data: bytes) -> None:
        event = _read(data)
        if event is None or self._response is not None:
            return
        if event.type == _ITEM_DONE:
            self._items.add(event)
        elif event.type in _FAILURES:
            raise _failure(event, data)
        elif event.type in _ENDINGS and event.response:
            self._response = bytes(self._items.completed(event.response))


def _read(data: bytes) -> _Event | None:
    """None for what is no event of this API, as `[DONE]`."""
    try:
        return _event(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _failure(event: _Event, data: bytes) -> UpstreamRefused:
    if event.type == "response.cancelled":
        return UpstreamRefused("the upstream cancelled its response", status=502)
    told: Json = json.loads(bytes(event.response)) if event.response else json.loads(data)
    return streamed_error(told)

"""What a streamed response came to, read from its events at little cost: for whoever goes on from it."""

from typing import Any, cast

import msgspec

from cliproxy.wire.json import loads
from cliproxy.wire.model import Json

_COMPLETE = frozenset({"response.completed", "response.incomplete"})
_FINAL = _COMPLETE | {"response.failed", "error"}


class _Head(msgspec.Struct):
    """The members that matter here; everything else stays undecoded."""

    type: Any = None
    status: Any = None
    output_index: Any = None
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


_head = msgspec.json.Decoder(_Head).decode


class Outcome:
    """Takes the events of one response."""

    def __init__(self) -> None:
        self.type = ""
        """Of the event that was noted last; empty where it says none."""
        self.status: int | None = None
        """The error status of HTTP that this event states; errors on WebSockets do."""
        self.ended = False
        """The final event has come."""
        self.response: Json | None = None
        """`id` and `output` of a response that can be gone on from, once it has ended."""
        self._items: dict[int, Any] = {}

    def note(self, event: bytes | str) -> None:
        """Take the JSON of the next event; what is none says nothing."""
        try:
            head = _head(event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            head = _Head()
        self.type = head.type if isinstance(head.type, str) else ""
        self.status = head.status if isinstance(head.status, int) and 400 <= head.status <= 599 else None
        self.ended = self.ended or self.type in _FINAL
        if self.type == "response.output_item.done" and head.item and isinstance(head.output_index, int):
            self._items[head.output_index] = loads(bytes(head.item))
        elif self.type in _COMPLETE and head.response:
            self._complete(loads(bytes(head.response)))

    def _complete(self, response: Any) -> None:
        if isinstance(response, dict):
            said = cast("Json", response)
            # Some upstreams leave the output empty here, since each item was sent before.
            output = [item for _, item in sorted(self._items.items())] or said.get("output")
            if isinstance(said.get("id"), str):
                self.response = {"id": said["id"], "output": output if isinstance(output, list) else []}

"""Serves `previous_response_id` where the upstream keeps nothing: what was said so far, by the id of the last response.

Items are kept as they went over the wire, so that a conversation that goes on by an id is the same as one that the
client sends whole. Instructions are not carried over, as with OpenAI. Nothing leaves the memory, and a client key sees
only what was said with it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Json, Request
from cliproxy.wire.openai_responses import decode_request

_FIELD = "previous_response_id"
_MAX_SHOWN_CHARS = 80


@dataclass(slots=True, eq=False)
class _Exchange:
    """What one request and its response added, shared by all transcripts that begin with it."""

    items: bytes
    """JSON objects with commas between them."""
    transcripts: int = 0
    """How many of those that are kept hold it."""


@dataclass(slots=True)
class _Transcript:
    exchanges: tuple[_Exchange, ...]
    used_s: float


class Transcripts:
    """Conversations by owner and response id. What was not used for longest goes first."""

    def __init__(
        self,
        *,
        max_entries: int = 2000,
        max_bytes: int = 64 * 1024 * 1024,
        ttl_s: float = 24 * 3600.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_entries: responses. max_bytes: of their items; what several share counts once. ttl_s: since last used."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._now = now
        self._kept: OrderedDict[tuple[str, str], _Transcript] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def remember(self, owner: str, request: Request, response: Json) -> None:
        """Keep what was said up to `response`, as the client got it, unless the request says `store: false`.

        owner: the name of the client key. request: as decoded, or as `expand` returned it.
        """
        if request.store is not False:
            self.keep(owner, request.raw, response)

    def keep(self, owner: str, body: Json, response: Json) -> None:
        """The same for a request's JSON, whatever it says of keeping: for a memory that ends with its conversation."""
        before: tuple[_Exchange, ...] = ()
        if previous := body.get(_FIELD):
            known = self._find(owner, previous)
            if known is None:
                return
            before = known.exchanges
        items = json.dumps([*_input_items(body.get("input")), *response["output"]])[1:-1]
        exchanges = (*before, _Exchange(items))
        if sum(len(exchange.items) for exchange in exchanges) > self._max_bytes:
            return
        key = (owner, response["id"])
        self._forget(key)
        self._kept[key] = _Transcript(exchanges, self._now())
        for exchange in exchanges:
            self.size_bytes += 0 if exchange.transcripts else len(exchange.items)
            exchange.transcripts += 1
        self._tidy()

    def expand(self, owner: str, request: Request) -> Request:
        """The request with what was said before its own input, for an upstream that keeps nothing.

        Raises ClientFault (400, `previous_response_not_found`) when that is not, or no longer, known.
        """
        previous = request.previous_response_id
        if not previous:
            return request
        known = self._find(owner, previous)
        if known is None:
            raise ClientFault(
                f"the response {previous[:_MAX_SHOWN_CHARS]!r} is not kept here, or no longer: "
                "send the whole conversation in `input`",
                code="previous_response_not_found",
                param=_FIELD,
            )
        items = json.loads(_joined(known, _input_items(request.raw.get("input"))))
        whole = decode_request({**request.raw, "input": items, _FIELD: None})
        return replace(request, turns=whole.turns, system=whole.system, tools=whole.tools, previous_response_id=None)

    def expanded_body(self, owner: str, body: bytes) -> bytes:
        """The same for the body of a request, where the id is one of ours; else the same bytes.

        An upstream that speaks Responses itself may know other ids.
        """
        if f'"{_FIELD}"'.encode() not in body:
            return body
        try:
            request = json.loads_object(body, "the body")
            own = _input_items(request.get("input"))
        except ValueError:
            return body
        previous = request.pop(_FIELD, None)
        known = self._find(owner, previous) if isinstance(previous, str) else None
        if known is None:
            return body
        return json.dumps({**request, "input": json.loads(_joined(known, own))})

    # ------------------------------------------------------------ what is kept

    def holds(self, owner: str, response_id: str) -> bool:
        """Whether a request can go on from a response."""
        return self._find(owner, response_id) is not None

    def _find(self, owner: str, response_id: str) -> _Transcript | None:
        self._tidy()
        found = self._kept.get((owner, response_id))
        if found is not None:
            found.used_s = self._now()
            self._kept.move_to_end((owner, response_id))
        return found

    def _tidy(self) -> None:
        """Forget what is too old or too much."""
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            is_fresh = self._now() - oldest.used_s < self._ttl_s
            if is_fresh and len(self._kept) <= self._max_entries and self.size_bytes <= self._max_bytes:
                return
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        gone = self._kept.pop(key, None)
        for exchange in gone.exchanges if gone else ():
            exchange.transcripts -= 1
            self.size_bytes -= 0 if exchange.transcripts else len(exchange.items)


def _input_items(given: Any) -> list[Any]:
    """A request's `input` as a list. Raises ValueError when it is none of what it can be."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if isinstance(given, list):
        return given
    raise ValueError("input must be a string or a list")


def _joined(before: _Transcript, own: list[Any]) -> bytes:
    pieces = [*(exchange.items for exchange in before.exchanges), json.dumps(own)[1:-1]]
    return b"[" + b",".join(piece for piece in pieces if piece) + b"]"

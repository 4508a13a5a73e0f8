"""The events of a streamed answer, each with the moment it came, and bits of one text joined."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

from cliproxy.inspection.body import Frame, frames, json_object
from cliproxy.inspection.deltas import Bit, bit_of
from cliproxy.inspection.outline import on_one_line, size_text
from cliproxy.wire import json
from cliproxy.wire.fields import text_of
from cliproxy.wire.model import Json

MAX_ROWS = 2000
SAID_CHARACTERS = 200
"""Shown of what an event says."""
_SAID_BY_ALL = frozenset(
    {"created", "id", "item_id", "model", "object", "obfuscation", "responseId", "modelVersion", "sequence_number",
     "service_tier", "system_fingerprint", "type"}
)  # fmt: skip
"""Members that say the same in all events of a stream, or nothing of interest."""


@dataclass(slots=True)
class _Row:
    """One event, or several that add to one text."""

    name: str
    first_ms: int | None
    last_ms: int | None
    count: int = 1
    bit: Bit | None = None
    pieces: list[str] = field(default_factory=list)
    said: str = ""


def timeline_text(data: bytes, arrivals: Sequence[int], left_out_bytes: int = 0) -> str | None:
    """None where the body is no stream of events. arrivals, left_out_bytes: as `body.frames` takes them."""
    found = frames(data, arrivals, left_out=left_out_bytes > 0)
    if not found:
        return None
    rows = list(_rows(found))
    name_width = min(46, max(len(_name(row)) for row in rows))
    lines = [f"{'at ms':>8} {'for ms':>7}  {'event':<{name_width}}  what it says"]
    lines += [_line(row, name_width) for row in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines.append(f"… and {len(rows) - MAX_ROWS:,} more")
    # A line of its own for mitmweb, which gives an empty one no height.
    return "\n".join([*lines, " ", *_summary(found, data, left_out_bytes)])


def _rows(found: Sequence[Frame]) -> Iterator[_Row]:
    row: _Row | None = None
    for each in found:
        data = json_object(each.data)
        bit = bit_of(data) if data else None
        if row and row.bit and bit and row.bit.of == bit.of:
            row.count += 1
            row.last_ms = each.offset_ms
            row.pieces.append(bit.text)
            continue
        if row:
            yield row
        row = _Row(each.name or _type(data), each.offset_ms, each.offset_ms, bit=bit)
        if bit:
            row.pieces.append(bit.text)
        else:
            row.said = _said(each, data)
    if row:
        yield row


def _type(data: Json | None) -> str:
    return (text_of(data, "type") or text_of(data, "object") or "data") if data else "data"


def _said(each: Frame, data: Json | None) -> str:
    if data is None:
        return on_one_line(each.data[: 4 * SAID_CHARACTERS].decode("utf-8", "replace"), SAID_CHARACTERS)
    said = {name: value for name, value in data.items() if name not in _SAID_BY_ALL}
    return on_one_line(json.dumps_text(_without_nothing(said)), SAID_CHARACTERS)


def _without_nothing(value: Any) -> Any:
    """A JSON value without the members that hold nothing."""
    match value:
        case dict():
            members = cast("Json", value).items()
            return {name: _without_nothing(each) for name, each in members if each not in (None, "", [], {})}
        case list():
            return [_without_nothing(each) for each in cast("list[Any]", value)]
        case _:
            return value


def _name(row: _Row) -> str:
    return row.name if row.count == 1 else f"{row.name} ×{row.count}"


def _line(row: _Row, name_width: int) -> str:
    said = row.said
    if row.bit:
        said = f"{row.bit.kind}: {on_one_line(''.join(row.pieces), SAID_CHARACTERS)}"
    took_ms = row.last_ms - row.first_ms if row.last_ms is not None and row.first_ms is not None else 0
    at, took = _ms(row.first_ms), f"{took_ms:,}" if row.count > 1 and row.first_ms is not None else ""
    return f"{at:>8} {took:>7}  {_name(row):<{name_width}}  {said}".rstrip()


def _ms(offset_ms: int | None) -> str:
    return "" if offset_ms is None else f"{offset_ms:,}"


def _summary(found: Sequence[Frame], data: bytes, left_out_bytes: int) -> Iterator[str]:
    yield f"{len(found):,} events in {size_text(len(data))}"
    if left_out_bytes:
        yield f"the first {size_text(left_out_bytes)} of this answer are not kept"
    moments = [each.offset_ms for each in found if each.offset_ms is not None]
    if not moments:
        yield "when they came is not known"
        return
    if not left_out_bytes:
        yield f"the first after {moments[0]:,} ms, the last after {moments[-1]:,} ms"
    silence_ms, after = max(((later - earlier, later) for earlier, later in pairwise(moments)), default=(0, 0))
    if silence_ms:
        yield f"the longest silence: {silence_ms:,} ms, until {after:,} ms"

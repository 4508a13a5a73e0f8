"""What the gateway changed between a client's request and the one it sent upstream, and what it dropped.

Bodies of one format are compared as they are. Where the format changed, everything looks different and little is: there
both are compared by what they say, as the codecs understand them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from cliproxy.inspection.body import json_object, opened_request
from cliproxy.inspection.conversation import decoded_request
from cliproxy.inspection.outline import Entry, on_one_line, outline
from cliproxy.wire import json
from cliproxy.wire.model import Format, Json, Part, ToolResult

MAX_CHANGES = 300
SHOWN_CHARACTERS = 120
"""Of each value."""
_OF_THE_CONNECTION = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "keep-alive", "te", "upgrade", "expect"}
)


class Sent(NamedTuple):
    """One side's request."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    format: Format | None
    model: str = ""
    """Where the path names it."""


def changes_text(client: Sent, upstream: Sent, dropped: Sequence[str] = ()) -> str:
    """From the client's request to the upstream's. dropped: what the upstream's format could not say."""
    entries = [Entry("client", f"{client.method} {client.url}"), Entry("upstream", f"{upstream.method} {upstream.url}")]
    if client.format and upstream.format:
        said = "unchanged" if client.format == upstream.format else f"{client.format} → {upstream.format}"
        entries.append(Entry("format", said))
    if dropped:
        entries.append(Entry("dropped", [Entry(*_split(each)) for each in dropped]))
    entries.append(Entry("body", _body_changes(client, upstream)))
    entries.append(Entry("headers", _header_changes(client.headers, upstream.headers)))
    return outline(entries)


def _split(dropped: str) -> tuple[str, str]:
    """The field and the reason."""
    field, _, reason = dropped.partition(": ")
    return field, reason


def _body_changes(client: Sent, upstream: Sent) -> Any:
    if client.body == upstream.body:
        return "the same bytes"
    if client.format and upstream.format and client.format != upstream.format:
        before, after = _meaning(client, client.format), _meaning(upstream, upstream.format)
    else:
        before, after = json_object(client.body), json_object(upstream.body)
        after = opened_request(after) if after else after
    if before is None or after is None:
        return f"{len(client.body):,} → {len(upstream.body):,} bytes, which cannot be compared"
    found = list(differences(before, after))
    if not found:
        return "says the same"
    groups: dict[str, Any] = {}
    for kind, path, value in found[:MAX_CHANGES]:
        groups.setdefault(kind, {})[path] = value
    if len(found) > MAX_CHANGES:
        groups["and"] = f"{len(found) - MAX_CHANGES:,} more changes"
    return groups


def _meaning(sent: Sent, format_: Format) -> Json | None:
    """A request in the words of the model between the formats, without what only one of them needs to say it."""
    request = decoded_request(format_, sent.body, sent.model)
    if request is None:
        return None
    fields = cast("Json", _without_defaults(msgspec.to_builtins(request)))
    for name in ("raw", "origin", "extras", "turns", "include_usage"):
        fields.pop(name, None)
    # Formats differ in what makes a turn.
    fields["conversation"] = [_said(turn.role, part) for turn in request.turns for part in turn.parts]
    return fields


def _said(role: str, part: Part) -> Json:
    said = {"role": role, "part": type(part).__name__, **_without_defaults(msgspec.to_builtins(part))}
    if isinstance(part, ToolResult):
        # Where a format does not name it, the call does.
        said.pop("name", None)
    return said


def _without_defaults(value: Any) -> Any:
    match value:
        case dict():
            members = cast("Json", value).items()
            return {name: _without_defaults(each) for name, each in members if not _says_nothing(each)}
        case list():
            return [_without_defaults(each) for each in cast("list[Any]", value)]
        case _:
            return value


class Difference(NamedTuple):
    kind: str
    """`changed`, `added` or `removed`."""
    path: str
    shown: Any


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """What changed between two JSON values, by paths such as `messages[2].content`."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_objects(cast("Json", before), cast("Json", after), path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(cast("list[Any]", before), cast("list[Any]", after), path)
    elif _says_nothing(before):
        yield Difference("added", path, _shown(after))
    elif _says_nothing(after):
        yield Difference("removed", path, _shown(before))
    elif isinstance(before, str) and isinstance(after, str):
        yield Difference("changed", path, _text_change(before, after))
    else:
        yield Difference("changed", path, f"{_shown(before)} → {_shown(after)}")


def _of_objects(before: Json, after: Json, path: str) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        place = f"{path}.{name}" if path else name
        yield from differences(before.get(name), after.get(name), place)


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    """What is the same at both ends stays out; what is between is compared in order."""
    start = _same(before, after)
    end = _same(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for offset in range(max(len(old), len(new))):
        place = f"{path}[{start + offset}]"
        if offset >= len(old):
            yield Difference("added", place, _shown(new[offset]))
        elif offset >= len(new):
            yield Difference("removed", place, _shown(old[offset]))
        else:
            yield from differences(old[offset], new[offset], place)


def _same(before: Sequence[Any], after: Sequence[Any]) -> int:
    """How many items are equal from the beginning on."""
    count = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        count += 1
    return count


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ([], {}, "")


def _text_change(before: str, after: str) -> str:
    """Of long texts only the part that differs, with a little before it."""
    start = max(0, _same(before, after) - 20)
    lead = "…" if start else ""
    return f"{lead}{_shown(before[start:])} → {lead}{_shown(after[start:])}"


def _shown(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    return on_one_line(value if isinstance(value, str) else json.dumps_text(value), SHOWN_CHARACTERS)


def _header_changes(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> Any:
    old, new = _headers(before), _headers(after)
    groups: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            groups.setdefault("removed", {})[name] = old[name]
        elif name not in old:
            groups.setdefault("added", {})[name] = new[name]
        elif old[name] != new[name]:
            groups.setdefault("changed", {})[name] = f"{old[name]} → {new[name]}"
    return groups or "the same"


def _headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By lower-case name, without what belongs to one connection."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()
        if name not in _OF_THE_CONNECTION:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return {name: on_one_line(value, SHOWN_CHARACTERS) for name, value in headers.items()}

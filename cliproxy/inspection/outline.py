"""Writes values for people: indented like YAML, with texts as they read, cut to a size that can be taken in.

The result looks like YAML, so that user interfaces colour it; two entries of a mapping may have the same name.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

MAX_ITEMS = 200
"""Entries of one mapping or list that are written."""
MAX_DEPTH = 12
MAX_CHARACTERS = 400_000
"""Of a whole text; user interfaces become slow beyond it."""

_BLANK = " "
"""mitmweb gives a line without any character no height."""
_SHORT_TEXT = 160
"""Characters of a text that stands beside its name."""
_SHORT_LIST = 100
"""A list of scalars is written on one line up to so many characters."""
_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no)$)[A-Za-z0-9_./(<$“](?:[^\n\r\t:#]|:(?=\S)|(?<=\S)#)*(?<![ :])", re.IGNORECASE
)
"""Text that YAML takes as it is."""
_LISTED = re.compile(r"[^,\[\]{}]*")
_SURROGATES = re.compile("[\ud800-\udfff]")


class Entry(NamedTuple):
    """A name and what it stands for: None, a scalar, str, a list, a mapping or `Entries`."""

    name: str
    value: Any


Entries = list[Entry]
"""A mapping in which a name may come twice."""


def outline(entries: Iterable[Entry], text_limit: int = 10_000) -> str:
    """The entries, those of the top level apart by blank lines where they are long.

    text_limit: characters that are written of each text.
    """
    blocks, left = list[str](), MAX_CHARACTERS
    for entry in entries:
        block = "\n".join(_entry(entry.name, entry.value, text_limit, 0))
        if blocks and ("\n" in block or "\n" in blocks[-1]):
            blocks.append(_BLANK)
        blocks.append(block[:left])
        left -= len(block)
        if left < 0:
            blocks += (_BLANK, "# … and more than can be shown")
            break
    return _SURROGATES.sub("\ufffd", "\n".join(blocks))


def clipped(text: str, limit: int) -> str:
    """The text, of a long one its beginning and end."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    tail = limit - head
    return f"{text[:head]}\n… {len(text) - limit:,} characters …\n{text[-tail:]}"


def on_one_line(text: str, limit: int) -> str:
    """The text without line ends, of a long one its beginning."""
    flat = text[: limit + 1].replace("\r", "").replace("\n", "⏎")
    return flat if len(text) <= limit else f"{flat[:limit]}…"


def size_text(size_bytes: int) -> str:
    """`312 bytes`, `12.3 KB`, `4.5 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1000:.1f} KB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def _entry(name: str, value: Any, text_limit: int, depth: int) -> Iterator[str]:
    inline, below = _written(value, text_limit, depth)
    yield f"{'  ' * depth}{_key(name)}: {inline}".rstrip()
    yield from below


def _written(value: Any, text_limit: int, depth: int) -> tuple[str, Iterable[str]]:
    """What of a value stands beside its name, and the lines below that."""
    match value:
        case str():
            return _text(clipped(value, text_limit), depth + 1)
        case list() | tuple() | dict() if not value:
            return "{}" if isinstance(value, dict) else "[]", ()
        case list() | tuple() | dict() if depth >= MAX_DEPTH:
            return f"… {len(value)}", ()
        case dict():
            pairs = ((str(name), each) for name, each in cast("dict[Any, Any]", value).items())
            return "", _mapping(pairs, len(value), text_limit, depth + 1)
        case [Entry(), *_]:
            return "", _mapping(value, len(value), text_limit, depth + 1)
        case list() | tuple():
            flat = _on_one_line(value)
            return (flat, ()) if flat is not None else ("", _list(value, text_limit, depth + 1))
        case _:
            return _scalar(value), ()


def _mapping(pairs: Iterable[tuple[str, Any]], count: int, text_limit: int, depth: int) -> Iterator[str]:
    for name, each in islice(pairs, MAX_ITEMS):
        yield from _entry(name, each, text_limit, depth)
    yield from _more(count, depth)


def _list(items: Sequence[Any], text_limit: int, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for item in islice(items, MAX_ITEMS):
        inline, below = _written(item, text_limit, depth)
        lines = iter(below)
        # A mapping's first entry stands beside the dash.
        first = inline or next(lines, "").removeprefix(pad + "  ")
        yield f"{pad}- {first}"
        yield from lines
    yield from _more(len(items), depth)


def _more(count: int, depth: int) -> Iterator[str]:
    if count > MAX_ITEMS:
        yield f"{'  ' * depth}# … {count - MAX_ITEMS:,} more"


def _text(text: str, depth: int) -> tuple[str, Iterable[str]]:
    is_short = "\n" not in text and "\r" not in text and len(text) <= _SHORT_TEXT
    # What would have to be quoted reads better on a line of its own.
    if is_short and (_PLAIN.fullmatch(text) or " " not in text or text != text.strip()):
        return _scalar(text), ()
    pad = "  " * depth
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    return "|", (pad + line for line in lines)


def _on_one_line(value: Sequence[Any]) -> str | None:
    """A short list of scalars."""
    if any(isinstance(item, list | tuple | dict) for item in value):
        return None
    if len(value) > _SHORT_LIST or sum(len(item) if isinstance(item, str) else 6 for item in value) > _SHORT_LIST:
        return None
    if any(isinstance(item, str) and "\n" in item for item in value):
        return None
    return f"[{', '.join(map(_item, value))}]"


def _item(value: Any) -> str:
    """A scalar in a list on one line."""
    return _quoted(value) if isinstance(value, str) and not _LISTED.fullmatch(value) else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else _quoted(value)
    return json.dumps(value, default=str)


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and ":" not in name else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

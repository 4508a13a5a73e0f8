"""A YAML file as its user wrote it, with values changed: comments, order, and the spelling of keys stay.

ruamel.yaml keeps a comment at the value before it. What follows the last value of a section mostly belongs to the next
one, so it is taken off before a section changes, and put behind whatever is last then.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase, CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.tokens import CommentToken

from cliproxy.config.schema import kebab

type Path = tuple[str, ...]
"""Keys from the root on."""

_IDENTITY = ("name", "api-key", "key", "alias", "status", "id")
"""Keys by which an entry of a list is known again though other things about it have changed."""
_LONGEST_LINE = 1_000_000
_BETWEEN = r"[^\S\n]*(?:#.*)?\n(?:[^\S\n]*(?:#.*)?\n)*"
"""The end of a line, and lines that say nothing."""
_FIRST_LIST = re.compile(rf"^( *)[\w-]+:{_BETWEEN}\1( *)- ", re.MULTILINE)
# Deeper by a column at least: what follows a key without a value is no mapping below it.
_FIRST_MAPPING = re.compile(rf"^( *)[\w-]+:{_BETWEEN}\1( +)[\w-]+:", re.MULTILINE)
_INDENT = 2


class YamlFault(ValueError):
    """The text cannot be changed, for it cannot be read."""


class YamlDocument:
    """A mapping at the root. Keys match whether they are written with `-` or `_`."""

    def __init__(self, text: str) -> None:
        """Raises YamlFault."""
        self._original = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._yaml = YAML()
        self._yaml.preserve_quotes = True
        self._yaml.width = _LONGEST_LINE
        try:
            root = self._yaml.load(text.replace("\r\n", "\n"))
        except (YAMLError, RecursionError, ValueError):
            raise YamlFault("the file is not valid YAML") from None
        if root is not None and not isinstance(root, CommentedMap):
            raise YamlFault("the file has no keys")
        dash = _indent(_FIRST_LIST, text)
        self._yaml.indent(mapping=_indent(_FIRST_MAPPING, text), sequence=dash + 2, offset=dash)
        self._has_keys = root is not None
        self._root: CommentedMap = CommentedMap() if root is None else root

    def get(self, path: Path) -> Any:
        """A copy of a value, of plain types; None where there is none."""
        node: Any = self._root
        for key in path:
            spelling = _spelling(node, key) if isinstance(node, CommentedMap) else None
            if spelling is None:
                return None
            node = node[spelling]
        return plain(node)

    def put(self, path: Path, value: Any) -> None:
        """Set a value, with the mappings above it. Of lists and mappings only that changes which differs."""
        parent = self._root
        for depth, key in enumerate(path, 1):
            spelling = _spelling(parent, key)
            if spelling is None:
                _append(parent, key, _nested(path[depth:], value))
                return
            below = parent[spelling]
            if depth == len(path) or not (below and isinstance(below, CommentedMap)):
                _replace(parent, spelling, _nested(path[depth:], value))
                return
            parent = below

    def remove(self, path: Path) -> None:
        """Remove a value with its key; nothing where there is none."""
        parent: Any = self._root
        for key in path[:-1]:
            spelling = _spelling(parent, key) if isinstance(parent, CommentedMap) else None
            if spelling is None:
                return
            parent = parent[spelling]
        if isinstance(parent, CommentedMap) and (spelling := _spelling(parent, path[-1])) is not None:
            _remove_key(parent, spelling)

    def text(self) -> str:
        """The file's text now."""
        stream = io.StringIO()
        if self._root:
            self._yaml.dump(self._root, stream)
        written = stream.getvalue()
        if not self._has_keys:
            # Of a file that only holds comments, the reader keeps nothing.
            before = self._original.replace("\r\n", "\n")
            written = before + ("" if before.endswith("\n") or not before else "\n") + written
        return written.replace("\n", self._newline)


def _indent(first: re.Pattern[str], text: str) -> int:
    """How far the first list or mapping of the file is indented; ours where there is none."""
    found = first.search(text)
    return len(found[2]) if found else _INDENT


def _nested(path: Path, value: Any) -> Any:
    """A value below the keys that lead to it."""
    for key in reversed(path):
        value = {key: value}
    return value


def plain(node: Any) -> Any:
    """A copy of a node of plain types."""
    match node:
        case Mapping():
            return {str(key): plain(value) for key, value in node.items()}
        case str():
            return str(node)
        case Sequence():
            return [plain(item) for item in node]
        case bool() | None:
            return node
        case int():
            return int(node)
        case float():
            return float(node)
        case _:
            return node


def _spelling(mapping: CommentedMap, key: str) -> str | None:
    """How a key is written."""
    if key in mapping:
        return key
    return next((other for other in mapping if isinstance(other, str) and kebab(other) == kebab(key)), None)


# ---------------------------------------------------------------- values


def _append(parent: CommentedMap, key: str, value: Any) -> None:
    """Add a key behind the others, and what follows them behind it."""
    rest = _take_rest(parent, last) if (last := _last_key(parent)) is not None else ""
    if not parent:
        parent.fa.set_block_style()
    parent[key] = _merged(None, value)[0]
    _put_rest(parent, key, rest)


def _replace(parent: CommentedMap, key: str, value: Any) -> None:
    rest = _take_rest(parent, key)
    parent[key], before = _merged(parent[key], value)
    if before.strip():
        slots = parent.ca.items.setdefault(key, [None, None, None, None])
        same_line = slots[2].value.rstrip("\n") if slots[2] else ""
        slots[2] = _comment(f"{same_line}\n{before}")
    _put_rest(parent, key, rest)


def _merged(node: Any, value: Any) -> tuple[Any, str]:
    """The node for a value, which is the old one as far as that says the same; and comments that belong before it."""
    if node is not None and plain(node) == value and type(plain(node)) is type(value):
        return node, ""
    if isinstance(value, Mapping):
        return _merged_mapping(node if isinstance(node, CommentedMap) else CommentedMap(), value), ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _merged_list(node if isinstance(node, CommentedSeq) else CommentedSeq(), value)
    return value, ""


def _merged_mapping(node: CommentedMap, value: Mapping[str, Any]) -> CommentedMap:
    wanted = {_spelling(node, key) or key: item for key, item in value.items()}
    for gone in [key for key in node if key not in wanted]:
        _remove_key(node, gone)
    for key, item in wanted.items():
        (_replace if key in node else _append)(node, key, item)
    if not _may_flow(value):
        node.fa.set_block_style()
    return node


def _merged_list(node: CommentedSeq, values: Sequence[Any]) -> tuple[CommentedSeq, str]:
    rests = [_take_rest(node, index) for index in range(len(node))]
    matches = _matches([plain(item) for item in node], values)
    merged = CommentedSeq()
    for index, (value, match) in enumerate(zip(values, matches, strict=True)):
        merged.append(_merged(None if match is None else node[match], value)[0])
        if match is not None and match in node.ca.items:
            merged.ca.items[index] = node.ca.items[match]
    if not values or (node and node.fa.flow_style() and _may_flow(values)):
        merged.fa.set_flow_style()
    # Comments between entries stay behind the entry that they follow, or the one before it when that is gone.
    before = ""
    for old, rest in enumerate(rests):
        place = next((matches.index(index) for index in range(old, -1, -1) if index in matches), None)
        if place is not None:
            _put_rest(merged, place, rest)
        elif values:
            before += rest
    return merged, before


def _matches(before: Sequence[Any], after: Sequence[Any]) -> list[int | None]:
    """For each new entry the old one that it is, or None."""
    free = dict.fromkeys(range(len(before)))
    found: list[int | None] = [None] * len(after)

    def take(index: int, candidates: Iterable[int]) -> None:
        if found[index] is None and (match := next(iter(candidates), None)) is not None:
            found[index] = match
            del free[match]

    for index, value in enumerate(after):
        take(index, [old for old in free if before[old] == value])
    for index, value in enumerate(after):
        take(index, [old for old in free if _identity(value) and _identity(before[old]) == _identity(value)])
    if len(before) == len(after):
        for index in range(len(after)):
            take(index, [index] if index in free else [])
    return found


def _identity(value: Any) -> Any:
    """What an entry is known by; None: nothing."""
    if not isinstance(value, Mapping):
        return None
    known = {kebab(str(key)): item for key, item in value.items()}
    return next(((key, known[key]) for key in _IDENTITY if key in known), None)


def _may_flow(value: Any) -> bool:
    """Whether it stays readable on one line."""
    items = value.values() if isinstance(value, Mapping) else value
    return not any(isinstance(item, Mapping | list) for item in items)


# ---------------------------------------------------------------- comments


def _take_rest(container: CommentedBase, key: str | int) -> str:
    """Take off the comment lines after a value; what stands on its own line stays."""
    holder, leaf = _last_leaf(container, key)
    token = _token(holder, leaf)
    if token is None:
        return ""
    same_line, _, rest = token.value.partition("\n")
    if same_line:
        token.value = same_line + "\n"
    else:
        del holder.ca.items[leaf]
    return rest


def _put_rest(container: CommentedBase, key: str | int, rest: str) -> None:
    """Put comment lines behind a value."""
    if not rest:
        return
    holder, leaf = _last_leaf(container, key)
    token = _token(holder, leaf)
    if token is not None:
        token.value = token.value.removesuffix("\n") + "\n" + rest
        return
    slots: list[Any] = [None, None, None, None]
    slots[_slot(holder)] = _comment("\n" + rest)
    holder.ca.items[leaf] = slots


def _remove_key(parent: CommentedMap, key: str) -> None:
    rest = _take_rest(parent, key)
    keys = list(parent)
    before = keys[keys.index(key) - 1] if keys.index(key) else None
    parent.pop(key)
    parent.ca.items.pop(key, None)
    if before is not None:
        _put_rest(parent, before, rest)
    elif parent and rest.strip():
        lines = (line.strip().removeprefix("#").removeprefix(" ") for line in rest.strip().split("\n"))
        first, column = next(iter(parent)), getattr(parent.lc, "col", None) or 0
        parent.yaml_set_comment_before_after_key(first, before="\n".join(lines), indent=column)


def _last_leaf(container: Any, key: str | int) -> tuple[Any, str | int]:
    """Where the comment after a value is kept."""
    value = container[key]
    if isinstance(value, CommentedMap) and value and not value.fa.flow_style():
        return _last_leaf(value, str(_last_key(value)))
    if isinstance(value, CommentedSeq) and value and not value.fa.flow_style():
        return _last_leaf(value, len(value) - 1)
    return container, key


def _last_key(mapping: CommentedMap) -> str | None:
    return next(reversed(mapping), None)


def _token(holder: Any, leaf: str | int) -> CommentToken | None:
    slots = holder.ca.items.get(leaf)
    return slots[_slot(holder)] if slots else None


def _comment(text: str) -> CommentToken:
    return CommentToken(text, CommentMark(0), None)


def _slot(holder: Any) -> int:
    return 2 if isinstance(holder, CommentedMap) else 0

"""JSON settings files, with comments and trailing commas where the tool reads them.

A change replaces, inserts or cuts out text at the places that the parser names; every other character stays.
"""

import json
from dataclasses import dataclass
from typing import Any

import json5_document
from json5_document import Document, JSON5DecodeError, Node, Token, TokenKind

from cliproxy.setup.syntax import Keys, SettingsFault, Value

_EMPTY = "{}\n"
_INDENT = "  "
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class JsonSyntax:
    """JSON as one tool reads it."""

    comments: bool = False
    trailing_commas: bool = False

    def read(self, text: str) -> dict[str, Any]:
        value = self._parsed(text).root.value
        assert isinstance(value, dict)
        return value

    def set(self, text: str, keys: Keys, value: Value) -> str:
        document = self._parsed(text)
        node, depth = _deepest(document.root, keys)
        if depth == len(keys):
            return _replaced(document, node, value)
        if not isinstance(node.value, dict):
            path = ".".join(keys[:depth])
            raise SettingsFault(f"{path} is no object, so nothing can be set in it", _line(document.source, node.start))
        for key in reversed(keys[depth + 1 :]):
            value = {key: value}
        return (_inserted if node.children else _first)(document, node, keys[depth], value)

    def remove(self, text: str, keys: Keys) -> str:
        document = self._parsed(text)
        table, _ = _deepest(document.root, keys[:-1])
        return _without(document, table, _index(table, keys[-1]))

    def _parsed(self, text: str) -> Document:
        """Raises SettingsFault for what the tool itself would not read."""
        try:
            document = json5_document.parse(source=text or _EMPTY)
        except JSON5DecodeError as error:
            raise SettingsFault(f"not valid JSON: {error.msg}", error.lineno) from None
        self._check(document)
        if not isinstance(document.root.value, dict):
            raise SettingsFault("expected a JSON object", _line(text, document.root.start))
        return document

    def _check(self, document: Document) -> None:
        """JSON5 allows more than JSON does."""
        comments = [token for token in document.tokens if token.kind is TokenKind.COMMENT]
        if comments and not self.comments:
            raise SettingsFault("not valid JSON: its tool reads no comments", _line(document.source, comments[0].start))
        blanked = [*comments, *(_trailing_commas(document.root) if self.trailing_commas else ())]
        # Not cut out: places in messages stay right.
        plain = list(document.source.replace(_BYTE_ORDER_MARK, " ", 1))
        for token in blanked:
            plain[token.start : token.end] = " " * len(token.text)
        try:
            json.loads("".join(plain))
        except json.JSONDecodeError as error:
            line = _line(document.source, error.pos)
            raise SettingsFault(f"not valid JSON: {error.msg}", line) from None


def _trailing_commas(node: Node) -> list[Token]:
    own = [node.commas[-1]] if _has_trailing_comma(node) else []
    return [*own, *(comma for child in node.children for comma in _trailing_commas(child))]


def _has_trailing_comma(node: Node) -> bool:
    return bool(node.children) and len(node.commas) == len(node.children)


def _deepest(node: Node, keys: Keys) -> tuple[Node, int]:
    """The value that the keys lead to, as far as they do, and how many of them that were."""
    for depth, key in enumerate(keys):
        if not isinstance(node.value, dict) or key not in node.value:
            return node, depth
        node = node.children[_index(node, key)]
    return node, len(keys)


def _index(table: Node, key: str) -> int:
    return next(index for index, token in enumerate(table.keys) if token.value == key)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


# ---------------------------------------------------------------- replacing and inserting


def _replaced(document: Document, node: Node, value: Value) -> str:
    source = document.source
    is_on_one_line = "\n" not in source[node.start : node.end]
    indent = None if is_on_one_line else _indent(source, node.start)
    return source[: node.start] + _written(document, value, indent) + source[node.end :]


def _inserted(document: Document, table: Node, key: str, value: Value) -> str:
    """One member more, behind the last and laid out as the first is."""
    source, last = document.source, table.children[-1]
    has_trailing_comma = _has_trailing_comma(table)
    place = table.commas[-1].end if has_trailing_comma else last.end
    if _begins_line(source, table.keys[0].start):
        member = _member_on_line(document, key, value, _indent(source, table.keys[0].start))
        place = _end_of_comments(document, place)
    else:
        member = f" {_written(document, key)}: {_written(document, value)}"
    comma_before, comma_behind = ("", ",") if has_trailing_comma else (",", "")
    return source[: last.end] + comma_before + source[last.end : place] + member + comma_behind + source[place:]


def _first(document: Document, table: Node, key: str, value: Value) -> str:
    """A member in an empty table, behind its comments."""
    source, outer = document.source, _indent(document.source, table.start)
    member = _member_on_line(document, key, value, outer + _unit(document))
    place = _end_before(document, table.end - 1)
    return source[:place] + member + _newline(source) + outer + source[table.end - 1 :]


def _member_on_line(document: Document, key: str, value: Value, indent: str) -> str:
    written = f"{_written(document, key)}: {_written(document, value, indent)}"
    return _newline(document.source) + indent + written


def _written(document: Document, value: Value, indent: str | None = None) -> str:
    """indent: of the line it begins on; None: all of it on one."""
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=_unit(document)).split("\n")
    return (_newline(document.source) + indent).join(lines)


def _newline(source: str) -> str:
    return "\r\n" if "\r\n" in source else "\n"


def _unit(document: Document) -> str:
    """One step of indentation, as the file has it."""
    keys = document.root.keys
    if keys and _begins_line(document.source, keys[0].start):
        return _indent(document.source, keys[0].start) or _INDENT
    return _INDENT


def _begins_line(source: str, position: int) -> bool:
    begin = source.rfind("\n", 0, position) + 1
    return begin > 0 and not source[begin:position].strip()


def _indent(source: str, position: int) -> str:
    """Of the line that a position is on."""
    line = source[source.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _end_before(document: Document, position: int) -> int:
    """Where the white space before a position begins."""
    return max(
        token.end for token in document.tokens if token.end <= position and token.kind is not TokenKind.WHITESPACE
    )


def _end_of_comments(document: Document, position: int) -> int:
    """Behind the comments that follow a position on its line."""
    for token in document.tokens:
        if token.start < position:
            continue
        if token.kind is TokenKind.COMMENT:
            position = token.end
        elif token.kind is not TokenKind.WHITESPACE or "\n" in token.text:
            break
    return position


# ---------------------------------------------------------------- cutting out


def _without(document: Document, table: Node, index: int) -> str:
    """One member less, with the white space before it and one comma. Comments stay."""
    source, end = document.source, table.children[index].end
    begin = _end_before(document, table.keys[index].start)
    cuts = [(begin, end)]
    # The last without a comma of its own takes that before it.
    if comma := (table.commas[index : index + 1] or table.commas[-1:]):
        cuts.append((comma[0].start, comma[0].end))
    inner = source[table.start + 1 : begin] + source[end : table.end - 1]
    if len(table.children) == 1 and not inner.strip(" \t\r\n,"):
        cuts = [(table.start + 1, table.end - 1)]
    for cut_begin, cut_end in sorted(cuts, reverse=True):
        source = source[:cut_begin] + _between(document, cut_begin, source[cut_end:]) + source[cut_end:]
    return source


def _between(document: Document, position: int, rest: str) -> str:
    """A new line where what follows a cut would become part of the comment before it."""
    is_in_comment = any(
        token.end == position and token.kind is TokenKind.COMMENT and token.text.startswith("//")
        for token in document.tokens
    )
    return "\n" if is_in_comment and not rest.lstrip(" \t").startswith(("\n", "\r")) else ""

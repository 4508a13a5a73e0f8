"""From YAML nodes to the values that the schema checks: keys get the schema's spelling, scalars the type that
their place asks for, and the place of every value is noted so that the checks can name it.

What has no effect is a warning, what cannot be read a problem. Whether a value is right, the schema says.
"""

import difflib
import functools
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from re import Pattern
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from . import nodes, wording
from .compat import Ignored, why_ignored
from .schema import Section, kebab

Location = tuple[int | str, ...]
"""Field names and indexes from the root to a value, as pydantic counts them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in the file: its node, its dotted path, whether messages must not repeat it."""

    node: yaml.Node
    path: str
    hidden: bool


class Remarks:
    """Remarks on one file, told in its order and each once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._remarks: set[tuple[int, int, str]] = set()

    def __bool__(self) -> bool:
        return bool(self._remarks)

    def add(self, mark: yaml.Mark, text: str) -> None:
        self._remarks.add((mark.line + 1, mark.column + 1, text))

    def lines(self) -> list[str]:
        return [f"{self.name}:{line}:{column}: {text}" for line, column, text in sorted(self._remarks)]


class Reader:
    """Reads the nodes of one file. `places` knows every value by its location in the result."""

    def __init__(self, name: str) -> None:
        self.problems = Remarks(name)
        self.warnings = Remarks(name)
        self.places: dict[Location, Place] = {}
        self.ignored: dict[Ignored, dict[str, int]] = {}
        """By reason: the paths of keys that have no effect, without indexes, with the first line of each."""

    def document(self, root: yaml.MappingNode, kind: type[Section]) -> dict[str, Any]:
        return self._value(root, kind, (), "", hidden=False)

    def _value(self, node: yaml.Node, annotation: Any, loc: Location, path: str, *, hidden: bool) -> Any:
        kind = bare(annotation)
        section, origin = as_section(kind), get_origin(kind)
        self._check_tag(node, path)
        self.places[loc] = Place(node, path, hidden or bool(section) or origin in (tuple, dict) or kind is SecretStr)
        match node:
            case yaml.MappingNode() if section:
                return self._fields(node, section, loc, path, hidden=hidden)
            case yaml.MappingNode() if origin is dict:
                return self._entries(node, get_args(kind)[1], loc, path, hidden=hidden)
            case yaml.SequenceNode() if origin is tuple:
                return self._items(node, get_args(kind)[0], loc, path, hidden=hidden)
            case yaml.ScalarNode() if section and section.shorthand:
                field = section.model_fields[section.shorthand]
                return {section.shorthand: self._value(node, field.annotation, loc, path, hidden=hidden)}
            case yaml.ScalarNode():
                return _scalar(node, kind)
            case _:
                return self._free(node, path)

    def _fields(
        self, node: yaml.MappingNode, section: type[Section], loc: Location, path: str, *, hidden: bool
    ) -> dict[str, Any]:
        fields = _fields_by_key(section)
        values: dict[str, Any] = {}
        for key, (key_node, value_node) in self._pairs(node, path, kebab).items():
            where = _below(path, key if key in fields else wording.step(key))
            if key in fields:
                name, field = fields[key]
                if not nodes.is_null(value_node):  # a heading below which everything is commented out
                    hidden_here = hidden or not field.repr
                    values[name] = self._value(value_node, field.annotation, (*loc, name), where, hidden=hidden_here)
            elif reason := why_ignored(section, key):
                anywhere = re.sub(r"\[\d+\]", "[]", _below(path, key))
                self.ignored.setdefault(reason, {}).setdefault(anywhere, key_node.start_mark.line + 1)
            else:
                near = difflib.get_close_matches(key, fields, 1, cutoff=0.7)
                hint = f"; did you mean {near[0]}?" if near else ""
                self.warnings.add(key_node.start_mark, f"{where}: unknown key, ignored{hint}")
        return values

    def _items(self, node: yaml.SequenceNode, annotation: Any, loc: Location, path: str, *, hidden: bool) -> list[Any]:
        section = as_section(bare(annotation))
        items: list[Any] = []
        for index, item_node in enumerate(node.value):
            where, item_loc = f"{path}[{index}]", (*loc, len(items))
            item = self._value(item_node, annotation, item_loc, where, hidden=hidden)
            if section and isinstance(item, dict) and (reason := section.why_skipped(item)):
                self.warnings.add(item_node.start_mark, f"{where} is left out: {reason}")
                for stale in [place for place in self.places if place[: len(item_loc)] == item_loc]:
                    del self.places[stale]
            else:
                items.append(item)
        return items

    def _entries(
        self, node: yaml.MappingNode, annotation: Any, loc: Location, path: str, *, hidden: bool
    ) -> dict[str, Any]:
        null_says_something = annotation is Any or type(None) in get_args(annotation)
        return {
            key: self._value(value_node, annotation, (*loc, key), _below(path, wording.step(key)), hidden=hidden)
            for key, (_, value_node) in self._pairs(node, path, str).items()
            if null_says_something or not nodes.is_null(value_node)
        }

    def _free(self, node: yaml.Node, path: str) -> Any:
        """A value without a schema, as JSON would have it."""
        self._check_tag(node, path)
        match node:
            case yaml.MappingNode():
                pairs = self._pairs(node, path, str).items()
                return {key: self._free(value, _below(path, wording.step(key))) for key, (_, value) in pairs}
            case yaml.SequenceNode():
                return [self._free(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return nodes.scalar_value(node)
            case _:
                raise AssertionError(f"YAML has no {type(node).__name__}")

    def _check_tag(self, node: yaml.Node, path: str) -> None:
        if node.tag not in nodes.PLAIN_TAGS:
            self.problems.add(
                node.start_mark, f"{path}: YAML tags (!…) are not understood; quote text that begins with !"
            )

    def _pairs(
        self, node: yaml.MappingNode, path: str, spelling: Callable[[str], str]
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key to the nodes of key and value, with what `<<` merges in. A key given twice is a problem."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.add(key_node.start_mark, _told(path, "expected a key of plain text"))
            elif key_node.tag == nodes.MERGE:
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if isinstance(source, yaml.MappingNode):
                        merged = self._pairs(source, path, spelling) | merged
                    else:
                        self.problems.add(source.start_mark, _told(path, "expected a mapping to merge with <<"))
            elif first := own.get(key := spelling(key_node.value)):
                where, line = _below(path, wording.step(key)), first[0].start_mark.line + 1
                self.problems.add(key_node.start_mark, f"{where}: this key is already on line {line}")
            else:
                own[key] = (key_node, value_node)
        return merged | own


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _told(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def bare(annotation: Any) -> Any:
    """The annotation without `Annotated` and without `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return bare(next(choice for choice in get_args(annotation) if choice is not type(None)))
    return annotation


def as_section(kind: Any) -> type[Section] | None:
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


@functools.cache
def _fields_by_key(section: type[Section]) -> dict[str, tuple[str, FieldInfo]]:
    return {field.alias or name: (name, field) for name, field in section.model_fields.items()}


_YES_NO = {"yes": True, "on": True, "no": False, "off": False}


def _scalar(node: yaml.ScalarNode, kind: Any) -> Any:
    """The scalar as its place wants it: text may look like a number, `yes` and `no` may be booleans."""
    value = nodes.scalar_value(node)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return node.value if kind in (str, SecretStr, datetime) or get_origin(kind) is Pattern else value
    if kind is bool and isinstance(value, str) and node.style is None:
        return _YES_NO.get(value.lower(), value)
    return value

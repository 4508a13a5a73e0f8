"""TOML settings files.

A file is the texts of its tables, one after another, and a change is made within one of them: tomlkit, which puts some
whole files into another order, sees the lines of one table only.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tomlkit

from cliproxy.setup.syntax import MISSING, Keys, SettingsFault, Value, value_at

_LINES = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class _Table:
    """The text of one table, up to the header of the next."""

    keys: Keys | None
    """None: one of an array of tables."""
    header: str
    """Its line; empty for what stands before the first header."""
    body: str = ""

    @property
    def text(self) -> str:
        return self.header + self.body


class TomlSyntax:
    """TOML. Every change is read back: no edit is worth a setting of the user's."""

    def read(self, text: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise SettingsFault(f"not valid TOML: {error}", int(line[1]) if line else None) from None

    def set(self, text: str, keys: Keys, value: Value) -> str:
        expected = self.read(text)
        holder = expected
        for key in keys[:-1]:
            holder = holder.setdefault(key, {})
            if not isinstance(holder, dict):
                raise SettingsFault(f"{key} is no table, so nothing can be set in it")
        holder[keys[-1]] = value
        tables = _tables(text)
        index = _home(tables, keys)
        if index is None:
            return self._checked(_with_table(text, keys, value), expected, keys)
        rest = keys[len(tables[index].keys or ()) :]
        if len(rest) == 1 and rest[0] not in tomllib.loads(tables[index].body):
            is_last = index == len(tables) - 1
            body = _with_line(tables[index], rest[0], value, _newline(text), is_last=is_last)
        else:
            body = _edited(tables[index].body, rest, lambda holder: holder.__setitem__(rest[-1], value))
        return self._checked(_joined(tables, index, body), expected, keys)

    def remove(self, text: str, keys: Keys) -> str:
        expected = self.read(text)
        del value_at(expected, keys[:-1])[keys[-1]]
        tables = _tables(text)
        without = "".join(_left(table) if _is_below(table, keys) else table.text for table in tables)
        if _is_below(tables[-1], keys):
            without = _ended(without)
        index = _home(tables, keys)
        if index is not None:
            rest = keys[len(tables[index].keys or ()) :]
            if value_at(tomllib.loads(tables[index].body), rest) is not MISSING:
                body = _edited(tables[index].body, rest, lambda holder: holder.__delitem__(rest[-1]))
                without = _joined(tables, index, body)
        return self._checked(without, expected, keys)

    def _checked(self, text: str, expected: dict[str, Any], keys: Keys) -> str:
        """Raises SettingsFault where the edit came out as something else."""
        try:
            if _without_empty(self.read(text)) == _without_empty(expected):
                return text
        except SettingsFault:
            pass
        raise SettingsFault(f"{'.'.join(keys)} cannot be changed in this file without harm: change it by hand")


def _without_empty(value: Any) -> Any:
    """Tables without anything in them come and go with the headers of others."""
    if not isinstance(value, dict):
        return value
    kept = {key: _without_empty(part) for key, part in value.items()}
    return {key: part for key, part in kept.items() if part != {}}


# ---------------------------------------------------------------- tables


def _tables(text: str) -> list[_Table]:
    """The tables in their order; the first is what stands before any header."""
    tables = [_Table((), "")]
    for line in _LINES.findall(text):
        # A line that looks like a header is none within a value of several lines, which is no whole TOML as yet.
        if line.lstrip(" \t").startswith("[") and _is_whole(tables[-1].text):
            tables.append(_Table(_named(line), line))
        else:
            tables[-1] = replace(tables[-1], body=tables[-1].body + line)
    return tables


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _named(header: str) -> Keys | None:
    keys: list[str] = []
    table: Any = tomllib.loads(header)
    while isinstance(table, dict) and table:
        ((key, table),) = table.items()
        keys.append(key)
    return tuple(keys) if table == {} else None


def _home(tables: Sequence[_Table], keys: Keys) -> int | None:
    """The table in whose text a value is, or can be put: its own, or one that holds it by dotted keys or inline."""
    fitting = [
        index
        for index, table in enumerate(tables)
        if table.keys is not None
        and table.keys == keys[: len(table.keys)]
        and len(table.keys) < len(keys)
        and isinstance(value_at(tomllib.loads(table.body), keys[len(table.keys) : -1]), dict)
    ]
    return max(fitting, key=lambda index: len(tables[index].keys or ()), default=None)


def _is_below(table: _Table, keys: Keys) -> bool:
    return table.keys is not None and table.keys[: len(keys)] == keys


def _joined(tables: Sequence[_Table], index: int, body: str) -> str:
    return "".join(table.text if at != index else table.header + body for at, table in enumerate(tables))


# ---------------------------------------------------------------- lines


def _edited(body: str, keys: Keys, edit: Callable[[Any], None]) -> str:
    """The lines of a table after an edit of what holds the last key."""
    document = tomlkit.parse(body)
    holder: Any = document
    for key in keys[:-1]:
        holder = holder[key]
    edit(holder)
    return tomlkit.dumps(document)


def _with_line(table: _Table, key: str, value: Value, newline: str, *, is_last: bool) -> str:
    """One value more, behind the last: comments at the end speak of the next table."""
    tail = _tail(table)
    values = table.body.removesuffix(tail)
    if not values and not table.header:
        # Comments up to the last blank line speak of the file.
        blank_lines = list(re.finditer(r"\n[ \t\r]*\n", tail))
        end = len(tail) if is_last else blank_lines[-1].end() if blank_lines else 0
        values, tail = tail[:end], tail[end:] if is_last else newline + tail[end:]
    if (table.header + values)[-1:] not in ("", "\n"):
        values += newline
    return values + tomlkit.dumps({key: value}).strip() + newline + tail


def _tail(table: _Table) -> str:
    """The blank lines and comments at the end."""
    lines = _LINES.findall(table.body)
    end = len(lines)
    while end and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return "".join(lines[end:])


def _left(table: _Table) -> str:
    """What stays of a table that is removed: the comments that speak of the next."""
    return _tail(table).lstrip("\r\n")


def _with_table(text: str, keys: Keys, value: Value) -> str:
    newline, before = _newline(text), _ended(text)
    header = ".".join(tomlkit.key(key).as_string() for key in keys[:-1])
    table = f"[{header}]{newline}{tomlkit.dumps({keys[-1]: value}).strip()}{newline}"
    return before + (newline if before else "") + table


def _ended(text: str) -> str:
    """A text with no blank lines at its end."""
    return text.rstrip() + _newline(text) if text.strip() else ""


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"

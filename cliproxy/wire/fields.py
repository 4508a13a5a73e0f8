"""Typed access to JSON that others wrote: strict for a client's request, lenient for an upstream's answer.

Strict (`Fields`): absent and null are None, a wrong type is a ClientFault that names the place. Lenient (the
functions): a wrong type counts as absent, because half an answer is worth more than none.
"""

import re
from collections.abc import Iterable
from typing import Any, Self, cast

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Json

_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
    list: "a list",
}
_MAX_SHOWN_CHARS = 40
_WHOLE = re.compile("[0-9]{1,18}")


class Fields:
    """The body of a request, or an object in it: what its parent holds under `key`, perhaps in a list there."""

    __slots__ = ("_index", "_key", "_parent", "object")

    def __init__(self, value: Any, parent: "Fields | None" = None, key: str = "", index: int | None = None) -> None:
        """Raises ClientFault when `value` is not an object."""
        self._parent = parent
        self._key = key
        self._index = index
        if not isinstance(value, dict):
            raise wrong_type(self.place() or "the body", "an object", value)
        self.object: Json = value

    def place(self, key: str = "", index: int | None = None) -> str:
        """Where in the body this object stands, or what it holds under `key`, such as `messages[2].content[0]`."""
        # Only errors ask for it, so it is not made before.
        path = self._parent.place(self._key, self._index) if self._parent is not None else ""
        if key:
            path = f"{path}.{key}" if path else key
        return path if index is None else f"{path}[{index}]"

    # ------------------------------------------------------------ values

    def string(self, key: str) -> str | None:
        value = self.object.get(key)
        return value if value is None or isinstance(value, str) else self._reject(key, str)

    def required(self, key: str) -> str:
        """A string that has to be there and to hold something."""
        value = self.object.get(key)
        if value and isinstance(value, str):
            return value
        return self._reject(key, str) if value else self._miss(key)

    def boolean(self, key: str) -> bool | None:
        value = self.object.get(key)
        return value if value is None or isinstance(value, bool) else self._reject(key, bool)

    def integer(self, key: str) -> int | None:
        """A whole number; JavaScript's `5.0` is one."""
        value = self.object.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        # True is an int to Python, but never to a client.
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        return self._reject(key, int)

    def number(self, key: str) -> float | None:
        value = self.object.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        return self._reject(key, float)

    def strings(self, key: str) -> list[str]:
        """The strings of a list; none where it is absent."""
        values = self.items(key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise wrong_type(self.place(key, index), "a string", value)
        return values

    # ------------------------------------------------------------ objects and lists

    def json(self, key: str) -> Json | None:
        """An object as it stands."""
        value = self.object.get(key)
        if value is None or isinstance(value, dict):
            return cast("Json | None", value)
        return self._reject(key, dict)

    def child(self, key: str) -> Self | None:
        value = self.object.get(key)
        return None if value is None else type(self)(value, self, key)

    def required_child(self, key: str) -> Self:
        child = self.child(key)
        if child is None:
            raise self.missing(key)
        return child

    def items(self, key: str) -> list[Any]:
        """The entries of a list, of whatever type; none where it is absent."""
        value = self.object.get(key)
        if isinstance(value, list):
            return cast("list[Any]", value)
        return [] if value is None else self._reject(key, list)

    def children(self, key: str) -> list[Self]:
        """The objects of a list; none where it is absent."""
        if self.object.get(key) is None:
            return []
        cls = type(self)
        return [cls(value, self, key, index) for index, value in enumerate(self.items(key))]

    def text_or_items(self, key: str) -> str | list[Any]:
        """A string, or the entries of a list; an absent value is an empty list."""
        value = self.object.get(key)
        if isinstance(value, str | list):
            return cast("str | list[Any]", value)
        if value is None:
            return []
        raise self.wrong_type(key, "a string or a list")

    def string_map(self, key: str) -> dict[str, str] | None:
        """An object of strings; None where it is absent or empty."""
        entries = self.child(key)
        return None if entries is None else {name: entries.string(name) or "" for name in entries.object} or None

    def rest(self, typed: frozenset[str]) -> Json:
        """What it holds besides the fields that are read one by one; nothing that is null."""
        return {key: value for key, value in self.object.items() if key not in typed and value is not None}

    # ------------------------------------------------------------ faults

    def missing(self, key: str) -> ClientFault:
        place = self.place(key)
        return ClientFault(f"{place} is required", code="missing_required_parameter", param=place)

    def wrong_type(self, key: str, expected: str) -> ClientFault:
        """The fault for a value that is not `expected`, such as `a string or a list`."""
        return wrong_type(self.place(key), expected, self.object.get(key))

    def invalid(self, key: str, known: Iterable[str]) -> ClientFault:
        """The fault for a word that is none of `known`."""
        place, words = self.place(key), list(known)
        expected = f"{', '.join(words[:-1])} or {words[-1]}"
        value: Any = self.object.get(key)
        found = repr(value[:_MAX_SHOWN_CHARS]) if isinstance(value, str) else _name(value)
        return ClientFault(f"{place} must be {expected}, not {found}", code="invalid_value", param=place)

    def _reject(self, key: str, expected: type) -> Any:
        raise self.wrong_type(key, _NAMES[expected])

    def _miss(self, key: str) -> Any:
        raise self.missing(key)


def wrong_type(place: str, expected: str, value: Any) -> ClientFault:
    """The fault for a value at `place` that is not `expected`."""
    return ClientFault(f"{place} must be {expected}, not {_name(value)}", code="invalid_type", param=place)


def _name(value: Any) -> str:
    return "null" if value is None else _NAMES[type(value)]


def text_of(holder: Json, key: str) -> str:
    found = holder.get(key)
    return found if isinstance(found, str) else ""


def integer_of(holder: Json, key: str) -> int | None:
    """A whole number, also one written as `5.0` or `"5"`."""
    found = holder.get(key)
    if (isinstance(found, float) and found.is_integer()) or (isinstance(found, str) and _WHOLE.fullmatch(found)):
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def object_of(holder: Json, key: str) -> Json:
    found = holder.get(key)
    return cast("Json", found) if isinstance(found, dict) else {}


def objects_of(holder: Json, key: str) -> list[Json]:
    return objects(holder.get(key))


def objects(value: Any) -> list[Json]:
    """The objects of a list; none of anything else."""
    if not isinstance(value, list):
        return []
    return [cast("Json", entry) for entry in cast("list[Any]", value) if isinstance(entry, dict)]

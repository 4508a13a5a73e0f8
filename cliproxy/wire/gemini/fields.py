"""Typed access to a client's JSON in either spelling: null is absent, a wrong type a fault with its place."""

import re
from typing import Any, cast

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Json

_SNAKE = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")

_TYPES: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "an integer": (int,),
    "a number": (int, float),
    "a boolean": (bool,),
    "an object": (dict,),
}


def camel_case(fields: Json) -> Json:
    """`fields` with camelCase names: Google takes both spellings, and its Python SDK sends them mixed."""
    if "_" not in "".join(fields):
        return fields
    return {_SNAKE.sub(lambda match: match[1].upper(), name): value for name, value in fields.items()}


class Fields:
    """One object of the body, its names in camelCase. `path` is its place, empty for the body itself."""

    __slots__ = ("object", "path")

    def __init__(self, value: Any, path: str = "") -> None:
        """Raises ClientFault when `value` is not an object."""
        if not isinstance(value, dict):
            raise wrong_type(path or "the body", "an object", value)
        self.object = camel_case(cast("Json", value))
        self.path = path

    def place(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def value(self, key: str) -> Any:
        return self.object.get(key)

    def string(self, key: str) -> str | None:
        return self._typed(key, "a string")

    def required(self, key: str) -> str:
        """A string that must be there and not be empty."""
        value = self.string(key)
        if not value:
            raise ClientFault(f"{self.place(key)} is missing", param=self.place(key))
        return value

    def integer(self, key: str) -> int | None:
        """A whole number; JavaScript's `5.0` is one."""
        value = self.object.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return self._typed(key, "an integer")

    def number(self, key: str) -> float | None:
        return self._typed(key, "a number")

    def boolean(self, key: str) -> bool | None:
        return self._typed(key, "a boolean")

    def json(self, key: str) -> Json | None:
        return self._typed(key, "an object")

    def child(self, key: str) -> "Fields | None":
        value = self.object.get(key)
        return None if value is None else Fields(value, self.place(key))

    def children(self, key: str) -> "list[Fields]":
        """The objects of a list, or the single one that may stand for it; empty where it is absent."""
        value: Any = self.object.get(key)
        place = self.place(key)
        if isinstance(value, list):
            return [Fields(item, f"{place}[{index}]") for index, item in enumerate(cast("list[Any]", value))]
        return [] if value is None else [Fields(value, place)]

    def strings(self, key: str) -> list[str]:
        """The strings of a list, or the single one that may stand for it; empty where it is absent."""
        value: Any = self.object.get(key)
        if isinstance(value, str):
            return [value]
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong_type(self.place(key), "a list of strings", value)
        items = cast("list[Any]", value)
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise wrong_type(f"{self.place(key)}[{index}]", "a string", item)
        return items

    def _typed(self, key: str, expected: str) -> Any:
        value = self.object.get(key)
        if value is None:
            return None
        # True is an int to Python, but never to a client.
        if not isinstance(value, _TYPES[expected]) or (isinstance(value, bool) and expected != "a boolean"):
            raise wrong_type(self.place(key), expected, value)
        return value


def wrong_type(place: str, expected: str, value: Any) -> ClientFault:
    """The ClientFault for a value that is not what `expected` says."""
    found = "null" if value is None else type(value).__name__
    return ClientFault(f"{place} must be {expected}, not {found}", param=place)

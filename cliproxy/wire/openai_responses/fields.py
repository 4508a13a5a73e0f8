"""Typed access to JSON that others wrote: strict for a client's request, lenient for an upstream's answer.

Strict (`Fields`): absent and null are None, a wrong type is a ClientFault that names the place. Lenient
(the functions): a wrong type counts as absent, because half an answer is worth more than none.
"""

from typing import Any, cast

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Json

_TYPES: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "an integer": (int,),
    "a number": (int, float),
    "a boolean": (bool,),
    "an object": (dict,),
    "a list": (list,),
}


class Fields:
    """A JSON object of a request. `path` is its place in the body, empty for the body itself."""

    __slots__ = ("object", "path")

    def __init__(self, value: Any, path: str) -> None:
        """Raises ClientFault when `value` is not an object."""
        if not isinstance(value, dict):
            raise self._fault(path or "the request body", "an object", value)
        self.object = cast("Json", value)
        self.path = path

    def place(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def string(self, key: str) -> str | None:
        return self._typed(key, "a string")

    def required(self, key: str) -> str:
        """A string that must be there and not be empty."""
        value = self.string(key)
        if not value:
            place = self.place(key)
            raise ClientFault(f"{place} is required and must be a non-empty string", param=place)
        return value

    def integer(self, key: str) -> int | None:
        return self._typed(key, "an integer")

    def number(self, key: str) -> float | None:
        return self._typed(key, "a number")

    def boolean(self, key: str) -> bool | None:
        return self._typed(key, "a boolean")

    def json(self, key: str) -> Json | None:
        return self._typed(key, "an object")

    def child(self, key: str) -> "Fields | None":
        value = self.json(key)
        return None if value is None else Fields(value, self.place(key))

    def children(self, key: str) -> "list[Fields]":
        """The objects of a list; empty where the list is absent."""
        values: list[Any] = self._typed(key, "a list") or []
        place = self.place(key)
        return [Fields(value, f"{place}[{index}]") for index, value in enumerate(values)]

    def strings(self, key: str) -> list[str] | None:
        values: list[Any] | None = self._typed(key, "a list")
        for index, value in enumerate(values or []):
            if not isinstance(value, str):
                raise self._fault(f"{self.place(key)}[{index}]", "a string", value)
        return values

    def fault(self, key: str, expected: str) -> ClientFault:
        """The ClientFault for a value that is none of what `expected` says."""
        return self._fault(self.place(key), expected, self.object.get(key))

    def _typed(self, key: str, expected: str) -> Any:
        value = self.object.get(key)
        if value is None:
            return None
        # True is an int to Python, but never to a client.
        if not isinstance(value, _TYPES[expected]) or (isinstance(value, bool) and expected != "a boolean"):
            raise self._fault(self.place(key), expected, value)
        return value

    @staticmethod
    def _fault(place: str, expected: str, value: Any) -> ClientFault:
        shown = repr(value) if isinstance(value, str) and len(value) <= 40 else type(value).__name__
        return ClientFault(f"{place} must be {expected}, not {shown}", param=place)


def text_of(value: Json, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def integer_of(value: Json, key: str) -> int | None:
    found = value.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def object_of(value: Json, key: str) -> Json:
    found = value.get(key)
    return cast("Json", found) if isinstance(found, dict) else {}


def objects_of(value: Json, key: str) -> list[Json]:
    found = value.get(key)
    if not isinstance(found, list):
        return []
    return [cast("Json", entry) for entry in cast("list[Any]", found) if isinstance(entry, dict)]

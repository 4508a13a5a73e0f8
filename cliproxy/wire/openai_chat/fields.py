"""Typed access to a client's JSON: null is absent, a wrong type is a ClientFault that names its place."""

from typing import Any, cast

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


class Fields:
    """The body, or an object in it: what its parent holds under `key`, perhaps in a list there."""

    __slots__ = ("_index", "_key", "_parent", "object")

    def __init__(self, value: Any, parent: "Fields | None" = None, key: str = "", index: int | None = None) -> None:
        """Raises ClientFault when `value` is not an object."""
        self._parent = parent
        self._key = key
        self._index = index
        if not isinstance(value, dict):
            raise wrong_type(self._path() or "the body", "an object", value)
        self.object: Json = value

    def place(self, key: str, index: int | None = None) -> str:
        """Where in the body a value stands, such as `messages[2].content[0]`."""
        path = self._path()
        place = f"{path}.{key}" if path else key
        return place if index is None else f"{place}[{index}]"

    def _path(self) -> str:
        # Only errors ask for it, so it is not made before.
        return self._parent.place(self._key, self._index) if self._parent is not None else ""

    def string(self, key: str) -> str | None:
        value = self.object.get(key)
        return value if value is None or isinstance(value, str) else self._reject(key, str)

    def required(self, key: str) -> str:
        """A string that has to be there and to hold something."""
        value = self.string(key)
        if not value:
            raise self.missing(key)
        return value

    def boolean(self, key: str) -> bool | None:
        value = self.object.get(key)
        return value if value is None or isinstance(value, bool) else self._reject(key, bool)

    def integer(self, key: str) -> int | None:
        """A whole number; JavaScript's `5.0` is one."""
        value = self.object.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        return self._reject(key, int)

    def number(self, key: str) -> float | None:
        value = self.object.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        return self._reject(key, float)

    def child(self, key: str) -> "Fields | None":
        value = self.object.get(key)
        return None if value is None else Fields(value, self, key)

    def required_child(self, key: str) -> "Fields":
        child = self.child(key)
        if child is None:
            raise self.missing(key)
        return child

    def items(self, key: str) -> list[Any]:
        """The entries of a list; none where it is absent."""
        value = self.object.get(key)
        if value is None:
            return []
        return cast("list[Any]", value) if isinstance(value, list) else self._reject(key, list)

    def children(self, key: str) -> "list[Fields]":
        return [Fields(value, self, key, index) for index, value in enumerate(self.items(key))]

    def strings(self, key: str) -> list[str]:
        values = self.items(key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise wrong_type(self.place(key, index), "a string", value)
        return values

    def missing(self, key: str) -> ClientFault:
        place = self.place(key)
        return ClientFault(f"{place} is required", code="missing_required_parameter", param=place)

    def _reject(self, key: str, expected: type) -> Any:
        raise wrong_type(self.place(key), _NAMES[expected], self.object[key])


def wrong_type(place: str, expected: str, value: Any) -> ClientFault:
    """The fault for a value that is not `expected`, such as `a string or a list`."""
    found = "null" if value is None else _NAMES[value.__class__]
    return ClientFault(f"{place} must be {expected}, not {found}", code="invalid_type", param=place)

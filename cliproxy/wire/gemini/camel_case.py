"""Gemini's JSON in either spelling: Google takes camelCase and snake_case, and its Python SDK sends them mixed."""

import re
from typing import Any, cast

from cliproxy.wire.fields import Fields
from cliproxy.wire.model import Json

_SNAKE = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")


def camel_case(object: Json) -> Json:
    """`object` with camelCase names."""
    return {_camel_cased(name) if "_" in name else name: value for name, value in object.items()}


def _camel_cased(name: str) -> str:
    return _SNAKE.sub(lambda match: match[1].upper(), name)


class CamelFields(Fields):
    """An object of the body, its names in camelCase. A single entry may stand for a list of one."""

    __slots__ = ()

    def __init__(self, value: Any, parent: Fields | None = None, key: str = "", index: int | None = None) -> None:
        super().__init__(value, parent, key, index)
        for name in self.object:
            if "_" in name:
                self.object = camel_case(self.object)
                break

    def items(self, key: str) -> list[Any]:
        """The entries of a list, or the single one that stands for it; none where it is absent."""
        value: Any = self.object.get(key)
        if isinstance(value, list):
            return cast("list[Any]", value)
        return [] if value is None else [value]

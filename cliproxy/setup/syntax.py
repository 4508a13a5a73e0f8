"""What every syntax of settings files can do: read, set one value, remove one; and what is wrong with a file."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

type Keys = tuple[str, ...]
"""From the root to a value: the key of each table on the way, then its own."""
type Value = str | int | list[Value] | dict[str, Value]
type Settings = Mapping[Keys, Value]


class SettingsFault(Exception):
    """A settings file cannot be read or changed; the message is a sentence without the file's name."""

    def __init__(self, message: str, line: int | None = None) -> None:
        """line: where, from 1."""
        super().__init__(message)
        self.line = line


class Syntax(Protocol):
    """One syntax. Texts go in and come out; what is not asked for stays as it is, comments too."""

    def read(self, text: str) -> dict[str, Any]:
        """All values. An empty text is an empty file. Raises SettingsFault."""
        ...

    def set(self, text: str, keys: Keys, value: Value) -> str:
        """The text with a value, whose tables are made where they are missing. Raises SettingsFault."""
        ...

    def remove(self, text: str, keys: Keys) -> str:
        """The text without a value that is there; its table stays. Raises SettingsFault."""
        ...


MISSING: Final = object()
"""In place of a value that is not there."""


def value_at(document: Mapping[str, Any], keys: Keys) -> Any:
    """A value of a document, or MISSING."""
    value: Any = document
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return MISSING
        value = value[key]
    return value

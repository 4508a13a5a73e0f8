"""The secrets that the gateway itself holds: of its config, and of the accounts' files."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from cliproxy.config.schema import Config

SHORTEST_HEADER = 16
"""Characters; what else the config puts into headers may be an ordinary word."""

_SECRET_FIELD = re.compile(r"token|secret|api_?key|private_?key|password|cookie", re.IGNORECASE)


def secrets_of(config: Config) -> set[str]:
    """Client keys, upstream keys, keys of the gateway's own, headers of upstreams, passwords of proxies."""
    return set(_secrets_of(config))


def secrets_in(fields: Mapping[str, Any]) -> set[str]:
    """The tokens and keys in an auth file's fields, at any depth."""
    found = set[str]()
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found |= secrets_in(cast("Mapping[str, Any]", value))
        elif isinstance(value, str) and _SECRET_FIELD.search(name) and "://" not in value:
            found.add(value)
    return found


def _secrets_of(value: Any, name: str = "") -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for field in type(value).model_fields:
                yield from _secrets_of(getattr(value, field), field)
        case Mapping() if name == "headers":
            for text in cast("Mapping[str, Any]", value).values():
                if isinstance(text, str) and len(text) >= SHORTEST_HEADER and not text.startswith("$"):
                    yield text
        case Mapping():
            for each in cast("Mapping[str, Any]", value).values():
                yield from _secrets_of(each)
        case tuple() | list():
            for each in cast("tuple[Any, ...]", value):
                yield from _secrets_of(each, name)
        case str() if "@" in value and "://" in value:
            yield unquote(urlsplit(value).password or "")
        case _:
            pass

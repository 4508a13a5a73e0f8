"""The reference of `config.yaml`, made from the schema.

`python -m cliproxy.config.reference > docs/configuration.md` renews the document.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from cliproxy.config.reading import as_section, bare
from cliproxy.config.schema import Config, Section


class Row(NamedTuple):
    """What a reference says of a key."""

    key: str
    kind: str
    default: str
    description: str


KINDS = {
    bool: "true or false", int: "whole number", float: "number", str: "text", SecretStr: "secret text",
    Any: "any value", re.Pattern[str]: "regular expression",
}  # fmt: skip


def kind_of(annotation: Any) -> str:
    kind = bare(annotation)
    if as_section(kind):
        return "mapping"
    match get_origin(kind):
        case None:
            return KINDS.get(kind) or {"datetime": "date or time"}[kind.__name__]
        case origin if origin is Literal:
            return " | ".join(str(choice).lower() for choice in get_args(kind))
        case origin if origin is tuple:
            return f"list of {kind_of(get_args(kind)[0])}"
        case origin if origin is dict:
            return f"mapping to {kind_of(get_args(kind)[1])}"
        case _:
            return KINDS[kind]


def rows(section: type[Section], above: str = "") -> Iterator[Row]:
    for field in section.model_fields.values():
        key = f"{above}{field.alias}"
        default = (
            "required" if field.default is PydanticUndefined and field.default_factory is None else str(field.default)
        )
        yield Row(key, kind_of(field.annotation), default, field.description or "")
        kind = bare(field.annotation)
        while get_origin(kind) in (tuple, dict):
            key += "[]" if get_origin(kind) is tuple else ".*"
            kind = bare(get_args(kind)[-1 if get_origin(kind) is dict else 0])
        if nested := as_section(kind):
            yield from rows(nested, f"{key}.")


INTRODUCTION = """# Configuration

Every key of `config.yaml`, made from the schema (`python -m cliproxy.config.reference`). Each is optional unless it
says so. Keys may be written with `-` or `_`. An unknown key is a warning that names the nearest known one; a
wrong value is an error that names file, line, key and what was expected. Keys that only serve the imitation of vendors'
own clients are accepted, ignored and reported once.

| key | value | default | meaning |
|---|---|---|---|"""


def markdown() -> str:
    """The whole reference."""
    lines = [INTRODUCTION]
    for row in rows(Config):
        kind, default = row.kind.replace("|", "\\|"), _shown(row.default)
        lines.append(f"| `{row.key}` | {kind} | {default} | {row.description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _shown(default: str) -> str:
    """A default as one would write it, or nothing for empty ones and sections."""
    if default == "required":
        return default
    if (
        default in ("", "()", "{}", "None", "**********", "PydanticUndefined")
        or "=" in default
        or default.startswith("SecretStr")
    ):
        return ""
    return f"`{default.lower() if default in ('True', 'False') else default}`"


if __name__ == "__main__":
    print(markdown(), end="")

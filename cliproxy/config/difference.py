"""What changed from one configuration to the next, for a log: of secrets it is told only that they changed."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import SecretStr

from .schema import Config, Section

LONGEST_VALUE = 80
"""Characters; of a longer value only that it changed is told."""


def differences(before: Config, after: Config) -> list[str]:
    """A line for each key, in the order of the schema: `routing.strategy: round-robin → fill-first`."""
    return list(_of_values("", before, after))


def _of_values(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    match before, after:
        case Section(), Section() if type(before) is type(after):
            yield from _of_sections(path, before, after)
        case (tuple(), tuple()) if _holds_sections(before) or _holds_sections(after):
            yield from _of_entries(path, before, after)
        case Mapping(), Mapping():
            yield from _of_mappings(path, cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", after))
        case _:
            yield f"{path}: {_told(path, before, after)}"


def _of_sections(path: str, before: Section, after: Section) -> Iterator[str]:
    for name, field in type(before).model_fields.items():
        key = f"{path}.{field.alias}" if path else str(field.alias)
        yield from _of_values(key, getattr(before, name), getattr(after, name))


def _of_entries(path: str, before: tuple[Any, ...], after: tuple[Any, ...]) -> Iterator[str]:
    """Entries have no names of their own: those that only moved are not told."""
    if len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _of_values(f"{path}[{index}]", old, new)
        return
    gone, new = (sum(one not in others for one in ones) for ones, others in ((before, after), (after, before)))
    told = [f"{count} {what}" for count, what in ((new, "added"), (gone, "removed")) if count]
    yield f"{path}: {', '.join(told) or 'fewer or more of the same'}, {len(after)} now"


def _of_mappings(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in [*before, *(key for key in after if key not in before)]:
        if key not in after:
            yield f"{path}.{key}: removed"
        elif key not in before:
            yield f"{path}.{key}: added"
        else:
            yield from _of_values(f"{path}.{key}", before[key], after[key])


def _holds_sections(values: tuple[Any, ...]) -> bool:
    return any(isinstance(value, Section) for value in values)


def _told(path: str, before: Any, after: Any) -> str:
    old, new = _shown(path, before), _shown(path, after)
    return "changed" if old is None or new is None else f"{old} → {new}"


def _shown(path: str, value: Any) -> str | None:
    """None: it is not to be shown."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "absent"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case str() if "headers" in path or ("://" in value and ("@" in value or "?" in value)):
            return None
        case str():
            return (value or '""') if len(value) <= LONGEST_VALUE else None
        case tuple():
            shown = [_shown(path, item) for item in cast("tuple[Any, ...]", value)]
            text = ", ".join(item for item in shown if item)
            return None if None in shown or len(text) > LONGEST_VALUE else f"[{text}]"
        case SecretStr() | _:
            return None

"""JSON Schemas as Anthropic enforces them: for structured output and strict tools.

Its grammar compiler takes a part of JSON Schema and refuses the rest; objects must be closed. What it cannot
enforce goes into the description, where the model still reads it.
"""

from typing import Any, cast

from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import Json

_MAX_DEPTH = 64

_KEPT = frozenset({
    "$ref", "$schema", "$id", "type", "title", "description", "default", "const", "enum", "required",
})  # fmt: skip
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip


def closed(schema: Json) -> Json:
    """`schema` with each object closed and each constraint that cannot be enforced told in words."""
    return _closed(schema, 0)


def has_maps(schema: Any, depth: int = 0) -> bool:
    """Whether some object takes names that the schema does not list: closed, it could only ever be empty."""
    if isinstance(schema, list):
        return any(has_maps(child, depth + 1) for child in cast("list[Any]", schema))
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return False
    node = cast("Json", schema)
    further = node.get("additionalProperties")
    if isinstance(further, dict) or "patternProperties" in node:
        return True
    if node.get("type") == "object" and not node.get("properties") and further is not False:
        return not any(key in node for key in ("$ref", "anyOf", "oneOf", "allOf"))
    named = [child for key in ("properties", "$defs", "definitions") for _, child in _entries(node.get(key))]
    return has_maps([*named, *(node.get(key) for key in ("items", "anyOf", "oneOf", "allOf"))], depth + 1)


def _closed(schema: Json, depth: int) -> Json:
    result: Json = {}
    lost: list[str] = []
    for key, value in schema.items():
        if key in _KEPT or _is_enforced(key, value):
            result[key] = value
        elif key in ("properties", "$defs", "definitions"):
            result[key] = {name: _inner(child, depth) for name, child in _entries(value)}
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            # `oneOf` is refused; of answers that fit exactly one branch, `anyOf` takes all.
            branches = [_inner(child, depth) for child in cast("list[Any]", value)]
            result["anyOf" if key == "oneOf" else key] = branches
        elif key == "items":
            result[key] = _inner(value, depth)
        elif key != "additionalProperties":
            lost.append(f"{key}: {dumps_text(value)}")
    if result.get("type") == "object" or "properties" in result:
        result["additionalProperties"] = False
    if lost:
        said = result.get("description")
        result["description"] = f"{said}\n\n" * bool(said) + f"{{{', '.join(lost)}}}"
    return result


def _is_enforced(key: str, value: Any) -> bool:
    return (key == "format" and str(value) in _FORMATS) or (key == "minItems" and value in (0, 1))


def _inner(child: Any, depth: int) -> Any:
    if isinstance(child, dict) and depth < _MAX_DEPTH:
        return _closed(cast("Json", child), depth + 1)
    return cast("Any", child)


def _entries(value: Any) -> list[tuple[str, Any]]:
    return list(cast("Json", value).items()) if isinstance(value, dict) else []

"""Gemini's `Schema` objects (`parameters`, `responseSchema`) as JSON Schema."""

from typing import Any, cast

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fields import wrong_type
from cliproxy.wire.gemini.camel_case import camel_case
from cliproxy.wire.model import Json

_MAX_DEPTH = 100

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords whose value maps names of the author's choice to schemas."""
_NESTED = frozenset(
    {"items", "prefixItems", "anyOf", "oneOf", "allOf", "not", "additionalProperties", "if", "then", "else"}
)
"""Keywords whose value is a schema or a list of them."""


def json_schema(schema: Any, path: str) -> Json:
    """`schema` as JSON Schema, whichever of the two it was: SDKs write `OBJECT` even into JSON Schema.

    Raises ClientFault when it is no object or nests too deeply to be meant.
    """
    if not isinstance(schema, dict):
        raise wrong_type(path, "an object", schema)
    return _object(cast("Json", schema), path, 0)


def _object(schema: Json, path: str, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise ClientFault(f"{path} nests more than {_MAX_DEPTH} levels deep", param=path)
    result: Json = {}
    for name, value in camel_case(schema).items():
        if name == "type":
            type_ = _type(value)
            if type_ is not None:
                result["type"] = type_
        elif name in _NAMED and isinstance(value, dict):
            schemas = cast("Json", value)
            result[name] = {key: _nested(inner, path, depth + 1) for key, inner in schemas.items()}
        elif name in _NESTED:
            result[name] = _nested(value, path, depth + 1)
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal():
            result[name] = int(value)  # int64 travels as a string in Google's JSON
        elif name not in ("nullable", "propertyOrdering"):
            result[name] = value
    if schema.get("nullable") is True:
        _allow_null(result)
    return result


def _nested(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, dict):
        return _object(cast("Json", value), path, depth)
    if isinstance(value, list):
        return [_nested(item, path, depth + 1) for item in cast("list[Any]", value)]
    return value


def _type(value: Any) -> Any:
    """The type's name in JSON Schema; None for TYPE_UNSPECIFIED. What is no name of Google's stays."""
    if isinstance(value, list):
        return [name for name in map(_type, cast("list[Any]", value)) if name is not None]
    if not isinstance(value, str):
        return value
    if value == "TYPE_UNSPECIFIED":
        return None
    lower = value.lower()
    return lower if lower in _TYPES else value


def _allow_null(schema: Json) -> None:
    type_ = schema.get("type")
    if isinstance(type_, str) and type_ != "null":
        schema["type"] = [type_, "null"]
        enum = schema.get("enum")
        if isinstance(enum, list) and None not in enum:
            schema["enum"] = [*enum, None]
    elif isinstance(schema.get("anyOf"), list) and {"type": "null"} not in schema["anyOf"]:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]

"""Schemas as Anthropic's grammar compiler takes them."""

from cliproxy.wire.anthropic.strict_schema import closed, has_maps
from cliproxy.wire.model import Json


def test_objects_are_closed_at_every_depth() -> None:
    """class 11: each place that holds a schema, and no place that holds a name or data."""
    inner: Json = {"type": "object", "properties": {"properties": {"type": "string"}}}
    schema: Json = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": inner},
            "either": {"oneOf": [inner, {"type": "null"}]},
        },
        "$defs": {"D": inner},
        "required": ["list"],
    }
    shut = {**inner, "additionalProperties": False}
    assert closed(schema) == {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": shut},
            "either": {"anyOf": [shut, {"type": "null"}]},
        },
        "$defs": {"D": shut},
        "required": ["list"],
        "additionalProperties": False,
    }
    assert "additionalProperties" not in inner


def test_what_cannot_be_enforced_is_told() -> None:
    """class 11: a lost constraint goes into the description."""
    schema: Json = {
        "type": "string",
        "description": "A code",
        "pattern": "^[A-Z]+$",
        "minLength": 2,
        "format": "uri",
    }
    assert closed(schema) == {
        "type": "string",
        "description": 'A code\n\n{pattern: "^[A-Z]+$", minLength: 2}',
        "format": "uri",
    }


def test_few_items_and_common_formats_are_enforced() -> None:
    schema: Json = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "date"}}
    assert closed(schema) == schema
    assert closed({"type": "array", "minItems": 3}) == {"type": "array", "description": "{minItems: 3}"}


def test_maps_are_found_wherever_they_are() -> None:
    named: Json = {"type": "object", "properties": {"a": {"type": "string"}}}
    table: Json = {"type": "object", "additionalProperties": {"type": "string"}}
    assert not has_maps(named)
    assert not has_maps({"type": "object", "properties": {}, "additionalProperties": False})
    assert not has_maps({"type": "object", "$ref": "#/$defs/A"})
    assert has_maps({"type": "object"})
    assert has_maps({"type": "object", "properties": {"t": {"type": "array", "items": table}}})
    assert has_maps({"anyOf": [named, table]})
    assert has_maps({**named, "$defs": {"T": table}})

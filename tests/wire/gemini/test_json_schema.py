"""cliproxy.wire.gemini.json_schema: Google's schemas as JSON Schema."""

from typing import Any

import jsonschema
import pytest

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini.json_schema import json_schema


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": ["STRING", "NULL"]}, {"type": ["string", "null"]}),
        ({"type": "Money"}, {"type": "Money"}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        ({"type": "STRING", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"anyOf": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"any_of": [{"type": "STRING"}]}, {"anyOf": [{"type": "string"}]}),
        ({"type": "ARRAY", "items": {"type": "NUMBER"}, "maxItems": "3"}, {"type": "array", "items": {"type": "number"}, "maxItems": 3}),
        ({"type": "OBJECT", "property_ordering": ["a"]}, {"type": "object"}),
        ({"$defs": {"A": {"type": "STRING"}}, "$ref": "#/$defs/A"}, {"$defs": {"A": {"type": "string"}}, "$ref": "#/$defs/A"}),
        ({"type": "STRING", "default": "STRING", "enum": ["OBJECT"]}, {"type": "string", "default": "STRING", "enum": ["OBJECT"]}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
    ],
)  # fmt: skip
def test_schemas(schema: Any, expected: Any) -> None:
    assert json_schema(schema, "parameters") == expected
    if expected.get("type") != "Money":
        jsonschema.Draft202012Validator.check_schema(expected)


def test_properties_may_have_the_names_of_keywords() -> None:
    """class 11: what stands under `properties` is the author's, whatever it is called."""
    names = ["type", "nullable", "any_of", "properties", "enum", "items"]
    schema = {"type": "OBJECT", "properties": {name: {"type": "STRING"} for name in names}, "required": names}
    expected = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
    }
    assert json_schema(schema, "parameters") == expected


def test_the_argument_is_not_changed() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
    json_schema(schema, "parameters")
    assert schema == {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}


def test_faults() -> None:
    with pytest.raises(ClientFault, match="parameters must be an object, not a list"):
        json_schema([], "tools.parameters")
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"items": deep}
    with pytest.raises(ClientFault, match="nests more than"):
        json_schema(deep, "parameters")

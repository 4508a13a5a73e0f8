"""cliproxy.wire.schema: JSON Schemas for targets that take only a part of the language (class 11)."""

import copy
import json

import jsonschema
import pytest
from google.genai import types as genai_types
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.schema import as_object, for_gemini, inline_refs

EMPTY = {"type": "object", "properties": {}}
GEMINI_KEYWORDS = {
    "type",
    "description",
    "nullable",
    "enum",
    "items",
    "properties",
    "required",
    "anyOf",
    "format",
}


def parameters(**properties):
    return {"type": "object", "properties": properties}


def gemini(schema):
    """What a property of this schema becomes."""
    return for_gemini(parameters(p=schema))["properties"]["p"]


# ---------------------------------------------------------------- as_object


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, {"properties": {}}, {"type": ["object", "null"]}])
def test_a_root_becomes_an_object_with_properties(schema):
    assert as_object(schema) == EMPTY


def test_a_legal_schema_is_left_alone():
    schema = {**parameters(a={"type": "string"}), "$defs": {"X": {}}, "additionalProperties": False}
    assert as_object(schema) is schema


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_alternatives_at_the_root_become_one_object(keyword):
    schema = {
        "description": "Find.",
        keyword: [
            {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "n": {"type": "string"}},
                "required": ["id", "n"],
            },
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "n": {"type": "string"}},
                "required": ["name", "n"],
            },
        ],
    }
    assert as_object(schema) == {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "n": {"type": "string"}, "name": {"type": "string"}},
        "required": ["n"],
        "description": "Find. Required together, one set of: id, n | name, n.",
    }


def test_alternatives_that_differ_in_a_property_keep_both():
    schema = {
        "anyOf": [
            parameters(a={"type": "string"}),
            parameters(a={"type": "integer"}),
            parameters(a={"type": "string"}),
        ]
    }
    assert as_object(schema)["properties"] == {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}


def test_an_alternative_to_the_object_is_left_out():
    schema = {"anyOf": [{**parameters(a={"type": "string"}), "required": ["a"]}, {"type": "null"}]}
    assert as_object(schema) == {**parameters(a={"type": "string"}), "required": ["a"]}


def test_alternatives_among_alternatives_are_merged_too():
    schema = {
        "anyOf": [
            {"oneOf": [parameters(a={"type": "string"}), parameters(b={"type": "string"})]},
            parameters(c={}),
        ]
    }
    assert set(as_object(schema)["properties"]) == {"a", "b", "c"}


def test_alternatives_that_unfold_without_bound_end():
    everything = [{"$ref": f"#/$defs/D{i}"} for i in range(12)]
    schema = {
        "anyOf": everything,
        "$defs": {f"D{i}": {"anyOf": everything, **parameters(a={})} for i in range(12)},
    }
    assert as_object(schema)["properties"] == {"a": {}}


def test_all_of_at_the_root_requires_what_any_part_requires():
    schema = {
        "properties": {"z": {"type": "null"}},
        "required": ["z"],
        "allOf": [{"$ref": "#/$defs/A"}, {**parameters(b={"type": "string"}), "required": ["b"]}, True],
        "$defs": {"A": {**parameters(a={"type": "string"}), "required": ["a"]}},
    }
    merged = as_object(schema)
    assert merged["required"] == ["z", "a", "b"]
    assert set(merged["properties"]) == {"a", "b", "z"}
    assert "allOf" not in merged and merged["$defs"] == schema["$defs"]


def test_a_reference_at_the_root_is_followed():
    schema = {
        "$ref": "#/$defs/A",
        "$defs": {"A": parameters(a={"$ref": "#/$defs/B"}), "B": {"type": "string"}},
    }
    assert as_object(schema) == {"$defs": schema["$defs"], **parameters(a={"$ref": "#/$defs/B"})}


@pytest.mark.parametrize(
    "schema", [{"$ref": "#/nowhere"}, {"$ref": "https://example.test/s"}, {"properties": []}, {"anyOf": [1]}]
)
def test_a_root_that_says_nothing_of_use_is_an_open_object(schema):
    root = as_object(schema)
    assert (root["type"], root["properties"]) == ("object", {})


# ---------------------------------------------------------------- inline_refs


def test_references_are_replaced_by_what_they_point_at():
    schema = {
        **parameters(
            start={"$ref": "#/$defs/Point", "description": "Here."},
            via={"type": "array", "items": {"$ref": "#/$defs/Point"}},
        ),
        "$defs": {"Point": {"type": "object", "properties": {"x": {"$ref": "#/definitions/N"}}}},
        "definitions": {"N": {"type": "number"}},
    }
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    assert inline_refs(schema) == parameters(
        start={**point, "description": "Here."}, via={"type": "array", "items": point}
    )


def test_a_recursion_ends_in_a_plain_object():
    schema = {
        **parameters(root={"$ref": "#/$defs/Node"}),
        "$defs": {"Node": parameters(children={"type": "array", "items": {"$ref": "#/$defs/Node"}})},
    }
    assert inline_refs(schema) == parameters(
        root=parameters(children={"type": "array", "items": {"type": "object", "description": "See: Node."}})
    )


def test_a_schema_that_refers_to_itself_ends():
    assert inline_refs({"$ref": "#"}) == {"type": "object", "description": "See: the whole."}
    assert inline_refs({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}) == {
        "type": "object",
        "description": "See: A.",
    }


def test_references_that_unfold_without_bound_end():
    levels = 40
    definitions = {
        f"L{i}": parameters(a={"$ref": f"#/$defs/L{i + 1}"}, b={"$ref": f"#/$defs/L{i + 1}"}) for i in range(levels)
    }
    schema = {"$ref": "#/$defs/L0", "$defs": {**definitions, f"L{levels}": {"type": "string"}}}
    assert len(json.dumps(inline_refs(schema))) < 2_000_000


def test_pointers_are_unescaped():
    schema = {**parameters(a={"$ref": "#/$defs/x~1y~0z"}), "$defs": {"x/y~z": {"type": "boolean"}}}
    assert inline_refs(schema) == parameters(a={"type": "boolean"})


def test_a_pointer_may_go_through_lists():
    schema = parameters(a={"anyOf": [{"type": "string"}, {"type": "null"}]}, b={"$ref": "#/properties/a/anyOf/0"})
    assert inline_refs(schema)["properties"]["b"] == {"type": "string"}


@pytest.mark.parametrize("ref", ["https://example.test/s.json", "#/$defs/Gone", "#/type", "other.json#/A"])
def test_a_reference_that_leads_nowhere_becomes_an_object(ref):
    inlined = inline_refs(parameters(a={"$ref": ref}))["properties"]["a"]
    assert inlined["type"] == "object" and inlined["description"].startswith("See: ")


def test_properties_and_data_named_like_keywords_are_no_references():
    schema = parameters(
        **{"$ref": {"type": "string"}, "items": {"type": "string"}, "$defs": {"type": "string"}},
        example={"const": {"$ref": "#/x"}, "default": {"$ref": "#/x"}, "enum": [{"$ref": "#/x"}]},
    )
    assert inline_refs(schema) == schema


# ---------------------------------------------------------------- for_gemini


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}, {"type": "null"}]
)
def test_no_parameters_are_an_empty_object(schema):
    assert for_gemini(schema) == EMPTY


KEYWORDS_AS_NAMES = [
    "type", "title", "description", "default", "const", "enum", "format", "pattern", "items", "properties", "required",
    "$ref", "$defs", "$schema", "definitions", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "nullable",
    "additionalProperties", "patternProperties", "minimum", "x-thing", "deprecated", "examples", "id", "$id",
]  # fmt: skip


def test_properties_named_like_keywords_stay():
    schema = {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in KEYWORDS_AS_NAMES},
        "required": KEYWORDS_AS_NAMES,
    }
    assert for_gemini(schema) == schema


ROWS = {
    "plain": ({"type": "string"}, {"type": "string"}),
    "description": ({"type": "string", "description": "City."}, {"type": "string", "description": "City."}),
    "upper case": ({"type": "STRING"}, {"type": "string"}),
    "list of types with null": ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    "list of one type": ({"type": ["integer"]}, {"type": "integer"}),
    "list of types": (
        {"type": ["string", "integer"], "description": "Id."},
        {"anyOf": [{"type": "string", "description": "Id."}, {"type": "integer"}]},
    ),
    "type that is none": ({"type": "any"}, {"type": "string"}),
    "type null": ({"type": "null"}, {"type": "string", "nullable": True}),
    "nullable": ({"type": "string", "nullable": True}, {"type": "string", "nullable": True}),
    "no type": ({"description": "X."}, {"type": "string", "description": "X."}),
    "anything": (True, {"type": "string", "description": "Any JSON value."}),
    "anything, empty": ({}, {"type": "string", "description": "Any JSON value."}),
    "not a schema": ("string", {"type": "string", "description": "Any JSON value."}),
    "type from its properties": ({"properties": {"a": {"type": "string"}}}, parameters(a={"type": "string"})),
    "type from its items": ({"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
    "type from its limit": ({"minimum": 1}, {"type": "number", "description": "At least 1."}),
    "const": ({"const": "a"}, {"type": "string", "enum": ["a"]}),
    "const number": ({"const": 1}, {"type": "string", "enum": ["1"], "description": "Stands for a value of type integer."}),
    "enum": ({"type": "string", "enum": ["a", "b", "a"]}, {"type": "string", "enum": ["a", "b"]}),
    "enum without type": ({"enum": ["a"]}, {"type": "string", "enum": ["a"]}),
    "enum of integers": (
        {"type": "integer", "enum": [1, 2]},
        {"type": "string", "enum": ["1", "2"], "description": "Stands for a value of type integer."},
    ),
    "enum of booleans": (
        {"enum": [True, False]},
        {"type": "string", "enum": ["true", "false"], "description": "Stands for a value of type boolean."},
    ),
    "enum with null": ({"enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}),
    "enum with the empty string": ({"enum": ["a", ""]}, {"type": "string", "description": "May be an empty string."}),
    "array without items": ({"type": "array"}, {"type": "array", "items": {"type": "string"}}),
    "array of anything": ({"type": "array", "items": {}}, {"type": "array", "items": {"type": "string"}}),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}, {"type": "string"}]},
        {
            "type": "array",
            "description": 'Items in this order: [{"type":"string"},{"type":"integer"},{"type":"string"}].',
            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
    ),
    "tuple of draft 4": (
        {"type": "array", "items": [{"type": "string"}]},
        {"type": "array", "description": 'Items in this order: [{"type":"string"}].', "items": {"type": "string"}},
    ),
    "unique items": (
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "description": "No duplicates."},
    ),
    "known format": ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
    "known number format": ({"type": "integer", "format": "int64"}, {"type": "integer", "format": "int64"}),
    "format of another type": ({"type": "string", "format": "int64"}, {"type": "string", "description": "Format: int64."}),
    "other format": ({"type": "string", "format": "email"}, {"type": "string", "description": "Format: email."}),
    "limits": (
        {"type": "integer", "minimum": 1, "maximum": 9007199254740991, "multipleOf": 2, "description": "N."},
        {"type": "integer", "description": "N. At least 1. At most 9007199254740991. A multiple of 2."},
    ),
    "open limits": (
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5},
        {"type": "number", "description": "More than 0. Less than 1.5."},
    ),
    "open limits of draft 4": (
        {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        {"type": "number", "description": "At least 0."},
    ),
    "lengths and pattern": (
        {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"},
        {"type": "string", "description": "At least 1 characters. At most 9 characters. Matches the pattern ^a."},
    ),
    "default and examples": (
        {"type": "string", "default": "x", "examples": ["a", "b"]},
        {"type": "string", "description": 'Default: x. Examples: ["a","b"].'},
    ),
    "default null": ({"type": "string", "default": None}, {"type": "string"}),
    "a long default": ({"type": "string", "default": "x" * 300}, {"type": "string", "description": f"Default: {'x' * 199}…."}),
    "closed object": (
        {**parameters(a={"type": "string"}), "additionalProperties": False},
        {**parameters(a={"type": "string"}), "description": "No other properties."},
    ),
    "map": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "description": 'Values of other properties: {"type":"integer"}.'},
    ),
    "open object": ({"type": "object", "additionalProperties": True}, {"type": "object"}),
    "required without property": (
        {**parameters(a={"type": "string"}), "required": ["b", "a", "a", 1]},
        {**parameters(a={"type": "string"}), "required": ["a"]},
    ),
    "required of draft 3": (
        parameters(a={"type": "string", "required": True}, b={"type": "string", "required": False}),
        {**parameters(a={"type": "string"}, b={"type": "string"}), "required": ["a"]},
    ),
    "required that is no list": ({**parameters(a={"type": "string"}), "required": True}, parameters(a={"type": "string"})),
    "forbidden property": (
        {"type": "object", "properties": {"a": False, "b": True}, "required": ["a"]},
        parameters(b={"type": "string", "description": "Any JSON value."}),
    ),
    "keywords that nobody misses": (
        {"type": "string", "$schema": "x", "$id": "x", "$comment": "x", "title": "T", "x-a": 1, "deprecated": True, "encrypted": True, "readOnly": True},
        {"type": "string"},
    ),
    "optional": ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
    "optional with description": (
        {"anyOf": [{"type": "string", "description": "In."}, {"type": "null"}], "description": "Out.", "default": 1},
        {"type": "string", "nullable": True, "description": "Out. In. Default: 1."},
    ),
    "union": (
        {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
        {"anyOf": [{"type": "string"}, {"type": "integer", "description": "At least 1."}]},
    ),
    "union with null": (
        {"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]},
        {"anyOf": [{"type": "string", "nullable": True}, {"type": "boolean", "nullable": True}]},
    ),
    "union in a union": (
        {"anyOf": [{"type": "string"}, {"anyOf": [{"type": "integer"}, {"type": "string"}]}]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    ),
    "union of constants": (
        {"oneOf": [{"const": "a"}, {"const": "b"}]},
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["b"]}]},
    ),
    "union under a type": (
        {"type": "string", "anyOf": [{"format": "email"}, {"enum": ["none"]}]},
        {"anyOf": [{"type": "string", "description": "Format: email."}, {"type": "string", "enum": ["none"]}]},
    ),
    "union of nothing": ({"anyOf": []}, {"type": "string", "description": "Any JSON value."}),
    "union beside properties": (
        {**parameters(a={"type": "string"}, b={"type": "string"}), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {**parameters(a={"type": "string"}, b={"type": "string"}), "description": "Required together, one set of: a | b."},
    ),
    "all of": (
        {"allOf": [{**parameters(a={"type": "string"}), "required": ["a"]}, parameters(b={"type": "integer"})]},
        {**parameters(a={"type": "string"}, b={"type": "integer"}), "required": ["a"]},
    ),
    "all of one scalar": ({"allOf": [{"type": "string"}], "description": "X."}, {"type": "string", "description": "X."}),
    "if, then, else": (
        {
            **parameters(kind={"type": "string"}),
            "if": {"properties": {"kind": {"const": "x"}}},
            "then": {**parameters(x={"type": "string"}), "required": ["x"]},
            "else": parameters(y={"type": "string"}),
        },
        parameters(x={"type": "string"}, y={"type": "string"}, kind={"type": "string"}),
    ),
    "not": ({"type": "string", "not": {"enum": ["a"]}}, {"type": "string", "description": 'Not: {"enum":["a"]}.'}),
    "pattern properties": (
        {"type": "object", "patternProperties": {"^x": {"type": "string"}}, "propertyNames": {"pattern": "a"}},
        {"type": "object", "description": 'Property names: {"pattern":"a"}. Properties by pattern: {"^x":{"type":"string"}}.'},
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_property_for_gemini(row):
    schema, cleaned = ROWS[row]
    before = copy.deepcopy(schema)
    assert gemini(schema) == cleaned
    assert schema == before


def test_properties_where_the_schema_belongs_are_repaired():
    assert for_gemini({"city": {"type": "string"}}) == parameters(city={"type": "string"})


def test_a_union_at_the_root_becomes_an_object():
    schema = {"anyOf": [parameters(a={"type": "string"}), parameters(b={"type": "string"})]}
    assert for_gemini(schema) == parameters(a={"type": "string"}, b={"type": "string"})


def test_a_schema_of_great_depth_ends():
    schema = {"type": "string"}
    for _ in range(200):
        schema = parameters(a=schema)
    assert for_gemini(schema)["type"] == "object"


# ---------------------------------------------------------------- properties

_leaf = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["string", "integer", "number", "boolean", "null", "object", "array", ["string", "null"], 5]
        ),
        "enum": st.lists(st.sampled_from(["a", "", 1, None, True, 1.5]), max_size=3),
        "const": st.sampled_from(["a", 1, None]),
        "format": st.sampled_from(["date-time", "int32", "uri"]),
        "minLength": st.integers(0, 3),
        "description": st.sampled_from(["d", "", None]),
        "default": st.sampled_from(["a", 1, None, {"$ref": "#"}]),
        "required": st.lists(st.sampled_from(["a", "type"])) | st.booleans(),
        "nullable": st.booleans(),
        "x-y": st.just(1),
        "$ref": st.sampled_from(["#", "#/$defs/A", "#/$defs/B", "#/gone"]),
    },
)


def _branch(inner):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array"]),
            "properties": st.dictionaries(st.sampled_from(["a", "type", "$ref", "items"]), inner, max_size=3),
            "required": st.lists(st.sampled_from(["a", "type"])),
            "items": inner | st.lists(inner, max_size=2) | st.booleans(),
            "prefixItems": st.lists(inner, max_size=2),
            "anyOf": st.lists(inner, max_size=3),
            "oneOf": st.lists(inner, max_size=3),
            "allOf": st.lists(inner, max_size=3),
            "if": inner,
            "then": inner,
            "not": inner,
            "additionalProperties": inner | st.booleans(),
            "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
        },
    )


_schemas = st.recursive(_leaf | st.booleans(), _branch, max_leaves=12)
_documents = st.builds(
    lambda root, a, b: {**root, "$defs": {"A": a, "B": b}} if isinstance(root, dict) else {},
    _schemas,
    _schemas,
    _schemas,
)


def check_gemini(node):
    assert isinstance(node, dict)
    assert node.keys() <= GEMINI_KEYWORDS, node
    if "anyOf" in node:
        assert node.keys() == {"anyOf"} and len(node["anyOf"]) > 1
        for each in node["anyOf"]:
            assert "anyOf" not in each
            check_gemini(each)
        return
    assert node["type"] in ("string", "number", "integer", "boolean", "array", "object")
    assert isinstance(node.get("description", "d"), str) and node.get("description", "d")
    if "enum" in node:
        assert (
            node["type"] == "string" and node["enum"] and all(isinstance(each, str) and each for each in node["enum"])
        )
    assert ("items" in node) == (node["type"] == "array")
    assert set(node.get("required", [])) <= set(node.get("properties", {}))
    for each in node.get("properties", {}).values():
        check_gemini(each)
    if "items" in node:
        check_gemini(node["items"])


@given(_documents)
def test_any_schema_becomes_one_that_gemini_takes(document):
    before = copy.deepcopy(document)
    cleaned = for_gemini(document)
    assert cleaned["type"] == "object" and "anyOf" not in cleaned and isinstance(cleaned["properties"], dict)
    check_gemini(cleaned)
    genai_types.Schema.model_validate(cleaned)
    assert document == before


@given(_documents)
def test_cleaning_twice_changes_no_structure_more(document):
    def structure(node):
        if isinstance(node, dict):
            return {
                key: structure(value)
                for key, value in node.items()
                if not (key == "description" and isinstance(value, str))
            }
        return [structure(each) for each in node] if isinstance(node, list) else node

    once = for_gemini(document)
    assert structure(for_gemini(once)) == structure(once)


@given(_documents)
def test_any_schema_becomes_an_object_schema(document):
    before = copy.deepcopy(document)
    root = as_object(document)
    assert root["type"] == "object" and isinstance(root["properties"], dict)
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & root.keys()
    assert document == before


_values = st.fixed_dictionaries(
    {}, optional={"a": st.integers(0, 3) | st.text("ab", max_size=2), "type": st.none() | st.text("ab")}
)
_legal = st.sampled_from(
    [
        parameters(a={"type": "integer"}, type={"type": ["string", "null"]}),
        {
            **parameters(a={"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}),
            "required": ["a"],
        },
        {
            "anyOf": [
                parameters(a={"type": "string"}),
                {**parameters(a={"type": "integer"}), "required": ["a"]},
            ]
        },
        {**parameters(a={"$ref": "#/$defs/N"}), "$defs": {"N": {"type": "integer", "maximum": 2}}},
        {"allOf": [parameters(a={"type": ["string", "integer"]}), {"required": ["type"]}]},
    ]
)


@given(_legal, _values)
def test_what_a_schema_allows_is_allowed_by_its_cleaned_form(schema, value):
    if jsonschema.Draft202012Validator(schema).is_valid(value):
        assert jsonschema.Draft202012Validator(as_object(schema)).is_valid(value)
        assert jsonschema.Draft202012Validator(nullable_as_types(for_gemini(schema))).is_valid(value)


def nullable_as_types(node):
    if isinstance(node, list):
        return [nullable_as_types(each) for each in node]
    if not isinstance(node, dict):
        return node
    written = {key: nullable_as_types(value) for key, value in node.items() if key != "nullable"}
    if node.get("nullable") is True:
        written["type"] = [written["type"], "null"]
    return written

"""JSON Schemas of tools and answers, made to fit targets that take only a part of the language.

A schema is walked by position: what stands under `properties` are names of the caller's own, even when they
are spelled like keywords; what stands under `enum`, `const`, `default` or `examples` is data.
"""

from collections.abc import Callable
from typing import Any, cast

from cliproxy.wire import json
from cliproxy.wire.model import Json

_MAX_DEPTH = 48
_MAX_UNION_DEPTH = 6
_MAX_NODES = 5000
"""More nodes than this are not unfolded from references and unions: a few definitions can stand for billions."""

_SCHEMA_KEYWORDS = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
    "additionalItems", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_SCHEMA_LIST_KEYWORDS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SCHEMA_MAP_KEYWORDS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def as_object(schema: Json | None) -> Json:
    """A schema whose root is an object with properties and no union, as Anthropic and OpenAI demand of tools.

    Alternatives at the root become one object of all their properties; only what all of them require stays
    required, and the description says which properties go together. The argument is not changed.
    """
    if not isinstance(cast(Any, schema), dict) or not schema:
        return {"type": "object", "properties": {}}
    root = _Unions(schema).removed(schema)
    if root.get("type") == "object" and isinstance(root.get("properties"), dict):
        return root
    return {**root, "type": "object", "properties": _object(root.get("properties")) or {}}


class _Unions:
    """Turns objects with alternatives into plain objects, within one document."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._nodes_left = _MAX_NODES

    def removed(self, node: Json, depth: int = 0) -> Json:
        """`node` without a reference or any union of its own."""
        node = _followed(node, self._document)
        for keyword in ("allOf", "anyOf", "oneOf"):
            if isinstance(node.get(keyword), list):
                node = self.merged(node, keyword, depth)
        return node

    def merged(self, node: Json, keyword: str, depth: int = 0) -> Json:
        """`node` with all properties of the branches under `keyword`; those that any value needs are required."""
        merged = {key: value for key, value in node.items() if key != keyword}
        branches = self._branches(node[keyword], keyword, depth)
        properties: Json = {}
        for branch in branches:
            for name, value in (_object(branch.get("properties")) or {}).items():
                known = properties.get(name)
                properties[name] = value if known is None or known == value else _either(known, value)
        if properties:
            merged["properties"] = {**properties, **(_object(merged.get("properties")) or {})}
        required = [_names(branch.get("required")) for branch in branches]
        if keyword == "allOf":
            common = [name for names in required for name in names]
            for branch in branches:
                rest = {key: value for key, value in branch.items() if key not in ("properties", "required")}
                merged = {**rest, **merged}
        else:
            first = required[0] if required else []
            common = [name for name in first if all(name in names for names in required)]
            sets = dict.fromkeys(", ".join(names) or "none" for names in required)
            if len(sets) > 1:
                _hint(merged, f"Required together, one set of: {' | '.join(sets)}.")
        common = list(dict.fromkeys([*_names(merged.get("required")), *common]))
        if common:
            merged["required"] = common
        return merged

    def _branches(self, union: list[Any], keyword: str, depth: int) -> list[Json]:
        branches = [branch for each in union if (branch := _object(each)) is not None]
        self._nodes_left -= len(branches)
        if depth > _MAX_UNION_DEPTH or self._nodes_left < 0:
            return []
        if keyword != "allOf":
            branches = [self.removed(branch, depth + 1) for branch in branches]
            return [branch for branch in branches if str(branch.get("type", "object")).lower() == "object"]
        branches = [_followed(branch, self._document) for branch in branches]
        return [
            self.merged(branch, keyword, depth + 1) if isinstance(branch.get(keyword), list) else branch
            for branch in branches
        ]


def _either(first: Any, second: Any) -> Json:
    known = _object(first) or {}
    alternatives: list[Any] = known["anyOf"] if known.keys() == {"anyOf"} else [first]
    return {"anyOf": alternatives if second in alternatives else [*alternatives, second]}


def inline_refs(schema: Json) -> Json:
    """A schema without `$ref` and definitions, of the same meaning; a recursion ends in a plain object."""
    nodes = 0

    def walk(node: Any, open_refs: tuple[str, ...], depth: int) -> Any:
        nonlocal nodes
        nodes += 1
        found = _object(node)
        if found is None:
            return node
        ref = found.get("$ref")
        if isinstance(ref, str):
            target = _resolve(ref, schema)
            rest = {key: value for key, value in found.items() if key not in ("$ref", "$defs", "definitions")}
            if target is None or ref in open_refs or depth > _MAX_DEPTH or nodes > _MAX_NODES:
                return _stub(ref, target, rest)
            return walk({**target, **rest}, (*open_refs, ref), depth + 1)
        if depth > _MAX_DEPTH:
            return found
        return _map_subschemas(found, lambda child: walk(child, open_refs, depth + 1))

    return cast(Json, walk(schema, (), 0))


def _stub(ref: str, target: Json | None, rest: Json) -> Json:
    """Stands for a reference that cannot be followed, or not any further."""
    stub: Json = {"type": (target or {}).get("type") or "object", **rest}
    _hint(stub, f"See: {ref.rpartition('/')[2].strip('#') or 'the whole'}.")
    return stub


def _map_subschemas(node: Json, change: Callable[[Any], Any]) -> Json:
    """`node` with each schema directly under it changed, and without definitions."""
    result: Json = {}
    for key, value in node.items():
        if key in ("$defs", "definitions"):
            continue
        if key in _SCHEMA_LIST_KEYWORDS and isinstance(value, list):
            result[key] = [change(item) for item in cast(list[Any], value)]
        elif key in _SCHEMA_MAP_KEYWORDS and isinstance(value, dict):
            result[key] = {name: change(item) for name, item in cast(Json, value).items()}
        elif key in _SCHEMA_KEYWORDS:
            result[key] = change(value)
        else:
            result[key] = value
    return result


def _resolve(ref: str, document: Json) -> Json | None:
    """What a reference within the document points at; None for anything else."""
    if not ref.startswith("#"):
        return None
    node: Any = document
    for step in ref[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = cast(Json, node).get(step)
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(cast(list[Any], node)):
            node = cast(list[Any], node)[int(step)]
        else:
            return None
    return _object(node)


def _followed(node: Json, document: Json) -> Json:
    """`node` with what it refers to in the place of its reference; without it where that leads nowhere."""
    seen: set[str] = set()
    while isinstance(ref := node.get("$ref"), str):
        node = {key: value for key, value in node.items() if key != "$ref"}
        if ref not in seen:
            node = {**(_resolve(ref, document) or {}), **node}
        seen.add(ref)
    return node


def _object(value: Any) -> Json | None:
    return cast(Json, value) if isinstance(value, dict) else None


def _names(value: Any) -> list[str]:
    return [name for name in _list(value) if isinstance(name, str)]


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _hint(node: Json, hint: str) -> None:
    description = node.get("description")
    node["description"] = f"{description} {hint}" if isinstance(description, str) and description else hint


# ---------------------------------------------------------------- Gemini


# ---------------------------------------------------------------- Gemini

_TYPES = ("string", "number", "integer", "boolean", "array", "object")
_GEMINI_FORMATS = {
    "string": ("enum", "date-time"),
    "number": ("float", "double"),
    "integer": ("int32", "int64"),
}
_HINTS = {
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "pattern": "Matches the pattern {}.",
    "contentMediaType": "Media type: {}.",
    "contentEncoding": "Encoding: {}.",
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "exclusiveMinimum": "More than {}.",
    "exclusiveMaximum": "Less than {}.",
    "multipleOf": "A multiple of {}.",
    "minItems": "At least {} items.",
    "maxItems": "At most {} items.",
    "contains": "Contains an item like {}.",
    "minProperties": "At least {} properties.",
    "maxProperties": "At most {} properties.",
    "propertyNames": "Property names: {}.",
    "patternProperties": "Properties by pattern: {}.",
    "dependentRequired": "Properties that need others: {}.",
    "not": "Not: {}.",
    "default": "Default: {}.",
    "example": "Example: {}.",
    "examples": "Examples: {}.",
}
"""What a lost constraint becomes in the description, in this order."""
_NOT_OF_OBJECTS = ("enum", "const", "nullable", "format")
_MAX_HINT_CHARS = 200

_TYPE_SIGNS = (
    ("properties", "object"),
    ("additionalProperties", "object"),
    ("required", "object"),
    ("items", "array"),
    ("prefixItems", "array"),
    ("minItems", "array"),
    ("maxItems", "array"),
    ("minimum", "number"),
    ("maximum", "number"),
    ("multipleOf", "number"),
)
_JSON_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (list, "array"), (dict, "object"))
_ANYTHING: Json = {"type": "string", "description": "Any JSON value."}


def for_gemini(schema: Json | None) -> Json:
    """A schema for `parameters` of a Gemini function: the dialect of its `Schema` and nothing else.

    References are inlined, unions kept as `anyOf`, lists of types become `nullable` or `anyOf`, `const` an enum
    of one; enums are of strings, arrays have items. Constraints that the dialect lacks, or that its servers are
    known to refuse (lengths, patterns, limits), are told in the description instead.
    """
    if not isinstance(cast(Any, schema), dict) or not schema:
        return {"type": "object", "properties": {}}
    if _is_bare_property_map(schema):
        schema = {"type": "object", "properties": schema}
    root = as_object(inline_refs(schema))
    cleaned = _clean({key: value for key, value in root.items() if key not in _NOT_OF_OBJECTS}, 0)
    cleaned.setdefault("properties", {})
    return cleaned


def _is_bare_property_map(schema: Json) -> bool:
    """Some clients give the properties where the schema belongs."""
    return all(isinstance(value, dict) for value in schema.values()) and not (
        {"type", "properties", "items", "$ref", "$defs", "definitions", "not", "if"} & schema.keys()
    )


def _clean(node: Any, depth: int) -> Json:
    found = _object(node)
    if not found or depth > _MAX_DEPTH:
        return dict(_ANYTHING)
    found = _flattened(found)
    union = found.get("anyOf", found.get("oneOf"))
    types = found.get("type")
    if isinstance(union, list):
        return _clean_union(found, cast(list[Any], union), depth)
    if isinstance(types, list):
        return _clean_union(found, [{"type": each} for each in cast(list[Any], types)], depth)
    return _clean_plain(found, depth)


def _flattened(node: Json) -> Json:
    """Without `allOf`, `if` and `const`; a union beside properties becomes part of the properties."""
    if isinstance(node.get("allOf"), list):
        node = _Unions({}).merged(node, "allOf")
    conditional = [branch for key in ("then", "else") if (branch := _object(node.get(key)))]
    if conditional:
        optional = [{"properties": _object(branch.get("properties")) or {}} for branch in conditional]
        node = _Unions({}).merged({**node, "allOf": optional}, "allOf")
    if "properties" in node:
        for keyword in ("anyOf", "oneOf"):
            if isinstance(node.get(keyword), list):
                node = _Unions({}).merged(node, keyword)
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    return node


def _clean_union(node: Json, union: list[Any], depth: int) -> Json:
    """One of several schemas. `anyOf` stands alone in its node: Vertex refuses other fields beside it."""
    own = ("anyOf", "oneOf", "type", "description", "default")
    shared = {key: value for key, value in node.items() if key not in own}
    if isinstance(node.get("type"), str):
        shared["type"] = node["type"]
    nullable = node.get("nullable") is True
    branches: list[Json] = []
    for each in union:
        branch = _object(each)
        if branch is None:
            continue
        if branch.get("type") == "null" or branch.get("enum") == [None]:
            nullable = True
            continue
        cleaned = _clean({**shared, **branch}, depth + 1)
        for alternative in cast(list[Json], cleaned.get("anyOf", [cleaned])):
            if alternative not in branches:
                branches.append(alternative)
    if not branches:
        branches = [dict(_ANYTHING)]
    if nullable:
        branches = [{**branch, "nullable": True} for branch in branches]
    first = branches[0]
    said = node.get("description")
    if isinstance(said, str) and said:
        first["description"] = f"{said} {first['description']}" if "description" in first else said
    if "default" in node:
        _hint(first, _HINTS["default"].format(_short(node["default"])))
    return first if len(branches) == 1 else {"anyOf": branches}


def _clean_plain(node: Json, depth: int) -> Json:
    kind = _type_of(node)
    cleaned: Json = {"type": kind}
    description = node.get("description")
    if isinstance(description, str) and description:
        cleaned["description"] = description
    if node.get("nullable") is True or node.get("type") == "null":
        cleaned["nullable"] = True
    if isinstance(node.get("enum"), list):
        _clean_enum(cleaned, cast(list[Any], node["enum"]))
    elif kind == "object":
        _clean_object(cleaned, node, depth)
    elif kind == "array":
        _clean_array(cleaned, node, depth)
    for hint in _hints(node, kind):
        _hint(cleaned, hint)
    if node.get("format") in _GEMINI_FORMATS.get(cleaned["type"], ()):
        cleaned["format"] = node["format"]
    return cleaned


def _type_of(node: Json) -> str:
    said = node.get("type")
    if isinstance(said, str):
        return said.lower() if said.lower() in _TYPES else "string"
    return next((kind for sign, kind in _TYPE_SIGNS if sign in node), "string")


def _clean_enum(cleaned: Json, values: list[Any]) -> None:
    """Only strings can be enumerated, and not the empty one."""
    kinds = dict.fromkeys(kind for value in values for type_, kind in _JSON_TYPES if type(value) is type_)
    if kinds:
        _hint(cleaned, f"Stands for a value of type {' or '.join(kinds)}.")
    cleaned["type"] = "string"
    if None in values:
        cleaned["nullable"] = True
    said = [value for value in values if value is not None]
    texts = [value if isinstance(value, str) else json.dumps_text(value) for value in said]
    if "" in texts:
        _hint(cleaned, "May be an empty string.")
    elif texts:
        cleaned["enum"] = list(dict.fromkeys(texts))


def _clean_object(cleaned: Json, node: Json, depth: int) -> None:
    properties = _object(node.get("properties")) or {}
    kept = {name: value for name, value in properties.items() if value is not False}
    required = _names(node.get("required"))
    # Draft 3 marks each property by itself.
    required += [name for name, value in kept.items() if (_object(value) or {}).get("required") is True]
    required = [name for name in dict.fromkeys(required) if name in kept]
    if kept:
        cleaned["properties"] = {name: _clean(value, depth + 1) for name, value in kept.items()}
    if required:
        cleaned["required"] = required
    others = node.get("additionalProperties")
    if others is False:
        if kept:
            _hint(cleaned, "No other properties.")
    elif isinstance(others, dict) and others:
        _hint(cleaned, f"Values of other properties: {_short(others)}.")


def _clean_array(cleaned: Json, node: Json, depth: int) -> None:
    items: Any = node.get("prefixItems", node.get("items"))
    if isinstance(items, list):
        kinds = [_clean(item, depth + 1) for item in cast(list[Any], items)]
        if kinds:
            _hint(cleaned, f"Items in this order: {_short(items)}.")
        distinct: list[Json] = []
        for kind in (alternative for each in kinds for alternative in each.get("anyOf", [each])):
            if kind not in distinct:
                distinct.append(kind)
        items = distinct[0] if len(distinct) == 1 else {"anyOf": distinct} if distinct else {}
        cleaned["items"] = items or {"type": "string"}
    else:
        cleaned["items"] = _clean(items, depth + 1) if items else {"type": "string"}
    if node.get("uniqueItems") is True:
        _hint(cleaned, "No duplicates.")


def _hints(node: Json, kind: str) -> list[str]:
    hints: list[str] = []
    said = node.get("format")
    if isinstance(said, str) and said not in _GEMINI_FORMATS.get(kind, ()):
        hints.append(f"Format: {said}.")
    for keyword, words in _HINTS.items():
        value = node.get(keyword)
        if value is not None and not (isinstance(value, bool) and keyword.startswith("exclusive")):
            hints.append(words.format(_short(value)))
    return hints


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps_text(value)
    return text if len(text) <= _MAX_HINT_CHARS else text[: _MAX_HINT_CHARS - 1] + "…"

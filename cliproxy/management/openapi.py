"""The OpenAPI 3.1 document, made from the endpoints."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from cliproxy.management.endpoint import Endpoint

_REFERENCE = "#/components/schemas/{model}"
_ERROR = {"$ref": "#/components/schemas/Error"}
_COMMON = {
    400: "The request is not right.",
    401: "The key is missing or wrong.",
    403: "This machine may not, or not for now.",
    404: "There is no such thing.",
    409: "Not in this state.",
    412: "The file has changed since.",
    413: "The body is too large.",
    422: "The configuration would not be valid.",
    500: "It failed.",
    502: "The vendor failed.",
    503: "Not well.",
}
_ALWAYS = (400, 401, 403, 413, 500)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def document(endpoints: Iterable[Endpoint], base_path: str, version: str) -> dict[str, Any]:
    """base_path: that the endpoints' paths are below. version: of the program."""
    endpoints = list(endpoints)
    schemas, components = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for number, endpoint in enumerate(endpoints):
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, number)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cliproxy management API",
            "version": version,
            "description": "CLIProxyAPI's management API, with what the dashboard needs beside it.",
        },
        "servers": [{"url": base_path}],
        "security": [{"bearer": []}, {"key": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Management-Key"},
            },
            "schemas": {**components, "Error": _ERROR_SCHEMA},
            "responses": {
                str(status): {"description": text, "content": {"application/json": {"schema": _ERROR}}}
                for status, text in _COMMON.items()
            },
        },
    }


_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}, "status": {"type": "string"}},
}

type _Key = tuple[int, JsonSchemaMode]


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[Mapping[_Key, Any], dict[str, Any]]:
    """The schemas of bodies and answers, by the number of the endpoint, and what they refer to."""
    wanted: list[tuple[_Key, JsonSchemaMode, TypeAdapter[Any]]] = []
    for number, endpoint in enumerate(endpoints):
        if endpoint.body is not None:
            wanted.append(((number, "validation"), "validation", TypeAdapter(endpoint.body)))
        if endpoint.answer is not None and not isinstance(endpoint.answer, Mapping):
            wanted.append(((number, "serialization"), "serialization", TypeAdapter(endpoint.answer)))
    found, definitions = TypeAdapter.json_schemas(wanted, ref_template=_REFERENCE)
    return {key: schema for (key, _), schema in found.items()}, definitions.get("$defs", {})


def _operation(endpoint: Endpoint, schemas: Mapping[_Key, Any], number: int) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.tag],
        "responses": _responses(endpoint, schemas, number),
    }
    if parameters := [*_path_parameters(endpoint), *_query_parameters(endpoint)]:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content = {"application/json": {"schema": schemas[number, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif endpoint.takes:
        operation["requestBody"] = {"content": {endpoint.takes: {"schema": _taken(endpoint.takes)}}}
    if endpoint.is_public:
        operation["security"] = []
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"[a-z]+", endpoint.path)
    return endpoint.method.lower() + "".join(word.title() for word in words)


def _responses(endpoint: Endpoint, schemas: Mapping[_Key, Any], number: int) -> dict[str, Any]:
    if isinstance(endpoint.answer, Mapping):
        schema: Any = endpoint.answer
    elif endpoint.answer is not None:
        schema = schemas[number, "serialization"]
    else:
        schema = {"type": "object"} if endpoint.media_type == "application/json" else {}
    responses: dict[str, Any] = {
        "200": {"description": "It is done.", "content": {endpoint.media_type: {"schema": schema}}}
    }
    if endpoint.unwell:
        responses["503"] = {**responses["200"], "description": _COMMON[503]}
    if endpoint.partial:
        content = {"application/json": {"schema": {"type": "object"}}}
        responses["207"] = {"description": "A part of it is done.", "content": content}
    for status in sorted({*_ALWAYS, *endpoint.errors}):
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    return responses


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PLACEHOLDER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = endpoint.query.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", ())
    parameters = []
    for name, property_ in schema.get("properties", {}).items():
        described = {key: value for key, value in property_.items() if key not in ("title", "description")}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": _without_null(described)}
        if text := property_.get("description"):
            parameter["description"] = text
        parameters.append(parameter)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query cannot say null: it leaves the parameter out."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**choices[0], **rest}


def _taken(media_type: str) -> dict[str, Any]:
    if media_type == "multipart/form-data":
        return {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    return {"type": "string"}

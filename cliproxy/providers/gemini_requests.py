"""Gemini's request bodies, made to fit Google's stricter hosts of that API: Vertex AI, and Cloud Code above it.

They refuse fields that they do not know, contents without a role and, for some models, what the Gemini API takes.
"""

from typing import Any, cast

from cliproxy.providers.call import UpstreamCall
from cliproxy.wire import json
from cliproxy.wire.fields import object_of, objects, objects_of, text_of
from cliproxy.wire.gemini.camel_case import camel_case
from cliproxy.wire.model import Json

_FIELDS = frozenset(
    {
        "contents", "systemInstruction", "cachedContent", "tools", "toolConfig", "labels", "safetySettings",
        "generationConfig",
    }
)  # fmt: skip
"""What Vertex AI's GenerateContentRequest has of the Gemini API's."""

_NO_NAMES = frozenset({"", "unknown"})
"""What some clients write for the name of a function that they have forgotten."""


def read_request(call: UpstreamCall) -> Json:
    """The request in a call's body, also in that of countTokens: what Vertex AI knows of it, in camelCase as deep as
    contents, parts and functions go."""
    assert isinstance(call.body, bytes)
    body = camel_case(json.loads_object(call.body, "the body"))
    whole = body.get("generateContentRequest")
    if isinstance(whole, dict):
        body = camel_case(cast("Json", whole))
    request = {name: value for name, value in body.items() if name in _FIELDS}
    if "contents" in request:
        request["contents"] = [_content(content) for content in _listed(request["contents"])]
    if "tools" in request:
        request["tools"] = [_tool(tool) for tool in _listed(request["tools"])]
    return request


def _listed(value: Any) -> list[Json]:
    """The objects of a list, or the one that stands for a list of one."""
    return objects(value if isinstance(value, list) else [value])


def _content(content: Json) -> Json:
    parts = [camel_case(part) for part in _listed(content.get("parts"))]
    return {**content, "role": text_of(content, "role") or "user", "parts": parts}


def _tool(tool: Json) -> Json:
    tool = camel_case(tool)
    if "functionDeclarations" in tool:
        declarations = _listed(tool["functionDeclarations"])
        tool["functionDeclarations"] = [camel_case(declaration) for declaration in declarations]
    return tool


def countable(request: Json) -> list[Json]:
    """`contents` for a counter that takes nothing else: instructions and tools count as if they had been said."""
    said = objects_of(object_of(request, "systemInstruction"), "parts")
    if request.get("tools"):
        said = [*said, {"text": json.dumps_text(request["tools"])}]
    contents = objects_of(request, "contents")
    return [{"role": "user", "parts": said}, *contents] if said else contents


# ---------------------------------------------------------------- calls and their results


def drop_call_ids(contents: list[Json]) -> None:
    """Leave calls and results to be matched by name and order."""
    for content in contents:
        for part in content["parts"]:
            for field in ("functionCall", "functionResponse"):
                if isinstance(part.get(field), dict):
                    part[field].pop("id", None)


def pair_results(contents: list[Json]) -> None:
    """Give each call an id, and have the results that follow bear it, with the name and in the order of the calls."""
    calls: list[Json] = []
    number = 0
    for content in contents:
        if asked := _functions(content, "functionCall"):
            calls = asked
            for call in calls:
                number += 1
                call["id"] = call.get("id") or f"call_{number}"
        elif _functions(content, "functionResponse"):
            content["role"] = "user"
            content["parts"] = _in_order(content["parts"], calls)


def _functions(content: Json, field: str) -> list[Json]:
    return [part[field] for part in content["parts"] if isinstance(part.get(field), dict)]


def _in_order(parts: list[Json], calls: list[Json]) -> list[Json]:
    """Results first, in the order of their calls; what answers no call stays behind those that do."""
    waiting = list(calls)
    placed: list[tuple[int, Json]] = []
    others: list[Json] = []
    for part in parts:
        result = part.get("functionResponse")
        if not isinstance(result, dict):
            others.append(part)
            continue
        call = _answered_by(cast("Json", result), waiting)
        if call is not None:
            waiting = [other for other in waiting if other is not call]
            result["id"], result["name"] = call["id"], call.get("name")
        placed.append((len(calls) if call is None else calls.index(call), part))
    return [*(part for _, part in sorted(placed, key=lambda place: place[0])), *others]


def _answered_by(result: Json, waiting: list[Json]) -> Json | None:
    """The call that a result belongs to: the one of its id, else the first of its name, else the first of all where
    it tells neither."""
    id_, name = text_of(result, "id"), text_of(result, "name")
    for call in waiting:
        if id_ and call["id"] == id_:
            return call
    named = waiting if name in _NO_NAMES else [call for call in waiting if call.get("name") == name]
    return next(iter(named), None)

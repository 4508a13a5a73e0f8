"""Tools as the service takes them.

Each tool that the history calls must be among those offered. Descriptions must not be empty nor exceed a limit, and
some words of JSON Schema have a whole request refused.
"""

from typing import Any, cast

from cliproxy.wire.model import Json, Request, Tool, ToolCall, Turn
from cliproxy.wire.names import ToolNames
from cliproxy.wire.schema import as_object

NAME_LIMIT = 64
NAME_CHARS = "a-zA-Z0-9_-"
MAX_DESCRIPTION_CHARS = 10_240

_CONTINUED = "\n[continued in the instructions at the beginning]"
_NOT_OFFERED = "Was used earlier in this conversation and cannot be called now."

_REFUSED_KEYWORDS = frozenset({"additionalProperties", "$schema"})
_MAP_KEYWORDS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Below them stand names of the caller's own."""
_DATA_KEYWORDS = frozenset({"enum", "const", "default", "examples"})
_MAX_DEPTH = 48


def tool_names(request: Request) -> ToolNames:
    """The names that a request's tools have at the service. Answers are read with them again."""
    names = ToolNames(NAME_LIMIT, NAME_CHARS)
    for tool in request.tools:
        if isinstance(tool, Tool):
            names.send(tool.name)
    for turn in request.turns:
        for part in turn.parts:
            if isinstance(part, ToolCall):
                names.send(part.name)
    return names


def specifications(request: Request, turns: list[Turn], names: ToolNames) -> tuple[list[Json], list[str]]:
    """The tools to offer, and what of their descriptions has to stand in the instructions.

    The service takes no tool choice: what must not be called is not offered. turns: the history as it is sent.
    """
    specs: list[Json] = []
    rests: list[str] = []
    offered = _offered(request)
    for tool in offered:
        description = (tool.description or "").strip() or tool.name
        if len(description) > MAX_DESCRIPTION_CHARS:
            kept = MAX_DESCRIPTION_CHARS - len(_CONTINUED)
            rests.append(f"The description of the tool {names.send(tool.name)} goes on: {description[kept:]}")
            description = description[:kept] + _CONTINUED
        specs.append(_specification(names.send(tool.name), description, as_object(tool.schema)))
    known = {tool.name for tool in offered}
    called = (part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall))
    for name in dict.fromkeys(called):
        if name not in known:
            specs.append(_specification(names.send(name), _NOT_OFFERED, as_object(None)))
    return specs, rests


def _offered(request: Request) -> list[Tool]:
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    choice = request.tool_choice
    if choice is None or choice.mode in ("auto", "required"):
        return tools
    return [tool for tool in tools if tool.name in choice.names]


def _specification(name: str, description: str, schema: Json) -> Json:
    return {
        "toolSpecification": {
            "name": name,
            "description": description,
            "inputSchema": {"json": _fitted(schema)},
        }
    }


def _fitted(schema: Json, depth: int = 0) -> Json:
    """A schema without the words that the service refuses."""
    fitted: Json = {}
    for key, value in schema.items():
        if key in _REFUSED_KEYWORDS or (key == "required" and not value):
            continue
        if key in _DATA_KEYWORDS:
            fitted[key] = value
        elif key in _MAP_KEYWORDS and isinstance(value, dict):
            named = cast("Json", value)
            fitted[key] = {name: _fitted_value(each, depth + 1) for name, each in named.items()}
        else:
            fitted[key] = _fitted_value(value, depth + 1)
    return fitted


def _fitted_value(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return {}
    if isinstance(value, dict):
        return _fitted(cast("Json", value), depth)
    if isinstance(value, list):
        return [_fitted_value(each, depth + 1) for each in cast("list[Any]", value)]
    return value

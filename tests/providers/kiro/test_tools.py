"""cliproxy.providers.kiro.tools: names, descriptions and schemas that the service does not refuse."""

from typing import Any

from cliproxy.providers.kiro.tools import MAX_DESCRIPTION_CHARS, specifications, tool_names
from cliproxy.wire.anthropic import decode_request
from cliproxy.wire.model import Request

LONG_NAME = "mcp__" + "server_" * 12 + "__do_it"


def asked(*tools: dict[str, Any], choice: dict[str, Any] | None = None, called: str = "") -> Request:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    if called:
        use = {"type": "tool_use", "id": "toolu_1", "name": called, "input": {}}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    chosen = {"tool_choice": choice} if choice else {}
    return decode_request({"model": "m", "max_tokens": 9, "messages": messages, "tools": list(tools), **chosen})


def tool(name: str = "look", description: str = "Looks.", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "description": description, "input_schema": schema or {"type": "object", "properties": {}}}


def specs(request: Request) -> list[dict[str, Any]]:
    offered, _ = specifications(request, request.turns, tool_names(request))
    return [spec["toolSpecification"] for spec in offered]


def test_a_tool() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert specs(asked(tool("get_weather", "Tells the weather.", schema))) == [
        {"name": "get_weather", "description": "Tells the weather.", "inputSchema": {"json": schema}}
    ]


def test_a_tool_without_a_description_is_described_by_its_name() -> None:
    assert [spec["description"] for spec in specs(asked(tool(description="  ")))] == ["look"]


def test_long_names_are_shortened_and_come_back() -> None:
    request = asked(tool(LONG_NAME), tool("a b"))
    names = [spec["name"] for spec in specs(request)]
    assert all(len(name) <= 64 for name in names)
    assert tool_names(request).restored == {names[0]: LONG_NAME, names[1]: "a b"}
    assert names[1] == "a_b"


def test_the_rest_of_a_long_description_goes_into_the_instructions() -> None:
    text = "".join(f"{number:05}" for number in range(3000))
    request = asked(tool(description=text))
    offered, rests = specifications(request, request.turns, tool_names(request))
    kept = offered[0]["toolSpecification"]["description"]
    [rest] = rests
    assert len(kept) == MAX_DESCRIPTION_CHARS
    assert kept.partition("\n[")[0] + rest.rpartition(": ")[2] == text
    assert "look" in rest
    just = asked(tool(description="x" * MAX_DESCRIPTION_CHARS))
    assert specifications(just, just.turns, tool_names(just))[1] == []


def test_words_that_the_service_refuses_leave_a_schema() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": [],
        "properties": {
            "additionalProperties": {"type": "boolean", "default": {"required": []}},
            "required": {"type": "array", "items": {"type": "object", "additionalProperties": {}, "required": ["a"]}},
            "either": {"anyOf": [{"type": "object", "required": []}, {"const": {"additionalProperties": 1}}]},
        },
        "$defs": {"$schema": {"type": "string"}},
    }
    [spec] = specs(asked(tool(schema=schema)))
    assert spec["inputSchema"]["json"] == {
        "type": "object",
        "properties": {
            "additionalProperties": {"type": "boolean", "default": {"required": []}},
            "required": {"type": "array", "items": {"type": "object", "required": ["a"]}},
            "either": {"anyOf": [{"type": "object"}, {"const": {"additionalProperties": 1}}]},
        },
        "$defs": {"$schema": {"type": "string"}},
    }


def test_a_schema_of_any_depth_is_read() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    [spec] = specs(asked(tool(schema={"type": "object", "properties": {"deep": schema}})))
    assert spec["inputSchema"]["json"]["properties"]["deep"]["items"]


def test_what_must_not_be_called_is_not_offered() -> None:
    tools = (tool("a"), tool("b"))
    assert [spec["name"] for spec in specs(asked(*tools, choice={"type": "tool", "name": "b"}))] == ["b"]
    assert [spec["name"] for spec in specs(asked(*tools, choice={"type": "any"}))] == ["a", "b"]
    assert specs(asked(*tools, choice={"type": "none"})) == []


def test_tools_of_the_history_are_always_told_of() -> None:
    """The service refuses calls of tools that it does not know, as after a client has compacted its history."""
    [spec] = specs(asked(called=LONG_NAME))
    assert spec["name"] == tool_names(asked(called=LONG_NAME)).send(LONG_NAME)
    assert "cannot be called now" in spec["description"]
    assert spec["inputSchema"]["json"] == {"type": "object", "properties": {}}
    assert len(specs(asked(tool("look"), called="look"))) == 1
    assert [spec["description"] for spec in specs(asked(tool("look"), choice={"type": "none"}, called="look"))] != [
        "Looks."
    ]

"""A body of `POST /v1/responses` → `Request`."""

from collections.abc import Iterable
from typing import Any, cast

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fields import Fields, object_of
from cliproxy.wire.model import (
    Json,
    OutputFormat,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Tool,
    ToolChoice,
)
from cliproxy.wire.openai_responses.conversation_decoder import decode_conversation
from cliproxy.wire.openai_responses.vocabulary import FORMAT, server_tool_name
from cliproxy.wire.reasoning import EFFORTS

_TYPED = frozenset({
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p",
    "top_logprobs", "max_output_tokens", "reasoning", "text", "stream", "user", "safety_identifier", "metadata",
    "service_tier", "prompt_cache_key", "store", "previous_response_id", "include",
})  # fmt: skip
"""Top-level fields with a place in the model; the others are extras."""
_TYPED_TOOL = frozenset({"type", "name", "description", "parameters", "strict", "format", "defer_loading"})
"""The same of a tool."""

_INCLUDE_LOGPROBS = "message.output_text.logprobs"
_INCLUDE_UNDERSTOOD = frozenset({"reasoning.encrypted_content", _INCLUDE_LOGPROBS})

_KEPT_AT_OPENAI = {
    "prompt": "a prompt template is stored at OpenAI; send its text as `instructions` and `input`",
    "conversation": "a conversation is stored at OpenAI; send its items in `input`",
}


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Read a request. `model` and `stream` override the body's.

    Raises ClientFault for a wrong type, an unknown role or a missing part, naming the place, and for content that
    only OpenAI's servers hold.
    """
    fields = Fields(body)
    for key, reason in _KEPT_AT_OPENAI.items():
        if body.get(key) is not None:
            raise ClientFault(f"{key}: {reason}", code="unsupported_content", param=key)
    system, turns, further_tools = decode_conversation(fields)
    text = fields.child("text")
    include = fields.strings("include")
    return Request(
        origin=FORMAT,
        model=model or fields.required("model"),
        turns=turns,
        system=system,
        tools=_tools([*fields.children("tools"), *further_tools]),
        tool_choice=_tool_choice(fields),
        parallel_calls=fields.boolean("parallel_tool_calls"),
        sampling=_sampling(fields, include),
        reasoning=_reasoning(fields.child("reasoning")),
        output=_output(text),
        verbosity=text.string("verbosity") if text else None,
        stream=bool(fields.boolean("stream")) if stream is None else stream,
        user=fields.string("user") or fields.string("safety_identifier"),
        metadata=fields.string_map("metadata"),
        service_tier=fields.string("service_tier"),
        cache_key=fields.string("prompt_cache_key"),
        store=fields.boolean("store"),
        previous_response_id=fields.string("previous_response_id"),
        extras=_extras(fields, include),
        raw=body,
    )


def _extras(fields: Fields, include: list[str]) -> Json:
    extras = {key: value for key, value in fields.rest(_TYPED).items() if value is not False}
    unknown = [entry for entry in include if entry not in _INCLUDE_UNDERSTOOD]
    if unknown:
        extras["include"] = unknown
    return extras


# ---------------------------------------------------------------- tools


def _tools(entries: Iterable[Fields], namespace: str | None = None) -> list[Tool | ServerTool]:
    tools: list[Tool | ServerTool] = []
    for entry in entries:
        if entry.object.get("type") == "namespace":
            tools += _tools(entry.children("tools"), entry.required("name"))
        else:
            tools.append(_tool(entry, namespace))
    return tools


def _tool(tool: Fields, namespace: str | None) -> Tool | ServerTool:
    match tool.required("type"):
        case "custom":
            return Tool(
                tool.required("name"),
                tool.string("description"),
                kind="custom",
                grammar=tool.json("format"),
                namespace=namespace,
                extras=tool.rest(_TYPED_TOOL),
            )
        case "function":
            return _function(tool, namespace)
        case kind:
            return _server_tool(tool, kind)


def _function(tool: Fields, namespace: str | None) -> Tool:
    schema = tool.json("parameters")
    strict = tool.boolean("strict")
    # The API takes an absent `strict` for true where the schema allows it. Elsewhere a strict tool with a schema that
    # does not is refused, so only a schema that is strict already makes it true here.
    if "strict" not in tool.object and schema is not None and _is_strict(schema):
        strict = True
    return Tool(
        tool.required("name"),
        tool.string("description"),
        schema,
        strict,
        namespace=namespace,
        deferred=bool(tool.boolean("defer_loading")),
        extras=tool.rest(_TYPED_TOOL),
    )


def _is_strict(schema: Json) -> bool:
    """Whether every object in the schema is closed and requires all its properties."""
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += cast("list[Any]", node)
        elif isinstance(node, dict):
            found = cast("Json", node)
            if found.get("type") == "object" or "properties" in found:
                required: Any = found.get("required")
                required = cast("list[Any]", required) if isinstance(required, list) else []
                closed = found.get("additionalProperties") is False
                if not closed or any(name not in required for name in object_of(found, "properties")):
                    return False
            pending += found.values()
    return True


def _server_tool(tool: Fields, kind: str) -> ServerTool:
    filters = tool.child("filters") if kind.startswith("web_search") else None
    location = tool.json("user_location")
    return ServerTool(
        server_tool_name(kind),
        FORMAT,
        tool.object,
        allowed_domains=(filters.strings("allowed_domains") or None) if filters else None,
        blocked_domains=(filters.strings("blocked_domains") or None) if filters else None,
        location={key: value for key, value in location.items() if key != "type"} if location else None,
    )


def _tool_choice(fields: Fields) -> ToolChoice | None:
    match fields.object.get("tool_choice"):
        case None:
            return None
        case "auto" | "none" | "required" as mode:
            return ToolChoice(mode)
        case dict():
            return _chosen(fields.required_child("tool_choice"))
        case _:
            raise fields.invalid("tool_choice", ("auto", "none", "required", "an object"))


def _chosen(choice: Fields) -> ToolChoice:
    if choice.object.get("type") != "allowed_tools":
        return ToolChoice("named", [_chosen_name(choice)])
    names = [_chosen_name(tool) for tool in choice.children("tools")]
    return ToolChoice("allowed", names, required=choice.string("mode") == "required")


def _chosen_name(choice: Fields) -> str:
    kind = choice.required("type")
    return choice.required("name") if kind in ("function", "custom") else server_tool_name(kind)


# ---------------------------------------------------------------- settings


def _sampling(fields: Fields, include: list[str]) -> Sampling:
    return Sampling(
        max_tokens=fields.integer("max_output_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        logprobs=True if _INCLUDE_LOGPROBS in include else None,
        top_logprobs=fields.integer("top_logprobs"),
    )


def _reasoning(reasoning: Fields | None) -> ReasoningIntent | None:
    if reasoning is None:
        return None
    effort = reasoning.string("effort")
    if effort is not None and effort not in EFFORTS:
        raise reasoning.invalid("effort", EFFORTS)
    summary = reasoning.string("summary") or reasoning.string("generate_summary")
    if effort is None and summary is None:
        return None
    return ReasoningIntent(effort=effort, visible=True if summary else None, summary=summary)


def _output(text: Fields | None) -> OutputFormat | None:
    format = text.child("format") if text else None
    if format is None:
        return None
    match format.required("type"):
        case "text" | "json_object" as kind:
            return OutputFormat(kind)
        case "json_schema":
            return OutputFormat(
                "json_schema",
                format.string("name"),
                format.string("description"),
                format.json("schema"),
                format.boolean("strict"),
            )
        case _:
            raise format.invalid("type", ("text", "json_object", "json_schema"))

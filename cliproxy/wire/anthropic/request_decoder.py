"""A Messages body → `Request`."""

from cliproxy.wire import reasoning
from cliproxy.wire.anthropic.conversation_decoder import cache_hint, decode_conversation
from cliproxy.wire.anthropic.vocabulary import FORMAT, server_tool_name
from cliproxy.wire.fields import Fields
from cliproxy.wire.model import (
    Effort,
    Json,
    OutputFormat,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Tool,
    ToolChoice,
)

_TYPED = frozenset({
    "model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k",
    "stop_sequences", "stream", "thinking", "output_config", "output_format", "metadata", "service_tier",
})  # fmt: skip
"""Top-level fields with a place in the model; the others are extras."""
_TYPED_TOOL = frozenset({"type", "name", "description", "input_schema", "strict", "defer_loading", "cache_control"})
"""The same of a tool."""

_PLACEHOLDER_TOOL = "DeferredToolPlaceholder"
"""Claude Code's stand-in for tools that are not loaded; it cannot be called."""


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Read a request. `model` and `stream` override the body's.

    Raises ClientFault for a wrong type, an unknown role or a missing part, naming the place.
    """
    fields = Fields(body)
    system, turns = decode_conversation(fields)
    choice, parallel = _tool_choice(fields.child("tool_choice"))
    output_config = fields.child("output_config")
    metadata = fields.child("metadata")
    tier = fields.string("service_tier")
    return Request(
        origin=FORMAT,
        model=model or fields.required("model"),
        turns=turns,
        system=system,
        tools=[tool for entry in fields.children("tools") if (tool := _tool(entry)) is not None],
        tool_choice=choice,
        parallel_calls=parallel,
        sampling=_sampling(fields),
        reasoning=_reasoning(fields.child("thinking"), output_config),
        output=_output((output_config and output_config.child("format")) or fields.child("output_format")),
        stream=bool(fields.boolean("stream")) if stream is None else stream,
        user=metadata.string("user_id") if metadata else None,
        service_tier="default" if tier == "standard_only" else tier,
        extras=fields.rest(_TYPED),
        raw=body,
    )


# ---------------------------------------------------------------- tools


def _tool(tool: Fields) -> Tool | ServerTool | None:
    kind = tool.string("type")
    if kind is not None and kind != "custom":
        return _server_tool(tool, kind)
    name = tool.required("name")
    if name == _PLACEHOLDER_TOOL:
        return None
    return Tool(
        name,
        tool.string("description"),
        tool.json("input_schema"),
        tool.boolean("strict"),
        deferred=bool(tool.boolean("defer_loading")),
        cache=cache_hint(tool),
        extras=tool.rest(_TYPED_TOOL),
    )


def _server_tool(tool: Fields, kind: str) -> ServerTool:
    """A tool that Anthropic defines.

    Some of them (`bash`, `computer` …) the client runs, but their definition lies in the model: as a function of
    another model they would have no description and no schema.
    """
    location = tool.json("user_location")
    if location is not None:
        location = {key: value for key, value in location.items() if key != "type" and value is not None}
    return ServerTool(
        server_tool_name(kind),
        FORMAT,
        tool.object,
        allowed_domains=tool.strings("allowed_domains") or None,
        blocked_domains=tool.strings("blocked_domains") or None,
        location=location,
        max_uses=tool.integer("max_uses"),
    )


def _tool_choice(choice: Fields | None) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may come in parallel."""
    if choice is None:
        return None, None
    alone = choice.boolean("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    match choice.required("type"):
        case "auto" | "none" as mode:
            return ToolChoice(mode), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "tool":
            return ToolChoice("named", [choice.required("name")]), parallel
        case _:
            raise choice.invalid("type", ("auto", "any", "tool", "none"))


# ---------------------------------------------------------------- settings


def _sampling(fields: Fields) -> Sampling:
    return Sampling(
        max_tokens=fields.integer("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        stop=fields.strings("stop_sequences") or None,
    )


def _reasoning(thinking: Fields | None, output_config: Fields | None) -> ReasoningIntent | None:
    said = output_config.string("effort") if output_config else None
    effort: Effort | None = next((level for level in reasoning.EFFORTS if level == said), None)
    if thinking is None:
        return None if effort is None else ReasoningIntent(effort)
    # Clients that think get the thoughts unless they say otherwise.
    visible = thinking.string("display") != "omitted"
    match thinking.required("type"):
        case "disabled":
            return ReasoningIntent("none")
        case "enabled":
            budget = thinking.integer("budget_tokens")
            return ReasoningIntent(effort, budget, adaptive=budget is None, visible=visible)
        case "adaptive" | "auto" | "between_tools":
            return ReasoningIntent(effort, adaptive=True, visible=visible)
        case _:
            raise thinking.invalid("type", ("enabled", "adaptive", "disabled"))


def _output(format: Fields | None) -> OutputFormat | None:
    if format is None or format.required("type") != "json_schema":
        return None
    return OutputFormat("json_schema", schema=format.json("schema"))

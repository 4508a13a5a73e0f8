"""A Chat Completions body → `Request`."""

from cliproxy.wire.fields import Fields, objects_of
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
from cliproxy.wire.openai_chat.conversation_decoder import cache_hint, decode_conversation
from cliproxy.wire.openai_chat.vocabulary import FORMAT, server_tool_name
from cliproxy.wire.reasoning import EFFORTS

_TYPED = frozenset({
    "model", "messages", "stream", "stream_options", "user", "safety_identifier", "metadata", "service_tier", "store",
    "prompt_cache_key", "tools", "functions", "tool_choice", "function_call", "parallel_tool_calls",
    "web_search_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "n",
    "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "response_format", "verbosity", "modalities",
    "reasoning_effort", "reasoning", "thinking", "enable_thinking",
})  # fmt: skip
"""Top-level fields with a place in the model; the others are extras."""
_TYPED_TOOL = frozenset({
    "name", "description", "parameters", "parametersJsonSchema", "input_schema", "strict", "format", "type",
    "cache_control", "prompt_cache_breakpoint",
})  # fmt: skip
"""The same of a tool."""


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Read a request. `model` and `stream` override the body's.

    Raises ClientFault for a wrong type, an unknown role or a missing part, naming the place.
    """
    fields = Fields(body)
    system, turns = decode_conversation(fields)
    streams = bool(fields.boolean("stream")) if stream is None else stream
    options = fields.child("stream_options")
    output = _output(fields)
    return Request(
        origin=FORMAT,
        model=model or fields.required("model"),
        turns=turns,
        system=system,
        tools=_tools(fields),
        tool_choice=_tool_choice(fields),
        parallel_calls=fields.boolean("parallel_tool_calls"),
        sampling=_sampling(fields),
        reasoning=_reasoning(fields),
        output=output,
        verbosity=fields.string("verbosity"),
        modalities=[word.lower() for word in fields.strings("modalities")] or None,
        stream=streams,
        include_usage=not streams or bool(options and options.boolean("include_usage")),
        user=fields.string("user") or fields.string("safety_identifier"),
        metadata=fields.string_map("metadata"),
        service_tier=fields.string("service_tier"),
        cache_key=fields.string("prompt_cache_key"),
        store=fields.boolean("store"),
        extras=_extras(fields, output),
        raw=body,
    )


def _extras(fields: Fields, output: OutputFormat | None) -> Json:
    body, extras = fields.object, fields.rest(_TYPED)
    if output is None and body.get("response_format") is not None:
        extras["response_format"] = body["response_format"]
    if body.get("user") and body.get("safety_identifier"):
        extras["safety_identifier"] = body["safety_identifier"]
    speakers = [
        message["name"]
        for message in objects_of(body, "messages")
        if message.get("name") and message.get("role") not in ("tool", "function")
    ]
    if speakers:
        extras["messages[].name"] = speakers
    return extras


# ---------------------------------------------------------------- tools


def _tools(fields: Fields) -> list[Tool | ServerTool]:
    tools = [_tool(tool) for tool in fields.children("tools")]
    tools += [_function(function, function) for function in fields.children("functions")]
    options = fields.child("web_search_options")
    if options is not None:
        raw = {"web_search_options": options.object}
        tools.append(ServerTool("web_search", FORMAT, raw, location=_location(options)))
    return tools


def _tool(tool: Fields) -> Tool | ServerTool:
    kind = tool.string("type")
    if kind == "custom":
        return _custom(tool.required_child("custom"), tool)
    if kind == "function" or (kind is None and ("function" in tool.object or "name" in tool.object)):
        # Cursor sends the function's fields without the wrapping `function`.
        flat = "function" not in tool.object and "name" in tool.object
        return _function(tool if flat else tool.required_child("function"), tool)
    return _server_tool(tool, kind)


def _custom(custom: Fields, holder: Fields) -> Tool:
    grammar = custom.json("format")
    return Tool(
        custom.required("name"),
        custom.string("description"),
        kind="custom",
        grammar=None if grammar is None else _flat_grammar(grammar),
        cache=cache_hint(holder),
        extras=custom.rest(_TYPED_TOOL),
    )


def _flat_grammar(format: Json) -> Json:
    """A custom tool's format in the flat shape of Responses, which the model keeps."""
    inner = format.get("grammar")
    return {"type": format.get("type"), **inner} if isinstance(inner, dict) else format


def _function(function: Fields, holder: Fields) -> Tool:
    """A function from the object that describes it; its cache hint may sit on the holder."""
    schemas = (function.json(key) for key in ("parameters", "parametersJsonSchema", "input_schema"))
    return Tool(
        function.required("name"),
        function.string("description"),
        next((schema for schema in schemas if schema is not None), None),
        function.boolean("strict"),
        cache=cache_hint(holder) or cache_hint(function),
        extras=function.rest(_TYPED_TOOL),
    )


def _server_tool(tool: Fields, kind: str | None) -> ServerTool:
    """A vendor-side tool: `{type: web_search, …}`, or Google's `{google_search: {…}}`."""
    settings = tool
    if kind is None:
        kind = next((key for key, value in tool.object.items() if isinstance(value, dict)), None)
        if kind is None:
            raise tool.missing("type")
        settings = tool.required_child(kind)
    filters = settings.child("filters") or settings
    return ServerTool(
        server_tool_name(kind),
        FORMAT,
        tool.object,
        allowed_domains=filters.strings("allowed_domains") or None,
        blocked_domains=filters.strings("blocked_domains") or None,
        location=_location(settings),
        max_uses=settings.integer("max_uses"),
    )


def _location(options: Fields) -> Json | None:
    location = options.child("user_location")
    if location is None:
        return None
    place = (location.child("approximate") or location).object
    return {key: place[key] for key in ("city", "region", "country", "timezone") if key in place}


def _tool_choice(fields: Fields) -> ToolChoice | None:
    choice = fields.object.get("tool_choice")
    if choice is None and fields.object.get("function_call") is not None:
        choice = fields.object["function_call"]
        if isinstance(choice, dict):
            return ToolChoice("named", [fields.required_child("function_call").required("name")])
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case "any":  # Mistral's word
            return ToolChoice("required")
        case dict():
            return _chosen(fields.required_child("tool_choice"))
        case _:
            raise fields.invalid("tool_choice", ("auto", "none", "required", "an object"))


def _chosen(choice: Fields) -> ToolChoice:
    if choice.object.get("type") != "allowed_tools":
        return ToolChoice("named", [_chosen_name(choice)])
    allowed = choice.child("allowed_tools") or choice
    names = [_chosen_name(tool) for tool in allowed.children("tools")]
    return ToolChoice("allowed", names, required=allowed.string("mode") == "required")


def _chosen_name(choice: Fields) -> str:
    inner = choice.child("function") or choice.child("custom")
    if inner is not None:
        return inner.required("name")
    return choice.string("name") or server_tool_name(choice.required("type"))


# ---------------------------------------------------------------- settings


def _sampling(fields: Fields) -> Sampling:
    stop = fields.text_or_items("stop")
    stop = [stop] if isinstance(stop, str) else fields.strings("stop")
    max_tokens = fields.integer("max_completion_tokens")
    return Sampling(
        max_tokens=fields.integer("max_tokens") if max_tokens is None else max_tokens,
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        stop=[text for text in stop if text] or None,
        seed=fields.integer("seed"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        candidates=fields.integer("n"),
        logprobs=fields.boolean("logprobs"),
        top_logprobs=fields.integer("top_logprobs"),
    )


def _reasoning(fields: Fields) -> ReasoningIntent | None:
    """OpenAI's `reasoning_effort`, or the switches of OpenRouter, DeepSeek and Qwen."""
    effort = _effort(fields, "reasoning_effort")
    reasoning = fields.child("reasoning")
    if reasoning is not None:
        off = reasoning.boolean("enabled") is False
        exclude = reasoning.boolean("exclude")
        return ReasoningIntent(
            effort="none" if off else effort or _effort(reasoning, "effort"),
            budget=reasoning.integer("max_tokens"),
            adaptive=reasoning.boolean("enabled") is True and not reasoning.object.keys() & {"effort", "max_tokens"},
            visible=None if exclude is None else not exclude,
            summary=reasoning.string("summary"),
        )
    thinking = fields.child("thinking")
    if thinking is not None:
        mode, budget = thinking.string("type"), thinking.integer("budget_tokens")
        if mode == "disabled":
            return ReasoningIntent(effort="none")
        return ReasoningIntent(effort=effort, budget=budget, adaptive=effort is None and budget is None)
    if effort is not None:
        return ReasoningIntent(effort=effort)
    on = fields.boolean("enable_thinking")
    if on is None and fields.object.get("reasoning_effort") != "auto":
        return None
    return ReasoningIntent(effort="none") if on is False else ReasoningIntent(adaptive=True)


def _effort(holder: Fields, key: str) -> Effort | None:
    level = holder.string(key)
    if level is None or level == "auto":
        return None
    if level in EFFORTS:
        return level
    raise holder.invalid(key, EFFORTS)


def _output(fields: Fields) -> OutputFormat | None:
    """None too for kinds that only some servers know (`regex`, `grammar` …): they are extras."""
    format = fields.child("response_format")
    if format is None:
        return None
    match format.string("type"):
        case "text" | "json_object" as kind:
            return OutputFormat(kind)
        case "json_schema":
            details = format.required_child("json_schema")
            return OutputFormat(
                "json_schema",
                details.string("name"),
                details.string("description"),
                details.json("schema"),
                details.boolean("strict"),
            )
        case _:
            return None

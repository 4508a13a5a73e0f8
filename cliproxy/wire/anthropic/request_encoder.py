"""Writes a request as the Messages API takes it."""

from typing import NamedTuple

from cliproxy.wire import names, schema
from cliproxy.wire import reasoning as thinking_limits
from cliproxy.wire.anthropic import strict_schema
from cliproxy.wire.anthropic.messages import THINKING_TYPES, MessageWriter, with_cache
from cliproxy.wire.anthropic.vocabulary import FORMAT, LEGAL, NAME_LIMIT
from cliproxy.wire.json import dumps_text
from cliproxy.wire.model import (
    CacheHint,
    Encoded,
    Json,
    Media,
    ModelFacts,
    OutputFormat,
    Request,
    Sampling,
    ServerTool,
    Text,
    Tool,
    ToolChoice,
)

DEFAULT_MAX_TOKENS = 8192
"""The API demands a limit; this is what the smallest of the models that are still served can write."""

MIN_BUDGET = 1024
MIN_THINKING_TOP_P = 0.95
MAX_BREAKPOINTS = 4

_SERVER_TOOL_TYPES: dict[str, str] = {
    "web_search": "web_search_20250305",
    "web_fetch": "web_fetch_20250910",
    "code_execution": "code_execution_20250825",
}
"""The oldest version of each: the one that most models take, and that needs no beta header."""

_SERVICE_TIERS: dict[str, str] = {
    "auto": "auto",
    "priority": "auto",
    "default": "standard_only",
    "standard": "standard_only",
    "flex": "standard_only",
}


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """The body for the model of `facts`, and what it cannot say.

    Raises UnsupportedContent for content that the API has no block for, and ClientFault for an effort or
    budget that the model does not take, as an Anthropic client should know.
    """
    dropped: list[str] = []
    tool_names = names.ToolNames(NAME_LIMIT, LEGAL)
    tools = _tools(request, tool_names, dropped)
    lead = [part for part in request.system if isinstance(part, Media)]
    messages = MessageWriter(tool_names, dropped).write(lead, request.turns)
    choice = _tool_choice(request, tools, tool_names, dropped)
    if not tools and (called := _called_names(messages)):
        # The API refuses calls in the history of a request that declares no tools.
        tools = [{"name": name, "input_schema": schema.as_object(None)} for name in called]
        choice = {"type": "none"}
    thinking = _thinking(request, facts, messages, choice, dropped)
    if not thinking.config or thinking.config["type"] == "disabled":
        _without_final_thinking(messages)

    body: Json = {"model": facts.name, "max_tokens": thinking.max_tokens}
    system = _system(request)
    if system:
        body["system"] = system
    body["messages"] = messages
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    if thinking.config is not None:
        body["thinking"] = thinking.config
    output_config: Json = {} if thinking.effort is None else {"effort": thinking.effort}
    if _is_enforced(request.output):
        output_config["format"] = {"type": "json_schema", "schema": _output_schema(request.output)}
    if output_config:
        body["output_config"] = output_config
    _write_sampling(body, request.sampling, _is_on(thinking.config), facts, dropped)
    _write_rest(body, request, dropped)
    _set_breakpoints(body, request)
    body["stream"] = request.stream
    return Encoded(body, dropped, tool_names.restored)


# ---------------------------------------------------------------- instructions


def _system(request: Request) -> list[Json]:
    blocks = [
        with_cache({"type": "text", "text": part.text}, part.cache)
        for part in request.system
        if isinstance(part, Text) and part.text
    ]
    output = request.output
    if output is not None and output.kind != "text" and not _is_enforced(output):
        wish = "Answer with a single JSON object and nothing else."
        if output.schema:
            wish = f"Answer with JSON that fits this JSON Schema and nothing else: {dumps_text(output.schema)}"
        blocks.append({"type": "text", "text": wish})
    return blocks


def _is_enforced(output: OutputFormat | None) -> bool:
    """Whether the API can hold the model to the format; it has no word for any JSON at all."""
    return bool(
        output is not None
        and output.kind == "json_schema"
        and output.schema
        and not strict_schema.has_maps(output.schema)
    )


def _output_schema(output: OutputFormat | None) -> Json:
    wanted = strict_schema.closed((output and output.schema) or {})
    if output is not None and output.description and "description" not in wanted:
        wanted["description"] = output.description
    return wanted


# ---------------------------------------------------------------- tools


def _tools(request: Request, tool_names: names.ToolNames, dropped: list[str]) -> list[Json]:
    allowed: set[str] | None = None
    if request.tool_choice is not None and request.tool_choice.mode == "allowed":
        allowed = set(request.tool_choice.names)
    tools: list[Json] = []
    taken: set[str] = set()
    for tool in request.tools:
        if allowed is not None and tool.name not in allowed:
            continue
        written = _server_tool(tool, dropped) if isinstance(tool, ServerTool) else _tool(tool, request, tool_names)
        if written is None:
            continue
        name = written.get("name")
        if name is not None and name in taken:
            dropped.append(f"tools: a second tool named {name}")
            continue
        taken.add(str(name))
        tools.append(written)
    return tools


def _tool(tool: Tool, request: Request, tool_names: names.ToolNames) -> Json:
    written: Json = {"name": tool_names.send(tool.name)}
    description = tool.description
    if tool.kind == "custom":
        if tool.grammar and tool.grammar.get("definition"):
            grammar = f"The input must match this grammar:\n{tool.grammar['definition']}"
            description = f"{description}\n\n{grammar}" if description else grammar
        parameters: Json = {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
        }
    else:
        parameters = schema.as_object(tool.schema)
    if description:
        written["description"] = description
    if tool.strict and tool.kind == "function" and not strict_schema.has_maps(parameters):
        parameters = strict_schema.closed(parameters)
        written["strict"] = True
    written["input_schema"] = parameters
    if tool.deferred and request.origin == FORMAT:
        # Of another origin it belongs to that vendor's search for tools: here nothing would load the tool.
        written["defer_loading"] = True
    return with_cache(written, tool.cache)


def _server_tool(tool: ServerTool, dropped: list[str]) -> Json | None:
    if tool.origin == FORMAT:
        return dict(tool.raw)
    version = _SERVER_TOOL_TYPES.get(tool.name)
    if version is None:
        dropped.append(f"tools: {tool.name} runs only at its own vendor ({tool.origin})")
        return None
    written: Json = {"type": version, "name": tool.name}
    if tool.name == "code_execution":
        return written
    if tool.allowed_domains:
        written["allowed_domains"] = tool.allowed_domains
    elif tool.blocked_domains:
        written["blocked_domains"] = tool.blocked_domains
    if tool.location and tool.name == "web_search":
        known = {key: tool.location.get(key) for key in ("city", "region", "country", "timezone")}
        place = {key: value for key, value in known.items() if value}
        if place:
            written["user_location"] = {"type": "approximate", **place}
    if tool.max_uses:
        written["max_uses"] = tool.max_uses
    return written


def _tool_choice(request: Request, tools: list[Json], tool_names: names.ToolNames, dropped: list[str]) -> Json | None:
    if not tools:
        return None
    choice = _choice(request.tool_choice, tool_names)
    if request.parallel_calls is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None and choice["type"] == "tool" and all(tool.get("name") != choice["name"] for tool in tools):
        dropped.append(f"tool_choice: there is no tool named {choice['name']}")
        return None
    return choice


def _choice(choice: ToolChoice | None, tool_names: names.ToolNames) -> Json | None:
    if choice is None:
        return None
    match choice.mode:
        case "auto":
            return {"type": "auto"}
        case "none":
            return {"type": "none"}
        case "required":
            return {"type": "any"}
        case "named":
            return {"type": "tool", "name": tool_names.send(choice.names[0])} if choice.names else {"type": "any"}
        case "allowed":
            return {"type": "any" if choice.required else "auto"}


def _called_names(messages: list[Json]) -> list[str]:
    blocks = (block for message in messages for block in message["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


# ---------------------------------------------------------------- thinking


class _Thinking(NamedTuple):
    config: Json | None
    effort: str | None
    max_tokens: int


def _thinking(
    request: Request, facts: ModelFacts, messages: list[Json], choice: Json | None, dropped: list[str]
) -> _Thinking:
    """What to ask of thinking, and the output limit that goes with it."""
    max_tokens, stated = _max_tokens(request.sampling, facts, dropped)
    setting = thinking_limits.fit(request.reasoning, facts, cross=request.origin != FORMAT)
    if setting is None:
        return _Thinking(None, None, max_tokens)
    if not setting.on:
        return _Thinking({"type": "disabled"}, None, max_tokens)
    if setting.effort is None and setting.budget is None and not setting.adaptive:
        return _Thinking(None, None, max_tokens)
    if choice is not None and choice["type"] in ("any", "tool"):
        dropped.append("reasoning: a forced tool_choice and thinking exclude each other")
        return _Thinking(None, None, max_tokens)
    display = {True: "summarized", False: "omitted", None: None}[setting.visible]
    if setting.adaptive or not setting.budget or setting.budget < 0:
        config: Json = {"type": "adaptive"} if display is None else {"type": "adaptive", "display": display}
        return _Thinking(config, _effort(setting.effort), max_tokens)
    if not _may_think(messages):
        dropped.append("reasoning: the turn in progress does not begin with signed thinking")
        return _Thinking(None, None, max_tokens)
    budget, max_tokens = _budget(setting.budget, max_tokens, stated, facts)
    if budget is None:
        dropped.append(f"reasoning: max_tokens leaves no room for the least budget, {MIN_BUDGET}")
        return _Thinking(None, None, max_tokens)
    config = {"type": "enabled", "budget_tokens": budget}
    if display == "omitted":
        # `summarized` is what the models with budgets do anyway.
        config["display"] = display
    return _Thinking(config, None, max_tokens)


def _effort(effort: thinking_limits.Effort | None) -> str | None:
    return "low" if effort in ("none", "minimal") else effort


def _max_tokens(sampling: Sampling, facts: ModelFacts, dropped: list[str]) -> tuple[int, bool]:
    """The output limit, and whether the client stated it."""
    if sampling.max_tokens is None:
        return facts.max_output_tokens or DEFAULT_MAX_TOKENS, False
    if facts.max_output_tokens is not None and sampling.max_tokens > facts.max_output_tokens:
        dropped.append(f"max_tokens: {facts.name} writes at most {facts.max_output_tokens}")
        return facts.max_output_tokens, True
    return sampling.max_tokens, True


def _budget(budget: int, max_tokens: int, stated: bool, facts: ModelFacts) -> tuple[int | None, int]:
    """A budget from 1024 up to below the output limit; that limit is raised only where nobody set one."""
    budget = max(budget, MIN_BUDGET)
    if budget < max_tokens:
        return budget, max_tokens
    if not stated and facts.max_output_tokens is None:
        return budget, budget + DEFAULT_MAX_TOKENS
    if max_tokens <= MIN_BUDGET:
        return None, max_tokens
    return max(MIN_BUDGET, max_tokens * 3 // 4), max_tokens


def _may_think(messages: list[Json]) -> bool:
    """Whether thinking with a budget may be on: the assistant's turn in progress must begin with thinking.

    A turn is in progress when the model waits for results of its calls, or shall go on from words put in its
    mouth. It goes back over all calls and results to the assistant's first message after the user last spoke.
    (Adaptive thinking does not ask for it.)
    """
    start: Json | None = None
    for message in reversed(messages):
        if message["role"] == "assistant":
            start = message
        elif all(block["type"] != "tool_result" for block in message["content"]):
            break
    return start is None or start["content"][0]["type"] in THINKING_TYPES


def _is_on(config: Json | None) -> bool:
    return config is not None and config["type"] != "disabled"


def _without_final_thinking(messages: list[Json]) -> None:
    """Thinking in the words that the model shall go on from is refused while thinking is off."""
    last = messages[-1]
    if last["role"] == "assistant":
        last["content"] = [block for block in last["content"] if block["type"] not in THINKING_TYPES]


# ---------------------------------------------------------------- other settings


def _write_sampling(body: Json, sampling: Sampling, thinks: bool, facts: ModelFacts, dropped: list[str]) -> None:
    stop = [text for text in sampling.stop or [] if text.strip()]
    if stop:
        body["stop_sequences"] = stop
    if len(stop) < len(sampling.stop or []):
        dropped.append("stop: a stop sequence must hold more than whitespace")
    temperature = sampling.temperature
    if temperature is not None and temperature > 1:
        dropped.append("temperature: at most 1")
        temperature = 1
    wanted = {"temperature": temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    for name, value in wanted.items():
        if value is None:
            continue
        reason = _refusal(name, value, thinks, facts)
        if reason is None and name == "top_p" and "temperature" in body:
            reason = "newer models take temperature or top_p, not both"
        if reason is None:
            body[name] = value
        else:
            dropped.append(f"{name}: {reason}")
    unsaid = {
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "n": sampling.candidates if sampling.candidates != 1 else None,
        "logprobs": sampling.logprobs or sampling.top_logprobs,
    }
    dropped += [f"{name}: Anthropic has no such setting" for name, value in unsaid.items() if value]


def _refusal(name: str, value: float, thinks: bool, facts: ModelFacts) -> str | None:
    """Why the API would refuse a sampling setting."""
    if _refuses_sampling(facts):
        return f"{facts.name} takes no sampling settings"
    if not thinks:
        return None
    if name == "temperature":
        return None if value == 1 else "must be 1 while thinking is on"
    if name == "top_p":
        in_range = value >= MIN_THINKING_TOP_P
        return None if in_range else f"must be at least {MIN_THINKING_TOP_P} while thinking is on"
    return "cannot be set while thinking is on"


def _refuses_sampling(facts: ModelFacts) -> bool:
    """Anthropic's models that take effort but no budget (Opus 4.7 and later) refuse all sampling settings."""
    thinking = facts.thinking
    return thinking is not None and bool(thinking.levels) and thinking.min is None and thinking.max is None


def _write_rest(body: Json, request: Request, dropped: list[str]) -> None:
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.service_tier is not None:
        tier = _SERVICE_TIERS.get(request.service_tier)
        if tier is None:
            dropped.append(f"service_tier: no counterpart for {request.service_tier}")
        else:
            body["service_tier"] = tier
    if request.origin == FORMAT:
        body.update(request.extras)
    else:
        dropped += [f"{name}: only {request.origin} has it" for name in request.extras]
    unsaid = {
        "verbosity": request.verbosity,
        "modalities": [word for word in request.modalities or [] if word != "text"],
        "metadata": request.metadata,
        "store": request.store,
        "previous_response_id": request.previous_response_id,
    }
    dropped += [f"{name}: Anthropic has no such setting" for name, value in unsaid.items() if value]


def _set_breakpoints(body: Json, request: Request) -> None:
    """At most four marks to cache up to, long-lived ones first, as the API demands.

    OpenAI caches by itself where a client names a cache key; here the end of the instructions and of the
    conversation are marked for it.
    """
    blocks: list[Json] = [*body.get("tools", ()), *body.get("system", ())]
    blocks += [block for message in body["messages"] for block in message["content"]]
    marked = [block for block in blocks if block.get("cache_control")]
    if not marked and request.cache_key and "cache_control" not in body:
        fixed = [*body.get("tools", ()), *body.get("system", ())]
        last = body["messages"][-1]["content"][-1]
        for block in (*fixed[-1:], *(() if last["type"] in THINKING_TYPES else (last,))):
            with_cache(block, CacheHint())
        return
    for block in marked[:-MAX_BREAKPOINTS]:
        del block["cache_control"]
    short_lived = False
    for block in marked[-MAX_BREAKPOINTS:]:
        if block["cache_control"].get("ttl") != "1h":
            short_lived = True
        elif short_lived:
            block["cache_control"] = {"type": "ephemeral"}

"""A `Request` as a generateContent body. The path says the model and whether to stream, the body does not."""

from collections.abc import Iterable
from typing import Any

from cliproxy.wire import json, reasoning
from cliproxy.wire.gemini.contents import Contents, fill_in_signatures
from cliproxy.wire.gemini.vocabulary import FORMAT, generation
from cliproxy.wire.model import Effort, Encoded, Json, ModelFacts, Request, ServerTool, Tool, ToolChoice
from cliproxy.wire.names import ToolNames
from cliproxy.wire.schema import as_object

_NAME_LIMIT = 64
_NAME_CHARS = "a-zA-Z0-9_.:-"
_NAME_FIRST_CHARS = "a-zA-Z_"

_MAX_STOP_SEQUENCES = 5
_SEED_RANGE = 2**31

_FIRST_GENERATION_WITH_LEVELS = 3
"""From here on models take levels of thinking, check signatures, and answer in JSON beside functions."""

_SERVER_TOOLS = {"web_search": "googleSearch", "web_fetch": "urlContext", "code_execution": "codeExecution"}

_LEVELS: dict[Effort, str] = {
    "none": "LOW",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
"""The lowest level that every model takes stands for `none`, the highest one for what is above it."""

_SERVICE_TIERS = {"flex": "flex", "priority": "priority"}
_DEFAULT_TIERS = frozenset({"auto", "default", "standard", "standard_only", "unspecified"})


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a request whose turns are in order (`history.repair`).

    Raises UnsupportedContent for content that Gemini or this model cannot take, ClientFault for a level or
    budget of reasoning that a Gemini client asked for and the model does not take.
    """
    return _Encoder(request, facts).encoded()


class _Encoder:
    def __init__(self, request: Request, facts: ModelFacts) -> None:
        self._request = request
        self._facts = facts
        self._names = ToolNames(_NAME_LIMIT, _NAME_CHARS, _NAME_FIRST_CHARS)
        self._dropped: dict[str, None] = {}
        age = generation(facts.name)
        self._takes_levels = bool(facts.thinking and facts.thinking.levels) or (
            age is not None and age >= _FIRST_GENERATION_WITH_LEVELS
        )
        self._is_old = age is not None and age < _FIRST_GENERATION_WITH_LEVELS

    def encoded(self) -> Encoded:
        body: Json = {}
        declarations = self._declarations()
        contents = Contents(self._request, self._facts, self._names, self._drop)
        system = contents.system()
        body["contents"] = contents.turns()
        if self._takes_levels:
            fill_in_signatures(body["contents"])
        settings = self._settings()
        system += self._write_output(settings, bool(declarations))
        if system:
            body["systemInstruction"] = {"parts": system}
        tools = self._tools(declarations)
        if tools:
            body["tools"] = tools
        if declarations:
            config = self._calling_config()
            if config is not None:
                body["toolConfig"] = {"functionCallingConfig": config}
        if settings:
            body["generationConfig"] = settings
        self._write_service_tier(body)
        self._write_extras(body)
        self._note_unsaid()
        return Encoded(body, dropped=list(self._dropped), names=self._names.restored)

    def _drop(self, what: str) -> None:
        self._dropped[what] = None

    # ------------------------------------------------------------ tools

    def _declarations(self) -> list[Json]:
        allowed = self._allowed_names()
        declarations: dict[str, Json] = {}
        for tool in self._request.tools:
            if isinstance(tool, ServerTool) or (allowed is not None and tool.name not in allowed):
                continue
            if tool.strict:
                self._drop("tools.strict: Gemini cannot promise it")
            if tool.cache is not None:
                self._drop("cache_control: Gemini caches by itself")
            name = self._names.send(tool.name)
            if name in declarations:
                self._drop(f"tools.{tool.name}: declared twice")
            else:
                declarations[name] = _declaration(name, tool)
        return list(declarations.values())

    def _allowed_names(self) -> frozenset[str] | None:
        """The only tools to declare, where a choice among some is free: AUTO takes no list of names."""
        choice = self._request.tool_choice
        if choice is None or choice.mode != "allowed" or choice.required:
            return None
        return frozenset(choice.names)

    def _tools(self, declarations: list[Json]) -> list[Json]:
        tools: list[Json] = [{"functionDeclarations": declarations}] if declarations else []
        for tool in self._request.tools:
            if not isinstance(tool, ServerTool):
                continue
            if tool.origin == FORMAT:
                tools.append(tool.raw)
            elif tool.name not in _SERVER_TOOLS:
                self._drop(f"tools.{tool.name}: Gemini has no such tool")
            elif declarations:
                # Old models refuse the mix; new ones want each part of it back, which only Gemini clients do.
                self._drop(f"tools.{tool.name}: Gemini does not take it beside functions")
            else:
                tools.append(self._server_tool(tool))
        return tools

    def _server_tool(self, tool: ServerTool) -> Json:
        limits = {
            "allowed_domains": tool.allowed_domains,
            "blocked_domains": tool.blocked_domains,
            "user_location": tool.location,
            "max_uses": tool.max_uses,
        }
        for name, value in limits.items():
            if value:
                self._drop(f"tools.{tool.name}.{name}: Gemini cannot limit it so")
        return {_SERVER_TOOLS[tool.name]: {}}

    def _calling_config(self) -> Json | None:
        if self._request.parallel_calls is False:
            self._drop("parallel_tool_calls: Gemini calls as many functions at once as it likes")
        choice = self._request.tool_choice
        if choice is None:
            return None
        match choice.mode:
            case "none":
                return {"mode": "NONE"}
            case "required":
                return {"mode": "ANY"}
            case "named" | "allowed" if choice.mode == "named" or choice.required:
                return self._restricted(choice)
            case _:
                return {"mode": "AUTO"}

    def _restricted(self, choice: ToolChoice) -> Json | None:
        declared = {tool.name for tool in self._request.tools if isinstance(tool, Tool)}
        names = [self._names.send(name) for name in choice.names if name in declared]
        if not names:
            self._drop(f"tool_choice: {', '.join(choice.names)} is no function")
            return None
        return {"mode": "ANY", "allowedFunctionNames": names}

    # ------------------------------------------------------------ settings

    def _settings(self) -> Json:
        sampling, limit = self._request.sampling, self._facts.max_output_tokens
        max_tokens = sampling.max_tokens
        if max_tokens is not None and limit is not None and max_tokens > limit:
            self._drop(f"max_tokens: {max_tokens} is more than the {limit} that {self._facts.name} can write")
            max_tokens = limit
        settings: Json = {
            "maxOutputTokens": max_tokens,
            "temperature": sampling.temperature,
            "topP": sampling.top_p,
            "topK": sampling.top_k,
            "stopSequences": self._stop_sequences(),
            "seed": None if sampling.seed is None else sampling.seed % _SEED_RANGE,
            "presencePenalty": sampling.presence_penalty,
            "frequencyPenalty": sampling.frequency_penalty,
            "candidateCount": sampling.candidates if sampling.candidates != 1 else None,
            "thinkingConfig": self._thinking(),
            "responseModalities": self._modalities(),
        }
        if self._request.origin == FORMAT:
            settings |= {"responseLogprobs": sampling.logprobs, "logprobs": sampling.top_logprobs}
        elif sampling.logprobs or sampling.top_logprobs:
            self._drop("logprobs: most Gemini models refuse a request for them")
        return {name: value for name, value in settings.items() if value is not None}

    def _stop_sequences(self) -> list[str] | None:
        stop = [text for text in self._request.sampling.stop or () if text]
        if len(stop) > _MAX_STOP_SEQUENCES:
            self._drop(f"stop: Gemini takes {_MAX_STOP_SEQUENCES} sequences, not {len(stop)}")
        return stop[:_MAX_STOP_SEQUENCES] or None

    def _modalities(self) -> list[str] | None:
        words = [word.upper() for word in self._request.modalities or ()]
        return None if words == ["TEXT"] else words or None

    def _thinking(self) -> Json | None:
        intent, facts = self._request.reasoning, self._facts
        setting = reasoning.fit(intent, facts, cross=self._request.origin != FORMAT)
        if setting is None:
            if intent is not None:
                self._drop(f"reasoning: {facts.name} does not think")
            return None
        config: Json = {}
        asked = setting.effort is not None or setting.budget is not None or setting.adaptive
        if self._takes_levels and setting.effort is not None:
            config["thinkingLevel"] = self._level(setting.effort)
        elif setting.budget is not None:
            config["thinkingBudget"] = setting.budget
        visible = setting.visible if setting.visible is not None else (True if asked else None)
        if setting.on and visible is not None:
            config["includeThoughts"] = visible
        return config or None

    def _level(self, effort: Effort) -> str:
        levels = self._facts.thinking.levels if self._facts.thinking else ()
        if effort == "none" and levels:
            effort = min(levels, key=reasoning.EFFORTS.index)
        return "XHIGH" if effort == "xhigh" and effort in levels else _LEVELS[effort]

    def _write_output(self, settings: Json, calls_functions: bool) -> list[Json]:
        """Ask for JSON; returns the instruction that must do where the model cannot be held to it."""
        output = self._request.output
        if output is None or output.kind == "text":
            return []
        if calls_functions and self._is_old:
            self._drop(f"response_format: {self._facts.name} takes it beside functions only as an instruction")
            return [{"text": _json_instruction(output.schema)}]
        settings["responseMimeType"] = "application/json"
        if output.kind == "json_schema" and output.schema is not None:
            settings["responseJsonSchema"] = output.schema
        return []

    # ------------------------------------------------------------ the rest

    def _write_service_tier(self, body: Json) -> None:
        tier = self._request.service_tier
        if tier in _SERVICE_TIERS:
            body["serviceTier"] = _SERVICE_TIERS[tier]
        elif tier is not None and tier not in _DEFAULT_TIERS:
            self._drop(f"service_tier: Gemini has no tier {tier}")

    def _write_extras(self, body: Json) -> None:
        for name, value in self._request.extras.items():
            if self._request.origin != FORMAT:
                self._drop(f"{name}: Gemini has no such setting")
                continue
            section, dot, field = name.partition(".")
            if dot:
                body.setdefault(section, {})[field] = value
            else:
                body[name] = value

    def _note_unsaid(self) -> None:
        request = self._request
        unsaid: Iterable[tuple[str, Any]] = (
            ("user", request.user),
            ("metadata", request.metadata),
            ("verbosity", request.verbosity),
            ("prompt_cache_key", request.cache_key),
            ("store", request.store),
        )
        for name, value in unsaid:
            if value:
                self._drop(f"{name}: Gemini has no such setting")


def _declaration(name: str, tool: Tool) -> Json:
    """A function. Its schema goes as JSON Schema, which every Gemini since 2.0 reads as it is.

    The older `parameters` would lose number enums, null types, references and constraints.
    """
    declaration: Json = {"name": name}
    description, schema = tool.description, tool.schema
    if tool.kind == "custom":
        schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        definition = (tool.grammar or {}).get("definition")
        if definition:
            description = f"{description or ''}\n\nThe input follows this grammar:\n{definition}".lstrip()
    if description:
        declaration["description"] = description
    if schema is not None:
        declaration["parametersJsonSchema"] = as_object(schema)
    return declaration


def _json_instruction(schema: Json | None) -> str:
    if schema is None:
        return "Give your final answer as one JSON object and nothing else."
    text = json.dumps_text(schema)
    return f"Give your final answer as JSON that matches this JSON Schema, and nothing else: {text}"

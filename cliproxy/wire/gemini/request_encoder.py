"""`Request` → a generateContent body. The path says the model and whether to stream, the body does not."""

from cliproxy.wire import reasoning, stand_ins
from cliproxy.wire.encoding import Encoding, present
from cliproxy.wire.gemini.conversation_encoder import ConversationEncoder, fill_in_signatures
from cliproxy.wire.gemini.vocabulary import FORMAT, generation
from cliproxy.wire.model import Effort, Encoded, Json, ModelFacts, Request, ServerTool, Tool, ToolChoice
from cliproxy.wire.names import ToolNames
from cliproxy.wire.schema import as_object

_NAME_LIMIT = 64
_NAME_CHARS = "a-zA-Z0-9_.:-"
_NAME_FIRST_CHARS = "a-zA-Z_"

_MAX_STOPS = 5
_SEED_RANGE = 2**31

_FIRST_GENERATION_WITH_LEVELS = 3
"""From here on models take levels of thinking, check signatures, and answer in JSON beside functions."""

_SERVER_TOOL_FIELDS = {
    "web_search": "googleSearch",
    "web_fetch": "urlContext",
    "code_execution": "codeExecution",
}

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

_SERVICE_TIERS = frozenset({"flex", "priority"})
_DEFAULT_TIERS = frozenset({"auto", "default", "standard", "standard_only", "unspecified"})


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a request whose turns are in order (`history.repair`).

    Raises UnsupportedContent for content that Gemini or this model cannot take, ClientFault for a level or budget of
    reasoning that a Gemini client asked for and the model does not take.
    """
    names = ToolNames(_NAME_LIMIT, _NAME_CHARS, _NAME_FIRST_CHARS)
    return _Encoder(Encoding(request, facts, FORMAT, names)).encoded()


class _Encoder:
    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._facts = encoding.facts
        self._names = encoding.names
        self._own = encoding.own
        self._body: Json = {}
        self._settings: Json = {}
        age = generation(encoding.facts.name)
        thinking = encoding.facts.thinking
        self._is_old = age is not None and age < _FIRST_GENERATION_WITH_LEVELS
        self._takes_levels = bool(thinking and thinking.levels) or (age is not None and not self._is_old)

    def encoded(self) -> Encoded:
        conversation = ConversationEncoder(self._encoding)
        system, contents = conversation.system(), conversation.contents()
        if self._takes_levels:
            fill_in_signatures(contents)
        self._body["contents"] = contents
        declarations = self._declarations()
        self._write_tools(declarations)
        self._write_sampling()
        self._write_reasoning()
        system += self._write_output(calls_functions=bool(declarations))
        if system:
            self._body["systemInstruction"] = {"parts": system}
        self._write_settings()
        self._write_account()
        if self._settings:
            self._body["generationConfig"] = self._settings
        self._encoding.write_extras(self._body, "Gemini has no such setting")
        return self._encoding.encoded(self._body)

    # ------------------------------------------------------------ tools

    def _write_tools(self, declarations: list[Json]) -> None:
        tools: list[Json] = [{"functionDeclarations": declarations}] if declarations else []
        for tool in self._request.tools:
            if isinstance(tool, ServerTool):
                tools += self._server_tool(tool, beside_functions=bool(declarations))
        if tools:
            self._body["tools"] = tools
        if not declarations:
            self._encoding.drop_settings("no function is offered", tool_choice=self._request.tool_choice)
            return
        choice = self._tool_choice()
        if choice is not None:
            self._body["toolConfig"] = {"functionCallingConfig": choice}
        if self._request.parallel_calls is False:
            self._encoding.drop("parallel_tool_calls", "Gemini calls as many functions at once as it likes")

    def _declarations(self) -> list[Json]:
        choice = self._request.tool_choice
        # AUTO takes no list of names, ANY does.
        offered = self._request.tools if choice is not None and choice.required else self._encoding.allowed_tools()
        declarations: dict[str, Json] = {}
        for tool in offered:
            if isinstance(tool, ServerTool):
                continue
            name = self._names.send(tool.name)
            if name in declarations:
                self._encoding.drop(f"tools.{tool.name}", "declared twice")
            else:
                declarations[name] = self._tool(name, tool)
        return list(declarations.values())

    def _tool(self, name: str, tool: Tool) -> Json:
        """A function. Its schema goes as JSON Schema, which every Gemini since 2.0 reads as it is.

        The older `parameters` would lose number enums, null types, references and constraints.
        """
        if tool.strict:
            self._encoding.drop("tools.strict", "Gemini cannot promise it")
        if tool.cache is not None:
            self._encoding.drop("cache_control", "Gemini caches by itself")
        if tool.deferred:
            self._encoding.drop("defer_loading", "all tools are offered at once")
        description, schema = tool.description, tool.schema
        if tool.kind == "custom":
            description, schema = stand_ins.custom_tool_description(tool), stand_ins.CUSTOM_TOOL_SCHEMA
        declaration: Json = {"name": name, **self._encoding.tool_extras(tool)}
        if description:
            declaration["description"] = description
        if schema is not None:
            declaration["parametersJsonSchema"] = as_object(schema)
        return declaration

    def _server_tool(self, tool: ServerTool, *, beside_functions: bool) -> list[Json]:
        """An entry for `tools`, where it has a counterpart here."""
        if tool.origin == FORMAT:
            return [tool.raw]
        if tool.name not in _SERVER_TOOL_FIELDS:
            self._encoding.drop_foreign(tool)
            return []
        if beside_functions:
            # Old models refuse the mix; new ones want each part of it back, which only Gemini clients do.
            self._encoding.drop(f"tools.{tool.name}", "Gemini does not take it beside functions")
            return []
        limits = {
            "allowed_domains": tool.allowed_domains,
            "blocked_domains": tool.blocked_domains,
            "user_location": tool.location,
            "max_uses": tool.max_uses,
        }
        for name, value in limits.items():
            if value:
                self._encoding.drop(f"tools.{tool.name}.{name}", "Gemini cannot limit it so")
        return [{_SERVER_TOOL_FIELDS[tool.name]: {}}]

    def _tool_choice(self) -> Json | None:
        choice = self._request.tool_choice
        if choice is None:
            return None
        match choice.mode:
            case "none":
                return {"mode": "NONE"}
            case "required":
                return {"mode": "ANY"}
            case "named" | "allowed" if choice.mode == "named" or choice.required:
                return self._chosen(choice)
            case _:
                return {"mode": "AUTO"}

    def _chosen(self, choice: ToolChoice) -> Json | None:
        declared = {tool.name for tool in self._request.tools if isinstance(tool, Tool)}
        names = [self._names.send(name) for name in choice.names if name in declared]
        if not names:
            self._encoding.drop("tool_choice", f"{', '.join(choice.names)} is no function")
            return None
        return {"mode": "ANY", "allowedFunctionNames": names}

    # ------------------------------------------------------------ settings

    def _write_sampling(self) -> None:
        sampling = self._request.sampling
        stop = [text for text in sampling.stop or () if text]
        if len(stop) > _MAX_STOPS:
            self._encoding.drop("stop", f"only the first {_MAX_STOPS} sequences fit")
        self._settings |= present(
            maxOutputTokens=self._encoding.max_tokens(),
            temperature=sampling.temperature,
            topP=sampling.top_p,
            topK=sampling.top_k,
            stopSequences=stop[:_MAX_STOPS] or None,
            seed=None if sampling.seed is None else sampling.seed % _SEED_RANGE,
            presencePenalty=sampling.presence_penalty,
            frequencyPenalty=sampling.frequency_penalty,
            candidateCount=self._encoding.candidates(),
        )
        logprobs, top_logprobs = sampling.logprobs, sampling.top_logprobs
        if self._own:
            self._settings |= present(responseLogprobs=logprobs, logprobs=top_logprobs)
            return
        self._encoding.drop_settings("the way back has no place for them", logprobs=logprobs or top_logprobs or None)

    def _write_reasoning(self) -> None:
        intent = self._request.reasoning
        setting = reasoning.fit(intent, self._facts, cross=not self._own)
        if setting is None:
            self._encoding.drop_settings(f"{self._facts.name} does not think", reasoning=intent)
            return
        config: Json = {}
        asked = setting.effort is not None or setting.budget is not None or setting.adaptive
        if self._takes_levels and setting.effort is not None:
            config["thinkingLevel"] = self._level(setting.effort)
        elif setting.budget is not None:
            config["thinkingBudget"] = setting.budget
        visible = setting.visible if setting.visible is not None else (True if asked else None)
        if setting.on and visible is not None:
            config["includeThoughts"] = visible
        if config:
            self._settings["thinkingConfig"] = config

    def _level(self, effort: Effort) -> str:
        levels = self._facts.thinking.levels if self._facts.thinking else ()
        if effort == "none" and levels:
            effort = min(levels, key=reasoning.EFFORTS.index)
        return "XHIGH" if effort == "xhigh" and effort in levels else _LEVELS[effort]

    def _write_output(self, *, calls_functions: bool) -> list[Json]:
        """Ask for JSON; returns the instruction that must do where the model cannot be held to it."""
        output = self._request.output
        if output is None or output.kind == "text":
            return []
        if calls_functions and self._is_old:
            what = f"{self._facts.name} takes it beside functions only as an instruction"
            self._encoding.drop("response_format", what)
            return [{"text": stand_ins.output_instruction(output)}]
        self._settings["responseMimeType"] = "application/json"
        if output.kind == "json_schema" and output.schema is not None:
            self._settings["responseJsonSchema"] = output.schema
        return []

    def _write_settings(self) -> None:
        request = self._request
        modalities = [word.upper() for word in request.modalities or ()]
        if modalities and modalities != ["TEXT"]:
            self._settings["responseModalities"] = modalities
        tier = request.service_tier
        if tier in _SERVICE_TIERS:
            self._body["serviceTier"] = tier
        elif tier is not None and tier not in _DEFAULT_TIERS:
            self._encoding.drop("service_tier", f"Gemini has no tier {tier!r}")
        self._encoding.drop_settings(
            "Gemini has no such setting", verbosity=request.verbosity, prompt_cache_key=request.cache_key
        )

    def _write_account(self) -> None:
        """Who asks, and what is kept of it."""
        request = self._request
        self._encoding.drop_settings(
            "Gemini has no such setting",
            user=request.user,
            metadata=request.metadata,
            store=request.store,
            previous_response_id=request.previous_response_id,
        )

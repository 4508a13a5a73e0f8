"""`Request` → a Chat Completions body."""

from cliproxy.wire import openai_settings, reasoning, stand_ins
from cliproxy.wire.encoding import Encoding, present
from cliproxy.wire.model import Encoded, Json, ModelFacts, Request, ServerTool, Tool
from cliproxy.wire.names import ToolNames
from cliproxy.wire.openai_chat.conversation_encoder import ConversationEncoder, marked
from cliproxy.wire.openai_chat.vocabulary import FORMAT
from cliproxy.wire.schema import as_object

_MAX_STOPS = 4


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a request whose turns are in order (`history.repair`).

    Raises UnsupportedContent for content that a chat message or this model cannot take, ClientFault for a
    reasoning level that a chat client asked for and the model does not take.
    """
    names = ToolNames(openai_settings.NAME_LIMIT, openai_settings.NAME_CHARS)
    return _Encoder(Encoding(request, facts, FORMAT, names)).encoded()


class _Encoder:
    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._facts = encoding.facts
        self._names = encoding.names
        self._own = encoding.own
        self._body: Json = {"model": encoding.facts.name}

    def encoded(self) -> Encoded:
        self._body["messages"] = ConversationEncoder(self._encoding).messages()
        self._write_tools()
        self._write_sampling()
        self._write_reasoning()
        self._write_output()
        self._write_settings()
        self._write_account()
        self._body["stream"] = self._request.stream
        if self._request.stream:
            self._body["stream_options"] = {"include_usage": True}
        self._encoding.write_extras(self._body, "Chat Completions has nothing like it")
        return self._encoding.encoded(self._body)

    # ------------------------------------------------------------ tools

    def _write_tools(self) -> None:
        # Compatible servers do not know `allowed_tools`.
        offered = self._request.tools if self._own else self._encoding.allowed_tools()
        tools: list[Json] = []
        for tool in offered:
            tools += self._server_tool(tool) if isinstance(tool, ServerTool) else [self._tool(tool)]
        if not tools:
            return
        self._body["tools"] = tools
        choice = self._tool_choice({tool.name: tool for tool in offered if isinstance(tool, Tool)})
        if choice is not None:
            self._body["tool_choice"] = choice
        if self._request.parallel_calls is not None:
            self._body["parallel_tool_calls"] = self._request.parallel_calls

    def _tool(self, tool: Tool) -> Json:
        name, extras = self._names.send(tool.name), self._encoding.tool_extras(tool)
        if tool.deferred:
            self._encoding.drop("defer_loading", "all tools are offered at once")
        if tool.kind == "custom" and self._own:
            format = None if tool.grammar is None else _nested_grammar(tool.grammar)
            custom = present(name=name, description=tool.description, format=format) | extras
            return marked(self._encoding, {"type": "custom", "custom": custom}, tool.cache)
        description, schema = tool.description, tool.schema
        if tool.kind == "custom":
            # Few compatible servers know custom tools; a function of one string says the same to all.
            description, schema = stand_ins.custom_tool_description(tool), stand_ins.CUSTOM_TOOL_SCHEMA
        function = present(name=name, description=description, parameters=as_object(schema), strict=tool.strict)
        return marked(self._encoding, {"type": "function", "function": function | extras}, tool.cache)

    def _server_tool(self, tool: ServerTool) -> list[Json]:
        """An entry for `tools`, where it belongs there at all."""
        if tool.origin == FORMAT:
            if "web_search_options" not in tool.raw:
                return [tool.raw]
            self._body.update(tool.raw)
        elif tool.name == "web_search" and "search" in self._facts.name:
            # Only OpenAI's search models (`gpt-…-search-…`) take it; the others answer 400.
            location = {"type": "approximate", "approximate": tool.location}
            self._body["web_search_options"] = {"user_location": location} if tool.location else {}
        else:
            self._encoding.drop_foreign(tool)
        return []

    def _tool_choice(self, offered: dict[str, Tool]) -> str | Json | None:
        choice = self._request.tool_choice
        if choice is None:
            return None
        if choice.mode == "allowed":
            mode = "required" if choice.required else "auto"
            if not self._own:
                return mode
            tools = [self._chosen(name, offered) for name in choice.names]
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
        if choice.mode != "named":
            return choice.mode
        if choice.names and choice.names[0] in offered:
            return self._chosen(choice.names[0], offered)
        self._encoding.drop("tool_choice", "the tool that it names is not offered here")
        return None

    def _chosen(self, name: str, offered: dict[str, Tool]) -> Json:
        sent = self._names.send(name)
        if self._own and name in offered and offered[name].kind == "custom":
            return {"type": "custom", "custom": {"name": sent}}
        return {"type": "function", "function": {"name": sent}}

    # ------------------------------------------------------------ settings

    def _write_sampling(self) -> None:
        sampling, max_tokens = self._request.sampling, self._encoding.max_tokens()
        if max_tokens is not None:
            self._body[self._max_tokens_field()] = max_tokens
        stop = sampling.stop
        if stop is not None and len(stop) > _MAX_STOPS and not self._own:
            self._encoding.drop("stop", f"only the first {_MAX_STOPS} sequences fit")
            stop = stop[:_MAX_STOPS]
        self._body |= present(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=stop,
            seed=sampling.seed,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            n=self._encoding.candidates(),
        )
        logprobs, top_logprobs = sampling.logprobs, sampling.top_logprobs
        if self._own:
            self._body |= present(top_k=sampling.top_k, logprobs=logprobs, top_logprobs=top_logprobs)
            return
        self._encoding.drop_settings("OpenAI refuses it", top_k=sampling.top_k)
        self._encoding.drop_settings("the way back has no place for them", logprobs=logprobs or top_logprobs or None)

    def _max_tokens_field(self) -> str:
        """`max_tokens` is what every compatible server knows; OpenAI's reasoning models want its successor.

        Of an unknown model a client of this format may know more; else the older name is the safer guess.
        """
        reasons = self._facts.known and self._facts.thinking is not None
        said = self._own and self._request.raw.get("max_completion_tokens") is not None
        return "max_completion_tokens" if reasons or said else "max_tokens"

    def _write_reasoning(self) -> None:
        setting = reasoning.fit(self._request.reasoning, self._facts, cross=not self._own)
        effort = None if setting is None else openai_settings.effort(setting)
        if effort is not None:
            self._body["reasoning_effort"] = effort

    def _write_output(self) -> None:
        output = self._request.output
        if output is None:
            return
        if output.kind != "json_schema" or output.schema is None:
            kind = "json_object" if output.kind == "json_schema" else output.kind
            self._body["response_format"] = {"type": kind}
            return
        schema = present(
            name=openai_settings.schema_name(output),
            description=output.description,
            schema=output.schema,
            strict=output.strict,
        )
        self._body["response_format"] = {"type": "json_schema", "json_schema": schema}

    def _write_settings(self) -> None:
        request = self._request
        self._body |= present(verbosity=request.verbosity, prompt_cache_key=request.cache_key)
        modalities = request.modalities
        if modalities is not None and not self._own:
            if "audio" in modalities:
                self._encoding.drop("modalities", "spoken answers have no counterpart in other formats")
            modalities = [word for word in modalities if word != "audio"]
        if modalities and (self._own or modalities != ["text"]):
            self._body["modalities"] = modalities
        tier = request.service_tier
        if tier is not None and (self._own or tier in openai_settings.SERVICE_TIERS):
            self._body["service_tier"] = tier
        elif tier is not None:
            self._encoding.drop("service_tier", f"OpenAI has no tier {tier!r}")

    def _write_account(self) -> None:
        """Who asks, and what is kept of it."""
        request = self._request
        if self._own:
            self._body |= present(user=request.user, store=request.store, metadata=request.metadata)
            return
        if request.user is not None:
            self._body["user"] = openai_settings.short_user(request.user)
        # `store` means another thing in Responses, and OpenAI takes metadata only together with it.
        self._encoding.drop_settings("keeps dashboards here, not conversations", store=request.store)
        self._encoding.drop_settings("taken only with store", metadata=request.metadata)
        previous = request.previous_response_id
        self._encoding.drop_settings("chat servers keep no conversations", previous_response_id=previous)


def _nested_grammar(grammar: Json) -> Json:
    """The model keeps the flat shape of Responses; chat wraps a grammar once more."""
    if grammar.get("type") != "grammar":
        return grammar
    return {"type": "grammar", "grammar": {key: value for key, value in grammar.items() if key != "type"}}

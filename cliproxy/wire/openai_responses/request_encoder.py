"""`Request` → a body of `POST /v1/responses` for an upstream that keeps nothing between requests."""

from cliproxy.wire import openai_settings, reasoning
from cliproxy.wire.encoding import Encoding, present
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Encoded, Json, ModelFacts, OutputFormat, Request, ServerTool, Tool, ToolChoice
from cliproxy.wire.names import ToolNames
from cliproxy.wire.openai_responses.conversation_encoder import ConversationEncoder
from cliproxy.wire.openai_responses.vocabulary import FORMAT
from cliproxy.wire.schema import as_object

_MIN_OUTPUT_TOKENS = 16
"""The API refuses a lower `max_output_tokens`."""

_SHARED_WITH_CHAT = ("prompt_cache_retention", "prompt_cache_options", "moderation", "safety_identifier")
"""Fields of the same name and meaning in both of OpenAI's formats."""


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a request whose turns are in order (`history.repair`).

    Raises UnsupportedContent for content that the API or the model cannot take, ClientFault for a reasoning level
    that a Responses client asked for and the model does not take.
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
        conversation = ConversationEncoder(self._encoding)
        instructions, items = conversation.instructions_and_items()
        if instructions:
            self._body["instructions"] = instructions
        self._body["input"] = items
        self._write_tools()
        self._write_sampling()
        self._write_reasoning()
        self._write_output()
        self._write_settings()
        self._write_account()
        self._write_include(has_own_reasoning=conversation.has_own_reasoning)
        self._body["stream"] = self._request.stream
        return self._encoding.encoded(self._body)

    # ------------------------------------------------------------ tools

    def _write_tools(self) -> None:
        tools: list[Json] = []
        for tool in self._request.tools:
            if isinstance(tool, ServerTool):
                tools += self._server_tool(tool)
            elif tool.namespace is None:
                tools.append(self._tool(tool))
            else:
                self._namespace(tools, tool.namespace)["tools"].append(self._tool(tool))
        choice = self._request.tool_choice
        if not tools:
            self._encoding.drop_settings("no tool is offered", tool_choice=choice)
            return
        self._body["tools"] = tools
        if choice is not None:
            self._body["tool_choice"] = self._tool_choice(choice)
        if self._request.parallel_calls is not None:
            self._body["parallel_tool_calls"] = self._request.parallel_calls

    def _tool(self, tool: Tool) -> Json:
        if tool.cache is not None:
            self._encoding.drop("cache_control", "the API caches by itself")
        written: Json = {"type": tool.kind, "name": self._names.send(tool.name), **self._encoding.tool_extras(tool)}
        if tool.description is not None:
            written["description"] = tool.description
        if tool.kind == "custom":
            return written if tool.grammar is None else {**written, "format": tool.grammar}
        written["parameters"] = as_object(tool.schema)
        # The API takes an absent `strict` for true, the other formats for false.
        if tool.strict is not None or not self._own:
            written["strict"] = bool(tool.strict)
        if tool.deferred and self._own:
            written["defer_loading"] = True
        elif tool.deferred:
            self._encoding.drop("defer_loading", "all tools are offered at once")
        return written

    def _namespace(self, tools: list[Json], name: str) -> Json:
        """The namespace among `tools`, made where there is none yet."""
        for tool in tools:
            if tool["type"] == "namespace" and tool["name"] == name:
                return tool
        description = self._namespace_description(name)
        tools.append({"type": "namespace", "name": name, "description": description, "tools": []})
        return tools[-1]

    def _namespace_description(self, name: str) -> str:
        given = objects_of(self._request.raw, "tools")
        for item in objects_of(self._request.raw, "input"):
            if text_of(item, "type") == "additional_tools":
                given += objects_of(item, "tools")
        found = (text_of(tool, "description") for tool in given if text_of(tool, "name") == name)
        return next(found, "")

    def _server_tool(self, tool: ServerTool) -> list[Json]:
        """An entry for `tools`, where it has a counterpart here."""
        if tool.origin == FORMAT:
            return [tool.raw]
        if tool.name != "web_search":
            self._encoding.drop_foreign(tool)
            return []
        written: Json = {"type": "web_search"}
        if tool.allowed_domains:
            written["filters"] = {"allowed_domains": tool.allowed_domains}
        if tool.location:
            written["user_location"] = {"type": "approximate", **tool.location}
        if tool.blocked_domains:
            self._encoding.drop("web_search.blocked_domains", "the search only takes allowed domains")
        if tool.max_uses is not None:
            self._encoding.drop("web_search.max_uses", "the search has no limit of its own")
        return [written]

    def _tool_choice(self, choice: ToolChoice) -> str | Json:
        if choice.mode not in ("named", "allowed"):
            return choice.mode
        if not choice.names:
            return "required" if choice.required or choice.mode == "named" else "auto"
        chosen = [self._chosen(name) for name in choice.names]
        # Only some of the hosted tools can be named outside a list, and `web_search` is none of them.
        if choice.mode == "named" and (self._own or chosen[0]["type"] in ("function", "custom")):
            return chosen[0]
        mode = "required" if choice.required or choice.mode == "named" else "auto"
        return {"type": "allowed_tools", "mode": mode, "tools": chosen}

    def _chosen(self, name: str) -> Json:
        for tool in self._request.tools:
            if tool.name != name:
                continue
            if isinstance(tool, ServerTool):
                return {"type": text_of(tool.raw, "type") if tool.origin == FORMAT else name}
            return {"type": tool.kind, "name": self._names.send(name)}
        return {"type": "function", "name": self._names.send(name)}

    # ------------------------------------------------------------ settings

    def _write_sampling(self) -> None:
        sampling, max_tokens = self._request.sampling, self._encoding.max_tokens()
        if max_tokens is not None:
            if max_tokens < _MIN_OUTPUT_TOKENS:
                self._encoding.drop("max_tokens", f"{max_tokens} is less than the API's least, {_MIN_OUTPUT_TOKENS}")
            self._body["max_output_tokens"] = max(_MIN_OUTPUT_TOKENS, max_tokens)
        self._body |= present(temperature=sampling.temperature, top_p=sampling.top_p)
        if self._own:
            self._body |= present(top_logprobs=sampling.top_logprobs)
            return
        self._encoding.candidates()
        self._encoding.drop_settings(
            "not in the Responses API",
            top_k=sampling.top_k,
            stop=sampling.stop,
            seed=sampling.seed,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
        )
        logprobs, top_logprobs = sampling.logprobs, sampling.top_logprobs
        self._encoding.drop_settings("the way back has no place for them", logprobs=logprobs or top_logprobs or None)

    def _write_reasoning(self) -> None:
        written: Json = {}
        if self._own:
            own = object_of(self._request.raw, "reasoning")
            written = {k: v for k, v in own.items() if k not in ("effort", "summary", "generate_summary")}
        setting = reasoning.fit(self._request.reasoning, self._facts, cross=not self._own)
        if setting is not None:
            effort = openai_settings.effort(setting)
            if effort is not None:
                written["effort"] = effort
            summary = setting.summary or ("auto" if setting.visible else None)
            if summary is not None and setting.on:
                written["summary"] = summary
        if written:
            self._body["reasoning"] = written
        else:
            self._encoding.drop_settings(f"{self._facts.name} has no such setting", reasoning=self._request.reasoning)

    def _write_output(self) -> None:
        """The output's format and verbosity."""
        text = present(verbosity=self._request.verbosity)
        if self._request.output is not None:
            text["format"] = _output(self._request.output)
        if text:
            self._body["text"] = text

    def _write_settings(self) -> None:
        request = self._request
        self._body |= present(prompt_cache_key=request.cache_key)
        tier = "default" if request.service_tier == "standard_only" else request.service_tier
        if tier is not None and (self._own or tier in openai_settings.SERVICE_TIERS):
            self._body["service_tier"] = tier
        elif tier is not None:
            self._encoding.drop("service_tier", f"OpenAI has no tier {tier!r}")
        if not self._own:
            modalities = [word for word in request.modalities or [] if word != "text"]
            self._encoding.drop_settings("not in the Responses API", modalities=modalities)
        if request.origin == "openai-chat":
            self._body |= {key: value for key, value in request.extras.items() if key in _SHARED_WITH_CHAT}
        self._encoding.write_extras(self._body, "not in the Responses API")

    def _write_account(self) -> None:
        """Who asks, and what is kept of it."""
        request = self._request
        self._body |= present(metadata=request.metadata or None)
        if self._own:
            previous = request.previous_response_id
            self._body |= present(user=request.user, store=request.store, previous_response_id=previous)
            return
        if request.user is not None:
            self._body["user"] = openai_settings.short_user(request.user)
        self._body["store"] = bool(request.store)

    def _write_include(self, *, has_own_reasoning: bool) -> None:
        """Encrypted reasoning is to be asked for where nothing is stored; models without any refuse that."""
        if self._own:
            given = self._request.raw.get("include")
            if isinstance(given, list) and given:
                self._body["include"] = given
            return
        reasons = self._facts.thinking is not None or "reasoning" in self._body or has_own_reasoning
        if reasons and not self._body["store"]:
            self._body["include"] = ["reasoning.encrypted_content"]


def _output(output: OutputFormat) -> Json:
    if output.kind != "json_schema":
        return {"type": output.kind}
    name, schema = openai_settings.schema_name(output), output.schema or {"type": "object"}
    return {
        "type": "json_schema",
        "name": name,
        "schema": schema,
        **present(strict=output.strict, description=output.description),
    }

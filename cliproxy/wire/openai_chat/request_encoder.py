"""`Request` → a Chat Completions body."""

import hashlib
import re
from typing import Any

from cliproxy.wire import reasoning
from cliproxy.wire.model import (
    Encoded,
    Json,
    ModelFacts,
    OutputFormat,
    Request,
    ServerTool,
    Tool,
    ToolChoice,
)
from cliproxy.wire.names import ToolNames
from cliproxy.wire.openai_chat.messages import Messages, cache_control
from cliproxy.wire.openai_chat.vocabulary import FORMAT
from cliproxy.wire.schema import as_object

_NAME_LIMIT = 64
_NAME_CHARS = "a-zA-Z0-9_-"

_MAX_STOPS = 4
_MAX_USER_CHARS = 64

_SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})

_ILLEGAL_IN_NAME = re.compile(f"[^{_NAME_CHARS}]")

_CUSTOM_INPUT: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a request whose turns are in order (`history.repair`).

    Raises UnsupportedContent for content that a chat message or this model cannot take, ClientFault for a
    reasoning level that a chat client asked for and the model does not take.
    """
    return _Encoder(request, facts).encoded()


class _Encoder:
    def __init__(self, request: Request, facts: ModelFacts) -> None:
        self._request = request
        self._facts = facts
        self._names = ToolNames(_NAME_LIMIT, _NAME_CHARS)
        self._dropped: dict[str, None] = {}
        # A client of this format wrote its extensions for a server that it knows; others' servers get none.
        self._own = request.origin == FORMAT
        self._body: Json = {"model": facts.name}

    def encoded(self) -> Encoded:
        request = self._request
        self._body["messages"] = Messages(request, self._facts, self._names, self._dropped).encoded()
        self._tools()
        self._max_tokens()
        self._sampling()
        self._reasoning()
        self._output(request.output)
        self._settings()
        self._identity()
        self._body["stream"] = request.stream
        if request.stream:
            self._body["stream_options"] = {"include_usage": True}
        for name, value in request.extras.items():
            if self._own:
                self._body.setdefault(name, value)
            else:
                self._drop(name, "Chat Completions has nothing like it")
        return Encoded(self._body, list(self._dropped), self._names.restored)

    # ------------------------------------------------------------ tools

    def _tools(self) -> None:
        request, choice = self._request, self._request.tool_choice
        offered = request.tools
        if choice is not None and choice.mode == "allowed" and not self._own:
            # Compatible servers do not know `allowed_tools`, but a tool that is not offered is not called.
            offered = [tool for tool in offered if isinstance(tool, ServerTool) or tool.name in choice.names]
        tools: list[Json] = []
        for tool in offered:
            if isinstance(tool, ServerTool):
                tools += self._server_tool(tool)
            else:
                tools.append(self._tool(tool))
        if not tools:
            return
        self._body["tools"] = tools
        self._tool_choice(choice, {tool.name: tool for tool in offered if isinstance(tool, Tool)})
        if request.parallel_calls is not None:
            self._body["parallel_tool_calls"] = request.parallel_calls

    def _tool(self, tool: Tool) -> Json:
        description = tool.description
        if tool.deferred:
            self._drop("defer_loading", "all tools are offered at once")
        if tool.kind == "custom" and self._own:
            custom = _present(name=self._names.send(tool.name), description=description)
            if tool.grammar is not None:
                custom["format"] = _nested_grammar(tool.grammar)
            return self._marked({"type": "custom", "custom": custom}, tool)
        schema = as_object(tool.schema)
        if tool.kind == "custom":
            # Few compatible servers know custom tools; a function of one string says the same to all.
            schema = _CUSTOM_INPUT
            grammar = (tool.grammar or {}).get("definition")
            if grammar:
                description = f"{description or ''}\n\nThe input must match this grammar:\n{grammar}".lstrip()
        function = _present(
            name=self._names.send(tool.name), description=description, parameters=schema, strict=tool.strict
        )
        return self._marked({"type": "function", "function": function}, tool)

    def _marked(self, entry: Json, tool: Tool) -> Json:
        if tool.cache is not None and self._own:
            entry["cache_control"] = cache_control(tool.cache)
        elif tool.cache is not None:
            self._drop("cache_control", "compatible servers cache by themselves, strict ones refuse it")
        return entry

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
            self._drop(f"tool {tool.name}", f"it runs at {tool.origin} and has no counterpart here")
        return []

    def _tool_choice(self, choice: ToolChoice | None, offered: dict[str, Tool]) -> None:
        if choice is None:
            return
        if choice.mode == "allowed":
            mode = "required" if choice.required else "auto"
            if self._own:
                tools = [self._named(name, offered) for name in choice.names]
                allowed: Any = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
                self._body["tool_choice"] = allowed
            else:
                self._body["tool_choice"] = mode
        elif choice.mode != "named":
            self._body["tool_choice"] = choice.mode
        elif choice.names and choice.names[0] in offered:
            self._body["tool_choice"] = self._named(choice.names[0], offered)
        else:
            self._drop("tool_choice", "the tool that it names is not offered here")

    def _named(self, name: str, offered: dict[str, Tool]) -> Json:
        sent = self._names.send(name)
        if self._own and name in offered and offered[name].kind == "custom":
            return {"type": "custom", "custom": {"name": sent}}
        return {"type": "function", "function": {"name": sent}}

    # ------------------------------------------------------------ settings

    def _max_tokens(self) -> None:
        limit, most = self._request.sampling.max_tokens, self._facts.max_output_tokens
        if limit is None:
            return
        if most is not None and limit > most:
            self._drop("max_tokens", f"cut to {most}, the most that {self._facts.name} writes")
            limit = most
        self._body[self._max_tokens_field()] = limit

    def _max_tokens_field(self) -> str:
        """`max_tokens` is what every compatible server knows; OpenAI's reasoning models want its successor.

        Of an unknown model a client of this format may know more; else the older name is the safer guess.
        """
        reasons = self._facts.known and self._facts.thinking is not None
        said = self._own and self._request.raw.get("max_completion_tokens") is not None
        return "max_completion_tokens" if reasons or said else "max_tokens"

    def _sampling(self) -> None:
        sampling = self._request.sampling
        stop = sampling.stop
        if stop is not None and len(stop) > _MAX_STOPS and not self._own:
            self._drop("stop", f"only the first {_MAX_STOPS} sequences fit")
            stop = stop[:_MAX_STOPS]
        self._body |= _present(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=stop,
            seed=sampling.seed,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            n=sampling.candidates,
            logprobs=sampling.logprobs,
            top_logprobs=sampling.top_logprobs,
        )
        if sampling.top_k is not None:
            if self._own:
                self._body["top_k"] = sampling.top_k
            else:
                self._drop("top_k", "OpenAI refuses it")

    def _reasoning(self) -> None:
        setting = reasoning.fit(self._request.reasoning, self._facts, cross=not self._own)
        if setting is None:
            return
        effort = setting.effort
        if effort is None and setting.budget is not None and setting.budget >= 0:
            effort = reasoning.effort_of(setting.budget)
        if effort is not None:
            self._body["reasoning_effort"] = effort

    def _output(self, output: OutputFormat | None) -> None:
        if output is None:
            return
        if output.kind != "json_schema" or output.schema is None:
            kind = "json_object" if output.kind == "json_schema" else output.kind
            self._body["response_format"] = {"type": kind}
            return
        name = _ILLEGAL_IN_NAME.sub("_", output.name or "response")[:_NAME_LIMIT]
        schema = _present(name=name, description=output.description, schema=output.schema, strict=output.strict)
        self._body["response_format"] = {"type": "json_schema", "json_schema": schema}

    def _settings(self) -> None:
        request = self._request
        self._body |= _present(verbosity=request.verbosity, prompt_cache_key=request.cache_key)
        modalities = request.modalities
        if modalities is not None and not self._own:
            if "audio" in modalities:
                self._drop("modalities", "spoken answers have no counterpart in other formats")
            modalities = [word for word in modalities if word != "audio"]
        if modalities and (self._own or modalities != ["text"]):
            self._body["modalities"] = modalities
        tier = request.service_tier
        if tier is not None and (self._own or tier in _SERVICE_TIERS):
            self._body["service_tier"] = tier
        elif tier is not None:
            self._drop("service_tier", f"OpenAI has no tier {tier!r}")

    def _identity(self) -> None:
        """Who asks, and what is kept of it."""
        request = self._request
        if request.user is not None:
            user = request.user
            if len(user) > _MAX_USER_CHARS and not self._own:
                # Claude Code's is a JSON object of three ids. What matters is that it stays the same.
                user = hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
            self._body["user"] = user
        if self._own:
            self._body |= _present(store=request.store, metadata=request.metadata)
            return
        # `store` means another thing in Responses, and OpenAI takes metadata only together with it.
        if request.store:
            self._drop("store", "keeps dashboards here, not conversations")
        if request.metadata:
            self._drop("metadata", "taken only with store")
        if request.previous_response_id is not None:
            self._drop("previous_response_id", "chat servers keep no conversations")

    def _drop(self, what: str, why: str) -> None:
        self._dropped[f"{what}: {why}"] = None


def _present(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _nested_grammar(grammar: Json) -> Json:
    """The model keeps the flat shape of Responses; chat wraps a grammar once more."""
    if grammar.get("type") != "grammar":
        return grammar
    return {"type": "grammar", "grammar": {key: value for key, value in grammar.items() if key != "type"}}

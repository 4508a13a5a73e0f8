"""`Request` → a Messages body."""

from cliproxy.wire import stand_ins
from cliproxy.wire.anthropic import strict_schema
from cliproxy.wire.anthropic.conversation_encoder import ConversationEncoder, marked
from cliproxy.wire.anthropic.thinking import Thinking, drop_final_thinking, encode_thinking
from cliproxy.wire.anthropic.vocabulary import FORMAT, NAME_CHARS, NAME_LIMIT, THINKING_TYPES
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.fields import object_of, text_of
from cliproxy.wire.model import (
    CacheHint,
    Encoded,
    Json,
    ModelFacts,
    OutputFormat,
    Request,
    ServerTool,
    Text,
    Tool,
    ToolChoice,
)
from cliproxy.wire.names import ToolNames
from cliproxy.wire.schema import as_object

_MAX_BREAKPOINTS = 4

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
    """Write a request whose turns are in order (`history.repair`).

    Raises UnsupportedContent for content that the API or the model cannot take, ClientFault for an effort or budget
    that an Anthropic client asked for and the model does not take.
    """
    return _Encoder(Encoding(request, facts, FORMAT, ToolNames(NAME_LIMIT, NAME_CHARS))).encoded()


class _Encoder:
    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._facts = encoding.facts
        self._names = encoding.names
        self._own = encoding.own
        self._body: Json = {"model": encoding.facts.name}

    def encoded(self) -> Encoded:
        self._write_system()
        self._body["messages"] = messages = ConversationEncoder(self._encoding).messages()
        self._write_tools(messages)
        thinking = encode_thinking(self._encoding, messages, self._body.get("tool_choice"))
        if not thinking.is_on():
            drop_final_thinking(messages)
        self._write_sampling(thinking)
        self._write_reasoning(thinking)
        self._write_output()
        self._write_settings()
        self._write_account()
        self._encoding.write_extras(self._body, "the Messages API has nothing like it")
        self._set_breakpoints()
        self._body["stream"] = self._request.stream
        return self._encoding.encoded(self._body)

    def _write_system(self) -> None:
        blocks = [
            marked({"type": "text", "text": part.text}, part.cache)
            for part in self._request.system
            if isinstance(part, Text) and part.text
        ]
        output = self._request.output
        if output is not None and output.kind != "text" and not _is_enforced(output):
            blocks.append({"type": "text", "text": stand_ins.output_instruction(output)})
        if blocks:
            self._body["system"] = blocks

    # ------------------------------------------------------------ tools

    def _write_tools(self, messages: list[Json]) -> None:
        tools = self._declarations()
        choice = self._tool_choice(tools)
        if not tools and (called := _called_names(messages)):
            # The API refuses calls in the history of a request that declares no tools.
            tools = [{"name": name, "input_schema": as_object(None)} for name in called]
            choice = {"type": "none"}
        if tools:
            self._body["tools"] = tools
        if choice is not None:
            self._body["tool_choice"] = choice

    def _declarations(self) -> list[Json]:
        tools: list[Json] = []
        names: set[str] = set()
        for tool in self._encoding.allowed_tools():
            written = self._server_tool(tool) if isinstance(tool, ServerTool) else self._tool(tool)
            if written is None:
                continue
            name = text_of(written, "name")
            if name in names:
                self._encoding.drop(f"tools.{tool.name}", "declared twice")
                continue
            if name:
                names.add(name)
            tools.append(written)
        return tools

    def _tool(self, tool: Tool) -> Json:
        written: Json = {"name": self._names.send(tool.name), **self._encoding.tool_extras(tool)}
        description, schema = tool.description, as_object(tool.schema)
        if tool.kind == "custom":
            description, schema = stand_ins.custom_tool_description(tool), stand_ins.CUSTOM_TOOL_SCHEMA
        if description:
            written["description"] = description
        if tool.strict and tool.kind == "function" and not strict_schema.has_maps(schema):
            schema = strict_schema.closed(schema)
            written["strict"] = True
        written["input_schema"] = schema
        if tool.deferred and self._own:
            written["defer_loading"] = True
        elif tool.deferred:
            # Of another origin it belongs to that vendor's search for tools: here nothing would load the tool.
            self._encoding.drop("defer_loading", "all tools are offered at once")
        return marked(written, tool.cache)

    def _server_tool(self, tool: ServerTool) -> Json | None:
        """An entry for `tools`, where it has a counterpart here."""
        if tool.origin == FORMAT:
            return dict(tool.raw)
        version = _SERVER_TOOL_TYPES.get(tool.name)
        if version is None:
            self._encoding.drop_foreign(tool)
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

    def _tool_choice(self, tools: list[Json]) -> Json | None:
        if not tools:
            self._encoding.drop_settings("no tool is offered", tool_choice=self._request.tool_choice)
            return None
        choice = self._chosen(self._request.tool_choice)
        if self._request.parallel_calls is False and (choice is None or choice["type"] != "none"):
            choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        if choice is None or choice["type"] != "tool" or any(tool.get("name") == choice["name"] for tool in tools):
            return choice
        self._encoding.drop("tool_choice", "the tool that it names is not offered here")
        return None

    def _chosen(self, choice: ToolChoice | None) -> Json | None:
        if choice is None:
            return None
        match choice.mode:
            case "auto" | "none" as mode:
                return {"type": mode}
            case "required":
                return {"type": "any"}
            case "named":
                return {"type": "tool", "name": self._names.send(choice.names[0])} if choice.names else {"type": "any"}
            case "allowed":
                return {"type": "any" if choice.required else "auto"}

    # ------------------------------------------------------------ settings

    def _write_sampling(self, thinking: Thinking) -> None:
        sampling = self._request.sampling
        self._body["max_tokens"] = thinking.max_tokens
        stop = [text for text in sampling.stop or [] if text.strip()]
        if stop:
            self._body["stop_sequences"] = stop
        if len(stop) < len(sampling.stop or []):
            self._encoding.drop("stop", "a stop sequence must hold more than whitespace")
        temperature = sampling.temperature
        if temperature is not None and temperature > 1:
            self._encoding.drop("temperature", "at most 1")
            temperature = 1
        for name, value in {"temperature": temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}.items():
            if value is None:
                continue
            reason = thinking.refusal(name, value)
            if self._refuses_sampling():
                reason = f"{self._facts.name} takes no sampling settings"
            elif reason is None and name == "top_p" and "temperature" in self._body:
                reason = "newer models take temperature or top_p, not both"
            if reason is None:
                self._body[name] = value
            else:
                self._encoding.drop(name, reason)
        self._encoding.candidates()
        self._encoding.drop_settings(
            "the Messages API has no such setting",
            seed=sampling.seed,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            logprobs=sampling.logprobs or sampling.top_logprobs or None,
        )

    def _refuses_sampling(self) -> bool:
        """Anthropic's models that take effort but no budget (Opus 4.7 and later) refuse all sampling settings."""
        thinking = self._facts.thinking
        return thinking is not None and bool(thinking.levels) and thinking.min is None and thinking.max is None

    def _write_reasoning(self, thinking: Thinking) -> None:
        if thinking.config is not None:
            self._body["thinking"] = thinking.config
        if thinking.effort is not None:
            self._body["output_config"] = {"effort": thinking.effort}

    def _write_output(self) -> None:
        output = self._request.output
        if output is None or not _is_enforced(output):
            return
        schema = strict_schema.closed(output.schema or {})
        if output.description:
            schema.setdefault("description", output.description)
        self._body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}

    def _write_settings(self) -> None:
        request = self._request
        if request.service_tier is not None:
            tier = _SERVICE_TIERS.get(request.service_tier)
            if tier is None:
                self._encoding.drop("service_tier", f"no counterpart for {request.service_tier}")
            else:
                self._body["service_tier"] = tier
        self._encoding.drop_settings(
            "the Messages API has no such setting",
            verbosity=request.verbosity,
            modalities=[word for word in request.modalities or [] if word != "text"],
        )

    def _write_account(self) -> None:
        """Who asks, and what is kept of it."""
        request = self._request
        if request.user:
            self._body["metadata"] = {"user_id": request.user}
        self._encoding.drop_settings(
            "the Messages API has no such setting",
            metadata=request.metadata,
            store=request.store,
            previous_response_id=request.previous_response_id,
        )

    def _set_breakpoints(self) -> None:
        """At most four marks to cache up to, long-lived ones first, as the API demands.

        OpenAI caches by itself where a client names a cache key; here the end of the instructions and of the
        conversation are marked for it.
        """
        body = self._body
        fixed: list[Json] = [*body.get("tools", ()), *body.get("system", ())]
        blocks = [*fixed, *(block for message in body["messages"] for block in message["content"])]
        marks = [block for block in blocks if object_of(block, "cache_control")]
        if not marks and self._request.cache_key and "cache_control" not in body:
            last = blocks[-1]
            for block in (*fixed[-1:], *(() if last["type"] in THINKING_TYPES else (last,))):
                marked(block, CacheHint())
            return
        for block in marks[:-_MAX_BREAKPOINTS]:
            del block["cache_control"]
        short_lived = False
        for block in marks[-_MAX_BREAKPOINTS:]:
            if block["cache_control"].get("ttl") != "1h":
                short_lived = True
            elif short_lived:
                block["cache_control"] = {"type": "ephemeral"}


def _called_names(messages: list[Json]) -> list[str]:
    blocks = (block for message in messages for block in message["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _is_enforced(output: OutputFormat) -> bool:
    """Whether the API can hold the model to the format; it has no word for any JSON at all."""
    return output.kind == "json_schema" and bool(output.schema) and not strict_schema.has_maps(output.schema)

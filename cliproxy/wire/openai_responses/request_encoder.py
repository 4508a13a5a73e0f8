"""Request → a body of `POST /v1/responses` for an upstream that keeps nothing between requests."""

import hashlib
import re
from typing import cast

from cliproxy.wire import media, names, reasoning, schema
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.model import (
    Carrier,
    Encoded,
    Json,
    Media,
    ModelFacts,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Refusal,
    Request,
    Role,
    ServerCall,
    ServerResult,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_responses.fields import object_of, objects_of, text_of
from cliproxy.wire.openai_responses.vocabulary import FORMAT, NAME_LEGAL, NAME_LIMIT, annotation_of

_CALL_ID_LIMIT = 64
_CALL_ID_LEGAL = "!-~"
_USER_LIMIT = 64
_MIN_OUTPUT_TOKENS = 16
"""The API refuses a lower `max_output_tokens`."""

_SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_SHARED_WITH_CHAT = ("prompt_cache_retention", "prompt_cache_options", "moderation", "safety_identifier")
"""Fields of the same name and meaning in both of OpenAI's formats."""

_ILLEGAL_IN_FORMAT_NAME = re.compile(r"[^a-zA-Z0-9_-]")

_TARGET = "Responses"


def encode_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a request whose turns history repair has gone over.

    Raises UnsupportedContent for content that the API or the model cannot take, ClientFault for a reasoning
    level that the model does not have.
    """
    encoder = _Encoder(request, facts)
    return Encoded(encoder.body(), encoder.dropped, encoder.names.restored)


class _Encoder:
    def __init__(self, request: Request, facts: ModelFacts) -> None:
        self.request = request
        self.facts = facts
        self.own = request.origin == FORMAT
        self.dropped: list[str] = []
        self.names = names.ToolNames(NAME_LIMIT, NAME_LEGAL)
        self.has_carrier = False

    def body(self) -> Json:
        request = self.request
        body: Json = {"model": self.facts.name}
        instructions, items = self._conversation()
        if instructions:
            body["instructions"] = instructions
        body["input"] = items
        body |= self._tools()
        body |= self._limits()
        body |= self._reasoning()
        body |= self._text()
        body |= self._account()
        if self.own:
            body |= {key: value for key, value in request.extras.items() if key != "include"}
        else:
            body["store"] = bool(request.store)
        include = self._include(body)
        if include:
            body["include"] = include
        body["stream"] = request.stream
        if not self.own:
            self._record_drops(body)
        return body

    # ---------------------------------------------------------------- conversation

    def _conversation(self) -> tuple[str | None, list[Json]]:
        """`instructions` and `input`. Another format's system prompt is the instructions as a whole."""
        system = self.request.system
        head = len(system)
        if self.own:
            head = 1 if text_of(self.request.raw, "instructions") else 0
        texts = [part.text for part in system[:head] if isinstance(part, Text) and part.text]
        rest: list[Part] = [*system[head:]]
        turns = [item for turn in self.request.turns for item in self._items(turn)]
        # Pictures have no place in instructions, and an empty input is refused.
        if not turns or not all(isinstance(part, Text) for part in system[:head]):
            texts = []
            rest = [*system]
        return "\n\n".join(texts) or None, self._items(Turn("system", rest)) + turns

    def _items(self, turn: Turn) -> list[Json]:
        """The items of one turn: neighbouring texts and media are one message."""
        items: list[Json] = []
        moved: list[Json] = []
        for part in turn.parts:
            match part:
                case Text() | Refusal() | Media():
                    self._add_content(items, turn.role, part)
                case ToolCall():
                    items.append(self._call(part))
                case ToolResult():
                    item, unheld = self._call_output(part)
                    items.append(item)
                    moved += unheld
                case Reasoning():
                    items += self._reasoning_item(part)
                case ServerCall() | ServerResult() | Opaque():
                    items += self._foreign_item(part)
        if moved:
            items.append(_message("user", moved))
        return items

    def _add_content(self, items: list[Json], role: Role, part: Text | Refusal | Media) -> None:
        if isinstance(part, Text) and not part.text:
            return
        if isinstance(part, Media) and role == "assistant":
            # The API has no pictures in the assistant's messages; the next best place is the user's.
            self.dropped.append(f"{part.kind} of the assistant: sent as the user's")
            role = "user"
        content = self._assistant_content(part) if role == "assistant" else self._input_content(part)
        wire_role = "developer" if role == "system" else role
        if not items or items[-1].get("role") != wire_role:
            items.append(_message(wire_role, []))
        items[-1]["content"].append(content)

    def _assistant_content(self, part: Text | Refusal | Media) -> Json:
        if isinstance(part, Refusal):
            return {"type": "refusal", "refusal": part.text}
        text = cast("Text", part)
        annotations = [annotation_of(citation, len(text.text)) for citation in text.citations]
        known = [annotation for annotation in annotations if annotation is not None]
        return {"type": "output_text", "text": text.text, "annotations": known}

    def _input_content(self, part: Text | Refusal | Media) -> Json:
        content: Json = self._media(part) if isinstance(part, Media) else _input_text(part.text)
        if self.own and not isinstance(part, Refusal) and part.cache is not None:
            content["prompt_cache_breakpoint"] = {"mode": "explicit"}
        return content

    def _call(self, part: ToolCall) -> Json:
        custom = part.kind == "custom"
        item: Json = {"type": "custom_tool_call" if custom else "function_call", "call_id": _call_id(part.id)}
        item["name"] = self.names.send(part.name)
        if part.namespace is not None:
            item["namespace"] = part.namespace
        item["input" if custom else "arguments"] = part.arguments
        return item

    def _call_output(self, part: ToolResult) -> tuple[Json, list[Json]]:
        """The item, and the content that it cannot hold."""
        if part.is_error:
            self.dropped.append("is_error: a call's output has no such mark")
        texts: list[str] = []
        held: list[Json] = []
        moved: list[Json] = []
        for entry in part.parts:
            if isinstance(entry, Opaque):
                self.dropped.append(f"{_type(entry)} in a tool result: unknown here")
                continue
            content = self._input_content(entry)
            if content["type"] == "input_audio":
                moved.append(content)
                continue
            held.append(content)
            if content["type"] == "input_text":
                texts.append(content["text"])
        kind = "custom_tool_call_output" if part.kind == "custom" else "function_call_output"
        output = "\n\n".join(texts) if len(texts) == len(held) and not (self.own and len(held) > 1) else held
        return {"type": kind, "call_id": _call_id(part.id), "output": output}, moved

    def _reasoning_item(self, part: Reasoning) -> list[Json]:
        carrier = part.carrier
        if carrier is None or carrier.origin != FORMAT:
            self.dropped.append("reasoning: only what this API has encrypted itself can be given back to it")
            return []
        self.has_carrier = True
        return [_encrypted_item(carrier, part.text)]

    def _foreign_item(self, part: ServerCall | ServerResult | Opaque) -> list[Json]:
        if part.origin == FORMAT:
            # What a call found stands in the call's own item.
            return [] if part.raw is None else [part.raw]
        name = _type(part) if isinstance(part, Opaque) else part.name
        self.dropped.append(f"{name}: ran at another vendor")
        return []

    # ---------------------------------------------------------------- media

    def _media(self, part: Media) -> Json:
        """Content of a message or a call's output."""
        modalities = self.facts.input_modalities
        if part.kind != "document" and modalities is not None and part.kind not in modalities:
            raise UnsupportedContent(f"{part.kind} input for the model {self.facts.name}", _TARGET)
        if part.file_id is not None and part.origin != FORMAT:
            raise UnsupportedContent(f"the uploaded file {part.file_id}", _TARGET)
        if part.url is not None and part.origin not in (None, FORMAT):
            raise UnsupportedContent(f"the file at {part.url}", _TARGET)
        if part.kind == "image":
            return _image(part)
        if part.kind == "document":
            return _document(part)
        if part.kind == "audio" and part.data is not None:
            audio = {"data": part.data, "format": media.audio_format(part.mime)}
            return {"type": "input_audio", "input_audio": audio}
        raise UnsupportedContent("video" if part.kind == "video" else "audio behind a URL", _TARGET)

    # ---------------------------------------------------------------- tools

    def _tools(self) -> Json:
        tools: list[Json] = []
        for tool in self.request.tools:
            if isinstance(tool, ServerTool):
                tools += self._server_tool(tool)
            elif tool.namespace is None:
                tools.append(self._tool(tool))
            else:
                self._namespace_of(tools, tool.namespace)["tools"].append(self._tool(tool))
        if not tools:
            return {}
        body: Json = {"tools": tools}
        if self.request.tool_choice is not None:
            body["tool_choice"] = self._tool_choice(self.request.tool_choice)
        if self.request.parallel_calls is not None:
            body["parallel_tool_calls"] = self.request.parallel_calls
        return body

    def _tool(self, tool: Tool) -> Json:
        described = {} if tool.description is None else {"description": tool.description}
        if tool.kind == "custom":
            grammar = {} if tool.grammar is None else {"format": tool.grammar}
            return {"type": "custom", "name": self.names.send(tool.name), **described, **grammar}
        written: Json = {"type": "function", "name": self.names.send(tool.name), **described}
        written["parameters"] = schema.as_object(tool.schema)
        # The API takes an absent `strict` for true, the other formats for false.
        if tool.strict is not None or not self.own:
            written["strict"] = bool(tool.strict)
        if tool.deferred and self.own:
            written["defer_loading"] = True
        return written

    def _namespace_of(self, tools: list[Json], name: str) -> Json:
        """The namespace among `tools`, made where there is none yet."""
        for tool in tools:
            if tool["type"] == "namespace" and tool["name"] == name:
                return tool
        description = self._namespace_description(name)
        tools.append({"type": "namespace", "name": name, "description": description, "tools": []})
        return tools[-1]

    def _namespace_description(self, name: str) -> str:
        given = objects_of(self.request.raw, "tools")
        for item in objects_of(self.request.raw, "input"):
            if text_of(item, "type") == "additional_tools":
                given += objects_of(item, "tools")
        found = (text_of(tool, "description") for tool in given if text_of(tool, "name") == name)
        return next(found, "")

    def _server_tool(self, tool: ServerTool) -> list[Json]:
        if tool.origin == FORMAT:
            return [tool.raw]
        if tool.name != "web_search":
            self.dropped.append(f"{tool.name}: a tool of another vendor")
            return []
        written: Json = {"type": "web_search"}
        if tool.allowed_domains:
            written["filters"] = {"allowed_domains": tool.allowed_domains}
        if tool.location:
            written["user_location"] = {"type": "approximate", **tool.location}
        if tool.blocked_domains:
            self.dropped.append("web_search.blocked_domains: the search only takes allowed domains")
        if tool.max_uses is not None:
            self.dropped.append("web_search.max_uses: the search has no limit of its own")
        return [written]

    def _tool_choice(self, choice: ToolChoice) -> str | Json:
        if choice.mode not in ("named", "allowed"):
            return choice.mode
        if not choice.names:
            return "required" if choice.required or choice.mode == "named" else "auto"
        chosen = [self._chosen(name) for name in choice.names]
        # Only some of the hosted tools can be named outside a list, and `web_search` is none of them.
        if choice.mode == "named" and (self.own or chosen[0]["type"] in ("function", "custom")):
            return chosen[0]
        mode = "required" if choice.required or choice.mode == "named" else "auto"
        return {"type": "allowed_tools", "mode": mode, "tools": chosen}

    def _chosen(self, name: str) -> Json:
        for tool in self.request.tools:
            if tool.name != name:
                continue
            if isinstance(tool, ServerTool):
                return {"type": text_of(tool.raw, "type") if tool.origin == FORMAT else name}
            return {"type": tool.kind, "name": self.names.send(name)}
        return {"type": "function", "name": self.names.send(name)}

    # ---------------------------------------------------------------- settings

    def _limits(self) -> Json:
        sampling = self.request.sampling
        limits: Json = {}
        if sampling.max_tokens is not None:
            most = self.facts.max_output_tokens or sampling.max_tokens
            limits["max_output_tokens"] = max(_MIN_OUTPUT_TOKENS, min(sampling.max_tokens, most))
        if sampling.temperature is not None:
            limits["temperature"] = sampling.temperature
        if sampling.top_p is not None:
            limits["top_p"] = sampling.top_p
        if sampling.top_logprobs is not None and self.own:
            limits["top_logprobs"] = sampling.top_logprobs
        return limits

    def _reasoning(self) -> Json:
        written: Json = {}
        if self.own:
            own = object_of(self.request.raw, "reasoning")
            written |= {k: v for k, v in own.items() if k not in ("effort", "summary", "generate_summary")}
        setting = reasoning.fit(self.request.reasoning, self.facts, cross=not self.own)
        if setting is not None:
            effort = setting.effort if setting.on else setting.effort or "none"
            if effort is None and setting.budget is not None and setting.budget > 0:
                effort = reasoning.effort_of(setting.budget)
            if effort is not None:
                written["effort"] = effort
            summary = setting.summary or ("auto" if setting.visible else None)
            if summary is not None and setting.on:
                written["summary"] = summary
        return {"reasoning": written} if written else {}

    def _text(self) -> Json:
        output = self.request.output
        written: Json = {}
        if self.request.verbosity is not None:
            written["verbosity"] = self.request.verbosity
        if output is not None:
            written["format"] = _format(output)
        return {"text": written} if written else {}

    def _account(self) -> Json:
        request = self.request
        written: Json = {}
        if request.user is not None:
            written["user"] = _short_user(request.user)
        if request.metadata:
            written["metadata"] = request.metadata
        if request.cache_key is not None:
            written["prompt_cache_key"] = request.cache_key
        tier = "default" if request.service_tier == "standard_only" else request.service_tier
        if tier is not None and (self.own or tier in _SERVICE_TIERS):
            written["service_tier"] = tier
        if self.own and request.store is not None:
            written["store"] = request.store
        if self.own and request.previous_response_id is not None:
            written["previous_response_id"] = request.previous_response_id
        if request.origin == "openai-chat":
            written |= {key: value for key, value in request.extras.items() if key in _SHARED_WITH_CHAT}
        return written

    def _include(self, body: Json) -> list[str]:
        """Encrypted reasoning is to be asked for where nothing is stored; models without any refuse that."""
        if self.own:
            given = self.request.raw.get("include")
            return cast("list[str]", given) if isinstance(given, list) else []
        reasons = self.facts.thinking is not None or "reasoning" in body or self.has_carrier
        return ["reasoning.encrypted_content"] if reasons and not body["store"] else []

    def _record_drops(self, body: Json) -> None:
        request, sampling = self.request, self.request.sampling
        lost = {
            "top_k": sampling.top_k is not None,
            "stop": bool(sampling.stop),
            "seed": sampling.seed is not None,
            "presence_penalty": sampling.presence_penalty is not None,
            "frequency_penalty": sampling.frequency_penalty is not None,
            "n": (sampling.candidates or 1) > 1,
            "logprobs": bool(sampling.logprobs or sampling.top_logprobs),
            "modalities": bool(set(request.modalities or []) - {"text"}),
            "service_tier": request.service_tier is not None and "service_tier" not in body,
            "tool_choice": request.tool_choice is not None and "tools" not in body,
            "reasoning": request.reasoning is not None and "reasoning" not in body,
            "cache_control": _has_cache_hint(request),
            **{key: key not in body for key in request.extras},
        }
        self.dropped += [f"{name}: not in the Responses API" for name, is_lost in lost.items() if is_lost]
        asked = sampling.max_tokens
        if asked is not None and body["max_output_tokens"] != asked:
            self.dropped.append(f"max_tokens: {asked} became {body['max_output_tokens']}")


def _message(role: str, content: list[Json]) -> Json:
    return {"type": "message", "role": role, "content": content}


def _input_text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _type(part: Opaque) -> str:
    return text_of(part.raw, "type") or "content"


def _call_id(id: str) -> str:
    return names.call_id(id, _CALL_ID_LIMIT, _CALL_ID_LEGAL)


def _encrypted_item(carrier: Carrier, text: str) -> Json:
    item: Json = {"type": "reasoning"}
    if carrier.id is not None:
        item["id"] = carrier.id
    item["summary"] = [{"type": "summary_text", "text": text}] if text else []
    item["encrypted_content"] = carrier.data
    return item


def _image(part: Media) -> Json:
    content: Json = {"type": "input_image"}
    url = part.url or media.data_url(part)
    if url is not None:
        content["image_url"] = url
    else:
        content["file_id"] = part.file_id
    content["detail"] = part.detail or "auto"
    return content


def _document(part: Media) -> Json:
    if part.text is not None:
        return _input_text(f"{part.name}\n\n{part.text}" if part.name else part.text)
    if part.file_id is not None:
        return {"type": "input_file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    name = part.name or f"document.{(part.mime or 'application/pdf').rpartition('/')[2]}"
    return {"type": "input_file", "filename": name, "file_data": media.data_url(part)}


def _format(output: OutputFormat) -> Json:
    written: Json = {"type": output.kind}
    if output.kind == "json_schema":
        written["name"] = _ILLEGAL_IN_FORMAT_NAME.sub("_", output.name or "response")[:NAME_LIMIT]
        written["schema"] = output.schema or {"type": "object"}
        if output.strict is not None:
            written["strict"] = output.strict
        if output.description is not None:
            written["description"] = output.description
    return written


def _short_user(user: str) -> str:
    """The API takes 64 characters; Claude Code's user ids are longer, and alike at the start."""
    return user if len(user) <= _USER_LIMIT else hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()


def _has_cache_hint(request: Request) -> bool:
    if any(isinstance(tool, Tool) and tool.cache is not None for tool in request.tools):
        return True
    parts = [*request.system, *(part for turn in request.turns for part in turn.parts)]
    return any(getattr(part, "cache", None) is not None for part in parts)

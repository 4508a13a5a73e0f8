"""A body of `POST /v1/responses` → Request."""

from collections.abc import Callable
from typing import Any, cast, get_args

from cliproxy.wire import envelope, media
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import (
    CacheHint,
    Carrier,
    Effort,
    Json,
    Media,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    ReasoningIntent,
    Refusal,
    Request,
    Role,
    Sampling,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_responses.fields import Fields, object_of, objects_of, text_of
from cliproxy.wire.openai_responses.summary import told
from cliproxy.wire.openai_responses.vocabulary import (
    FORMAT,
    SERVER_TOOL_NAMES,
    citation_of,
    hosted_parts,
    is_hosted,
    joined,
)

_EFFORTS: tuple[Effort, ...] = get_args(Effort)

_TYPED = frozenset({
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "temperature",
    "top_p", "top_logprobs", "max_output_tokens", "reasoning", "text", "stream", "user",
    "safety_identifier", "metadata", "service_tier", "prompt_cache_key", "store", "previous_response_id",
    "include",
})  # fmt: skip
"""Top-level fields with a place in the model; the others are extras."""

_INCLUDE_LOGPROBS = "message.output_text.logprobs"
_INCLUDE_UNDERSTOOD = frozenset({"reasoning.encrypted_content", _INCLUDE_LOGPROBS})

_KEPT_AT_OPENAI = {
    "prompt": "a prompt template is stored at OpenAI; send its text as `instructions` and `input`",
    "conversation": "a conversation is stored at OpenAI; send its items in `input`",
}

_USER_ITEM_ENDINGS = ("_output", "_response", "_trigger")
"""How the types of those items end that the client, not the model, has made."""


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Read a request. `model` and `stream` override the body's.

    Raises ClientFault for wrong types, unknown roles, and content that only OpenAI's servers hold.
    """
    fields = Fields(body, "")
    for key, reason in _KEPT_AT_OPENAI.items():
        if body.get(key) is not None:
            raise ClientFault(f"{key}: {reason}", code="unsupported_content", param=key)
    conversation = _Conversation()
    instructions = fields.string("instructions")
    if instructions:
        conversation.system.append(Text(instructions))
    tools = _tools(fields.children("tools"), None)
    _read_input(fields, conversation)
    text = fields.child("text")
    include = fields.strings("include") or []
    return Request(
        origin=FORMAT,
        model=model or fields.required("model"),
        turns=conversation.turns,
        system=conversation.system,
        tools=tools + conversation.tools,
        tool_choice=_tool_choice(fields),
        parallel_calls=fields.boolean("parallel_tool_calls"),
        sampling=Sampling(
            max_tokens=fields.integer("max_output_tokens"),
            temperature=fields.number("temperature"),
            top_p=fields.number("top_p"),
            logprobs=True if _INCLUDE_LOGPROBS in include else None,
            top_logprobs=fields.integer("top_logprobs"),
        ),
        reasoning=_reasoning_intent(fields.child("reasoning")),
        output=_output_format(text),
        verbosity=text.string("verbosity") if text else None,
        stream=bool(fields.boolean("stream")) if stream is None else stream,
        user=fields.string("user") or fields.string("safety_identifier"),
        metadata=_metadata(fields),
        service_tier=fields.string("service_tier"),
        cache_key=fields.string("prompt_cache_key"),
        store=fields.boolean("store"),
        previous_response_id=fields.string("previous_response_id"),
        extras=_extras(body, include),
        raw=body,
    )


def _extras(body: Json, include: list[str]) -> Json:
    extras = {key: value for key, value in body.items() if key not in _TYPED and value not in (None, False)}
    unknown = [entry for entry in include if entry not in _INCLUDE_UNDERSTOOD]
    if unknown:
        extras["include"] = unknown
    return extras


def _metadata(fields: Fields) -> dict[str, str] | None:
    metadata = fields.child("metadata")
    if metadata is None:
        return None
    return {key: metadata.string(key) or "" for key in metadata.object}


# ---------------------------------------------------------------- conversation


class _Conversation:
    """Collects the items of `input`: each is one part or a few, and neighbours of one role are one turn."""

    def __init__(self) -> None:
        self.system: list[Text | Media | Opaque] = []
        self.turns: list[Turn] = []
        self.tools: list[Tool | ServerTool] = []

    def add(self, role: Role, parts: list[Part]) -> None:
        if role == "system" and not self.turns:
            self.system.extend(part for part in parts if isinstance(part, Text | Media | Opaque))
        elif self.turns and self.turns[-1].role == role:
            self.turns[-1].parts.extend(parts)
        elif parts:
            self.turns.append(Turn(role, parts))

    def sign(self, carrier: Carrier) -> bool:
        """Give a token back to the call or text that it came with; False when it stands for itself.

        The API has no slot for a token on a call or a text, so the answer encoder sends it as a reasoning
        item after it, with the place in the carrier's id.
        """
        place = carrier.id or ""
        if not self.turns or self.turns[-1].role != "assistant":
            return False
        for part in reversed(self.turns[-1].parts):
            if (isinstance(part, ToolCall) and place == f"call:{part.id}") or (
                isinstance(part, Text) and place == "text"
            ):
                part.carrier = Carrier(carrier.origin, carrier.kind, carrier.data)
                return True
        return False


def _read_input(fields: Fields, conversation: _Conversation) -> None:
    value = fields.object.get("input")
    if isinstance(value, str):
        conversation.add("user", [Text(value)])
        return
    if value is not None and not isinstance(value, list):
        raise fields.fault("input", "a string or a list")
    items = fields.children("input")
    if not items and not fields.object.get("previous_response_id"):
        raise ClientFault("input is required: a string, or a list with at least one item", param="input")
    for item in items:
        item_type = item.string("type") or ("message" if "role" in item.object else "")
        if not item_type:
            raise ClientFault(f"{item.place('type')} is required", param=item.place("type"))
        _ITEMS.get(item_type, _read_other)(item, conversation)


def _read_message(item: Fields, conversation: _Conversation) -> None:
    role = item.required("role")
    if role not in _ROLES:
        raise item.fault("role", "one of user, assistant, system, developer")
    conversation.add(_ROLES[role], _content(item, "content"))


def _read_function_call(item: Fields, conversation: _Conversation) -> None:
    call = ToolCall(
        item.string("call_id") or item.string("id") or "",
        item.required("name"),
        item.string("arguments") or "{}",
        namespace=item.string("namespace"),
    )
    conversation.add("assistant", [call])


def _read_custom_call(item: Fields, conversation: _Conversation) -> None:
    call = ToolCall(
        item.string("call_id") or item.string("id") or "",
        item.required("name"),
        item.string("input") or "",
        kind="custom",
        namespace=item.string("namespace"),
    )
    conversation.add("assistant", [call])


def _read_call_output(item: Fields, conversation: _Conversation) -> None:
    parts = [part for part in _content(item, "output") if isinstance(part, Text | Media | Opaque)]
    kind = "custom" if item.string("type") == "custom_tool_call_output" else "function"
    conversation.add("user", [ToolResult(item.required("call_id"), parts, item.string("name"), kind=kind)])


def _read_reasoning(item: Fields, conversation: _Conversation) -> None:
    text = joined([part.string("text") or "" for part in item.children("summary")])
    if not text:
        text = joined([part.string("text") or "" for part in item.children("content")])
    encrypted = item.string("encrypted_content")
    if not encrypted:
        conversation.add("assistant", [Reasoning(text)])
        return
    carrier = envelope.unseal(encrypted)
    if carrier is None:
        carrier = Carrier(FORMAT, "encrypted", encrypted, item.string("id"))
    elif not text and conversation.sign(carrier):
        return
    conversation.add("assistant", [Reasoning(text, carrier)])


def _read_additional_tools(item: Fields, conversation: _Conversation) -> None:
    conversation.tools.extend(_tools(item.children("tools"), None))


def _read_item_reference(item: Fields, _: _Conversation) -> None:
    raise ClientFault(
        f"{item.path} refers to an item, and none are stored here: send the item itself (`store: false`)",
        code="unsupported_content",
        param=item.path,
    )


def _read_compaction(item: Fields, conversation: _Conversation) -> None:
    summary = told(item.string("encrypted_content") or "")
    if summary is None:
        _read_other(item, conversation)
    else:
        conversation.add("user", [Text(summary)])


def _read_other(item: Fields, conversation: _Conversation) -> None:
    item_type = item.string("type") or ""
    role = "user" if item_type.endswith(_USER_ITEM_ENDINGS) and not is_hosted(item_type) else "assistant"
    conversation.add(role, hosted_parts(item.object))


_ITEMS: dict[str, Callable[[Fields, _Conversation], None]] = {
    "message": _read_message,
    "function_call": _read_function_call,
    "function_call_output": _read_call_output,
    "custom_tool_call": _read_custom_call,
    "custom_tool_call_output": _read_call_output,
    "reasoning": _read_reasoning,
    "additional_tools": _read_additional_tools,
    "compaction": _read_compaction,
    "item_reference": _read_item_reference,
}

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


# ---------------------------------------------------------------- content


def _content(item: Fields, key: str) -> list[Part]:
    """The parts of a message or of a call's output: a string or a list."""
    value = item.object.get(key)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [Text(value)]
    if not isinstance(value, list):
        raise item.fault(key, "a string or a list")
    parts: list[Part] = []
    for part in item.children(key):
        read = _CONTENT.get(part.required("type"))
        if read is None:
            raise part.fault("type", f"one of {', '.join(_CONTENT)}")
        parts.append(read(part))
    return parts


def _read_text(part: Fields) -> Text:
    text = part.string("text")
    if text is None:
        raise part.fault("text", "a string")
    citations = [citation_of(annotation) for annotation in objects_of(part.object, "annotations")]
    return Text(text, citations, cache=_cache_hint(part))


def _read_refusal(part: Fields) -> Refusal:
    return Refusal(part.string("refusal") or "")


def _read_image(part: Fields) -> Media:
    # Some clients put Chat's {"url": …} here.
    url = text_of(object_of(part.object, "image_url"), "url") or part.string("image_url")
    image = Media("image", detail=part.string("detail"), cache=_cache_hint(part))
    return _located(image, part, url or None, "image_url")


def _read_file(part: Fields) -> Media:
    name = part.string("filename")
    document = Media("document", name=name, cache=_cache_hint(part))
    data = part.string("file_data")
    if data and not data.startswith("data:"):
        document.data = data
        document.mime = (media.mime_of(name) if name else None) or "application/pdf"
        return _kinded(document)
    return _kinded(_located(document, part, data or part.string("file_url"), "file_data"))


def _located(found: Media, part: Fields, url: str | None, key: str) -> Media:
    if url:
        inline = media.parse_data_url(url)
        if inline is None:
            found.url = url
        else:
            found.mime, found.data = inline
        return found
    found.file_id = part.string("file_id")
    if not found.file_id:
        raise part.fault(key, "given where there is no file_id")
    found.origin = FORMAT
    return found


def _kinded(document: Media) -> Media:
    """A file is an image, sound or film when its MIME type says so."""
    family = (document.mime or "").partition("/")[0]
    if family in ("image", "audio", "video"):
        document.kind = family
    return document


def _read_audio(part: Fields) -> Media:
    audio = part.child("input_audio") or part
    return Media("audio", media.audio_mime(audio.string("format") or "wav"), audio.required("data"))


def _cache_hint(part: Fields) -> CacheHint | None:
    return CacheHint() if part.object.get("prompt_cache_breakpoint") else None


_CONTENT: dict[str, Callable[[Fields], Part]] = {
    "input_text": _read_text,
    "output_text": _read_text,
    "text": _read_text,
    "summary_text": _read_text,
    "refusal": _read_refusal,
    "input_image": _read_image,
    "input_file": _read_file,
    "input_audio": _read_audio,
}


# ---------------------------------------------------------------- tools


def _tools(found: list[Fields], namespace: str | None) -> list[Tool | ServerTool]:
    tools: list[Tool | ServerTool] = []
    for tool in found:
        kind = tool.required("type")
        if kind == "function":
            tools.append(_function(tool, namespace))
        elif kind == "custom":
            name, description = tool.required("name"), tool.string("description")
            grammar = tool.json("format")
            tools.append(Tool(name, description, kind="custom", grammar=grammar, namespace=namespace))
        elif kind == "namespace":
            tools.extend(_tools(tool.children("tools"), tool.required("name")))
        else:
            tools.append(_server_tool(tool, kind))
    return tools


def _function(tool: Fields, namespace: str | None) -> Tool:
    schema = tool.json("parameters")
    strict = tool.boolean("strict")
    # The API takes an absent `strict` for true where the schema allows it. Elsewhere a strict tool with a
    # schema that does not is refused, so only a schema that is strict already makes it true here.
    if "strict" not in tool.object and schema is not None and _is_strict(schema):
        strict = True
    return Tool(
        tool.required("name"),
        tool.string("description"),
        schema,
        strict,
        namespace=namespace,
        deferred=bool(tool.boolean("defer_loading")),
    )


def _is_strict(schema: Json) -> bool:
    """Whether every object in the schema is closed and requires all its properties."""
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(cast("list[Any]", node))
        elif isinstance(node, dict):
            found = cast("Json", node)
            if found.get("type") == "object" or "properties" in found:
                required: Any = found.get("required")
                required = cast("list[Any]", required) if isinstance(required, list) else []
                closed = found.get("additionalProperties") is False
                if not closed or any(name not in required for name in object_of(found, "properties")):
                    return False
            pending.extend(found.values())
    return True


def _server_tool(tool: Fields, kind: str) -> ServerTool:
    filters = tool.child("filters") if kind.startswith("web_search") else None
    location = tool.json("user_location")
    return ServerTool(
        SERVER_TOOL_NAMES.get(kind, kind),
        FORMAT,
        tool.object,
        allowed_domains=filters.strings("allowed_domains") if filters else None,
        blocked_domains=filters.strings("blocked_domains") if filters else None,
        location={key: value for key, value in location.items() if key != "type"} if location else None,
    )


def _tool_choice(fields: Fields) -> ToolChoice | None:
    value = fields.object.get("tool_choice")
    if value is None:
        return None
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    if not isinstance(value, dict):
        raise fields.fault("tool_choice", "auto, none, required or an object")
    choice = Fields(value, "tool_choice")
    kind = choice.required("type")
    if kind in ("function", "custom"):
        return ToolChoice("named", [choice.required("name")])
    if kind == "allowed_tools":
        names = [_chosen_name(tool) for tool in choice.children("tools")]
        return ToolChoice("allowed", names, required=choice.string("mode") == "required")
    return ToolChoice("named", [SERVER_TOOL_NAMES.get(kind, kind)])


def _chosen_name(tool: Fields) -> str:
    kind = tool.required("type")
    return tool.required("name") if kind in ("function", "custom") else SERVER_TOOL_NAMES.get(kind, kind)


# ---------------------------------------------------------------- settings


def _reasoning_intent(reasoning: Fields | None) -> ReasoningIntent | None:
    if reasoning is None:
        return None
    effort = reasoning.string("effort")
    if effort is not None and effort not in _EFFORTS:
        raise reasoning.fault("effort", f"one of {', '.join(_EFFORTS)}")
    summary = reasoning.string("summary") or reasoning.string("generate_summary")
    if effort is None and summary is None:
        return None
    return ReasoningIntent(effort=effort, visible=True if summary else None, summary=summary)


def _output_format(text: Fields | None) -> OutputFormat | None:
    wanted = text.child("format") if text else None
    if wanted is None:
        return None
    kind = wanted.required("type")
    if kind == "json_schema":
        return OutputFormat(
            "json_schema",
            wanted.string("name"),
            wanted.string("description"),
            wanted.json("schema"),
            wanted.boolean("strict"),
        )
    if kind == "text" or kind == "json_object":
        return OutputFormat(kind)
    raise wanted.fault("type", "text, json_object or json_schema")

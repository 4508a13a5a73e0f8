"""A Chat Completions body → `Request`."""

from collections.abc import Callable
from typing import Any, Literal

from cliproxy.wire import envelope, media
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.json import dumps_text
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
    Sampling,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from cliproxy.wire.openai_chat.fields import Fields, wrong_type
from cliproxy.wire.openai_chat.vocabulary import (
    FORMAT,
    REASONING_FIELDS,
    details_carrier,
    details_text,
    field_carrier,
    server_tool_name,
)
from cliproxy.wire.reasoning import EFFORTS

_TYPED = frozenset(
    """
    model messages stream stream_options user safety_identifier metadata service_tier store prompt_cache_key
    tools functions tool_choice function_call parallel_tool_calls web_search_options
    max_tokens max_completion_tokens temperature top_p top_k stop seed n presence_penalty frequency_penalty
    logprobs top_logprobs response_format verbosity modalities
    reasoning_effort reasoning thinking enable_thinking
    """.split()
)
"""Top-level fields that have their place in `Request`; all others are its extras."""


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Raises ClientFault for anything that is not a Chat Completions request.

    model, stream: what counts instead of the body's own fields.
    """
    top = Fields(body)
    system, turns = _conversation(top)
    streams = bool(top.boolean("stream")) if stream is None else stream
    options = top.child("stream_options")
    output = _output(top)
    extras = {key: value for key, value in body.items() if key not in _TYPED and value is not None}
    if output is None and body.get("response_format") is not None:
        extras["response_format"] = body["response_format"]
    user, safety_identifier = top.string("user"), top.string("safety_identifier")
    if user and safety_identifier:
        extras["safety_identifier"] = safety_identifier
    return Request(
        origin=FORMAT,
        model=model or top.required("model"),
        turns=turns,
        system=system,
        tools=_tools(top),
        tool_choice=_tool_choice(top),
        parallel_calls=top.boolean("parallel_tool_calls"),
        sampling=_sampling(top),
        reasoning=_reasoning_intent(top),
        output=output,
        verbosity=top.string("verbosity"),
        modalities=[word.lower() for word in top.strings("modalities")] or None,
        stream=streams,
        include_usage=not streams or bool(options and options.boolean("include_usage")),
        user=user or safety_identifier,
        metadata=_metadata(top),
        service_tier=top.string("service_tier"),
        cache_key=top.string("prompt_cache_key"),
        store=top.boolean("store"),
        extras=extras,
        raw=body,
    )


# ---------------------------------------------------------------- messages


def _conversation(top: Fields) -> tuple[list[Text | Media | Opaque], list[Turn]]:
    """The instructions before the first turn, and the turns; a message that says nothing is no turn."""
    system: list[Text | Media | Opaque] = []
    turns: list[Turn] = []
    custom_calls: set[str] = set()
    messages = top.children("messages")
    if not messages:
        raise ClientFault("messages must hold at least one message", param="messages")
    for message in messages:
        turn = _turn(message, custom_calls)
        if turn.role == "system" and not turns:
            system += [part for part in turn.parts if isinstance(part, Text | Media | Opaque)]
        elif turn.parts:
            turns.append(turn)
    return system, turns


def _turn(message: Fields, custom_calls: set[str]) -> Turn:
    """One message. custom_calls: ids of the custom calls so far, which results do not tell from others."""
    match message.required("role"):
        case "system" | "developer":
            return Turn("system", _content(message))
        case "user":
            if message.object.get("content") is None:
                raise message.missing("content")
            return Turn("user", _content(message))
        case "assistant":
            parts = _assistant(message)
            custom_calls.update(part.id for part in parts if isinstance(part, ToolCall) and part.kind == "custom")
            return Turn("assistant", parts)
        case "tool" | "function":
            return Turn("user", [_result(message, custom_calls)])
        case role:
            place = message.place("role")
            known = "system, developer, user, assistant, tool or function"
            raise ClientFault(f"{place} must be {known}, not {role[:40]!r}", code="invalid_value", param=place)


def _assistant(message: Fields) -> list[Part]:
    parts: list[Part] = [*_reasoning(message), *_content(message)]
    refusal = message.string("refusal")
    if refusal:
        parts.append(Refusal(refusal))
    parts += [_call(call) for call in message.children("tool_calls")]
    function = message.child("function_call")
    if function is not None:
        parts.append(ToolCall("", function.required("name"), _arguments(function)))
    return parts


def _reasoning(message: Fields) -> list[Part]:
    for field in REASONING_FIELDS:
        text = message.object.get(field)
        if isinstance(text, str) and text:
            carrier = field_carrier(field)
            break
    else:
        text, carrier = "", None
    details = [detail.object for detail in message.children("reasoning_details")]
    if details:
        text = text or details_text(details)
        carrier = details_carrier(details, visible=bool(text))
    return [Reasoning(text, carrier)] if carrier is not None else []


def _call(call: Fields) -> ToolCall:
    id, cache = call.string("id") or "", _cache(call)
    custom = call.child("custom")
    if custom is not None:
        return ToolCall(id, custom.required("name"), custom.string("input") or "", "custom", cache=cache)
    function = call.required_child("function")
    return ToolCall(id, function.required("name"), _arguments(function), carrier=_signature(call), cache=cache)


def _arguments(function: Fields) -> str:
    # Some clients forget that arguments are JSON inside a string.
    value = function.object.get("arguments")
    return dumps_text(value) if isinstance(value, dict) else function.string("arguments") or ""


def _signature(call: Fields) -> Carrier | None:
    """Gemini's signature of a call, in the place where Google's own compatibility layer has it."""
    extra = call.child("extra_content")
    google = extra.child("google") if extra is not None else None
    text = google.string("thought_signature") if google is not None else None
    if not text:
        return None
    return envelope.unseal(text) or Carrier("gemini", "signature", text)


def _result(message: Fields, custom_calls: set[str]) -> ToolResult:
    id = message.string("tool_call_id") or ""
    parts = [
        Text(part.text) if isinstance(part, Refusal) else part
        for part in _content(message)
        if isinstance(part, Text | Media | Opaque | Refusal)
    ]
    kind: Literal["function", "custom"] = "custom" if id and id in custom_calls else "function"
    return ToolResult(id, parts, message.string("name"), kind=kind)


# ---------------------------------------------------------------- parts


def _content(message: Fields) -> list[Part]:
    """The parts of `content`, empty texts left out. A cache hint on the message belongs to its last part."""
    content = message.object.get("content")
    if content is None or isinstance(content, str):
        parts: list[Part] = [Text(content)] if content else []
    elif isinstance(content, list):
        parts = [_part(message, index, entry) for index, entry in enumerate(message.items("content"))]
        parts = [part for part in parts if not isinstance(part, Text | Refusal) or part.text]
    else:
        raise wrong_type(message.place("content"), "a string or a list", content)
    hint = _cache(message)
    if hint is not None and parts:
        last = parts[-1]
        if isinstance(last, Text | Media) and last.cache is None:
            last.cache = hint
    return parts


def _part(message: Fields, index: int, entry: Any) -> Part:
    if isinstance(entry, str):
        return Text(entry)
    part = Fields(entry, message, "content", index)
    word = part.string("type") or ("text" if "text" in part.object else part.required("type"))
    read = _PARTS.get(word)
    return Opaque(FORMAT, part.object) if read is None else read(part)


def _text(part: Fields) -> Part:
    return Text(part.string("text") or "", cache=_cache(part))


def _refusal(part: Fields) -> Part:
    return Refusal(part.string("refusal") or "")


def _thinking(part: Fields) -> Part:
    """Mistral's reasoning among the content."""
    words = part.object.get("thinking") or part.object.get("text") or ""
    if isinstance(words, list):
        words = "".join(word.string("text") or "" for word in part.children("thinking"))
    if not isinstance(words, str):
        raise wrong_type(part.place("thinking"), "a string or a list", words)
    return Reasoning(words)


def _file(part: Fields) -> Part:
    file = part.required_child("file")
    name, cache = file.string("filename"), _cache(part)
    data, url, id = file.string("file_data"), file.string("file_url"), file.string("file_id")
    if data:
        if data[:5].lower() == "data:":
            return _media(data, file.place("file_data"), "document", name=name, cache=cache)
        mime = (media.mime_of(name) if name else None) or "application/pdf"
        return Media(_kind(mime, "document"), mime, data=data, name=name, cache=cache)
    if url:
        return _media(url, file.place("file_url"), "document", name=name, cache=cache)
    if id:
        return Media("document", file_id=id, name=name, origin=FORMAT, cache=cache)
    raise file.missing("file_data")


def _audio(part: Fields) -> Part:
    audio = part.required_child("input_audio")
    data = audio.required("data")
    inline = media.parse_data_url(data)
    mime = media.audio_mime(audio.string("format") or "wav")
    return Media("audio", mime, data=inline[1] if inline else data, cache=_cache(part))


def _image_url(part: Fields) -> Part:
    return _behind_url(part, "image_url", "image")


def _video_url(part: Fields) -> Part:
    return _behind_url(part, "video_url", "video")


def _audio_url(part: Fields) -> Part:
    return _behind_url(part, "audio_url", "audio")


_PARTS: dict[str, Callable[[Fields], Part]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "thinking": _thinking,
    "reasoning": _thinking,
    "file": _file,
    "input_audio": _audio,
    "image_url": _image_url,
    "video_url": _video_url,
    "audio_url": _audio_url,
}


type _Kind = Literal["image", "document", "audio", "video"]


def _behind_url(part: Fields, key: str, kind: _Kind) -> Media:
    cache = _cache(part)
    if isinstance(part.object.get(key), str):
        return _media(part.required(key), part.place(key), kind, cache=cache)
    link = part.required_child(key)
    return _media(link.required("url"), link.place("url"), kind, detail=link.string("detail"), cache=cache)


def _media(
    url: str,
    place: str,
    kind: _Kind,
    *,
    name: str | None = None,
    detail: str | None = None,
    cache: CacheHint | None = None,
) -> Media:
    inline = media.parse_data_url(url)
    if inline is not None:
        mime, data = inline
        return Media(_kind(mime, kind), mime, data=data, name=name, detail=detail, cache=cache)
    if url[:5].lower() == "data:":
        raise ClientFault(f"{place} is cut off: a data: URL holds a comma and the data after it", param=place)
    return Media(kind, media.mime_of(url), url=url, name=name, detail=detail, cache=cache)


def _kind(mime: str, otherwise: _Kind) -> _Kind:
    match mime.partition("/")[0]:
        case "image" | "audio" | "video" as kind:
            return kind
        case _:
            return "document" if mime == "application/pdf" else otherwise


def _cache(holder: Fields) -> CacheHint | None:
    """Anthropic's `cache_control`, or OpenAI's breakpoint, whose lifetimes are its own."""
    if "cache_control" in holder.object:
        control = holder.child("cache_control")
        return CacheHint(control.string("ttl")) if control is not None else None
    return CacheHint() if holder.object.get("prompt_cache_breakpoint") is not None else None


# ---------------------------------------------------------------- tools


def _tools(top: Fields) -> list[Tool | ServerTool]:
    tools = [_tool(tool) for tool in top.children("tools")]
    tools += [_function(function, function) for function in top.children("functions")]
    options = top.child("web_search_options")
    if options is not None:
        raw = {"web_search_options": options.object}
        tools.append(ServerTool("web_search", FORMAT, raw, location=_location(options)))
    return tools


def _tool(tool: Fields) -> Tool | ServerTool:
    word = tool.string("type")
    if word == "custom":
        custom = tool.required_child("custom")
        grammar = custom.child("format")
        return Tool(
            custom.required("name"),
            custom.string("description"),
            kind="custom",
            grammar=_flat_grammar(grammar.object) if grammar is not None else None,
            cache=_cache(tool),
        )
    if word == "function" or (word is None and ("function" in tool.object or "name" in tool.object)):
        # Cursor sends the function's fields without the wrapping `function`.
        flat = "function" not in tool.object and "name" in tool.object
        return _function(tool if flat else tool.required_child("function"), tool)
    return _server_tool(tool, word)


def _function(function: Fields, holder: Fields) -> Tool:
    """A function from the object that describes it; its cache hint may sit on the holder."""
    schema = function.child("parameters") or function.child("parametersJsonSchema") or function.child("input_schema")
    return Tool(
        function.required("name"),
        function.string("description"),
        schema.object if schema is not None else None,
        function.boolean("strict"),
        cache=_cache(holder) or _cache(function),
    )


def _server_tool(tool: Fields, word: str | None) -> ServerTool:
    """A vendor-side tool: `{type: web_search, …}`, or Google's `{google_search: {…}}`."""
    settings = tool
    if word is None:
        word = next((key for key, value in tool.object.items() if isinstance(value, dict)), None)
        if word is None:
            raise tool.missing("type")
        settings = tool.required_child(word)
    filters = settings.child("filters") or settings
    return ServerTool(
        server_tool_name(word),
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
    location = location.child("approximate") or location
    return {key: location.object[key] for key in ("city", "region", "country", "timezone") if key in location.object}


def _flat_grammar(format: Json) -> Json:
    """A custom tool's format in the flat shape of Responses, which the model keeps."""
    inner = format.get("grammar")
    return {"type": format.get("type"), **inner} if isinstance(inner, dict) else format


def _tool_choice(top: Fields) -> ToolChoice | None:
    choice = top.object.get("tool_choice")
    if choice is None and top.object.get("function_call") is not None:
        choice = top.object["function_call"]
        if isinstance(choice, dict):
            return ToolChoice("named", [Fields(choice, top, "function_call").required("name")])
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(choice)
        case "any":  # Mistral's word
            return ToolChoice("required")
        case dict():
            return _chosen(top.required_child("tool_choice"))
        case _:
            expected = "auto, none, required or an object"
            raise ClientFault(f"tool_choice must be {expected}", code="invalid_value", param="tool_choice")


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


def _sampling(top: Fields) -> Sampling:
    stop = top.object.get("stop")
    max_tokens = top.integer("max_completion_tokens")
    return Sampling(
        max_tokens=top.integer("max_tokens") if max_tokens is None else max_tokens,
        temperature=top.number("temperature"),
        top_p=top.number("top_p"),
        top_k=top.integer("top_k"),
        stop=[word for word in ([stop] if isinstance(stop, str) else top.strings("stop")) if word] or None,
        seed=top.integer("seed"),
        presence_penalty=top.number("presence_penalty"),
        frequency_penalty=top.number("frequency_penalty"),
        candidates=top.integer("n"),
        logprobs=top.boolean("logprobs"),
        top_logprobs=top.integer("top_logprobs"),
    )


def _reasoning_intent(top: Fields) -> ReasoningIntent | None:
    """OpenAI's `reasoning_effort`, or the switches of OpenRouter, DeepSeek and Qwen."""
    effort = _effort(top, "reasoning_effort")
    reasoning = top.child("reasoning")
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
    thinking = top.child("thinking")
    if thinking is not None:
        mode, budget = thinking.string("type"), thinking.integer("budget_tokens")
        if mode == "disabled":
            return ReasoningIntent(effort="none")
        return ReasoningIntent(effort=effort, budget=budget, adaptive=effort is None and budget is None)
    if effort is not None:
        return ReasoningIntent(effort=effort)
    on = top.boolean("enable_thinking")
    if on is None and top.object.get("reasoning_effort") != "auto":
        return None
    return ReasoningIntent(effort="none") if on is False else ReasoningIntent(adaptive=True)


def _effort(holder: Fields, key: str) -> Effort | None:
    word = holder.string(key)
    if word is None or word == "auto":
        return None
    if word in EFFORTS:
        return word
    place, known = holder.place(key), ", ".join(EFFORTS)
    raise ClientFault(f"{place} must be one of {known}, not {word[:40]!r}", code="invalid_value", param=place)


def _output(top: Fields) -> OutputFormat | None:
    """None too for kinds that only some servers know (`regex`, `grammar` …): they are extras."""
    format = top.child("response_format")
    if format is None:
        return None
    match format.string("type"):
        case "text" | "json_object" as kind:
            return OutputFormat(kind)
        case "json_schema":
            details = format.required_child("json_schema")
            schema = details.child("schema")
            return OutputFormat(
                "json_schema",
                details.string("name"),
                details.string("description"),
                schema.object if schema is not None else None,
                details.boolean("strict"),
            )
        case _:
            return None


def _metadata(top: Fields) -> dict[str, str] | None:
    metadata = top.child("metadata")
    if metadata is None:
        return None
    return {key: metadata.string(key) or "" for key in metadata.object} or None

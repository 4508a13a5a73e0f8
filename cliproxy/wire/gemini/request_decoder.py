"""A generateContent body as a `Request`: both spellings of each field, all shapes that Google's SDKs send."""

from typing import Any, cast, get_args

from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini.fields import Fields, camel_case, wrong_type
from cliproxy.wire.gemini.json_schema import json_schema
from cliproxy.wire.gemini.vocabulary import FORMAT, carrier_of, inline_media, linked_media
from cliproxy.wire.model import (
    Carrier,
    Effort,
    Json,
    Media,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    ReasoningIntent,
    Request,
    Role,
    Sampling,
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

_ROLES: dict[str, Role] = {"": "user", "user": "user", "function": "user", "model": "assistant"}

_SERVER_TOOLS = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "urlContext": "web_fetch",
    "codeExecution": "code_execution",
}

_EFFORTS: dict[str, Effort] = {effort: effort for effort in get_args(Effort)}

_TYPED_FIELDS = frozenset({
    "model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier",
})  # fmt: skip
_TYPED_SETTINGS = frozenset({
    "maxOutputTokens", "temperature", "topP", "topK", "stopSequences", "seed", "presencePenalty",
    "frequencyPenalty", "candidateCount", "responseLogprobs", "logprobs", "thinkingConfig",
    "responseModalities",
})  # fmt: skip
_RESULT_KEYS = frozenset({"output", "result", "content", "error"})
"""Where clients put what a function returned, in a `functionResponse.response` that holds nothing else."""


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Read a generateContent body; `model` and `stream` come from the path that it was sent to.

    `extras` name settings below the top level by their path, such as `generationConfig.speechConfig`.
    Raises ClientFault(400) that names the field, for wrong types, unknown roles and missing required parts.
    """
    fields = Fields(body)
    name = fields.string("model") if model is None else model
    if not name:
        raise ClientFault("model is missing from the path: /v1beta/models/MODEL:generateContent", param="model")
    request = Request(
        origin=FORMAT,
        model=name.removeprefix("models/"),
        turns=_turns(fields.value("contents")),
        system=_system(fields.value("systemInstruction")),
        tools=[tool for entry in fields.children("tools") for tool in _tools(entry)],
        stream=bool(stream),
        service_tier=fields.string("serviceTier"),
        raw=body,
    )
    tool_config = fields.child("toolConfig")
    if tool_config is not None:
        request.tool_choice = _tool_choice(tool_config.child("functionCallingConfig"))
        _keep(request, tool_config, frozenset({"functionCallingConfig"}))
    settings = fields.child("generationConfig")
    if settings is not None:
        _read_settings(request, settings)
    _keep(request, fields, _TYPED_FIELDS)
    return request


def _keep(request: Request, fields: Fields, typed: frozenset[str]) -> None:
    """Take over as extras what has no typed place."""
    for key, value in fields.object.items():
        if key not in typed and value is not None:
            request.extras[fields.place(key)] = value


# ---------------------------------------------------------------- contents


def _turns(contents: Any) -> list[Turn]:
    if isinstance(contents, str | dict):
        contents = [contents]
    if not isinstance(contents, list):
        raise wrong_type("contents", "a list, an object or a string", contents)
    turns: list[Turn] = []
    for index, content in enumerate(cast("list[Any]", contents)):
        role, parts = _content(content, f"contents[{index}]")
        if not parts:
            continue
        if not turns or turns[-1].role != role:
            turns.append(Turn(role, []))
        for part in parts:
            _append(turns[-1].parts, part, role)
    if not turns:
        raise ClientFault("contents is empty: it must hold at least one part", param="contents")
    return turns


def _content(content: Any, path: str) -> tuple[Role, list[Part]]:
    if isinstance(content, str):
        return "user", [Text(content)]
    fields = Fields(content, path)
    role_name = fields.string("role") or ""
    role = _ROLES.get(role_name)
    if role is None:
        raise ClientFault(f"{path}.role must be user or model, not {role_name}", param=f"{path}.role")
    value = fields.value("parts")
    if value is None:
        return role, []
    items = cast("list[Any]", [value] if isinstance(value, str | dict) else value)
    if not isinstance(value, str | dict | list):
        raise wrong_type(f"{path}.parts", "a list", value)
    parts = [part for index, item in enumerate(items) for part in _parts(item, f"{path}.parts[{index}]")]
    if parts and all(type(part) is ToolResult for part in parts):
        role = "user"  # some clients return results as if the model had said them
    _check_speaker(role, parts, path)
    return role, parts


def _check_speaker(role: Role, parts: list[Part], path: str) -> None:
    for part in parts:
        if role == "user" and type(part) is ToolCall:
            raise ClientFault(f"{path} is the user's: it cannot hold a functionCall", param=path)
        if role == "assistant" and type(part) is ToolResult:
            raise ClientFault(f"{path} is the model's: it cannot hold a functionResponse", param=path)


def _append(into: list[Part], part: Part, role: Role) -> None:
    """Add a part to a turn: what a model said in many chunks is one text, a carrier told twice is one."""
    last = into[-1] if into else None
    match part, last:
        case Text(), Text(carrier=None) if role == "assistant":
            last.text += part.text
            last.carrier = part.carrier
        case Reasoning(), Reasoning(carrier=None):
            last.text += part.text
            last.carrier = part.carrier
        case Reasoning(text="", carrier=Carrier() as carrier), _ if _holds(into, carrier):
            pass
        case _:
            into.append(part)


def _holds(parts: list[Part], carrier: Carrier) -> bool:
    return any(isinstance(part, Reasoning) and part.carrier == carrier for part in parts)


def _parts(item: Any, path: str) -> list[Part]:
    """One part of Gemini's as parts of ours: another vendor's token on it is the reasoning before it."""
    if isinstance(item, str):
        return [Text(item)]
    fields = Fields(item, path)
    carrier = carrier_of(fields.string("thoughtSignature"))
    text = fields.string("text")
    if text is not None:
        return [Reasoning(text, carrier)] if fields.value("thought") else _signed(Text(text), carrier)
    call = fields.child("functionCall")
    if call is not None:
        return _signed(_tool_call(call), carrier)
    part = _part(fields)
    if part is None:
        return [] if carrier is None else _signed(Text(""), carrier)
    return [part]


def _signed(part: Text | ToolCall, carrier: Carrier | None) -> list[Part]:
    if carrier is not None and carrier.origin != FORMAT:
        return [Reasoning("", carrier), part]
    part.carrier = carrier
    return [part]


def _part(fields: Fields) -> Part | None:
    """Any part but text and calls; None for one without content."""
    blob, file, result = (fields.child(key) for key in ("inlineData", "fileData", "functionResponse"))
    if blob is not None:
        return inline_media(blob.string("mimeType"), blob.required("data"), blob.string("displayName"))
    if file is not None:
        return linked_media(file.string("mimeType"), file.required("fileUri"), file.string("displayName"))
    if result is not None:
        return _tool_result(result)
    code, outcome = fields.child("executableCode"), fields.child("codeExecutionResult")
    if code is not None:
        return ServerCall(code.string("id") or "", "code_execution", FORMAT, code.object, raw=fields.object)
    if outcome is not None:
        return ServerResult(outcome.string("id") or "", "code_execution", FORMAT, raw=fields.object)
    content = fields.object.keys() - {"thought", "thoughtSignature"}
    return Opaque(FORMAT, fields.object) if any(fields.value(key) is not None for key in content) else None


def _tool_call(call: Fields) -> ToolCall:
    arguments = json.dumps_text(call.json("args") or {})
    return ToolCall(call.string("id") or "", call.required("name"), arguments)


def _tool_result(result: Fields) -> ToolResult:
    parts, is_error = _outcome(result.value("response"))
    parts.extend(part for item in result.children("parts") if isinstance(part := _part(item), Media))
    return ToolResult(result.string("id") or "", parts, name=result.required("name"), is_error=is_error)


def _outcome(response: Any) -> tuple[list[Text | Media | Opaque], bool]:
    """What a function returned, as text, and whether that is an error."""
    if response is None:
        return [], False
    is_error = False
    if isinstance(response, dict):
        said = {key: value for key, value in cast("Json", response).items() if value is not None}
        is_error = bool(said.get("error")) and "output" not in said and "result" not in said
        keys = said.keys() - {"name"} if "content" in said else said.keys()
        if len(keys) == 1 and keys <= _RESULT_KEYS:
            response = said[next(iter(keys))]
    return [Text(response if isinstance(response, str) else json.dumps_text(response))], is_error


# ---------------------------------------------------------------- instructions and tools


def _system(instruction: Any) -> list[Text | Media | Opaque]:
    if isinstance(instruction, dict):
        content = camel_case(cast("Json", instruction))
        instruction = content["parts"] if "parts" in content else content
    if instruction is None:
        return []
    items = cast("list[Any]", [instruction] if isinstance(instruction, str | dict) else instruction)
    if not isinstance(instruction, str | dict | list):
        raise wrong_type("systemInstruction", "a string, or an object with parts", instruction)
    system: list[Text | Media | Opaque] = []
    for index, item in enumerate(items):
        path = f"systemInstruction.parts[{index}]"
        for part in _parts(item, path):
            if not isinstance(part, Text | Media | Opaque):
                raise ClientFault(f"{path} must be text", param=path)
            system.append(part)
    return system


def _tools(entry: Fields) -> list[Tool | ServerTool]:
    tools: list[Tool | ServerTool] = []
    for name, setting in entry.object.items():
        if name == "functionDeclarations":
            tools.extend(_tool(declaration) for declaration in entry.children(name))
        elif setting is not None:
            tools.append(_server_tool(name, setting))
    return tools


def _tool(declaration: Fields) -> Tool:
    key = "parametersJsonSchema" if declaration.value("parametersJsonSchema") is not None else "parameters"
    schema = declaration.value(key)
    return Tool(
        name=declaration.required("name"),
        description=declaration.string("description"),
        schema=None if schema is None else json_schema(schema, declaration.place(key)),
    )


def _server_tool(name: str, setting: Any) -> ServerTool:
    tool = ServerTool(_SERVER_TOOLS.get(name, name), FORMAT, raw={name: setting})
    if isinstance(setting, dict):
        tool.blocked_domains = Fields(setting, f"tools.{name}").strings("excludeDomains") or None
    return tool


def _tool_choice(config: Fields | None) -> ToolChoice | None:
    if config is None:
        return None
    mode = (config.string("mode") or "").upper()
    names = config.strings("allowedFunctionNames")
    match mode:
        case "NONE":
            return ToolChoice("none")
        case "ANY" if len(names) == 1:
            return ToolChoice("named", names)
        case "ANY" if names:
            return ToolChoice("allowed", names, required=True)
        case "ANY":
            return ToolChoice("required")
        case "VALIDATED" if names:
            return ToolChoice("allowed", names)
        case "AUTO" | "VALIDATED":
            return ToolChoice("auto")
        case "" | "MODE_UNSPECIFIED":
            return None
        case _:
            place = config.place("mode")
            raise ClientFault(f"{place} must be AUTO, ANY, NONE or VALIDATED, not {mode}", param=place)


# ---------------------------------------------------------------- generationConfig


def _read_settings(request: Request, settings: Fields) -> None:
    request.sampling = Sampling(
        max_tokens=settings.integer("maxOutputTokens"),
        temperature=settings.number("temperature"),
        top_p=settings.number("topP"),
        top_k=settings.integer("topK"),
        stop=settings.strings("stopSequences") or None,
        seed=settings.integer("seed"),
        presence_penalty=settings.number("presencePenalty"),
        frequency_penalty=settings.number("frequencyPenalty"),
        candidates=settings.integer("candidateCount"),
        logprobs=settings.boolean("responseLogprobs"),
        top_logprobs=settings.integer("logprobs"),
    )
    request.reasoning = _reasoning(settings.child("thinkingConfig"))
    request.modalities = [word.lower() for word in settings.strings("responseModalities")] or None
    request.output, typed = _output(settings)
    _keep(request, settings, _TYPED_SETTINGS | typed)


def _reasoning(config: Fields | None) -> ReasoningIntent | None:
    if config is None:
        return None
    level = (config.string("thinkingLevel") or "").lower()
    effort = _EFFORTS.get(level)
    if effort is None and level not in ("", "thinking_level_unspecified"):
        place = config.place("thinkingLevel")
        raise ClientFault(f"{place} must be one of {', '.join(_EFFORTS)}, not {level}", param=place)
    budget, visible = config.integer("thinkingBudget"), config.boolean("includeThoughts")
    return ReasoningIntent(effort, budget, visible=visible)


def _output(settings: Fields) -> tuple[OutputFormat | None, frozenset[str]]:
    """The response format and the settings it was read from; what is neither text nor JSON is an extra."""
    mime = settings.string("responseMimeType")
    if mime not in (None, "application/json", "text/plain"):
        return None, frozenset()
    for key in ("responseJsonSchema", "_responseJsonSchema", "responseSchema"):
        schema = settings.value(key)
        if schema is not None:
            output = OutputFormat("json_schema", schema=json_schema(schema, settings.place(key)))
            return output, frozenset({"responseMimeType", key})
    if mime is None:
        return None, frozenset()
    output = OutputFormat("json_object" if mime == "application/json" else "text")
    return output, frozenset({"responseMimeType"})

"""A generateContent body → `Request`: both spellings of each field, all shapes that Google's SDKs send."""

from typing import Any

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini.camel_case import CamelFields
from cliproxy.wire.gemini.conversation_decoder import decode_conversation
from cliproxy.wire.gemini.json_schema import json_schema
from cliproxy.wire.gemini.vocabulary import FORMAT
from cliproxy.wire.model import (
    Effort,
    Json,
    OutputFormat,
    ReasoningIntent,
    Request,
    Sampling,
    ServerTool,
    Tool,
    ToolChoice,
)
from cliproxy.wire.reasoning import EFFORTS

_TYPED = frozenset({
    "model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier",
})  # fmt: skip
_TYPED_SETTINGS = frozenset({
    "maxOutputTokens", "temperature", "topP", "topK", "stopSequences", "seed", "presencePenalty", "frequencyPenalty",
    "candidateCount", "responseLogprobs", "logprobs", "thinkingConfig", "responseModalities",
})  # fmt: skip
_TYPED_TOOL_CONFIG = frozenset({"functionCallingConfig"})
_TYPED_TOOL = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
"""Fields with a place in the model; the others are extras."""

_SERVER_TOOL_NAMES: dict[str, str] = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "urlContext": "web_fetch",
    "codeExecution": "code_execution",
}

_EFFORTS: dict[str, Effort] = {effort: effort for effort in EFFORTS}

_SCHEMA_SETTINGS = ("responseJsonSchema", "_responseJsonSchema", "responseSchema")


def decode_request(body: Json, *, model: str | None = None, stream: bool | None = None) -> Request:
    """Read a request. `model` and `stream` come from the path that it was sent to.

    `extras` name settings below the top level by their path, such as `generationConfig.speechConfig`.
    Raises ClientFault for a wrong type, an unknown role or a missing part, naming the place.
    """
    fields = CamelFields(body)
    name = fields.string("model") if model is None else model
    if not name:
        raise ClientFault("model is missing from the path: /v1beta/models/MODEL:generateContent", param="model")
    system, turns = decode_conversation(fields)
    tool_config = fields.child("toolConfig") or CamelFields({})
    settings = fields.child("generationConfig") or CamelFields({})
    output, typed_settings = _output(settings)
    return Request(
        origin=FORMAT,
        model=name.removeprefix("models/"),
        turns=turns,
        system=system,
        tools=[tool for entry in fields.children("tools") for tool in _tools(entry)],
        tool_choice=_tool_choice(tool_config.child("functionCallingConfig")),
        sampling=_sampling(settings),
        reasoning=_reasoning(settings.child("thinkingConfig")),
        output=output,
        modalities=[word.lower() for word in settings.strings("responseModalities")] or None,
        stream=bool(stream),
        service_tier=fields.string("serviceTier"),
        extras=_extras(tool_config, _TYPED_TOOL_CONFIG)
        | _extras(settings, _TYPED_SETTINGS | typed_settings)
        | _extras(fields, _TYPED),
        raw=body,
    )


def _extras(fields: CamelFields, typed: frozenset[str]) -> Json:
    return {fields.place(key): value for key, value in fields.rest(typed).items()}


# ---------------------------------------------------------------- tools


def _tools(entry: CamelFields) -> list[Tool | ServerTool]:
    tools: list[Tool | ServerTool] = []
    for name, setting in entry.object.items():
        if name == "functionDeclarations":
            tools += [_tool(declaration) for declaration in entry.children(name)]
        elif setting is not None:
            tools.append(_server_tool(entry, name))
    return tools


def _tool(declaration: CamelFields) -> Tool:
    key = "parametersJsonSchema" if declaration.object.get("parametersJsonSchema") is not None else "parameters"
    schema: Any = declaration.object.get(key)
    return Tool(
        name=declaration.required("name"),
        description=declaration.string("description"),
        schema=None if schema is None else json_schema(schema, declaration.place(key)),
        extras=declaration.rest(_TYPED_TOOL),
    )


def _server_tool(entry: CamelFields, name: str) -> ServerTool:
    setting = entry.object[name]
    excluded = CamelFields(setting, entry, name).strings("excludeDomains") if isinstance(setting, dict) else []
    canonical = _SERVER_TOOL_NAMES.get(name, name)
    return ServerTool(canonical, FORMAT, {name: setting}, blocked_domains=excluded or None)


def _tool_choice(config: CamelFields | None) -> ToolChoice | None:
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
            raise config.invalid("mode", ("AUTO", "ANY", "NONE", "VALIDATED"))


# ---------------------------------------------------------------- settings


def _sampling(settings: CamelFields) -> Sampling:
    return Sampling(
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


def _reasoning(config: CamelFields | None) -> ReasoningIntent | None:
    if config is None:
        return None
    level = (config.string("thinkingLevel") or "").lower()
    effort = _EFFORTS.get(level)
    if effort is None and level not in ("", "thinking_level_unspecified"):
        raise config.invalid("thinkingLevel", _EFFORTS)
    budget, visible = config.integer("thinkingBudget"), config.boolean("includeThoughts")
    return ReasoningIntent(effort, budget, visible=visible)


def _output(settings: CamelFields) -> tuple[OutputFormat | None, frozenset[str]]:
    """The output's format and the settings it was read from; what is neither text nor JSON is an extra."""
    mime = settings.string("responseMimeType")
    if mime not in (None, "application/json", "text/plain"):
        return None, frozenset()
    for key in _SCHEMA_SETTINGS:
        schema = settings.object.get(key)
        if schema is not None:
            output = OutputFormat("json_schema", schema=json_schema(schema, settings.place(key)))
            return output, frozenset({"responseMimeType", key})
    if mime is None:
        return None, frozenset()
    return OutputFormat("json_object" if mime == "application/json" else "text"), frozenset({"responseMimeType"})

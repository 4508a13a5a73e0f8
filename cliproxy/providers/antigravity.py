"""Antigravity's login: Gemini and Claude models behind Cloud Code, with rules of their own for the request.

Google refuses tools whose schema goes beyond its `Schema`, and for Claude also calls without an id, tools without a
required argument, and thoughts that nobody signed.
"""

import uuid
from collections.abc import Mapping
from typing import Any, cast, override

import httpx

from cliproxy.credentials.record import Candidate
from cliproxy.providers.call import UpstreamCall
from cliproxy.providers.cloud_code import CloudCode, first_project, project_of
from cliproxy.providers.cloud_code_account import CloudCodeAccount, discover, google_login, identify, window
from cliproxy.providers.gemini_requests import pair_results
from cliproxy.providers.vendor import Place, Quota, Vendor
from cliproxy.wire import json
from cliproxy.wire.fields import integer_of, object_of, objects_of
from cliproxy.wire.gemini.camel_case import camel_case
from cliproxy.wire.gemini.vocabulary import FILLER_SIGNATURE
from cliproxy.wire.model import Json, ModelFacts
from cliproxy.wire.schema import for_gemini

BASE_URL = "https://daily-cloudcode-pa.googleapis.com"
SECOND_URL = "https://cloudcode-pa.googleapis.com"

_CLAUDE_OUTPUT_TOKENS = 64_000
"""What Claude models may write here, where the registry does not know better."""
_LEAST_CLAUDE_BUDGET = 1024

_PLACEHOLDER = "_placeholder"
_PLACEHOLDER_SCHEMA: Json = {"type": "boolean", "description": "Always true; it means nothing."}


class Antigravity(CloudCode):
    """Antigravity's envelope, which says who we are."""

    # The method for whole answers fails with some of its models.
    always_streams = True

    @override
    def envelope(self, candidate: Candidate, call: UpstreamCall, request: Json) -> Json:
        model = candidate.model
        kind = _request_type(model, request)
        if request.pop("safetySettings", None):
            call.drop("safetySettings: Antigravity does not take them")
        pair_results(objects_of(request, "contents"))
        for declaration in _declarations(request):
            schema = declaration.pop("parametersJsonSchema", None) or declaration.get("parameters")
            declaration["parameters"] = for_gemini(schema)
        settings = camel_case(object_of(request, "generationConfig"))
        if "claude" in model:
            _fit_claude(request, settings, candidate.facts)
        else:
            if settings.pop("maxOutputTokens", None):
                call.drop("maxOutputTokens: Antigravity sets its own")
        request["generationConfig"] = settings
        if call.session:
            request["sessionId"] = call.session
        return {
            "model": model,
            **project_of(candidate),
            "requestId": str(uuid.uuid4()),
            "requestType": kind,
            "userAgent": "cliproxy",
            "request": request,
        }

    @override
    def opened(self, data: bytes, *, raises: bool) -> bytes:
        answer = super().opened(data, raises=raises)
        return _without_placeholders(answer) if _PLACEHOLDER.encode() in answer else answer


def _request_type(model: str, request: Json) -> str:
    if "image" in model:
        return "image_gen"
    return "web_search" if any("googleSearch" in tool for tool in objects_of(request, "tools")) else "agent"


def _declarations(request: Json) -> list[Json]:
    return [each for tool in objects_of(request, "tools") for each in objects_of(tool, "functionDeclarations")]


# ---------------------------------------------------------------- Claude models


def _fit_claude(request: Json, settings: Json, facts: ModelFacts) -> None:
    declarations = _declarations(request)
    if declarations:
        choice = object_of(camel_case(object_of(request, "toolConfig")), "functionCallingConfig")
        if choice.get("mode") != "NONE":
            # Other modes do not hold Claude to the schemas.
            request["toolConfig"] = {"functionCallingConfig": {**choice, "mode": "VALIDATED"}}
        for declaration in declarations:
            _require_something(declaration["parameters"])
    for content in objects_of(request, "contents"):
        content["parts"] = [part for part in content["parts"] if not _is_unsigned_thought(part)]
    _limit_output(settings, facts.max_output_tokens or _CLAUDE_OUTPUT_TOKENS)


def _require_something(schema: Json) -> None:
    """Have each object require a property: validation refuses one that does not."""
    if schema.get("type") == "object" and not schema.get("required"):
        schema["properties"] = {**object_of(schema, "properties"), _PLACEHOLDER: _PLACEHOLDER_SCHEMA}
        schema["required"] = [_PLACEHOLDER]
    nested = [*object_of(schema, "properties").values(), schema.get("items"), *objects_of(schema, "anyOf")]
    for each in nested:
        if isinstance(each, dict) and each is not _PLACEHOLDER_SCHEMA:
            _require_something(cast("Json", each))


def _without_placeholders(answer: bytes) -> bytes:
    """The answer with what the client's tools really take for arguments."""
    value = json.loads_object(answer, "the upstream's answer")
    for candidate in objects_of(value, "candidates"):
        for part in objects_of(object_of(candidate, "content"), "parts"):
            _drop_placeholders(object_of(part, "functionCall").get("args"))
    return json.dumps(value)


def _drop_placeholders(value: Any) -> None:
    if isinstance(value, dict):
        value.pop(_PLACEHOLDER, None)
        for each in value.values():
            _drop_placeholders(each)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            _drop_placeholders(each)


def _is_unsigned_thought(part: Json) -> bool:
    return part.get("thought") is True and part.get("thoughtSignature") in (None, "", FILLER_SIGNATURE)


def _limit_output(settings: Json, most: int) -> None:
    """Keep the answer within what the model can write, and thinking within the answer, as Claude demands."""
    tokens = min(integer_of(settings, "maxOutputTokens") or most, most)
    settings["maxOutputTokens"] = tokens
    thinking = camel_case(object_of(settings, "thinkingConfig"))
    budget = integer_of(thinking, "thinkingBudget")
    if budget is None or budget < tokens:
        return
    if tokens > _LEAST_CLAUDE_BUDGET:
        settings["thinkingConfig"] = {**thinking, "thinkingBudget": tokens - 1}
    else:
        del settings["thinkingConfig"]


# ---------------------------------------------------------------- the account


def variants(fields: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], ...]:
    """Google answers at two hosts. The second one is for when the first has no capacity or cannot be reached."""
    if fields.get("base_url") or place.base_url != BASE_URL:
        return ({},)
    return ({}, {"base_url": SECOND_URL})


async def quota(fields: Mapping[str, Any], place: Place, http: httpx.AsyncClient) -> Quota:
    """By model."""
    account = CloudCodeAccount.of(fields, place, http)
    models = object_of(await account.call("fetchAvailableModels", {"project": first_project(fields)}), "models")
    told = ((name, object_of(models, name).get("quotaInfo")) for name in models)
    # What is 0 is left out of Google's JSON.
    windows = [window(name, {"remainingFraction": 0, **info}) for name, info in told if isinstance(info, dict)]
    return Quota(await account.plan(), tuple(windows))


VENDOR = Vendor(
    "antigravity",
    "Antigravity",
    ("gemini",),
    Antigravity(),
    BASE_URL,
    flows=("browser",),
    registration=google_login(51121, "/oauth-callback", "cclog", "experimentsandconfigs"),
    variants=variants,
    identify=identify,
    needs="project_id",
    discover=discover,
    quota=quota,
)

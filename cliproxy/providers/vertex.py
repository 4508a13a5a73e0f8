"""Google's Vertex AI: Gemini's models, and Imagen's, for a service account or an API key of Google Cloud."""

from collections.abc import Mapping
from typing import Any, override
from urllib.parse import quote

import httpx

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.oauth.service_account import service_account_tokens
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.gemini_answers import wanted_framing
from cliproxy.providers.gemini_requests import drop_call_ids, read_request
from cliproxy.providers.imagen import images, is_imagen, prediction_request
from cliproxy.providers.vendor import Place, Vendor
from cliproxy.wire import json
from cliproxy.wire.fields import object_of, objects_of
from cliproxy.wire.gemini.vocabulary import generation
from cliproxy.wire.model import Json

BASE_URL = "https://aiplatform.googleapis.com"
"""The host of API keys, and of the location `global`."""
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
DEFAULT_LOCATION = "us-central1"

_MULTI_REGIONS = frozenset({"eu", "us"})
_FIRST_GENERATION_WITH_CALL_IDS = 3
_COUNTED = frozenset({"contents", "systemInstruction", "tools", "generationConfig"})
"""What countTokens takes of a request, at its top level."""


class Vertex(Dialect):
    """Vertex AI's paths, and what its hosts do not take."""

    purposes = frozenset({Purpose.GENERATE, Purpose.COUNT_TOKENS})

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        credential, model = candidate.credential, candidate.model
        headers = call.headers.copy()
        headers["Content-Type"] = "application/json"
        _show_token(credential, headers)
        body, query = read_request(call), ""
        if call.purpose is Purpose.COUNT_TOKENS:
            method = "countTokens"
            body = {name: value for name, value in body.items() if name in _COUNTED}
        elif is_imagen(model):
            method, body = "predict", prediction_request(body)
            headers["Accept-Encoding"] = "identity"
        else:
            method = "streamGenerateContent" if call.stream else "generateContent"
            query = call.query if call.action else "alt=sse" if call.stream else ""
            if (generation(model) or _FIRST_GENERATION_WITH_CALL_IDS) < _FIRST_GENERATION_WITH_CALL_IDS:
                drop_call_ids(objects_of(body, "contents"))
        path = f"{_resource(credential)}/publishers/google/models/{quote(model, safe='')}:{method}"
        return UpstreamRequest("POST", join(credential.base_url, path, query), headers, json.dumps(body))

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        if call.purpose is Purpose.GENERATE and is_imagen(candidate.model):
            return images(wanted_framing(call))
        return None


def _show_token(credential: Credential, headers: Headers) -> None:
    if credential.account:
        headers["Authorization"] = f"Bearer {credential.bearer}"
    elif credential.bearer:
        headers["x-goog-api-key"] = credential.bearer


def _resource(credential: Credential) -> str:
    """The path of what a call is charged to; an API key says that itself."""
    if not credential.account:
        return "/v1"
    fields = credential.account.fields
    return f"/v1/projects/{quote(project_of(fields), safe='')}/locations/{quote(location_of(fields), safe='')}"


def project_of(fields: Mapping[str, Any]) -> str:
    account: Json = object_of(dict(fields), "service_account")
    return str(fields.get("project_id") or account.get("project_id") or "")


def location_of(fields: Mapping[str, Any]) -> str:
    return str(fields.get("location") or DEFAULT_LOCATION)


def base_url_of(fields: Mapping[str, Any], place: Place) -> str:
    """Each location has a host of its own; an address that the user set serves them all."""
    if base_url := fields.get("base_url"):
        return str(base_url)
    location = location_of(fields)
    if place.base_url != BASE_URL or location == "global":
        return place.base_url
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


async def renew(fields: Mapping[str, Any], place: Place, http: httpx.AsyncClient) -> Tokens:
    """A token for the service account of an auth file."""
    return await service_account_tokens(object_of(dict(fields), "service_account"), (SCOPE,), http)


VENDOR = Vendor(
    "vertex",
    "Vertex AI",
    ("gemini",),
    Vertex(),
    BASE_URL,
    flows=("service-account",),
    renew=renew,
    file_stem=project_of,
    base_url_of=base_url_of,
)

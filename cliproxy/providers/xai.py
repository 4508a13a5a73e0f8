"""xAI's API: OpenAI's Responses with functions for the only tools of the client's own.

With an API key or with an account, at the public API in either case: the endpoint that serves the vendor's own tool
takes no other.
"""

from dataclasses import replace
from typing import Any, override
from urllib.parse import urlsplit

import httpx

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.oauth.identity import claims
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import refresh_tokens
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import openai
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.conversation import conversation_id
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.vendor import Fields, Place, Vendor
from cliproxy.providers.xai_tools import Restored, Simplified
from cliproxy.wire import json
from cliproxy.wire.fields import text_of
from cliproxy.wire.model import Json

_COMPACT = "/v1/responses/compact"
_REFUSED = ("prompt_cache_retention", "safety_identifier", "service_tier", "stop", "stream_options")
_REFUSED_BY_COMPACTION = (*_REFUSED, "include", "store", "stream")
_TOKEN_URL = "https://auth.x.ai/oauth2/token"
_OWN_TOOL_HOST = "cli-chat-proxy.grok.com"


class Xai(Dialect):
    """xAI's Responses API."""

    purposes = frozenset({Purpose.GENERATE, Purpose.NATIVE})
    token_refusals = frozenset({401, 403})
    """403 is its answer to bad credentials."""
    takes_compaction_trigger = False

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        url, headers = openai.address(candidate.credential, candidate.model, call)
        headers.setdefault("User-Agent", USER_AGENT)
        body = call.body
        if isinstance(body, bytes) and call.purpose is Purpose.GENERATE:
            simplified = Simplified(body, candidate.facts)
            if simplified.is_told_again:
                headers["Accept-Encoding"] = "identity"
            body = json.dumps(_fitted(simplified.body, call, headers))
        return UpstreamRequest(call.method, url, headers, body)

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        if call.purpose is not Purpose.GENERATE or call.path == _COMPACT or not isinstance(call.body, bytes):
            return None
        if not any(word in call.body for word in (b'"custom"', b'"namespace"')):
            return None
        simplified = Simplified(call.body, candidate.facts)
        return Restored(simplified, candidate.model, stream=call.stream) if simplified.is_told_again else None


def _fitted(body: Json, call: UpstreamCall, headers: Headers) -> Json:
    """The body without what the API refuses, and with the conversation's name, by which it finds prompt caches."""
    refused = _REFUSED_BY_COMPACTION if call.path == _COMPACT else _REFUSED
    fitted = {name: value for name, value in body.items() if name not in refused}
    text = fitted.get("text")
    if isinstance(text, dict) and "verbosity" in text:
        fitted["text"] = {name: value for name, value in text.items() if name != "verbosity"}
        call.drop("text.verbosity: xAI does not take it")
    for name in _REFUSED:
        if body.get(name):
            call.drop(f"{name}: xAI does not take it")
    if session := text_of(fitted, "prompt_cache_key") or call.session:
        fitted.setdefault("prompt_cache_key", conversation_id(session))
        headers.setdefault("x-grok-conv-id", conversation_id(session))
    return fitted


# ---------------------------------------------------------------- the account


async def identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """Whose login it is, from the id token, and where it is renewed. Nothing is asked."""
    said = claims(tokens.id_token)
    found = {
        "email": text_of(said, "email"),
        "sub": text_of(said, "sub"),
        "auth_kind": "oauth",
        "token_endpoint": place.registration.token_url if place.registration else "",
    }
    return {name: value for name, value in found.items() if value}


async def renew(fields: Fields, place: Place, http: httpx.AsyncClient) -> Tokens:
    """New tokens, from where the login was made and for the client that made it, unless the config says otherwise.

    Raises GrantRefused, EndpointTrouble.
    """
    assert place.registration
    registration, endpoint = place.registration, str(fields.get("token_endpoint") or "")
    if registration.token_url == _TOKEN_URL and _is_xais(endpoint):
        registration = replace(registration, token_url=endpoint)
    if not registration.client_id:
        audience = claims(str(fields.get("id_token") or "")).get("aud")
        audience = audience[0] if isinstance(audience, list) and audience else audience
        registration = replace(registration, client_id=audience if isinstance(audience, str) else "")
    return await refresh_tokens(registration, str(fields.get("refresh_token") or ""), http)


def _is_xais(url: str) -> bool:
    """A refresh token goes nowhere else, whatever a file says."""
    parts = urlsplit(url)
    return parts.scheme == "https" and f".{parts.hostname or ''}".endswith(".x.ai")


def file_stem(fields: Fields) -> str:
    return str(fields.get("email") or fields.get("sub") or "account")


def base_url_of(fields: Fields, place: Place) -> str:
    """The file's, but for the endpoint that only serves the vendor's own tool."""
    named = str(fields.get("base_url") or "")
    return place.base_url if not named or urlsplit(named).hostname == _OWN_TOOL_HOST else named


VENDOR = Vendor(
    name="xai",
    title="Grok",
    formats=("openai-responses",),
    dialect=Xai(),
    base_url="https://api.x.ai/v1",
    flows=("device", "api-key"),
    # The endpoints are those of its OpenID discovery document.
    registration=Registration(
        token_url=_TOKEN_URL,
        authorize_url="https://auth.x.ai/oauth2/authorize",
        device_url="https://auth.x.ai/oauth2/device/code",
        scopes=("openid", "profile", "email", "offline_access", "grok-cli:access", "api:access"),
    ),
    renew=renew,
    identify=identify,
    file_stem=file_stem,
    base_url_of=base_url_of,
)

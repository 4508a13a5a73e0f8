"""iFlow: an open platform for models of many makers. A login only leads to an API key; requests are signed with it.

iFlow ships its registration with a secret, so there is no default: the user sets one (`providers.iflow.oauth`).
"""

import hashlib
import hmac
import time
import uuid
from dataclasses import replace
from typing import Any, override
from urllib.parse import urlencode

import httpx

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, OAuthFault
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import refresh_tokens
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.call import UpstreamCall, join
from cliproxy.providers.compatible import (
    CompatibleDialect,
    RefusalReader,
    ask_for_usage,
    drop_empty_tools,
    file_stem,
    name_system,
    wants_thinking,
)
from cliproxy.providers.dialect import AnswerReader
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Fields, Place, Vendor
from cliproxy.wire.fields import object_of, text_of
from cliproxy.wire.model import Format, Json

_PORT, _PATH = 11451, "/oauth2callback"
_SESSIONS = uuid.UUID("0a6f3c52-7f0e-5d6b-8f0c-6d1b4a9e2c71")
"""The name space of the conversations' ids."""
_SWITCHED = ("glm", "deepseek-v3.1", "deepseek-v3.2", "qwen3-max-preview")
"""Models whose thinking is a switch of their template."""
_STATUSES = {"434": 401, "439": 401, "429": 429, "449": 429, "435": 404}
"""iFlow's numbers of refusals that it sends with status 200: no such key, expired, too many (twice), no such model."""


class IFlow(CompatibleDialect):
    """The platform's upstream."""

    @override
    def url(self, credential: Credential, format_: Format) -> str:
        return join(credential.base_url, "/chat/completions")

    @override
    def add_headers(self, headers: Headers, candidate: Candidate, call: UpstreamCall) -> None:
        conversation = uuid.uuid5(_SESSIONS, call.session) if call.session else uuid.uuid4()
        session, now_ms = f"session-{conversation}", str(int(time.time() * 1000))
        headers["session-id"] = session
        headers["x-iflow-timestamp"] = now_ms
        headers["x-iflow-signature"] = signature(candidate.credential.bearer, headers["User-Agent"], session, now_ms)
        headers["Accept-Encoding"] = "identity"

    @override
    def edit(self, body: Json, candidate: Candidate, call: UpstreamCall) -> None:
        name_system(body)
        ask_for_usage(body)
        drop_empty_tools(body)
        _say_thinking(body, candidate.model.lower())

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        return RefusalReader.of(headers, _STATUSES)


def signature(key: str, agent: str, session: str, now_ms: str) -> str:
    """What proves that a request was made just now by the key's owner, in hexadecimal digits."""
    return hmac.new(key.encode(), f"{agent}:{session}:{now_ms}".encode(), hashlib.sha256).hexdigest()


def _say_thinking(body: Json, model: str) -> None:
    """Each maker's models have their own switch."""
    wanted = wants_thinking(body)
    if wanted is None:
        return
    if model.startswith(_SWITCHED):
        # GLM keeps the thoughts of earlier turns only where it is told so.
        kept = {"clear_thinking": False} if wanted and model.startswith("glm") else {}
        settings = object_of(body, "chat_template_kwargs")
        body["chat_template_kwargs"] = {"enable_thinking": wanted, **kept, **settings}
    elif model.startswith("minimax"):
        body.setdefault("reasoning_split", wanted)
    else:
        return
    del body["reasoning_effort"]


async def _user(token: str, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """The API key and the owner of a login. Raises EndpointTrouble, GrantRefused."""
    if not place.registration or not place.registration.userinfo_url:
        raise GrantRefused("there is no address to get iFlow's API key from (userinfo-url)", code="invalid_client")
    try:
        answer = await ask(http, f"{place.registration.userinfo_url}?{urlencode({'accessToken': token})}", token)
    except EndpointTrouble as trouble:
        # Its words hold the address, and that the token.
        raise EndpointTrouble("iFlow did not tell the API key", retry_after_s=trouble.retry_after_s) from None
    user = object_of(answer or {}, "data")
    key = text_of(user, "apiKey")
    if not key:
        raise EndpointTrouble("iFlow did not tell the API key")
    owner = text_of(user, "email") or text_of(user, "phone")
    return {"api_key": key, **({"email": owner} if owner else {})}


async def _identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    return await _user(tokens.access_token, place, http)


async def _renew(fields: Fields, place: Place, http: httpx.AsyncClient) -> Tokens:
    """New tokens, and the API key that they lead to, where it can be had: the tokens must be kept in any case."""
    token = fields.get("refresh_token")
    if not token or not place.registration:
        raise GrantRefused("the login has no refresh token")
    tokens = await refresh_tokens(place.registration, str(token), http)
    try:
        user = await _user(tokens.access_token, place, http)
    except OAuthFault:
        return tokens
    return replace(tokens, extra={**tokens.extra, "api_key": user["api_key"]})


VENDOR = Vendor(
    "iflow",
    "iFlow",
    ("openai-chat",),
    IFlow(),
    "https://apis.iflow.cn/v1",
    flows=("browser", "api-key"),
    registration=Registration(
        "https://iflow.cn/oauth/token",
        authorize_url="https://iflow.cn/oauth",
        userinfo_url="https://iflow.cn/api/oauth/getUserInfo",
        redirect_port=_PORT,
        redirect_path=_PATH,
        # It names the address to return to in its own way.
        authorize_params={"loginMethod": "phone", "type": "phone", "redirect": "{redirect_uri}"},
        pkce=False,
    ),
    token_field="api_key",
    lead_s=86_400.0,
    renew=_renew,
    identify=_identify,
    file_stem=file_stem,
)

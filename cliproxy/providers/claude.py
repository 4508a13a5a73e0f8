"""Anthropic's API, and those like it: with a key, and with a Claude account.

An account's requests say that they are this program's; nothing of the vendor's own tool is added to them.
"""

import contextlib
import hashlib
from typing import Any, override

import httpx
import msgspec

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.credentials.timestamps import seconds_of
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import Dialect
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Fields, Place, Quota, Vendor, Window
from cliproxy.wire import json
from cliproxy.wire.fields import object_of, text_of

API_VERSION = "2023-06-01"
OAUTH_BETA = "oauth-2025-04-20"
"""Without it the API takes no access token."""
_OWN_HOST = "https://api.anthropic.com"
_PATHS = {Purpose.GENERATE: "/v1/messages", Purpose.COUNT_TOKENS: "/v1/messages/count_tokens"}


class Anthropic(Dialect):
    """Anthropic's API as it is."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        url, headers = address(candidate.credential, candidate.model, call)
        return UpstreamRequest(call.method, url, headers, call.body)


def address(credential: Credential, model: str, call: UpstreamCall) -> tuple[str, Headers]:
    """URL and headers of a call.

    The vendor's own host takes a key as `x-api-key`, others as a bearer token, as CLIProxyAPI does.
    """
    url, headers = _unsigned(credential, call)
    if credential.bearer:
        if credential.base_url.startswith(_OWN_HOST):
            headers["x-api-key"] = credential.bearer
        else:
            headers["Authorization"] = f"Bearer {credential.bearer}"
    return url, headers


def _unsigned(credential: Credential, call: UpstreamCall) -> tuple[str, Headers]:
    headers = call.headers.copy()
    headers.setdefault("anthropic-version", API_VERSION)
    return join(credential.base_url, call.path or _PATHS[call.purpose], call.query), headers


# ---------------------------------------------------------------- accounts


class ClaudeAccount(Dialect):
    """Anthropic's API with the access token of a Claude account."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        credential, body = candidate.credential, call.body
        if credential.account and credential.account.fields.get("api_key"):
            return Anthropic().request(candidate, call)
        url, headers = _unsigned(credential, call)
        headers["Authorization"] = f"Bearer {credential.bearer}"
        headers.setdefault("User-Agent", USER_AGENT)
        betas = [beta.strip() for value in headers.popall("anthropic-beta", ()) for beta in value.split(",")]
        if isinstance(body, bytes) and b'"betas"' in body:
            body, named = _without_betas(body)
            betas += named
        headers["anthropic-beta"] = ",".join(dict.fromkeys(filter(None, (*betas, OAUTH_BETA))))
        return UpstreamRequest(call.method, url, headers, body)


def _without_betas(body: bytes) -> tuple[bytes, list[str]]:
    """The body, and the betas that it names itself, as Anthropic's SDKs take them: the API wants them in a header."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        betas = msgspec.json.decode(members.pop("betas"), type=list[str])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        # The conversation speaks of them, or it is for the API to say what is wrong.
        return body, []
    return json.dumps(members), betas


async def identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """Whose login it is: as the token endpoint said, else as the profile says.

    A long-lived token may lack the scope to ask for that, and then stays without a name.
    """
    said = tokens.extra
    if not object_of(said, "account"):
        # No name is worth losing a login for.
        with contextlib.suppress(EndpointTrouble):
            said = await ask(http, _profile_url(place), tokens.access_token, anthropic_beta=OAUTH_BETA) or {}
    account, organization = object_of(said, "account"), object_of(said, "organization")
    found = {
        "email": text_of(account, "email_address") or text_of(account, "email"),
        "account_uuid": text_of(account, "uuid"),
        "organization_uuid": text_of(organization, "uuid"),
        "organization_name": text_of(organization, "name"),
    }
    return {name: value for name, value in found.items() if value}


def _profile_url(place: Place) -> str:
    named = place.registration.userinfo_url if place.registration else ""
    return named or join(place.base_url, "/api/oauth/profile")


def file_stem(fields: Fields) -> str:
    """The e-mail address, or for a token without a name a hash of it."""
    email, token = str(fields.get("email") or ""), str(fields.get("access_token") or "")
    return email or f"token-{hashlib.sha256(token.encode()).hexdigest()[:8]}"


_WINDOW_NAMES = {"five_hour": "5h", "seven_day": "7d"}


async def quota(fields: Fields, place: Place, http: httpx.AsyncClient) -> Quota:
    """The windows of the subscription, none for a token that may not ask and for a key. Raises EndpointTrouble."""
    if fields.get("api_key"):
        return Quota()
    url = place.quota_url or join(str(fields.get("base_url") or place.base_url), "/api/oauth/usage")
    usage = await ask(http, url, str(fields.get("access_token") or ""), anthropic_beta=OAUTH_BETA) or {}
    windows = []
    for key, window in usage.items():
        length = next((length for length in _WINDOW_NAMES if key == length or key.startswith(f"{length}_")), "")
        if length and isinstance(window, dict):
            percent = window.get("utilization")
            used = min(max(percent / 100, 0.0), 1.0) if isinstance(percent, int | float) else None
            name = _WINDOW_NAMES[length] + key.removeprefix(length)
            windows.append(Window(name, used, seconds_of(window.get("resets_at"))))
    return Quota(str(fields.get("plan_type") or ""), tuple(windows))


VENDOR = Vendor(
    name="claude",
    title="Claude Code",
    formats=("anthropic",),
    dialect=ClaudeAccount(),
    base_url=_OWN_HOST,
    flows=("browser", "token"),
    registration=Registration(
        token_url="https://platform.claude.com/v1/oauth/token",
        authorize_url="https://claude.ai/oauth/authorize",
        redirect_port=54545,
        scopes=(
            "user:profile", "user:inference", "user:sessions:claude_code", "user:mcp_servers", "user:file_upload",
        ),
        authorize_params={"code": "true"},
        token_body="json",
        refresh_scopes=True,
    ),
    lead_s=4 * 3600.0,
    identify=identify,
    file_stem=file_stem,
    quota=quota,
)  # fmt: skip

"""ChatGPT accounts, by the backend that Codex uses.

Source of the backend's ways: openai/codex (Apache-2.0), the open-source tool whose public client registration is the
default here. The requests say that they are this program's.
"""

import hashlib
import re
from typing import Any, override

import httpx

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.credentials.timestamps import seconds_of
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.oauth.identity import claims
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import codex_request, openai
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.codex_answer import EVENT_STREAM, Collected, Completed
from cliproxy.providers.conversation import conversation_id
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Fields, Place, Quota, Vendor, Window
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Json

_COMPACT = "/v1/responses/compact"
_SEARCH = "/v1/alpha/search"
_LITE = "x-openai-internal-codex-responses-lite"
_AUTH_CLAIM, _PROFILE_CLAIM = "https://api.openai.com/auth", "https://api.openai.com/profile"
_WORKSPACE_PLANS = frozenset({"team", "business", "enterprise", "edu", "education"})
"""One person may belong to several workspaces of these."""
_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,128}")
_DAY_S = 86_400.0


class Codex(Dialect):
    """The Responses API of the ChatGPT backend."""

    purposes = frozenset({Purpose.GENERATE, Purpose.NATIVE})
    native_paths = frozenset({_SEARCH, "/v1/images/generations", "/v1/images/edits"})

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        if _has_key(candidate.credential):
            return openai.OpenAI().request(candidate, call)
        url, headers = openai.address(candidate.credential, candidate.model, call)
        headers.setdefault("User-Agent", USER_AGENT)
        _name_account(headers, candidate.credential)
        body = call.body
        if isinstance(body, bytes) and call.path == _SEARCH:
            body = codex_request.searching(body)
        elif isinstance(body, bytes) and call.purpose is Purpose.GENERATE:
            body = self._fitted(call, headers, body)
        return UpstreamRequest(call.method, url, headers, body)

    def _fitted(self, call: UpstreamCall, headers: Headers, body: bytes) -> bytes:
        key = codex_request.cache_key(body)
        session = key or conversation_id(call.session)
        if session and "session-id" not in headers and "session_id" not in headers:
            # Prompt caches are found by the header.
            headers["Session-Id"] = session if _HEADER_TEXT.fullmatch(session) else conversation_id(session)
        if call.path == _COMPACT:
            return codex_request.compacting(body)
        headers["Accept"] = EVENT_STREAM
        headers["Accept-Encoding"] = "identity"
        for name in codex_request.refused(body):
            call.drop(f"{name}: the ChatGPT backend does not take it")
        return codex_request.generating(body, session, lite=_LITE in headers)

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        if call.purpose is not Purpose.GENERATE or call.path == _COMPACT or _has_key(candidate.credential):
            return None
        # The backend has left the type out at times.
        if not headers.get("content-type", EVENT_STREAM).startswith(EVENT_STREAM) or "content-encoding" in headers:
            return None
        return Completed() if call.stream else Collected()


def _has_key(credential: Credential) -> bool:
    """Whether it is an API key after all, as Codex may have one for its login: that is for the public API."""
    return bool(credential.account and credential.account.fields.get("api_key"))


def _name_account(headers: Headers, credential: Credential) -> None:
    """One login may belong to several accounts; a client's own header would name another login's."""
    account_id = credential.account and credential.account.fields.get("account_id")
    headers.popall("ChatGPT-Account-Id", None)
    if account_id:
        headers["ChatGPT-Account-Id"] = str(account_id)


# ---------------------------------------------------------------- the account


async def identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """E-mail address, account and plan, from the id token. Nothing is asked."""
    said = claims(tokens.id_token)
    account = object_of(said, _AUTH_CLAIM)
    found = {
        "email": text_of(said, "email") or text_of(object_of(said, _PROFILE_CLAIM), "email"),
        "account_id": text_of(account, "chatgpt_account_id"),
        "plan_type": text_of(account, "chatgpt_plan_type"),
    }
    return {name: value for name, value in found.items() if value}


def file_stem(fields: Fields) -> str:
    """`me@example.com-plus`; a workspace's begins with a hash of the workspace's id."""
    plan = re.sub(r"[^a-z0-9]+", "-", str(fields.get("plan_type") or "").lower()).strip("-")
    account_id = str(fields.get("account_id") or "")
    parts = [str(fields.get("email") or ""), plan]
    if account_id and (plan in _WORKSPACE_PLANS or not parts[0]):
        parts.insert(0, hashlib.sha256(account_id.encode()).hexdigest()[:8])
    return "-".join(filter(None, parts)) or "account"


async def quota(fields: Fields, place: Place, http: httpx.AsyncClient) -> Quota:
    """The plan and its windows, and those of models that are counted apart; an API key has neither.

    Raises EndpointTrouble.
    """
    if fields.get("api_key"):
        return Quota()
    base_url = str(fields.get("base_url") or place.base_url)
    url = place.quota_url or f"{base_url.removesuffix('/codex')}/wham/usage"
    account_id = str(fields.get("account_id") or "")
    named = {"ChatGPT_Account_Id": account_id} if account_id else {}
    usage = await ask(http, url, str(fields.get("access_token") or ""), **named)
    if usage is None:
        raise EndpointTrouble("the ChatGPT backend does not tell this account's usage")
    windows = _windows(object_of(usage, "rate_limit"))
    for limit in objects_of(usage, "additional_rate_limits"):
        name = text_of(limit, "limit_name") or text_of(limit, "metered_feature")
        windows += _windows(object_of(limit, "rate_limit"), f"{name} ")
    return Quota(text_of(usage, "plan_type"), tuple(windows))


def _windows(limit: Json, prefix: str = "") -> list[Window]:
    found = [object_of(limit, f"{which}_window") for which in ("primary", "secondary")]
    return [_window(window, prefix) for window in found if window]


def _window(window: Json, prefix: str) -> Window:
    percent, length_s = window.get("used_percent"), window.get("limit_window_seconds")
    used = min(max(percent / 100, 0.0), 1.0) if isinstance(percent, int | float) else None
    return Window(f"{prefix}{_length(length_s)}", used, seconds_of(window.get("reset_at")))


def _length(seconds: Any) -> str:
    """`5h`, `weekly`, `3d`."""
    if not isinstance(seconds, int | float) or seconds <= 0:
        return "window"
    if seconds == 7 * _DAY_S:
        return "weekly"
    return f"{seconds / _DAY_S:g}d" if seconds % _DAY_S == 0 else f"{seconds / 3600:g}h"


VENDOR = Vendor(
    name="codex",
    title="Codex",
    formats=("openai-responses",),
    dialect=Codex(),
    base_url="https://chatgpt.com/backend-api/codex",
    flows=("browser", "codex-device"),
    registration=Registration(
        token_url="https://auth.openai.com/oauth/token",
        client_id="app_EMoamEEZ73f0CkXaXp7hrann",
        authorize_url="https://auth.openai.com/oauth/authorize",
        device_url="https://auth.openai.com/api/accounts/deviceauth/usercode",
        redirect_port=1455,
        redirect_path="/auth/callback",
        scopes=("openid", "profile", "email", "offline_access"),
        authorize_params={
            "prompt": "login",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
        },
    ),
    lead_s=5 * _DAY_S,
    identify=identify,
    file_stem=file_stem,
    quota=quota,
)

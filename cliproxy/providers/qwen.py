"""Qwen: the portal that Qwen Code logs in to.

Source: QwenLM/qwen-code (Apache-2.0), the open-source tool whose public client registration is the default. A login
says itself where its API is. Alibaba has ended the free use of such logins in April 2026.
"""

from typing import Any, override

import httpx

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.call import UpstreamCall, join
from cliproxy.providers.compatible import (
    CompatibleDialect,
    ask_for_usage,
    drop_empty_tools,
    file_stem,
    name_system,
    wants_thinking,
)
from cliproxy.providers.vendor import Fields, Place, Vendor
from cliproxy.wire.fields import objects_of
from cliproxy.wire.model import Format, Json

PORTAL_URL = "https://portal.qwen.ai/v1"
_CACHED: Json = {"cache_control": {"type": "ephemeral"}}


class Qwen(CompatibleDialect):
    """The portal's upstream."""

    @override
    def url(self, credential: Credential, format_: Format) -> str:
        return join(credential.base_url, "/chat/completions")

    @override
    def add_headers(self, headers: Headers, candidate: Candidate, call: UpstreamCall) -> None:
        headers["X-DashScope-CacheControl"] = "enable"
        headers["X-DashScope-AuthType"] = "qwen-oauth"
        headers["X-DashScope-UserAgent"] = USER_AGENT

    @override
    def edit(self, body: Json, candidate: Candidate, call: UpstreamCall) -> None:
        name_system(body)
        ask_for_usage(body)
        drop_empty_tools(body)
        _say_thinking(body, candidate.model)
        if call.stream and isinstance(call.body, bytes) and b'"cache_control":' not in call.body:
            _mark_for_cache(body)
        _gather_system(body)


def _say_thinking(body: Json, model: str) -> None:
    """All models but the newest know no more than on and off."""
    wanted = wants_thinking(body)
    if wanted is None or model.startswith("qwen3.8-max"):
        return
    del body["reasoning_effort"]
    # Some models think in streams only, and then by default.
    if body.get("stream") or not wanted:
        body.setdefault("enable_thinking", wanted)


def _mark_for_cache(body: Json) -> None:
    """Have the conversation so far cached, as it will come again with the next request."""
    for tool in objects_of(body, "tools")[-1:]:
        tool.update(_CACHED)
    for message in objects_of(body, "messages")[-1:]:
        if parts := _parts(message):
            parts[-1].update(_CACHED)
            message["content"] = parts


def _gather_system(body: Json) -> None:
    """Instructions in one message at the front, of parts that end in a mark: the portal refuses them elsewhere, and as
    plain text."""
    messages = objects_of(body, "messages")
    parts = [part for message in messages if message.get("role") == "system" for part in _parts(message)]
    if parts:
        parts[-1].update(_CACHED)
        others = [message for message in messages if message.get("role") != "system"]
        body["messages"] = [{"role": "system", "content": parts}, *others]


def _parts(message: Json) -> list[Json]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return objects_of(message, "content")


async def _identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """Where the login's API is; whose it is the portal does not say."""
    url = tokens.extra.get("resource_url")
    return {"resource_url": url} if url else {}


def _base_url(fields: Fields, place: Place) -> str:
    """What the user has set, in the file or in the config, else what the login says."""
    if url := fields.get("base_url"):
        return str(url)
    resource = str(fields.get("resource_url") or "")
    if not resource or place.base_url != PORTAL_URL:
        return place.base_url
    return join(resource if "://" in resource else f"https://{resource}", "/v1")


VENDOR = Vendor(
    "qwen",
    "Qwen Code",
    ("openai-chat",),
    Qwen(),
    PORTAL_URL,
    flows=("device",),
    registration=Registration(
        "https://chat.qwen.ai/api/v1/oauth2/token",
        client_id="f0304373b74a44d2b584a3fb70ca9e56",
        device_url="https://chat.qwen.ai/api/v1/oauth2/device/code",
        scopes=("openid", "profile", "email", "model.completion"),
        device_pkce=True,
    ),
    lead_s=1200.0,
    identify=_identify,
    file_stem=file_stem,
    base_url_of=_base_url,
)

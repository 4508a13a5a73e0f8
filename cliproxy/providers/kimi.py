"""Kimi: Moonshot AI's models, by the subscription of Kimi Code or by a key of its open platform.

The subscription has an address and names of models of its own. Sources: the platform's and Kimi Code's documentation,
kimi-cli (the public client whose registration is the default).
"""

import re
import uuid
from typing import Any, override

import httpx

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.credentials.timestamps import seconds_of
from cliproxy.exchange import Headers
from cliproxy.oauth.endpoint import number
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import refresh_tokens
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.call import UpstreamCall, join
from cliproxy.providers.compatible import CompatibleDialect, ask_for_usage, file_stem, name_system, wants_thinking
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Fields, Place, Quota, Vendor, Window
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Format, Json
from cliproxy.wire.openai_chat.vocabulary import REASONING_FIELDS

SUBSCRIPTION_URL = "https://api.kimi.com/coding"
PLATFORM_URL = "https://api.moonshot.ai/v1"
NOT_KEPT = "[reasoning not kept]"
"""Stands for reasoning that a client did not send back: a call without any is refused."""

_SUBSCRIPTION_KEY = "sk-kimi-"
_CODING_MODEL = re.compile(r"-cod(e|ing)\b")
_FIXED_SAMPLING = re.compile(r"\bk(2\.|[3-9])|for-coding")
_SAMPLING = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
_UNITS = {"TIME_UNIT_MINUTE": "m", "TIME_UNIT_HOUR": "h", "TIME_UNIT_DAY": "d"}


class Kimi(CompatibleDialect):
    """Kimi Code's and the platform's upstream."""

    edited = frozenset({"openai-chat", "anthropic"})

    @override
    def url(self, credential: Credential, format_: Format) -> str:
        root = credential.base_url.removesuffix("/v1").removesuffix("/anthropic")
        if format_ != "anthropic":
            return join(root, "/v1/chat/completions")
        return join(root, "/v1/messages" if _is_subscribed(credential) else "/anthropic/v1/messages")

    @override
    def add_headers(self, headers: Headers, candidate: Candidate, call: UpstreamCall) -> None:
        if candidate.credential.account:
            headers.update(_device(candidate.credential.account.fields))

    @override
    def edit(self, body: Json, candidate: Candidate, call: UpstreamCall) -> None:
        subscribed = _is_subscribed(candidate.credential)
        if subscribed:
            body["model"] = _coding_name(str(body.get("model", "")))
        if call.format == "anthropic":
            _fill_thinking_blocks(body)
            return
        name_system(body)
        ask_for_usage(body)
        _say_thinking(body, subscribed=subscribed)
        if _FIXED_SAMPLING.search(str(body.get("model", ""))):
            for name in sorted(_SAMPLING & body.keys()):
                del body[name]
                call.drop(f"{name}: {body['model']} has its own")
        messages = [message for message in objects_of(body, "messages") if not _says_nothing(message)]
        _link_results(messages)
        if not _is_off(body):
            _fill_reasoning(messages)
        body["messages"] = messages


def _is_subscribed(credential: Credential) -> bool:
    account = credential.account
    has_login = account is not None and not account.fields.get("api_key")
    return has_login or credential.bearer.startswith(_SUBSCRIPTION_KEY)


def _coding_name(model: str) -> str:
    """A model as Kimi Code calls it: `k3` for `kimi-k3[1m]`, `kimi-for-coding` for `kimi-k2.7-code`."""
    name = model.lower().removesuffix("[1m]")
    if _CODING_MODEL.search(name):
        return "kimi-for-coding-highspeed" if name.endswith("-highspeed") else "kimi-for-coding"
    return name.removeprefix("kimi-")


def _device(fields: Fields) -> dict[str, str]:
    """What a login is bound to: a number that was made up for it."""
    device = fields.get("device_id")
    return {"X-Msh-Platform": "cliproxy", "X-Msh-Device-Id": str(device)} if device else {}


# ---------------------------------------------------------------- bodies


def _say_thinking(body: Json, *, subscribed: bool) -> None:
    wanted = wants_thinking(body)
    if wanted is None or "thinking" in body:
        return
    if not wanted:
        del body["reasoning_effort"]
        body["thinking"] = {"type": "disabled"}
    elif subscribed:
        body["thinking"] = {"type": "enabled", "effort": body.pop("reasoning_effort")}
    else:
        body["thinking"] = {"type": "enabled"}


def _is_off(body: Json) -> bool:
    return object_of(body, "thinking").get("type") == "disabled"


def _says_nothing(message: Json) -> bool:
    """An assistant's turn without anything in it, which is refused."""
    content = message.get("content")
    said = content.strip() if isinstance(content, str) else content
    is_empty = not any((said, *(message.get(name) for name in ("tool_calls", "function_call", *REASONING_FIELDS))))
    return is_empty and message.get("role") == "assistant"


def _link_results(messages: list[Json]) -> None:
    """Give each tool's message the id of its call, as far as that is certain."""
    pending: list[str] = []
    for message in messages:
        if message.get("role") == "assistant":
            pending += [str(call["id"]) for call in objects_of(message, "tool_calls") if call.get("id")]
        elif message.get("role") == "tool":
            only = pending[0] if len(pending) == 1 else ""
            id_ = message.get("tool_call_id") or message.get("call_id") or only
            if id_:
                message["tool_call_id"] = id_
            if id_ in pending:
                pending.remove(id_)


def _fill_reasoning(messages: list[Json]) -> None:
    """Reasoning for each turn with calls: its own, whatever field it came in."""
    for message in messages:
        if message.get("role") == "assistant" and message.get("tool_calls"):
            texts = (message.get(name) for name in REASONING_FIELDS)
            said = (text for text in texts if isinstance(text, str) and text.strip())
            message["reasoning_content"] = next(said, NOT_KEPT)


def _fill_thinking_blocks(body: Json) -> None:
    """The same in Anthropic's format, where thinking is off unless it is asked for."""
    if not body.get("thinking") or _is_off(body):
        return
    for message in objects_of(body, "messages"):
        kinds = {block.get("type") for block in objects_of(message, "content")}
        if message.get("role") == "assistant" and "tool_use" in kinds and "thinking" not in kinds:
            message["content"].insert(0, {"type": "thinking", "thinking": NOT_KEPT, "signature": ""})


# ---------------------------------------------------------------- accounts


async def _renew(fields: Fields, place: Place, http: httpx.AsyncClient) -> Tokens:
    token = fields.get("refresh_token")
    if not token or not place.registration:
        raise GrantRefused("the login has no refresh token")
    http.headers.update(_device(fields))
    return await refresh_tokens(place.registration, str(token), http)


async def _identify(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """Kimi does not say whose a login is; it wants to know on which device it is used."""
    return {"device_id": uuid.uuid4().hex}


def _base_url(fields: Fields, place: Place) -> str:
    if url := fields.get("base_url"):
        return str(url)
    key = str(fields.get("api_key") or _SUBSCRIPTION_KEY)
    is_plain = place.base_url == SUBSCRIPTION_URL and not key.startswith(_SUBSCRIPTION_KEY)
    return PLATFORM_URL if is_plain else place.base_url


async def _quota(fields: Fields, place: Place, http: httpx.AsyncClient) -> Quota:
    """Of a subscription: the platform counts money only. Raises EndpointTrouble."""
    base_url = _base_url(fields, place)
    if base_url == PLATFORM_URL:
        return Quota()
    token = str(fields.get("api_key") or fields.get("access_token") or "")
    answer = await ask(http, place.quota_url or join(base_url, "/v1/usages"), token)
    if answer is None:
        raise EndpointTrouble("Kimi does not tell this account's usage")
    level = text_of(object_of(object_of(answer, "user"), "membership"), "level")
    total = object_of(answer, "usage")
    windows = [_window("weekly", total)] if total else []
    for limit in objects_of(answer, "limits"):
        windows.append(_window(_span(object_of(limit, "window")), object_of(limit, "detail") or limit))
    return Quota(level.removeprefix("LEVEL_").lower(), tuple(windows))


def _window(name: str, counts: Json) -> Window:
    limit, used, remaining = (number(counts.get(key)) for key in ("limit", "used", "remaining"))
    if used is None and limit is not None and remaining is not None:
        used = limit - remaining
    return Window(name, used / limit if limit and used is not None else None, seconds_of(counts.get("resetTime")))


def _span(window: Json) -> str:
    """`5h`, of 300 minutes."""
    length, unit = int(number(window.get("duration")) or 0), _UNITS.get(text_of(window, "timeUnit"), "s")
    return f"{length // 60}h" if unit == "m" and length % 60 == 0 else f"{length}{unit}"


VENDOR = Vendor(
    "kimi",
    "Kimi",
    ("openai-chat", "anthropic"),
    Kimi(),
    SUBSCRIPTION_URL,
    flows=("device", "api-key"),
    registration=Registration(
        "https://auth.kimi.com/api/oauth/token",
        client_id="17e5f671-d194-4dfb-9706-5516cb48c098",
        device_url="https://auth.kimi.com/api/oauth/device_authorization",
        pkce=False,
    ),
    renew=_renew,
    identify=_identify,
    file_stem=file_stem,
    base_url_of=_base_url,
    quota=_quota,
)

"""Endpoints about single credentials: how they are, what they may still use, and what can be done about that."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.inventory import Entry, Kind, State, entry_of, inventory, view
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, OAuthFault
from cliproxy.wire.errors import GatewayError


class Window(TypedDict):
    name: str
    used: float | None
    resets_at_s: float | None


class AskedQuota(TypedDict):
    plan: str
    asked_s: float
    windows: list[Window]


class CooldownView(TypedDict):
    model: str
    until_s: float
    next_try_s: float
    reason: str
    status: int
    message: str


class SlotView(TypedDict):
    time_s: float
    success: int
    failed: int


class CredentialView(TypedDict):
    auth_index: str
    kind: Kind
    provider: str
    label: str
    name: str
    state: State
    reason: str
    until_s: float | None
    usable: bool
    disabled: bool
    priority: int
    weight: int
    prefix: str
    base_url: str
    email: str
    plan: str
    linked: str
    note: str
    expires_at_s: float | None
    last_refresh_s: float | None
    renewable: bool
    asks_quota: bool
    quota: AskedQuota | None
    cooldowns: list[CooldownView]
    success: int
    failed: int
    recent_requests: list[SlotView]


class Credentials(TypedDict):
    credentials: list[CredentialView]


class ByIndex(BaseModel):
    auth_index: str = ""
    """Only this one."""


class Reset(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    auth_index: str = Field(min_length=1)


class ResetDone(TypedDict):
    status: Literal["ok"]
    auth_index: str
    models: list[str]


async def _list(call: Call[ByIndex, None]) -> dict[str, Any]:
    wanted = call.query.auth_index
    entries = (entry for entry in inventory(call.operator) if not wanted or entry.auth_index == wanted)
    return {"credentials": [view(call.operator, entry) for entry in entries]}


async def _reset(call: Call[None, Reset]) -> dict[str, Any]:
    entry = entry_of(call.operator, call.body.auth_index)
    cooldowns = call.operator.memory.pool.cooldowns
    models = [model for credential in entry.credentials for model in cooldowns.clear(credential.id)]
    return {"status": "ok", "auth_index": entry.auth_index, "models": sorted(set(models))}


async def _ask_quota(call: Call[None, None]) -> dict[str, Any]:
    operator, entry = call.operator, _chosen(call)
    if entry.account is None or entry.account.vendor.quota is None:
        raise ManagementFault(409, "no quota query", "the vendor has no query for what is left")
    try:
        await operator.running.accounts.ask_quota(entry.account)
    except (OAuthFault, GatewayError) as error:
        raise ManagementFault(502, "quota query failed", str(error)) from None
    return view(operator, entry)


async def _renew(call: Call[None, None]) -> dict[str, Any]:
    operator, entry = call.operator, _chosen(call)
    if entry.account is None or not entry.account.is_renewable:
        raise ManagementFault(409, "nothing to renew", "there is no token that can be renewed without its user")
    try:
        await operator.running.accounts.refresher.renew(entry.account, forced=True)
    except (GrantRefused, EndpointTrouble) as error:
        raise ManagementFault(502, "renewal failed", str(error)) from None
    return view(operator, entry)


def _chosen(call: Call[None, None]) -> Entry:
    return entry_of(call.operator, call.place["auth_index"])


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/credentials", _list, "All credentials, and how they are", query=ByIndex, answer=Credentials),
    Endpoint(
        "POST",
        "/credentials/{auth_index}/quota",
        _ask_quota,
        "Ask the vendor what an account may still use",
        answer=CredentialView,
        errors=(404, 409, 502),
    ),
    Endpoint(
        "POST",
        "/credentials/{auth_index}/renew",
        _renew,
        "Renew an account's token now",
        answer=CredentialView,
        errors=(404, 409, 502),
    ),
    Endpoint(
        "POST", "/reset-quota", _reset, "Forget a credential's cooldowns", body=Reset, answer=ResetDone, errors=(404,)
    ),
)

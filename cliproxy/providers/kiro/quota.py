"""What a Kiro account may still use: credits a month, and those of a trial."""

from urllib.parse import urlencode

import httpx

from cliproxy.credentials.timestamps import seconds_of
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers.call import join
from cliproxy.providers.kiro.account import is_cli, profile_arn, runtime_region, text
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Fields, Place, Quota, Window
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Json

_ACTIVE = "ACTIVE"


async def quota(fields: Fields, place: Place, http: httpx.AsyncClient) -> Quota:
    """Ask for the limits. Raises EndpointTrouble."""
    params = {"origin": "CLI" if is_cli(fields) else "AI_EDITOR", "resourceType": "AGENTIC_REQUEST"}
    if arn := profile_arn(fields):
        params["profileArn"] = arn
    template = place.quota_url or join(text(fields, "base_url") or place.base_url, "/getUsageLimits")
    url = template.replace("{region}", runtime_region(fields))
    limits = await ask(http, f"{url}?{urlencode(params)}", text(fields, "access_token"))
    if limits is None:
        raise EndpointTrouble(f"{url} does not tell this account its limits")
    return Quota(text_of(object_of(limits, "subscriptionInfo"), "subscriptionTitle"), tuple(_windows(limits)))


def _windows(limits: Json) -> list[Window]:
    windows: list[Window] = []
    for usage in objects_of(limits, "usageBreakdownList"):
        name = (text_of(usage, "displayNamePlural") or text_of(usage, "resourceType") or "credits").lower()
        resets_at_s = seconds_of(usage.get("nextDateReset")) or seconds_of(limits.get("nextDateReset"))
        windows.append(Window(name, _used(usage), resets_at_s))
        trial = object_of(usage, "freeTrialInfo")
        if text_of(trial, "freeTrialStatus") == _ACTIVE:
            windows.append(Window("trial", _used(trial), seconds_of(trial.get("freeTrialExpiry"))))
    return windows


def _used(usage: Json) -> float | None:
    used, limit = _precise(usage, "currentUsage"), _precise(usage, "usageLimit")
    return None if used is None or not limit else min(1.0, used / limit)


def _precise(usage: Json, name: str) -> float | None:
    """A count, with its fraction where that is told."""
    for key in (f"{name}WithPrecision", name):
        value = usage.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None

"""The profile that an account's calls are made under: logins of IAM Identity Center have one and do not say which."""

from typing import Any, cast

import httpx

from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers.kiro.account import NO_PROFILE, RUNTIME_REGIONS, is_builder_id, text
from cliproxy.providers.vendor import Fields, Place
from cliproxy.wire.fields import objects_of, text_of

_TARGET = "AmazonCodeWhispererService.ListAvailableProfiles"


async def discover(fields: Fields, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    """`profile_arn`, which says so where the account has none. Each region is asked. Raises EndpointTrouble."""
    if is_builder_id(fields):
        return {"profile_arn": NO_PROFILE}
    token = text(fields, "access_token")
    template = text(fields, "base_url") or place.base_url
    for url in dict.fromkeys(template.replace("{region}", region) for region in RUNTIME_REGIONS):
        for profile in await _profiles(f"{url.rstrip('/')}/", token, http):
            if arn := text_of(profile, "arn"):
                return {"profile_arn": arn}
    return {"profile_arn": NO_PROFILE}


async def _profiles(url: str, token: str, http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The profiles of one region; none where the account may not ask."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": _TARGET,
    }
    try:
        response = await http.post(url, headers=headers, json={"maxResults": 10})
        if response.status_code == 403:
            return []
        value = response.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise EndpointTrouble(f"{url} does not tell the account's profiles: {type(error).__name__}") from None
    return objects_of(cast("dict[str, Any]", value), "profiles") if isinstance(value, dict) else []

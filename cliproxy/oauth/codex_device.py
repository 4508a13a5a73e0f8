"""Codex's own device form: codes come from JSON endpoints, and a confirmed one yields an authorization code.

The server made the PKCE verifier and tells it with the code. Everything is where `device_url` is, the endpoint that
gives codes: `<issuer>/api/accounts/deviceauth/usercode`. Source: openai/codex, `login/src/device_code_auth.rs`.
"""

from functools import partial
from urllib.parse import urlsplit

import httpx

from cliproxy.oauth.endpoint import post
from cliproxy.oauth.errors import EndpointTrouble, LoginFailed
from cliproxy.oauth.flow import Clock, Prompt, Sleep
from cliproxy.oauth.polling import Polled, Polling, expiry_of, interval_of, user_code_of
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import exchange_code
from cliproxy.wire.fields import text_of

_LIFE_S = 900.0
_USERCODE = "/api/accounts/deviceauth/usercode"


async def begin_codex_device(
    registration: Registration, http: httpx.AsyncClient, clock: Clock, sleep: Sleep
) -> Polling:
    """Get a code for the user. Raises LoginFailed, GrantRefused, EndpointTrouble."""
    if not registration.device_url:
        raise LoginFailed("there is no address to get a code from (device-url)")
    answer = await post(registration.device_url, {"client_id": registration.client_id}, http, as_json=True)
    if answer.status == 404:
        raise LoginFailed(f"{answer.host} gives no device codes: log in with a browser")
    if not answer.is_success:
        raise answer.fault()
    device_id = text_of(answer.body, "device_auth_id")
    if not device_id:
        raise EndpointTrouble(f"{answer.host} answered {answer.status}, but without a device code")
    user_code = user_code_of(answer, "user_code", "usercode")
    page = f"{_issuer(registration.device_url)}/codex/device"
    prompt = Prompt(page, expiry_of(answer, _LIFE_S, clock()), user_code, page)
    return Polling(prompt, interval_of(answer), partial(_poll, registration, http, device_id, user_code), clock, sleep)


async def _poll(registration: Registration, http: httpx.AsyncClient, device_id: str, user_code: str) -> Polled:
    url = registration.device_url.removesuffix("/usercode") + "/token"
    answer = await post(url, {"device_auth_id": device_id, "user_code": user_code}, http, as_json=True)
    if answer.status in {403, 404}:
        return "pending"
    if not answer.is_success:
        raise answer.fault() if answer.is_busy else LoginFailed(str(answer.fault()))
    code, verifier = text_of(answer.body, "authorization_code"), text_of(answer.body, "code_verifier")
    if not code or not verifier:
        raise LoginFailed(f"{answer.host} confirmed the login without a code")
    redirect_uri = f"{_issuer(registration.device_url)}/deviceauth/callback"
    try:
        return await exchange_code(registration, code, verifier, redirect_uri, http)
    except EndpointTrouble as trouble:
        # The code is used up or lost: to ask for another would not end.
        raise LoginFailed(str(trouble)) from None


def _issuer(device_url: str) -> str:
    if device_url.endswith(_USERCODE):
        return device_url.removesuffix(_USERCODE)
    address = urlsplit(device_url)
    return f"{address.scheme}://{address.netloc}"

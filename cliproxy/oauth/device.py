"""The device authorization grant (RFC 8628)."""

import secrets
from functools import partial

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from cliproxy.oauth.endpoint import post
from cliproxy.oauth.errors import EndpointTrouble, LoginFailed
from cliproxy.oauth.flow import Clock, Prompt, Sleep
from cliproxy.oauth.polling import Polled, Polling, expiry_of, interval_of, page_of, user_code_of
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import ask, tokens_of
from cliproxy.wire.fields import text_of

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_LIFE_S = 900.0


async def begin_device(registration: Registration, http: httpx.AsyncClient, clock: Clock, sleep: Sleep) -> Polling:
    """Get a code for the user. Raises LoginFailed, GrantRefused, EndpointTrouble."""
    if not registration.device_url:
        raise LoginFailed("there is no address to get a code from (device-url)")
    verifier = secrets.token_urlsafe(48) if registration.device_pkce else ""
    parameters = {"client_id": registration.client_id, "scope": " ".join(registration.scopes)}
    if verifier:
        parameters |= {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"}
    answer = await post(registration.device_url, parameters, http)
    if not answer.is_success:
        raise answer.fault()
    device_code = text_of(answer.body, "device_code")
    if not device_code:
        raise EndpointTrouble(f"{answer.host} answered {answer.status}, but without a device code")
    page = page_of(answer, "verification_uri", "verification_url", "verification_uri_complete")
    prompt = Prompt(
        page_of(answer, "verification_uri_complete", "verification_uri", "verification_url"),
        expiry_of(answer, _LIFE_S, clock()),
        user_code_of(answer, "user_code"),
        page,
    )
    poll = partial(_poll, registration, http, device_code, verifier)
    return Polling(prompt, interval_of(answer), poll, clock, sleep)


async def _poll(registration: Registration, http: httpx.AsyncClient, device_code: str, verifier: str) -> Polled:
    answer = await ask(registration, _GRANT, http, device_code=device_code, code_verifier=verifier)
    match answer.error:
        case "authorization_pending":
            return "pending"
        case "slow_down":
            return "slow-down"
        case "access_denied":
            raise LoginFailed("access was denied")
        case "expired_token":
            raise LoginFailed("the code has expired, and nobody had confirmed it")
        case "":
            return tokens_of(answer)
        case _:
            raise answer.fault() if answer.is_busy else LoginFailed(str(answer.fault()))

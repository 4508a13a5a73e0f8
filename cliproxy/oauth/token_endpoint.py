"""The token endpoint of an authorization server: a grant goes in, tokens come out.

Authlib writes the requests. Its own HTTP client is not used: it keeps neither status nor headers of a refusal, knows no
JSON requests, and is a client for one registration, where a login's calls share the client of the account's proxy.
"""

import ssl
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import parse_qsl

import httpx
from authlib.oauth2 import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_token_request

from cliproxy.oauth.endpoint import TIME_LIMIT_S, Answer, number, post
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.identity import claims
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens

_CONNECT_LIMIT_S = 10.0
_LONGEST_LIFE_S = 10 * 365 * 86_400.0
_FIELDS = frozenset({"access_token", "refresh_token", "id_token", "token_type", "scope", "expires_in"})


def http_client(proxy_url: str = "", *, verify: ssl.SSLContext | bool = True) -> httpx.AsyncClient:
    """A client for the few calls of a login. It follows no redirects, and says what it is.

    proxy_url: http, https, socks5 or socks5h; `direct`: none at all; empty: what the environment says.
    """
    try:
        release = version("cliproxy")
    except PackageNotFoundError:  # run from its source
        release = "0"
    return httpx.AsyncClient(
        proxy=None if proxy_url in {"", "direct"} else proxy_url,
        trust_env=not proxy_url,
        verify=verify,
        headers={"User-Agent": f"cliproxy/{release}", "Accept": "application/json"},
        timeout=httpx.Timeout(TIME_LIMIT_S, connect=_CONNECT_LIMIT_S),
    )


async def refresh_tokens(registration: Registration, refresh_token: str, http: httpx.AsyncClient) -> Tokens:
    """Trade a refresh token for new tokens. Raises GrantRefused where the login is over, EndpointTrouble."""
    if not registration.client_id:
        # What servers answer to that does not say so.
        message = "there is no OAuth client to renew the login with: set client-id in providers.<name>.oauth"
        raise GrantRefused(message, code="invalid_client")
    scope = {"scope": " ".join(registration.scopes)} if registration.refresh_scopes else {}
    return tokens_of(await ask(registration, "refresh_token", http, refresh_token=refresh_token, **scope))


async def exchange_code(
    registration: Registration,
    code: str,
    verifier: str,
    redirect_uri: str,
    http: httpx.AsyncClient,
    *,
    state: str = "",
) -> Tokens:
    """Trade an authorization code for tokens. Raises GrantRefused, EndpointTrouble.

    verifier: of PKCE, empty without. state: repeated to servers that take JSON, which want it.
    """
    repeated = {"state": state} if registration.token_body == "json" else {}
    grant = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return tokens_of(await ask(registration, "authorization_code", http, **grant, **repeated))


async def ask(registration: Registration, grant_type: str, http: httpx.AsyncClient, **parameters: str) -> Answer:
    """Send a grant in the registration's name. Empty parameters are left out. Raises EndpointTrouble."""
    client = ClientAuth(
        registration.client_id,
        registration.client_secret,
        "client_secret_post" if registration.client_secret else "none",
    )
    body = prepare_token_request(grant_type, **parameters)
    url, _, body = client.prepare("POST", registration.token_url, {}, body)
    return await post(url, dict(parse_qsl(body)), http, as_json=registration.token_body == "json")


def tokens_of(answer: Answer) -> Tokens:
    """The tokens of an answer. Raises GrantRefused, EndpointTrouble."""
    if not answer.is_success:
        raise answer.fault()
    try:
        return read_tokens(answer.body, answer.received_at_s, server_now_s=answer.server_time_s)
    except ValueError as error:
        raise EndpointTrouble(f"{answer.host} answered {answer.status}, but {error}") from None


def read_tokens(answer: Mapping[str, Any], now_s: float, *, server_now_s: float | None = None) -> Tokens:
    """The tokens that a token endpoint's JSON object holds.

    now_s: when it was received, UTC epoch seconds by our clock, which the expiry is then by; server_now_s: the same by
    the server's. Raises ValueError where there is no access token that a header can carry.
    """
    access_token = answer.get("access_token")
    if not isinstance(access_token, str) or not _is_header_safe(access_token):
        raise ValueError("without an access token")
    id_token = _text(answer, "id_token")
    life_s = number(answer.get("expires_in"))
    if life_s is None:
        life_s = _stated_life_s(access_token, id_token, now_s if server_now_s is None else server_now_s)
    return Tokens(
        access_token,
        _text(answer, "refresh_token"),
        id_token,
        _text(answer, "token_type") or "Bearer",
        _text(answer, "scope"),
        None if life_s is None else now_s + min(life_s, _LONGEST_LIFE_S),
        {name: value for name, value in answer.items() if name not in _FIELDS},
    )


def _stated_life_s(access_token: str, id_token: str, server_now_s: float) -> float | None:
    """How much longer a token is good, as it says itself: the access token where it is a JWT, else the id token."""
    for token in (access_token, id_token):
        if (expires_s := number(claims(token).get("exp"))) is not None:
            return max(0.0, expires_s - server_now_s)
    return None


def _is_header_safe(token: str) -> bool:
    return token.isascii() and token.isprintable() and bool(token) and " " not in token


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""

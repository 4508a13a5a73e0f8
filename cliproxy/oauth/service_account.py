"""The grant of a Google service account: its key signs an assertion that is traded for a token (RFC 7523)."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from authlib.oauth2.rfc7523 import JWTBearerGrant
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from cliproxy.oauth.endpoint import Answer, post
from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.token_endpoint import tokens_of
from cliproxy.oauth.tokens import Tokens
from cliproxy.wire.fields import text_of

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE_S = 3600
_MAX_SKEW_S = 30.0


async def service_account_tokens(
    account: Mapping[str, Any], scopes: Iterable[str], http: httpx.AsyncClient, *, token_url: str = ""
) -> Tokens:
    """An access token for a service account.

    account: the object of its key file: `client_email`, `private_key`, `private_key_id`, `token_uri`. token_url: in
    place of the file's. Raises LoginFailed for a file that is none, GrantRefused, EndpointTrouble.
    """
    account = dict(account)
    url = token_url or text_of(account, "token_uri")
    if not url.startswith(("https://", "http://")):
        raise LoginFailed("the service account's file has no token_uri")
    now_s = time.time()
    answer = await _present(account, scopes, url, http, now_s)
    server_time_s = answer.server_time_s
    if answer.error == "invalid_grant" and server_time_s and abs(server_time_s - now_s) > _MAX_SKEW_S:
        # The assertion states times by our clock, and ours is not theirs.
        answer = await _present(account, scopes, url, http, server_time_s)
    return tokens_of(answer)


async def _present(
    account: dict[str, Any], scopes: Iterable[str], url: str, http: httpx.AsyncClient, now_s: float
) -> Answer:
    assertion = _assertion(account, scopes, url, int(now_s))
    return await post(url, {"grant_type": _GRANT, "assertion": assertion}, http)


def _assertion(account: dict[str, Any], scopes: Iterable[str], url: str, now_s: int) -> str:
    email, key_id = text_of(account, "client_email"), text_of(account, "private_key_id")
    if not email:
        raise LoginFailed("the service account's file has no client_email")
    try:
        key = RSAKey.import_key(text_of(account, "private_key"))
        if not key.is_private:
            raise ValueError("a public key")
    except (JoseError, ValueError):
        # Without its cause, which may quote the key.
        raise LoginFailed("the private_key of the service account cannot be read: expected an RSA key in PEM") from None
    return JWTBearerGrant.sign(
        key,
        issuer=email,
        audience=url,
        issued_at=now_s,
        expires_at=now_s + _LIFE_S,
        claims={"scope": " ".join(scopes)},
        header={"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {}),
    )

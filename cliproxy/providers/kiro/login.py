"""New tokens for a login: from AWS's identity service, or from Kiro's own for those who came by Google or GitHub.

Sources: the API reference of IAM Identity Center OIDC (CreateToken), aws/amazon-q-developer-cli (social logins).
"""

from dataclasses import replace

import httpx

from cliproxy.oauth.endpoint import Answer, post
from cliproxy.oauth.errors import GrantRefused
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import tokens_of
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.kiro.account import is_external, is_social, login_region, text
from cliproxy.providers.vendor import Fields, Place

AWS_TOKEN_URL = "https://oidc.{region}.amazonaws.com/token"
SOCIAL_TOKEN_URL = "https://prod.{region}.auth.desktop.kiro.dev/refreshToken"
REGISTRATION = Registration(AWS_TOKEN_URL, token_body="json")
"""Each login has its own client registration, which Kiro made; it stands in the auth file."""

_SNAKE_CASE = {
    "accessToken": "access_token",
    "refreshToken": "refresh_token",
    "idToken": "id_token",
    "tokenType": "token_type",
    "expiresIn": "expires_in",
    "profileArn": "profile_arn",
}


async def renew(fields: Fields, place: Place, http: httpx.AsyncClient) -> Tokens:
    """Trade the refresh token for new tokens. Raises GrantRefused, EndpointTrouble."""
    refresh_token = text(fields, "refresh_token")
    if is_external(fields):
        message = "tokens of a company's own identity provider are renewed by Kiro alone: link its login"
        raise GrantRefused(message, code="unsupported_grant_type")
    if not refresh_token:
        raise GrantRefused("the login has no refresh token")
    if is_social(fields):
        return await _renewed_at_kiro(refresh_token, fields, place, http)
    return await _renewed_at_aws(refresh_token, fields, place, http)


async def _renewed_at_kiro(refresh_token: str, fields: Fields, place: Place, http: httpx.AsyncClient) -> Tokens:
    url = _token_url(SOCIAL_TOKEN_URL, fields, place)
    answer = await post(url, {"refreshToken": refresh_token}, http, as_json=True)
    if not answer.is_success and "refresh token" in answer.words.lower():
        # It states no code: "Invalid refresh token provided".
        answer = replace(answer, error="invalid_grant")
    return _tokens(answer)


async def _renewed_at_aws(refresh_token: str, fields: Fields, place: Place, http: httpx.AsyncClient) -> Tokens:
    registration = place.registration or REGISTRATION
    client_id = text(fields, "client_id") or registration.client_id
    client_secret = text(fields, "client_secret") or registration.client_secret
    if not client_id or not client_secret:
        message = (
            "the login's client registration is missing: add client_id and client_secret from the file in"
            " ~/.aws/sso/cache that the login names as clientIdHash"
        )
        raise GrantRefused(message, code="invalid_client")
    grant = {
        "clientId": client_id,
        "clientSecret": client_secret,
        "grantType": "refresh_token",
        "refreshToken": refresh_token,
    }
    return _tokens(await post(_token_url(AWS_TOKEN_URL, fields, place), grant, http, as_json=True))


def _token_url(default: str, fields: Fields, place: Place) -> str:
    """The endpoint of a kind of login. One that the config names is for either kind."""
    configured = place.registration.token_url if place.registration else AWS_TOKEN_URL
    url = default if configured == AWS_TOKEN_URL else configured
    return url.replace("{region}", login_region(fields))


def _tokens(answer: Answer) -> Tokens:
    body = {_SNAKE_CASE.get(name, name): value for name, value in answer.body.items() if value is not None}
    return tokens_of(replace(answer, body=body))

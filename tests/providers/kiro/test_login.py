"""cliproxy.providers.kiro.login: both ways to new tokens, against endpoints on real sockets."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.kiro import VENDOR
from cliproxy.providers.kiro.login import AWS_TOKEN_URL, REGISTRATION, renew
from cliproxy.providers.vendor import Fields, Place
from tests.answers import Answer
from tests.upstream import Upstream

AWS: Fields = {
    "auth_method": "IdC",
    "region": "eu-west-1",
    "refresh_token": "test-refresh-1",
    "client_id": "test-client",
    "client_secret": "test-client-secret",
}
SOCIAL: Fields = {"auth_method": "social", "provider": "Google", "refresh_token": "test-refresh-1"}
GIVEN = {"accessToken": "test-access-2", "refreshToken": "test-refresh-2", "expiresIn": 3600}


def answer(status: int = 200, **body: Any) -> Answer:
    return Answer(status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode())


def place(url: str) -> Place:
    return Place("https://service.invalid", registration=replace(REGISTRATION, token_url=url))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def renewed(fields: Fields, upstream: Upstream, http: httpx.AsyncClient, *answers: Answer) -> Tokens:
    upstream.script(*answers)
    return await renew(fields, place(f"{upstream.url}/{{region}}/token"), http)


async def test_tokens_of_aws(upstream: Upstream, http: httpx.AsyncClient) -> None:
    before_s = time.time()
    tokens = await renewed(AWS, upstream, http, answer(**GIVEN, tokenType="Bearer", idToken=None))
    assert (tokens.access_token, tokens.refresh_token) == ("test-access-2", "test-refresh-2")
    assert tokens.expires_at_s == pytest.approx(before_s + 3600, abs=30)
    [request] = upstream.requests
    assert (request.method, request.path) == ("POST", "/eu-west-1/token")
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "clientId": "test-client",
        "clientSecret": "test-client-secret",
        "grantType": "refresh_token",
        "refreshToken": "test-refresh-1",
    }


async def test_tokens_of_kiro(upstream: Upstream, http: httpx.AsyncClient) -> None:
    arn = "arn:aws:codewhisperer:us-east-1:000000000000:profile/TEST"
    tokens = await renewed(SOCIAL, upstream, http, answer(**GIVEN, profileArn=arn))
    assert (tokens.access_token, tokens.refresh_token) == ("test-access-2", "test-refresh-2")
    assert tokens.extra == {"profile_arn": arn}
    [request] = upstream.requests
    assert (request.path, request.json) == ("/us-east-1/token", {"refreshToken": "test-refresh-1"})


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        (AWS, "https://oidc.eu-west-1.amazonaws.com/token"),
        (SOCIAL, "https://prod.us-east-1.auth.desktop.kiro.dev/refreshToken"),
    ],
)
async def test_default_endpoints(fields: Fields, url: str) -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=GIVEN)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        await renew(fields, Place(VENDOR.base_url, registration=VENDOR.registration), client)
        await renew(fields, Place(VENDOR.base_url), client)
    assert asked == [url, url]
    assert AWS_TOKEN_URL.startswith("https://oidc.{region}")


async def test_a_registration_of_the_config(upstream: Upstream, http: httpx.AsyncClient) -> None:
    upstream.script(answer(**GIVEN))
    registration = replace(
        REGISTRATION, token_url=upstream.url, client_id="test-other", client_secret="test-other-secret"
    )
    fields = {name: value for name, value in AWS.items() if not name.startswith("client_")}
    await renew(fields, Place("https://service.invalid", registration=registration), http)
    assert upstream.requests[0].json["clientId"] == "test-other"


@pytest.mark.parametrize(
    ("fields", "refused", "code"),
    [
        (AWS, answer(400, error="invalid_grant", error_description="Invalid refresh token provided"), "invalid_grant"),
        (AWS, answer(401, error="invalid_client", error_description="Invalid client"), "invalid_client"),
        (AWS, answer(400, error="expired_token", error_description="Token expired"), "expired_token"),
        (SOCIAL, answer(400, message="Invalid refresh token provided"), "invalid_grant"),
        (SOCIAL, answer(401, message="Invalid refresh token provided"), "invalid_grant"),
        (SOCIAL, answer(401, message="Bad credentials"), "unauthorized"),
    ],
)
async def test_a_login_that_is_over(
    upstream: Upstream, http: httpx.AsyncClient, fields: Fields, refused: Answer, code: str
) -> None:
    with pytest.raises(GrantRefused) as caught:
        await renewed(fields, upstream, http, refused)
    assert caught.value.code == code
    assert "test-refresh-1" not in str(caught.value)
    assert "test-client-secret" not in str(caught.value)


@pytest.mark.parametrize("fields", [AWS, SOCIAL])
@pytest.mark.parametrize(
    "trouble",
    [
        answer(500, message="Internal refresh token trouble"),
        answer(429, message="Too many refresh token requests"),
        answer(400, message="Something else"),
        answer(200, expiresIn=3600),
        Answer(body=b"<html>portal</html>"),
    ],
)
async def test_troubles_do_not_end_a_login(
    upstream: Upstream, http: httpx.AsyncClient, fields: Fields, trouble: Answer
) -> None:
    with pytest.raises(EndpointTrouble):
        await renewed(fields, upstream, http, trouble)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"refresh_token": ""}, "invalid_grant", "no refresh token"),
        ({"client_secret": ""}, "invalid_client", "clientIdHash"),
        ({"auth_method": "external_idp"}, "unsupported_grant_type", "link its login"),
    ],
)
async def test_what_a_login_lacks(
    upstream: Upstream, http: httpx.AsyncClient, change: Fields, code: str, said: str
) -> None:
    with pytest.raises(GrantRefused, match=said) as caught:
        await renewed({**AWS, **change}, upstream, http)
    assert caught.value.code == code
    assert not upstream.requests

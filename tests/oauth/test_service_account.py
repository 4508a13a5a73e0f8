"""A service account's key signs for a token, whatever the clocks say; the key is never shown."""

import time
from typing import Any

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, LoginFailed
from cliproxy.oauth.service_account import service_account_tokens
from tests.oauth.authorization_server import AuthorizationServer, Fault

SCOPES = ("https://example.com/auth/cloud-platform",)


async def test_a_key_is_traded_for_a_token(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    tokens = await service_account_tokens(server.issuer.service_account, SCOPES, http)
    assert server.issuer.accepts(tokens.access_token)
    assert tokens.expires_at_s == pytest.approx(time.time() + 3600, abs=5)
    assert tokens.refresh_token == ""
    assertion = server.token_requests[0]["assertion"]
    assert jws.extract_compact(assertion.encode()).headers() == {"alg": "RS256", "typ": "JWT", "kid": "test-key-1"}
    claims = jwt.decode(assertion, server.issuer.service_account_key).claims
    assert claims["scope"] == SCOPES[0]
    assert claims["aud"] == f"{server.url}/oauth/token"


@pytest.mark.parametrize("skew_s", [-86_400, -600, 600, 86_400])
async def test_a_wrong_clock_here_or_there_does_not_matter(
    server: AuthorizationServer, http: httpx.AsyncClient, skew_s: float
) -> None:
    server.settings.skew_s = skew_s
    tokens = await service_account_tokens(server.issuer.service_account, SCOPES, http)
    assert server.issuer.accepts(tokens.access_token)


async def test_another_key_is_refused_once(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    pem = RSAKey.generate_key(2048).as_pem(private=True).decode()
    with pytest.raises(GrantRefused) as refused:
        await service_account_tokens({**server.issuer.service_account, "private_key": pem}, SCOPES, http)
    assert refused.value.code == "invalid_grant"
    assert len(server.token_requests) == 1


async def test_another_token_url(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    account = {**server.issuer.service_account, "token_uri": "http://127.0.0.1:1/"}
    assert await service_account_tokens(account, SCOPES, http, token_url=f"{server.url}/oauth/token")


@pytest.mark.parametrize("what", ["", "no key", "ec", "public", 7])
async def test_a_key_that_is_none_is_not_quoted(
    server: AuthorizationServer, http: httpx.AsyncClient, what: Any
) -> None:
    key = {
        "ec": ECKey.generate_key("P-256").as_pem(private=True).decode(),
        "public": server.issuer.service_account_key.as_pem(private=False).decode(),
        "no key": "-----BEGIN PRIVATE KEY-----\ntest-secret-bytes\n-----END PRIVATE KEY-----\n",
    }.get(what, what)
    with pytest.raises(LoginFailed, match="private_key") as failed:
        await service_account_tokens({**server.issuer.service_account, "private_key": key}, SCOPES, http)
    for shown in (repr(failed.value), repr(failed.value.__context__)):
        assert "BEGIN" not in shown
        assert "test-secret-bytes" not in shown
    assert server.token_requests == []


@pytest.mark.parametrize("missing", ["client_email", "token_uri"])
async def test_a_file_that_lacks_something(server: AuthorizationServer, http: httpx.AsyncClient, missing: str) -> None:
    with pytest.raises(LoginFailed, match=missing):
        await service_account_tokens({**server.issuer.service_account, missing: ""}, SCOPES, http)


async def test_trouble_is_not_held_against_the_key(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    server.fail(Fault(503, headers={"Retry-After": "9"}))
    with pytest.raises(EndpointTrouble) as trouble:
        await service_account_tokens(server.issuer.service_account, SCOPES, http)
    assert trouble.value.retry_after_s == 9

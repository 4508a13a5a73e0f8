"""Grants reach the token endpoint as each server wants them, and its tokens are read with their expiry."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.token_endpoint import exchange_code, http_client, read_tokens, refresh_tokens
from tests.certificates import client_context
from tests.oauth.authorization_server import AuthorizationServer, Fault
from tests.oauth.grants import id_token
from tests.proxies import HttpProxy, Proxy, Socks5Proxy
from tests.upstream import Upstream
from tests.virtual_time import EPOCH_S

# ---------------------------------------------------------------- grants


async def test_a_refresh_gives_new_tokens(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    login = server.issuer.issue()
    tokens = await refresh_tokens(server.registration(), login["refresh_token"], http)
    assert server.issuer.accepts(tokens.access_token)
    assert tokens.refresh_token not in ("", login["refresh_token"])
    assert tokens.expires_at_s == pytest.approx(time.time() + 3600, abs=5)
    assert server.token_requests == [
        {"grant_type": "refresh_token", "refresh_token": login["refresh_token"], "client_id": "test-client"}
    ]
    assert server.headers[0]["user-agent"].startswith("cliproxy/")


async def test_the_parameters_of_a_refresh_follow_the_registration(http: httpx.AsyncClient) -> None:
    async with AuthorizationServer(secret="test-secret") as server:
        server.settings.bodies = "json"
        login = server.issuer.issue("openid email")
        registration = server.registration(token_body="json", refresh_scopes=True)
        await refresh_tokens(registration, login["refresh_token"], http)
    assert server.token_requests[0] == {
        "grant_type": "refresh_token",
        "refresh_token": login["refresh_token"],
        "scope": "openid email",
        "client_id": "test-client",
        "client_secret": "test-secret",
    }


async def test_a_server_that_does_not_rotate_keeps_the_refresh_token_good(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    server.settings.rotates = False
    login = server.issuer.issue()
    for _ in range(2):
        assert (await refresh_tokens(server.registration(), login["refresh_token"], http)).refresh_token == ""


@pytest.mark.parametrize("errors", ["flat", "nested"])
async def test_a_reused_refresh_token_ends_the_login(
    server: AuthorizationServer, http: httpx.AsyncClient, errors: Any
) -> None:
    server.settings.errors = errors
    login = server.issuer.issue()
    newer = await refresh_tokens(server.registration(), login["refresh_token"], http)
    with pytest.raises(GrantRefused) as refused:
        await refresh_tokens(server.registration(), login["refresh_token"], http)
    assert refused.value.code == "refresh_token_reused"
    assert server.ledger.reuses == 1
    assert not server.issuer.accepts(newer.access_token)
    with pytest.raises(GrantRefused) as refused:
        await refresh_tokens(server.registration(), newer.refresh_token, http)
    assert refused.value.code == "invalid_grant"


async def test_a_revoked_login_is_refused(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    login = server.issuer.issue()
    form = {"token": login["access_token"], "client_id": "test-client"}
    assert (await http.post(f"{server.url}/oauth/revoke", data=form)).status_code == 200
    with pytest.raises(GrantRefused):
        await refresh_tokens(server.registration(), login["refresh_token"], http)


async def test_an_unknown_client_is_refused(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    with pytest.raises(GrantRefused, match="registration is wrong") as refused:
        await refresh_tokens(server.registration(client_id="other"), "test-refresh-1", http)
    assert refused.value.code == "invalid_client"


async def test_without_a_client_no_server_is_asked(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    with pytest.raises(GrantRefused, match="client-id") as refused:
        await refresh_tokens(server.registration(client_id=""), "test-refresh-1", http)
    assert refused.value.code == "invalid_client"
    assert not server.token_requests


@pytest.mark.parametrize("token_body", ["form", "json"])
async def test_a_code_is_traded_as_the_server_takes_it(
    server: AuthorizationServer, http: httpx.AsyncClient, token_body: Any
) -> None:
    server.settings.bodies = token_body
    registration = server.registration(token_body=token_body)
    with pytest.raises(GrantRefused):
        await exchange_code(registration, "test-code", "v" * 43, "http://localhost:1/cb", http, state="test-state")
    asked = {
        "grant_type": "authorization_code",
        "code": "test-code",
        "code_verifier": "v" * 43,
        "redirect_uri": "http://localhost:1/cb",
        "client_id": "test-client",
    }
    assert server.token_requests == [asked | ({"state": "test-state"} if token_body == "json" else {})]


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"access_token": ""}',
        '{"access_token": 7}',
        '{"access_token": "test\\r\\nx-evil: 1"}',
        '{"access_token": "two words"}',
        '{"access_token": "t\\u00e9st"}',
        '{"access_token": null}',
    ],
)
async def test_an_answer_without_a_usable_token_is_trouble(
    server: AuthorizationServer, http: httpx.AsyncClient, body: str
) -> None:
    server.fail(Fault(200, body))
    with pytest.raises(EndpointTrouble):
        await refresh_tokens(server.registration(), "test-refresh-1", http)


async def test_a_cancelled_refresh_leaves_nothing_running(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    server.fail(Fault(gate=asyncio.Event()))
    refresh = asyncio.create_task(refresh_tokens(server.registration(), "test-refresh-1", http))
    await server.asked(1)
    refresh.cancel()
    with pytest.raises(asyncio.CancelledError):
        await refresh


# ---------------------------------------------------------------- answers


def test_every_field_of_an_answer() -> None:
    answer = {
        "access_token": "test-access-1",
        "refresh_token": "test-refresh-1",
        "id_token": "test-id-1",
        "token_type": "bearer",
        "scope": "openid",
        "expires_in": 60,
        "resource_url": "portal.example.com",
    }
    tokens = read_tokens(answer, EPOCH_S)
    assert (tokens.access_token, tokens.refresh_token, tokens.id_token) == (
        "test-access-1", "test-refresh-1", "test-id-1",
    )  # fmt: skip
    assert (tokens.token_type, tokens.scope, tokens.expires_at_s) == ("bearer", "openid", EPOCH_S + 60)
    assert tokens.extra == {"resource_url": "portal.example.com"}
    assert "test-" not in repr(tokens)


def test_what_an_answer_leaves_out() -> None:
    answer = {"access_token": "test-access-1", "refresh_token": None, "token_type": 5, "scope": ["openid"]}
    tokens = read_tokens(answer, EPOCH_S)
    assert (tokens.refresh_token, tokens.token_type, tokens.scope, tokens.expires_at_s) == ("", "Bearer", "", None)


@pytest.mark.parametrize(
    ("expires_in", "life_s"),
    [(1, 1), ("3600", 3600), (0, 0), (12.5, 12.5), (-5, None), ("soon", None), (True, None), (1e300, 315_360_000)],
)
def test_expires_in_counts_from_the_receipt(expires_in: Any, life_s: float | None) -> None:
    tokens = read_tokens({"access_token": "test-access-1", "expires_in": expires_in}, EPOCH_S)
    assert tokens.expires_at_s == (None if life_s is None else EPOCH_S + life_s)


@pytest.mark.parametrize(
    ("access_exp", "id_exp", "life_s"), [(None, 600, 600), (900, 600, 900), (-10, None, 0), (None, None, None)]
)
def test_without_expires_in_the_tokens_say_it_by_the_servers_clock(
    access_exp: float | None, id_exp: float | None, life_s: float | None
) -> None:
    server_now_s = EPOCH_S + 5000
    answer = {
        "access_token": "test-access-1" if access_exp is None else id_token({"exp": server_now_s + access_exp}),
        "id_token": id_token({} if id_exp is None else {"exp": server_now_s + id_exp}),
    }
    tokens = read_tokens(answer, EPOCH_S, server_now_s=server_now_s)
    assert tokens.expires_at_s == (None if life_s is None else EPOCH_S + life_s)


async def test_the_date_of_the_answer_is_the_servers_clock(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    server.settings.skew_s = -7200
    login = server.issuer.issue()
    server.settings.expires_in_s = 0
    server.settings.claims = {"exp": int(server.issuer.now_s) + 600}
    tokens = await refresh_tokens(server.registration(), login["refresh_token"], http)
    assert tokens.expires_at_s == pytest.approx(time.time() + 600, abs=5)


# ---------------------------------------------------------------- the client


@pytest.mark.parametrize(("kind", "scheme"), [(HttpProxy, "http"), (Socks5Proxy, "socks5"), (Socks5Proxy, "socks5h")])
async def test_calls_go_through_the_proxy_with_its_credentials(
    server: AuthorizationServer, kind: type[Proxy], scheme: str
) -> None:
    async with kind() as proxy:
        url = proxy.url.replace(f"{kind.scheme}://", f"{scheme}://test-user:test-word@")
        async with http_client(url) as http:
            await refresh_tokens(server.registration(), server.issuer.issue()["refresh_token"], http)
    assert [(passage.target, passage.credentials) for passage in proxy.passages] == [
        (f"127.0.0.1:{server.port}", "test-user:test-word")
    ]


@pytest.mark.parametrize(("proxy_url", "count"), [("", 1), ("direct", 0)])
async def test_only_without_a_word_the_environment_names_the_proxy(
    server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, proxy_url: str, count: int
) -> None:
    async with HttpProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with http_client(proxy_url) as http:
            await refresh_tokens(server.registration(), server.issuer.issue()["refresh_token"], http)
    assert len(proxy.passages) == count


async def test_a_proxy_that_is_not_there_is_trouble_without_its_password(
    server: AuthorizationServer, free_port: int
) -> None:
    for scheme in ("http", "socks5"):
        async with http_client(f"{scheme}://test-user:test-word@127.0.0.1:{free_port}") as http:
            with pytest.raises(EndpointTrouble) as trouble:
                await refresh_tokens(server.registration(), "test-refresh-1", http)
        assert "test-word" not in str(trouble.value)


async def test_certificates_are_checked() -> None:
    async with Upstream(tls=True) as upstream:
        async with http_client("direct", verify=client_context()) as http:
            assert (await http.get(upstream.url)).status_code == 404
        async with http_client("direct") as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(upstream.url)

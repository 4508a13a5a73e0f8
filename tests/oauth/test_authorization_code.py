"""The browser login: what the browser is sent to, what it brings back, and what that is traded for."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cliproxy.oauth.authorization_code import AuthorizationCode
from cliproxy.oauth.errors import GrantRefused, LoginFailed
from cliproxy.oauth.flow import PENDING_S
from cliproxy.oauth.page import Page
from cliproxy.oauth.redirect import of_query
from cliproxy.oauth.registration import Registration
from tests.oauth.authorization_server import AuthorizationServer
from tests.virtual_time import EPOCH_S, Clock


class Begin:
    """Begins flows, and closes them in the end."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.flows: list[AuthorizationCode] = []
        self._http = http

    async def __call__(self, registration: Registration, *, listen: bool = False) -> AuthorizationCode:
        def callback(query: Mapping[str, str]) -> Page:
            flow.redirected(of_query(query))
            return Page(200, "Taken", "")

        flow = await AuthorizationCode.begin(registration, self._http, "st_1", callback if listen else None, Clock())
        self.flows.append(flow)
        return flow


@pytest.fixture
async def begin(http: httpx.AsyncClient) -> AsyncIterator[Begin]:
    begin = Begin(http)
    yield begin
    for flow in begin.flows:
        await flow.aclose()


def _query(flow: AuthorizationCode) -> dict[str, list[str]]:
    return parse_qs(urlsplit(flow.prompt.url).query)


async def test_the_address_to_open(server: AuthorizationServer, begin: Begin) -> None:
    parameters = {"prompt": "login", "redirect": "{redirect_uri}"}
    flow = await begin(server.registration(redirect_port=1455, redirect_path="/cb", authorize_params=parameters))
    query = _query(flow)
    assert len(query.pop("code_challenge")[0]) == 43
    assert {name: value for name, (value,) in query.items()} == {
        "response_type": "code",
        "client_id": "test-client",
        "redirect_uri": "http://localhost:1455/cb",
        "scope": "openid email",
        "state": "st_1",
        "code_challenge_method": "S256",
        "prompt": "login",
        "redirect": "http://localhost:1455/cb",
    }
    assert flow.prompt.expires_at_s == EPOCH_S + PENDING_S
    assert not flow.prompt.is_listening


async def test_an_address_with_a_query_of_its_own(server: AuthorizationServer, begin: Begin) -> None:
    flow = await begin(server.registration(authorize_url=f"{server.url}/oauth/authorize?tenant=1", scopes=()))
    assert _query(flow)["tenant"] == ["1"]
    assert "scope" not in _query(flow)


@pytest.mark.parametrize("pkce", [True, False])
async def test_a_browser_brings_the_code_by_itself(
    server: AuthorizationServer, begin: Begin, http: httpx.AsyncClient, pkce: bool
) -> None:
    server.settings.requires_pkce = pkce
    flow = await begin(server.registration(pkce=pkce), listen=True)
    assert flow.prompt.is_listening
    assert ("code_challenge" in _query(flow)) == pkce
    assert (await http.get(flow.prompt.url, follow_redirects=True)).status_code == 200
    tokens = await flow.tokens()
    assert server.issuer.accepts(tokens.access_token)
    assert ("code_verifier" in server.token_requests[0]) == pkce


async def _consented(flow: AuthorizationCode, http: httpx.AsyncClient) -> dict[str, str]:
    """What the server would have the browser bring back."""
    answer = await http.get(flow.prompt.url)
    return {name: value for name, (value,) in parse_qs(urlsplit(answer.headers["location"]).query).items()}


async def test_a_code_of_another_browser_is_useless(
    server: AuthorizationServer, begin: Begin, http: httpx.AsyncClient
) -> None:
    flow, other = await begin(server.registration()), await begin(server.registration())
    flow.redirected(of_query(await _consented(other, http)))
    with pytest.raises(GrantRefused, match="Code challenge failed"):
        await flow.tokens()


async def test_a_denied_login(server: AuthorizationServer, begin: Begin, http: httpx.AsyncClient) -> None:
    server.settings.consent = "deny"
    flow = await begin(server.registration())
    denied = of_query(await _consented(flow, http))
    with pytest.raises(LoginFailed, match="access was denied"):
        flow.redirected(denied)
    with pytest.raises(LoginFailed, match="access was denied"):
        await flow.tokens()


async def test_another_refusal_says_which(server: AuthorizationServer, begin: Begin) -> None:
    flow = await begin(server.registration())
    refusal = of_query({"error": "invalid_scope", "error_description": "no such scope"})
    with pytest.raises(LoginFailed, match="refused with invalid_scope: no such scope"):
        flow.redirected(refusal)


async def test_an_answer_without_a_code_leaves_the_login_waiting(
    server: AuthorizationServer, begin: Begin, http: httpx.AsyncClient
) -> None:
    flow = await begin(server.registration())
    with pytest.raises(LoginFailed, match="no code"):
        flow.redirected(of_query({"state": "st_1"}))
    flow.redirected(of_query(await _consented(flow, http)))
    assert await flow.tokens()


async def test_an_answer_counts_once(server: AuthorizationServer, begin: Begin) -> None:
    flow = await begin(server.registration())
    flow.redirected(of_query({"code": "test-code-1"}))
    flow.redirected(of_query({"code": "test-code-1"}))  # the page was loaded again
    with pytest.raises(LoginFailed, match="has its answer already"):
        flow.redirected(of_query({"code": "test-code-2"}))


async def test_servers_that_take_json_get_the_state_too(
    server: AuthorizationServer, begin: Begin, http: httpx.AsyncClient
) -> None:
    server.settings.bodies = "json"
    flow = await begin(server.registration(token_body="json"))
    flow.redirected(of_query(await _consented(flow, http)))
    await flow.tokens()
    assert server.token_requests[0]["state"] == "st_1"


@pytest.mark.parametrize("missing", ["authorize_url"])
async def test_a_registration_without_a_browser_login(server: AuthorizationServer, begin: Begin, missing: str) -> None:
    fields: dict[str, Any] = {missing: ""}
    with pytest.raises(LoginFailed, match="authorize-url"):
        await begin(server.registration(**fields))

"""The device flow of RFC 8628 against a server that insists on its rules."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cliproxy.oauth.device import begin_device
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, LoginFailed
from cliproxy.oauth.polling import Polling
from tests.answers import Answer
from tests.oauth.authorization_server import AuthorizationServer, Fault
from tests.oauth.waiting import Waiting
from tests.upstream import Upstream
from tests.virtual_time import EPOCH_S


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
async def server(waiting: Waiting) -> AsyncIterator[AuthorizationServer]:
    async with AuthorizationServer(clock=waiting.clock) as running:
        yield running


async def _begin(server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, **fields: Any) -> Polling:
    return await begin_device(server.registration(**fields), http, waiting.clock, waiting.sleep)


async def test_a_confirmed_code_gives_tokens(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    flow = await _begin(server, http, waiting)
    prompt = flow.prompt
    assert prompt.verification_uri == f"{server.url}/device"
    assert prompt.url == f"{server.url}/device?user_code={prompt.user_code}"
    assert prompt.expires_at_s == EPOCH_S + 900
    waiting.then = {3: lambda: server.issuer.decide(prompt.user_code)}
    tokens = await flow.tokens()
    assert server.issuer.accepts(tokens.access_token)
    assert waiting.pauses_s == [5, 5, 5]
    assert [request["grant_type"] for request in server.token_requests] == [
        "urn:ietf:params:oauth:grant-type:device_code"
    ] * 3


async def test_a_server_that_wants_more_time_gets_it(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    server.settings.interval_s, server.settings.enforced_interval_s = 2, 10
    flow = await _begin(server, http, waiting)
    waiting.then = {5: lambda: server.issuer.decide(flow.prompt.user_code)}
    await flow.tokens()
    assert waiting.pauses_s == [2, 2, 7, 12, 12]
    assert server.ledger.refusals["slow_down"] == 2


async def test_a_denied_code(server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.decide(flow.prompt.user_code, agrees=False)
    with pytest.raises(LoginFailed, match="denied"):
        await flow.tokens()


async def test_an_expired_code(server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting) -> None:
    flow = await _begin(server, http, waiting)
    next(iter(server.issuer.device_codes.values())).expires_at_s = EPOCH_S
    with pytest.raises(LoginFailed, match="expired"):
        await flow.tokens()
    assert server.ledger.refusals["expired_token"] == 1


async def test_pkce_binds_the_code_where_the_server_has_it(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    flow = await _begin(server, http, waiting, device_pkce=True)
    assert next(iter(server.issuer.device_codes.values())).code_challenge
    server.issuer.decide(flow.prompt.user_code)
    assert await flow.tokens()
    assert len(server.token_requests[0]["code_verifier"]) >= 43


async def test_without_pkce_nothing_is_said_of_it(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.decide(flow.prompt.user_code)
    await flow.tokens()
    assert "code_verifier" not in server.token_requests[0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503),
        Fault(429, headers={"Retry-After": "1"}),
        Fault(hangs_up=True),
        Fault(200, "no JSON"),
        Fault(403, "<p>"),
    ],
)
async def test_trouble_does_not_end_the_login(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, fault: Fault
) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.decide(flow.prompt.user_code)
    server.fail(fault)
    assert await flow.tokens()
    assert waiting.pauses_s == [5, 10]


async def test_slow_down_counts_with_status_429_too(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.decide(flow.prompt.user_code)
    server.fail(Fault(429, '{"error": "slow_down"}'), Fault(400, '{"error": "authorization_pending"}'))
    assert await flow.tokens()
    assert waiting.pauses_s == [5, 10, 10]


async def test_a_refusal_ends_the_login(server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.device_codes.clear()
    with pytest.raises(LoginFailed, match="Invalid 'device_code'"):
        await flow.tokens()
    assert waiting.pauses_s == [5]


async def test_an_unknown_client_gets_no_code(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    with pytest.raises(GrantRefused, match="registration is wrong"):
        await _begin(server, http, waiting, client_id="other")


async def test_a_registration_without_a_device_address(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    with pytest.raises(LoginFailed, match="device-url"):
        await _begin(server, http, waiting, device_url="")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"<p>",
        b'{"device_code": "test-device-1"}',
        b'{"user_code": "AB", "verification_uri": "https://a/"}',
        b'{"device_code": "d", "user_code": "AB", "verification_uri": "javascript:alert(1)"}',
    ],
)
async def test_garbled_codes(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, upstream: Upstream, body: bytes
) -> None:
    upstream.script(Answer(body=body))
    with pytest.raises(EndpointTrouble):
        await _begin(server, http, waiting, device_url=f"{upstream.url}/device")

"""Codex's device form: JSON endpoints beside each other, and a code exchange with the server's own verifier."""

from collections.abc import AsyncIterator

import httpx
import pytest

from cliproxy.oauth.codex_device import begin_codex_device
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
        running.settings.bodies = "form"  # of the exchange, in the end
        yield running


async def _begin(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, device_url: str = ""
) -> Polling:
    registration = server.registration(device_url=device_url or server.codex_device_url)
    return await begin_codex_device(registration, http, waiting.clock, waiting.sleep)


async def test_a_confirmed_code_gives_tokens(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    server.settings.interval_s = 3
    flow = await _begin(server, http, waiting)
    prompt = flow.prompt
    assert prompt.url == prompt.verification_uri == f"{server.url}/codex/device"
    assert prompt.expires_at_s == EPOCH_S + 900
    waiting.then = {3: lambda: server.issuer.decide(prompt.user_code)}
    tokens = await flow.tokens()
    assert server.issuer.accepts(tokens.access_token)
    assert waiting.pauses_s == [3, 3, 3]
    exchange = server.token_requests[0]
    assert exchange["grant_type"] == "authorization_code"
    assert exchange["redirect_uri"] == f"{server.url}/deviceauth/callback"


async def test_a_denied_code(server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.decide(flow.prompt.user_code, agrees=False)
    with pytest.raises(LoginFailed, match="The user said no"):
        await flow.tokens()


async def test_a_code_that_nobody_confirms_expires(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    server.settings.interval_s = 400
    flow = await _begin(server, http, waiting)
    with pytest.raises(LoginFailed, match="expired"):
        await flow.tokens()
    assert waiting.pauses_s == [400, 400, 100]


async def test_an_exchange_that_fails_is_not_repeated(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    flow = await _begin(server, http, waiting)
    server.issuer.decide(flow.prompt.user_code)
    server.fail(Fault(503))
    with pytest.raises(LoginFailed, match="503"):
        await flow.tokens()
    assert len(server.token_requests) == 1


async def test_an_unknown_client_gets_no_code(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    server.issuer.client.client_id = "other"
    registration = server.registration(device_url=server.codex_device_url, client_id="another")
    with pytest.raises(GrantRefused, match="registration is wrong"):
        await begin_codex_device(registration, http, waiting.clock, waiting.sleep)


async def test_a_server_without_device_codes_says_what_to_do(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting
) -> None:
    with pytest.raises(LoginFailed, match="log in with a browser"):
        await _begin(server, http, waiting, f"{server.url}/nowhere/usercode")


async def test_a_registration_without_a_device_address(http: httpx.AsyncClient, server: AuthorizationServer) -> None:
    waiting = Waiting()
    with pytest.raises(LoginFailed, match="device-url"):
        await begin_codex_device(server.registration(device_url=""), http, waiting.clock, waiting.sleep)


CODE = b'{"device_auth_id": "test-device-1", "user_code": "ABCD-EFGHJ", "interval": "5"}'


async def test_trouble_while_asking_does_not_end_the_login(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, upstream: Upstream
) -> None:
    upstream.script(
        Answer(body=CODE), Answer(status=502), Answer(status=404), Answer(status=400, body=b'{"error": "x"}')
    )
    flow = await _begin(server, http, waiting, f"{upstream.url}/behind/a/proxy/api/accounts/deviceauth/usercode")
    assert flow.prompt.url == f"{upstream.url}/behind/a/proxy/codex/device"
    with pytest.raises(LoginFailed, match="400"):
        await flow.tokens()
    assert [request.path for request in upstream.requests[1:]] == ["/behind/a/proxy/api/accounts/deviceauth/token"] * 3
    assert waiting.pauses_s == [5, 10, 5]


@pytest.mark.parametrize("body", [b"{}", b"<p>", b'{"device_auth_id": "d"}', b'{"user_code": "AB", "interval": 1}'])
async def test_garbled_codes(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, upstream: Upstream, body: bytes
) -> None:
    upstream.script(Answer(body=body))
    with pytest.raises(EndpointTrouble):
        await _begin(server, http, waiting, f"{upstream.url}/usercode")


async def test_a_confirmation_without_a_code(
    server: AuthorizationServer, http: httpx.AsyncClient, waiting: Waiting, upstream: Upstream
) -> None:
    upstream.script(Answer(body=CODE), Answer(body=b'{"authorization_code": "test-code-1"}'))
    flow = await _begin(server, http, waiting, f"{upstream.url}/usercode")
    with pytest.raises(LoginFailed, match="without a code"):
        await flow.tokens()

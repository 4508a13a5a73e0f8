"""Logins as a terminal and the management API see them: a state, a status, a result, and nothing left behind."""

import asyncio
import re
import socket
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, LoginFailed
from cliproxy.oauth.login import FINISHED_S, Kind, LoginSession, LoginSessions
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from tests.oauth.authorization_server import AuthorizationServer, Fault
from tests.virtual_time import Clock


async def _begin(
    server: AuthorizationServer, http: httpx.AsyncClient, kind: Kind = "browser", **options: Any
) -> LoginSession:
    device_url = {"device_url": server.codex_device_url} if kind == "codex-device" else {}
    return await LoginSession.begin("codex", kind, server.registration(**device_url), http, **options)


async def _redirect(session: LoginSession, http: httpx.AsyncClient) -> str:
    """The address to which the browser would be sent back."""
    return (await http.get(session.prompt.url)).headers["location"]


def _query(url: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


def _is_taken(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except ConnectionRefusedError:
        return False


def _port(session: LoginSession) -> int:
    return urlsplit(_query(session.prompt.url)["redirect_uri"]).port or 0


# ---------------------------------------------------------------- one login


async def test_a_state_is_random_and_safe_in_a_file_name(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    states = set[str]()
    for _ in range(20):
        async with aclosing(await _begin(server, http, listen=False)) as session:
            states.add(session.state)
    assert len(states) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{32,128}", state) and ".." not in state for state in states)


async def test_a_browser_on_this_machine(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    session = await _begin(server, http)
    assert (session.status, session.error, session.ended_at_s) == ("wait", "", None)
    page = await http.get(session.prompt.url, follow_redirects=True)
    assert (page.status_code, "close this window" in page.text) == (200, True)
    tokens = await session.result()
    assert server.issuer.accepts(tokens.access_token)
    assert (session.status, session.error) == ("ok", "")
    assert not _is_taken(_port(session))


async def test_the_page_is_still_there_while_the_code_is_traded(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    gate = asyncio.Event()
    server.fail(Fault(None, gate=gate))
    session = await _begin(server, http)
    result = asyncio.create_task(session.result())
    url = await _redirect(session, http)
    for _ in range(2):  # browsers load pages twice at times
        assert (await http.get(url)).status_code == 200
    gate.set()
    assert await result


@pytest.mark.parametrize("what", ["url", "query", "code#state", "code"])
async def test_pasting_needs_neither_browser_nor_port(
    server: AuthorizationServer, http: httpx.AsyncClient, what: str
) -> None:
    session = await _begin(server, http, listen=False)
    url = await _redirect(session, http)
    code, state = _query(url)["code"], _query(url)["state"]
    session.paste({"url": url, "query": urlsplit(url).query, "code#state": f"{code}#{state}", "code": code}[what])
    assert await session.result()


async def test_pasting_goes_on_where_the_port_is_taken(
    server: AuthorizationServer, http: httpx.AsyncClient, free_port: int
) -> None:
    registration = server.registration(redirect_port=free_port)
    first = await LoginSession.begin("codex", "browser", registration, http)
    async with aclosing(first):
        session = await LoginSession.begin("codex", "browser", registration, http)
        assert (first.prompt.is_listening, session.prompt.is_listening) == (True, False)
        session.paste(await _redirect(session, http))
        assert await session.result()


async def test_a_wrong_answer_leaves_the_login_waiting(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    session = await _begin(server, http)
    callback = f"http://127.0.0.1:{_port(session)}/callback"
    for query in ("code=test-code-1&state=other", "code=test-code-1", "error=access_denied&state=other", "state=other"):
        page = await http.get(f"{callback}?{query}")
        assert (page.status_code, "another login" in page.text) == (400, True)
    page = await http.get(f"{callback}?state={session.state}")
    assert (page.status_code, "no code" in page.text) == (400, True)
    for text in ("test-code-1#other", f"{callback}?error=access_denied&state=other", "", session.prompt.url):
        with pytest.raises(LoginFailed):
            session.paste(text)
    assert session.status == "wait"
    session.paste(await _redirect(session, http))
    assert await session.result()


async def test_a_denied_login_says_so_here_and_in_the_browser(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    server.settings.consent = "deny"
    session = await _begin(server, http)
    page = await http.get(session.prompt.url, follow_redirects=True)
    assert (page.status_code, "Access was denied" in page.text) == (400, True)
    with pytest.raises(LoginFailed, match="access was denied"):
        await session.result()
    assert (session.status, "access was denied" in session.error) == ("error", True)


async def test_what_an_attacker_writes_into_the_callback_stays_text(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    session = await _begin(server, http, listen=False)
    async with aclosing(session):
        evil = "<img src=x onerror=alert(1)>"
        page = session.callback({"error": evil, "error_description": evil, "state": session.state})
    assert "<img" not in page.html
    assert "&lt;img" in page.html


@pytest.mark.parametrize("kind", ["device", "codex-device"])
async def test_logins_on_another_device(server: AuthorizationServer, http: httpx.AsyncClient, kind: Kind) -> None:
    async def sleep(seconds: float) -> None:
        server.issuer.decide(session.prompt.user_code)

    session = await _begin(server, http, kind, sleep=sleep)
    with pytest.raises(LoginFailed, match="not for an address"):
        session.paste("test-code-1")
    assert server.issuer.accepts((await session.result()).access_token)


async def test_an_exchange_that_fails_ends_the_login(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    for fault, kind in ((Fault(503), EndpointTrouble), (Fault(400, '{"error": "invalid_grant"}'), GrantRefused)):
        session = await _begin(server, http, listen=False)
        server.fail(fault)
        session.paste("test-code-1")
        with pytest.raises(kind):
            await session.result()
        assert session.status == "error"
        assert "test-code-1" not in session.error


@pytest.mark.parametrize("kind", ["browser", "device", "codex-device"])
async def test_cancelling_ends_a_login_at_once(
    server: AuthorizationServer, http: httpx.AsyncClient, kind: Kind
) -> None:
    session = await _begin(server, http, kind, sleep=lambda seconds: asyncio.Event().wait())
    result = asyncio.create_task(session.result())
    await asyncio.sleep(0)
    session.cancel()
    with pytest.raises(LoginFailed, match="cancelled"):
        await result
    assert (session.status, session.error) == ("error", "cancelled")
    session.cancel()


async def test_cancelling_stops_an_exchange(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    server.fail(Fault(gate=asyncio.Event()))
    session = await _begin(server, http, listen=False)
    session.paste("test-code-1")
    result = asyncio.create_task(session.result())
    await server.asked(1)
    session.cancel()
    with pytest.raises(LoginFailed, match="cancelled"):
        await result


async def test_cancelling_before_anyone_waits(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    session = await _begin(server, http)
    session.cancel()
    with pytest.raises(LoginFailed, match="cancelled"):
        await session.result()
    assert not _is_taken(_port(session))


async def test_a_task_that_is_cancelled_leaves_nothing_behind(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    session = await _begin(server, http)
    result = asyncio.create_task(session.result())
    await asyncio.sleep(0)
    result.cancel()
    with pytest.raises(asyncio.CancelledError):
        await result
    assert (session.status, session.error) == ("error", "cancelled")
    assert not _is_taken(_port(session))


async def test_nobody_is_waited_for_longer_than_the_prompt_says(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    clock = Clock()
    session = await _begin(server, http, clock=clock)
    clock.pass_s(30 * 60)
    with pytest.raises(LoginFailed, match="in time"):
        await session.result()


async def test_a_login_has_succeeded_when_it_is_kept(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    seen: list[str] = []

    async def save(tokens: Tokens) -> str:
        seen.append(session.status)
        return "file.json"

    session = await _begin(server, http, listen=False)
    session.paste(await _redirect(session, http))
    assert await session.complete(save) == "file.json"
    assert (seen, session.status) == (["wait"], "ok")


async def test_a_login_that_cannot_be_kept_has_failed(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    async def save(tokens: Tokens) -> None:
        raise OSError("the disk is full")

    session = await _begin(server, http, listen=False)
    session.paste(await _redirect(session, http))
    with pytest.raises(OSError, match="full"):
        await session.complete(save)
    assert (session.status, session.error) == ("error", "the disk is full")


async def test_without_a_client_there_is_no_login(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    with pytest.raises(LoginFailed, match=r"providers\.codex\.oauth\.client-id"):
        await LoginSession.begin("codex", "browser", server.registration(client_id=""), http)


# ---------------------------------------------------------------- many logins


class Saved:
    """Keeps tokens."""

    def __init__(self) -> None:
        self.tokens: list[Tokens] = []
        self.arrived = asyncio.Event()

    async def __call__(self, tokens: Tokens) -> None:
        self.tokens.append(tokens)
        self.arrived.set()


async def test_a_login_goes_on_by_itself(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    sessions, saved, own = LoginSessions(), Saved(), http_client("direct")
    session = await sessions.begin("codex", "browser", server.registration(), own, saved)
    assert sessions.get(session.state) is session
    await http.get(session.prompt.url, follow_redirects=True)
    await saved.arrived.wait()
    await sessions.close()
    assert session.status == "ok"
    assert own.is_closed


async def test_what_has_ended_is_forgotten_after_a_minute(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    clock, saved = Clock(), Saved()
    sessions = LoginSessions(clock)
    registration = server.registration()
    session = await sessions.begin("codex", "browser", registration, http_client("direct"), saved, listen=False)
    clock.pass_s(600)
    assert sessions.get(session.state) is session
    session.paste(await _redirect(session, http))
    await saved.arrived.wait()
    await sessions.close()
    clock.pass_s(FINISHED_S)
    assert sessions.get(session.state) is session
    assert list(sessions) == [session]
    clock.pass_s(1)
    assert sessions.get(session.state) is None
    assert list(sessions) == []


async def test_a_newer_login_takes_the_place_of_one_that_waits(
    server: AuthorizationServer, http: httpx.AsyncClient, free_port: int
) -> None:
    sessions, saved = LoginSessions(), Saved()
    registration = server.registration(redirect_port=free_port)
    first = await sessions.begin("codex", "browser", registration, http_client("direct"), saved)
    other = await sessions.begin("claude", "browser", server.registration(), http_client("direct"), saved)
    second = await sessions.begin("codex", "browser", registration, http_client("direct"), saved)
    assert (first.status, other.status, second.status) == ("error", "wait", "wait")
    assert second.prompt.is_listening
    await http.get(second.prompt.url, follow_redirects=True)
    await saved.arrived.wait()
    await sessions.close()
    assert (second.status, other.status) == ("ok", "error")
    assert not _is_taken(free_port)


async def test_closing_ends_what_has_hardly_begun(server: AuthorizationServer) -> None:
    sessions, own = LoginSessions(), http_client("direct")
    session = await sessions.begin("codex", "browser", server.registration(), own, Saved())
    await sessions.close()
    assert (session.status, session.error) == ("error", "cancelled")
    assert own.is_closed
    assert not _is_taken(_port(session))


async def test_a_login_that_cannot_begin_leaves_no_client_open(server: AuthorizationServer) -> None:
    sessions, own = LoginSessions(), http_client("direct")
    with pytest.raises(LoginFailed):
        await sessions.begin("codex", "browser", server.registration(client_id=""), own, Saved())
    assert own.is_closed


async def test_a_login_that_fails_is_told_without_a_stack(
    server: AuthorizationServer, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    reached = asyncio.Event()

    async def save(tokens: Tokens) -> None:
        reached.set()
        raise OSError("the disk is full")

    sessions = LoginSessions()
    session = await sessions.begin("codex", "browser", server.registration(), http_client("direct"), save, listen=False)
    session.paste(await _redirect(session, http))
    await reached.wait()
    await sessions.close()
    assert (session.status, session.error) == ("error", "the disk is full")
    assert "the login to codex failed: the disk is full" in caplog.text
    assert "Traceback" not in caplog.text


def test_any_text_may_be_asked_for_as_a_state() -> None:
    sessions = LoginSessions()
    assert [sessions.get(state) for state in ("", "../../etc/passwd", "x" * 10_000)] == [None] * 3

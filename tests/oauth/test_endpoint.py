"""What an endpoint answers is told apart: refused for good, in trouble, or fine; and secrets stay out of it."""

import asyncio
import json
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from cliproxy.oauth import endpoint
from cliproxy.oauth.endpoint import Answer, number, post
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from tests.oauth.authorization_server import AuthorizationServer, Fault

SECRET = "test-refresh-token"


async def _answer(server: AuthorizationServer, http: httpx.AsyncClient, fault: Fault) -> Answer:
    server.fail(fault)
    return await post(f"{server.url}/oauth/token", {"refresh_token": SECRET, "client_id": "test-client"}, http)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": "invalid_grant"}, "invalid_grant"),
        (403, {"error": "unauthorized_client", "error_description": "not for you"}, "unauthorized_client"),
        (401, {"error": "invalid_client"}, "invalid_client"),
        (400, {"error": "invalid_scope"}, "invalid_scope"),
        (401, {"error": {"code": "refresh_token_expired", "message": "gone"}}, "refresh_token_expired"),
        (400, {"error": {"message": "refresh_token_reused: sign in again"}}, "refresh_token_reused"),
        (400, "the words refresh_token_reused in no JSON", "refresh_token_reused"),
        (401, {"error": {"type": "authentication_error", "message": "no"}}, "authentication_error"),
        (401, {"message": "token revoked"}, "unauthorized"),
        (200, {"error": "invalid_grant"}, "invalid_grant"),
    ],
)
async def test_a_refusal_is_for_good(
    server: AuthorizationServer, http: httpx.AsyncClient, status: int, body: Any, code: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    fault = (await _answer(server, http, Fault(status, text))).fault()
    assert isinstance(fault, GrantRefused)
    assert fault.code == code


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "{}"),
        (503, '{"error": "invalid_grant"}'),
        (429, '{"error": "invalid_grant"}'),
        (429, '{"error": {"type": "rate_limit_error", "message": "slow down"}}'),
        (403, "<html><title>Just a moment</title></html>"),
        (401, "<html>Sign in to the company's proxy</html>"),
        (403, '{"error": {"type": "forbidden", "message": "Request not allowed"}}'),
        (400, '{"error": "invalid_request"}'),
        (400, '{"error": "temporarily_unavailable"}'),
        (404, ""),
        (302, ""),
        (200, "no JSON"),
        (200, "[]"),
    ],
)
async def test_whatever_is_not_known_to_be_a_refusal_is_trouble(
    server: AuthorizationServer, http: httpx.AsyncClient, status: int, body: str
) -> None:
    answer = await _answer(server, http, Fault(status, body))
    assert not answer.is_success
    assert isinstance(answer.fault(), EndpointTrouble)


async def test_a_wrong_registration_is_said_to_be_one(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    body = '{"error": "invalid_client", "error_description": "who?"}'
    assert "registration is wrong" in str((await _answer(server, http, Fault(401, body))).fault())


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("0.5", 0.5), ("9" * 20, 86_400), ("soon", None), ("-3", None), ("", None), ("inf", None)],
)
async def test_retry_after_in_seconds(
    server: AuthorizationServer, http: httpx.AsyncClient, retry_after: str, seconds: float | None
) -> None:
    headers = {"Retry-After": retry_after} if retry_after else {}
    fault = (await _answer(server, http, Fault(429, headers=headers))).fault()
    assert isinstance(fault, EndpointTrouble)
    assert fault.retry_after_s == seconds


async def test_a_date_in_retry_after_is_by_the_servers_clock(
    server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    server.settings.skew_s = 5000
    retry_after = formatdate(server.issuer.now_s + 60, usegmt=True)
    answer = await _answer(server, http, Fault(503, headers={"Retry-After": retry_after}))
    assert answer.server_time_s == pytest.approx(answer.received_at_s + 5000, abs=5)
    assert answer.retry_after_s == pytest.approx(60, abs=2)


async def test_secrets_are_masked_in_what_the_server_says(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    other = "sk-test-ort01-" + "a1b2c3" * 8
    words = f"the token {SECRET} is not {other}\x1b[2J\nsorry"
    fault = (
        await _answer(server, http, Fault(400, json.dumps({"error": "invalid_grant", "error_description": words})))
    ).fault()
    message = f"{fault} {fault!r}"
    assert SECRET not in message
    assert other not in message
    assert "\x1b" not in message
    assert "sorry" in message


async def test_words_of_a_refusal_in_a_success_are_none(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    body = '{"access_token": "test-access-1", "hint": "refresh_token_reused is an error"}'
    assert (await _answer(server, http, Fault(200, body))).is_success


async def test_an_answer_shows_no_body(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    answer = await _answer(server, http, Fault(200, '{"access_token": "test-access-1"}'))
    assert answer.is_success
    assert "test-access-1" not in repr(answer)


async def test_long_words_of_the_server_are_cut(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    assert len((await _answer(server, http, Fault(400, "so much " * 1000))).words) <= 300


async def test_a_form_and_json(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    for as_json, kind in ((False, "application/x-www-form-urlencoded"), (True, "application/json")):
        await post(f"{server.url}/oauth/token", {"code": "a&b=c é"}, http, as_json=as_json)
        assert server.token_requests[-1] == {"code": "a&b=c é"}
        assert server.headers[-1]["content-type"] == kind


# ---------------------------------------------------------------- no answer


async def test_a_slow_server_is_given_up(
    server: AuthorizationServer, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "TIME_LIMIT_S", 0.05)
    with pytest.raises(EndpointTrouble, match=r"did not answer within 0\.05 s"):
        await _answer(server, http, Fault(gate=asyncio.Event()))


async def test_a_server_that_hangs_up_is_trouble(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    with pytest.raises(EndpointTrouble, match="failed"):
        await _answer(server, http, Fault(hangs_up=True))


async def test_an_endless_answer_is_trouble(server: AuthorizationServer, http: httpx.AsyncClient) -> None:
    with pytest.raises(EndpointTrouble, match="more than"):
        await _answer(server, http, Fault(200, " " * (2**20 + 1)))


async def test_a_server_that_is_not_there_is_trouble(http: httpx.AsyncClient, free_port: int) -> None:
    with pytest.raises(EndpointTrouble, match=f"127.0.0.1:{free_port} failed"):
        await post(f"http://user:test-word@127.0.0.1:{free_port}/", {}, http)


@pytest.mark.parametrize("url", ["", "auth.example.com/token", "http://[::1/", "http://a b/", "ftp://example.com/"])
async def test_an_address_that_is_none_is_trouble(http: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(EndpointTrouble):
        await post(url, {}, http)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        ("3600", 3600),
        (1.5, 1.5),
        (0, 0),
        (-1, None),
        (True, None),
        (None, None),
        ("x", None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("1e999", None),
    ],
)
def test_numbers(value: Any, expected: float | None) -> None:
    assert number(value) == expected

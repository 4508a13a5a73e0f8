"""iFlow, against a mock that refuses what the platform refuses: with status 200, in its own envelope."""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.iflow import VENDOR, signature
from cliproxy.providers.vendor import Place
from tests import native
from tests.answers import Answer
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import TOKEN, answer, clients, credential, said, sent
from tests.upstream import Received, Upstream

KEY = "sk-test-1"
MAX_SKEW_MS = 60_000


def refusal(status: str, message: str) -> Answer:
    return answer({"status": status, "msg": message, "body": None})


def judge(received: Received) -> Answer | None:
    headers = received.headers
    if headers.get("authorization") != f"Bearer {KEY}":
        return refusal("434", "Invalid apiKey")
    signed = ":".join(headers.get(name, "") for name in ("user-agent", "session-id", "x-iflow-timestamp"))
    expected = hmac.new(KEY.encode(), signed.encode(), hashlib.sha256).hexdigest()
    skew_ms = abs(int(headers.get("x-iflow-timestamp", 0)) - time.time() * 1000)
    if headers.get("x-iflow-signature") != expected or skew_ms > MAX_SKEW_MS:
        return refusal("406", "signature check failed")
    if received.path != "/v1/chat/completions":
        return answer({"timestamp": "2026-01-01T00:00:00.000+00:00", "status": 404, "error": "Not Found"}, 404)
    body = received.json
    if body["model"] != "glm-4.6":
        return refusal("435", "Model not support")
    if body.get("tools") == [] or "reasoning_effort" in body:
        return refusal("400", "Invalid request")
    return None


@pytest.fixture
async def iflow() -> AsyncIterator[Upstream]:
    async with Upstream(judge=judge) as upstream:
        yield upstream


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(iflow: Upstream, client: Format) -> None:
    iflow.script(native.tool_call("openai-chat", stream=True), native.text("openai-chat", stream=True))
    async with clients(credential(VENDOR, f"{iflow.url}/v1", "glm-4.6", api_key=KEY)) as over:
        go_through, finishes = LOOPS[client]
        loop = await go_through(over)
    assert (loop.name, loop.arguments, loop.text, loop.finishes) == (
        "get_weather",
        CITY,
        "hello from upstream",
        finishes,
    )
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    sessions = {request.headers["session-id"] for request in iflow.requests}
    assert len(sessions) == 1


@pytest.mark.parametrize("client", FORMATS)
async def test_whole_answers_come_too(iflow: Upstream, client: Format) -> None:
    async with clients(credential(VENDOR, f"{iflow.url}/v1", "glm-4.6", api_key=KEY)) as over:
        assert await said(over, client) == "hello from upstream"


async def test_a_key_of_the_config_signs_too(iflow: Upstream) -> None:
    entry = {
        "name": "iflow-keys", "base-url": f"{iflow.url}/v1", "dialect": "iflow", "api-key-entries": [KEY],
        "models": [{"name": "glm-4.6", "alias": "model"}],
    }  # fmt: skip
    async with clients(openai_compatibility=[entry]) as over:
        assert await said(over, "anthropic") == "hello from upstream"


# ---------------------------------------------------------------- requests


def test_the_signature_is_the_documented_one() -> None:
    expected = "e42963e253333206027e32351580e1c1846b63936c65aed385cd41095aa516e9"
    assert signature("secret", "iFlow-Cli", "session-1", "1234567890") == expected


def test_what_is_signed_is_what_is_sent() -> None:
    body: dict[str, Any] = {"messages": []}
    for headers in ({}, {"User-Agent": "own/1"}):
        _, shown, _ = sent(VENDOR, body, api_key=KEY, headers=headers)
        agent, session, now_ms = (shown[name] for name in ("User-Agent", "session-id", "x-iflow-timestamp"))
        assert shown["x-iflow-signature"] == signature(KEY, agent, session, now_ms)
        assert agent.startswith("own/1" if headers else "cliproxy")


def test_answers_come_as_they_can_be_looked_into() -> None:
    _, headers, body = sent(VENDOR, {"messages": [], "stream": True}, api_key=KEY, headers={"accept-encoding": "br"})
    assert headers.getall("accept-encoding") == ["identity"]
    assert body["stream_options"] == {"include_usage": True}


def test_a_conversation_keeps_its_session_and_does_not_tell_its_key() -> None:
    one, same, other, unknown, again = (
        sent(VENDOR, {"messages": []}, api_key=KEY, session=session)[1]["session-id"]
        for session in ("my-conversation", "my-conversation", "other", "", "")
    )
    assert one == same
    assert len({one, other, unknown, again}) == 4
    assert one.startswith("session-")
    assert "my-conversation" not in one


@pytest.mark.parametrize(
    ("model", "asked", "understood"),
    [
        ("glm-4.6", {}, {}),
        ("glm-4.6", {"reasoning_effort": "high"},
         {"chat_template_kwargs": {"enable_thinking": True, "clear_thinking": False}}),
        ("GLM-4.6", {"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("glm-4.6", {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False, "own": 1}},
         {"chat_template_kwargs": {"enable_thinking": False, "clear_thinking": False, "own": 1}}),
        ("deepseek-v3.2", {"reasoning_effort": "high"}, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("minimax-m2", {"reasoning_effort": "high"}, {"reasoning_split": True}),
        ("minimax-m2", {"reasoning_effort": "none"}, {"reasoning_split": False}),
        ("qwen3-coder-plus", {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
    ],
)  # fmt: skip
def test_each_makers_models_have_their_own_switch(model: str, asked: Any, understood: Any) -> None:
    body = {"model": model, "messages": []}
    assert sent(VENDOR, {**body, **asked}, api_key=KEY)[2] == {**body, **understood}


async def test_a_client_that_says_all_this_wrong_is_served(iflow: Upstream) -> None:
    asked: Any = {"model": "model", "messages": [{"role": "developer", "content": "be brief"}], "tools": []}
    async with clients(credential(VENDOR, f"{iflow.url}/v1", "glm-4.6", api_key=KEY)) as over:
        completion = await over.openai.chat.completions.create(**asked, reasoning_effort="high")
    assert completion.choices[0].message.content == "hello from upstream"
    assert iflow.requests[0].json["messages"][0]["role"] == "system"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (refusal("439", "Your API Token has expired."), 401),
        (refusal("449", "You exceeded your current rate limit"), 429),
        (refusal("435", "Model not support"), 404),
        (answer({"error_code": "iflow_business_error", "msg": "Model not support"}), 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_that_comes_as_a_success_is_told_as_one(refused: Answer, status: int, stream: bool) -> None:
    asked = {"model": "model", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    async with Upstream() as upstream:
        upstream.script(refused)
        async with clients(credential(VENDOR, upstream.url, "glm-4.6", api_key=KEY), request_retry=0) as over:
            reply = await over.http.post(
                "/v1/chat/completions", json=asked, headers={"authorization": "Bearer sk-test-client"}
            )
    assert (reply.status_code, refused.whole.decode().split('"msg": "')[1].split('"')[0] in reply.text) == (
        status,
        True,
    )


async def test_another_account_takes_over_what_one_may_not_do() -> None:
    async with Upstream() as upstream:
        upstream.script(refusal("449", "You exceeded your current rate limit"))
        accounts = [credential(VENDOR, upstream.url, "glm-4.6", api_key=f"{KEY}-{number}") for number in range(2)]
        async with clients(*accounts) as over:
            assert await said(over, "openai-responses") == "hello from upstream"
    assert len({request.headers["authorization"] for request in upstream.requests}) == 2


# ---------------------------------------------------------------- accounts


def place(upstream: Upstream) -> Place:
    assert VENDOR.registration
    registration = replace(
        VENDOR.registration,
        client_id="test-client",
        client_secret="test-secret",
        token_url=f"{upstream.url}/oauth/token",
        userinfo_url=f"{upstream.url}/api/oauth/getUserInfo",
    )
    return Place(VENDOR.base_url, registration=registration)


USER = {"success": True, "data": {"apiKey": "sk-test-2", "email": "me@example.com", "phone": "1"}}


async def test_a_login_leads_to_an_api_key(upstream: Upstream) -> None:
    upstream.script(answer(USER), answer({"success": True, "data": {"apiKey": "sk-test-3", "phone": "1"}}))
    async with http_client("direct") as http:
        first = await VENDOR.identify(Tokens(TOKEN), place(upstream), http)
        second = await VENDOR.identify(Tokens("test access+2"), place(upstream), http)
    assert first == {"api_key": "sk-test-2", "email": "me@example.com"}
    assert second == {"api_key": "sk-test-3", "email": "1"}
    assert [parse_qs(request.query) for request in upstream.requests] == [
        {"accessToken": [TOKEN]},
        {"accessToken": ["test access+2"]},
    ]
    assert VENDOR.file_stem(first) == "me@example.com"


@pytest.mark.parametrize("told", [answer({"success": False}), answer({"success": True, "data": None}), answer({}, 500)])
async def test_a_login_without_a_key_is_none_and_tells_no_token(upstream: Upstream, told: Answer) -> None:
    upstream.script(told)
    async with http_client("direct") as http:
        with pytest.raises(EndpointTrouble) as raised:
            await VENDOR.identify(Tokens(TOKEN), place(upstream), http)
    assert TOKEN not in str(raised.value)


async def test_new_tokens_come_with_the_key_that_they_lead_to(upstream: Upstream) -> None:
    assert VENDOR.renew
    tokens = answer({"access_token": "test-access-2", "refresh_token": "test-refresh-2", "expires_in": 900})
    upstream.script(tokens, answer(USER), tokens, answer({}, 503))
    async with http_client("direct") as http:
        renewed = await VENDOR.renew({"refresh_token": "test-refresh-1"}, place(upstream), http)
        without = await VENDOR.renew({"refresh_token": "test-refresh-1"}, place(upstream), http)
        with pytest.raises(GrantRefused):
            await VENDOR.renew({"api_key": KEY}, place(upstream), http)
    assert (renewed.access_token, renewed.extra["api_key"]) == ("test-access-2", "sk-test-2")
    # The refresh token is spent: the new one must be kept though the key was not told.
    assert (without.refresh_token, "api_key" in without.extra) == ("test-refresh-2", False)
    sent_form = parse_qs(upstream.requests[0].body.decode())
    assert (sent_form["grant_type"], sent_form["client_secret"]) == (["refresh_token"], ["test-secret"])


def test_no_registration_is_shipped() -> None:
    registration = VENDOR.registration
    assert registration
    assert (registration.client_id, registration.client_secret) == ("", "")
    # Filled in where the login is begun: the port may be another.
    assert registration.authorize_params["redirect"] == "{redirect_uri}"

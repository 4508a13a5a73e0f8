"""Qwen, against a mock that refuses what the portal refuses, in its words."""

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.qwen import VENDOR
from cliproxy.providers.vendor import Place
from tests import native
from tests.answers import Answer
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import TOKEN, answer, clients, confirmed, credential, refusal, said, sent
from tests.upstream import Received, Upstream

MARK = {"cache_control": {"type": "ephemeral"}}


def judge(received: Received) -> Answer | None:
    if received.headers.get("authorization") != f"Bearer {TOKEN}":
        return refusal(401, "invalid access token or token expired", "invalid_request_error", code="invalid_api_key")
    if received.headers.get("x-dashscope-authtype") != "qwen-oauth":
        return refusal(401, "invalid access token or token expired", "invalid_request_error", code="invalid_api_key")
    if received.path != "/v1/chat/completions":
        return refusal(404, "Not Found")
    body = received.json
    for index, message in enumerate(body["messages"]):
        if message["role"] not in ("system", "user", "assistant", "tool"):
            return refusal(400, f"{message['role']} is not one of ['system', 'assistant', 'user', 'tool', 'function']")
        if message["role"] == "system" and index:
            return refusal(400, "System message must be at the beginning.")
        if message["role"] == "system" and "cache_control" not in message["content"][-1]:
            return refusal(400, "Required body invalid, please check the request body format.")
    if body.get("tools") == []:
        return refusal(400, "[] is too short - 'tools'")
    if "reasoning_effort" in body:
        return refusal(400, "the mock knows no efforts")
    if body.get("enable_thinking") and not body.get("stream"):
        return refusal(400, "parameter.enable_thinking must be set to false for non-streaming calls")
    return None


@pytest.fixture
async def qwen() -> AsyncIterator[Upstream]:
    async with Upstream(judge=judge) as upstream:
        yield upstream


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(qwen: Upstream, client: Format) -> None:
    qwen.script(native.tool_call("openai-chat", stream=True), native.text("openai-chat", stream=True))
    async with clients(credential(VENDOR, VENDOR.base_url, "coder-model", resource_url=qwen.url)) as over:
        go_through, finishes = LOOPS[client]
        loop = await go_through(over)
    assert (loop.name, loop.arguments, loop.text, loop.finishes) == (
        "get_weather",
        CITY,
        "hello from upstream",
        finishes,
    )
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    assert all(request.json["stream_options"] == {"include_usage": True} for request in qwen.requests)


@pytest.mark.parametrize("client", FORMATS)
async def test_whole_answers_come_too(qwen: Upstream, client: Format) -> None:
    async with clients(credential(VENDOR, f"{qwen.url}/v1", "coder-model")) as over:
        assert await said(over, client) == "hello from upstream"


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://portal.qwen.ai/v1"),
        (
            {"resource_url": "dashscope.aliyuncs.com/compatible-mode"},
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
        ),
        ({"resource_url": "portal.qwen.ai"}, "https://portal.qwen.ai/v1"),
        ({"resource_url": "https://other.test/v1"}, "https://other.test/v1"),
        ({"resource_url": "portal.qwen.ai", "base_url": "http://own.test/v1"}, "http://own.test/v1"),
    ],
)
def test_the_login_says_where_its_api_is(fields: dict[str, Any], url: str) -> None:
    assert sent(VENDOR, {"messages": []}, **fields)[0] == f"{url}/chat/completions"


def test_the_config_has_the_last_word_on_it() -> None:
    url, _, _ = sent(VENDOR, {"messages": []}, url="http://proxy.test/v1", resource_url="portal.qwen.ai")
    assert url == "http://proxy.test/v1/chat/completions"


def test_the_headers_say_what_we_are() -> None:
    _, headers, _ = sent(VENDOR, {"messages": []})
    assert headers["X-DashScope-CacheControl"] == "enable"
    assert headers["X-DashScope-UserAgent"].startswith("cliproxy")
    assert headers["Authorization"] == f"Bearer {TOKEN}"


def part(text: str, **mark: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **mark}


def test_instructions_stand_in_one_message_at_the_front() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [part("two"), part("three")]},
        {"role": "user", "content": "b"},
        {"role": "system", "content": ""},
    ]
    gathered = sent(VENDOR, {"messages": messages})[2]["messages"]
    assert gathered == [
        {"role": "system", "content": [part("one"), part("two"), part("three", **MARK)]},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ]
    assert sent(VENDOR, {"messages": [messages[0]]})[2]["messages"] == [messages[0]]


def test_a_streamed_conversation_is_cached_up_to_its_end() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    turns: list[Any] = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    body = {"messages": turns, "tools": tools, "stream": True}
    marked = sent(VENDOR, body)[2]
    assert marked["messages"] == [turns[0], {"role": "user", "content": [part("b", **MARK)]}]
    assert marked["tools"] == [tools[0], {**tools[1], **MARK}]
    own = {"role": "user", "content": [part("a", **MARK)]}
    for body in ({"messages": [own, turns[1]], "stream": True}, {"messages": turns}):
        assert sent(VENDOR, body)[2]["messages"] == body["messages"]


def test_a_stream_ends_with_its_usage() -> None:
    assert sent(VENDOR, {"messages": [], "stream": True})[2]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("asked", "understood"),
    [
        ({"stream": True}, {}),
        ({"stream": True, "reasoning_effort": "high"}, {"enable_thinking": True}),
        ({"stream": True, "reasoning_effort": "high", "enable_thinking": False}, {"enable_thinking": False}),
        ({"reasoning_effort": "high"}, {}),
        ({"reasoning_effort": "none"}, {"enable_thinking": False}),
        ({"model": "qwen3.8-max", "reasoning_effort": "high"}, {"reasoning_effort": "high"}),
    ],
)
def test_thinking_is_on_or_off(asked: Any, understood: Any) -> None:
    body = sent(VENDOR, {"model": "coder-model", "messages": [], **asked})[2]
    assert {name: body[name] for name in ("enable_thinking", "reasoning_effort") if name in body} == understood


async def test_a_client_that_says_all_this_wrong_is_served(qwen: Upstream) -> None:
    messages: Any = [{"role": "user", "content": "hi"}, {"role": "developer", "content": "be brief"}]
    asked: Any = {"model": "model", "messages": messages, "tools": [], "tool_choice": "none", "reasoning_effort": "low"}
    async with clients(credential(VENDOR, f"{qwen.url}/v1", "coder-model")) as over:
        completion = await over.openai.chat.completions.create(**asked)
    assert completion.choices[0].message.content == "hello from upstream"


# ---------------------------------------------------------------- refusals and accounts


@pytest.mark.parametrize(
    "refused",
    [
        refusal(403, "You exceeded your current quota", "insufficient_quota", code="insufficient_quota"),
        refusal(403, "Free allocated quota exceeded.", "invalid_request_error"),
    ],
)
async def test_a_used_up_quota_is_told_as_one(refused: Answer) -> None:
    asked = {"model": "model", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": "Bearer sk-test-client"}
    async with Upstream() as upstream:
        upstream.script(refused)
        async with clients(credential(VENDOR, f"{upstream.url}/v1", "coder-model"), request_retry=0) as over:
            await over.http.post("/v1/chat/completions", json=asked, headers=headers)
            reply = await over.http.post("/v1/chat/completions", json=asked, headers=headers)
    # What has rested for its quota says so to those who come meanwhile.
    assert (reply.status_code, len(upstream.requests)) == (429, 1)


async def test_a_login_is_confirmed_with_a_code_that_is_bound_to_us(upstream: Upstream) -> None:
    code = {
        "user_code": "ABCD1234", "device_code": "test-device-1", "expires_in": 900,
        "verification_uri": "https://qwen.test/authorize",
        "verification_uri_complete": "https://qwen.test/authorize?user_code=ABCD1234&client=qwen-code",
    }  # fmt: skip
    tokens = {
        "access_token": TOKEN,
        "refresh_token": "test-refresh-1",
        "expires_in": 900,
        "resource_url": "portal.test",
    }
    waiting = answer({"error": "authorization_pending", "error_description": "…"}, 400)
    slower = answer({"error": "slow_down", "error_description": "…"}, 429)
    upstream.script(answer(code), waiting, slower, answer(tokens))
    prompt, login = await confirmed(VENDOR, upstream)
    assert prompt.url == code["verification_uri_complete"]
    assert (login.refresh_token, login.extra["resource_url"]) == ("test-refresh-1", "portal.test")
    asked, *polled = [parse_qs(request.body.decode()) for request in upstream.requests]
    assert (asked["client_id"], asked["scope"]) == (
        ["f0304373b74a44d2b584a3fb70ca9e56"],
        ["openid profile email model.completion"],
    )
    digest = hashlib.sha256(polled[-1]["code_verifier"][0].encode()).digest()
    assert asked["code_challenge"][0] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert [each["device_code"] for each in polled] == [["test-device-1"]] * 3


async def test_a_login_keeps_where_its_api_is() -> None:
    tokens = Tokens(TOKEN, extra={"resource_url": "portal.qwen.ai", "status": "success"})
    async with http_client("direct") as http:
        assert await VENDOR.identify(tokens, Place(VENDOR.base_url), http) == {"resource_url": "portal.qwen.ai"}
        assert await VENDOR.identify(Tokens(TOKEN), Place(VENDOR.base_url), http) == {}

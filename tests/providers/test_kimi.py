"""Kimi, against a mock that refuses what Kimi Code and the platform refuse, in their words."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.kimi import NOT_KEPT, VENDOR
from cliproxy.providers.vendor import Place, Quota, Window
from tests import native
from tests.answers import Answer
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import TOKEN, answer, clients, confirmed, credential, refusal, said, sent
from tests.upstream import Received, Upstream

KEY, CODING_KEY = "sk-test-1", "sk-kimi-test-1"
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
MISSING = "thinking is enabled but reasoning_content is missing in assistant tool call message at index {}"


def judge(received: Received) -> Answer | None:
    """What is refused: by Kimi Code below `/coding`, else by the platform."""
    if received.headers.get("authorization") not in {f"Bearer {token}" for token in (TOKEN, KEY, CODING_KEY)}:
        return refusal(401, "Invalid Authentication", "invalid_authentication_error")
    at, _, path = received.path.rpartition("/v1")
    if at == "/coding" and "x-msh-device-id" not in received.headers and CODING_KEY not in str(received.headers):
        return refusal(401, "Invalid Authentication", "invalid_authentication_error")
    body = received.json
    known = ("k2.6", "k3", "kimi-for-coding") if at == "/coding" else ("kimi-k2.6", "kimi-k2-0905-preview")
    if body["model"] not in known:
        message = f"Not found the model {body['model']} or Permission denied"
        return refusal(404, message, "resource_not_found_error")
    match at, path:
        case "/coding" | "", "/chat/completions":
            return refused_chat(body)
        case "/coding" | "/anthropic", "/messages":
            return refused_messages(body)
        case _:
            return refusal(404, "没找到对象", "resource_not_found_error")


def refused_chat(body: Any) -> Answer | None:
    if body["model"] != "kimi-k2-0905-preview" and body.get("temperature", 1) != 1:
        return refusal(400, "invalid temperature: only 1 is allowed for this model")
    thinks = body.get("thinking", {"type": "enabled"})["type"] == "enabled"
    for index, message in enumerate(body["messages"]):
        if message["role"] not in ("system", "user", "assistant", "tool"):
            return refusal(400, f"Invalid request: unknown role {message['role']}")
        if message["role"] == "tool" and not message.get("tool_call_id"):
            return refusal(400, "Invalid request: tool_call_id  is not found")
        if message["role"] != "assistant":
            continue
        if not message.get("content") and not message.get("tool_calls"):
            return refusal(400, f"the message at position {index} with role 'assistant' must not be empty")
        if thinks and message.get("tool_calls") and not message.get("reasoning_content"):
            return refusal(400, MISSING.format(index))
    if body.get("stream") and not body["stream_options"]["include_usage"]:
        return refusal(500, "the mock wants usage")
    return None


def refused_messages(body: Any) -> Answer | None:
    for index, message in enumerate(body["messages"]):
        kinds = {block["type"] for block in message["content"] if isinstance(block, dict)}
        if body.get("thinking") and "tool_use" in kinds and "thinking" not in kinds:
            return answer(
                {"type": "error", "error": {"type": "invalid_request_error", "message": MISSING.format(index)}}, 400
            )
    return None


@pytest.fixture
async def kimi() -> AsyncIterator[Upstream]:
    async with Upstream(judge=judge) as upstream:
        yield upstream


def spoken(client: Format) -> Format:
    """What the vendor is spoken to in for a client."""
    return "anthropic" if client == "anthropic" else "openai-chat"


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(kimi: Upstream, client: Format) -> None:
    format = spoken(client)
    kimi.script(native.tool_call(format, stream=True), native.text(format, stream=True))
    account = credential(VENDOR, f"{kimi.url}/coding", "kimi-k2.6", device_id="d1")
    async with clients(account) as over:
        go_through, finishes = LOOPS[client]
        loop = await go_through(over)
    assert (loop.name, loop.arguments, loop.text, loop.finishes) == (
        "get_weather",
        CITY,
        "hello from upstream",
        finishes,
    )
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    path = "/coding/v1/messages" if format == "anthropic" else "/coding/v1/chat/completions"
    assert {request.path for request in kimi.requests} == {path}


@pytest.mark.parametrize("client", FORMATS)
async def test_whole_answers_come_from_the_platform_too(kimi: Upstream, client: Format) -> None:
    account = credential(VENDOR, "", "kimi-k2.6", api_key=KEY, base_url=f"{kimi.url}/v1")
    async with clients(account) as over:
        assert await said(over, client) == "hello from upstream"
    path = "/anthropic/v1/messages" if client == "anthropic" else "/v1/chat/completions"
    assert kimi.requests[0].path == path
    assert "x-msh-device-id" not in kimi.requests[0].headers


async def test_a_key_of_the_config_is_used_by_the_same_rules(kimi: Upstream) -> None:
    entry = {
        "name": "moonshot", "base-url": f"{kimi.url}/v1", "dialect": "kimi", "api-key-entries": [KEY],
        "models": [{"name": "kimi-k2.6", "alias": "model"}],
    }  # fmt: skip
    kimi.script(native.tool_call("openai-chat", stream=True), native.text("openai-chat", stream=True))
    async with clients(openai_compatibility=[entry]) as over:
        loop = await LOOPS["openai-responses"][0](over)
    assert loop.text == "hello from upstream"


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("kimi-k2.6", "k2.6"),
        ("k3", "k3"),
        ("kimi-k3[1m]", "k3"),
        ("kimi-k3.1-pro-highspeed", "k3.1-pro-highspeed"),
        ("kimi-k2.7-code", "kimi-for-coding"),
        ("kimi-k2.7-code-highspeed", "kimi-for-coding-highspeed"),
        ("kimi-for-coding", "kimi-for-coding"),
        ("for-coding-highspeed", "kimi-for-coding-highspeed"),
    ],
)
@pytest.mark.parametrize("format", ["openai-chat", "anthropic"])
def test_the_subscription_has_its_own_names_of_models(asked: str, named: str, format: Format) -> None:
    body = {"model": asked, "messages": [{"role": "user", "content": "hi"}]}
    assert sent(VENDOR, body, format)[2]["model"] == named
    assert sent(VENDOR, body, format, api_key=CODING_KEY)[2]["model"] == named
    assert sent(VENDOR, body, format, api_key=KEY)[2]["model"] == asked


@pytest.mark.parametrize(
    ("fields", "urls"),
    [
        ({}, ("https://api.kimi.com/coding/v1/chat/completions", "https://api.kimi.com/coding/v1/messages")),
        (
            {"api_key": CODING_KEY},
            ("https://api.kimi.com/coding/v1/chat/completions", "https://api.kimi.com/coding/v1/messages"),
        ),
        (
            {"api_key": KEY},
            ("https://api.moonshot.ai/v1/chat/completions", "https://api.moonshot.ai/anthropic/v1/messages"),
        ),
        (
            {"api_key": KEY, "base_url": "https://api.moonshot.cn/anthropic"},
            ("https://api.moonshot.cn/v1/chat/completions", "https://api.moonshot.cn/anthropic/v1/messages"),
        ),
    ],
)
def test_subscription_and_platform_are_at_different_places(fields: dict[str, Any], urls: tuple[str, str]) -> None:
    body = {"model": "m", "messages": []}
    assert (sent(VENDOR, body, **fields)[0], sent(VENDOR, body, "anthropic", **fields)[0]) == urls


@pytest.mark.parametrize("fields", [{}, {"api_key": KEY}])
def test_the_config_can_point_all_of_it_elsewhere(fields: dict[str, Any]) -> None:
    url, _, _ = sent(VENDOR, {"messages": []}, url="http://elsewhere.test/coding", **fields)
    assert url == "http://elsewhere.test/coding/v1/chat/completions"


def test_the_device_is_the_accounts_and_the_rest_is_what_we_are() -> None:
    _, headers, _ = sent(VENDOR, {"messages": []}, device_id="d1", headers={"x-own": "1"})
    named = {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-msh")}
    assert named == {"x-msh-platform": "cliproxy", "x-msh-device-id": "d1"}
    assert headers["User-Agent"].startswith("cliproxy")
    assert headers["x-own"] == "1"
    assert sent(VENDOR, {"messages": []}, headers={"User-Agent": "own/1"})[1]["User-Agent"] == "own/1"


@pytest.mark.parametrize(
    ("asked", "subscription", "platform"),
    [
        ({}, {}, {}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        (
            {"reasoning_effort": "high"},
            {"thinking": {"type": "enabled", "effort": "high"}},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        ),
        (
            {"reasoning_effort": "high", "thinking": {"type": "disabled"}},
            {"reasoning_effort": "high", "thinking": {"type": "disabled"}},
            {"reasoning_effort": "high", "thinking": {"type": "disabled"}},
        ),
    ],
)
def test_thinking_is_said_in_kimis_word(asked: Any, subscription: Any, platform: Any) -> None:
    def thinking(body: Any) -> Any:
        return {name: body[name] for name in ("thinking", "reasoning_effort") if name in body}

    body = {"model": "k3", "messages": [], **asked}
    assert thinking(sent(VENDOR, body)[2]) == subscription
    assert thinking(sent(VENDOR, body, api_key=KEY)[2]) == platform


def test_sampling_that_cannot_be_set_is_left_out() -> None:
    sampling = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.1}
    fixed = sent(VENDOR, {"model": "kimi-k2.6", "messages": [], "max_tokens": 5, **sampling})[2]
    assert (fixed["max_tokens"], sampling.keys() & fixed.keys()) == (5, set())
    free = sent(VENDOR, {"model": "kimi-k2-0905-preview", "messages": [], **sampling}, api_key=KEY)[2]
    assert {name: free[name] for name in sampling} == sampling


def turns(*messages: dict[str, Any], **body: Any) -> list[Any]:
    return sent(VENDOR, {"model": "k3", "messages": list(messages), **body})[2]["messages"]


def called(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [CALL], **more}


def test_a_call_goes_back_with_its_reasoning() -> None:
    kept = turns(called(reasoning_content="because"), called(reasoning="for"), called(reasoning_content=" "), called())
    assert [turn["reasoning_content"] for turn in kept] == ["because", "for", NOT_KEPT, NOT_KEPT]
    assert "reasoning_content" not in turns({"role": "assistant", "content": "hi"})[0]
    assert "reasoning_content" not in turns(called(), thinking={"type": "disabled"})[0]


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}])
def test_a_call_in_anthropics_format_too(thinking: Any) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    own = {"type": "thinking", "thinking": "because", "signature": "s"}
    turns: list[Any] = [
        {"role": "assistant", "content": [use]},
        {"role": "assistant", "content": [own, use]},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    body = {"model": "k3", "messages": turns, "thinking": thinking}
    filled = sent(VENDOR, body, "anthropic")[2]["messages"]
    assert filled[0]["content"] == [{"type": "thinking", "thinking": NOT_KEPT, "signature": ""}, use]
    assert filled[1:] == turns[1:]
    for off in ({"thinking": {"type": "disabled"}}, {"thinking": None}):
        assert sent(VENDOR, {**body, **off}, "anthropic")[2]["messages"] == turns


def test_results_are_tied_to_their_calls() -> None:
    other = {**CALL, "id": "call_2"}
    result = {"role": "tool", "content": "1"}
    assert turns(called(), result)[1]["tool_call_id"] == "call_1"
    assert turns(called(), {**result, "call_id": "call_1"})[1]["tool_call_id"] == "call_1"
    # Of two it could be either, until one has its result.
    assert "tool_call_id" not in turns(called(tool_calls=[CALL, other]), result)[1]
    linked = turns(called(tool_calls=[CALL, other]), {**result, "tool_call_id": "call_1"}, result)
    assert [turn["tool_call_id"] for turn in linked[1:]] == ["call_1", "call_2"]


def test_turns_that_say_nothing_are_left_out() -> None:
    empty: list[dict[str, Any]] = [{"role": "assistant", "content": content} for content in (None, "", " ", [])]
    kept = [{"role": "user", "content": ""}, {"role": "assistant", "content": "", "reasoning_content": "hm"}]
    assert turns(*empty, *kept) == kept


async def test_a_client_that_says_all_this_wrong_is_served(kimi: Upstream) -> None:
    account = credential(VENDOR, f"{kimi.url}/coding", "kimi-k2.6", device_id="d1")
    messages: Any = [
        {"role": "developer", "content": "be brief"}, {"role": "assistant", "content": ""}, called(),
        {"role": "tool", "content": "1"},
    ]  # fmt: skip
    asked: Any = {"model": "model", "messages": messages, "temperature": 0, "stream": True}
    async with clients(account) as over:
        reply = await over.http.post(
            "/v1/chat/completions", json=asked, headers={"authorization": "Bearer sk-test-client"}
        )
    assert (reply.status_code, "hello" in reply.text) == (200, True)


# ---------------------------------------------------------------- refusals


async def test_a_refused_token_is_renewed_once(kimi: Upstream) -> None:
    account = credential(VENDOR, f"{kimi.url}/coding", "k3", TOKEN, access_token="test-access-0", device_id="d1")
    async with clients(account) as over:
        assert await said(over, "openai-chat") == "hello from upstream"
    shown = [request.headers["authorization"] for request in kimi.requests]
    assert shown == ["Bearer test-access-0", f"Bearer {TOKEN}"]


async def test_a_tool_that_kimi_does_not_serve_rests_no_account() -> None:
    message = "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, Claude Code"
    async with Upstream() as upstream:
        upstream.script(refusal(403, message, "access_terminated_error"))
        account = credential(VENDOR, upstream.url, "k3", device_id="d1")
        async with clients(account, request_retry=0) as over:
            with pytest.raises(Exception, match="only available for Coding Agents"):
                await said(over, "openai-chat")
            assert await said(over, "openai-chat") == "hello from upstream"


# ---------------------------------------------------------------- accounts


async def test_a_login_gets_a_device_of_its_own() -> None:
    async with http_client("direct") as http:
        first, second = [await VENDOR.identify(Tokens(TOKEN), Place(VENDOR.base_url), http) for _ in range(2)]
    assert first.keys() == {"device_id"}
    assert first != second


async def test_a_login_is_confirmed_with_a_code(upstream: Upstream) -> None:
    code = {
        "user_code": "ABCD-1234", "device_code": "test-device-1", "interval": 5, "expires_in": 900,
        "verification_uri": "https://kimi.test/device",
        "verification_uri_complete": "https://kimi.test/device?user_code=ABCD-1234",
    }  # fmt: skip
    pending = {"error": "authorization_pending", "error_description": "still waiting"}
    tokens = {"access_token": TOKEN, "refresh_token": "test-refresh-1", "expires_in": 900, "scope": "kimi-code"}
    # It says that it waits with either status.
    upstream.script(answer(code), answer(pending), answer(pending, 400), answer(tokens))
    prompt, login = await confirmed(VENDOR, upstream)
    assert (prompt.user_code, prompt.url) == ("ABCD-1234", code["verification_uri_complete"])
    assert (login.access_token, login.refresh_token) == (TOKEN, "test-refresh-1")
    asked = parse_qs(upstream.requests[0].body.decode())
    assert asked == {"client_id": ["17e5f671-d194-4dfb-9706-5516cb48c098"]}


async def test_tokens_are_renewed_from_the_same_device(upstream: Upstream) -> None:
    registration = VENDOR.registration
    assert registration
    upstream.script(answer({"access_token": "test-access-2", "refresh_token": "test-refresh-2", "expires_in": 900}))
    place = Place(VENDOR.base_url, registration=replace(registration, token_url=f"{upstream.url}/api/oauth/token"))
    assert VENDOR.renew
    async with http_client("direct") as http:
        tokens = await VENDOR.renew({"refresh_token": "test-refresh-1", "device_id": "d1"}, place, http)
        with pytest.raises(GrantRefused):
            await VENDOR.renew({"access_token": TOKEN}, place, http)
    assert (tokens.access_token, tokens.refresh_token) == ("test-access-2", "test-refresh-2")
    [request] = upstream.requests
    assert request.headers["x-msh-device-id"] == "d1"
    assert b"refresh_token=test-refresh-1" in request.body
    assert registration.client_id.encode() in request.body


USAGE = {
    "user": {"membership": {"level": "LEVEL_ADVANCED"}},
    "usage": {"limit": "2048", "used": "512", "remaining": "1536", "resetTime": "2026-01-09T15:23:13.716839300Z"},
    "limits": [
        {
            "window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"},
            "detail": {"limit": "200", "remaining": "150", "resetTime": "2026-01-06T13:33:02Z"},
        },
        {"window": {"duration": 2, "timeUnit": "TIME_UNIT_DAY"}, "detail": {}},
    ],
}


async def test_the_subscription_tells_what_is_left(upstream: Upstream) -> None:
    assert VENDOR.quota
    upstream.script(answer(USAGE), answer({}), answer({}, 403))
    fields, place = {"access_token": TOKEN}, Place(f"{upstream.url}/coding")
    async with http_client("direct") as http:
        told = await VENDOR.quota(fields, place, http)
        assert await VENDOR.quota(fields, place, http) == Quota()
        with pytest.raises(EndpointTrouble):
            await VENDOR.quota(fields, place, http)
        assert await VENDOR.quota({"api_key": KEY}, Place(VENDOR.base_url), http) == Quota()
    weekly, five_hours, two_days = told.windows
    assert (told.plan, weekly.name, weekly.used) == ("advanced", "weekly", 0.25)
    assert weekly.resets_at_s == pytest.approx(1_767_972_193.7, abs=0.1)
    assert five_hours == Window("5h", 0.25, 1_767_706_382.0)
    assert two_days == Window("2d", None)
    assert [request.path for request in upstream.requests] == ["/coding/v1/usages"] * 3
    assert upstream.requests[0].headers["authorization"] == f"Bearer {TOKEN}"

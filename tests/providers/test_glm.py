"""GLM, against a mock that refuses what Zhipu's platforms refuse, in their words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.providers.glm import VENDOR
from cliproxy.providers.vendor import Place, Window
from tests import native
from tests.answers import Answer
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import answer, clients, credential, said, sent
from tests.upstream import Received, Upstream

KEY = "test-key-1.secret"


def refusal(status: int, code: str, message: str) -> Answer:
    return answer({"error": {"code": code, "message": message}}, status)


def judge(received: Received) -> Answer | None:
    if received.headers.get("authorization") != f"Bearer {KEY}":
        return refusal(401, "1000", "Authentication Failed")
    body = received.json
    match received.path:
        case "/api/anthropic/v1/messages":
            return None
        case "/api/paas/v4/chat/completions" | "/api/coding/paas/v4/chat/completions":
            return refused_chat(body)
        case _:
            return answer({"code": 500, "msg": "404 NOT_FOUND", "success": False})


def refused_chat(body: Any) -> Answer | None:
    if body["model"] != "glm-5.2":
        return refusal(400, "1211", "Model does not exist, please check the model code")
    if body.get("tool_choice", "auto") != "auto" or "max_completion_tokens" in body:
        return refusal(400, "1210", "Incorrect API call parameters, please check the documentation")
    if {message["role"] for message in body["messages"]} - {"system", "user", "assistant", "tool"}:
        return refusal(400, "1214", "Invalid messages parameter. Please check the documentation")
    return None


@pytest.fixture
async def glm() -> AsyncIterator[Upstream]:
    async with Upstream(judge=judge) as upstream:
        yield upstream


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(glm: Upstream, client: Format) -> None:
    format: Format = "anthropic" if client == "anthropic" else "openai-chat"
    glm.script(native.tool_call(format, stream=True), native.text(format, stream=True))
    account = credential(VENDOR, f"{glm.url}/api", "glm-5.2", api_key=KEY)
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


@pytest.mark.parametrize("client", FORMATS)
async def test_whole_answers_come_by_the_coding_plan_too(glm: Upstream, client: Format) -> None:
    account = credential(VENDOR, VENDOR.base_url, "glm-5.2", api_key=KEY, base_url=f"{glm.url}/api/coding/paas/v4")
    async with clients(account) as over:
        assert await said(over, client) == "hello from upstream"
    path = "/api/anthropic/v1/messages" if client == "anthropic" else "/api/coding/paas/v4/chat/completions"
    assert glm.requests[0].path == path


async def test_a_key_of_the_config_is_used_by_the_same_rules(glm: Upstream) -> None:
    entry = {
        "name": "zhipu", "base-url": f"{glm.url}/api/anthropic", "dialect": "glm", "wire": "anthropic",
        "api-key-entries": [KEY], "models": [{"name": "glm-5.2", "alias": "model"}],
    }  # fmt: skip
    async with clients(openai_compatibility=[entry]) as over:
        assert await said(over, "gemini") == "hello from upstream"
    assert glm.requests[0].path == "/api/anthropic/v1/messages"


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("base_url", "chat", "messages"),
    [
        ("", "https://open.bigmodel.cn/api/paas/v4", "https://open.bigmodel.cn/api/anthropic"),
        ("https://api.z.ai", "https://api.z.ai/api/paas/v4", "https://api.z.ai/api/anthropic"),
        ("https://api.z.ai/api/paas/v4/", "https://api.z.ai/api/paas/v4", "https://api.z.ai/api/anthropic"),
        ("https://api.z.ai/api/anthropic", "https://api.z.ai/api/paas/v4", "https://api.z.ai/api/anthropic"),
        (
            "https://api.z.ai/api/coding/paas/v4",
            "https://api.z.ai/api/coding/paas/v4",
            "https://api.z.ai/api/anthropic",
        ),
        ("http://corp.test/glm/coding", "http://corp.test/glm/coding/paas/v4", "http://corp.test/glm/anthropic"),
    ],
)
def test_any_of_the_documented_addresses_leads_to_both_formats(base_url: str, chat: str, messages: str) -> None:
    fields: dict[str, Any] = {"base_url": base_url} if base_url else {}
    body: dict[str, Any] = {"model": "glm-5.2", "messages": []}
    assert sent(VENDOR, body, api_key=KEY, **fields)[0] == f"{chat}/chat/completions"
    assert sent(VENDOR, body, "anthropic", api_key=KEY, **fields)[0] == f"{messages}/v1/messages"


@pytest.mark.parametrize(
    ("asked", "understood"),
    [
        ({}, {}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "max"}, {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}}),
        ({"reasoning_effort": "low", "thinking": {"type": "disabled"}},
         {"reasoning_effort": "low", "thinking": {"type": "disabled"}}),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 4}, {"max_tokens": 4}),
        ({"tools": [{}], "tool_choice": "auto"}, {"tools": [{}]}),
        ({"tools": [{}], "tool_choice": "required"}, {"tools": [{}]}),
        ({"tools": [{}], "tool_choice": "none"}, {}),
    ],
)  # fmt: skip
def test_bodies_are_said_in_glms_words(asked: Any, understood: Any) -> None:
    assert sent(VENDOR, {"messages": [], **asked}, api_key=KEY)[2] == {"messages": [], **understood}
    assert sent(VENDOR, {"messages": [], **asked}, "anthropic", api_key=KEY)[2] == {"messages": [], **asked}


async def test_a_client_that_says_all_this_wrong_is_served(glm: Upstream) -> None:
    messages: Any = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}]
    asked: Any = {"model": "model", "messages": messages, "max_completion_tokens": 9, "tool_choice": "required"}
    async with clients(credential(VENDOR, f"{glm.url}/api", "glm-5.2", api_key=KEY)) as over:
        completion = await over.openai.chat.completions.create(**asked, tools=[native_tool()])
    assert completion.choices[0].message.content == "hello from upstream"


def native_tool() -> Any:
    return {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("format", ["openai-chat", "anthropic"])
def test_answers_come_as_they_can_be_looked_into(format: Format) -> None:
    _, headers, _ = sent(VENDOR, {"messages": []}, format, api_key=KEY, headers={"accept-encoding": "br"})
    assert headers.getall("accept-encoding") == ["identity"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("client", ["openai-chat", "anthropic"])
async def test_a_refusal_may_come_as_a_success(client: Format) -> None:
    asked = {"model": "model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    path = {"openai-chat": "/v1/chat/completions", "anthropic": "/v1/messages"}[client]
    for code, status in ((1001, 401), (500, 500), (7, 502)):
        async with Upstream() as upstream:
            upstream.script(answer({"code": code, "msg": "no, because", "success": False}))
            async with clients(credential(VENDOR, upstream.url, "glm-5.2", api_key=KEY), request_retry=0) as over:
                reply = await over.http.post(path, json=asked, headers={"authorization": "Bearer sk-test-client"})
        assert (reply.status_code, "no, because" in reply.text) == (status, True)


async def test_an_account_in_arrears_leaves_the_request_to_another() -> None:
    refused = refusal(429, "1113", "Insufficient balance or no resource package. Please recharge.")
    async with Upstream() as upstream:
        upstream.script(refused)
        accounts = [credential(VENDOR, upstream.url, "glm-5.2", api_key=f"{KEY}-{number}") for number in range(2)]
        async with clients(*accounts) as over:
            for _ in range(3):
                assert await said(over, "openai-chat") == "hello from upstream"
    first, *others = [request.headers["authorization"] for request in upstream.requests]
    assert (len(others), first in others) == (3, False)


# ---------------------------------------------------------------- accounts


LIMITS = {
    "code": 200,
    "success": True,
    "data": {
        "level": "pro",
        "limits": [
            {"type": "TOKENS_LIMIT", "unit": 3, "number": 5, "percentage": 25, "nextResetTime": 1_767_706_382_000},
            {"type": "TOKENS_LIMIT", "unit": 6, "number": 1, "percentage": 50},
            {"type": "TIME_LIMIT", "unit": 5, "number": 1, "percentage": 0, "usage": 100, "remaining": 100},
        ],
    },
}


async def test_the_coding_plan_tells_what_is_left(upstream: Upstream) -> None:
    assert VENDOR.quota
    upstream.script(answer(LIMITS), answer({"code": 1001, "msg": "no plan", "success": False}), answer({}, 403))
    fields = {"api_key": KEY, "base_url": f"{upstream.url}/api/coding/paas/v4"}
    async with http_client("direct") as http:
        told = await VENDOR.quota(fields, Place(VENDOR.base_url), http)
        for _ in range(2):
            with pytest.raises(EndpointTrouble, match="no Coding Plan"):
                await VENDOR.quota(fields, Place(VENDOR.base_url), http)
    assert told.plan == "pro"
    assert told.windows == (
        Window("5h", 0.25, 1_767_706_382.0),
        Window("weekly", 0.5),
        Window("tools monthly", 0.0),
    )
    assert {request.path for request in upstream.requests} == {"/api/monitor/usage/quota/limit"}
    assert upstream.requests[0].headers["authorization"] == f"Bearer {KEY}"

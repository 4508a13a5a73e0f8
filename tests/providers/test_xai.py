"""cliproxy.providers.xai: keys and accounts of xAI, against a mock of its API that refuses what the real one refuses."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cliproxy.config import parse_config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import xai
from cliproxy.providers.vendor import Fields, Place
from tests import native
from tests.features.gateways import MODEL, UPSTREAM_MODEL
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import TOKEN, Login, answer
from tests.providers.vendor_site import NEXT_TOKEN, VendorSite
from tests.providers.xai_api import judge
from tests.site import ask, plain, refused, request
from tests.wire.vendors import read


@pytest.fixture
async def site() -> AsyncIterator[VendorSite]:
    async with VendorSite("xai", judge, "/v1") as running:
        yield running


async def asked(site: VendorSite, body: Any, path: str = "/v1/responses") -> Any:
    reply = await ask(site.gateway(), plain("POST", path, json.dumps({"model": MODEL, **body}).encode()))
    assert reply.status == 200, reply.body
    return reply


# ---------------------------------------------------------------- each client


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(site: VendorSite, client: Format) -> None:
    site.upstream.script(
        native.tool_call("openai-responses", stream=True), native.text("openai-responses", stream=True)
    )
    go_through, finishes = LOOPS[client]
    loop = await go_through(site.clients())
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
    assert loop.finishes == finishes
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    assert all(received.json["model"] == UPSTREAM_MODEL for received in site.upstream.requests)


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("tool", [False, True])
async def test_a_whole_answer(site: VendorSite, client: Format, tool: bool) -> None:
    site.upstream.script((native.tool_call if tool else native.text)("openai-responses"))
    reply = await ask(site.gateway(), request(client, model=MODEL))
    understood = read(client, reply.body, stream=False)
    assert understood.text == ("" if tool else "hello from upstream")
    assert understood.calls == ([("get_weather", CITY)] if tool else [])


# ---------------------------------------------------------------- what Codex sends

EXEC = {
    "type": "custom",
    "name": "exec",
    "description": "Runs JavaScript.",
    "format": {"type": "grammar", "definition": "start: /x/"},
}
WAIT = {"type": "function", "name": "wait", "parameters": {"type": "object", "properties": {}}, "strict": False}
LITE = {
    "type": "additional_tools",
    "role": "developer",
    "tools": [{"type": "namespace", "name": "functions", "description": "", "tools": [EXEC, WAIT]}],
}
HISTORY = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"type": "message", "id": "own-1", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "dGVzdA=="},
    {"type": "reasoning", "id": "rs_2", "summary": [], "content": None},
    {"type": "custom_tool_call", "call_id": "call_1", "name": "exec", "namespace": "functions", "input": 'say("é")'},
    {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": "call_1", "output": "é"},
    {"type": "function_call", "call_id": "call_2", "name": "wait", "namespace": "functions", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_2", "output": "done"},
]


@pytest.mark.parametrize("stream", [False, True])
async def test_freeform_tools_go_as_functions_and_come_back_as_what_they_were(site: VendorSite, stream: bool) -> None:
    site.upstream.script(native.tool_call("openai-responses", "exec", {"input": 'say("ü")\n'}, stream=stream))
    body = {"input": [LITE, *HISTORY], "stream": stream, "text": {"verbosity": "low"}, "stream_options": {"x": 1}}
    reply = await asked(site, body)
    if stream:
        frames = [json.loads(frame.partition(b"data: ")[2]) for frame in reply.body.split(b"\n\n")[:-1]]
        assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
        [item] = frames[-1]["response"]["output"]
        assert item in [frame.get("item") for frame in frames if frame["type"] == "response.output_item.done"]
    else:
        [item] = reply.json["output"]
    called = (item["type"], item["name"], item["namespace"], item["input"], item["call_id"])
    assert called == ("custom_tool_call", "exec", "functions", 'say("ü")\n', native.TOOL_CALL_ID)
    [received] = site.upstream.requests
    sent = received.json
    assert [(tool["type"], tool["name"]) for tool in sent["tools"]] == [("function", "exec"), ("function", "wait")]
    assert "start: /x/" in sent["tools"][0]["description"]
    assert sent["tools"][0]["parameters"]["required"] == ["input"]
    assert "text" not in sent or sent["text"] == {}
    assert [item["type"] for item in sent["input"]] == [
        "message", "message", "reasoning", "function_call", "function_call_output", "function_call",
        "function_call_output",
    ]  # fmt: skip
    assert json.loads(sent["input"][3]["arguments"]) == {"input": 'say("é")'}
    assert sent["input"][2] == {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "dGVzdA=="}


async def test_what_it_does_not_take_is_named(site: VendorSite) -> None:
    body = {"model": MODEL, "input": "hello", "service_tier": "priority", "text": {"verbosity": "low"}}
    reply = await ask(site.gateway(debug=True), plain("POST", "/v1/responses", json.dumps(body).encode()))
    told = "text.verbosity: xAI does not take it; service_tier: xAI does not take it"
    assert reply.headers["x-cliproxy-dropped"] == told


async def test_a_chat_clients_freeform_tool_is_one_for_it(site: VendorSite) -> None:
    site.upstream.script(native.tool_call("openai-responses", "exec", {"input": "ls"}))
    tool = {"type": "custom", "custom": {"name": "exec"}}
    reply = await asked(
        site, {"messages": [{"role": "user", "content": "go"}], "tools": [tool]}, "/v1/chat/completions"
    )
    [call] = reply.json["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["custom"]) == ("custom", {"name": "exec", "input": "ls"})


async def test_plain_answers_pass_as_they_are(site: VendorSite) -> None:
    said = native.text("openai-responses", stream=True)
    site.upstream.script(said)
    reply = await asked(site, {"input": "hi", "stream": True, "tools": [WAIT]})
    assert reply.body == said.whole


async def test_its_own_tools_stay_and_others_vendors_go(site: VendorSite) -> None:
    search = {
        "type": "web_search",
        "external_web_access": True,
        "search_content_types": ["text"],
        "filters": {"allowed_domains": ["x.ai"]},
    }
    tools = [
        search,
        {"type": "x_search"},
        {"type": "tool_search", "execution": "client"},
        {"type": "local_shell"},
        WAIT,
    ]
    await asked(site, {"input": "hi", "tools": tools, "tool_choice": {"type": "web_search"}})
    sent = site.upstream.requests[0].json
    assert [tool["type"] for tool in sent["tools"]] == ["web_search", "x_search", "function"]
    assert sent["tools"][0] == {"type": "web_search", "filters": {"allowed_domains": ["x.ai"]}}
    assert sent["tool_choice"] == {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        ({"type": "function", "name": "wait"}, {"type": "function", "name": "wait"}),
        ({"type": "tool_search"}, None),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "wait"}, {"type": "tool_search"}],
            },
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "wait"}]},
        ),
    ],
)
async def test_choices_of_tools(site: VendorSite, choice: Any, sent: Any) -> None:
    tools = [WAIT, {"type": "tool_search", "execution": "client"}]
    await asked(site, {"input": "hi", "tools": tools, "tool_choice": choice})
    assert site.upstream.requests[0].json.get("tool_choice") == sent


async def test_without_tools_there_is_no_choice(site: VendorSite) -> None:
    await asked(site, {"input": "hi", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True})
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(site.upstream.requests[0].json)


@pytest.mark.parametrize(
    ("model", "stays"),
    [("grok-4.6", True), ("grok-5", True), ("grok-4.5-fast", False), ("grok-4", False), ("other", True)],
)
async def test_only_newer_models_paint(site: VendorSite, model: str, stays: bool) -> None:
    gateway = site.gateway(site.credential(models=()))
    body = json.dumps({"model": f"xai/{model}", "input": "hi", "tools": [{"type": "image_generation"}]}).encode()
    assert (await ask(gateway, plain("POST", "/v1/responses", body))).status == 200
    assert ("tools" in site.upstream.requests[0].json) is stays


async def test_a_conversation_has_its_name_for_the_cache(site: VendorSite) -> None:
    gateway = site.gateway()
    for session in ("one", "one", "two"):
        await ask(gateway, request("anthropic", model=MODEL, headers={"x-claude-code-session-id": session}))
    first, again, other = [received.headers["x-grok-conv-id"] for received in site.upstream.requests]
    assert first == again != other
    assert site.upstream.requests[0].json["prompt_cache_key"] == first


# ---------------------------------------------------------------- compaction


async def test_compaction_of_its_own(site: VendorSite) -> None:
    compacted = {"object": "response.compaction", "output": [{"type": "compaction", "encrypted_content": "dGVzdA=="}]}
    site.upstream.script(answer(compacted))
    reply = await asked(site, {"input": "hi", "store": False}, "/v1/responses/compact")
    assert reply.json == compacted
    assert not {"store", "stream", "include"} & set(site.upstream.requests[0].json)


async def test_a_trigger_becomes_a_wish_in_words(site: VendorSite) -> None:
    site.upstream.script(native.text("openai-responses"))
    body = {"input": [{"role": "user", "content": "go"}, {"type": "compaction_trigger"}]}
    reply = await asked(site, body)
    assert [item["type"] for item in reply.json["output"]] == ["compaction"]
    assert "Summarise" in json.dumps(site.upstream.requests[0].json["input"])


# ---------------------------------------------------------------- failures


async def test_bad_credentials_are_renewed_and_the_request_repeated() -> None:
    async with VendorSite("xai", judge, "/v1", Login("test-access-0", {}, NEXT_TOKEN)) as site:
        reply = await ask(site.gateway(), request("anthropic", model=MODEL))
        tokens = [received.headers["authorization"] for received in site.upstream.requests]
    assert reply.status == 200
    assert tokens == ["Bearer test-access-0", f"Bearer {NEXT_TOKEN}"]


@pytest.mark.parametrize("client", FORMATS)
async def test_used_up_free_usage_rests_the_account_and_not_the_request(site: VendorSite, client: Format) -> None:
    used_up = {"code": "subscription:free-usage-exhausted", "error": "You have used all your free usage."}
    site.upstream.script(answer(used_up, 429))
    gateway = site.gateway(site.credential(), site.credential(account=None, secret=NEXT_TOKEN))
    for _ in range(2):
        assert (await ask(gateway, request(client, model=MODEL))).status == 200
    tokens = [received.headers["authorization"].removeprefix("Bearer ") for received in site.upstream.requests]
    assert tokens == [TOKEN, NEXT_TOKEN, NEXT_TOKEN]


@pytest.mark.parametrize("body", [{"input": [{"type": "item_reference", "id": "msg_1"}]}, {"input": 7}])
async def test_what_cannot_be_asked_is_said(site: VendorSite, body: Any) -> None:
    reply = await ask(site.gateway(), plain("POST", "/v1/responses", json.dumps({"model": MODEL, **body}).encode()))
    assert "input" in refused("openai-responses", 400, reply)
    assert not site.upstream.requests


async def test_tokens_are_counted_here(site: VendorSite) -> None:
    reply = await asked(site, {"input": "hello"}, "/v1/responses/input_tokens")
    assert reply.headers["x-cliproxy-token-count"] == "estimated"
    assert not site.upstream.requests


async def test_images_are_passed_on(site: VendorSite) -> None:
    site.upstream.script(answer({"data": []}))
    reply = await asked(site, {"model": "grok-imagine-image", "prompt": "a fox"}, "/v1/images/generations")
    assert reply.json == {"data": []}


# ---------------------------------------------------------------- keys and accounts


async def test_a_key_of_the_config_is_used_in_the_same_way(site: VendorSite) -> None:
    section = {"api-key": TOKEN, "base-url": site.base_url, "models": [{"name": UPSTREAM_MODEL, "alias": MODEL}]}
    loaded = parse_config(json.dumps({"demo": False, "xai-api-key": [section]}))
    assert not loaded.warnings
    site.upstream.script(native.tool_call("openai-responses", "exec", {"input": "ls"}))
    gateway = site.gateway(*credentials_of(loaded.config))
    body = json.dumps({"model": MODEL, "input": [LITE, *HISTORY]}).encode()
    reply = await ask(gateway, plain("POST", "/v1/responses", body))
    assert reply.json["output"][0]["type"] == "custom_tool_call"
    assert site.upstream.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def id_token(**claims: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.test"


async def test_who_logged_in() -> None:
    place = Place("", registration=xai.VENDOR.registration)
    tokens = Tokens(TOKEN, id_token=id_token(email="me@example.com", sub="user-1"))
    async with httpx.AsyncClient() as http:
        fields = await xai.identify(tokens, place, http)
    assert fields == {
        "email": "me@example.com", "sub": "user-1", "auth_kind": "oauth",
        "token_endpoint": "https://auth.x.ai/oauth2/token",
    }  # fmt: skip
    assert xai.file_stem(fields) == "me@example.com"
    assert xai.file_stem({"sub": "user-1"}) == "user-1"


@pytest.mark.parametrize(
    ("endpoint", "configured", "asked"),
    [
        ("https://auth.x.ai/oauth2/token2", "", "https://auth.x.ai/oauth2/token2"),
        ("", "", "https://auth.x.ai/oauth2/token"),
        ("http://auth.x.ai/oauth2/token", "", "https://auth.x.ai/oauth2/token"),
        ("https://auth.x.ai.evil.test/token", "", "https://auth.x.ai/oauth2/token"),
        ("https://evilx.ai/token", "", "https://auth.x.ai/oauth2/token"),
        ("https://auth.x.ai/oauth2/token", "https://proxy.test/token", "https://proxy.test/token"),
    ],
)
async def test_a_login_is_renewed_where_it_was_made_and_nowhere_else(
    endpoint: str, configured: str, asked: str
) -> None:
    url, sent = await renewed(
        {"token_endpoint": endpoint}, Registration(configured or "https://auth.x.ai/oauth2/token", "c-1")
    )
    assert url == asked
    assert (sent["refresh_token"], sent["client_id"]) == ("test-refresh-1", "c-1")


@pytest.mark.parametrize("audience", ["client-9", ["client-9"]])
async def test_a_login_is_renewed_for_the_client_that_made_it(audience: Any) -> None:
    assert xai.VENDOR.registration
    assert xai.VENDOR.registration.client_id == "", "none is shipped"
    _, sent = await renewed({"id_token": id_token(aud=audience)}, xai.VENDOR.registration)
    assert sent["client_id"] == "client-9"


async def renewed(fields: Fields, registration: Registration) -> tuple[str, dict[str, str]]:
    """Where new tokens were asked for, and with which parameters."""
    seen: list[httpx.Request] = []

    def endpoint(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"access_token": NEXT_TOKEN, "expires_in": 60})

    async with httpx.AsyncClient(transport=httpx.MockTransport(endpoint)) as http:
        tokens = await xai.renew(
            {"refresh_token": "test-refresh-1", **fields}, Place("", registration=registration), http
        )
    assert tokens.access_token == NEXT_TOKEN
    [asked] = seen
    return str(asked.url), dict(httpx.QueryParams(asked.content.decode()))


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://api.x.ai/v1"),
        ({"base_url": "https://api.x.ai/v1", "using_api": False}, "https://api.x.ai/v1"),
        ({"base_url": "https://cli-chat-proxy.grok.com/v1"}, "https://api.x.ai/v1"),
        ({"base_url": "https://proxy.test/v1"}, "https://proxy.test/v1"),
    ],
)
def test_accounts_too_are_for_the_public_api(fields: Fields, url: str) -> None:
    assert xai.base_url_of(fields, Place(xai.VENDOR.base_url)) == url

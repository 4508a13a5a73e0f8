"""cliproxy.providers.claude: Claude accounts, against a mock of the API that refuses what the real one refuses."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import claude, codex
from cliproxy.providers.vendor import Fields, Place, Quota, Window
from tests import native
from tests.features.gateways import MODEL, UPSTREAM_MODEL
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import TOKEN, Login, answer, sent
from tests.providers.claude_api import BETA, judge
from tests.providers.vendor_site import NEXT_TOKEN, VendorSite
from tests.site import ask, plain, refused, request
from tests.wire.vendors import read

OWN_TOOL_ONLY = "This credential is only authorized for use with Claude Code and cannot be used for other API requests."


@pytest.fixture
async def site() -> AsyncIterator[VendorSite]:
    async with VendorSite("claude", judge) as running:
        yield running


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(site: VendorSite, client: Format) -> None:
    site.upstream.script(native.tool_call("anthropic", stream=True), native.text("anthropic", stream=True))
    go_through, finishes = LOOPS[client]
    loop = await go_through(site.clients())
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
    assert loop.finishes == finishes
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    assert all(received.json["model"] == UPSTREAM_MODEL for received in site.upstream.requests)


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("tool", [False, True])
async def test_a_whole_answer(site: VendorSite, client: Format, tool: bool) -> None:
    site.upstream.script((native.tool_call if tool else native.text)("anthropic"))
    understood = read(client, (await ask(site.gateway(), request(client, model=MODEL))).body, stream=False)
    assert understood.text == ("" if tool else "hello from upstream")
    assert understood.calls == ([("get_weather", CITY)] if tool else [])


@pytest.mark.parametrize(
    ("header", "body", "betas"),
    [
        ("", {}, [BETA]),
        ("a-1, b-2", {}, ["a-1", "b-2", BETA]),
        (f"{BETA},a-1", {}, [BETA, "a-1"]),
        ("a-1", {"betas": ["b-2", "a-1"]}, ["a-1", "b-2", BETA]),
        ("", {"betas": []}, [BETA]),
        ("", {"metadata": {"user_id": '"betas"'}}, [BETA]),
    ],
)
async def test_a_clients_own_betas_stay(site: VendorSite, header: str, body: dict[str, Any], betas: list[str]) -> None:
    headers = {"anthropic-beta": header} if header else {}
    reply = await ask(site.gateway(), request("anthropic", model=MODEL, headers=headers, fields=body))
    assert reply.status == 200, reply.body
    [received] = site.upstream.requests
    assert received.headers["anthropic-beta"].split(",") == betas
    assert "betas" not in received.json


async def test_betas_that_are_none_are_for_the_api_to_judge(site: VendorSite) -> None:
    reply = await ask(site.gateway(), request("anthropic", model=MODEL, fields={"betas": "a-1"}))
    assert "betas" in refused("anthropic", 400, reply)


async def test_nothing_of_the_vendors_tool_is_added(site: VendorSite) -> None:
    await ask(site.gateway(), request("openai-chat", model=MODEL))
    [received] = site.upstream.requests
    assert received.headers["user-agent"].startswith("cliproxy")
    assert received.query == ""
    assert "system" not in received.json
    assert not [name for name in received.headers if name.lower().startswith(("x-stainless", "x-app", "x-claude"))]


@pytest.mark.parametrize("client", FORMATS)
async def test_a_forced_tool_goes_without_thinking(site: VendorSite, client: Format) -> None:
    """A name of the registry's, whose model can think: the translation leaves out what the API would refuse."""
    forced: dict[Format, dict[str, Any]] = {
        "openai-chat": {
            "reasoning_effort": "high", "tool_choice": "required",
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        },
        "openai-responses": {
            "reasoning": {"effort": "high"}, "tool_choice": "required",
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        },
        "anthropic": {"tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        "gemini": {
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}},
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            "tools": [{"functionDeclarations": [{"name": "f"}]}],
        },
    }  # fmt: skip
    gateway = site.gateway(site.credential(models=()))
    asked = request(client, model="claude-sonnet-4-5", fields=forced[client])
    assert (await ask(gateway, asked)).status == 200


async def test_tokens_are_counted_by_the_api(site: VendorSite) -> None:
    site.upstream.script(answer({"input_tokens": 7}))
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}).encode()
    reply = await ask(site.gateway(), plain("POST", "/v1/messages/count_tokens", body))
    assert (reply.status, reply.json) == (200, {"input_tokens": 7})


async def test_an_expired_token_is_renewed_and_the_request_repeated() -> None:
    async with VendorSite("claude", judge, login=Login("test-access-0", {}, NEXT_TOKEN)) as site:
        reply = await ask(site.gateway(), request("gemini", model=MODEL))
        tokens = [received.headers["authorization"] for received in site.upstream.requests]
    assert reply.status == 200
    assert tokens == ["Bearer test-access-0", f"Bearer {NEXT_TOKEN}"]


async def test_an_account_for_its_own_tool_gives_way_and_is_not_blamed(site: VendorSite) -> None:
    gateway = site.gateway(
        site.credential(), site.credential(account=None, secret=NEXT_TOKEN), routing={"strategy": "fill-first"}
    )
    for _ in range(2):
        site.upstream.script(native.error("anthropic", 400, OWN_TOOL_ONLY))
        assert (await ask(gateway, request("openai-chat", model=MODEL))).status == 200
    tokens = [received.headers["authorization"].removeprefix("Bearer ") for received in site.upstream.requests]
    assert tokens == [TOKEN, NEXT_TOKEN] * 2


def test_a_file_may_hold_a_key() -> None:
    _, headers, _ = sent(claude.VENDOR, {"model": "m"}, "anthropic", api_key="sk-test-1")
    assert headers["x-api-key"] == "sk-test-1"
    assert not {"authorization", "anthropic-beta"} & {name.lower() for name in headers}


# ---------------------------------------------------------------- the account

ACCOUNT = {
    "account": {"uuid": "u-1", "email_address": "me@example.com"},
    "organization": {"uuid": "o-1", "name": "Mine"},
}
WHO = {"email": "me@example.com", "account_uuid": "u-1", "organization_uuid": "o-1", "organization_name": "Mine"}


async def identified(site: VendorSite, **said: Any) -> Fields:
    async with httpx.AsyncClient() as http:
        return await claude.identify(Tokens(TOKEN, extra=said), Place(site.base_url), http)


async def test_who_logged_in_is_said_with_the_tokens(site: VendorSite) -> None:
    assert await identified(site, **ACCOUNT) == WHO
    assert not site.upstream.requests


async def test_who_logged_in_is_asked_else(site: VendorSite) -> None:
    site.upstream.script(
        answer({"account": {"uuid": "u-1", "email": "me@example.com"}, "organization": ACCOUNT["organization"]})
    )
    assert await identified(site) == WHO
    assert site.upstream.requests[0].path == "/api/oauth/profile"


async def test_a_long_lived_token_may_stay_without_a_name(site: VendorSite) -> None:
    site.upstream.script(native.error("anthropic", 403, "OAuth token does not meet scope requirement user:profile"))
    assert await identified(site) == {}
    assert claude.file_stem({"access_token": TOKEN}) != claude.file_stem({"access_token": NEXT_TOKEN})
    assert TOKEN not in claude.file_stem({"access_token": TOKEN})
    assert claude.file_stem({"access_token": TOKEN, **WHO}) == "me@example.com"


async def test_no_name_is_worth_losing_a_login_for(site: VendorSite) -> None:
    site.upstream.script(native.error("anthropic", 500, "oops"))
    assert await identified(site) == {}


async def test_quota(site: VendorSite) -> None:
    usage = {
        "five_hour": {"utilization": 42.5, "resets_at": "2027-01-15T08:00:00+00:00"},
        "seven_day": {"utilization": 100, "resets_at": 1_800_000_000},
        "seven_day_opus": {"utilization": 0.0, "resets_at": None},
        "seven_day_sonnet": None,
        "extra_usage": {"is_enabled": False, "utilization": None},
    }
    site.upstream.script(answer(usage))
    async with httpx.AsyncClient() as http:
        quota = await claude.quota({"access_token": TOKEN, "plan_type": "max"}, Place(site.base_url), http)
    assert (quota.plan, site.upstream.requests[0].path) == ("max", "/api/oauth/usage")
    assert quota.windows == (
        Window("5h", 0.425, 1_800_000_000.0),
        Window("7d", 1.0, 1_800_000_000.0),
        Window("7d_opus", 0.0, None),
    )


async def test_a_token_that_may_not_ask_has_no_quota(site: VendorSite) -> None:
    site.upstream.script(native.error("anthropic", 403, "scope"))
    async with httpx.AsyncClient() as http:
        quota = await claude.quota({"access_token": TOKEN}, Place(site.base_url), http)
    assert (quota.plan, quota.windows) == ("", ())


@pytest.mark.parametrize("quota", [claude.quota, codex.quota])
async def test_a_key_has_no_quota(quota: Callable[..., Awaitable[Quota]]) -> None:
    async with httpx.AsyncClient() as http:
        assert await quota({"api_key": "sk-test-1"}, Place("http://127.0.0.1:9"), http) == Quota()


def test_no_registration_of_the_vendors_is_shipped() -> None:
    registration = claude.VENDOR.registration
    assert registration
    assert (registration.client_id, registration.client_secret) == ("", "")

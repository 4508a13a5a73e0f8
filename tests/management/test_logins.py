"""Logins through the API: begun, ended in a browser, on another device or by pasting, and the account is in use."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cliproxy.oauth.token_endpoint import http_client
from tests.management.desk import Desk, desk_of
from tests.oauth.authorization_server import AuthorizationServer

type Browse = Callable[[str], Awaitable[str]]
"""Opens an address, and returns the one that the browser is sent to."""


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with AuthorizationServer() as running:
        running.settings.interval_s = 0
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client("direct") as client:
        yield client


@pytest.fixture
async def desk(server: AuthorizationServer, tmp_path: Path, free_port: int) -> AsyncIterator[Desk]:
    client = {"client-id": "test-client", "token-url": f"{server.url}/oauth/token"}
    browser = {"authorize-url": f"{server.url}/oauth/authorize", "redirect-port": free_port}
    device = {"device-url": f"{server.url}/oauth/device/code"}
    oauth = {
        "claude": {**client, **browser, "userinfo-url": f"{server.url}/oauth/userinfo"},
        "codex": {**client, **browser, "device-url": server.codex_device_url},
        "gemini-cli": {**client, **browser, "userinfo-url": f"{server.url}/oauth/userinfo"},
        "antigravity": {**client, **browser, "userinfo-url": f"{server.url}/oauth/userinfo"},
        "iflow": {**client, **browser, "userinfo-url": f"{server.url}/oauth/userinfo"},
        "qwen": {**client, **device},
        "kimi": {**client, **device},
        "xai": {**client, **device},
    }
    providers = {name: {"base-url": server.url, "oauth": values} for name, values in oauth.items()}
    async with desk_of(tmp_path, f"providers: {json.dumps(providers)}\n") as running:
        yield running


@pytest.fixture
def browse(http: httpx.AsyncClient) -> Browse:
    async def open_(url: str) -> str:
        return (await http.get(url)).headers["location"]

    return open_


async def status(desk: Desk, state: str) -> Any:
    return await desk.get("/get-auth-status", state=state)


async def ended(desk: Desk, state: str) -> Any:
    """How a login ended, when it has."""
    await desk.operator.logins._tasks.join()
    return await status(desk, state)


BROWSER = ["claude", "anthropic", "codex", "gemini-cli", "antigravity", "iflow"]
DEVICE = ["qwen", "kimi", "xai"]


@pytest.mark.parametrize("name", BROWSER)
async def test_a_login_in_a_browser_begins_with_an_address(desk: Desk, name: str) -> None:
    begun = await desk.get(f"/{name}-auth-url")
    asked = parse_qs(urlsplit(begun["url"]).query)
    assert (begun["status"], asked["state"]) == ("ok", [begun["state"]])
    assert re.fullmatch(r"[A-Za-z0-9._-]{16,128}", begun["state"])
    assert 0 < begun["expires_in"] <= 1800
    assert await status(desk, begun["state"]) == {"status": "wait", "error": ""}


@pytest.mark.parametrize("name", DEVICE)
async def test_a_login_on_a_device_begins_with_a_code(desk: Desk, name: str) -> None:
    begun = await desk.get(f"/{name}-auth-url")
    assert (begun["status"], begun["flow"]) == ("ok", "device")
    assert begun["user_code"] and begun["verification_uri"] and begun["url"] and begun["state"]
    assert begun["expires_in"] > 0


async def test_a_pasted_address_ends_a_login_and_the_account_is_in_use(desk: Desk, browse: Browse) -> None:
    begun = await desk.get("/codex-auth-url")
    redirect = await browse(begun["url"])
    # No key: whoever has the address may give it.
    reply = await desk.ask("POST", "/oauth-callback", {"provider": "codex", "redirect_url": redirect}, key=None)
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert await ended(desk, begun["state"]) == {"status": "ok", "error": ""}
    assert desk.account_changes == 1
    (credential,) = desk.operator.running.accounts.credentials()
    assert credential.provider == "codex"
    (file,) = desk.auth_dir.glob("codex-*.json")
    assert (await desk.get("/auth-files"))["files"][0]["name"] == file.name
    again = await desk.ask("POST", "/oauth-callback", {"redirect_url": redirect}, key=None)
    assert (again.status, again.json["status"]) == (409, "error")


@pytest.mark.parametrize("way", ["fields", "get", "hash"])
async def test_code_and_state_are_taken_in_each_way(desk: Desk, browse: Browse, way: str) -> None:
    begun = await desk.get("/codex-auth-url")
    code = parse_qs(urlsplit(await browse(begun["url"])).query)["code"][0]
    both = {"code": code, "state": begun["state"]}
    match way:
        case "fields":
            reply = await desk.ask("POST", "/oauth-callback", both)
        case "get":
            reply = await desk.ask("GET", "/oauth-callback", query=both, key=None)
        case _:
            reply = await desk.ask("POST", "/oauth-callback", {"redirect_url": f"{code}#{begun['state']}"})
    assert reply.status == 200, reply.text
    assert (await ended(desk, begun["state"]))["status"] == "ok"


async def test_a_browser_may_bring_the_answer_to_the_main_port(desk: Desk, browse: Browse) -> None:
    begun = await desk.get("/codex-auth-url")
    query = dict(httpx.URL(await browse(begun["url"])).params)
    reply = await desk.ask("GET", "//codex/callback", query=query, key=None)
    assert reply.status == 200 and "close this window" in reply.text
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert (await ended(desk, begun["state"]))["status"] == "ok"
    again = await desk.ask("GET", "//codex/callback", query=query, key=None)
    assert again.status == 400 and "No login waits" in again.text


@pytest.mark.parametrize("state", ["", "nobody", "<script>alert(1)</script>"])
async def test_the_page_tells_strangers_nothing(desk: Desk, state: str) -> None:
    reply = await desk.ask("GET", "//anthropic/callback", query={"state": state, "code": "<b>"}, key=None)
    assert reply.status == 400
    assert "<script" not in reply.text and "<b>" not in reply.text


async def test_a_browser_on_this_machine_brings_the_answer_by_itself(
    desk: Desk, browse: Browse, http: httpx.AsyncClient
) -> None:
    begun = await desk.get("/codex-auth-url", is_webui="1")
    page = await http.get(await browse(begun["url"]))
    assert page.status_code == 200
    assert (await ended(desk, begun["state"]))["status"] == "ok"


async def test_a_code_on_another_device_ends_a_login(
    desk: Desk, server: AuthorizationServer, http: httpx.AsyncClient
) -> None:
    begun = await desk.get("/qwen-auth-url")
    (view,) = (await desk.get("/logins"))["logins"]
    assert (view["state"], view["provider"], view["flow"], view["status"]) == (begun["state"], "qwen", "device", "wait")
    assert view["user_code"] == begun["user_code"]
    await http.post(f"{server.url}/device", data={"user_code": begun["user_code"], "agree": "1"})
    assert (await ended(desk, begun["state"]))["status"] == "ok"
    assert [one.provider for one in desk.operator.running.accounts.credentials()] == ["qwen"]
    assert (await desk.get("/logins"))["logins"][0]["status"] == "ok"


async def test_the_flow_can_be_chosen(desk: Desk) -> None:
    assert (await desk.get("/codex-auth-url", flow="codex-device"))["flow"] == "device"
    refused = await desk.ask("GET", "/qwen-auth-url", query={"flow": "browser"})
    assert (refused.status, refused.json["error"]) == (400, "no such login")
    assert (await desk.ask("GET", "/qwen-auth-url", query={"flow": "magic"})).status == 400


async def test_a_login_that_the_user_denies_ends_with_that(desk: Desk) -> None:
    begun = await desk.get("/codex-auth-url")
    denied = {"state": begun["state"], "error": "access_denied"}
    assert (await desk.ask("POST", "/oauth-callback", denied)).status == 200
    after = await ended(desk, begun["state"])
    assert after["status"] == "error" and after["error"]


async def test_a_login_is_given_up(desk: Desk) -> None:
    begun = await desk.get("/codex-auth-url")
    reply = await desk.ask("DELETE", "/oauth-session", query={"state": begun["state"]})
    assert reply.json == {"status": "ok", "cancelled": True}
    assert await ended(desk, begun["state"]) == {"status": "error", "error": "cancelled"}
    again = await desk.ask("DELETE", "/oauth-session", query={"state": begun["state"]})
    assert again.json == {"status": "ok", "cancelled": False}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"state": "STATE"}, 400),
        ({"code": "abcdefghij"}, 400),
        ({"code": "abcdefghij", "state": "nobody"}, 404),
        ({"code": "abcdefghij", "state": "../../etc"}, 404),
        ({"provider": "claude", "code": "abcdefghij", "state": "STATE"}, 400),
        ({"redirect_url": "https://example.com/nothing"}, 400),
        ({"redirect_url": "https://example.com/?code=abcdefghij&state=nobody"}, 404),
    ],
)
async def test_answers_that_belong_to_no_login_are_refused(desk: Desk, body: Any, status: int) -> None:
    begun = await desk.get("/codex-auth-url")
    body = {name: begun["state"] if value == "STATE" else value for name, value in body.items()}
    reply = await desk.ask("POST", "/oauth-callback", body, key=None)
    assert (reply.status, reply.json["status"]) == (status, "error")
    assert (await desk.get("/get-auth-status", state=begun["state"]))["status"] == "wait"


@pytest.mark.parametrize("state", ["", "a" * 129, "a/b", "a b"])
async def test_states_have_a_form(desk: Desk, state: str) -> None:
    assert (await desk.ask("GET", "/get-auth-status", query={"state": state})).status == 400
    assert (await desk.ask("DELETE", "/oauth-session", query={"state": state})).status == 400


async def test_a_state_that_nobody_knows_is_no_success(desk: Desk) -> None:
    assert (await status(desk, "nobody"))["status"] == "error"


async def test_what_each_provider_has_is_told(desk: Desk) -> None:
    providers = {one["name"]: one for one in (await desk.get("/providers"))["providers"]}
    assert providers["qwen"]["possible"] == ["device"] and providers["qwen"]["auth_url"] == "qwen-auth-url"
    assert "api-key" in providers["glm"]["possible"] and providers["glm"]["auth_url"] is None
    assert providers["codex"]["title"]


async def test_without_a_client_it_is_told_what_is_missing(tmp_path: Path) -> None:
    async with desk_of(tmp_path, "") as desk:
        reply = await desk.ask("GET", "/claude-auth-url")
        assert (reply.status, reply.json["error"]) == (400, "no OAuth client")
        assert "providers.claude.oauth.client-id" in reply.json["message"]


async def test_a_vendor_that_fails_is_told(desk: Desk, server: AuthorizationServer) -> None:
    broken = f"providers: {{qwen: {{oauth: {{client-id: nobody, device-url: '{server.url}/oauth/device/code'}}}}}}\n"
    text = desk.config_text().split("providers:")[0] + broken
    assert (await desk.ask("PUT", "/config.yaml", body=text.encode())).status == 200
    reply = await desk.ask("GET", "/qwen-auth-url")
    assert (reply.status, reply.json["error"]) == (502, "the vendor refused")

"""Where no WebSocket can be opened, here in the library, clients are told so with 426: then Codex goes on with POST."""

from collections.abc import Mapping

import pytest

from tests.features.gateways import MODEL, Site

HANDSHAKE: Mapping[str, str] = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "openai-beta": "responses_websockets=2026-02-06",
}


@pytest.mark.parametrize("headers", [HANDSHAKE, {}], ids=["a handshake", "a plain GET"])
async def test_a_websocket_is_refused(site: Site, headers: Mapping[str, str]) -> None:
    vendor = await site.upstream("openai-responses")
    answer = await site.clients().http.get("/v1/responses", headers=headers)
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("upgrade_required", "invalid_request_error")
    assert "use POST" in error["message"]
    assert not vendor.requests


async def test_the_client_goes_on_with_post(site: Site) -> None:
    await site.upstream("anthropic")
    clients = site.clients()
    assert (await clients.http.get("/v1/responses", headers=HANDSHAKE)).status_code == 426
    assert (await clients.openai.responses.create(model=MODEL, input="hi")).output_text == "hello from upstream"


async def test_the_key_does_not_matter(site: Site) -> None:
    """A 401 would make the client look for another key, though none would help."""
    gateway = site.gateway(api_keys=["sk-test-client"])
    for headers in (HANDSHAKE, {**HANDSHAKE, "authorization": "Bearer sk-test-client"}):
        assert (await site.clients(gateway).http.get("/v1/responses", headers=headers)).status_code == 426


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", f"/v1beta/models/{MODEL}:generateContent"])
async def test_other_routes_have_no_websocket_to_refuse(site: Site, path: str) -> None:
    answer = await site.clients().http.get(path, headers=HANDSHAKE)
    assert answer.status_code == 405
    assert "use POST" in answer.json()["error"]["message"]

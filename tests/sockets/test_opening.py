"""cliproxy.sockets.opening: who may open which WebSocket."""

import json
from typing import Any

import pytest

from cliproxy.config.loading import parse_config
from cliproxy.exchange import Answer, ClientRequest, Headers
from cliproxy.memory import Memory
from cliproxy.routing.registry import builtin_registry
from cliproxy.sockets.opening import Sockets
from cliproxy.sockets.relay import Page, Relay
from cliproxy.sockets.responses import ResponsesConversation
from cliproxy.transport.client import TimeLimits
from cliproxy.websocket import Conversation

KEY = "sk-test-client"


async def ask(request: ClientRequest) -> Answer:
    raise AssertionError("nothing is asked yet")


def opened(path: str, headers: dict[str, str] | None = None, query: str = "", **options: Any) -> Answer | Conversation:
    config = parse_config(json.dumps({name.replace("_", "-"): value for name, value in options.items()})).config
    memory = Memory()
    relay = Relay(config, builtin_registry(), memory.members, TimeLimits(None, None, None))
    handshake = ClientRequest("GET", path, query, Headers(headers or {}), b"")
    return Sockets(config, memory.sockets, relay).open(handshake, ask)


def refusal(found: Answer | Conversation) -> tuple[int, dict[str, Any]]:
    assert isinstance(found, Answer)
    assert isinstance(found.body, bytes)
    return found.status, json.loads(found.body)["error"]


def test_responses_need_a_key() -> None:
    status, error = refusal(opened("/v1/responses", api_keys=[KEY]))
    assert (status, error["code"]) == (401, "invalid_api_key")
    found = opened("/v1/responses", {"authorization": f"Bearer {KEY}"}, api_keys=[KEY], max_request_body_bytes=77)
    assert isinstance(found, ResponsesConversation)
    assert (found.max_message_bytes, found.silence_limit_s) == (77, None)


def test_without_keys_everyone_may() -> None:
    assert isinstance(opened("/v1/responses"), ResponsesConversation)
    assert isinstance(opened("/v1/ws"), Page)


def test_pages_need_a_key_too_unless_the_config_says_otherwise() -> None:
    assert refusal(opened("/v1/ws", api_keys=[KEY]))[0] == 401
    assert isinstance(opened("/v1/ws", query=f"auth_token={KEY}", api_keys=[KEY]), Page)
    found = opened("/v1/ws", api_keys=[KEY], ws_auth=False)
    assert isinstance(found, Page)
    assert (found.max_message_bytes, found.silence_limit_s) == (64 * 1024 * 1024, 60)


def test_ws_auth_is_not_about_responses() -> None:
    assert refusal(opened("/v1/responses", api_keys=[KEY], ws_auth=False))[0] == 401


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/elsewhere"])
def test_no_other_path_opens_one(path: str) -> None:
    assert refusal(opened(path))[0] in (404, 405)

"""Every name that a list shows can be called, through the real gateway."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from cliproxy.exchange import ClientRequest, Headers
from cliproxy.wire.model import Format
from tests.calls import MODELS
from tests.processes import CLIENT_KEY
from tests.site import Site, ask, request
from tests.upstream import Upstream

CHAINS = {"models": {"smart": {"targets": ["no-such-model", "anthropic-model"]}, "any-*": {"targets": ["demo/echo"]}}}
CLAUDE_CODE = {"User-Agent": "claude-code/2.1.329", "anthropic-version": "2023-06-01"}

LISTS: list[tuple[str, str, dict[str, str], Format, Callable[[Any], list[str]]]] = [
    ("/v1/models", "", {}, "openai-chat", lambda body: [model["id"] for model in body["data"]]),
    ("/v1/models", "limit=1000", CLAUDE_CODE, "anthropic", lambda body: [model["id"] for model in body["data"]]),
    ("/v1/models", "client_version=0.169.0", {}, "openai-responses", lambda body: [m["slug"] for m in body["models"]]),
    ("/v1beta/models", "", {}, "gemini", lambda body: [m["name"].removeprefix("models/") for m in body["models"]]),
]


def listing(path: str, query: str = "", headers: Mapping[str, str] | None = None) -> ClientRequest:
    return ClientRequest("GET", path, query, Headers({"Authorization": f"Bearer {CLIENT_KEY}", **(headers or {})}), b"")


@pytest.fixture
async def site(upstream: Upstream) -> AsyncIterator[Site]:
    site = Site(upstream)
    yield site
    await site.close()


@pytest.mark.parametrize(("path", "query", "headers", "format", "names"), LISTS)
async def test_every_listed_name_can_be_called(
    site: Site, path: str, query: str, headers: dict[str, str], format: Format, names: Callable[[Any], list[str]]
) -> None:
    gateway = site.gateway(CHAINS)
    listed = names((await ask(gateway, listing(path, query, headers))).json)
    assert len(listed) > len(MODELS)
    for name in listed:
        reply = await ask(gateway, request(format, model=name))
        assert reply.status == 200, (name, reply.body)
    plain_names = {name.removeprefix("claude-code/") for name in listed}
    assert {*MODELS.values(), "smart", "demo/echo"} <= plain_names
    assert "any-*" not in plain_names


@pytest.mark.parametrize("stream", [False, True])
async def test_the_upstream_sees_its_own_name_and_not_claude_codes(site: Site, stream: bool) -> None:
    for name in ("claude-code/anthropic-model", "claude-code/chat-model"):
        reply = await ask(site.gateway(), request("anthropic", model=name, stream=stream))
        assert reply.status == 200
        received = site.upstream.requests[-1]
        assert received.json["model"] == "upstream-model"
        assert b"claude-code" not in received.body


async def test_the_config_can_leave_claude_codes_list_alone(site: Site) -> None:
    gateway = site.gateway({"claude-code": {"disable-cloaking-model-list": True}})
    body = (await ask(gateway, listing("/v1/models", headers=CLAUDE_CODE))).json
    assert not [model["id"] for model in body["data"] if model["id"].startswith("claude-code/")]


async def test_a_key_that_may_use_a_model_may_use_it_by_claude_codes_name(site: Site) -> None:
    gateway = site.gateway({"api-keys": [{"key": CLIENT_KEY, "models": ["chat-model"]}]})
    body = (await ask(gateway, listing("/v1/models", headers=CLAUDE_CODE))).json
    assert [model["id"] for model in body["data"]] == ["claude-code/chat-model"]
    assert (await ask(gateway, request("anthropic", model="claude-code/chat-model"))).status == 200
    assert (await ask(gateway, request("anthropic", model="claude-code/anthropic-model"))).status == 403

"""cliproxy.discovery: upstreams are asked for their lists, each in its own way."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from cliproxy.credentials.record import Credential
from cliproxy.discovery import Discovery, discover
from cliproxy.routing.found import FoundList, FoundModel
from cliproxy.transport.client import HttpTransport
from tests.answers import Answer
from tests.certificates import client_context
from tests.site import NO_LIMITS
from tests.upstream import Upstream

KEY = "sk-test-key-1"


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(client_context(), NO_LIMITS, "direct")
    yield transport
    await transport.close()


class Login:
    """An account whose token is refused until it was renewed."""

    id = "login-1"
    label = "me@example.com"

    def __init__(self, **fields: Any) -> None:
        self.fields: Mapping[str, Any] = fields
        self.token = "test-access-1"

    async def ready(self) -> None:
        return

    async def renewed(self, refused: str) -> bool:
        self.token = "test-access-2"
        return refused == "test-access-1"


def answer(body: Any, status: int = 200) -> Answer:
    return Answer(status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode())


def key(upstream: Upstream, provider: str, format: Any, path: str = "", **more: Any) -> Credential:
    return Credential(provider, (format,), upstream.url + path, KEY, **more)


async def found(upstream: Upstream, transport: HttpTransport, credential: Credential, *pages: Any) -> list[FoundModel]:
    upstream.script(*map(answer, pages))
    [discovery] = await discover([credential], transport)
    assert discovery.found, discovery.trouble
    return list(discovery.found.models)


async def test_openais_list(upstream: Upstream, transport: HttpTransport) -> None:
    body = {
        "object": "list",
        "data": [
            {"id": "plain", "object": "model"},
            {"id": "vllm", "max_model_len": 4096},
            {
                "id": "org/routed",
                "name": "Org: Routed",
                "context_length": 200_000,
                "architecture": {"input_modalities": ["text", "image", "file"]},
                "top_provider": {"max_completion_tokens": 8000},
            },
            {"object": "model"},
            "not a model",
        ],
    }
    assert await found(upstream, transport, key(upstream, "router", "openai-chat", "/api/v1"), body) == [
        FoundModel("plain"),
        FoundModel("vllm", context_tokens=4096),
        FoundModel("org/routed", "Org: Routed", 200_000, 8000, ("text", "image", "document")),
    ]
    [asked] = upstream.requests
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("GET", "/api/v1/models", f"Bearer {KEY}")
    assert asked.headers["user-agent"].startswith("cliproxy")


async def test_anthropics_list_has_pages(upstream: Upstream, transport: HttpTransport) -> None:
    pages: list[Any] = [
        {"data": [{"id": "opus-9", "display_name": "Opus 9", "max_input_tokens": 1_000_000, "max_tokens": 128_000}], "has_more": True, "last_id": "opus-9"},
        {"data": [{"id": "haiku-9", "display_name": "Haiku 9"}], "has_more": False, "last_id": "haiku-9"},
    ]  # fmt: skip
    assert await found(upstream, transport, key(upstream, "claude", "anthropic"), *pages) == [
        FoundModel("opus-9", "Opus 9", 1_000_000, 128_000),
        FoundModel("haiku-9", "Haiku 9"),
    ]
    assert [(asked.path, asked.query) for asked in upstream.requests] == [
        ("/v1/models", "limit=1000"),
        ("/v1/models", "limit=1000&after_id=opus-9"),
    ]
    assert upstream.requests[0].headers["anthropic-version"]


async def test_geminis_list_has_pages(upstream: Upstream, transport: HttpTransport) -> None:
    pages: list[Any] = [
        {"models": [{"name": "models/g-9", "displayName": "G 9", "inputTokenLimit": 1000, "outputTokenLimit": 100, "thinking": True}], "nextPageToken": "more"},
        {"models": [{"name": "models/g-8", "thinking": False}]},
    ]  # fmt: skip
    assert await found(upstream, transport, key(upstream, "gemini", "gemini"), *pages) == [
        FoundModel("g-9", "G 9", 1000, 100, thinks=True),
        FoundModel("g-8", thinks=False),
    ]
    assert [asked.query for asked in upstream.requests] == ["pageSize=1000", "pageSize=1000&pageToken=more"]
    assert upstream.requests[0].headers["x-goog-api-key"] == KEY


async def test_antigravitys_list(upstream: Upstream, transport: HttpTransport) -> None:
    body = {
        "models": {
            "g-9-high": {
                "displayName": "G 9 (High)",
                "maxTokens": 1000,
                "maxOutputTokens": 100,
                "supportsThinking": True,
            },
            "chat_23310": {},
        }
    }
    account = Login(project_id="my-project")
    credential = Credential("antigravity", ("gemini",), upstream.url, dialect="antigravity", account=account)
    assert await found(upstream, transport, credential, body) == [
        FoundModel("g-9-high", "G 9 (High)", 1000, 100, thinks=True)
    ]
    [asked] = upstream.requests
    assert (asked.method, asked.path) == ("POST", "/v1internal:fetchAvailableModels")
    assert asked.json == {"project": "my-project"}
    assert asked.headers["authorization"] == "Bearer test-access-1"


@pytest.mark.parametrize(
    ("vendor", "path", "asked_for"),
    [
        ("kimi", "/coding", "/coding/v1/models"),
        ("glm", "/api/coding/paas/v4", "/api/coding/paas/v4/models"),
        ("qwen", "/v1", "/v1/models"),
        ("iflow", "/v1", "/v1/models"),
    ],
)
async def test_compatible_vendors_have_it_beside_their_chats(
    upstream: Upstream, transport: HttpTransport, vendor: str, path: str, asked_for: str
) -> None:
    account = Login(api_key="test-access-1")
    credential = Credential(vendor, ("openai-chat",), upstream.url + path, dialect=vendor, account=account)
    assert await found(upstream, transport, credential, {"data": [{"id": "m"}]}) == [FoundModel("m")]
    [asked] = upstream.requests
    assert (asked.method, asked.path, asked.body) == ("GET", asked_for, b"")
    assert asked.headers["authorization"] == "Bearer test-access-1"


async def test_a_list_remembers_whose_it_is(upstream: Upstream, transport: HttpTransport) -> None:
    upstream.script(answer({"data": [{"id": "m"}]}), answer({"data": [{"id": "m"}]}))
    account = Login(plan_type="max")
    login = Credential("claude", ("anthropic",), upstream.url, dialect="claude", account=account)
    discoveries = await discover([key(upstream, "claude", "anthropic"), login], transport, lambda: 5.0)
    assert [one.found for one in discoveries] == [
        FoundList("claude", (FoundModel("m"),), upstream.url, found_s=5.0),
        FoundList("claude", (FoundModel("m"),), plan="max", found_s=5.0),
    ]


async def test_one_upstream_is_asked_once_by_whichever_key_it_takes(
    upstream: Upstream, transport: HttpTransport
) -> None:
    upstream.script(answer({"error": {}}, 401), answer({"data": [{"id": "m"}]}))
    keys = [Credential("p", ("openai-chat",), upstream.url, f"sk-test-{number}") for number in range(3)]
    [discovery] = await discover(keys, transport)
    assert discovery.found
    assert [asked.headers["authorization"] for asked in upstream.requests] == ["Bearer sk-test-0", "Bearer sk-test-1"]


async def test_a_token_that_is_refused_is_renewed(upstream: Upstream, transport: HttpTransport) -> None:
    upstream.script(answer({"error": {}}, 401))
    credential = Credential("claude", ("anthropic",), upstream.url, dialect="claude", account=Login())
    await found(upstream, transport, credential, {"data": [{"id": "m"}]})
    tokens = [asked.headers["authorization"] for asked in upstream.requests]
    assert tokens == ["Bearer test-access-1", "Bearer test-access-2"]


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (answer({"error": {"message": "no"}}, 403), "answered 403"),
        (answer([]), "not a JSON object"),
        (Answer(headers={"content-type": "text/html"}, body=b"<html>"), "not a JSON object"),
        (Answer(headers={"content-encoding": "gzip"}, body=b"not gzip"), "not a JSON object"),
        (answer({"data": []}), "empty"),
        (Answer(raw=b"garbage\r\n\r\n"), "HTTP"),
    ],
)
async def test_what_goes_wrong_is_told(
    upstream: Upstream, transport: HttpTransport, said: Answer, trouble: str
) -> None:
    upstream.script(said)
    [discovery] = await discover([key(upstream, "p", "openai-chat")], transport)
    assert discovery == Discovery("p", None, discovery.trouble)
    assert trouble in discovery.trouble
    assert KEY not in discovery.trouble


async def test_a_list_without_end_is_given_up(upstream: Upstream, transport: HttpTransport) -> None:
    pages = [{"data": [{"id": f"m-{n}"}], "has_more": True, "last_id": f"m-{n}"} for n in range(60)]
    models = await found(upstream, transport, key(upstream, "claude", "anthropic"), *pages)
    assert len(models) == len(upstream.requests) == 50


@pytest.mark.parametrize("vendor", ["codex", "gemini-cli", "kiro", "vertex"])
async def test_some_upstreams_are_not_asked(upstream: Upstream, transport: HttpTransport, vendor: str) -> None:
    login = Credential(vendor, ("gemini",), upstream.url, dialect=vendor, account=Login())
    demo = Credential("demo", ("openai-chat",), "demo://in-process")
    assert await discover([login, demo], transport) == []
    assert upstream.requests == []

"""Every provider, with every kind of credential, for clients of every format: a streamed call of a tool and its answer.

The clients are the vendors' SDKs, the gateway has real auth files and a real config, and each upstream is the mock of
its vendor, which refuses what the real one refuses.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from cliproxy.config import parse_config
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.credentials.linked import TOOLS, find, link_to
from cliproxy.gateway import Gateway
from cliproxy.providers import VENDORS
from cliproxy.routing.registry import builtin_registry
from cliproxy.sockets.relay import Relay
from cliproxy.transport.client import TimeLimits
from tests import native
from tests.answers import Answer
from tests.auth_files import AUTH_FILES
from tests.client_sockets import Talking
from tests.credentials.test_linked import CLAUDE, CODEX, FILES, GEMINI, KIRO, KIRO_CLIENT, QWEN
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients
from tests.features.test_tool_loop import CITY, LOOPS
from tests.installation import NOW_S, Installation
from tests.native import FORMATS, Format
from tests.providers import claude_api, codex_backend, google, test_glm, test_iflow, test_kimi, test_qwen, xai_api
from tests.providers.accounts import TOKEN
from tests.providers.kiro import event_stream
from tests.providers.kiro.service import PROFILE, Service
from tests.sockets.test_relay import Browser
from tests.upstream import Received, Upstream

KEY = "sk-test-upstream"
GEMINI_MODEL, KIRO_MODEL = "gemini-3-pro-preview", "claude-sonnet-4.5"
KIRO_USAGE = {"uncachedInputTokens": native.INPUT_TOKENS, "outputTokens": native.OUTPUT_TOKENS}


class Vendor(Protocol):
    """A running mock."""

    url: str


type Mock = Callable[[Format], AbstractAsyncContextManager[Vendor]]
"""A vendor's mock, which is about to be asked by a client of a format."""
type Possession = Callable[[Installation, str], None]
"""Gives an installation what a user has for the vendor at a URL."""
type Serve = Callable[[Installation, Format], AbstractAsyncContextManager[Gateway]]
"""Has a gateway that is about to be asked by a client of a format."""


def against(mock: Mock, has: Possession) -> Serve:
    @asynccontextmanager
    async def serve(installation: Installation, client: Format) -> AsyncIterator[Gateway]:
        async with mock(client) as vendor:
            has(installation, vendor.url)
            async with installation.gateway() as gateway:
                yield gateway

    return serve


# ---------------------------------------------------------------- vendors


def scripted(
    judge: Callable[[Received], Answer | None],
    *formats: Format,
    as_given: Callable[[Answer], Answer] = lambda answer: answer,
) -> Mock:
    """A vendor that speaks these formats, the client's own if that is one of them. as_given: how it gives an answer."""

    def mock(client: Format) -> Upstream:
        format = client if client in formats else formats[0]
        upstream = Upstream(judge=judge)
        upstream.script(*(as_given(made(format, stream=True)) for made in (native.tool_call, native.text)))
        return upstream

    return mock


def keyed(format: Format, path: str, header: str = "authorization") -> Mock:
    """A plain API of a format, for one key. path: a pattern of where it is."""

    def judge(received: Received) -> Answer | None:
        if received.headers.get(header, "").removeprefix("Bearer ") != KEY:
            return native.error(format, 401, "no such key")
        return None if re.fullmatch(path, received.path) else native.error(format, 404, "nothing is there")

    return scripted(judge, format)


def judged(answers: Callable[[Received], Answer]) -> Mock:
    """A vendor that makes its answers of what it is asked."""
    return lambda client: Upstream(judge=answers)


def kiro(client: Format) -> Service:
    service = Service(needs_profile=True)
    service.script(
        [*event_stream.called("get_weather", CITY), *event_stream.ended("TOOL_USE", KIRO_USAGE)],
        [*event_stream.said(*native.WORDS), *event_stream.ended(usage=KIRO_USAGE)],
    )
    return service


@asynccontextmanager
async def page(installation: Installation, client: Format) -> AsyncIterator[Gateway]:
    """AI Studio, open in a browser."""
    members = installation.memory.members
    aliases = {"oauth-model-alias": {"aistudio": [{"name": GEMINI_MODEL, "alias": MODEL}]}}
    relay = Relay(parse_config(json.dumps(aliases)).config, builtin_registry(), members, TimeLimits(5, 5, 5))
    browser = Browser(native.tool_call("gemini", stream=True), native.text("gemini", stream=True))
    async with Talking(relay.page()) as socket:
        running = asyncio.create_task(browser.run(socket))
        await asyncio.sleep(0)
        try:
            async with installation.gateway() as gateway:
                yield gateway
        finally:
            running.cancel()


# ---------------------------------------------------------------- what users have


def file(name: str, path: str = "", model: str = UPSTREAM_MODEL, **changes: Any) -> Possession:
    """An auth file. path: of the vendor's API below the mock's address. changes: of its fields."""

    def has(installation: Installation, url: str) -> None:
        fields = {**AUTH_FILES.get(name, {}), **changes}
        installation.keep(name, fields)
        installation.point(AuthFile.of(fields).type, f"{url}{path}", model)

    return has


def linked(tool: str, document: Mapping[str, Any], path: str = "", model: str = UPSTREAM_MODEL) -> Possession:
    """The login of a vendor's own tool, found and linked. document: of the tool's file."""

    def has(installation: Installation, url: str) -> None:
        installation.write(FILES[tool][0], document)
        installation.write(f".aws/sso/cache/{KIRO['clientIdHash']}.json", KIRO_CLIENT)
        (installation.home / ".kiro").mkdir()
        [found] = [login for login in find(installation.home, {}, clock=lambda: NOW_S) if login.tool is TOOLS[tool]]
        assert found.state == "usable"
        installation.keep(f"{tool}-linked.json", link_to(found, installation.home).document)
        installation.point(tool, f"{url}{path}", model)

    return has


def entry(section: str, path: str = "", model: str = UPSTREAM_MODEL, key: str = KEY, **more: Any) -> Possession:
    """A key in the config. path: of the vendor's API below the mock's address. more: of the entry."""

    def has(installation: Installation, url: str) -> None:
        shown: dict[str, Any] = {"api_key_entries": [key]} if section == "openai-compatibility" else {"api_key": key}
        models = [{"name": model, "alias": MODEL}]
        installation.have(section, base_url=f"{url}{path}", models=models, **shown, **more)

    return has


def service_account(installation: Installation, url: str) -> None:
    key = {"service_account": google.service_account(url), "project_id": google.PROJECT}
    file("vertex-useful-project.json", model=GEMINI_MODEL, **key)(installation, url)


# ---------------------------------------------------------------- the table

CLAUDE_API = scripted(claude_api.judge, "anthropic")
CODEX_BACKEND = scripted(codex_backend.judge, "openai-responses", as_given=codex_backend.without_output)
CODE_ASSIST, ANTIGRAVITY, VERTEX = map(judged, (google.code_assist, google.antigravity, google.vertex))
PORTAL = scripted(test_qwen.judge, "openai-chat")
IFLOW = scripted(test_iflow.judge, "openai-chat")
KIMI = scripted(test_kimi.judge, "openai-chat", "anthropic")
GLM = scripted(test_glm.judge, "openai-chat", "anthropic")
XAI = scripted(xai_api.judge, "openai-responses")

GOOGLE_LOGIN = {"access_token": TOKEN, "project_id": google.PROJECT}
GEMINI_FILE = "gemini-me@example.com-useful-project.json"
GEMINI_LOGIN = {"token": {**AUTH_FILES[GEMINI_FILE]["token"], "access_token": TOKEN}, "project_id": google.PROJECT}
CODEX_LOGIN = {"access_token": TOKEN, "account_id": codex_backend.ACCOUNT_ID}

ROWS: Mapping[tuple[str, str], Serve] = {
    ("claude", "key"): against(keyed("anthropic", "/v1/messages"), entry("claude-api-key")),
    ("claude", "login"): against(CLAUDE_API, file("claude-me@example.com.json", access_token=TOKEN)),
    ("claude", "long-lived token"): against(CLAUDE_API, file("claude-token.json", type="claude", access_token=TOKEN)),
    ("claude", "linked"): against(
        CLAUDE_API, linked("claude", {"claudeAiOauth": {**CLAUDE["claudeAiOauth"], "accessToken": TOKEN}})
    ),
    ("codex", "login"): against(
        CODEX_BACKEND,
        file("codex-me@example.com-plus.json", codex_backend.PATH, **CODEX_LOGIN),
    ),
    ("codex", "linked"): against(
        CODEX_BACKEND, linked("codex", {**CODEX, "tokens": {**CODEX["tokens"], **CODEX_LOGIN}}, codex_backend.PATH)
    ),
    ("codex", "key"): against(keyed("openai-responses", "/v1/responses"), entry("codex-api-key", "/v1")),
    ("openai", "key"): against(
        keyed("openai-chat", "/v1/chat/completions"), entry("openai-compatibility", "/v1", name="openai")
    ),
    ("gemini", "key"): against(
        keyed("gemini", f"/v1(beta)?/models/{UPSTREAM_MODEL}:streamGenerateContent", "x-goog-api-key"),
        entry("gemini-api-key"),
    ),
    ("gemini-cli", "login"): against(CODE_ASSIST, file(GEMINI_FILE, model=GEMINI_MODEL, **GEMINI_LOGIN)),
    ("gemini-cli", "linked"): against(
        CODE_ASSIST, linked("gemini-cli", {**GEMINI, "access_token": TOKEN}, model=GEMINI_MODEL)
    ),
    ("antigravity", "login"): against(
        ANTIGRAVITY, file("antigravity-me@example.com.json", model=GEMINI_MODEL, **GOOGLE_LOGIN)
    ),
    ("antigravity", "login, for Claude"): against(
        ANTIGRAVITY, file("antigravity-me@example.com.json", model="claude-sonnet-4-5", **GOOGLE_LOGIN)
    ),
    ("vertex", "service account"): against(VERTEX, service_account),
    ("vertex", "key"): against(VERTEX, entry("vertex-api-key", model=GEMINI_MODEL, key="test-key-1")),
    ("aistudio", "page"): page,
    ("qwen", "login"): against(PORTAL, file("qwen-me@example.com.json", "/v1", access_token=TOKEN)),
    ("qwen", "linked"): against(PORTAL, linked("qwen", {**QWEN, "access_token": TOKEN}, "/v1")),
    ("iflow", "login"): against(IFLOW, file("iflow-me@example.com.json", "/v1", "glm-4.6", api_key=test_iflow.KEY)),
    ("iflow", "key"): against(
        IFLOW,
        entry("openai-compatibility", "/v1", "glm-4.6", test_iflow.KEY, name="iflow-keys", dialect="iflow"),
    ),
    ("kimi", "login"): against(KIMI, file("kimi-1795258801000.json", "/coding", "kimi-k2.6", access_token=TOKEN)),
    ("kimi", "key"): against(KIMI, file("kimi-key.json", "/v1", "kimi-k2.6", type="kimi", api_key=test_kimi.KEY)),
    ("glm", "key"): against(GLM, file("glm-key.json", "/api", "glm-5.2", type="glm", api_key=test_glm.KEY)),
    ("kiro", "login"): against(
        kiro, file("kiro-me@example.com.json", model=KIRO_MODEL, access_token=TOKEN, profile_arn=PROFILE)
    ),
    ("kiro", "linked"): against(
        kiro, linked("kiro", {**KIRO, "accessToken": TOKEN, "profileArn": PROFILE}, model=KIRO_MODEL)
    ),
    ("xai", "login"): against(XAI, file("xai-me@example.com.json", "/v1", access_token=TOKEN)),
    ("xai", "key"): against(XAI, entry("xai-api-key", "/v1", key=TOKEN)),
    ("openai-compatibility", "key"): against(
        keyed("openai-chat", "/base/chat/completions"), entry("openai-compatibility", "/base", name="own")
    ),
    ("openai-compatibility", "key, Claude-compatible"): against(
        keyed("anthropic", "/base/v1/messages"),
        entry("openai-compatibility", "/base", name="own", wire="anthropic"),
    ),
}
"""By provider and credential."""


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("row", ROWS, ids=", ".join)
async def test_a_tool_is_called_and_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: tuple[str, str], client: Format
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    go_through, finishes = LOOPS[client]
    async with ROWS[row](Installation(tmp_path), client) as gateway:
        loop = await go_through(Clients(gateway, "sk-test-client"))
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
    assert loop.finishes == finishes
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}


def test_no_vendor_and_no_tool_is_left_out() -> None:
    assert VENDORS.keys() <= {provider for provider, _ in ROWS}
    assert TOOLS.keys() == {provider for provider, credential in ROWS if credential == "linked"}

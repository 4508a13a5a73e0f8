"""cliproxy.accounts.accounts: the auth files of a directory, as CLIProxyAPI wrote them, reach their vendors."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cliproxy.agent import USER_AGENT
from cliproxy.gateway import Gateway
from tests.auth_files import AUTH_FILES
from tests.installation import Installation
from tests.providers.claude_api import BETA
from tests.providers.google import MINTED, TOKEN, service_account
from tests.site import ask, request
from tests.upstream import Upstream

MODEL = "some-model"
CODE_ASSIST = "/v1internal:streamGenerateContent"
VERTEX = f"/v1/projects/useful-project/locations/us-central1/publishers/google/models/{MODEL}:streamGenerateContent"

REACHED: dict[str, tuple[str, dict[str, str]]] = {
    "antigravity": (CODE_ASSIST, {"authorization": "Bearer test-access-antigravity"}),
    "claude": ("/v1/messages", {"authorization": "Bearer test-access-claude", "anthropic-beta": BETA}),
    "codex": ("/responses", {"authorization": "Bearer test-access-codex", "chatgpt-account-id": "acc-1"}),
    "gemini-cli": (CODE_ASSIST, {"authorization": "Bearer test-access-gemini"}),
    "iflow": ("/chat/completions", {"authorization": "Bearer sk-test-iflow"}),
    "kimi": ("/v1/chat/completions", {"authorization": "Bearer test-access-kimi", "x-msh-device-id": "d-1"}),
    "kiro": ("/generateAssistantResponse", {"authorization": "Bearer test-access-kiro"}),
    "qwen": ("/chat/completions", {"authorization": "Bearer test-access-qwen", "x-dashscope-authtype": "qwen-oauth"}),
    "vertex": (VERTEX, {"authorization": f"Bearer {TOKEN}"}),
    "xai": ("/responses", {"authorization": "Bearer test-access-xai"}),
}
"""Where a streamed call goes below each provider's `base-url`, and what it shows there."""
IN_BODIES = {
    "antigravity": ("project", "useful-project"),
    "gemini-cli": ("project", "useful-project"),
    "kiro": ("profileArn", AUTH_FILES["kiro-me@example.com.json"]["profile_arn"]),
}
every_provider = pytest.mark.parametrize("provider", REACHED)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Of all vendors, each below its name."""
    async with Upstream(judge=lambda received: MINTED if received.path == "/token" else None) as running:
        yield running


@pytest.fixture
async def gateway(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Gateway]:
    """Over one auth file of each provider, all in one directory."""
    installation = Installation(tmp_path)
    for name, fields in AUTH_FILES.items():
        # The one in the file is not a real key.
        account = {"service_account": service_account(upstream.url)} if fields["type"] == "vertex" else {}
        installation.keep(name, {**fields, **account})
    for provider in REACHED:
        installation.point(provider, f"{upstream.url}/{provider}", MODEL, alias=f"model-of-{provider}")
    async with installation.gateway() as running:
        yield running


@every_provider
async def test_an_auth_file_leads_to_its_vendor(gateway: Gateway, upstream: Upstream, provider: str) -> None:
    await ask(gateway, request("openai-chat", stream=True, model=f"{provider}/model-of-{provider}"))
    path, shown = REACHED[provider]
    *_, received = upstream.requests
    assert (received.method, received.path) == ("POST", f"/{provider}{path}")
    assert {name: received.headers[name] for name in shown} == shown
    assert received.headers.get("user-agent", USER_AGENT) == USER_AGENT
    if provider in IN_BODIES:
        name, value = IN_BODIES[provider]
        assert received.json[name] == value


async def test_the_files_own_prefix_leads_to_it_too(gateway: Gateway, upstream: Upstream) -> None:
    await ask(gateway, request("gemini", stream=True, model="team/model-of-vertex"))
    assert upstream.requests[-1].path == f"/vertex{VERTEX}"


def test_every_kind_of_file_is_looked_at() -> None:
    kinds = {fields["type"] for fields in AUTH_FILES.values()}
    assert kinds - {"gemini"} | {"gemini-cli"} == REACHED.keys()

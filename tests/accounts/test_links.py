"""Logins of vendors' own tools: read when they change, never renewed or written."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cliproxy.accounts.account import LINK_CHECKED_EVERY_S, LiveAccount
from cliproxy.accounts.accounts import Accounts
from cliproxy.config.loading import parse_config
from cliproxy.routing.registry import builtin_registry
from cliproxy.wire.errors import UpstreamRefused, UpstreamUnreachable

Write = Callable[..., None]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the login of Claude Code as that tool does."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def write(token: str, *, ends_in_s: float = 3600) -> None:
        login = {
            "accessToken": token, "refreshToken": "test-refresh-of-the-tool", "scopes": ["user:inference"],
            "expiresAt": int((time.time() + ends_in_s) * 1000), "subscriptionType": "max",
        }  # fmt: skip
        path = tmp_path / ".claude" / ".credentials.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"claudeAiOauth": login}), "utf-8")

    return write


class Clock:
    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def linked(tmp_path: Path, clock: Callable[[], float] = time.time) -> LiveAccount:
    folder = tmp_path / "accounts"
    folder.mkdir(exist_ok=True)
    (folder / "claude.json").write_text('{"type": "claude", "linked": "~/.claude/.credentials.json"}', "utf-8")
    config = parse_config(json.dumps({"auth-dir": str(folder)})).config
    accounts = Accounts(config, builtin_registry(), clock=clock)
    accounts.load()
    (account,) = accounts
    return account


async def test_a_linked_login_is_used_and_followed(tool: Write, tmp_path: Path) -> None:
    tool("test-access-1")
    clock = Clock()
    account = linked(tmp_path, clock)
    await account.ready()
    assert account.token == "test-access-1"
    tool("test-access-2")
    clock.ahead_s += LINK_CHECKED_EVERY_S
    await account.ready()
    assert account.token == "test-access-2"


async def test_a_refused_token_is_exchanged_for_what_the_tool_has_now(tool: Write, tmp_path: Path) -> None:
    tool("test-access-1")
    account = linked(tmp_path)
    await account.ready()
    assert not await account.renewed("test-access-1")
    tool("test-access-2")
    account = linked(tmp_path)
    assert await account.renewed("test-access-1")


async def test_an_expired_one_says_to_open_the_tool_and_is_left_alone(tool: Write, tmp_path: Path) -> None:
    tool("test-access-1", ends_in_s=-60)
    before = (tmp_path / ".claude/.credentials.json").read_bytes()
    account = linked(tmp_path)
    assert not account.is_renewable
    with pytest.raises(UpstreamRefused, match="open Claude Code once") as refused:
        await account.ready()
    assert refused.value.status == 401
    assert (tmp_path / ".claude/.credentials.json").read_bytes() == before
    assert "test-refresh-of-the-tool" not in str(dict(account.fields))
    tool("test-access-2")
    await account.ready()
    assert account.token == "test-access-2"


async def test_a_tool_that_is_not_there_yet_may_come(
    tool: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    account = linked(tmp_path)
    assert "claude.json" in caplog.text
    with pytest.raises(UpstreamUnreachable, match="its file cannot be used"):
        await account.ready()
    tool("test-access-1")
    await account.ready()
    assert account.token == "test-access-1"

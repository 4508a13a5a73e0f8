"""Logins of vendors' own tools: read when they change, never renewed or written."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cliproxy import watching
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


LINK = '{"type": "claude", "linked": "~/.claude/.credentials.json"}'


def linked(tmp_path: Path, clock: Callable[[], float] = time.time) -> LiveAccount:
    folder = tmp_path / "accounts"
    folder.mkdir(exist_ok=True)
    (folder / "claude.json").write_text(LINK, "utf-8")
    (account,) = accounts_of(folder, clock=clock)
    return account


def accounts_of(folder: Path, **options: Any) -> Accounts:
    accounts = Accounts(parse_config(json.dumps({"auth-dir": str(folder)})).config, builtin_registry(), **options)
    accounts.load()
    return accounts


@asynccontextmanager
async def followed(
    folder: Path, changed: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[Accounts, asyncio.Queue[str]]]:
    """Accounts that are kept, and the ids of credentials whose logins are good again."""
    revived: asyncio.Queue[str] = asyncio.Queue()
    accounts = accounts_of(folder, revived=revived.put_nowait)
    keeping = asyncio.create_task(accounts.keep(changed))
    try:
        async with asyncio.timeout(20):
            yield accounts, revived
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_what_the_tool_does_is_known_without_any_request(tool: Write, tmp_path: Path) -> None:
    tool("test-access-1", ends_in_s=60)
    linked(tmp_path)
    async with followed(tmp_path / "accounts") as (accounts, revived):
        (account,) = accounts
        first_end_s = account.file.expires_at_s
        tool("test-access-2")
        await revived.get()
        assert account.token == "test-access-2"
        assert account.file.expires_at_s and first_end_s and account.file.expires_at_s > first_end_s + 1000


async def test_a_tool_that_comes_later_brings_its_credential_in(
    tool: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AWAITED_EVERY_S", 0.02)
    linked(tmp_path)
    async with followed(tmp_path / "accounts") as (accounts, revived):
        (account,) = accounts
        assert (account.token, list(accounts.troubles)) == ("", ["claude.json"])
        tool("test-access-1")
        await revived.get()
        assert (account.token, dict(accounts.troubles)) == ("test-access-1", {})


async def test_a_link_that_comes_later_is_followed_too(tool: Write, tmp_path: Path) -> None:
    tool("test-access-1")
    (tmp_path / "accounts").mkdir()
    added = asyncio.Event()
    async with followed(tmp_path / "accounts", added.set) as (accounts, revived):
        (tmp_path / "accounts" / "claude.json").write_text(LINK, "utf-8")
        await added.wait()
        tool("test-access-2")
        await revived.get()
        (account,) = accounts
        assert account.token == "test-access-2"


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

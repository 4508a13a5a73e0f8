"""Logins are renewed once, in time, and on disk before anyone uses them; what ends them is kept and told."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cliproxy.accounts.account import FORCED_EVERY_S, LiveAccount
from cliproxy.accounts.accounts import Accounts
from cliproxy.config.loading import parse_config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.providers.vendor import Quota
from cliproxy.routing.registry import builtin_registry
from cliproxy.wire.errors import UpstreamRefused, UpstreamUnreachable
from tests.oauth.authorization_server import AuthorizationServer, Fault

NAME = "codex-me@example.com-plus.json"


class Clock:
    """The real time, and what the test adds to it."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    def pass_s(self, seconds: float) -> None:
        self.ahead_s += seconds


@dataclass
class Home:
    """An auth dir with one login of an account, and the server that gave it."""

    folder: Path
    server: AuthorizationServer
    clock: Clock

    def log_in(self, *, ends_in_s: float = 3600, name: str = NAME, **fields: Any) -> dict[str, Any]:
        """A login whose access token ends then."""
        tokens = self.server.issuer.issue()
        now_s = self.clock()
        login = {
            "type": "codex",
            "email": "me@example.com",
            "access_token": tokens["access_token"],
            "refresh_token": tokens["refresh_token"],
            "expired": now_s + ends_in_s,
            "last_refresh": now_s + ends_in_s - 3600,
            **fields,
        }
        AuthDir(self.folder).write(name, AuthFile.of(login))
        return login

    def accounts(self, **options: Any) -> Accounts:
        oauth = {"token-url": f"{self.server.url}/oauth/token", "client-id": "test-client"}
        config = {"auth-dir": str(self.folder), "providers": {"codex": {"oauth": oauth}}}
        accounts = Accounts(parse_config(json.dumps(config)).config, builtin_registry(), clock=self.clock, **options)
        accounts.load()
        return accounts

    def account(self, **options: Any) -> LiveAccount:
        (account,) = self.accounts(**options)
        return account

    @property
    def on_disk(self) -> AuthFile:
        return AuthDir(self.folder).read(NAME)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    clock = Clock()
    async with AuthorizationServer(clock=clock) as server:
        yield Home(tmp_path, server, clock)


async def test_a_good_token_is_used_as_it_is(home: Home) -> None:
    login = home.log_in()
    account = home.account()
    await account.ready()
    assert account.token == login["access_token"]
    assert not home.server.token_requests


async def test_a_token_that_ends_is_renewed_before_it_is_used_and_kept_first(home: Home) -> None:
    login = home.log_in(ends_in_s=5, note="mine", prefix="work")
    account = home.account()
    await account.ready()
    assert account.token != login["access_token"]
    assert home.server.issuer.accepts(account.token)
    kept = home.on_disk
    assert (kept.access_token, kept.note, kept.prefix) == (account.token, "mine", "work")
    assert kept.refresh_token != login["refresh_token"]
    assert kept.expires_at_s == pytest.approx(home.clock() + 3600, abs=60)


async def test_a_login_without_a_token_gets_one_at_its_first_use(home: Home) -> None:
    """As a service account's: its key leads to tokens, and no token says when the first one is due."""
    home.log_in(access_token="", expired="", last_refresh="")
    account = home.account()
    await account.ready()
    assert home.server.issuer.accepts(account.token)
    assert home.on_disk.access_token == account.token


async def test_all_who_want_it_share_one_refresh(home: Home) -> None:
    home.log_in(ends_in_s=-400)
    account = home.account()
    await asyncio.gather(*(account.ready() for _ in range(50)))
    assert home.server.ledger.grants["refresh_token"] == 1
    assert home.server.ledger.reuses == 0


async def test_a_caller_that_leaves_does_not_stop_a_refresh(home: Home) -> None:
    home.log_in(ends_in_s=-400)
    gate = asyncio.Event()
    home.server.fail(Fault(None, gate=gate))
    account = home.account()
    leaving, staying = asyncio.ensure_future(account.ready()), asyncio.ensure_future(account.ready())
    await home.server.asked(1)
    leaving.cancel()
    gate.set()
    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert home.on_disk.access_token == account.token
    assert home.server.ledger.grants["refresh_token"] == 1


async def test_a_refused_token_is_renewed_once_in_a_while(home: Home) -> None:
    """An upstream that refuses every token must not cause a storm of refreshes."""
    home.log_in()
    account = home.account()
    first = account.token
    assert await account.renewed(first)
    assert account.token != first
    # Another request was sent with the old token.
    assert await account.renewed(first)
    assert not await account.renewed(account.token)
    assert home.server.ledger.grants["refresh_token"] == 1
    home.clock.pass_s(FORCED_EVERY_S)
    assert await account.renewed(account.token)


async def test_the_file_is_read_again_before_a_refresh(home: Home) -> None:
    """Another process was faster."""
    home.log_in(ends_in_s=-400)
    mine, other = home.account(), home.account()
    await other.ready()
    await mine.ready()
    assert mine.token == other.token
    assert home.server.ledger.grants["refresh_token"] == 1


async def test_two_at_once_do_not_spend_one_token_twice(home: Home) -> None:
    home.log_in(ends_in_s=-400)
    mine, other = home.account(), home.account()
    await asyncio.gather(mine.ready(), other.ready())
    assert mine.token == other.token
    assert home.server.ledger.reuses == 0


@pytest.mark.parametrize("errors", ["flat", "nested"])
async def test_a_login_that_is_over_is_told_kept_and_not_tried_again(home: Home, errors: Any) -> None:
    login = home.log_in(ends_in_s=-400)
    home.server.settings.errors = errors
    home.server.issuer.revoke(login["refresh_token"])
    account = home.account()
    for _ in range(3):
        with pytest.raises(UpstreamRefused, match="run `cliproxy login codex`") as refused:
            await account.ready()
        assert (refused.value.status, refused.value.code) == (401, "invalid_grant")
    assert len(home.server.token_requests) == 1
    assert home.on_disk.login_error
    # Nor after a restart.
    with pytest.raises(UpstreamRefused):
        await home.account().ready()
    assert len(home.server.token_requests) == 1


async def test_a_new_login_revives_an_account(home: Home) -> None:
    login = home.log_in(ends_in_s=-400)
    home.server.issuer.revoke(login["refresh_token"])
    revived: list[str] = []
    accounts = home.accounts(revived=revived.append)
    (account,) = accounts
    with pytest.raises(UpstreamRefused):
        await account.ready()
    home.log_in()
    accounts.load()
    await account.ready()
    assert revived == [credential.id for credential in accounts.credentials()]


async def test_a_wrong_registration_does_not_end_a_login(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.log_in(ends_in_s=-400)
    home.server.fail(Fault(401, '{"error": "invalid_client"}'))
    account = home.account()
    with pytest.raises(UpstreamRefused, match="registration is wrong"):
        await account.ready()
    assert "registration is wrong" in caplog.text
    assert not home.on_disk.login_error
    await account.ready()
    assert home.server.issuer.accepts(account.token)


@pytest.mark.parametrize(
    "fault", [Fault(503), Fault(429, headers={"Retry-After": "7"}), Fault(200, "<html>"), Fault(hangs_up=True)]
)
async def test_a_passing_trouble_is_told_as_one_and_the_next_try_succeeds(home: Home, fault: Fault) -> None:
    home.log_in(ends_in_s=-400)
    home.server.fail(fault)
    account = home.account()
    with pytest.raises(UpstreamUnreachable, match="cannot be renewed now"):
        await account.ready()
    assert not home.on_disk.login_error
    await account.ready()
    assert home.server.issuer.accepts(account.token)


async def test_a_trouble_before_the_end_disturbs_nobody(home: Home) -> None:
    login = home.log_in(ends_in_s=10)
    home.server.fail(Fault(503))
    account = home.account()
    await account.ready()
    assert account.token == login["access_token"]


async def test_no_token_is_in_what_is_told(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    login = home.log_in(ends_in_s=-400)
    for logger in ("cliproxy", "httpx", "httpcore", "filelock"):
        caplog.set_level("DEBUG", logger)
    home.server.fail(Fault(503, json.dumps(login)))
    account = home.account()
    with pytest.raises(UpstreamUnreachable) as trouble:
        await account.ready()
    await account.ready()
    home.server.issuer.revoke(account.token)
    home.clock.pass_s(4000)
    with pytest.raises(UpstreamRefused) as refused:
        await account.ready()
    said = f"{trouble.value} {refused.value} {caplog.text} {account!r} {account.file!r}"
    tokens = [
        token
        for entry in home.server.issuer.tokens
        for token in vars(entry).values()
        if isinstance(token, str) and "-" in token
    ]
    assert tokens
    assert not [token for token in tokens if token in said]


# ---------------------------------------------------------------- on schedule


@contextlib.asynccontextmanager
async def scheduled(accounts: Accounts) -> AsyncIterator[None]:
    running = asyncio.ensure_future(accounts.refresher.run())
    try:
        yield
    finally:
        running.cancel()
        await accounts.close()


async def test_idle_and_disabled_accounts_stay_fresh(home: Home) -> None:
    """class 5: whoever comes back to an account after weeks must not have to log in again."""
    home.log_in(ends_in_s=600)
    home.log_in(ends_in_s=600, name="codex-other.json", disabled=True)
    accounts = home.accounts()
    async with scheduled(accounts):
        await home.server.asked(2)
    for account in accounts:
        assert home.server.issuer.accepts(account.token)
    assert [credential.account for credential in accounts.credentials()] == [
        account for account in accounts if not account.file.disabled
    ]


async def test_a_failed_refresh_comes_up_again(home: Home) -> None:
    home.log_in(ends_in_s=-400)
    home.server.fail(Fault(503), Fault(503))
    accounts = home.accounts()
    (account,) = accounts
    async with scheduled(accounts):
        for tries in (1, 2):
            await home.server.asked(tries)
            await accounts.close()
            assert not home.server.ledger.grants
            accounts.refresher.follow(account)
        await home.server.asked(3)
    assert home.server.issuer.accepts(account.token)


async def test_a_login_that_is_over_does_not_come_up_again(home: Home) -> None:
    login = home.log_in(ends_in_s=-400)
    home.server.issuer.revoke(login["refresh_token"])
    accounts = home.accounts()
    (account,) = accounts
    async with scheduled(accounts):
        await home.server.asked(1)
        await accounts.close()
        assert home.on_disk.login_error
        accounts.refresher.follow(account)
        home.log_in(name="codex-witness.json", ends_in_s=-400)
        accounts.load()
        await home.server.asked(2)
    assert home.server.ledger.refusals.total() == 1


async def test_a_token_that_ends_on_its_way_is_renewed_however_often_that_happens(home: Home) -> None:
    home.log_in()
    account = home.account()
    for times in (1, 2, 3):
        home.clock.pass_s(4000)
        await account.ready()
        refused = account.token
        # It was good when the request was sent, and its second is over now.
        home.clock.pass_s(4000)
        assert await account.renewed(refused)
        assert home.server.ledger.grants["refresh_token"] == 2 * times


async def test_what_came_of_refreshes_is_counted(home: Home) -> None:
    home.log_in(ends_in_s=-400)
    accounts = home.accounts()
    (account,) = accounts
    home.server.fail(Fault(503))
    with pytest.raises(UpstreamUnreachable):
        await account.ready()
    await account.ready()
    home.server.issuer.revoke(account.file.refresh_token)
    home.clock.pass_s(4000)
    with pytest.raises(UpstreamRefused):
        await account.ready()
    assert accounts.refresher.outcomes == {"failed": 1, "renewed": 1, "refused": 1}


async def test_changes_of_files_can_be_followed_at_once(home: Home) -> None:
    accounts = home.accounts()
    assert not await accounts.look()
    home.log_in()
    assert await accounts.look()
    assert [account.name for account in accounts] == [NAME]
    assert not await accounts.look()
    (home.folder / "broken.json").write_text("{", "utf-8")
    assert not await accounts.look()
    assert accounts.troubles.keys() == {"broken.json"}
    (home.folder / "broken.json").unlink()
    AuthDir(home.folder).remove(NAME)
    assert await accounts.look()
    assert (list(accounts), accounts.troubles) == ([], {})


async def test_what_was_learnt_outlives_a_configuration(home: Home) -> None:
    home.log_in(ends_in_s=-400)
    before = home.accounts()
    (account,) = before
    await account.ready()
    account.quota, account.quota_s = Quota("plus"), 7.0
    after = home.accounts()
    after.resume(before)
    (same,) = after
    assert (same.quota, same.quota_s, same.used_s) == (Quota("plus"), 7.0, account.used_s)
    assert after.refresher.outcomes == {"renewed": 1}
    assert home.accounts().refresher.outcomes == {}

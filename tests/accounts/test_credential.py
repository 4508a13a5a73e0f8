"""Which credentials an account gives, with which settings."""

import json
from typing import Any

import pytest

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.credential import credentials_of
from cliproxy.accounts.place import place_of
from cliproxy.config.loading import parse_config
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.credentials.record import Credential
from cliproxy.providers import VENDORS
from cliproxy.routing.registry import builtin_registry
from tests.accounts.keepers import NoKeeper


def offered(fields: dict[str, Any], **config: Any) -> list[Credential]:
    file = AuthFile.of({"access_token": "test-access-1", **fields})
    vendor = VENDORS[file.type]
    settings = parse_config(json.dumps({name.replace("_", "-"): value for name, value in config.items()})).config
    account = LiveAccount("one.json", file, vendor, NoKeeper())
    return list(credentials_of(account, place_of(vendor, settings), settings, builtin_registry()))


def test_an_account_is_a_credential_of_its_vendor() -> None:
    (one,) = offered({"type": "codex", "email": "me@example.com", "plan_type": "plus"})
    assert (one.provider, one.dialect, one.formats) == ("codex", "codex", ("openai-responses",))
    assert one.base_url == VENDORS["codex"].base_url
    assert one.bearer == "test-access-1"
    assert one.label == "codex me@example.com"
    assert "test-access-1" not in repr(one)
    assert one.models


def test_the_files_settings_win_over_the_configs() -> None:
    config: dict[str, Any] = {
        "oauth_excluded_models": {"claude": ["claude-3*"]},
        "oauth_request_scoped_errors": {"claude": [{"status": 418, "action": "stop"}]},
        "disable_cooling": True,
        "providers": {"claude": {"base-url": "https://proxy.example/"}},
    }
    (plain,) = offered({"type": "claude"}, **config)
    assert plain.excluded == ("claude-3*",)
    assert plain.error_rules[0].status == 418
    assert (plain.cools, plain.base_url) == (False, "https://proxy.example")
    own = {
        "websockets": True,
        "excluded_models": ["claude-opus*"],
        "disable_cooling": False,
        "prefix": "me",
        "priority": 7,
        "weight": 3,
    }
    (settled,) = offered(
        {"type": "claude", "proxy_url": "socks5://127.0.0.1:1", "headers": {"X-A": "1"}, **own}, **config
    )
    assert settled.excluded == ("claude-opus*",)
    assert (settled.cools, settled.prefix, settled.priority, settled.weight) == (True, "me", 7, 3)
    assert (settled.proxy_url, settled.headers) == ("socks5://127.0.0.1:1", {"X-A": "1"})
    assert (plain.websockets, settled.websockets) == (False, True)
    assert plain.id == settled.id


@pytest.mark.parametrize("switches", [False, True])
def test_further_projects_are_for_when_the_first_has_no_quota_left(switches: bool) -> None:
    found = offered(
        {"type": "gemini-cli", "project_id": "a,b", "priority": 5}, quota_exceeded={"switch-project": switches}
    )
    accounts = [one.account for one in found if one.account]
    assert [one.priority for one in found] == ([5, 4] if switches else [5])
    assert accounts[0].fields["project_id"] == "a,b"
    if switches:
        assert accounts[1].fields["project_id"] == "b"
        assert accounts[1].token == "test-access-1"
        assert found[0].id != found[1].id
        assert "(b)" in found[1].label


def test_antigravity_has_a_second_host_unless_it_is_told_one() -> None:
    first, second = offered({"type": "antigravity"})
    assert first.base_url != second.base_url
    (told,) = offered({"type": "antigravity"}, providers={"antigravity": {"base-url": "https://proxy.example"}})
    assert told.base_url == "https://proxy.example"

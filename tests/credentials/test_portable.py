"""Exports: OneProxy's as its README shows it, and that ours lose nothing."""

import json
from typing import Any

import pytest

from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.portable import read_accounts, write_accounts
from tests.auth_files import AUTH_FILES, EXPIRED, EXPIRED_S

TOKEN = {"access_token": "test-access-1", "refresh_token": "test-refresh-1", "expires_at": EXPIRED}


def entry(**changes: Any) -> dict[str, Any]:
    """One account as OneProxy exports it."""
    return {"provider": "claude", "email": "user@example.com", "enabled": True, "token": TOKEN, **changes}


def read(content: object) -> list[AuthFile]:
    return [account.file for account in read_accounts(json.dumps(content).encode())]


@pytest.mark.parametrize(
    ("provider", "kind"),
    [
        ("gemini", "gemini-cli"),
        ("openai", "codex"),
        ("codex", "codex"),
        ("claude", "claude"),
        ("kiro", "kiro"),
        ("antigravity", "antigravity"),
    ],
)
def test_oneproxys_accounts_become_auth_files(provider: str, kind: str) -> None:
    (file,) = read([entry(provider=provider)])
    assert (file.type, file.email, file.disabled) == (kind, "user@example.com", False)
    assert (file.access_token, file.refresh_token, file.expires_at_s) == ("test-access-1", "test-refresh-1", EXPIRED_S)
    assert set(file.document) == {"type", "email", "access_token", "refresh_token", "expired"}


def test_a_switched_off_account_stays_so() -> None:
    (file,) = read([entry(enabled=False)])
    assert file.disabled
    assert json.loads(write_accounts([("a.json", file)]))[0]["enabled"] is False


def test_what_else_an_entry_says_is_kept() -> None:
    (file,) = read([entry(project_id="p", token={**TOKEN, "id_token": "test-id-1"})])
    assert (file.fields["project_id"], file.fields["id_token"]) == ("p", "test-id-1")


def test_an_account_without_tokens_is_one_too() -> None:
    (file,) = read([{"provider": "kimi", "email": "", "api_key": "sk-test-1"}])
    assert file.document == {"type": "kimi", "api_key": "sk-test-1"}


@pytest.mark.parametrize("name", AUTH_FILES)
@pytest.mark.parametrize(
    "more", [{}, {"disabled": True}, {"disabled": False}, {"note": "n", "x": {"y": [1]}, "proxy-url": "direct"}]
)
def test_an_export_loses_nothing(name: str, more: dict[str, Any]) -> None:
    file = AuthFile.of(AUTH_FILES[name] | more)
    (account,) = read_accounts(write_accounts([(name, file)]))
    assert account.name == name
    assert account.file.document == file.document


def test_a_refusal_is_carried_along() -> None:
    file = AuthFile.of({"type": "claude", "refresh_token": "test-refresh-1"}).with_login_error("invalid_grant", "no")
    (account,) = read_accounts(write_accounts([("a.json", file)]))
    assert account.file.login_error == "no"


@pytest.mark.parametrize("name", [name for name in AUTH_FILES if not name.startswith("vertex")])
def test_oneproxy_finds_its_own_words_in_an_export(name: str) -> None:
    (exported,) = json.loads(write_accounts([(name, AuthFile.of(AUTH_FILES[name]))]))
    provider = name.split("-")[0]
    assert exported["provider"] == provider
    assert exported["email"] == AUTH_FILES[name].get("email", "")
    assert exported["enabled"] is True
    assert exported["token"] == {
        "access_token": f"test-access-{provider}",
        "refresh_token": f"test-refresh-{provider}",
        "expires_at": EXPIRED,
    }


def test_an_auth_file_is_taken_as_it_is() -> None:
    for document in AUTH_FILES.values():
        assert read(document) == [AuthFile.of(document)]


def test_several_are_read_in_order() -> None:
    assert [file.type for file in read([entry(), entry(provider="qwen")])] == ["claude", "qwen"]
    assert read([]) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([entry(), 5], "entry 2: expected a mapping"),
        ([entry(token="test-access-1")], "entry 1: expected text in provider and a mapping in token"),
        ([entry(provider=None)], "entry 1: expected text in provider"),
        ([entry(fields="test-access-1")], "entry 1: expected a mapping in fields"),
        ([entry(name=5)], "entry 1: expected a mapping in fields and text in name"),
        ([entry(fields={"weight": "test-access-1"})], "entry 1: weight: expected a whole number"),
        ([{"email": "a"}], "entry 1: type: this field is required"),
        ({"type": "service_account", "private_key": "test-access-1"}, "`cliproxy login vertex` takes it"),
        ("test-access-1", "entry 1: expected a mapping"),
    ],
)
def test_what_is_wrong_is_told_without_its_values(content: object, told: str) -> None:
    with pytest.raises(AuthFileFault) as caught:
        read(content)
    assert told in str(caught.value)
    assert "test-access" not in str(caught.value)


def test_what_is_no_json_is_told() -> None:
    with pytest.raises(AuthFileFault, match="it is not valid JSON"):
        read_accounts(b'[{"token": "test-access-1')

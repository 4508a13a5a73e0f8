"""The rows of `cliproxy credentials list`: how each account is, and what to do about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cliproxy.cli.credentials_list import Row, rows, show
from cliproxy.config.loading import parse_config
from cliproxy.config.schema import Config
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.linked import with_linked_login
from tests.auth_files import EXPIRED, EXPIRED_S

NOW_S = EXPIRED_S + 1


def row_of(home: Path, **fields: Any) -> Row:
    (row,) = rows(Config(demo=False), {"a.json": AuthFile.of({"type": "claude", **fields})}, home, lambda: NOW_S)
    return row


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"access_token": "test-1", "expired": "2027-01-01T00:00:00Z"}, "ready"),
        ({"access_token": "test-1", "expired": EXPIRED, "refresh_token": "test-2"}, "expired"),
        ({"type": "qwen", "access_token": "test-1", "expired": EXPIRED, "refresh_token": "test-2"}, "ready"),
        ({"access_token": "test-1"}, "ready"),
        ({"access_token": "test-1", "expired": EXPIRED}, "expired"),
        ({"access_token": "test-1", "expired": EXPIRED, "api_key": "sk-test-1"}, "ready"),
        ({"access_token": "test-1", "expired": EXPIRED, "disabled": True}, "disabled"),
        ({"type": "nobody"}, "broken"),
        ({"type": "kimi", "linked": "~/x.json"}, "broken"),
        ({"linked": "~/nowhere.json"}, "broken"),
    ],
)
def test_how_an_account_is(tmp_path: Path, fields: dict[str, Any], state: str) -> None:
    row = row_of(tmp_path, **fields)
    assert row.state == state
    assert bool(row.problem) == (state in ("expired", "broken") or "disabled" in fields)


def test_a_login_is_renewed_with_a_registration_of_the_users(tmp_path: Path) -> None:
    fields = {"type": "claude", "access_token": "test-1", "expired": EXPIRED, "refresh_token": "test-2"}
    without = row_of(tmp_path, **fields)
    wanted = "set providers.claude.oauth.client-id to have it renewed, or `cliproxy login claude`"
    assert without.problem == f"its token has expired: {wanted}"
    config = parse_config("providers: {claude: {oauth: {client-id: test-client}}}\ndemo: false").config
    (row,) = rows(config, {"a.json": AuthFile.of(fields)}, tmp_path, lambda: NOW_S)
    assert (row.state, row.problem) == ("ready", "")


def test_a_login_that_lapsed_says_how_to_log_in(tmp_path: Path) -> None:
    file = AuthFile.of({"type": "claude", "refresh_token": "test-1"}).with_login_error(
        "invalid_grant", "revoked by the user"
    )
    row = row_of(tmp_path, **file.document)
    assert (row.state, row.problem) == ("login needed", "revoked by the user: `cliproxy login claude`")


def test_a_linked_login_that_lapsed_is_its_tools(tmp_path: Path) -> None:
    (tmp_path / "kiro.json").write_text(json.dumps({"accessToken": "test-1", "expiresAt": EXPIRED}), "utf-8")
    link = AuthFile.of({"type": "kiro", "linked": "~/kiro.json"})
    assert row_of(tmp_path, **link.document).source == "linked"
    refused = with_linked_login(link, tmp_path).with_login_error("invalid_grant", "revoked")
    assert row_of(tmp_path, **refused.document).problem == "revoked: log in with Kiro"


def test_a_broken_file_is_a_row(tmp_path: Path) -> None:
    (row,) = rows(Config(demo=False), {"a.json": AuthFileFault("it is empty")}, tmp_path)
    assert (row.name, row.state, row.problem) == ("a.json", "broken", "it is empty")


def test_the_demo_is_no_key(tmp_path: Path) -> None:
    assert rows(Config(), {}, tmp_path) == []


def test_columns_that_say_nothing_are_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TZ", "UTC")
    show([Row("a.json", "claude", "[b]me@example.com", "file", "ready", expires_at=EXPIRED)])
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "provider", "account", "state", "expires"]
    assert line.split()[:4] == ["a.json", "claude", "[b]me@example.com", "ready"]
    show([Row("a.json", "claude", "", "file", "broken", note="[red]mine", problem="it is empty")])
    header, line, problem = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "provider", "state", "note"]
    assert line.split() == ["a.json", "claude", "broken", "[red]mine"]
    assert problem == "a.json: it is empty"

"""`cliproxy credentials …`: what scripts and people get from it."""

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cliproxy.cli.__main__ import app
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from tests.auth_files import AUTH_FILES, EXPIRED

CLAUDE = "claude-me@example.com.json"
CODEX = "codex-me@example.com-plus.json"
KEY = {"api-key": "sk-test-claude-key-1", "prefix": "team", "priority": 2}
ONEPROXY = {
    "provider": "claude",
    "email": "you@example.com",
    "enabled": True,
    "token": {"access_token": "test-access-1", "refresh_token": "test-refresh-1", "expires_at": EXPIRED},
}


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "QWEN_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    return home


@pytest.fixture
def accounts(home: Path) -> AuthDir:
    """The auth dir of the commands."""
    return AuthDir(home / ".cli-proxy-api")


@pytest.fixture
def config(home: Path, tmp_path: Path) -> str:
    """Path of a config with one key."""
    return str(put(tmp_path / "config.yaml", {"claude-api-key": [KEY]}))


@pytest.fixture
def run(config: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def _run(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            app(["credentials", *arguments, "--config", config])
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, printed.out, printed.err)

    return _run


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


def keep(accounts: AuthDir, *names: str, **fields: Any) -> None:
    for name in names:
        accounts.write(name, AuthFile.of(AUTH_FILES[name] | fields))


# ---------------------------------------------------------------- list


def test_everything_is_listed_and_no_secret_shown(accounts: AuthDir, run: Run) -> None:
    keep(accounts, *AUTH_FILES)
    put(accounts.path / "broken.json", ["test-access-broken"])
    listed = run("list")
    assert listed.code == 0
    for name in (*AUTH_FILES, "broken.json", "config.yaml"):
        assert name in listed.out
    assert "broken.json: it must be a JSON object" in listed.out
    assert "test-" not in listed.out + listed.err


def test_scripts_get_json(accounts: AuthDir, run: Run) -> None:
    later = "2099-01-01T00:00:00Z"
    keep(accounts, CLAUDE, prefix="mine", priority=5, note="[red]n", expired=later)
    listed = run("list", "--json")
    assert listed.code == 0
    account, key = json.loads(listed.out)
    assert account == {
        "name": CLAUDE, "provider": "claude", "account": "me@example.com", "source": "file", "state": "ready",
        "expires_at": later, "prefix": "mine", "priority": 5, "note": "[red]n", "problem": "",
    }  # fmt: skip
    assert (key["name"], key["provider"], key["source"], key["prefix"]) == ("", "claude", "config", "team")
    assert key["account"].startswith("sk-t…#")


def test_an_empty_list_says_what_to_do(home: Path, config: str, run: Run) -> None:
    put(Path(config), {})
    listed = run("list")
    assert (listed.code, listed.out) == (0, "There is no account and no key yet: `cliproxy login PROVIDER` adds one.\n")
    assert json.loads(run("list", "--json").out) == []
    assert not (home / ".cli-proxy-api").exists()


# ---------------------------------------------------------------- enable, disable, remove


@pytest.mark.parametrize("name", [CLAUDE, CLAUDE.removesuffix(".json"), "me@example.com"])
def test_an_account_is_switched_by_any_of_its_names(accounts: AuthDir, run: Run, name: str) -> None:
    keep(accounts, CLAUDE)
    before = accounts.read(CLAUDE)
    assert run("disable", name).code == 0
    assert accounts.read(CLAUDE) == before.with_fields(disabled=True)
    assert run("enable", name).code == 0
    assert accounts.read(CLAUDE) == before


def test_a_name_that_is_none_or_several_is_refused(accounts: AuthDir, run: Run) -> None:
    keep(accounts, CLAUDE, CODEX)
    switched = run("disable", "me@example.com", "nobody", CODEX)
    assert switched.code == 1
    assert f"me@example.com: this may be any of {CLAUDE}, {CODEX}" in switched.err
    assert "nobody: there is no such account" in switched.err
    assert not accounts.read(CLAUDE).disabled
    assert accounts.read(CODEX).disabled


def test_an_account_is_removed(accounts: AuthDir, run: Run) -> None:
    keep(accounts, CLAUDE, CODEX)
    assert run("remove", CLAUDE).code == 0
    assert list(accounts.scan()) == [CODEX]
    assert run("remove", CLAUDE).code == 1


def test_a_broken_file_can_be_removed_but_not_switched(accounts: AuthDir, run: Run) -> None:
    path = put(accounts.path / "broken.json", ["test-access-broken"])
    switched = run("disable", "broken")
    assert (switched.code, switched.err) == (1, "broken.json: it must be a JSON object\n")
    assert run("remove", "broken").code == 0
    assert not path.exists()


@pytest.mark.parametrize("command", ["enable", "disable", "remove", "import", "export", "unlink"])
def test_a_command_without_a_name_is_an_error(run: Run, command: str) -> None:
    ended = run(command)
    assert ended.code != 0
    assert "requires an argument" in ended.out + ended.err


async def test_a_switch_waits_for_a_refresh_under_way(accounts: AuthDir, run: Run) -> None:
    keep(accounts, CLAUDE)
    async with accounts.lock(CLAUDE):
        switching = asyncio.create_task(asyncio.to_thread(run, "disable", CLAUDE))
        # A refresh that ends only after the switch was asked for.
        done, _ = await asyncio.wait([switching], timeout=0.3)
        assert not done
        accounts.write(CLAUDE, accounts.read(CLAUDE).with_fields(refresh_token="test-refresh-rotated"))
    assert (await switching).code == 0
    file = accounts.read(CLAUDE)
    assert (file.disabled, file.refresh_token) == (True, "test-refresh-rotated")


# ---------------------------------------------------------------- export and import


def test_accounts_move_to_another_machine(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    keep(accounts, *AUTH_FILES)
    before, export = accounts.scan(), tmp_path / "accounts.json"
    exported = run("export", str(export))
    assert exported.code == 0
    assert "test-" not in (exported.out + exported.err).replace(str(tmp_path), "")
    assert export.stat().st_mode & 0o777 == 0o600
    for name in AUTH_FILES:
        accounts.remove(name)
    imported = run("import", str(export))
    assert imported.code == 0
    assert imported.out.splitlines() == [f"{name}: new" for name in sorted(AUTH_FILES)]
    assert accounts.scan() == before


def test_chosen_accounts_are_exported(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    keep(accounts, CLAUDE, CODEX)
    export = tmp_path / "accounts.json"
    assert run("export", str(export), CLAUDE).code == 0
    assert [account["name"] for account in json.loads(export.read_bytes())] == [CLAUDE]
    assert run("export", str(tmp_path / "other.json"), "nobody").code == 1


def test_an_export_is_printed_when_asked_for(accounts: AuthDir, run: Run) -> None:
    keep(accounts, CLAUDE)
    printed = run("export", "-")
    assert json.loads(printed.out)[0]["token"]["access_token"] == "test-access-claude"


def test_an_export_overwrites_nothing_unasked(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    keep(accounts, CLAUDE)
    there = put(tmp_path / "there.json", "mine")
    refused = run("export", str(there))
    assert refused.code == 1
    assert "--replace" in refused.err
    assert there.read_text("utf-8") == '"mine"'
    assert run("export", str(there), "--replace").code == 0
    assert there.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_exported_is_told(home: Path, accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    keep(accounts, CLAUDE)
    put(accounts.path / "broken.json", [])
    put(home / ".qwen/oauth_creds.json", {"access_token": "test-access-qwen"})
    assert run("link", "qwen").code == 0
    exported = run("export", str(tmp_path / "accounts.json"))
    assert exported.code == 1
    assert "broken.json: it must be a JSON object" in exported.err
    assert "qwen-linked.json: left out, its login stays with its tool" in exported.err
    assert [account["name"] for account in json.loads((tmp_path / "accounts.json").read_bytes())] == [CLAUDE]


def test_oneproxys_export_is_imported(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    imported = run(
        "import",
        str(
            put(
                tmp_path / "oneproxy.json",
                [ONEPROXY, ONEPROXY | {"provider": "gemini", "token": {"access_token": "a"}}],
            )
        ),
    )
    assert imported.code == 0
    assert (accounts.path / "claude-you@example.com.json").stat().st_mode & 0o777 == 0o600
    assert accounts.read("claude-you@example.com.json").refresh_token == "test-refresh-1"
    assert "gemini-cli" in {file.type for file in accounts.scan().values() if isinstance(file, AuthFile)}
    again = run("import", str(tmp_path / "oneproxy.json"))
    assert again.code == 0
    assert again.out.count(": unchanged") == 2


def test_an_import_comes_from_standard_input_too(accounts: AuthDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps([ONEPROXY]).encode()), "utf-8"))
    assert run("import", "-").code == 0
    assert list(accounts.scan()) == ["claude-you@example.com.json"]


@pytest.mark.parametrize(
    ("there", "comes", "is_taken"),
    [
        ({"expired": "2026-11-21T12:00:00Z"}, {"expires_at": "2026-11-22T12:00:00Z"}, True),
        ({"expired": "2026-11-21T12:00:00Z"}, {"expires_at": "2026-11-20T12:00:00Z"}, False),
        ({"expired": "2026-11-21T12:00:00Z"}, {}, False),
        ({}, {}, False),
        ({"last_refresh": "2026-11-21T12:00:00Z", "expired": "2026-11-21T13:00:00Z"},
         {"last_refresh": "2026-11-21T11:00:00Z", "expires_at": "2026-11-25T12:00:00Z"}, False),
    ],
)  # fmt: skip
def test_a_newer_login_is_not_overwritten(
    accounts: AuthDir, run: Run, tmp_path: Path, there: dict[str, Any], comes: dict[str, Any], is_taken: bool
) -> None:
    name = "claude-you@example.com.json"
    mine = {"type": "claude", "email": "you@example.com", "refresh_token": "test-refresh-0", "prefix": "mine", **there}
    accounts.write(name, AuthFile.of(mine))
    theirs = ONEPROXY | {"token": {"access_token": "test-access-1", "refresh_token": "test-refresh-1", **comes}}
    imported = run("import", str(put(tmp_path / "x.json", [theirs])))
    assert imported.code == (0 if is_taken else 1)
    assert accounts.read(name).refresh_token == ("test-refresh-1" if is_taken else "test-refresh-0")
    assert accounts.read(name).prefix == "mine"
    if not is_taken:
        assert "--replace" in imported.err
        assert run("import", "--replace", str(tmp_path / "x.json")).code == 0
        assert accounts.read(name).refresh_token == "test-refresh-1"


def test_a_login_that_was_refused_makes_way(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    name = "claude-you@example.com.json"
    old = AuthFile.of({"type": "claude", "refresh_token": "test-refresh-0", "expired": "2030-01-01T00:00:00Z"})
    accounts.write(name, old.with_login_error("invalid_grant", "log in again"))
    assert run("import", str(put(tmp_path / "x.json", [ONEPROXY]))).code == 0
    assert (accounts.read(name).refresh_token, accounts.read(name).login_error) == ("test-refresh-1", "")


def test_a_login_is_never_in_two_files(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    accounts.write(
        "mine.json",
        AuthFile.of({"type": "claude", "refresh_token": "test-refresh-1", "expired": "2026-01-01T00:00:00Z"}),
    )
    imported = run("import", str(put(tmp_path / "x.json", [ONEPROXY])))
    assert (imported.code, imported.out) == (0, "mine.json: replaced\n")
    assert list(accounts.scan()) == ["mine.json"]
    assert accounts.read("mine.json").access_token == "test-access-1"


def test_what_cannot_be_imported_is_told_and_the_rest_is(accounts: AuthDir, run: Run, tmp_path: Path) -> None:
    good = str(
        put(
            tmp_path / "good.json",
            [ONEPROXY, ONEPROXY | {"provider": "nobody"}, ONEPROXY | {"name": "../x.json", "token": {}}],
        )
    )
    imported = run("import", str(tmp_path / "missing.json"), str(put(tmp_path / "bad.json", [5])), good)
    assert imported.code == 1
    for told in (
        "missing.json: No such file",
        "bad.json: entry 1: expected a mapping",
        "no provider is called nobody",
        "the name of an auth file",
    ):
        assert told in imported.err
    assert list(accounts.scan()) == ["claude-you@example.com.json"]


# ---------------------------------------------------------------- link, unlink


def test_a_tools_login_is_linked_and_unlinked(home: Path, accounts: AuthDir, run: Run) -> None:
    login = put(
        home / ".claude/.credentials.json",
        {"claudeAiOauth": {"accessToken": "test-access-1", "refreshToken": "test-r"}},
    )
    put(home / ".claude.json", {"oauthAccount": {"emailAddress": "me@example.com"}})
    before = login.read_bytes()
    offered = run("link")
    assert (
        offered.out
        == "Claude Code is logged in as me@example.com: `cliproxy credentials link claude` has the gateway use it too\n"
    )
    linked = run("link", "claude")
    assert (linked.code, linked.out) == (
        0,
        "claude-linked.json: the gateway uses the login of me@example.com in ~/.claude/.credentials.json\n",
    )
    assert accounts.read("claude-linked.json").document == {
        "type": "claude",
        "linked": "~/.claude/.credentials.json",
        "email": "me@example.com",
    }
    assert run("link", "claude").out == "claude-linked.json: links to ~/.claude/.credentials.json already\n"
    assert run("link").out == "the gateway uses the login of Claude Code\n"
    assert run("disable", "claude-linked").code == 0
    assert json.loads(run("list", "--json").out)[0]["state"] == "disabled"
    assert run("unlink", "claude").code == 0
    assert accounts.scan() == {}
    assert login.read_bytes() == before


def test_a_second_login_of_a_tool_gets_a_name_of_its_own(
    home: Path, accounts: AuthDir, run: Run, tmp_path: Path
) -> None:
    for folder in (home / ".codex", tmp_path / "work"):
        put(folder / "auth.json", {"OPENAI_API_KEY": "sk-test-1"})
    assert run("link", "codex").code == 0
    assert run("link", "codex", "--path", str(tmp_path / "work/auth.json")).code == 0
    assert list(accounts.scan()) == ["codex-linked-2.json", "codex-linked.json"]
    assert accounts.read("codex-linked-2.json").linked == str(tmp_path / "work/auth.json")
    unclear = run("unlink", "codex")
    assert unclear.code == 1
    assert run("unlink", "codex-linked").code == 0
    assert list(accounts.scan()) == ["codex-linked-2.json"]


def test_an_expired_login_is_linked_with_a_word_of_what_to_do(home: Path, run: Run) -> None:
    put(home / ".qwen/oauth_creds.json", {"access_token": "test-access-1", "expiry_date": 1000})
    linked = run("link", "qwen")
    assert linked.code == 0
    assert "the login of Qwen Code has expired: open the tool once" in linked.out
    listed = run("list")
    assert "expired" in listed.out
    assert "qwen-linked.json: the login of Qwen Code has expired: open the tool once" in listed.out


def test_what_cannot_be_linked_is_told(home: Path, accounts: AuthDir, run: Run) -> None:
    unknown, missing = run("link", "kimi"), run("link", "gemini")
    assert (unknown.code, missing.code) == (1, 1)
    assert "only the logins of claude, codex, gemini-cli, qwen, kiro can be linked" in unknown.err
    assert f"Gemini CLI has no login in {home}/.gemini/oauth_creds.json" in missing.err
    put(home / ".codex/auth.json", {"tokens": {}})
    assert run("link", "codex").code == 1
    assert run("unlink", "codex").code == 1
    assert accounts.scan() == {}


def test_only_links_are_unlinked(accounts: AuthDir, run: Run) -> None:
    keep(accounts, CLAUDE)
    assert run("unlink", CLAUDE).code == 1
    assert run("unlink", "claude").code == 1
    assert list(accounts.scan()) == [CLAUDE]


def test_it_is_a_command_of_its_own(accounts: AuthDir, config: str) -> None:
    keep(accounts, CLAUDE)
    command = (sys.executable, "-m", "cliproxy.cli", "credentials", "list", "--json", "--config", config)
    listed = subprocess.run(command, capture_output=True, check=True)
    assert [row["name"] for row in json.loads(listed.stdout)] == [CLAUDE, ""]
    assert listed.stderr == b""


def test_a_wrong_config_ends_with_its_fault(config: str, run: Run) -> None:
    Path(config).write_text("port: many\n", "utf-8")
    listed = run("list")
    assert (listed.code, listed.out) == (1, "")
    assert f"{config}:1:" in listed.err

"""Logins of vendors' tools: where each keeps it, what it says, what is told of it, and that it stays theirs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.linked import (
    TOOLS,
    FoundLogin,
    find,
    link_to,
    linked_path,
    look,
    read_login,
    tool_of,
    with_linked_login,
    write_tokens,
)
from cliproxy.oauth.tokens import Tokens
from tests.auth_files import EXPIRED_S, jwt

END_MS = int(EXPIRED_S * 1000)

CLAUDE = {
    "claudeAiOauth": {
        "accessToken": "test-access-claude",
        "refreshToken": "test-refresh-claude",
        "expiresAt": END_MS,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
        "rateLimitTier": "default_claude_max_5x",
    },
    "mcpOAuth": {},
}
CODEX = {
    "auth_mode": "chatgpt",
    "OPENAI_API_KEY": None,
    "tokens": {
        "id_token": jwt(
            email="me@example.com",
            **{"https://api.openai.com/auth": {"chatgpt_plan_type": "plus", "chatgpt_account_id": "acc-1"}},
        ),
        "access_token": jwt(exp=int(EXPIRED_S)),
        "refresh_token": "test-refresh-codex",
        "account_id": "acc-1",
    },
    "last_refresh": "2026-11-20T10:00:00.123456Z",
}
GEMINI = {
    "access_token": "test-access-gemini",
    "refresh_token": "test-refresh-gemini",
    "scope": "https://www.googleapis.com/auth/cloud-platform openid",
    "token_type": "Bearer",
    "id_token": jwt(email="other@example.com"),
    "expiry_date": END_MS,
}
QWEN = {
    "access_token": "test-access-qwen",
    "refresh_token": "test-refresh-qwen",
    "token_type": "Bearer",
    "resource_url": "portal.qwen.ai",
    "expiry_date": END_MS,
}
KIRO = {
    "accessToken": "test-access-kiro",
    "refreshToken": "test-refresh-kiro",
    "expiresAt": "2026-11-21T12:00:00.000Z",
    "clientIdHash": "e909a0580879b06ece1aa964fdb79ed4d3cf2dcb",
    "authMethod": "IdC",
    "provider": "BuilderId",
    "region": "us-east-1",
    "profileArn": "arn:aws:codewhisperer:us-east-1:1:profile/A",
}
KIRO_CLIENT = {"clientId": "test-client", "clientSecret": "test-client-secret", "expiresAt": "2027-01-01T00:00:00Z"}

FILES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "claude": (".claude/.credentials.json", CLAUDE),
    "codex": (".codex/auth.json", CODEX),
    "gemini-cli": (".gemini/oauth_creds.json", GEMINI),
    "qwen": (".qwen/oauth_creds.json", QWEN),
    "kiro": (".aws/sso/cache/kiro-auth-token.json", KIRO),
}
every_tool = pytest.mark.parametrize("name", FILES)


def put(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory in which every tool is logged in."""
    for place, document in FILES.values():
        put(tmp_path / place, document)
    put(tmp_path / f".aws/sso/cache/{KIRO['clientIdHash']}.json", KIRO_CLIENT)
    (tmp_path / ".kiro").mkdir()
    put(
        tmp_path / ".claude.json",
        {"numStartups": 5, "projects": {}, "oauthAccount": {"emailAddress": "me@example.com"}},
    )
    put(tmp_path / ".gemini/google_accounts.json", {"active": "me@example.com", "old": []})
    return tmp_path


def login_of(home: Path, name: str) -> AuthFile:
    return AuthFile.of(read_login(TOOLS[name], home / FILES[name][0]))


# ---------------------------------------------------------------- what they say


@every_tool
def test_a_login_becomes_the_fields_of_an_auth_file(home: Path, name: str) -> None:
    login = login_of(home, name)
    assert login.type == name
    assert login.access_token == (
        CODEX["tokens"]["access_token"] if name == "codex" else f"test-access-{name.split('-')[0]}"
    )
    assert login.expires_at_s == EXPIRED_S


@every_tool
def test_only_a_shared_cache_lends_its_refresh_token(home: Path, name: str) -> None:
    assert login_of(home, name).refresh_token == ("test-refresh-kiro" if name == "kiro" else "")
    if name != "kiro":
        assert "test-refresh" not in json.dumps(read_login(TOOLS[name], home / FILES[name][0]))


def test_what_each_vendor_needs_beside_the_token(home: Path) -> None:
    claude = login_of(home, "claude").fields
    assert (claude["plan_type"], claude["scope"]) == ("max", "user:inference user:profile")
    codex = login_of(home, "codex")
    assert (codex.fields["account_id"], codex.fields["plan_type"], codex.email) == ("acc-1", "plus", "me@example.com")
    assert codex.last_refresh_s == pytest.approx(EXPIRED_S - 26 * 3600, abs=1)
    assert login_of(home, "gemini-cli").email == "me@example.com"
    assert login_of(home, "qwen").fields["resource_url"] == "portal.qwen.ai"
    kiro = login_of(home, "kiro").fields
    assert (kiro["client_id"], kiro["client_secret"]) == ("test-client", "test-client-secret")
    assert (kiro["region"], kiro["profile_arn"], kiro["auth_method"]) == ("us-east-1", KIRO["profileArn"], "IdC")


def test_codex_may_be_logged_in_with_a_key(home: Path) -> None:
    put(home / ".codex/auth.json", {"OPENAI_API_KEY": "sk-test-1", "tokens": None})
    login = login_of(home, "codex")
    assert (login.fields["api_key"], login.base_url) == ("sk-test-1", "https://api.openai.com/v1")
    assert look(TOOLS["codex"], home / ".codex/auth.json").state == "usable"


def test_codex_tells_the_account_in_its_id_token_too(home: Path) -> None:
    put(
        home / ".codex/auth.json",
        {"tokens": {key: value for key, value in CODEX["tokens"].items() if key != "account_id"}},
    )
    assert login_of(home, "codex").fields["account_id"] == "acc-1"


def test_gemini_cli_without_its_list_of_accounts_tells_the_id_tokens(home: Path) -> None:
    put(home / ".gemini/google_accounts.json", [])
    assert login_of(home, "gemini-cli").email == "other@example.com"


def test_a_social_login_of_kiro_needs_no_registration(home: Path) -> None:
    put(home / FILES["kiro"][0], {key: value for key, value in KIRO.items() if key != "clientIdHash"})
    assert "client_id" not in login_of(home, "kiro").fields


def test_a_registration_elsewhere_is_not_looked_up(home: Path) -> None:
    put(home / FILES["kiro"][0], KIRO | {"clientIdHash": "../../../.qwen/oauth_creds"})
    assert "client_id" not in login_of(home, "kiro").fields


# ---------------------------------------------------------------- where they are


@every_tool
def test_each_login_is_found_in_its_place(home: Path, name: str) -> None:
    assert TOOLS[name].path(home, {}) == home / FILES[name][0]


@pytest.mark.parametrize(
    ("name", "variable", "place"),
    [
        ("claude", "CLAUDE_CONFIG_DIR", ".credentials.json"),
        ("codex", "CODEX_HOME", "auth.json"),
        ("gemini-cli", "GEMINI_CLI_HOME", ".gemini/oauth_creds.json"),
        ("qwen", "QWEN_HOME", "oauth_creds.json"),
    ],
)
def test_a_tool_may_have_been_told_to_keep_it_elsewhere(name: str, variable: str, place: str) -> None:
    home = Path("/home/me")
    assert TOOLS[name].path(home, {variable: "/opt/x"}) == Path("/opt/x") / place
    assert TOOLS[name].path(home, {variable: "~/x"}) == home / "x" / place
    assert TOOLS[name].path(home, {variable: ""}) == TOOLS[name].path(home, {})


def test_all_that_can_be_linked_is_found(home: Path) -> None:
    found = find(home, {}, clock=lambda: EXPIRED_S - 1)
    assert [(login.tool.name, login.state, login.is_linked) for login in found] == [
        (name, "usable", False) for name in FILES
    ]
    accounts = {login.tool.name: login.account for login in found}
    assert accounts == {
        "claude": "me@example.com",
        "codex": "me@example.com",
        "gemini-cli": "me@example.com",
        "qwen": "",
        "kiro": "",
    }
    assert {login.expires_at_s for login in found} == {EXPIRED_S}
    for login in found:
        assert f"cliproxy credentials link {login.tool.name}" in login.sentence
        assert login.tool.title in login.sentence


def test_an_expired_login_says_who_can_mend_it(home: Path) -> None:
    found = {login.tool.name: login for login in find(home, {}, clock=lambda: EXPIRED_S)}
    assert found["claude"].state == "expired"
    assert found["claude"].sentence == "the login of Claude Code as me@example.com has expired: open the tool once"
    assert {login.state for name, login in found.items() if name != "kiro"} == {"expired"}
    # What is made to be renewed by whoever needs it does not expire.
    assert found["kiro"].state == "usable"


def test_tools_that_were_never_used_are_not_mentioned(tmp_path: Path) -> None:
    put(tmp_path / ".aws/sso/cache/other.json", {})
    assert find(tmp_path, {}) == []


@every_tool
def test_a_tool_without_a_login_says_where_it_may_be(home: Path, name: str) -> None:
    (home / FILES[name][0]).unlink()
    (login,) = (login for login in find(home, {}) if login.tool.name == name)
    assert login.state == "missing"
    assert str(home / FILES[name][0]) in login.sentence
    assert TOOLS[name].elsewhere in login.sentence


def test_claude_codes_keychain_is_spoken_of() -> None:
    assert "keychain" in TOOLS["claude"].elsewhere


@every_tool
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"tokens": 5, "claudeAiOauth": [], "access_token": 5}', b'{"accessToken": null}'])  # fmt: skip
def test_what_cannot_be_read_is_told_and_quotes_nothing(home: Path, name: str, content: bytes) -> None:
    path = home / FILES[name][0]
    path.write_bytes(content)
    login = look(TOOLS[name], path)
    assert login.state == "unreadable"
    assert str(path) in login.sentence
    with pytest.raises(AuthFileFault):
        read_login(TOOLS[name], path)


def test_a_lost_registration_is_told(home: Path) -> None:
    (home / f".aws/sso/cache/{KIRO['clientIdHash']}.json").unlink()
    assert look(TOOLS["kiro"], home / FILES["kiro"][0]).state == "unreadable"


@every_tool
def test_nothing_that_is_told_holds_a_token(home: Path, name: str) -> None:
    login = look(TOOLS[name], home / FILES[name][0])
    assert "test-" not in f"{login}".replace(str(home), "")


@pytest.mark.parametrize("state", [b"", b"{", b'{"oauthAccount": null}', b'{"oauthAccount": {"emailAddress": 5}}'])
def test_claude_codes_state_file_may_say_nothing(home: Path, state: bytes) -> None:
    (home / ".claude.json").write_bytes(state)
    assert look(TOOLS["claude"], home / ".claude/.credentials.json", lambda: 0).account == ""


def test_claude_codes_state_file_moves_with_its_directory(home: Path, tmp_path: Path) -> None:
    credentials = put(tmp_path / "work/.credentials.json", CLAUDE)
    put(tmp_path / "work/.claude.json", {"oauthAccount": {"emailAddress": "work@example.com"}})
    assert look(TOOLS["claude"], credentials).account == "work@example.com"


# ---------------------------------------------------------------- links


@every_tool
def test_a_link_leads_to_the_login_and_holds_none(home: Path, name: str) -> None:
    link = link_to(look(TOOLS[name], home / FILES[name][0]), home)
    assert link.linked == f"~/{FILES[name][0]}"
    assert set(link.document) <= {"type", "linked", "email"}
    assert linked_path(link, home) == home / FILES[name][0]
    assert tool_of(link) is TOOLS[name]
    followed = with_linked_login(link.with_fields(prefix="mine", priority=3), home)
    assert followed.access_token == login_of(home, name).access_token
    assert (followed.prefix, followed.priority) == ("mine", 3)
    assert b"test-access" not in followed.dump()


def test_a_link_follows_the_file(home: Path) -> None:
    link = link_to(look(TOOLS["qwen"], home / ".qwen/oauth_creds.json"), home)
    put(home / ".qwen/oauth_creds.json", QWEN | {"access_token": "test-access-next"})
    assert with_linked_login(link, home).access_token == "test-access-next"
    (home / ".qwen/oauth_creds.json").unlink()
    with pytest.raises(AuthFileFault, match="cannot be read"):
        with_linked_login(link, home)


def test_a_login_outside_the_home_directory_is_linked_by_its_path(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = put(tmp_path_factory.mktemp("opt") / "auth.json", CODEX)
    assert link_to(look(TOOLS["codex"], path), home).linked == str(path)


def test_linked_logins_are_known_as_such(home: Path) -> None:
    links = [link_to(look(TOOLS[name], home / FILES[name][0]), home) for name in ("claude", "qwen")]
    found = {
        login.tool.name: login
        for login in find(home, {}, [*links, AuthFile.of({"type": "codex"})], lambda: EXPIRED_S - 1)
    }
    assert {name for name, login in found.items() if login.is_linked} == {"claude", "qwen"}
    assert found["claude"].sentence == "the gateway uses the login of Claude Code"
    expired: list[FoundLogin] = [login for login in find(home, {}, links, lambda: EXPIRED_S) if login.is_linked]
    assert all("open the tool once" in login.sentence for login in expired)


def test_a_file_that_links_nowhere_is_taken_as_it_is(home: Path) -> None:
    file = AuthFile.of({"type": "claude", "access_token": "test-access-1"})
    assert with_linked_login(file, home) is file


def test_only_known_tools_can_be_linked(home: Path) -> None:
    with pytest.raises(AuthFileFault, match="linked: only the logins of claude, codex, gemini-cli, qwen, kiro"):
        with_linked_login(AuthFile.of({"type": "kimi", "linked": "~/.kimi/x.json"}), home)


# ---------------------------------------------------------------- the shared cache


def test_a_shared_cache_is_renewed_in_its_own_shape(home: Path) -> None:
    path = home / FILES["kiro"][0]
    write_tokens(TOOLS["kiro"], path, Tokens("test-access-2", "test-refresh-2", expires_at_s=EXPIRED_S + 3600.5))
    written = json.loads(path.read_bytes())
    assert written == KIRO | {
        "accessToken": "test-access-2",
        "refreshToken": "test-refresh-2",
        "expiresAt": "2026-11-21T13:00:00.500Z",
    }
    assert list(written) == list(KIRO)
    assert path.stat().st_mode & 0o777 == 0o600
    assert login_of(home, "kiro").expires_at_s == EXPIRED_S + 3600


def test_what_is_not_renewed_stays(home: Path) -> None:
    path = home / FILES["kiro"][0]
    write_tokens(TOOLS["kiro"], path, Tokens("test-access-2"))
    assert json.loads(path.read_bytes()) == KIRO | {"accessToken": "test-access-2"}


@pytest.mark.parametrize("name", [name for name in FILES if name != "kiro"])
def test_a_tools_own_login_is_never_written(home: Path, name: str) -> None:
    path = home / FILES[name][0]
    before = path.read_bytes()
    with pytest.raises(AuthFileFault, match="only for itself to renew"):
        write_tokens(TOOLS[name], path, Tokens("test-access-2"))
    assert path.read_bytes() == before


def test_a_cache_that_cannot_be_written_is_a_fault(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cliproxy.credentials.linked.write_atomically", full)
    with pytest.raises(AuthFileFault, match="No space left"):
        write_tokens(TOOLS["kiro"], home / FILES["kiro"][0], Tokens("test-access-2"))

"""Logins that vendors' own tools keep: where they are, what they say, and the auth files that link to them.

A linked login stays its tool's: it is read and never written or renewed by us, and its refresh token is not even taken
over. Only the AWS SSO cache, which programs share and renew in place, is written back.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.timestamps import rfc3339, seconds_of
from cliproxy.oauth.identity import claims
from cliproxy.oauth.tokens import Tokens
from cliproxy.wire.json import dumps, loads_object

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_CLAIMS = "https://api.openai.com/auth"

Document = Mapping[str, Any]
State = Literal["usable", "expired", "unreadable", "missing"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A vendor's tool, and where it keeps its login."""

    name: str
    """The provider that its login is for: the `type` of auth files."""
    title: str
    file: str
    """Below `base`."""
    read: Callable[[Document, Path], dict[str, Any]]
    """Fields of an auth file from the tool's; may raise KeyError, TypeError or AttributeError for other content."""
    elsewhere: str
    """Where the login is, when the tool is there and the file is not."""
    base: str = ""
    """Directory that the tool uses, below the home directory."""
    variable: str = ""
    """Environment variable that names another directory than `base`."""
    mark: str = ""
    """Below `base`, there when the tool was used; empty: the login's directory."""
    account: Callable[[Path], str] = lambda path: ""
    """Whose login it is, where only another file of the tool's knows."""
    shared_cache: bool = False
    """The file is made to be renewed by whichever program needs it."""

    def path(self, home: Path, env: Mapping[str, str]) -> Path:
        return self._base(home, env) / self.file

    def is_installed(self, home: Path, env: Mapping[str, str]) -> bool:
        """Whether the tool was used on this machine."""
        return (self._base(home, env) / self.mark if self.mark else self.path(home, env).parent).is_dir()

    def _base(self, home: Path, env: Mapping[str, str]) -> Path:
        named = env.get(self.variable, "") if self.variable else ""
        return _expanded(named, home) if named else home / self.base


@dataclass(frozen=True, slots=True)
class FoundLogin:
    """A login of a vendor's tool on this machine, or why there is none."""

    tool: Tool
    path: Path
    state: State
    sentence: str
    """For the user: what it is and what to do."""
    account: str = ""
    """Whose it is; empty: not said. Never a token."""
    expires_at_s: float | None = None
    """UTC epoch seconds."""
    is_linked: bool = False
    """An auth file links to it already."""


# ---------------------------------------------------------------- what the tools write


def _claude(document: Document, path: Path) -> dict[str, Any]:
    """`~/.claude/.credentials.json`."""
    login = document["claudeAiOauth"]
    return {
        "access_token": login["accessToken"],
        "expired": _end(login.get("expiresAt")),
        "scope": " ".join(login.get("scopes") or ()),
        "plan_type": login.get("subscriptionType"),
    }


class _ClaudeAccount(msgspec.Struct, rename="camel"):
    email_address: str = ""


class _ClaudeState(msgspec.Struct, rename="camel"):
    oauth_account: _ClaudeAccount | None = None


def _claude_account(path: Path) -> str:
    """From Claude Code's state file, which also holds the history of all projects."""
    for folder in (path.parent, path.parent.parent):
        try:
            state = msgspec.json.decode((folder / ".claude.json").read_bytes(), type=_ClaudeState)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        if state.oauth_account:
            return state.oauth_account.email_address
    return ""


def _codex(document: Document, path: Path) -> dict[str, Any]:
    """`~/.codex/auth.json`: the tokens of a ChatGPT login, or an API key."""
    login = document.get("tokens")
    if not login:
        return {"api_key": document["OPENAI_API_KEY"], "base_url": OPENAI_URL}
    identity = claims(login.get("id_token") or "")
    account = identity.get(OPENAI_CLAIMS) or {}
    return {
        "access_token": login["access_token"],
        "id_token": login.get("id_token"),
        "account_id": login.get("account_id") or account.get("chatgpt_account_id"),
        "email": identity.get("email"),
        "plan_type": account.get("chatgpt_plan_type"),
        "last_refresh": document.get("last_refresh"),
    }


def _google(document: Document, path: Path) -> dict[str, Any]:
    """`~/.gemini/oauth_creds.json`, which Google's auth library writes; the account stands beside it."""
    try:
        email = loads_object((path.parent / "google_accounts.json").read_bytes(), "").get("active")
    except (OSError, ValueError):
        email = None
    login = _flat(document)
    return {**login, "email": email or claims(login.get("id_token") or "").get("email")}


def _flat(document: Document) -> dict[str, Any]:
    login = {name: value for name, value in document.items() if name not in ("refresh_token", "expiry_date")}
    return {**login, "access_token": document["access_token"], "expired": _end(document.get("expiry_date"))}


def _qwen(document: Document, path: Path) -> dict[str, Any]:
    """`~/.qwen/oauth_creds.json`; `resource_url` is where its API is."""
    return _flat(document)


def _kiro(document: Document, path: Path) -> dict[str, Any]:
    """Kiro's entry of the AWS SSO cache, with the client registration that another entry holds."""
    login = {_snake(name): value for name, value in document.items() if name != "expiresAt"}
    login |= {"access_token": document["accessToken"], "expired": _end(document.get("expiresAt"))}
    registration = document.get("clientIdHash")
    if isinstance(registration, str) and re.fullmatch(r"\w+", registration):
        client = _document(path.with_name(f"{registration}.json"))
        login |= {"client_id": client["clientId"], "client_secret": client["clientSecret"]}
    return login


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "claude",
            "Claude Code",
            ".credentials.json",
            _claude,
            "on macOS it is in the keychain, which is not read; `claude setup-token` makes a token "
            "for `cliproxy login claude`",
            base=".claude",
            variable="CLAUDE_CONFIG_DIR",
            account=_claude_account,
        ),
        Tool(
            "codex",
            "Codex",
            "auth.json",
            _codex,
            'it may be in the keyring; with `cli_auth_credentials_store = "file"` in its config.toml '
            "`codex login` writes a file",
            base=".codex",
            variable="CODEX_HOME",
        ),
        Tool(
            "gemini-cli",
            "Gemini CLI",
            ".gemini/oauth_creds.json",
            _google,
            "open it and log in with Google, without GEMINI_FORCE_ENCRYPTED_FILE_STORAGE in the environment",
            variable="GEMINI_CLI_HOME",
        ),
        Tool(
            "qwen",
            "Qwen Code",
            "oauth_creds.json",
            _qwen,
            "open it and log in with a Qwen account",
            base=".qwen",
            variable="QWEN_HOME",
        ),
        Tool(
            "kiro",
            "Kiro",
            ".aws/sso/cache/kiro-auth-token.json",
            _kiro,
            "log in with the Kiro IDE; the login of kiro-cli is in a database of its own",
            mark=".kiro",
            shared_cache=True,
        ),
    )
}
"""By the provider's name."""


# ---------------------------------------------------------------- finding and reading


def find(
    home: Path,
    env: Mapping[str, str],
    files: Iterable[AuthFile] = (),
    clock: Callable[[], float] = time.time,
) -> list[FoundLogin]:
    """The logins of vendors' tools on this machine, and tools whose login cannot be had.

    files: auth files that may link to them already. clock: UTC epoch seconds.
    """
    links = {linked_path(file, home) for file in files if file.linked}
    found = (look(tool, tool.path(home, env), clock) for tool in TOOLS.values() if tool.is_installed(home, env))
    return [_as_linked(login) if login.path in links else login for login in found]


def look(tool: Tool, path: Path, clock: Callable[[], float] = time.time) -> FoundLogin:
    """The login that a tool keeps at this path. clock: UTC epoch seconds."""
    if not path.is_file():
        return FoundLogin(tool, path, "missing", f"{tool.title} has no login in {path}: {tool.elsewhere}")
    try:
        file = AuthFile.of(read_login(tool, path))
    except AuthFileFault as fault:
        return FoundLogin(tool, path, "unreadable", f"the login of {tool.title} cannot be used: {path}: {fault}")
    account = file.email or tool.account(path)
    whose = f" as {account}" if account else ""
    if file.expires_at_s is not None and file.expires_at_s <= clock() and not tool.shared_cache:
        state, sentence = "expired", f"the login of {tool.title}{whose} has expired: open the tool once"
    else:
        state, sentence = (
            "usable",
            f"{tool.title} is logged in{whose}: `cliproxy credentials link {tool.name}` has the gateway use it too",
        )
    return FoundLogin(tool, path, state, sentence, account, file.expires_at_s)


def _as_linked(found: FoundLogin) -> FoundLogin:
    sentence = f"the gateway uses the login of {found.tool.title}" if found.state == "usable" else found.sentence
    return replace(found, sentence=sentence, is_linked=True)


def read_login(tool: Tool, path: Path) -> dict[str, Any]:
    """Fields of an auth file from a tool's login, without its refresh token unless the file is a shared cache.

    Raises AuthFileFault where there is no login that can be used.
    """
    try:
        login = tool.read(_document(path), path)
    except (KeyError, TypeError, AttributeError):
        raise AuthFileFault("there is no login in it that can be used") from None
    fields = {"type": tool.name} | {name: value for name, value in login.items() if value not in (None, "")}
    if not (isinstance(fields.get("access_token"), str) or isinstance(fields.get("api_key"), str)):
        raise AuthFileFault("there is no login in it that can be used")
    return fields


# ---------------------------------------------------------------- links


def link_to(found: FoundLogin, home: Path) -> AuthFile:
    """An auth file that stands for a tool's login. The home directory is written as `~`."""
    path = found.path.absolute()
    place = f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)
    return AuthFile.of({"type": found.tool.name, "linked": place} | ({"email": found.account} if found.account else {}))


def linked_path(file: AuthFile, home: Path) -> Path:
    """Where the login is that an auth file links to."""
    return _expanded(file.linked, home)


def tool_of(file: AuthFile) -> Tool:
    """The tool whose login an auth file links to. Raises AuthFileFault."""
    if tool := TOOLS.get(file.type):
        return tool
    raise AuthFileFault(f"linked: only the logins of {', '.join(TOOLS)} can be linked")


def with_linked_login(file: AuthFile, home: Path) -> AuthFile:
    """An auth file as it is, or with the login that it links to as its tool has it now. Raises AuthFileFault."""
    return file.with_login(read_login(tool_of(file), linked_path(file, home))) if file.linked else file


def write_tokens(tool: Tool, path: Path, tokens: Tokens) -> None:
    """Renew the entry of a shared cache in its own shape, everything else in it kept. Raises AuthFileFault."""
    if not tool.shared_cache:
        raise AuthFileFault(f"the login of {tool.title} is only for itself to renew")
    document = dict(_document(path)) | {"accessToken": tokens.access_token}
    if tokens.refresh_token:
        document["refreshToken"] = tokens.refresh_token
    if tokens.expires_at_s is not None:
        moment = datetime.fromtimestamp(tokens.expires_at_s, UTC)
        document["expiresAt"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        write_atomically(path, msgspec.json.format(dumps(document), indent=2))
    except OSError as error:
        raise AuthFileFault(f"it cannot be written: {error.strerror}") from None


def _document(path: Path) -> Document:
    try:
        return loads_object(path.read_bytes(), "")
    except OSError as error:
        raise AuthFileFault(f"{path.name} cannot be read: {error.strerror}") from None
    except ValueError:
        raise AuthFileFault(f"{path.name} is not valid JSON; perhaps it is being written") from None


def _expanded(path: str, home: Path) -> Path:
    return home / path[1:].lstrip("/\\") if path == "~" or path.startswith(("~/", "~\\")) else Path(path)


def _end(value: object) -> str | None:
    seconds = seconds_of(value)
    return None if seconds is None else rfc3339(seconds)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda letter: f"_{letter[1].lower()}", name)

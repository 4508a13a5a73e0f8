"""What `cliproxy credentials list` shows: one row for each account and key, without any secret."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from cliproxy.accounts.place import place_of
from cliproxy.config.schema import Config
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.linked import linked_path, look, tool_of, with_linked_login
from cliproxy.credentials.timestamps import rfc3339
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Vendor
from cliproxy.secrets import mask

State = Literal["ready", "disabled", "expired", "login needed", "broken"]


@dataclass(frozen=True, slots=True)
class Row:
    """An account or key."""

    name: str
    """Of its file; empty for the keys of config.yaml."""
    provider: str
    account: str
    """E-mail address, or a masked key."""
    source: Literal["file", "linked", "config"]
    state: State
    expires_at: str | None = None
    """RFC 3339."""
    prefix: str = ""
    priority: int = 0
    note: str = ""
    problem: str = ""
    """What is wrong, and what to do."""


def rows(
    config: Config,
    found: Mapping[str, AuthFile | AuthFileFault],
    home: Path,
    clock: Callable[[], float] = time.time,
) -> list[Row]:
    """Accounts by file name, then the keys of the config. clock: UTC epoch seconds."""
    accounts = [
        Row(name, "", "", "file", "broken", problem=str(file))
        if isinstance(file, AuthFileFault)
        else _account(name, file, config, home, clock)
        for name, file in found.items()
    ]
    return [*accounts, *_keys(config)]


def show(rows: Iterable[Row]) -> None:
    """As a table, with what is wrong below it. Columns that say nothing are left out."""
    rows = list(rows)
    cells = {
        "name": [row.name or "config.yaml" for row in rows],
        "provider": [row.provider for row in rows],
        "account": [row.account for row in rows],
        "state": [row.state for row in rows],
        "expires": [_local(row.expires_at) for row in rows],
        "prefix": [row.prefix for row in rows],
        "priority": [str(row.priority or "") for row in rows],
        "note": [row.note for row in rows],
    }
    columns = {heading: column for heading, column in cells.items() if any(column)}
    table = Table(box=None)
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    console.print(table if rows else "There is no account and no key yet: `cliproxy login PROVIDER` adds one.")
    for row in rows:
        if row.problem:
            console.print(f"{row.name}: {row.problem}", soft_wrap=True)


def _account(name: str, file: AuthFile, config: Config, home: Path, clock: Callable[[], float]) -> Row:
    state, problem, expires_at_s = _state(file, config, home, clock)
    return Row(
        name,
        file.type,
        file.email,
        "linked" if file.linked else "file",
        "disabled" if file.disabled else state,
        None if expires_at_s is None else rfc3339(expires_at_s),
        file.prefix,
        file.priority,
        file.note,
        problem,
    )


def _state(file: AuthFile, config: Config, home: Path, clock: Callable[[], float]) -> tuple[State, str, float | None]:
    """How an account is, what is wrong with it, and when its token expires."""
    vendor = VENDORS.get(file.type)
    if vendor is None:
        return "broken", f"no provider is called {file.type}", None
    if file.linked:
        return _linked_state(file, home, clock)
    expires_at_s = file.expires_at_s
    if file.login_error:
        return "login needed", f"{file.login_error}: `cliproxy login {file.type}`", expires_at_s
    is_over = expires_at_s is not None and expires_at_s <= clock()
    if not is_over or _is_renewable(file, vendor, config):
        return "ready", "", expires_at_s
    mended = f"`cliproxy login {file.type}`"
    if file.refresh_token:
        mended = f"set providers.{file.type}.oauth.client-id to have it renewed, or {mended}"
    return "expired", f"its token has expired: {mended}", expires_at_s


def _is_renewable(file: AuthFile, vendor: Vendor, config: Config) -> bool:
    """Whether the gateway can renew a token, or needs none."""
    if vendor.renew or file.fields.get("api_key") or file.fields.get("service_account"):
        return True
    registration = place_of(vendor, config).registration
    return bool(file.refresh_token and registration and registration.client_id)


def _linked_state(file: AuthFile, home: Path, clock: Callable[[], float]) -> tuple[State, str, float | None]:
    try:
        tool = tool_of(file)
        found = look(tool, linked_path(file, home), clock)
        if found.state in ("missing", "unreadable"):
            return "broken", found.sentence, None
        refusal = with_linked_login(file, home).login_error
    except AuthFileFault as fault:
        return "broken", str(fault), None
    if refusal:
        return "login needed", f"{refusal}: log in with {tool.title}", found.expires_at_s
    if found.state == "expired":
        return "expired", found.sentence, found.expires_at_s
    return "ready", "", found.expires_at_s


def _keys(config: Config) -> Iterator[Row]:
    for credential in credentials_of(config):
        if credential.provider != "demo":
            yield Row(
                "",
                credential.provider,
                mask(credential.secret),
                "config",
                "ready",
                prefix=credential.prefix,
                priority=credential.priority,
            )


def _local(moment: str | None) -> str:
    """For people: in their own time zone."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}" if moment else ""

"""`cliproxy credentials …`: the accounts and keys of this machine, their files, and logins of vendors' tools."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cliproxy.accounts.accounts import Accounts
from cliproxy.accounts.joining import file_name
from cliproxy.cli import credentials_check, credentials_list
from cliproxy.cli.configuration import ConfigPath, load
from cliproxy.credentials.atomic_write import write_atomically
from cliproxy.credentials.auth_dir import AuthDir, AuthFileMissing
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.linked import TOOLS, FoundLogin, find, link_to, linked_path, look
from cliproxy.credentials.portable import Portable, read_accounts, write_accounts
from cliproxy.database import database_of
from cliproxy.providers import VENDORS
from cliproxy.routing.registry import builtin_registry
from cliproxy.stores.choice import chosen as chosen_store
from cliproxy.stores.replica import Replica

app = App(name="credentials", help="Show, move and switch the accounts that the gateway uses.")

_NAMES = "Accounts: file names with or without .json, or e-mail addresses."
Names = Annotated[str, Parameter(help=_NAMES, required=True)]


@app.command(name="list")
def list_(
    *,
    config: ConfigPath = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON, for scripts.")] = False,
) -> None:
    """List accounts, linked logins and the keys of config.yaml. No secret is shown."""
    settings = load(config)
    rows = credentials_list.rows(settings, AuthDir(Path(settings.auth_dir)).scan(), Path.home())
    if as_json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2))
    else:
        credentials_list.show(rows)


@app.command
async def check(
    *names: Annotated[str, Parameter(help=f"{_NAMES} Default: all.")],
    config: ConfigPath = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON, for scripts.")] = False,
) -> None:
    """Ask the vendors whether accounts still work, and what they may still use. Exit code 1: one does not."""
    settings = load(config)
    replica = _shared()
    accounts = Accounts(settings, builtin_registry(), elsewhere=replica.locked_login if replica else None)
    accounts.load()
    failures, chosen = _chosen({account.name: account.file for account in accounts}, names) if names else (0, [])
    rows = await credentials_check.check(accounts, chosen)
    if replica:
        await replica.close()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2))
    else:
        credentials_check.show(rows)
    _end(failures + sum(not row.ok for row in rows))


@app.command
async def enable(*names: Names, config: ConfigPath = None) -> None:
    """Use accounts again."""
    await _for_each(names, config, lambda auth_dir, name: _set_disabled(auth_dir, name, disabled=False))


@app.command
async def disable(*names: Names, config: ConfigPath = None) -> None:
    """Do not use accounts for now. Their logins are kept fresh."""
    await _for_each(names, config, lambda auth_dir, name: _set_disabled(auth_dir, name, disabled=True))


@app.command
async def remove(*names: Names, config: ConfigPath = None) -> None:
    """Delete accounts' files for good. A linked login stays with its tool."""
    await _for_each(names, config, AuthDir.remove)


@app.command(name="import")
async def import_(
    *files: Annotated[
        Path,
        Parameter(
            required=True,
            allow_leading_hyphen=True,
            help="Exports of this program or OneProxy, or auth files; - is standard input.",
        ),
    ],
    config: ConfigPath = None,
    replace: Annotated[bool, Parameter(negative="", help="Overwrite newer logins too.")] = False,
) -> None:
    """Take accounts over from files. What is set on an account that is there already stays."""
    auth_dir = AuthDir(Path(load(config).auth_dir))
    failures = 0
    for path in files:
        try:
            accounts = read_accounts(sys.stdin.buffer.read() if path == Path("-") else path.read_bytes())
        except (OSError, AuthFileFault) as error:
            failures += _failed(path, error)
            continue
        for account in accounts:
            try:
                print(await _take_over(auth_dir, account, replace=replace))
            except AuthFileFault as fault:
                failures += _failed(account.name or account.file.email or account.file.type, fault)
    _end(failures)


@app.command
def export(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True, help="File to write; - prints it, tokens and all.")],
    *names: Annotated[str, Parameter(help=f"{_NAMES} Default: all.")],
    config: ConfigPath = None,
    replace: Annotated[bool, Parameter(negative="", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write accounts with their tokens into one file that only you can read."""
    found = AuthDir(Path(load(config).auth_dir)).scan()
    failures, chosen = _chosen(found, names) if names else (0, list(found))
    accounts: list[tuple[str, AuthFile]] = []
    for name in chosen:
        match found[name]:
            case AuthFileFault() as fault:
                failures += _failed(name, fault)
            case AuthFile(linked=place) if place:
                _failed(name, "left out, its login stays with its tool")
            case AuthFile() as account:
                accounts.append((name, account))
    data = write_accounts(accounts)
    if file == Path("-"):
        sys.stdout.buffer.write(data)
    elif file.exists() and not replace:
        failures += _failed(file, "is there already; --replace overwrites it")
    else:
        try:
            write_atomically(file, data)
        except OSError as error:
            failures += _failed(file, error)
        else:
            print(f"{file}: {len(accounts)} accounts. It holds their tokens: keep it safe.")
    _end(failures)


@app.command
async def link(
    provider: Annotated[str, Parameter(help=f"One of {', '.join(TOOLS)}. Default: show what can be linked.")] = "",
    *,
    config: ConfigPath = None,
    path: Annotated[Path | None, Parameter(help="Where the tool keeps its login, if not in its usual place.")] = None,
) -> None:
    """Use the login of a vendor's own tool, which stays the tool's to renew."""
    auth_dir = AuthDir(Path(load(config).auth_dir))
    if not provider:
        tools = logins_of_tools(auth_dir)
        for found in tools:
            print(found.sentence)
        if not tools:
            print(f"No vendor's tool was found at home: logins of {', '.join(TOOLS)} can be linked.")
        return
    tool = TOOLS.get("gemini-cli" if provider == "gemini" else provider)
    if tool is None:
        print(f"{provider}: only the logins of {', '.join(TOOLS)} can be linked", file=sys.stderr)
        raise SystemExit(1)
    found = look(tool, path.expanduser() if path else tool.path(Path.home(), os.environ))
    if found.state in ("missing", "unreadable"):
        print(found.sentence, file=sys.stderr)
        raise SystemExit(1)
    await _link(auth_dir, found)


@app.command
async def unlink(
    name: Annotated[str, Parameter(help="A provider, or the name of the file that links to its login.")],
    *,
    config: ConfigPath = None,
) -> None:
    """Use the login of a vendor's tool no longer."""
    auth_dir = AuthDir(Path(load(config).auth_dir))
    links = {key: file for key, file in auth_dir.scan().items() if isinstance(file, AuthFile) and file.linked}
    of_provider = [key for key, file in links.items() if file.type == name]
    failures, chosen = (0, of_provider) if len(of_provider) == 1 else _chosen(links, [name])
    for key in chosen:
        failures += await _done(auth_dir, key, AuthDir.remove)
    _end(failures)


def logins_of_tools(auth_dir: AuthDir) -> list[FoundLogin]:
    """The logins of vendors' tools on this machine, for `cliproxy doctor`: each with a sentence for the user."""
    files = [file for file in auth_dir.scan().values() if isinstance(file, AuthFile)]
    return find(Path.home(), os.environ, files)


# ---------------------------------------------------------------- one account


def _set_disabled(auth_dir: AuthDir, name: str, *, disabled: bool) -> None:
    auth_dir.write(name, auth_dir.read(name).with_fields(disabled=disabled or None))


async def _link(auth_dir: AuthDir, found: FoundLogin) -> None:
    file, home = link_to(found, Path.home()), Path.home()
    there = auth_dir.scan()
    for name, other in there.items():
        if isinstance(other, AuthFile) and other.linked and linked_path(other, home) == linked_path(file, home):
            print(f"{name}: links to {other.linked} already")
            return
    stems = (f"{file.type}-linked{number}" for number in ("", *(f"-{count}" for count in range(2, len(there) + 3))))
    name = next(name for stem in stems if (name := f"{stem}.json") not in there)
    async with auth_dir.lock(name):
        auth_dir.write(name, file)
    whose = f" of {found.account}" if found.account else ""
    print(f"{name}: the gateway uses the login{whose} in {file.linked}")
    if found.state == "expired":
        print(found.sentence)


async def _take_over(auth_dir: AuthDir, account: Portable, *, replace: bool) -> str:
    """Import one account; what was done. Raises AuthFileFault where it must not be."""
    file = account.file
    vendor = VENDORS.get(file.type)
    if vendor is None:
        raise AuthFileFault(f"no provider is called {file.type}")
    # A refresh token in two files would be used twice, which ends the login.
    name = _same_login(auth_dir, file) or account.name or file_name(vendor, file)
    async with auth_dir.lock(name):
        try:
            before = auth_dir.read(name)
        except AuthFileMissing:
            before = None
        except AuthFileFault as fault:
            if not replace:
                raise AuthFileFault(f"{name} is there and {fault}; --replace overwrites it") from None
            before = None
        if before and not replace:
            if (before.access_token, before.refresh_token) == (file.access_token, file.refresh_token):
                return f"{name}: unchanged"
            if before.linked or not _is_newer(file, before):
                raise AuthFileFault(f"{name} has a login that is not older; --replace overwrites it")
            changes = {key: value for key, value in file.fields.items() if key not in ("type", "login_error")}
            file = before.with_fields(**changes, login_error=None)
        auth_dir.write(name, file)
    return f"{name}: {'replaced' if before else 'new'}"


def _same_login(auth_dir: AuthDir, file: AuthFile) -> str:
    """The auth file that has this very login."""
    for name, other in auth_dir.scan().items():
        if isinstance(other, AuthFile) and file.refresh_token and other.refresh_token == file.refresh_token:
            return name
    return ""


def _is_newer(file: AuthFile, before: AuthFile) -> bool:
    if before.login_error:
        return True
    for of_file, of_before in ((file.last_refresh_s, before.last_refresh_s), (file.expires_at_s, before.expires_at_s)):
        if of_file is not None and of_before is not None and of_file != of_before:
            return of_file > of_before
    return False


# ---------------------------------------------------------------- several


async def _for_each(names: Iterable[str], config: Path | None, act: Callable[[AuthDir, str], None]) -> None:
    """Do something to named accounts, each under its lock; end with exit code 1 where that failed for one."""
    auth_dir = AuthDir(Path(load(config).auth_dir))
    failures, chosen = _chosen(auth_dir.scan(), names)
    for name in chosen:
        failures += await _done(auth_dir, name, act)
    _end(failures)


async def _done(auth_dir: AuthDir, name: str, act: Callable[[AuthDir, str], None]) -> int:
    """How many failures it gave."""
    try:
        async with auth_dir.lock(name):
            act(auth_dir, name)
    except AuthFileFault as fault:
        return _failed(name, fault)
    return 0


def _shared() -> Replica | None:
    """What keeps gateways on other machines from a login that is renewed here; only PostgreSQL can."""
    store = chosen_store() if database_of() else None
    return Replica(*store) if store else None


def _chosen(found: Mapping[str, AuthFile | AuthFileFault], names: Iterable[str]) -> tuple[int, list[str]]:
    """The auth files that are meant, and how many of the names mean none."""
    failures, chosen = 0, dict[str, None]()
    for name in names:
        same = [key for key in found if key in (name, f"{name}.json")] or [
            key for key, file in found.items() if isinstance(file, AuthFile) and file.email == name
        ]
        match same:
            case [only]:
                chosen[only] = None
            case []:
                failures += _failed(name, "there is no such account; `cliproxy credentials list` shows them")
            case _:
                failures += _failed(name, f"this may be any of {', '.join(same)}")
    return failures, list(chosen)


def _failed(what: object, why: object) -> int:
    reason = why.strerror if isinstance(why, OSError) else why
    print(f"{what}: {reason}", file=sys.stderr)
    return 1


def _end(failures: int) -> None:
    if failures:
        raise SystemExit(1)

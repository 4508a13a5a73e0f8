"""`cliproxy login`: one account more, by whichever way its vendor has."""

import asyncio
import getpass
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import Parameter
from rich.console import Console

from cliproxy.accounts.joining import save_login, service_account_login
from cliproxy.accounts.place import place_of
from cliproxy.cli.configuration import ConfigPath, load
from cliproxy.cli.login_screen import shown
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFileFault
from cliproxy.credentials.linked import TOOLS
from cliproxy.oauth.errors import LoginFailed, OAuthFault
from cliproxy.oauth.login import Kind, LoginSession
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Flow, Place, Vendor

_STDIN = Path("-")
_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended."""

_DEVICE_FLOWS: tuple[Flow, ...] = ("device", "codex-device")
_BROWSER_FLOWS: tuple[Flow, ...] = ("browser",)
_OAUTH_FLOWS = (*_BROWSER_FLOWS, *_DEVICE_FLOWS)
_PASTED_FLOWS: tuple[Flow, ...] = ("service-account", "token", "api-key")

_DEVICE = "With a code that you enter on another device."
_PASTE = "Paste the address that the browser ends at; nothing listens and no browser is opened."
_NO_BROWSER = "Only show the address."
_PORT = "Local port that the browser returns to. Default: the provider's."
_VIA = "Which of the provider's ways to log in. Default: the first that is possible."
_FILE = "Where the token, API key or service account is; - is standard input. Default: you are asked for it."


def login(
    provider: Annotated[str, Parameter(help="Whose account: codex, claude, qwen …")],
    /,
    *,
    device: Annotated[bool, Parameter(negative="", help=_DEVICE)] = False,
    paste: Annotated[bool, Parameter(negative="", help=_PASTE)] = False,
    no_browser: Annotated[bool, Parameter(negative="", help=_NO_BROWSER)] = False,
    port: Annotated[int | None, Parameter(help=_PORT)] = None,
    via: Annotated[Flow | None, Parameter(help=_VIA)] = None,
    file: Annotated[Path | None, Parameter(help=_FILE, allow_leading_hyphen=True)] = None,
    config: ConfigPath = None,
) -> None:
    """Log in to a provider, and keep the account. Ctrl-C leaves nothing behind."""
    settings = load(config)
    is_browser = paste or no_browser or port is not None
    try:
        vendor = _vendor(provider)
        place = place_of(vendor, settings)
        if port is not None and place.registration:
            place = replace(place, registration=replace(place.registration, redirect_port=port))
        flow = _flow(vendor, place, _wanted(vendor, via, is_device=device, is_pasted=bool(file), is_browser=is_browser))
        keeper = _Keeper(vendor, place, AuthDir(Path(settings.auth_dir)), settings.proxy_url)
        if flow in _OAUTH_FLOWS:
            work = keeper.log_in(cast("Kind", flow), listens=not paste, opens_browser=not (paste or no_browser))
        else:
            work = keeper.take(_given(flow, vendor, file))
        path = asyncio.run(work)
    except (OAuthFault, AuthFileFault) as fault:
        print(f"The login failed: {str(fault).rstrip('.')}.", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("Cancelled; nothing was kept.", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None
    Console().print(f"Logged in to {vendor.title}: {path}", soft_wrap=True, highlight=False, markup=False)


class _Keeper:
    """Gets a login of a vendor's, and keeps it in the auth directory. Both return the path of its file."""

    def __init__(self, vendor: Vendor, place: Place, auth_dir: AuthDir, proxy_url: str) -> None:
        self._vendor = vendor
        self._place = place
        self._auth_dir = auth_dir
        self._http = http_client(proxy_url)

    async def log_in(self, kind: Kind, *, listens: bool, opens_browser: bool) -> Path:
        """Lead the user through one of the OAuth flows."""
        assert self._place.registration
        async with self._http:
            session = await LoginSession.begin(
                self._vendor.name, kind, self._place.registration, self._http, listen=listens
            )
            async with aclosing(session):
                return await shown(session, self._vendor.title, self._save, Console(), opens_browser=opens_browser)

    async def take(self, login: Tokens | Mapping[str, Any]) -> Path:
        """Keep what the user has, once a token can be had for it where it is none itself."""
        async with self._http:
            if not isinstance(login, Tokens) and self._vendor.renew and "api_key" not in login:
                await self._vendor.renew(login, self._place, self._http)
            return await self._save(login)

    async def _save(self, login: Tokens | Mapping[str, Any]) -> Path:
        return self._auth_dir.path / await save_login(self._vendor, self._place, login, self._auth_dir, self._http)


# ---------------------------------------------------------------- which way


def _vendor(name: str) -> Vendor:
    if vendor := VENDORS.get(name):
        return vendor
    raise LoginFailed(f"there is no provider {name!r}, but {', '.join(sorted(VENDORS))}")


def _wanted(vendor: Vendor, via: Flow | None, *, is_device: bool, is_pasted: bool, is_browser: bool) -> Sequence[Flow]:
    if via:
        return (via,)
    if is_device:
        return _DEVICE_FLOWS
    if is_pasted:
        return _PASTED_FLOWS
    return _BROWSER_FLOWS if is_browser else vendor.flows


def _flow(vendor: Vendor, place: Place, wanted: Sequence[Flow]) -> Flow:
    """The first way that the vendor has and the user wants. Raises LoginFailed, saying what is possible."""
    offered: list[Flow] = [flow for flow in vendor.flows if flow in wanted]
    has_client = bool(place.registration and place.registration.client_id)
    for flow in offered:
        if has_client or flow not in _OAUTH_FLOWS:
            return flow
    others = [flow for flow in vendor.flows if flow not in offered and (has_client or flow not in _OAUTH_FLOWS)]
    ways = [f"log in with `cliproxy login {vendor.name} --via {flow}`" for flow in others]
    if vendor.name in TOOLS:
        ways.append(f"link the login of its own tool with `cliproxy credentials link {vendor.name}`")
    if offered:
        ways.append(f"set an OAuth client of your own in config.yaml (providers.{vendor.name}.oauth.client-id)")
        reason = f"no OAuth client is shipped for {vendor.title}"
    else:
        reason = f"{vendor.title} has no such login"
    raise LoginFailed(f"{reason}: {', or '.join(ways)}" if ways else reason)


# ---------------------------------------------------------------- what the user has


def _given(flow: Flow, vendor: Vendor, file: Path | None) -> Tokens | Mapping[str, Any]:
    """Tokens or fields of an auth file, from a file, standard input, or a prompt that does not show them."""
    if flow == "service-account":
        return service_account_login(_text(file, f"the key file of a service account for {vendor.title}", is_long=True))
    what = "API key" if flow == "api-key" else "token"
    secret = _text(file, f"{what} for {vendor.title}").strip()
    if not secret:
        raise LoginFailed("nothing was entered")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise LoginFailed(f"this is no {what}: expected one word")
    return {"api_key": secret} if flow == "api-key" else Tokens(secret)


def _text(file: Path | None, what: str, *, is_long: bool = False) -> str:
    """is_long: it has several lines, which a prompt cannot take."""
    try:
        if file and file != _STDIN:
            return file.read_text("utf-8")
        if not sys.stdin:  # closed before we began
            return ""
        if file or not sys.stdin.isatty():
            return sys.stdin.read()
        if not is_long:
            return getpass.getpass(f"{what[:1].upper()}{what[1:]} (not shown): ")
    except OSError as error:
        raise LoginFailed(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoginFailed(f"{file} is no text") from None
    except EOFError:
        return ""
    raise LoginFailed(f"say where {what} is, with --file")

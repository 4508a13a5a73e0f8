"""What is known of a vendor whose accounts can be used: how its upstream is called, how one logs in and stays so."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.dialect import Dialect
from cliproxy.wire.model import Format

Flow = Literal["browser", "device", "codex-device", "service-account", "token", "api-key"]
"""Ways to log in: authorization code in a browser, RFC 8628 device code, Codex's device form, a service account's key
file, a long-lived token or an API key that the user pastes."""

Fields = Mapping[str, Any]
"""An auth file's object, names in snake case."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a vendor is: its own values, with the config's words (`providers.<name>`) in their place."""

    base_url: str
    quota_url: str = ""
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """One of the quotas of an account."""

    name: str
    """`5h`, `weekly`, a model's name …"""
    used: float | None
    """Share that is used up, 0 to 1; None: the vendor does not say."""
    resets_at_s: float | None = None
    """UTC epoch seconds."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What an account may still use."""

    plan: str = ""
    windows: tuple[Window, ...] = ()


async def _nothing_more(tokens: Tokens, place: Place, http: httpx.AsyncClient) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row of the table of providers. Functions do their HTTP with the client they are given: it goes through the
    account's own proxy, and they raise `cliproxy.oauth.errors`."""

    name: str
    """The `type` of its auth files, and the provider's name everywhere."""
    title: str
    """For people."""
    formats: tuple[Format, ...]
    """That its upstream speaks, preferred one first."""
    dialect: Dialect
    base_url: str
    flows: tuple[Flow, ...] = ()
    """Ways to log in, the best first; empty: only by linking or importing."""
    registration: Registration | None = None
    quota_url: str = ""
    token_field: str = "access_token"
    """The auth file's field that the upstream is shown, where the file has no `api_key`."""
    lead_s: float = 300.0
    """How long before it expires a token is renewed."""
    renew: Callable[[Fields, Place, httpx.AsyncClient], Awaitable[Tokens]] | None = None
    """Fetches new tokens for an auth file; None: the refresh token's grant."""
    identify: Callable[[Tokens, Place, httpx.AsyncClient], Awaitable[dict[str, Any]]] = _nothing_more
    """Further fields of the auth file after a login: `email`, `account_id`, `project_id` …"""
    needs: str = ""
    """A field of the auth file without which the upstream cannot be called; `discover` finds it."""
    discover: Callable[[Fields, Place, httpx.AsyncClient], Awaitable[dict[str, Any]]] | None = None
    """Finds the fields that an account lacks before its first call; they are kept in its file."""
    file_stem: Callable[[Fields], str] = lambda fields: str(fields.get("email") or "account")
    """What an auth file is called, between `<name>-` and `.json`."""
    base_url_of: Callable[[Fields, Place], str] = lambda fields, place: str(fields.get("base_url") or place.base_url)
    """Where the account's API is."""
    variants: Callable[[Fields, Place], tuple[dict[str, Any], ...]] = lambda fields, place: ({},)
    """Ways to call one account, the best first, as what each changes of its fields: another host, another project."""
    quota: Callable[[Fields, Place, httpx.AsyncClient], Awaitable[Quota]] | None = None
    """Asks what the account may still use; None: the vendor has no such query."""

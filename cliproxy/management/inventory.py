"""All credentials, each as one entry: accounts with all ways of calling them, keys of the config, pages, the demo.

The `auth_index` that names an entry is a piece of a hash of what it is, so it stays over restarts and tells nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.credential import credentials_of as credentials_of_account
from cliproxy.config.schema import Config
from cliproxy.credentials.cooldown import ALL_MODELS, SavedCooldown
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.record import Credential
from cliproxy.management.faults import ManagementFault
from cliproxy.management.operating import Operator

Kind = Literal["account", "key", "member", "demo"]
State = Literal["ready", "cooling", "expired", "login needed", "disabled", "broken"]
EVERY_MODEL = "*"
"""Among the excluded models of a key it switches the key off, as in CLIProxyAPI."""
_SECTIONS = (
    "gemini_api_key",
    "codex_api_key",
    "claude_api_key",
    "vertex_api_key",
    "xai_api_key",
    "openai_compatibility",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One account or key."""

    kind: Kind
    provider: str
    credentials: Sequence[Credential]
    """Ways of using it, the best first; empty for a file that cannot be used."""
    disabled: bool = False
    account: LiveAccount | None = None
    name: str = ""
    """Of the auth file."""
    trouble: str = ""
    """Why the file cannot be used."""

    @property
    def auth_index(self) -> str:
        if self.credentials:
            return index_of(self.credentials[0])
        return hashlib.sha256(self.name.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        return self.credentials[0].label if self.credentials else self.name.removesuffix(".json")

    @property
    def labels(self) -> list[str]:
        return [credential.label for credential in self.credentials]


def index_of(credential: Credential) -> str:
    """The `auth_index` of a credential."""
    return credential.id.rpartition(":")[2]


def inventory(operator: Operator) -> list[Entry]:
    """Everything there is, accounts first."""
    config = operator.running.config
    pages = (Entry("member", one.provider, (one,)) for one in operator.memory.members.credentials())
    return [*_accounts(operator), *_keys(config), *pages]


def entry_of(operator: Operator, auth_index: str) -> Entry:
    """Raises ManagementFault (404)."""
    for entry in inventory(operator):
        if entry.auth_index == auth_index:
            return entry
    raise ManagementFault(404, "auth not found")


def _accounts(operator: Operator) -> Iterator[Entry]:
    running = operator.running
    accounts = running.accounts
    known = {account.name: account for account in accounts}
    for name in sorted({*known, *accounts.troubles}):
        account = known.get(name)
        if account is None:
            yield Entry("account", "", (), name=name, trouble=accounts.troubles[name])
            continue
        place = accounts.place_of(account.vendor)
        ways = list(credentials_of_account(account, place, running.config, running.registry))
        yield Entry("account", account.vendor.name, ways, account.file.disabled, account, name)


def _keys(config: Config) -> Iterator[Entry]:
    enabled = {credential.id for credential in credentials_of(config)}
    for credential in credentials_of(_all_enabled(config)):
        kind = "demo" if credential.provider == "demo" and credential.base_url.startswith("demo:") else "key"
        is_off = credential.id not in enabled or EVERY_MODEL in credential.excluded
        yield Entry(kind, credential.provider, (credential,), is_off)


def _all_enabled(config: Config) -> Config:
    """The config with nothing switched off."""
    sections = {
        name: tuple(entry.model_copy(update={"disabled": False}) for entry in getattr(config, name))
        for name in _SECTIONS
    }
    return config.model_copy(update=sections)


# ---------------------------------------------------------------- how it is


def view(operator: Operator, entry: Entry) -> dict[str, Any]:
    """An entry as the dashboard shows it. No secret is in it."""
    main = entry.credentials[0] if entry.credentials else None
    cooldowns = cooldowns_of(operator, entry)
    state, reason, until_s = state_of(operator, entry, cooldowns)
    success, failed, slots = operator.activity.of(entry.labels)
    return {
        "auth_index": entry.auth_index,
        "kind": entry.kind,
        "provider": entry.provider,
        "label": entry.label,
        "name": entry.name,
        "state": state,
        "reason": reason,
        "until_s": until_s,
        "usable": is_usable(operator, entry),
        "disabled": entry.disabled,
        "priority": main.priority if main else 0,
        "weight": main.weight if main else 1,
        "prefix": main.prefix if main else "",
        "base_url": main.base_url if main else "",
        **_of_account(entry.account),
        "cooldowns": [
            {
                "model": one.model,
                "until_s": one.until_s,
                "next_try_s": one.next_try_s,
                "reason": one.reason,
                "status": one.status,
                "message": one.message,
            }
            for one in cooldowns
        ],
        "success": success,
        "failed": failed,
        "recent_requests": [{"time_s": slot.start_s, "success": slot.success, "failed": slot.failed} for slot in slots],
    }


def _of_account(account: LiveAccount | None) -> dict[str, Any]:
    file = account.file if account else None
    quota = account.quota if account else None
    return {
        "email": file.email if file else "",
        "plan": str((quota and quota.plan) or (file and file.fields.get("plan_type")) or ""),
        "linked": file.linked if file else "",
        "note": file.note if file else "",
        "expires_at_s": file.expires_at_s if file else None,
        "last_refresh_s": file.last_refresh_s if file else None,
        "renewable": bool(account and account.is_renewable),
        "asks_quota": bool(account and account.vendor.quota),
        "quota": {
            "plan": quota.plan,
            "asked_s": account.quota_s,
            "windows": [
                {"name": window.name, "used": window.used, "resets_at_s": window.resets_at_s}
                for window in quota.windows
            ],
        }
        if account and quota
        else None,
    }


def cooldowns_of(operator: Operator, entry: Entry) -> list[SavedCooldown]:
    """Those of all ways of using it that are not over."""
    ids = {credential.id for credential in entry.credentials}
    return [one for one in operator.memory.pool.cooldowns.dump() if one.credential in ids]


def state_of(operator: Operator, entry: Entry, cooldowns: Sequence[SavedCooldown]) -> tuple[State, str, float | None]:
    """How it is, why, and until when; UTC epoch seconds."""
    account = entry.account
    if entry.trouble:
        return "broken", entry.trouble, None
    if entry.disabled:
        return "disabled", "", None
    if account and account.file.login_error:
        return "login needed", account.file.login_error, None
    if account and not account.is_renewable and (end_s := account.file.expires_at_s) and end_s <= operator.clock():
        tool = f"open {account.vendor.title} once" if account.file.linked else "log in again"
        return "expired", f"the login has expired: {tool}", None
    if cooldowns:
        longest = max(cooldowns, key=lambda one: one.until_s)
        return "cooling", longest.message or longest.reason, longest.until_s
    return "ready", "", None


def is_usable(operator: Operator, entry: Entry) -> bool:
    """Whether it could be asked for any of its models now."""
    state, _, _ = state_of(operator, entry, ())
    if state != "ready":
        return False
    cooldowns = operator.memory.pool.cooldowns
    registry = operator.running.registry
    for credential in entry.credentials:
        models = [model.upstream for model in credential.models]
        models = models or [model.name for model in registry.of(credential.provider, base_url=credential.base_url)]
        if any(cooldowns.is_ready(credential.id, model) for model in models or [ALL_MODELS]):
            return True
    return False

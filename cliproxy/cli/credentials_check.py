"""`cliproxy credentials check`: whether each account still works, and what it may still use."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console
from rich.table import Table

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.accounts import Accounts
from cliproxy.credentials.timestamps import rfc3339
from cliproxy.oauth.errors import OAuthFault
from cliproxy.providers.vendor import Window
from cliproxy.wire.errors import GatewayError

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """One quota of an account."""

    name: str
    used_percent: float | None
    """None: the vendor does not say."""
    resets_at: str | None
    """RFC 3339."""


@dataclass(frozen=True, slots=True)
class Row:
    """An account."""

    name: str
    """Of its file."""
    provider: str
    account: str
    ok: bool
    problem: str = ""
    plan: str = ""
    quotas: list[QuotaRow] = field(default_factory=list)


async def check(accounts: Accounts, names: Sequence[str] = ()) -> list[Row]:
    """Renew what must be renewed, and ask each vendor that answers for what is left. names: of files; none: all."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(account: LiveAccount) -> Row:
        async with slots:
            return await _checked(accounts, account)

    chosen = [account for account in accounts if not names or account.name in names]
    rows = await asyncio.gather(*(one(account) for account in sorted(chosen, key=lambda account: account.name)))
    await accounts.close()
    return rows


async def _checked(accounts: Accounts, account: LiveAccount) -> Row:
    try:
        await account.ready()
        quota = await accounts.ask_quota(account)
    except (OAuthFault, GatewayError) as error:
        return Row(account.name, account.vendor.name, account.label, ok=False, problem=str(error))
    windows = quota.windows if quota else ()
    plan = quota.plan if quota else ""
    return Row(
        account.name, account.vendor.name, account.label, ok=True, plan=plan, quotas=[_quota(one) for one in windows]
    )


def _quota(window: Window) -> QuotaRow:
    used = None if window.used is None else round(window.used * 100, 1)
    return QuotaRow(window.name, used, None if window.resets_at_s is None else rfc3339(window.resets_at_s))


def show(rows: Iterable[Row], clock: Callable[[], float] = time.time) -> None:
    """As a table, one line a quota. clock: UTC epoch seconds."""
    table = Table("account", "provider", "state", "plan", "quota", "used", "resets in", box=None)
    for row in rows:
        first = [row.account, row.provider, "ok" if row.ok else f"failed: {row.problem}", row.plan]
        for quota in row.quotas or [QuotaRow("", None, None)]:
            used = "" if quota.used_percent is None else f"{quota.used_percent:g} %"
            table.add_row(*first, quota.name, used, _until(quota.resets_at, clock()))
            first = [""] * len(first)
    Console(markup=False, highlight=False).print(table if table.rows else "There is no account to check.")


def _until(moment: str | None, now_s: float) -> str:
    """`4 d 3 h`, `2 h 5 min`, `40 s`."""
    if moment is None:
        return ""
    seconds = max(0, int(datetime.fromisoformat(moment).timestamp() - now_s))
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    index = next((i for i, (_, size) in enumerate(units) if seconds >= size), len(units) - 1)
    parts = []
    for name, size in units[index : index + 2]:
        count, seconds = divmod(seconds, size)
        parts += [f"{count} {name}"] if count or not parts else []
    return " ".join(parts)

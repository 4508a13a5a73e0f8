"""When each login is due for a refresh."""

import asyncio
import contextlib
import heapq

from cliproxy.accounts.account import LiveAccount
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.providers.vendor import Vendor

SOONEST_S = 30.0
"""The next refresh on schedule is at least so long after the last one."""
RETRY_S = (10.0, 30.0, 60.0, 120.0, 300.0)
"""Pauses after failed tries; the last one stays."""
LONGEST_SLEEP_S = 600.0
"""The clock may be set, or the machine suspended: what is due is looked at least so often."""


def due_at_s(file: AuthFile, vendor: Vendor) -> float | None:
    """When to renew a login, UTC epoch seconds; None: nothing is known of its end.

    The file's own interval; else the vendor's lead before the end, but not before half of the token's life.
    """
    last_s, expires_at_s = file.last_refresh_s, file.expires_at_s
    if file.refresh_interval_s and last_s is not None:
        return last_s + file.refresh_interval_s
    if expires_at_s is None:
        return None if last_s is None else last_s + vendor.lead_s
    if last_s is None or last_s >= expires_at_s:
        return expires_at_s - vendor.lead_s
    return max(expires_at_s - vendor.lead_s, (last_s + expires_at_s) / 2)


class Schedule:
    """Accounts by the time at which they are due: a heap, in which entries that are out of date are passed over."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._accounts: dict[str, tuple[float, LiveAccount]] = {}
        self._failures: dict[str, int] = {}
        self._changed = asyncio.Event()

    def put(self, account: LiveAccount, now_s: float, *, soonest_s: float = 0.0) -> None:
        """Follow an account, or follow it no longer where it cannot be renewed.

        soonest_s: how long it is left alone at least.
        """
        self._failures.pop(account.id, None)
        due_s = due_at_s(account.file, account.vendor) if account.is_renewable else None
        if due_s is None:
            self._accounts.pop(account.id, None)
        else:
            self._put(account, max(due_s, now_s + soonest_s))

    def failed(self, account: LiveAccount, retry_after_s: float | None, now_s: float) -> float:
        """Put it off after a failed try; the pause, seconds."""
        failures = self._failures.get(account.id, 0)
        self._failures[account.id] = failures + 1
        pause_s = max(RETRY_S[min(failures, len(RETRY_S) - 1)], retry_after_s or 0.0)
        self._put(account, now_s + pause_s)
        return pause_s

    def forget(self, account: LiveAccount) -> None:
        self._accounts.pop(account.id, None)
        self._failures.pop(account.id, None)

    def due(self, now_s: float) -> list[LiveAccount]:
        """Those that are due, which are not followed until they are put again."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            due_s, account_id = heapq.heappop(self._heap)
            entry = self._accounts.get(account_id)
            if entry and entry[0] == due_s:
                del self._accounts[account_id]
                found.append(entry[1])
        return found

    async def wait(self, now_s: float) -> None:
        """Until the next one is due, or the schedule changes."""
        pause_s = min(self._heap[0][0] - now_s, LONGEST_SLEEP_S) if self._heap else None
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), pause_s)

    def _put(self, account: LiveAccount, due_s: float) -> None:
        self._accounts[account.id] = due_s, account
        heapq.heappush(self._heap, (due_s, account.id))
        self._changed.set()

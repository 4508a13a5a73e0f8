"""Keeps logins fresh: when each is due, one refresh at a time, and the rotated token on disk before anyone uses it.

A refresh token may be good for one use only, and a second use may end the login for good. So a refresh is made once for
all tasks that want it, under a lock for other processes and one for other machines, after the file was read again, and
no client that goes away can stop it half-way. A refusal is kept in the file, where it ends all further tries until
someone logs in anew.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.schedule import SOONEST_S, Schedule, due_at_s
from cliproxy.accounts.store import LoginStore
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, OAuthFault
from cliproxy.oauth.token_endpoint import refresh_tokens
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.vendor import Place, Vendor
from cliproxy.tasks import Tasks

logger = logging.getLogger(__name__)

WORKERS = 16
OUR_FAULT = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"})
"""Refusals that speak of the registration and not of the login: another configuration may do."""


class Refresher:
    """Renews accounts: those that ask for it at once, the others when they are due."""

    def __init__(
        self,
        store: LoginStore,
        place_of: Callable[[Vendor], Place],
        http_for: Callable[[LiveAccount], httpx.AsyncClient],
        *,
        workers: int = WORKERS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """http_for: opens a client that goes through the account's own proxy. workers: how many at once on schedule.
        clock: UTC epoch seconds."""
        self._store = store
        self._place_of = place_of
        self._http_for = http_for
        self._clock = clock
        self._tasks = Tasks()
        self._running: dict[str, asyncio.Task[OAuthFault | None]] = {}
        """By what is done for which account."""
        self._schedule = Schedule()
        self._slots = asyncio.Semaphore(workers or WORKERS)
        self.outcomes = Counter[str]()
        """How often a vendor was asked for tokens and they were `renewed`, `refused` for good, or it `failed`."""

    # ------------------------------------------------------------ asked for

    async def renew(self, account: LiveAccount, *, forced: bool = False) -> None:
        """Have newer tokens on the account, from its file or from the vendor. All who ask share one refresh; a caller
        that is cancelled leaves it running.

        forced: though the present token looks good. Raises GrantRefused, EndpointTrouble.
        """
        await self._shared(f"renew {account.id}", lambda: self._renew(account, forced=forced))

    async def complete(self, account: LiveAccount) -> None:
        """Have what the vendor needs beside tokens. Raises GrantRefused, EndpointTrouble."""
        await self._shared(f"complete {account.id}", lambda: self._complete(account))

    async def _shared(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = self._tasks.start(_told(work()), name)
            task.add_done_callback(lambda _: self._running.pop(name, None))
        if fault := await asyncio.shield(task):
            raise fault

    async def _renew(self, account: LiveAccount, *, forced: bool) -> None:
        name, before = account.name, account.file
        async with self._store.locked(name) as is_everyones:
            file = await self._store.read(name)
            now_s = self._clock()
            account.file = file
            is_newer = file.access_token != before.access_token
            due_s = due_at_s(file, account.vendor)
            is_fresh = bool(account.token) and (due_s is None or due_s > now_s)
            if (is_newer or not forced) and is_fresh and not file.login_error:
                return
            if not account.is_renewable and not file.login_error:
                return
            if file.refresh_token and not is_everyones:
                raise EndpointTrouble("another gateway may renew it too, and what would keep it from that is away")
            account.file = await self._refreshed(account, file)
        self._schedule.put(account, self._clock(), soonest_s=SOONEST_S)
        logger.info("renewed the login of %s %s", account.vendor.name, account.label)

    async def _refreshed(self, account: LiveAccount, file: AuthFile) -> AuthFile:
        """New tokens, on disk."""
        name = account.name
        if file.login_error:
            raise GrantRefused(file.login_error)
        try:
            tokens = await self._ask(account, file)
        except EndpointTrouble:
            self.outcomes["failed"] += 1
            raise
        except GrantRefused as refused:
            self.outcomes["refused"] += 1
            newer = await self._store.read(name)
            if newer.refresh_token != file.refresh_token:
                # Someone who does not know our lock was faster: theirs is the good one.
                return newer
            who = f"{account.vendor.name} {account.label}"
            if refused.code in OUR_FAULT:
                logger.warning("%s: the login cannot be renewed: %s", who, refused)
            else:
                account.file = await self._store.keep(name, newer.with_login_error(refused.code, str(refused)))
                logger.warning("%s must log in again: %s", who, refused)
            raise
        self.outcomes["renewed"] += 1
        return await self._store.keep_tokens(name, file, tokens, self._clock())

    async def _ask(self, account: LiveAccount, file: AuthFile) -> Tokens:
        place = self._place_of(account.vendor)
        async with self._http_for(account) as http:
            if account.vendor.renew:
                return await account.vendor.renew(file.fields, place, http)
            assert place.registration
            return await refresh_tokens(place.registration, file.refresh_token, http)

    async def _complete(self, account: LiveAccount) -> None:
        vendor = account.vendor
        if account.fields.get(vendor.needs) or not vendor.discover:
            return
        async with self._http_for(account) as http:
            found = await vendor.discover(account.fields, self._place_of(vendor), http)
        async with self._store.locked(account.name):
            file = await self._store.read(account.name)
            account.file = await self._store.keep(account.name, file.with_fields(**found))

    # ------------------------------------------------------------ on schedule

    def follow(self, account: LiveAccount) -> None:
        """Renew the account when it is due, from now on."""
        self._schedule.put(account, self._clock())

    def forget(self, account: LiveAccount) -> None:
        self._schedule.forget(account)

    async def run(self) -> None:
        """Renew what is due, until cancelled."""
        while True:
            for account in self._schedule.due(self._clock()):
                self._tasks.start(self._on_schedule(account), f"refresh {account.id}")
            await self._schedule.wait(self._clock())

    async def _on_schedule(self, account: LiveAccount) -> None:
        async with self._slots:
            try:
                await self.renew(account)
            except GrantRefused:
                # Kept in its file, which says when there is a new login.
                return
            except EndpointTrouble as trouble:
                pause_s = self._schedule.failed(account, trouble.retry_after_s, self._clock())
                who = f"{account.vendor.name} {account.label}"
                logger.warning("%s: the login cannot be renewed, next try in %.0f s: %s", who, pause_s, trouble)
            else:
                self._schedule.put(account, self._clock(), soonest_s=SOONEST_S)

    async def close(self) -> None:
        """Let refreshes under way end: a rotated token that is not on disk would be lost."""
        await self._tasks.join()


async def _told(work: Coroutine[Any, Any, None]) -> OAuthFault | None:
    """A refresh's failure, for each who waits to raise: an exception that nobody waits for would be logged."""
    try:
        await work
    except OAuthFault as fault:
        return fault
    return None

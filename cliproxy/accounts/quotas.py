"""What accounts may still use, asked for now and then where a vendor answers that."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import httpx

from cliproxy.accounts.account import LiveAccount
from cliproxy.oauth.errors import OAuthFault
from cliproxy.providers.vendor import Place, Quota, Vendor
from cliproxy.wire.errors import GatewayError

logger = logging.getLogger(__name__)


class Others(Protocol):
    """The other gateways that use the same accounts. One of them all asks for quotas, the others are told."""

    async def leads(self) -> bool:
        """Whether this one asks."""
        ...

    def used(self, account: LiveAccount) -> None:
        """The account was used here."""
        ...

    def asked(self, account: LiveAccount) -> None:
        """The account has another quota."""
        ...


class Quotas:
    """Keeps each account's `quota` up to date."""

    def __init__(
        self,
        accounts: Iterable[LiveAccount],
        place_of: Callable[[Vendor], Place],
        http_for: Callable[[LiveAccount], httpx.AsyncClient],
        clock: Callable[[], float] = time.time,
        others: Others | None = None,
    ) -> None:
        """accounts: those of the moment, each time they are iterated. others: None where there are none."""
        self._accounts = accounts
        self._place_of = place_of
        self._http_for = http_for
        self._clock = clock
        self._others = others

    async def ask(self, account: LiveAccount) -> Quota | None:
        """Ask now, and keep the answer on the account; None: the vendor has no such query. Raises OAuthFault,
        GatewayError."""
        if account.vendor.quota is None:
            return None
        await account.ready()
        async with self._http_for(account) as http:
            account.quota = await account.vendor.quota(account.fields, self._place_of(account.vendor), http)
        account.quota_s = self._clock()
        if self._others:
            self._others.asked(account)
        return account.quota

    async def run(self, interval_s: float) -> None:
        """Ask for each account that was used since it was last asked for, until cancelled; 0: never."""
        while interval_s > 0:
            await asyncio.sleep(interval_s)
            leads = self._others is None or await self._others.leads()
            for account in self._accounts:
                if account.used_s <= account.quota_s or account.file.disabled:
                    continue
                if leads:
                    await self._try(account)
                elif self._others:
                    self._others.used(account)

    async def _try(self, account: LiveAccount) -> None:
        try:
            await self.ask(account)
        except (OAuthFault, GatewayError) as error:
            logger.info("%s %s: its quota is not known: %s", account.vendor.name, account.label, error)

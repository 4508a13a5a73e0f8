"""What accounts may still use, asked for now and then where a vendor answers that."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import httpx

from cliproxy.accounts.account import LiveAccount
from cliproxy.oauth.errors import OAuthFault
from cliproxy.providers.vendor import Place, Quota, Vendor
from cliproxy.wire.errors import GatewayError

logger = logging.getLogger(__name__)


class Quotas:
    """Keeps each account's `quota` up to date."""

    def __init__(
        self,
        accounts: Iterable[LiveAccount],
        place_of: Callable[[Vendor], Place],
        http_for: Callable[[LiveAccount], httpx.AsyncClient],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """accounts: those of the moment, each time they are iterated."""
        self._accounts = accounts
        self._place_of = place_of
        self._http_for = http_for
        self._clock = clock

    async def ask(self, account: LiveAccount) -> Quota | None:
        """Ask now, and keep the answer on the account; None: the vendor has no such query. Raises OAuthFault,
        GatewayError."""
        if account.vendor.quota is None:
            return None
        await account.ready()
        async with self._http_for(account) as http:
            account.quota = await account.vendor.quota(account.fields, self._place_of(account.vendor), http)
        account.quota_s = self._clock()
        return account.quota

    async def run(self, interval_s: float) -> None:
        """Ask for each account that was used since it was last asked for, until cancelled; 0: never."""
        while interval_s > 0:
            await asyncio.sleep(interval_s)
            for account in self._accounts:
                if account.used_s > account.quota_s and not account.file.disabled:
                    await self._try(account)

    async def _try(self, account: LiveAccount) -> None:
        try:
            await self.ask(account)
        except (OAuthFault, GatewayError) as error:
            logger.info("%s %s: its quota is not known: %s", account.vendor.name, account.label, error)

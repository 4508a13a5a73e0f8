"""Who is asked for quotas, and when: accounts that were used, by the gateway whose turn it is."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import httpx

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.place import place_of
from cliproxy.accounts.quotas import Quotas
from cliproxy.config.schema import Config
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Quota
from tests.accounts.keepers import NoKeeper


class Vendor:
    """Answers with another plan each time, or refuses."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.is_well = True
        self.row = replace(VENDORS["codex"], quota=self._quota)

    async def _quota(self, fields: Any, place: Any, http: Any) -> Quota:
        self.asked.put_nowait(fields["email"])
        if not self.is_well:
            raise EndpointTrouble("no")
        return Quota(plan=f"plan of {fields['email']}")

    def account(self, name: str) -> LiveAccount:
        file = AuthFile.of({"type": "codex", "email": name, "access_token": "test-access-1", "account_id": "test"})
        return LiveAccount(f"{name}.json", file, self.row, NoKeeper())


class Others:
    def __init__(self, *, leads: bool) -> None:
        self.is_leader = leads
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def leads(self) -> bool:
        return self.is_leader

    def used(self, account: LiveAccount) -> None:
        self.told.put_nowait(f"{account.label} used")

    def asked(self, account: LiveAccount) -> None:
        assert account.quota
        self.told.put_nowait(account.quota.plan)


def quotas(*accounts: LiveAccount, others: Others | None = None) -> Quotas:
    config = Config()
    return Quotas(accounts, lambda vendor: place_of(vendor, config), lambda account: httpx.AsyncClient(), others=others)


async def test_used_accounts_are_asked_for_once_until_they_are_used_again() -> None:
    vendor = Vendor()
    used, idle = vendor.account("used"), vendor.account("idle")
    used.used_s = 1.0
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(quotas(used, idle).run(0.001))
        assert await vendor.asked.get() == "used"
        # When it was asked for is noted when the answer is there: a use after that is a later one.
        used.used_s = time.time() + 60
        assert await vendor.asked.get() == "used"
        running.cancel()
    assert idle.quota is None


async def test_a_vendor_that_refuses_is_asked_again() -> None:
    vendor = Vendor()
    account = vendor.account("me")
    account.used_s, vendor.is_well = 1.0, False
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(quotas(account).run(0.001))
        await vendor.asked.get()
        vendor.is_well = True
        await vendor.asked.get()
        running.cancel()
    assert vendor.asked.empty()


async def test_one_gateway_asks_and_tells_the_others() -> None:
    vendor, leader, follower = Vendor(), Others(leads=True), Others(leads=False)
    here, there = vendor.account("me"), vendor.account("me")
    here.used_s = there.used_s = 1.0
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = [
            group.create_task(quotas(here, others=leader).run(0.001)),
            group.create_task(quotas(there, others=follower).run(0.001)),
        ]
        assert await leader.told.get() == "plan of me"
        assert await follower.told.get() == "me used"
        for task in running:
            task.cancel()
    assert vendor.asked.qsize() == 1
    assert there.quota is None

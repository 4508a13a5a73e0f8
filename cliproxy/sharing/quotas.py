"""Quotas for several gateways: the one that holds a lock of the database asks for them, for what any has used."""

from collections.abc import Iterable
from typing import Any

import msgspec

from cliproxy.accounts.account import LiveAccount
from cliproxy.postgres import lock_number
from cliproxy.providers.vendor import Quota
from cliproxy.sharing.board import Board, Id
from cliproxy.sharing.link import Away, Link

KEPT_S = 7 * 86400.0


class SharedQuotas:
    """See `cliproxy.accounts.quotas.Others`."""

    def __init__(self, link: Link, board: Board) -> None:
        self.accounts: Iterable[LiveAccount] = ()
        """Those of the moment, each time they are iterated."""
        self._link = link
        self._board = board
        board.follow("quota", self._hear_quota)
        board.follow("used", self._hear_used)

    async def leads(self) -> bool:
        """True for one gateway until it is gone; for none while the database is away."""
        try:
            async with self._link.speaking() as connection:
                number = lock_number(f"{self._link.database.schema}/quotas")
                # Whoever has it gets it again.
                found = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (number,))).fetchone()
                return bool(found and found[0])
        except Away:
            return False

    def used(self, account: LiveAccount) -> None:
        self._board.tell("used", (account.name,), account.used_s, account.used_s + KEPT_S)

    def asked(self, account: LiveAccount) -> None:
        content = {"quota": msgspec.to_builtins(account.quota), "at_s": account.quota_s}
        self._board.tell("quota", (account.name,), content, account.quota_s + KEPT_S)

    def _hear_used(self, id: Id, content: Any) -> None:
        if account := self._account(id):
            account.used_s = max(account.used_s, msgspec.convert(content, float))

    def _hear_quota(self, id: Id, content: Any) -> None:
        told = msgspec.convert(content, _Told)
        account = self._account(id)
        if account and account.quota_s < told.at_s:
            account.quota, account.quota_s = told.quota, told.at_s

    def _account(self, id: Id) -> LiveAccount | None:
        return next((account for account in self.accounts if (account.name,) == id), None)


class _Told(msgspec.Struct):
    quota: Quota
    at_s: float

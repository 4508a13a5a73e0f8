"""Stand-ins for where accounts are kept."""

from cliproxy.accounts.account import LiveAccount


class NoKeeper:
    """Has nothing newer."""

    async def renew(self, account: LiveAccount, *, forced: bool = False) -> None:
        return

    async def complete(self, account: LiveAccount) -> None:
        return

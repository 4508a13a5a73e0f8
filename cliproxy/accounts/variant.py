"""One way of several to call an account: its tokens, with some of its fields changed."""

from collections.abc import Mapping
from typing import Any

from cliproxy.accounts.account import LiveAccount


class Variant:
    """An `Account` beside the one that it stands on: quotas and troubles are its own."""

    def __init__(self, account: LiveAccount, number: int, changes: Mapping[str, Any]) -> None:
        """number: among the variants, from 1 on."""
        self.id = f"{account.id}/{number}"
        self._account = account
        self._changes = changes
        self._name = changes.get("project_id") or f"way {number + 1}"

    @property
    def label(self) -> str:
        return f"{self._account.label} ({self._name})"

    @property
    def token(self) -> str:
        return self._account.token

    @property
    def fields(self) -> Mapping[str, Any]:
        return {**self._account.fields, **self._changes}

    async def ready(self) -> None:
        await self._account.ready()

    async def renewed(self, refused: str) -> bool:
        return await self._account.renewed(refused)

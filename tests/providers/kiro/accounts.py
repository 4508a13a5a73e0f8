"""An account as the gateway sees it, without the files and tasks of a real one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cliproxy.credentials.record import Credential, OfferedModel
from tests.features.gateways import MODEL
from tests.providers.kiro.service import PROFILE, TOKEN

UPSTREAM_MODEL = "claude-sonnet-4.5"


@dataclass
class FakeAccount:
    """Shows `token`; when that is refused, `next_token` if there is one."""

    token: str = TOKEN
    next_token: str = ""
    fields: Mapping[str, Any] = field(default_factory=lambda: {"profile_arn": PROFILE})
    id: str = "kiro:test"
    label: str = "someone@example.com"
    refusals: int = 0

    async def ready(self) -> None:
        return

    async def renewed(self, refused: str) -> bool:
        self.refusals += 1
        self.token = self.next_token or self.token
        return self.token != refused


def credential(base_url: str, account: FakeAccount, upstream: str = UPSTREAM_MODEL) -> Credential:
    """It offers `MODEL`."""
    models = (OfferedModel(MODEL, upstream),)
    return Credential("kiro", ("anthropic",), base_url, models=models, dialect="kiro", account=account)

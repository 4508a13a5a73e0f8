"""A gateway as its user has it: a config, a home directory, and auth files that are read by the real accounts."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cliproxy.accounts.accounts import Accounts
from cliproxy.config import parse_config
from cliproxy.gateway import Gateway
from cliproxy.memory import Memory
from cliproxy.routing.registry import builtin_registry
from tests.auth_files import EXPIRED_S
from tests.features.gateways import MODEL
from tests.providers.accounts import plain_transport

NOW_S = EXPIRED_S - 3600.0
"""When it is for the accounts: the tokens of `tests.auth_files` are good."""


class Installation:
    """What a user has on a machine, until `gateway` starts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.memory = Memory()
        """For credentials that come and go while the gateway runs."""
        self._auth_dir = home / ".cli-proxy-api"
        self._config: dict[str, Any] = {
            "demo": False,
            "auth-dir": str(self._auth_dir),
            "proxy-url": "direct",
            "providers": {},
            "oauth-model-alias": {},
        }

    def keep(self, name: str, fields: Mapping[str, Any]) -> None:
        """Have an auth file."""
        self.write(f".cli-proxy-api/{name}", fields)

    def write(self, path: str, document: Mapping[str, Any]) -> None:
        """Have a JSON file below the home directory."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document), "utf-8")

    def point(self, provider: str, base_url: str, model: str, alias: str = MODEL) -> None:
        """Have a provider's accounts at an address, and one of its models under another name."""
        self._config["providers"][provider] = {"base-url": base_url}
        self._config["oauth-model-alias"][provider] = [{"name": model, "alias": alias}]

    def have(self, section: str, **entry: Any) -> None:
        """Have an entry in one of the config's lists. entry: with `_` for `-`."""
        self._config.setdefault(section, []).append({name.replace("_", "-"): value for name, value in entry.items()})

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        """The gateway over all of it."""
        config, registry = parse_config(json.dumps(self._config)).config, builtin_registry()
        accounts = Accounts(config, registry, clock=lambda: NOW_S)
        accounts.load()
        credentials = [*accounts.credentials(), *self.memory.members.credentials()]
        async with plain_transport() as transport:
            yield Gateway(config, transport, self.memory, registry, credentials)
            await accounts.close()

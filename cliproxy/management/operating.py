"""What whoever runs the gateway may see of it and do to it: all that the endpoints know of the rest."""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from cliproxy.accounts.accounts import Accounts
from cliproxy.config.loading import Loaded
from cliproxy.config.schema import Config
from cliproxy.exchange import Exchange
from cliproxy.inspection.known_secrets import secrets_in, secrets_of
from cliproxy.logs.logs import Logs
from cliproxy.management.activity import Activity
from cliproxy.management.authentication import Guard, hashed, is_hashed
from cliproxy.management.config_file import ConfigFile
from cliproxy.management.faults import ManagementFault
from cliproxy.management.feed import Feed
from cliproxy.management.metrics import Metrics
from cliproxy.management.recent_log import RecentLog
from cliproxy.management.usage_queue import UsageQueue
from cliproxy.memory import Memory
from cliproxy.oauth.login import LoginSessions
from cliproxy.routing.registry import Registry
from cliproxy.stores.replica import Replica
from cliproxy.usage.ledger import Ledger
from cliproxy.usage.rows import rows_of

_SECRET_KEY = ("remote-management", "secret-key")


@dataclass(frozen=True, slots=True)
class Running:
    """A configuration in force, with what was made of it. Another configuration makes another one."""

    config: Config
    warnings: Sequence[str]
    """What there is to know of the configuration."""
    registry: Registry
    accounts: Accounts
    ledger: Ledger | None
    """None: nothing is kept of what is used."""
    verify: ssl.SSLContext | bool = True
    """How upstreams' certificates are checked."""
    replica: Replica | None = None
    """Of the store that config and accounts are kept in; None: they are files of this machine alone."""


class Operator:
    """Lives as long as the program, on its event loop. The host keeps `running` up to date."""

    running: Running
    config_file: ConfigFile

    def __init__(
        self,
        memory: Memory,
        apply: Callable[[Loaded], None],
        changed: Callable[[], None],
        *,
        clock: Callable[[], float] = time.time,
        log_folder: Path | None = None,
    ) -> None:
        """apply: has the gateway go by another configuration. changed: there are other accounts now. clock: UTC epoch
        seconds. log_folder: where log files are; None: below `WRITABLE_PATH` or in the user's state directory."""
        self.memory = memory
        self._apply = apply
        self.config_trouble = ""
        """Why the file as it is now is not in force; empty: it is."""
        self.changed = changed
        self.clock = clock
        self.started_s = clock()
        self.mitmweb_url = ""
        """Where the flows can be looked at; empty: nowhere."""
        writable = os.environ.get("WRITABLE_PATH") or platformdirs.user_state_path("cliproxy")
        self.logs = Logs(log_folder or Path(writable) / "logs", self._secrets, clock)
        self.feed = Feed()
        self.log = RecentLog(self.feed)
        self.activity = Activity(clock)
        self.metrics = Metrics()
        self.guard = Guard(os.environ.get("MANAGEMENT_PASSWORD", ""))
        self.logins = LoginSessions(clock)
        self.usage_queue = UsageQueue(self.started_s)
        self.under_way: dict[str, Exchange] = {}
        """Calls of models that have begun and are not over, by their ids."""

    def run(self, config_path: Path, running: Running) -> None:
        """Another configuration is in force, of this file."""
        if not hasattr(self, "config_file") or self.config_file.path != config_path:
            self.config_file = ConfigFile(config_path, self._apply)
        self.running = running
        self.config_trouble = ""
        self.metrics.is_on = running.config.metrics.enabled
        self.logs.configure(running.config)
        if self.feed.wants("config"):
            data = {"version": self.config_file.version, "warnings": list(running.warnings)}
            self.feed.publish("config", "config", data)

    # ------------------------------------------------------------ told by the gateway

    def begun(self, exchange: Exchange) -> None:
        """A call of a model has begun."""
        self.under_way[exchange.id] = exchange
        if self.feed.wants("exchanges"):
            self.feed.publish("exchanges", "exchange-begun", begun_view(exchange))

    def settled(self, exchange: Exchange) -> None:
        """A call of a model is over."""
        self.under_way.pop(exchange.id, None)
        self.activity.note(exchange)
        self.logs.settled(exchange)
        if self.metrics.is_on:
            self.metrics.note(exchange)
        if self.feed.wants("exchanges"):
            row, _ = rows_of(exchange)
            self.feed.publish("exchanges", "exchange", row | {"dropped": list(exchange.dropped)})

    def _secrets(self) -> set[str]:
        """All that are known now."""
        running = self.running
        return secrets_of(running.config).union(*(secrets_in(account.fields) for account in running.accounts))

    # ------------------------------------------------------------ done by the operator

    async def look_at_accounts(self) -> None:
        """Use the auth dir as it is now, without waiting until its changes are noticed."""
        if await self.running.accounts.look():
            self.changed()

    async def hide_key(self) -> bool:
        """Put the hash of a management key that stands in the config file as plain text in its place; whether one did.

        Raises ManagementFault where the file cannot be changed.
        """
        key = self.running.config.remote_management.secret_key.get_secret_value()
        if not key or is_hashed(key):
            return False
        if not (secret := await asyncio.to_thread(hashed, key)):
            raise ManagementFault(422, "key too long", "a management key of more than 72 bytes cannot be hashed")
        await self.config_file.edit(lambda document: document.put(_SECRET_KEY, secret), applies=False)
        return True

    async def close(self) -> None:
        """The program ends."""
        self.log.detach()
        await asyncio.to_thread(self.logs.close)
        await self.logins.close()


def begun_view(exchange: Exchange) -> dict[str, Any]:
    """What is known of an exchange when it begins, called as in the ledger."""
    names = ("id", "started_s", "client_key", "operation", "stream")
    told = {name: getattr(exchange, name) for name in names}
    return told | {"client_format": exchange.format, "model_asked": exchange.model}

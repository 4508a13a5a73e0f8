"""The gateway's life: opened from a configuration, changed to another one while it runs, and closed.

What is under way goes on to its end with what it began with.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine, Set
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mitmproxy import ctx
from mitmproxy.utils import asyncio_utils

from addons.intercept import OPTION, Interceptor, proxy_of_modes
from addons.listener import Listener
from addons.management import Management
from cliproxy.accounts.accounts import Accounts
from cliproxy.config.difference import differences
from cliproxy.config.following import follow_config
from cliproxy.config.loading import ConfigFault, Loaded, load_config
from cliproxy.config.schema import Config
from cliproxy.credentials import cooldown_file
from cliproxy.credentials.cooldown import Cooldowns
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.record import Credential
from cliproxy.database import database_of
from cliproxy.exchange import Exchange
from cliproxy.gateway import Gateway
from cliproxy.inspection.known_secrets import secrets_in, secrets_of
from cliproxy.management.operating import Running
from cliproxy.memory import Memory
from cliproxy.routing.registry import Registry, registry_of
from cliproxy.sockets.opening import Sockets
from cliproxy.sockets.relay import Relay
from cliproxy.stores.choice import Chosen, chosen, placed
from cliproxy.stores.opening import make_alike
from cliproxy.stores.replica import Replica
from cliproxy.stores.store import StoreAway
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.usage.ledger import Ledger

if TYPE_CHECKING:
    from cliproxy.sharing.sharing import Sharing

logger = logging.getLogger(__name__)

HEEDED_OPTIONS = {
    OPTION,
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
}
"""mitmproxy's options that say how upstreams are called and clients intercepted."""


class Standing(NamedTuple):
    """What a gateway works with at a time."""

    config: Config
    registry: Registry
    credentials: list[Credential]
    cooldowns: Cooldowns


class GatewayLife:
    """One gateway through all of its configurations. `config` is None until there is one that can be used."""

    gateway: Gateway
    interceptor: Interceptor
    sockets: Sockets
    _registry: Registry
    _accounts: Accounts
    _transport: HttpTransport

    def __init__(self, exchanges: Set["asyncio.Task[None]"]) -> None:
        """exchanges: those under way now."""
        self._exchanges = exchanges
        self.config: Config | None = None
        self.ledger: Ledger | None = None
        self._memory = Memory()
        self.management = Management(self._memory, self.apply, self._make_gateway)
        self._listener = Listener()
        self._chosen = chosen()
        self._replica = Replica(*self._chosen) if self._chosen else None
        self._replicating: asyncio.Task[None] | None = None
        """Keeps the store and its copy here alike."""
        self._sharing = _sharing_of(self._memory)
        self._taking_part: asyncio.Task[None] | None = None
        """In what gateways share."""
        self._path: Path | None = None
        """Of the config file."""
        self._following: asyncio.Task[None] | None = None
        """Follows it."""
        self._warnings: list[str] = []
        self._accounting: asyncio.Task[None] | None = None
        """Follows the logins and keeps them fresh."""
        self._saving: asyncio.Task[None] | None = None
        """Saves the cooldowns."""
        self._closing: set[asyncio.Task[None]] = set()
        """Those that close the transports of configurations before."""

    # ------------------------------------------------------------ configurations

    def read(self, path: Path) -> None:
        """Go on with what a config file says, and follow it. Raises ConfigFault, and then goes on as before.

        Where the environment names a store, its config is used, for which this one is at most the seed.
        """
        if self._chosen:
            path = self._begin_replica(self._chosen, path)
        try:
            loaded = load_config(path)
            before, self._path = self._path, path
            try:
                self.apply(loaded)
            except ConfigFault:
                self._path = before
                raise
        except ConfigFault as fault:
            self.management.refused(str(fault))
            raise
        if before != path:
            if self._following:
                self._following.cancel()
            self._following = _start(self._follow(path), "follow the config")

    def _begin_replica(self, chosen: Chosen, seed: Path) -> Path:
        if not self._replicating:
            assert self._replica
            try:
                trouble = make_alike(chosen, seed)
            except (StoreAway, OSError) as away:
                raise ConfigFault(
                    [f"the store cannot be used, and there is no copy of its config here: {away}"]
                ) from None
            if trouble:
                logger.warning("The store is away; the gateway begins with %s: %s", chosen.here.folder, trouble)
            self._replicating = _start(self._replica.run(), "follow the store")
            if self._sharing:
                self._taking_part = _start(self._sharing.run(), "share with other gateways")
        return chosen.here.config_path

    async def _follow(self, path: Path) -> None:
        async with aclosing(follow_config(path)) as told:
            async for found in told:
                try:
                    self._take(found)
                except ConfigFault as fault:
                    logger.error("%s was changed, but what it said before stays in force: %s", path, fault)
                    self.management.refused(str(fault))
                except Exception:
                    # Our own fault, which must not be the end of following.
                    logger.exception("%s was changed, and the gateway failed on that", path)

    def _take(self, found: Loaded | ConfigFault) -> None:
        if isinstance(found, ConfigFault):
            raise found
        if self._placed(found.config) != self.config:
            self.apply(found)
        else:
            self.management.refused("")

    def apply(self, loaded: Loaded) -> None:
        """Go on with another configuration. Raises ConfigFault, and then goes on as before."""
        config = self._placed(loaded.config)
        interceptor = Interceptor(config, ctx.options.cliproxy_intercept or None)
        interceptor.prepare()
        self._tell(loaded)
        is_first, self.config, self.interceptor = self.config is None, config, interceptor
        if not is_first:
            closing = _start(_close_after(self._exchanges, self._transport), "close old upstream connections")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        tls = _upstream_tls()
        self._transport = _transport(config, tls)
        self._follow_accounts(config, tls, None if is_first else self._accounts)
        self._open_ledger(config)
        self._make_gateway()
        self._memory.members.changed = self._make_gateway
        relay = Relay(config, self._registry, self._memory.members, self._transport.limits)
        self.sockets = Sockets(config, self._memory.sockets, relay)
        self._save_cooldowns(config)
        running = Running(config, loaded.warnings, self._registry, self._accounts, self.ledger, tls, self._replica)
        assert self._path
        self.management.run(self._path, running)
        self._listener.listen(config)

    def _tell(self, loaded: Loaded) -> None:
        for warning in loaded.warnings:
            if warning not in self._warnings:
                logger.warning(warning)
        self._warnings = loaded.warnings
        for difference in differences(self.config, self._placed(loaded.config)) if self.config else ():
            logger.info("config: %s", difference)

    def _placed(self, config: Config) -> Config:
        return placed(config, self._chosen) if self._chosen else config

    # ------------------------------------------------------------ what is made of one

    def _follow_accounts(self, config: Config, tls: ssl.SSLContext, before: Accounts | None) -> None:
        """Read the logins of the auth dir, and notice what becomes of them."""
        self._leave_accounts()
        self._registry = registry_of(config.models_file)
        self._accounts = Accounts(
            config,
            self._registry,
            verify=tls,
            revived=self._memory.pool.cooldowns.forgive,
            elsewhere=self._locked_elsewhere if self._replica else None,
            others=self._sharing.quotas if self._sharing else None,
        )
        if self._sharing:
            self._sharing.quotas.accounts = self._accounts
        self._accounts.load()
        if before:
            self._accounts.resume(before)
        self._accounting = _start(self._accounts.keep(self._make_gateway), "follow the logins")

    @asynccontextmanager
    async def _locked_elsewhere(self, name: str) -> AsyncIterator[bool]:
        """Keeps other machines from an auth file; whether its login may be renewed here."""
        assert self._replica
        async with self._replica.locked_login(name) as is_had:
            # While the database is away, a refresh token is spent by nobody who is not alone.
            yield is_had or self._sharing is None or self._sharing.presence.is_alone

    def _leave_accounts(self) -> "asyncio.Task[None] | None":
        """Refreshes under way go on to their end."""
        if not self._accounting:
            return None
        self._accounting.cancel()
        return _start(self._accounts.close(), "end the refreshes")

    def _open_ledger(self, config: Config) -> None:
        """Keep the table of what was used where the config wants it, and know what was spent before."""
        wanted = config.usage if config.usage_statistics_enabled else None
        if self.ledger and (wanted is None or self.ledger.settings != wanted):
            self.ledger.close()
            self.ledger = None
        if wanted and not self.ledger:
            self.ledger = Ledger(wanted)
        if self.ledger:
            self._memory.limits.resume(config.api_keys, self.ledger.spent_usd)

    def _save_cooldowns(self, config: Config) -> None:
        """Save cooldowns while it runs, if the config wants that, and read those of the run before."""
        if self._saving:
            self._saving.cancel()
            self._saving = None
        # Where gateways share them, a file would know less.
        if config.save_cooldown_status and not self._sharing:
            path = Path(config.auth_dir).expanduser() / cooldown_file.FILE_NAME
            self._saving = _start(self._memory.keep_cooldowns(path), "save cooldowns")

    def _make_gateway(self) -> None:
        """The gateway of the config and the logins as they are now."""
        assert self.config
        accounts = [*self._accounts.credentials(), *self._memory.members.credentials()]
        self.gateway = Gateway(
            self.config, self._transport, self._memory, self._registry, accounts, self._book, self._announce
        )

    def _book(self, exchange: Exchange) -> None:
        if self.ledger:
            self.ledger.book(exchange)
        self.management.operator.settled(exchange)

    def _announce(self, exchange: Exchange) -> None:
        self.management.operator.begun(exchange)

    # ------------------------------------------------------------ what it knows

    @property
    def standing(self) -> "Standing | None":
        """What it works with now; None: nothing yet, for want of a config that can be read."""
        if self.config is None:
            return None
        accounts = [*self._accounts.credentials(), *self._memory.members.credentials()]
        credentials = [*accounts, *credentials_of(self.config)]
        return Standing(self.config, self._registry, credentials, self._memory.pool.cooldowns)

    def secrets(self) -> set[str]:
        """All that it knows now."""
        if self.config is None:
            return set()
        return secrets_of(self.config).union(*(secrets_in(account.fields) for account in self._accounts))

    # ------------------------------------------------------------ the end

    def close(self) -> "asyncio.Task[None] | None":
        """Begin the end; whoever has to see it may await it. Exchanges under way go on to theirs."""
        # Others are told of the end while this one still takes part, unless it never served.
        for task in (self._following, self._saving, self._replicating, None if self.config else self._taking_part):
            if task:
                task.cancel()
        return _start(self._ended(self._leave_accounts()), "end the gateway") if self.config else None

    async def _ended(self, refreshes: "asyncio.Task[None] | None") -> None:
        await self.management.leave()
        if refreshes:
            await refreshes
        while waiting := self._exchanges | self._closing:
            # Others may begin meanwhile over connections that are open.
            await asyncio.wait(waiting)
        await self._transport.close()
        await self.management.close()
        if self._sharing:
            await self._sharing.leave()
        if self._taking_part:
            self._taking_part.cancel()
        if self._replica:
            await self._replica.close()
        if self.ledger:
            await asyncio.to_thread(self.ledger.close)


def _start(work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    return asyncio_utils.create_task(work, name=name, keep_ref=True)


def _sharing_of(memory: Memory) -> "Sharing | None":
    """This gateway's part in what those on one database share; None: it is alone."""
    database = database_of()
    if database is None:
        return None
    from cliproxy.sharing.sharing import Sharing

    return Sharing(database, memory.pool, memory.limits)


def _transport(config: Config, tls: ssl.SSLContext) -> HttpTransport:
    limits = config.timeouts
    return HttpTransport(
        tls,
        TimeLimits(limits.connect_seconds or None, limits.first_byte_seconds or None, limits.idle_seconds or None),
        config.proxy_url or proxy_of_modes(),
    )


async def _close_after(exchanges: Set["asyncio.Task[None]"], transport: HttpTransport) -> None:
    """Close a transport when the exchanges of now, which may use it, are over."""
    if exchanges:
        await asyncio.wait(set(exchanges))
    await transport.close()


def _upstream_tls() -> ssl.SSLContext:
    """How upstream certificates are checked: as mitmproxy's own options say."""
    context = ssl.create_default_context(
        cafile=ctx.options.ssl_verify_upstream_trusted_ca,
        capath=ctx.options.ssl_verify_upstream_trusted_confdir,
    )
    if ctx.options.ssl_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

"""All logins of the auth dir, alive: read at the start, followed while files come, change and go, and kept fresh."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

import httpx

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.credential import credentials_of
from cliproxy.accounts.place import place_of
from cliproxy.accounts.quotas import Others, Quotas
from cliproxy.accounts.refresh import Refresher
from cliproxy.accounts.store import Lock, LoginStore
from cliproxy.config.schema import Config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.linked import linked_path
from cliproxy.credentials.record import Credential
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.providers import VENDORS
from cliproxy.providers.vendor import Place, Quota, Vendor
from cliproxy.routing.registry import Registry
from cliproxy.watching import wakes

logger = logging.getLogger(__name__)


class Accounts:
    """The accounts of one configuration. Lives on one event loop; `load` and `credentials` need none."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        verify: ssl.SSLContext | bool = True,
        revived: Callable[[str], None] = lambda credential_id: None,
        elsewhere: Lock | None = None,
        others: Others | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """verify: how certificates are checked. revived: told the id of a credential whose login is good again.
        elsewhere: keeps other machines from an auth file. others: the gateways that have the same accounts."""
        self._config = config
        self._registry = registry
        self._verify = verify
        self._revived = revived
        self._clock = clock
        self._auth_dir = AuthDir(Path(config.auth_dir).expanduser())
        self._store = LoginStore(self._auth_dir, Path.home(), elsewhere)
        self._live: dict[str, LiveAccount] = {}
        """By file name."""
        self._warned: dict[str, str] = {}
        self.refresher = Refresher(
            self._store, self.place_of, self.http_for, workers=config.auth_auto_refresh_workers, clock=clock
        )
        self._quotas = Quotas(self, self.place_of, self.http_for, clock, others)

    # ------------------------------------------------------------ what there is

    def __iter__(self) -> Iterator[LiveAccount]:
        return iter(list(self._live.values()))

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why files cannot be used, by their names."""
        return self._warned

    def credentials(self) -> list[Credential]:
        """Those of all accounts that are not disabled, in the order of their files' names."""
        return [
            credential
            for _, account in sorted(self._live.items())
            if not account.file.disabled
            for credential in self._credentials_of(account)
        ]

    def _credentials_of(self, account: LiveAccount) -> Iterator[Credential]:
        return credentials_of(account, self.place_of(account.vendor), self._config, self._registry)

    def place_of(self, vendor: Vendor) -> Place:
        return place_of(vendor, self._config)

    def http_for(self, account: LiveAccount) -> httpx.AsyncClient:
        """A client for a few calls about an account: through its own proxy, else the config's."""
        return http_client(account.file.proxy_url or self._config.proxy_url, verify=self._verify)

    # ------------------------------------------------------------ following the files

    def load(self) -> None:
        """Read the auth dir."""
        for name, file in self._auth_dir.scan().items():
            self._take(name, file)

    def resume(self, before: "Accounts") -> None:
        """Take over what was learnt under the configuration before."""
        for account in self:
            if known := before._live.get(account.name):
                account.quota, account.quota_s, account.used_s = known.quota, known.quota_s, known.used_s
        self.refresher.outcomes.update(before.refresher.outcomes)

    async def look(self) -> bool:
        """Follow at once what happened to the files; whether there are other credentials now."""
        changes = await asyncio.to_thread(self._auth_dir.changed)
        before = self.credentials()
        self._follow(changes)
        return self.credentials() != before

    def _follow(self, changes: Mapping[str, AuthFile | AuthFileFault | None]) -> None:
        for name, file in changes.items():
            if file is not None:
                self._take(name, file)
                continue
            self._warned.pop(name, None)
            if account := self._live.pop(name, None):
                self.refresher.forget(account)

    def _take(self, name: str, file: AuthFile | AuthFileFault) -> None:
        """A file that cannot be used leaves its account as it was."""
        if isinstance(file, AuthFileFault):
            self._warn(name, str(file))
            return
        vendor = VENDORS.get(file.type)
        if vendor is None:
            self._warn(name, f"no provider is called {file.type!r}")
            return
        try:
            file = self._store.resolved(file)
        except AuthFileFault as fault:
            # Its tool may be there later.
            self._warn(name, str(fault))
            if name in self._live:
                return
        else:
            self._warned.pop(name, None)
        account = self._live.get(name)
        if twin := self._twin(name, file):
            self._warn(name, f"it has the same refresh token as {twin.name}, which both would renew: it is left out")
            return
        if account is None or account.vendor is not vendor:
            account = self._live[name] = LiveAccount(name, file, vendor, self.refresher, clock=self._clock)
        else:
            before, account.file = account.file, file
            if account.token and (before.login_error or before.access_token != file.access_token):
                for credential in self._credentials_of(account):
                    self._revived(credential.id)
        self.refresher.follow(account)

    def _twin(self, name: str, file: AuthFile) -> LiveAccount | None:
        """Another account with the same login."""
        if not file.refresh_token:
            return None
        others = (account for account in self._live.values() if account.name != name)
        return next((other for other in others if other.file.refresh_token == file.refresh_token), None)

    def _warn(self, name: str, what: str) -> None:
        if self._warned.get(name) != what:
            self._warned[name] = what
            logger.warning("%s: %s", self._auth_dir.path / name, what)

    async def ask_quota(self, account: LiveAccount) -> Quota | None:
        """See `Quotas.ask`."""
        return await self._quotas.ask(account)

    async def keep(self, changed: Callable[[], None]) -> None:
        """Follow the files and keep the logins fresh, until cancelled. changed: there are other credentials now."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.refresher.run())
            group.create_task(self._quotas.run(self._config.quota_refresh_interval))
            links, following = self._links(), group.create_task(self._follow_links(changed))
            known = self.credentials()
            async for changes in self._auth_dir.changes():
                self._follow(changes)
                if (now := self.credentials()) != known:
                    known = now
                    changed()
                if self._links() != links:
                    following.cancel()
                    links, following = self._links(), group.create_task(self._follow_links(changed))
                logger.info("%s: %s changed, %d credentials now", self._auth_dir.path, ", ".join(changes), len(now))

    def _links(self) -> frozenset[Path]:
        """The files of vendors' tools that there are links to, and may not be there yet."""
        return frozenset(linked_path(account.file, Path.home()) for account in self if account.file.linked)

    async def _follow_links(self, changed: Callable[[], None]) -> None:
        """Notice what the tools do to the logins that are linked to now."""
        links = self._links()
        if not links:
            return
        names = {path.name for path in links}
        async with aclosing(wakes(*{path.parent for path in links}, concerns=names.__contains__)) as woken:
            async for _ in woken:
                before = self.credentials()
                for account in self:
                    is_outdated = account.file.linked and await asyncio.to_thread(self._is_outdated, account)
                    if is_outdated and self._live.get(account.name) is account:
                        self._take(account.name, AuthFile.of(account.file.document))
                        logger.info("%s: the login that it links to has changed", self._auth_dir.path / account.name)
                if self.credentials() != before:
                    changed()

    def _is_outdated(self, account: LiveAccount) -> bool:
        """Whether the tool has another login now; one that it is writing is waited for."""
        with contextlib.suppress(AuthFileFault):
            return self._store.resolved(AuthFile.of(account.file.document)) != account.file
        return False

    async def close(self) -> None:
        """Let refreshes under way end."""
        await self.refresher.close()

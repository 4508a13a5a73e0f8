"""A vendor's account in front of a mock of its upstream: the gateway in between is the real one."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from cliproxy.credentials.record import Credential, OfferedModel
from cliproxy.gateway import Gateway
from cliproxy.providers import VENDORS
from tests.answers import Answer
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients
from tests.providers.accounts import TOKEN, Login, config_of, plain_transport
from tests.upstream import Received, Upstream

NEXT_TOKEN = "test-access-2"
TOKENS = frozenset({TOKEN, NEXT_TOKEN})


class VendorSite:
    """`async with VendorSite("codex", judge) as site:` has one account of a vendor, and its upstream on a real socket.

    judge: answers a request that the vendor would refuse. path: of the vendor's API below the mock's address.
    """

    upstream: Upstream

    def __init__(
        self,
        vendor: str,
        judge: Callable[[Received], Answer | None],
        path: str = "",
        login: Login | None = None,
        **fields: Any,
    ) -> None:
        """login: in place of one with the auth file's `fields`."""
        self.vendor = VENDORS[vendor]
        self.login = login or Login(TOKEN, fields)
        self._judge = judge
        self._path = path
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._transport = await self._running.enter_async_context(plain_transport())
        self.upstream = await self._running.enter_async_context(Upstream(judge=self._judge))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @property
    def base_url(self) -> str:
        return f"{self.upstream.url}{self._path}"

    def credential(self, **fields: Any) -> Credential:
        """The account's. fields: in place of its own."""
        defaults: dict[str, Any] = {
            "models": (OfferedModel(MODEL, UPSTREAM_MODEL),),
            "dialect": self.vendor.name,
            "account": self.login,
        }
        return Credential(self.vendor.name, self.vendor.formats, self.base_url, **{**defaults, **fields})

    def gateway(self, *credentials: Credential, **options: Any) -> Gateway:
        """Over the account, or over the given credentials. options: as of `config_of`."""
        return Gateway(config_of(**options), self._transport, accounts=credentials or (self.credential(),))

    def clients(self, gateway: Gateway | None = None) -> Clients:
        clients = Clients(gateway or self.gateway(), "sk-test-client")
        self._running.push_async_callback(clients.http.aclose)
        return clients

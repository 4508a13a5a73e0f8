"""One login while the gateway runs: the token to show upstream, renewed before it is needed and when it is refused."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from cliproxy.credentials.auth_file import AuthFile
from cliproxy.credentials.linked import tool_of
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused
from cliproxy.providers.vendor import Quota, Vendor
from cliproxy.wire.errors import UpstreamRefused, UpstreamUnreachable

MARGIN_S = 20.0
"""A token that expires sooner is renewed before a request is sent with it."""
FORCED_EVERY_S = 30.0
"""A refused token is renewed at most so often: an upstream that refuses every token must not cause a storm."""
LINK_CHECKED_EVERY_S = 1.0
"""How often the vendor's own file is looked at for a newer login, while it is used."""


class Keeper(Protocol):
    """Where an account is kept."""

    async def renew(self, account: "LiveAccount", *, forced: bool = False) -> None:
        """Have newer tokens on the account, from its file or from the vendor; forced: though the present one looks
        good. Raises GrantRefused, EndpointTrouble."""
        ...

    async def complete(self, account: "LiveAccount") -> None:
        """Find out what the account lacks for its first call. Raises EndpointTrouble, GrantRefused."""
        ...


class LiveAccount:
    """An auth file's account. `file` is replaced whenever the file or the tokens change."""

    def __init__(
        self,
        name: str,
        file: AuthFile,
        vendor: Vendor,
        keeper: Keeper,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """name: of its file in the auth dir."""
        self.name = name
        self.id = f"{vendor.name}:{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        self.vendor = vendor
        self.file = file
        self.quota: Quota | None = None
        """As last asked for."""
        self.quota_s = 0.0
        """When that was; UTC epoch seconds."""
        self.used_s = 0.0
        """When it was last used; UTC epoch seconds."""
        self._keeper = keeper
        self._clock = clock
        self._forced_s = 0.0
        self._looked_s = 0.0

    @property
    def file(self) -> AuthFile:
        return self._file

    @file.setter
    def file(self, file: AuthFile) -> None:
        self._file = file
        # Asked for with each request, and read from text.
        self._token = str(file.fields.get("api_key") or file.fields.get(self.vendor.token_field) or "")
        # A key for good; one beside a refresh token is part of a login.
        self._is_key = bool(file.fields.get("api_key")) and not file.refresh_token
        self._expires_at_s = None if self._is_key else file.expires_at_s
        self._login_error = file.login_error

    @property
    def label(self) -> str:
        return self.file.email or self.name.removesuffix(".json")

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.file.fields

    @property
    def token(self) -> str:
        return self._token

    @property
    def is_renewable(self) -> bool:
        """Whether new tokens can be had without the user."""
        if self._login_error or self._is_key:
            return False
        if self._file.linked and not tool_of(self._file).shared_cache:
            # It is its tool's to renew.
            return False
        return bool(self.vendor.renew or (self.file.refresh_token and self.vendor.registration))

    async def ready(self) -> None:
        self.used_s = now_s = self._clock()
        if self._expires_within(MARGIN_S, now_s) or not self.token or self._must_look(now_s):
            await self._raising(self._keeper.renew(self))
            # One that was just renewed may end within the second: then the upstream says so.
            if not self.token or (self._expires_within(0.0, self._clock()) and not self.is_renewable):
                raise self._lapsed()
        elif self._login_error and self._expires_at_s is None:
            raise self._lapsed()
        needed = self.vendor.needs
        if needed and not self.fields.get(needed):
            await self._completed()

    async def renewed(self, refused: str) -> bool:
        if self.token == refused:
            now_s = self._clock()
            is_over = self._expires_within(0.0, now_s)
            if not is_over and now_s - self._forced_s < FORCED_EVERY_S:
                return False
            if not is_over:
                self._forced_s = now_s
            try:
                await self._keeper.renew(self, forced=not is_over)
            except (GrantRefused, EndpointTrouble):
                # The refusal that led here says what the client must know.
                return False
        return self.token != refused

    def _expires_within(self, seconds: float, now_s: float) -> bool:
        return self._expires_at_s is not None and self._expires_at_s - now_s <= seconds

    def _must_look(self, now_s: float) -> bool:
        """A vendor's own tool may have renewed its login."""
        if not self._file.linked or now_s - self._looked_s < LINK_CHECKED_EVERY_S:
            return False
        self._looked_s = now_s
        return True

    async def _raising(self, work: Awaitable[None]) -> None:
        """Have refresh troubles told as an upstream's, so that the pool judges them."""
        try:
            await work
        except GrantRefused as refused:
            if self.token and not self._expires_within(0.0, self._clock()):
                return
            raise self._lapsed(f": {refused}") from None
        except EndpointTrouble as trouble:
            if self.token and not self._expires_within(0.0, self._clock()):
                return
            raise UpstreamUnreachable(f"the token cannot be renewed now: {trouble}") from None

    async def _completed(self) -> None:
        try:
            await self._keeper.complete(self)
        except GrantRefused as refused:
            raise UpstreamRefused(str(refused), status=403, code="account_incomplete") from None
        except EndpointTrouble as trouble:
            raise UpstreamUnreachable(f"the account cannot be completed now: {trouble}") from None

    def _lapsed(self, why: str = "") -> UpstreamRefused:
        """The user must act. `invalid_grant` has the pool rest the account."""
        name = self.vendor.name
        if self._file.linked:
            message = f"the linked login has expired: open {self.vendor.title} once"
        elif self.is_renewable:
            message = f"the token has expired and was not renewed{why}"
        else:
            reason = f" ({self._login_error})" if self._login_error else ""
            message = f"the login has lapsed{reason}: run `cliproxy login {name}`"
        return UpstreamRefused(message, status=401, code="invalid_grant")

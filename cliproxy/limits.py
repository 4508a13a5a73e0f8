"""What each client key may use: models, providers, requests and tokens a minute, dollars a month.

State is kept by a hash of the key, so it survives a reload of the config. A restart forgets the last minute; what was
spent this month is then taken over from the ledger. Keys without limits have none. Several gateways may have one
account of keys in common (`Common`).
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from cliproxy.config.schema import ClientKey
from cliproxy.secrets import mask
from cliproxy.usage.prices import cost_usd
from cliproxy.wildcard import matches
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.model import Usage

logger = logging.getLogger(__name__)

WINDOW_S = 60
MAX_WARNED = 1000

Price = Callable[[str, str, Usage], float | None]
"""Provider, upstream model and usage to US dollars; None where no price is known."""


class Use(NamedTuple):
    """What a key has used in a second."""

    requests: int = 0
    tokens: int = 0


class Common(Protocol):
    """The account that several gateways have in common."""

    async def admit(self, key: ClientKey) -> None:
        """As `KeyLimits.check`, for all of them."""
        ...

    def used(self, key: ClientKey, tokens: int, cost_usd: float) -> None:
        """A request used that, here."""
        ...

    async def refresh(self, keys: Iterable[ClientKey]) -> None:
        """Have what all of them know taken over (`KeyLimits.take`)."""
        ...


class KeyLimits:
    """The limits of all client keys. Lives longer than a configuration."""

    def __init__(self, clock: Callable[[], float] = time.time, price: Price = cost_usd) -> None:
        """clock: UTC epoch seconds."""
        self.common: Common | None = None
        """None: this gateway is alone."""
        self._clock = clock
        self._price = price
        self._accounts: dict[bytes, _Account] = {}
        self._resumed: set[bytes] = set()
        """Keys of which it is known what they spent before; others have no budget yet."""
        self._warned: set[tuple[str, str]] = set()

    async def admit(self, key: ClientKey) -> None:
        """Admit a request, and count it with those of other gateways. Raises GatewayError (429) as `check` does."""
        if not is_limited(key):
            return
        if self.common:
            await self.common.admit(key)
        else:
            self.check(key)

    async def refresh(self, keys: Iterable[ClientKey]) -> None:
        """Know what keys have used at other gateways too."""
        if self.common:
            await self.common.refresh(keys)

    def check(self, key: ClientKey) -> None:
        """Admit a request and count it here. Raises GatewayError (429) where a limit of the key is used up.

        Tokens and dollars are known only after an exchange, so exchanges that run at once may together go beyond
        those limits; requests never do.
        """
        if not is_limited(key):
            return
        now = self._clock()
        account = self._account(key)
        if key.budget_usd and account.spent_usd(now) >= key.budget_usd:
            renewal = _next_month(now)
            raise GatewayError(
                f"the API key {_name(key)} has spent its ${key.budget_usd:g} of this month; "
                f"its budget is renewed on {renewal:%Y-%m-%d} (UTC)",
                status=429,
                code="insufficient_quota",
            )
        if key.rpm and (wait_s := account.requests.wait_s(now, key.rpm)):
            raise _too_fast(f"the API key {_name(key)} has sent its {key.rpm} requests of this minute", wait_s)
        if key.tpm and (wait_s := account.tokens.wait_s(now, key.tpm)):
            raise _too_fast(f"the API key {_name(key)} has used its {key.tpm} tokens of this minute", wait_s)
        account.requests.add(now, 1)

    def resume(self, keys: Iterable[ClientKey], spent_usd: Callable[[str, float], float]) -> None:
        """Take over what keys with a budget spent before the start.

        spent_usd: what the key of a name has cost since a moment, UTC epoch seconds; may block.
        """
        now = self._clock()
        today = datetime.fromtimestamp(now, UTC)
        month_began_s = datetime(today.year, today.month, 1, tzinfo=UTC).timestamp()
        for key in keys:
            if key.budget_usd and digest_of(key) not in self._resumed:
                self._resumed.add(digest_of(key))
                self._account(key).spend(now, spent_usd(_name(key), month_began_s))

    def spent_usd(self, key: ClientKey) -> float:
        """What a key with a budget has spent this month."""
        return self._account(key).spent_usd(self._clock())

    def allows_model(self, key: ClientKey, model: str) -> bool:
        """Whether the key may use a model, by the client's name for it."""
        return not key.models or any(matches(pattern, model) for pattern in key.models)

    def allows_provider(self, key: ClientKey, provider: str) -> bool:
        """Whether the key may use a provider."""
        return not key.providers or any(matches(pattern, provider) for pattern in key.providers)

    def book(self, key: ClientKey, usage: Usage, provider: str, model: str) -> None:
        """Count what an upstream used for a request. model: as the upstream calls it."""
        if not (key.tpm or key.budget_usd):
            return
        now = self._clock()
        account = self._account(key)
        tokens, cost = _tokens(usage), 0.0
        account.tokens.add(now, tokens)
        if key.budget_usd:
            price = self._price(provider, model, usage)
            if price is None:
                self._warn_unpriced(provider, model)
            cost = max(0.0, price or 0.0)
            account.spend(now, cost)
        if self.common:
            self.common.used(key, tokens, cost)

    def take(self, key: ClientKey, seconds: Mapping[int, Use], spent_usd: float) -> None:
        """Take over what all gateways together have let the key use. seconds: of the last minute, UTC epoch."""
        account, now = self._account(key), self._clock()
        account.requests.fill(now, {second: use.requests for second, use in seconds.items()})
        account.tokens.fill(now, {second: use.tokens for second, use in seconds.items()})
        account.spend(now, spent_usd - account.spent_usd(now))

    def _account(self, key: ClientKey) -> "_Account":
        digest = digest_of(key)
        account = self._accounts.get(digest)
        if account is None:
            account = self._accounts[digest] = _Account()
        return account

    def _warn_unpriced(self, provider: str, model: str) -> None:
        if (provider, model) not in self._warned and len(self._warned) < MAX_WARNED:
            self._warned.add((provider, model))
            logger.warning("no list price is known for %s/%s: it does not count towards budgets", provider, model)


class SlidingWindow:
    """The sum of what was added in the last minute, by slots of a second. Its size never changes."""

    _SLOTS = WINDOW_S + 1
    """One more than seconds: the oldest slot may hold something that is not yet a minute old."""

    def __init__(self) -> None:
        self._slots = [0] * self._SLOTS
        self._second = 0
        self._total = 0

    def add(self, now_s: float, amount: int) -> None:
        """now_s: any clock's seconds. Where the clock goes back a little, it is taken to stand still."""
        self._advance(now_s)
        self._slots[self._second % self._SLOTS] += amount
        self._total += amount

    def fill(self, now_s: float, amounts: Mapping[int, int]) -> None:
        """Have these amounts by the second instead; what is after now, by someone else's clock, counts as of now."""
        self._advance(now_s)
        self._slots = [0] * self._SLOTS
        self._total = 0
        for second, amount in amounts.items():
            if second > self._second - self._SLOTS:
                self._slots[min(second, self._second) % self._SLOTS] += amount
                self._total += amount

    def wait_s(self, now_s: float, limit: int) -> float:
        """Seconds until the sum is below `limit` (1 or more) if nothing is added; 0: it is."""
        self._advance(now_s)
        wait_s, left, second = 0.0, self._total, self._second - self._SLOTS
        while left >= limit:
            second += 1
            left -= self._slots[second % self._SLOTS]
            wait_s = second + self._SLOTS - now_s
        return wait_s

    def _advance(self, now_s: float) -> None:
        second = math.floor(now_s)
        if second < self._second - self._SLOTS:
            # Someone set the clock back: by the old time the window would stand still until it is caught up with.
            self._slots = [0] * self._SLOTS
            self._total, self._second = 0, second
        for passed in range(max(self._second, second - self._SLOTS) + 1, second + 1):
            self._total -= self._slots[passed % self._SLOTS]
            self._slots[passed % self._SLOTS] = 0
        self._second = max(self._second, second)


class _Account:
    """What one key has used."""

    def __init__(self) -> None:
        self.requests = SlidingWindow()
        self.tokens = SlidingWindow()
        self._month = 0
        self._spent_usd = 0.0

    def spent_usd(self, now_s: float) -> float:
        """Since the month (UTC) began."""
        self._turn(now_s)
        return self._spent_usd

    def spend(self, now_s: float, amount_usd: float) -> None:
        self._turn(now_s)
        self._spent_usd += amount_usd

    def _turn(self, now_s: float) -> None:
        today = time.gmtime(now_s)
        month = today.tm_year * 12 + today.tm_mon
        if month > self._month:
            self._month = month
            self._spent_usd = 0.0


def is_limited(key: ClientKey) -> bool:
    """Whether there is anything to count."""
    return bool(key.rpm or key.tpm or key.budget_usd)


def digest_of(key: ClientKey) -> bytes:
    """What stands for a key wherever it is counted."""
    return hashlib.sha256(key.key.get_secret_value().encode("utf-8", "surrogateescape")).digest()


def _tokens(usage: Usage) -> int:
    return sum(max(0, tokens or 0) for tokens in (usage.input, usage.cache_read, usage.cache_write, usage.output))


def _too_fast(message: str, wait_s: float) -> GatewayError:
    seconds = math.ceil(wait_s)
    return GatewayError(
        f"{message}; try again in {seconds} s", status=429, code="rate_limit_exceeded", retry_after_s=float(seconds)
    )


def _name(key: ClientKey) -> str:
    return key.name or mask(key.key.get_secret_value())


def _next_month(now_s: float) -> datetime:
    today = datetime.fromtimestamp(now_s, UTC)
    return datetime(today.year + today.month // 12, today.month % 12 + 1, 1, tzinfo=UTC)

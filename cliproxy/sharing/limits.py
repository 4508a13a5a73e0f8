"""One account of client keys for several gateways: a key's rates and budget hold for all of them together.

Before a request of a limited key is let in, the key's account is brought up to what all have let it use, while others
are kept from it; then it is decided as ever. Requests that come at the same time are decided together. While the
database is away, or slow, each gateway decides by what it knows.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from cliproxy.config.schema import ClientKey
from cliproxy.limits import WINDOW_S, KeyLimits, Use, digest_of
from cliproxy.postgres import composed, lock_number
from cliproxy.sharing.link import Away, Link
from cliproxy.wire.errors import GatewayError

WAITED_S = 1.0
"""A request is not held longer for what others know."""
KEPT_S = 2 * WINDOW_S
_MAX_TOKENS = 2**40
"""Of one answer; upstreams may say anything, and the sums have to fit."""
SWEPT_EVERY_S = 600.0

_LOCK = "SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS number"
_ADD_USES = """
INSERT INTO {schema}.cliproxy_key_use AS use (key, second, requests, tokens)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (key, second)
DO UPDATE SET requests = use.requests + excluded.requests, tokens = use.tokens + excluded.tokens"""
_COSTS = """
INSERT INTO {schema}.cliproxy_key_cost AS cost (key, month, usd)
SELECT * FROM unnest(%s::text[], %s::int[], %s::float8[]) ON CONFLICT (key, month)"""
_BEGIN_COSTS = f"{_COSTS} DO NOTHING"
_ADD_COSTS = f"{_COSTS} DO UPDATE SET usd = cost.usd + excluded.usd"
_USE = "SELECT key, second, requests, tokens FROM {schema}.cliproxy_key_use WHERE key = ANY(%s) AND second > %s"
_COST = "SELECT key, usd FROM {schema}.cliproxy_key_cost WHERE key = ANY(%s) AND month = %s"
_SWEEP = "DELETE FROM {schema}.cliproxy_key_use WHERE second < %s"


class _Asking(NamedTuple):
    key: ClientKey
    answer: "asyncio.Future[None]"


class _Used:
    """What was used here and is not in the account yet."""

    def __init__(self) -> None:
        self.keys: dict[str, ClientKey] = {}
        self.requests: Counter[tuple[str, int]] = Counter()
        """By key and second; those that were not let in by the account."""
        self.tokens: Counter[tuple[str, int]] = Counter()
        """By key and second."""
        self.usd: defaultdict[tuple[str, int], float] = defaultdict(float)
        """By key and month."""

    def add(self, other: "_Used") -> None:
        self.keys.update(other.keys)
        self.requests.update(other.requests)
        self.tokens.update(other.tokens)
        for place, usd in other.usd.items():
            self.usd[place] += usd

    def forget(self, before: int) -> None:
        """Forget what no rate counts any more: the database may be away for long."""
        for counts in (self.requests, self.tokens):
            for place in [place for place in counts if place[1] < before]:
                del counts[place]


class SharedLimits:
    """See `cliproxy.limits.Common`."""

    def __init__(self, link: Link, limits: KeyLimits, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds, as that of `limits`."""
        self._link = link
        self._limits = limits
        self._clock = clock
        self._asking: list[_Asking] = []
        self._used = _Used()
        self._is_wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_slow = False
        """A request has waited in vain; the next ones do not."""
        self._swept_s = 0.0
        limits.common = self

    async def admit(self, key: ClientKey) -> None:
        if self._link.trouble or self._is_slow:
            return self._check_alone(key)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(_Asking(key, answer))
        self._is_wanted.set()
        try:
            async with asyncio.timeout(WAITED_S):
                await answer
        except TimeoutError:
            self._is_slow = True
            self._check_alone(key)

    def _check_alone(self, key: ClientKey) -> None:
        self._limits.check(key)
        name = _name(key)
        self._used.keys[name] = key
        self._used.requests[name, int(self._clock())] += 1

    def used(self, key: ClientKey, tokens: int, cost_usd: float) -> None:
        name, now = _name(key), self._clock()
        self._used.keys[name] = key
        self._used.tokens[name, int(now)] += min(tokens, _MAX_TOKENS)
        self._used.usd[name, _month(now)] += cost_usd
        self._is_wanted.set()

    async def run(self) -> None:
        """Keep the accounts until cancelled."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            await self.flush()

    async def refresh(self, keys: Iterable[ClientKey]) -> None:
        self._used.keys.update((_name(key), key) for key in keys)
        await self.flush()

    async def flush(self) -> None:
        """Decide about who asks now, and tell what was used."""
        async with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        asking, self._asking = self._asking, []
        used, self._used = self._used, _Used()
        try:
            await self._settle([one for one in asking if not one.answer.done()], used)
            self._is_slow = False
        except Away:
            # It is told with what is used next.
            self._used.add(used)
            self._used.forget(int(self._clock()) - WINDOW_S)
            for one in asking:
                if not one.answer.done():
                    _tell(one, _decision(one.key, self._check_alone))
        except asyncio.CancelledError:
            self._used.add(used)
            self._asking = asking + self._asking
            self._is_wanted.set()
            raise

    async def _settle(self, asking: list[_Asking], used: _Used) -> None:
        """Put what was used into the account, and decide about requests. Raises Away: nothing was, or is decided."""
        keys = used.keys | {_name(one.key): one.key for one in asking}
        if not keys:
            return
        async with self._link.speaking() as connection, connection.transaction():
            account = _Account(connection, self._link.database.schema)
            await account.lock(sorted(keys))
            await self._begin(account, keys, used)
            await account.add(used)
            await self._take(account, keys)
            now = int(self._clock())
            decisions = [(one, _decision(one.key, self._limits.check)) for one in asking]
            admitted = Counter((_name(one.key), now) for one, refusal in decisions if not refusal)
            await account.add_uses(admitted, {})
            if now - self._swept_s > SWEPT_EVERY_S:
                self._swept_s = now
                await account.sweep(now - KEPT_S)
        for one, refusal in decisions:
            _tell(one, refusal)

    async def _begin(self, account: "_Account", keys: Mapping[str, ClientKey], used: _Used) -> None:
        """What was spent before there was an account of this month is known from the ledger, to each gateway."""
        month = _month(self._clock())

        def spent_before_usd(name: str, key: ClientKey) -> float:
            return self._limits.spent_usd(key) - sum(new.usd.get((name, month), 0.0) for new in (used, self._used))

        await account.begin_costs(
            [(name, month, spent_before_usd(name, key)) for name, key in keys.items() if key.budget_usd]
        )

    async def _take(self, account: "_Account", keys: Mapping[str, ClientKey]) -> None:
        """Know what all gateways together know."""
        now = self._clock()
        # What is a minute ago by the second may be less by a part of it.
        uses = await account.uses(list(keys), int(now) - WINDOW_S - 1)
        spent_usd = await account.spent_usd(list(keys), _month(now))
        for name, key in keys.items():
            self._limits.take(key, uses.get(name, {}), spent_usd.get(name, 0.0))


class _Account:
    """The tables, in one transaction."""

    def __init__(self, connection: AsyncConnection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def lock(self, names: list[str]) -> None:
        """Keep others from the account of keys until the transaction ends. names: in order, lest two wait for each
        other."""
        numbers = [lock_number(f"{self._schema}/key/{name}") for name in names]
        await self._connection.execute(_LOCK, (numbers,))

    async def begin_costs(self, rows: list[tuple[str, int, float]]) -> None:
        """What keys have spent in a month, where the account does not know of it yet."""
        if rows:
            await self._execute(_BEGIN_COSTS, *_columns(rows))

    async def add(self, used: _Used) -> None:
        await self.add_uses(used.requests, used.tokens)
        if costs := [(name, month, usd) for (name, month), usd in used.usd.items() if usd]:
            await self._execute(_ADD_COSTS, *_columns(costs))

    async def add_uses(self, requests: Mapping[tuple[str, int], int], tokens: Mapping[tuple[str, int], int]) -> None:
        """By key and second."""
        if places := requests.keys() | tokens.keys():
            rows = [(*place, requests.get(place, 0), tokens.get(place, 0)) for place in places]
            await self._execute(_ADD_USES, *_columns(rows))

    async def uses(self, names: list[str], since_s: int) -> Mapping[str, Mapping[int, Use]]:
        """What each key has used after a second, by the second."""
        found: defaultdict[str, dict[int, Use]] = defaultdict(dict)
        for name, second, requests, tokens in await self._execute(_USE, names, since_s):
            found[name][second] = Use(requests, tokens)
        return found

    async def spent_usd(self, names: list[str], month: int) -> Mapping[str, float]:
        """Dollars by key."""
        return dict(await self._execute(_COST, names, month))

    async def sweep(self, second: int) -> None:
        await self._execute(_SWEEP, second)

    async def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(composed(statement, self._schema), values)
        return await cursor.fetchall() if cursor.description else []


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _decision(key: ClientKey, check: Callable[[ClientKey], None]) -> GatewayError | None:
    try:
        check(key)
    except GatewayError as refusal:
        return refusal
    return None


def _tell(one: _Asking, refusal: GatewayError | None) -> None:
    if one.answer.done():
        return  # It has left, or was decided without us.
    if refusal:
        one.answer.set_exception(refusal)
    else:
        one.answer.set_result(None)


def _name(key: ClientKey) -> str:
    return digest_of(key).hex()


def _month(now_s: float) -> int:
    today = datetime.fromtimestamp(now_s, UTC)
    return today.year * 12 + today.month

"""Tries candidates until one serves: rounds, failover, hedging, and what the client is told when nobody can.

An attempt is a function from a `Trial` to an `Answer`. It returns when its first bytes are known, and from then on the
answer is the client's; before that it raises, and the next candidate is tried. Attempts under way at once race: the
first to answer wins and the others are cancelled.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from cliproxy.config.schema import Config
from cliproxy.credentials.outcome import TRANSIENT_S, Outcome, Terms, judge
from cliproxy.credentials.pool import Ask, Pool
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Answer, EmptyAnswer
from cliproxy.wire.errors import GatewayError, Unavailable, UnsupportedContent

RETRIED_STATUS = frozenset({403, 408, 429, 500, 502, 503, 504, 529})
"""After these another round may help."""
ROUND_PAUSE_S = 0.5
"""Before the second round, doubled for each one after it, where no cooldown says how long to wait."""
MAX_JITTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard to try."""

    rounds: int
    """Further rounds after the first."""
    candidates: int
    """Candidates tried a round; 0: all."""
    wait_s: float
    """Longest wait between two rounds; 0: never wait."""
    parallel: int
    """Attempts that may be under way at once; 1: one after the other."""
    hedge_s: float
    """How long the attempts under way may be silent before one more begins; 0: all begin at once."""

    @classmethod
    def of(cls, config: Config, *, stream: bool) -> "Limits":
        """stream: the client wants a stream, for which there may be further tries."""
        dispatch = config.upstream_strategy.dispatch
        rounds = config.request_retry + (config.streaming.bootstrap_retries if stream else 0)
        return cls(
            rounds,
            config.max_retry_credentials,
            max(0.0, config.max_retry_interval),
            1 if dispatch.type == "serial" else dispatch.max_parallel,
            dispatch.delay_ms / 1000 if dispatch.type == "hedged" else 0.0,
        )


class Trial:
    """One candidate's chance. Whoever learns how it went says so, once; what is said later changes nothing."""

    def __init__(self, pool: Pool, ask: Ask, candidate: Candidate, terms: Terms, *, counting: bool) -> None:
        self.candidate = candidate
        self.outcome: Outcome | None = None
        """The judgement, once it failed."""
        self.error: GatewayError | None = None
        self._pool = pool
        self._ask = ask
        self._terms = terms
        self._counting = counting
        self._open = True

    @property
    def fault(self) -> str:
        """Whose fault it was, once it failed."""
        return self.outcome.fault if self.outcome else ""

    def served(self) -> None:
        """The answer is complete."""
        if self._close():
            self._pool.served(self._ask, self.candidate)

    def failed(self, error: GatewayError) -> None:
        """The upstream, or the request, failed."""
        if not self._close():
            return
        self.error = error
        self.outcome = judge(error, self._terms, self._pool.now(), counting=self._counting)
        self._pool.failed(self._ask, self.candidate, self.outcome, error.status, error.message)

    def abandoned(self) -> None:
        """It was given up and says nothing."""
        if self._close():
            self._pool.abandoned(self.candidate)

    def _close(self) -> bool:
        was_open, self._open = self._open, False
        return was_open


Attempt = Callable[[Trial], Awaitable[Answer]]


class Dispatch:
    """Serves one request for one model."""

    def __init__(
        self,
        pool: Pool,
        ask: Ask,
        limits: Limits,
        attempt: Attempt,
        *,
        transient_s: float | None = TRANSIENT_S,
        counting: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """transient_s: cooldown after transient failures; None: none. counting: tokens are counted, not generated."""
        self._pool = pool
        self._ask = ask
        self._limits = limits
        self._attempt = attempt
        self._transient_s = transient_s
        self._counting = counting
        self._sleep = sleep
        self.failures: list[Trial] = []
        """All that failed, in order."""

    async def run(self) -> Answer:
        """The first answer that comes. Raises the GatewayError that the client is to be told."""
        number = 0
        while True:
            tried = self._excluded(number)
            answer = await self._round(tried)
            if answer:
                return answer
            number += 1
            wait = self._pause(number)
            if wait is None:
                if empty := next((t.error for t in self.failures if isinstance(t.error, EmptyAnswer)), None):
                    return empty.answer
                raise self._nobody()
            if wait > 0:
                await self._sleep(wait + random.uniform(0, min(wait / 4, MAX_JITTER_S)))

    # ------------------------------------------------------------ one round

    async def _round(self, tried: set[str]) -> Answer | None:
        """Walk the candidates once. Raises the error of a request that no other candidate would serve either."""
        budget = self._limits.candidates or 1_000_000
        if self._limits.parallel > 1:
            return await self._parallel_round(tried, budget)
        while budget > 0 and (trial := self._next(tried)):
            budget -= 1
            try:
                return await self._make(trial)
            except GatewayError:
                self._go_on(trial)
        return None

    async def _parallel_round(self, tried: set[str], budget: int) -> Answer | None:
        running: dict[asyncio.Task[Answer], Trial] = {}
        try:
            while True:
                if budget > 0 and len(running) < self._limits.parallel and (trial := self._next(tried)):
                    budget -= 1
                    running[asyncio.ensure_future(self._make(trial))] = trial  # noqa: TID251 - held in `running`
                    if not self._limits.hedge_s:
                        continue
                elif not running:
                    return None
                may_hedge = budget > 0 and len(running) < self._limits.parallel
                timeout = self._limits.hedge_s if may_hedge and self._limits.hedge_s else None
                done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if winner := next((task for task in done if not task.exception()), None):
                    running.pop(winner)
                    return winner.result()
                for task in done:
                    self._go_on(running.pop(task))
        finally:
            await _cancel(running)

    def _next(self, tried: set[str]) -> Trial | None:
        candidate = self._pool.pick(self._ask, tried)
        if candidate is None:
            return None
        credential = candidate.credential
        tried.add(credential.id)
        terms = Terms(credential.error_rules, self._transient_s, credential.cools)
        return Trial(self._pool, self._ask, candidate, terms, counting=self._counting)

    async def _make(self, trial: Trial) -> Answer:
        try:
            return await self._attempt(trial)
        except GatewayError as error:
            trial.failed(error)
            raise
        except BaseException:
            trial.abandoned()
            raise

    def _go_on(self, trial: Trial) -> None:
        """After a failure: go on to the next candidate, or raise what the client is to be told."""
        assert trial.error and trial.outcome
        self.failures.append(trial)
        # Another upstream may speak a format that can say it.
        if not trial.outcome.tries_next and not isinstance(trial.error, UnsupportedContent):
            raise trial.error

    # ------------------------------------------------------------ between rounds

    def _excluded(self, number: int) -> set[str]:
        """The credentials that do not take part in a further round."""
        if number == 0:
            return set()
        return {c.credential.id for c in self._candidates() if self._rounds_of(c) < number}

    def _candidates(self) -> Iterable[Candidate]:
        return (candidate for group in self._ask.groups for candidate in group.candidates)

    def _rounds_of(self, candidate: Candidate) -> int:
        own = candidate.credential.request_retry
        return self._limits.rounds if own is None else own

    def _pause(self, number: int) -> float | None:
        """How long to wait before round `number`; None: there is none."""
        last = self.failures[-1].error if self.failures else None
        if last is not None and last.status not in RETRIED_STATUS:
            return None
        eligible = [c for c in self._candidates() if self._rounds_of(c) >= number]
        if not eligible:
            return None
        waits = [self._wait_for(candidate, number) for candidate in eligible]
        soonest = min(waits)
        return soonest if soonest <= self._limits.wait_s else None

    def _wait_for(self, candidate: Candidate, number: int) -> float:
        cooldown = self._pool.cooldowns.blocking(candidate.credential.id, candidate.model)
        if cooldown and cooldown.reason != "transient":
            return max(0.0, cooldown.next_try_s - self._pool.now())
        return min(ROUND_PAUSE_S * 2 ** (number - 1), self._limits.wait_s)

    # ------------------------------------------------------------ giving up

    def _nobody(self) -> GatewayError:
        """What the client is told: the upstream's own words where only one was asked, else who was, and how it went."""
        asked = {trial.candidate.credential.id: trial for trial in self.failures}
        same = len({(trial.error.status, trial.error.message) for trial in self.failures if trial.error}) == 1
        if self.failures and (len(asked) == 1 or same):
            error = self.failures[-1].error
            assert error
            if error.retry_after_s is None and error.status in (429, 503):
                error.retry_after_s = self._retry_after()
            return error
        lines, quota = [], True
        for trial in asked.values():
            assert trial.error and trial.outcome
            quota &= trial.outcome.fault == "quota"
            lines.append(f"{trial.candidate.credential.label}: {trial.error.status} {trial.error.message}")
        for sidelined in self._pool.sidelined(self._ask):
            credential, cooldown = sidelined.candidate.credential, sidelined.cooldown
            if credential.id in asked:
                continue
            quota &= cooldown.reason == "quota"
            back = time.strftime("%H:%M:%S", time.gmtime(cooldown.next_try_s))
            lines.append(f"{credential.label}: {cooldown.status} {cooldown.message} (asked again from {back} UTC)")
        if not lines:
            return Unavailable(
                f"no credential for {self._ask.model!r} can take another request now",
                status=503,
                retry_after_s=1.0,
            )
        return Unavailable(
            f"no credential can serve {self._ask.model!r} now. " + "; ".join(lines),
            status=429 if quota else 503,
            code="model_cooldown" if quota else "auth_unavailable",
            retry_after_s=self._retry_after(),
        )

    def _retry_after(self) -> float | None:
        """Seconds until the first candidate comes back; None where none is sidelined."""
        soonest = min((s.cooldown.next_try_s for s in self._pool.sidelined(self._ask)), default=None)
        return None if soonest is None else max(1.0, soonest - self._pool.now())


async def _cancel(running: dict[asyncio.Task[Answer], Trial]) -> None:
    """Stop the losers; one that has just answered is closed unread."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Answer):
            await result.close()

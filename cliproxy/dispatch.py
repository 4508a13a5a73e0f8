"""Tries candidates until one serves: rounds, failover, hedging, and what the client is told when nobody can.

An attempt is a function from a `Trial` to an `Answer`. It returns when its first bytes are known, and from then on the
answer is the client's; before that it raises, and the next candidate is tried. Attempts under way at once race: the
first to answer wins and the others are cancelled.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cliproxy.config.schema import Config
from cliproxy.credentials.outcome import TRANSIENT_S, Outcome, Terms, judge
from cliproxy.credentials.pool import Ask, Pool, key_of
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Answer, EmptyAnswer
from cliproxy.secrets import mask
from cliproxy.wire.errors import GatewayError, Unavailable, UnsupportedContent

RETRIED_STATUS = frozenset({403, 408, 429, 500, 502, 503, 504, 529})
"""A candidate that failed with one of these takes part in another round."""
ROUND_PAUSE_S = 0.5
"""Before the second round, doubled for each one after it, where no cooldown says how long to wait."""
MAX_JITTER_S = 2.0
SOON_S = 2.0
"""When the client should come back where nothing but passing trouble stands in the way."""
MAX_NAMED = 20
"""Candidates that an error message names."""
MAX_WORDS = 200
"""Characters that are kept of an upstream's message."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard to try."""

    rounds: int
    """Further rounds after the first, for credentials that have no number of their own."""
    bootstrap_rounds: int
    """Further rounds beyond those."""
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
        return cls(
            config.request_retry,
            config.streaming.bootstrap_retries if stream else 0,
            config.max_retry_credentials,
            max(0.0, config.max_retry_interval),
            1 if dispatch.type == "serial" else dispatch.max_parallel,
            dispatch.delay_ms / 1000 if dispatch.type == "hedged" else 0.0,
        )


class Trial:
    """One candidate's chance. Whoever learns how it went says so, once; what is said later changes nothing."""

    def __init__(
        self, pool: Pool, ask: Ask, candidate: Candidate, judged: Callable[[GatewayError, Credential], Outcome]
    ) -> None:
        self.candidate = candidate
        self.error: GatewayError | None = None
        """Why it failed."""
        self.outcome: Outcome | None = None
        """The judgement, once it failed."""
        self.words = ""
        """The upstream's last ones: on one line, not many, and without the key."""
        self._pool = pool
        self._ask = ask
        self._judged = judged
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
        credential = self.candidate.credential
        self.error = error
        self.outcome = self._judged(error, credential)
        self.words = _words(error.message, credential.secret)
        self._pool.failed(self._ask, self.candidate, self.outcome, error.status, self.words)

    def abandoned(self) -> None:
        """It was given up and says nothing."""
        if self._close():
            self._pool.abandoned(self._ask, self.candidate)

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
        model_quotas: bool = False,
        counting: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """How to judge and to wait.

        transient_s: cooldown after transient failures; None: none. model_quotas: `codex.model-level-cooling`.
        counting: tokens are counted, not generated.
        """
        self._pool = pool
        self._ask = ask
        self._limits = limits
        self._attempt = attempt
        self._transient_s = transient_s
        self._model_quotas = model_quotas
        self._counting = counting
        self._sleep = sleep
        self.failures: list[Trial] = []
        """All that failed, in order."""

    async def run(self) -> Answer:
        """The first answer that comes. Raises the GatewayError that the client is to be told."""
        number = 0
        tried: set[tuple[str, str]] = set()
        while True:
            answer = await (self._serial(tried) if self._limits.parallel == 1 else self._parallel(tried))
            if answer:
                return answer
            number += 1
            staying = self._staying(number)
            wait_s = self._wait_s(staying, number)
            if wait_s is None:
                break
            if wait_s > 0:
                await self._sleep(wait_s + random.uniform(0, min(wait_s / 4, MAX_JITTER_S)))
            tried = {key_of(candidate) for candidate in self._ask.candidates()} - set(map(key_of, staying))
        if empty := next((t.error for t in self.failures if isinstance(t.error, EmptyAnswer)), None):
            return empty.answer
        raise self._nobody()

    # ------------------------------------------------------------ one round

    async def _serial(self, tried: set[tuple[str, str]]) -> Answer | None:
        """Walk the candidates once. Raises the error of a request that no other candidate would serve either."""
        most = len(tried) + (self._limits.candidates or math.inf)
        while len(tried) < most and (trial := self._next(tried)):
            try:
                answer = await self._make(trial)
            except GatewayError as error:
                self._go_on(trial, error)
            else:
                self._pool.answered(self._ask, trial.candidate)
                return answer
        return None

    async def _parallel(self, tried: set[tuple[str, str]]) -> Answer | None:
        """The same with several under way at once, all of one priority."""
        limits = self._limits
        most = len(tried) + (limits.candidates or math.inf)
        running: dict[asyncio.Task[Answer], Trial] = {}
        try:
            while True:
                while (
                    len(running) < limits.parallel
                    and len(tried) < most
                    and (trial := self._next(tried, next(iter(running.values()), None)))
                ):
                    running[asyncio.ensure_future(self._make(trial))] = trial  # noqa: TID251 - held in `running`
                    if limits.hedge_s:
                        break
                if not running:
                    return None
                may_hedge = limits.hedge_s and len(running) < limits.parallel and len(tried) < most
                timeout = limits.hedge_s if may_hedge else None
                done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if winner := next((task for task in done if not task.cancelled() and not task.exception()), None):
                    return await self._won(winner.result(), running.pop(winner), running)
                for task in done:
                    try:
                        await task
                    except GatewayError as error:
                        self._go_on(running.pop(task), error)
        finally:
            await _cancel(running)

    async def _won(self, answer: Answer, trial: Trial, losers: dict[asyncio.Task[Answer], Trial]) -> Answer:
        self._pool.answered(self._ask, trial.candidate)
        try:
            await _cancel(losers)
        except BaseException:
            await answer.close()
            raise
        if losers:
            self._pool.preferred(self._ask, trial.candidate)
            losers.clear()
        return answer

    def _next(self, tried: set[tuple[str, str]], beside: Trial | None = None) -> Trial | None:
        """beside: one that is under way."""
        priority = beside.candidate.credential.priority if beside else None
        candidate = self._pool.pick(self._ask, tried, priority=priority)
        if candidate is None:
            return None
        tried.add(key_of(candidate))
        return Trial(self._pool, self._ask, candidate, self._judged)

    async def _make(self, trial: Trial) -> Answer:
        try:
            return await self._attempt(trial)
        except GatewayError as error:
            trial.failed(error)
            raise
        except BaseException:
            trial.abandoned()
            raise

    def _judged(self, error: GatewayError, credential: Credential) -> Outcome:
        account_quotas = not (self._model_quotas and credential.provider == "codex")
        terms = Terms(credential.error_rules, self._transient_s, credential.cools, account_quotas)
        return judge(error, terms, self._pool.now(), counting=self._counting)

    def _go_on(self, trial: Trial, error: GatewayError) -> None:
        """After a failure: go on to the next candidate, or raise what the client is to be told."""
        self.failures.append(trial)
        # Another upstream may speak a format that can say it, or know the response itself.
        elsewhere = isinstance(error, UnsupportedContent) or error.code == "previous_response_not_found"
        if not (trial.outcome and trial.outcome.tries_next) and not elsewhere:
            raise error

    # ------------------------------------------------------------ between rounds

    def _last_failures(self) -> dict[tuple[str, str], Trial]:
        return {key_of(trial.candidate): trial for trial in self.failures}

    def _staying(self, number: int) -> list[Candidate]:
        """The candidates that take part in round `number`."""
        failed = self._last_failures()
        return [
            candidate
            for candidate in self._ask.candidates()
            if self._rounds_of(candidate.credential) >= number
            and ((trial := failed.get(key_of(candidate))) is None or _status(trial) in RETRIED_STATUS)
        ]

    def _rounds_of(self, credential: Credential) -> int:
        own = self._limits.rounds if credential.request_retry is None else credential.request_retry
        return own + self._limits.bootstrap_rounds

    def _wait_s(self, staying: list[Candidate], number: int) -> float | None:
        """How long to wait before round `number`; None: there is none."""
        failed = self._last_failures()
        soonest = min((self._wait_for_s(c, failed.get(key_of(c)), number) for c in staying), default=None)
        return soonest if soonest is not None and soonest <= self._limits.wait_s else None

    def _wait_for_s(self, candidate: Candidate, trial: Trial | None, number: int) -> float:
        cooldown = self._pool.cooldowns.blocking(*key_of(candidate))
        if cooldown and cooldown.reason != "transient":
            return max(0.0, cooldown.next_try_s - self._pool.now())
        if trial is None and self._pool.is_usable(candidate):
            return 0.0
        if trial and trial.error and trial.error.retry_after_s:
            return trial.error.retry_after_s
        return min(ROUND_PAUSE_S * 2 ** (number - 1), self._limits.wait_s)

    # ------------------------------------------------------------ giving up

    def _nobody(self) -> GatewayError:
        """What the client is told: the upstream's own words where only one could be asked, else how each one stands."""
        failed = self._last_failures()
        cooling = {key_of(sidelined.candidate): sidelined.cooldown for sidelined in self._pool.sidelined(self._ask)}
        if len(failed) == 1 and cooling.keys() <= failed.keys():
            trial = self.failures[-1]
            error = trial.error
            assert error
            if error.code == "invalid_grant":
                # A 401 would blame the client's own key.
                message = f"{trial.candidate.credential.label}: {trial.words}"
                return Unavailable(message, status=503, code="auth_unavailable")
            if error.retry_after_s is None and error.status in (429, 503):
                error.retry_after_s = self._retry_after_s()
            return error
        lines, faults = [], []
        for candidate in self._ask.candidates():
            trial, cooldown = failed.get(key_of(candidate)), cooling.get(key_of(candidate))
            if trial:
                line = f"{candidate.credential.label}: {_status(trial)} {trial.words}"
                faults.append(trial.fault)
            elif cooldown:
                line = f"{candidate.credential.label}: {cooldown.status} {cooldown.message}"
                faults.append(cooldown.reason)
            else:
                continue
            if cooldown and cooldown.reason != "transient":
                line += f" (asked again in {max(1, round(cooldown.next_try_s - self._pool.now()))} s)"
            lines.append(line)
        if not lines:
            return Unavailable(
                f"all credentials for {self._ask.model!r} are busy (max-concurrent)", retry_after_s=SOON_S
            )
        more = f"; and {len(lines) - MAX_NAMED} more" if len(lines) > MAX_NAMED else ""
        message = f"no credential can serve {self._ask.model!r} now. {'; '.join(lines[:MAX_NAMED])}{more}"
        counted = [fault for fault in faults if fault != "request"] or faults
        if all(fault == "quota" for fault in counted):
            return Unavailable(message, status=429, code="model_cooldown", retry_after_s=self._retry_after_s())
        if (status := self._common_status()) and not cooling.keys() - failed.keys():
            return Unavailable(message, status=status)
        return Unavailable(message, status=503, code="auth_unavailable", retry_after_s=self._retry_after_s())

    def _common_status(self) -> int | None:
        """The status with which all failed, where it tells the client that trying again is of no use."""
        statuses = {_status(trial) for trial in self.failures}
        if not statuses:
            return None
        status = statuses.pop()
        # A 401 would blame the client's own key.
        return None if statuses or status in RETRIED_STATUS or status == 401 else status

    def _retry_after_s(self) -> float:
        """Seconds until the first candidate can be asked again."""
        failed, now_s = self._last_failures(), self._pool.now()
        waits = []
        for candidate in self._ask.candidates():
            trial, cooldown = failed.get(key_of(candidate)), self._pool.cooldowns.blocking(*key_of(candidate))
            if cooldown and cooldown.reason != "transient":
                waits.append(cooldown.next_try_s - now_s)
            elif trial is None or trial.fault != "request":
                waits.append(SOON_S)
        return max(1.0, min(waits, default=SOON_S))


def _status(trial: Trial) -> int:
    return trial.error.status if trial.error else 0


def _words(message: str, secret: str) -> str:
    """Some upstreams quote the key that they refuse."""
    if secret:
        message = message.replace(secret, mask(secret))
    message = " ".join(message.split())
    return message if len(message) <= MAX_WORDS else f"{message[: MAX_WORDS - 1]}…"


async def _cancel(running: dict[asyncio.Task[Answer], Trial]) -> None:
    """Stop the losers; one that has just answered is closed unread."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Answer):
            await result.close()

"""Chooses the credential for each attempt, and learns from how it went.

The highest priority with a usable credential is used; within it a policy decides whose turn it is; a session that was
served before keeps its credential. A credential that is sidelined for a passing trouble is not refused, only last:
when nothing better is left, the one that comes back first is asked all the same.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cliproxy.credentials.affinity import Affinity
from cliproxy.credentials.cooldown import ALL_MODELS, Cooldown, Cooldowns
from cliproxy.credentials.hints import headroom
from cliproxy.credentials.outcome import Outcome
from cliproxy.credentials.record import Candidate, Group
from cliproxy.credentials.selection import Policy, RoundRobin, policy


@dataclass(frozen=True, slots=True)
class Ask:
    """Who is wanted: the candidates for a model, and the session that wants them."""

    groups: Sequence[Group]
    model: str
    """The client's name for it."""
    session: str = ""
    """Empty: none, or affinity is off."""


@dataclass(frozen=True, slots=True)
class Sidelined:
    """A candidate that cannot be asked now, and why."""

    candidate: Candidate
    cooldown: Cooldown


class Pool:
    """Lives longer than a configuration: reloading keeps turns, cooldowns and sessions."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self.cooldowns = Cooldowns(clock)
        self._clock = clock
        self._affinity = Affinity(3600.0, clock)
        self._strategy = ""
        self._policy: Policy = RoundRobin()
        self._headroom: dict[str, float] = {}
        self._busy: Counter[str] = Counter()

    def now(self) -> float:
        """UTC epoch seconds, by the pool's clock."""
        return self._clock()

    def configure(self, strategy: str, session_ttl_s: float) -> None:
        """Take over `routing` of a new configuration."""
        self._affinity.ttl_s = session_ttl_s
        if strategy != self._strategy:
            self._strategy = strategy
            self._policy = policy(strategy, self._headroom.get)

    def pick(self, ask: Ask, tried: Collection[str] = ()) -> Candidate | None:
        """The best candidate that is not in `tried` (credential ids), and mark it as asked; None when there is none."""
        chosen = self._bound(ask, tried) or self._in_turn(ask, tried) or self._soonest(ask, tried)
        if chosen:
            credential = chosen.credential
            self.cooldowns.asked(credential.id, chosen.model)
            self._busy[credential.id] += 1
        return chosen

    def _bound(self, ask: Ask, tried: Collection[str]) -> Candidate | None:
        if (
            not ask.session
            or not (wanted := self._affinity.bound_to(ask.session, ask.model))
            or wanted in tried
        ):
            return None
        for group in ask.groups:
            for candidate in group.candidates:
                if candidate.credential.id == wanted:
                    return candidate if self._usable(candidate) else None
        return None

    def _in_turn(self, ask: Ask, tried: Collection[str]) -> Candidate | None:
        for group in ask.groups:
            chosen = self._policy.pick(group, lambda c: c.credential.id not in tried and self._usable(c))
            if chosen:
                return chosen
        return None

    def _soonest(self, ask: Ask, tried: Collection[str]) -> Candidate | None:
        """Of those with a passing trouble, the one that would be back first."""
        passing = [
            (sidelined.cooldown.next_try_s, sidelined.candidate)
            for sidelined in self.sidelined(ask)
            if sidelined.cooldown.reason == "transient"
            and not sidelined.cooldown.probing
            and sidelined.candidate.credential.id not in tried
            and self._has_room(sidelined.candidate)
        ]
        return min(passing, key=lambda entry: entry[0])[1] if passing else None

    def _usable(self, candidate: Candidate) -> bool:
        return self.cooldowns.is_ready(candidate.credential.id, candidate.model) and self._has_room(candidate)

    def _has_room(self, candidate: Candidate) -> bool:
        limit = candidate.credential.max_concurrent
        return not limit or self._busy[candidate.credential.id] < limit

    def sidelined(self, ask: Ask) -> list[Sidelined]:
        """All candidates that are sidelined now."""
        found = []
        for group in ask.groups:
            for candidate in group.candidates:
                cooldown = self.cooldowns.blocking(candidate.credential.id, candidate.model)
                if cooldown:
                    found.append(Sidelined(candidate, cooldown))
        return found

    # ------------------------------------------------------------ learning; one of these follows each pick

    def served(self, ask: Ask, candidate: Candidate) -> None:
        """The attempt went well."""
        self._done(candidate)
        self.cooldowns.succeeded(candidate.credential.id, candidate.model)
        if ask.session:
            self._affinity.bind(ask.session, ask.model, candidate.credential.id)

    def failed(self, ask: Ask, candidate: Candidate, outcome: Outcome, status: int, message: str) -> None:
        """The attempt failed, with the judgement on it and the upstream's last words."""
        self._done(candidate)
        credential_id = candidate.credential.id
        self.cooldowns.released(credential_id, candidate.model)
        if ask.session and outcome.tries_next:
            self._affinity.release(ask.session, ask.model, credential_id)
        if outcome.sidelines:
            self.cooldowns.sideline(
                credential_id,
                ALL_MODELS if outcome.all_models else candidate.model,
                seconds=outcome.seconds,
                at_least_s=outcome.at_least_s,
                reason=outcome.fault,
                status=status,
                message=message,
            )

    def abandoned(self, candidate: Candidate) -> None:
        """The attempt was given up (the client left, another won): it says nothing."""
        self._done(candidate)
        self.cooldowns.released(candidate.credential.id, candidate.model)

    def _done(self, candidate: Candidate) -> None:
        credential_id = candidate.credential.id
        self._busy[credential_id] -= 1
        if self._busy[credential_id] <= 0:
            del self._busy[credential_id]

    def note_headroom(self, candidate: Candidate, headers: Mapping[str, str]) -> None:
        """Remember what an answer's rate-limit headers leave, where the strategy goes by it."""
        if self._strategy == "most-headroom" and (left := headroom(headers)) is not None:
            self._headroom[candidate.credential.id] = left

"""Chooses the credential for each attempt, and learns from how it went.

The highest priority with a usable credential is used; within it a policy decides whose turn it is; a session that was
served before keeps its credential. A credential that is sidelined for a passing trouble is not refused, only last:
when nothing better is left, the one that comes back first is asked all the same.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cliproxy.credentials.affinity import Affinity, Binding
from cliproxy.credentials.cooldown import ALL_MODELS, Cooldown, Cooldowns
from cliproxy.credentials.hints import headroom
from cliproxy.credentials.outcome import Outcome
from cliproxy.credentials.record import Candidate, Group
from cliproxy.credentials.selection import MostHeadroom, Policy, RoundRobin, Usable, policy

Tried = Collection[tuple[str, str]]
"""What `key_of` gives of candidates that are not to be asked again."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Who is wanted: the candidates for a model, and the session that wants them. One for each request and model."""

    groups: Sequence[Group]
    model: str
    """The client's name for it."""
    session: str = ""
    """Empty: none, or affinity is off."""

    def candidates(self) -> list[Candidate]:
        """All of them, best priority first."""
        return [candidate for group in self.groups for candidate in group.candidates]


@dataclass(frozen=True, slots=True)
class Sidelined:
    """A candidate that cannot be asked now, and why."""

    candidate: Candidate
    cooldown: Cooldown


def key_of(candidate: Candidate) -> tuple[str, str]:
    """What tells the candidates of a request apart: one credential may offer several models under one name."""
    return candidate.credential.id, candidate.model


class Pool:
    """Lives longer than a configuration: reloading keeps turns, cooldowns and sessions."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self.cooldowns = Cooldowns(clock)
        self._clock = clock
        self.affinity = Affinity(3600.0, clock)
        self._strategy = ""
        self._policy: Policy = RoundRobin()
        self._busy: dict[str, int] = {}

    def now(self) -> float:
        """UTC epoch seconds, by the pool's clock."""
        return self._clock()

    def configure(self, strategy: str, session_ttl_s: float) -> None:
        """Take over `routing` of a new configuration."""
        self.affinity.ttl_s = session_ttl_s
        if strategy != self._strategy:
            self._strategy = strategy
            self._policy = policy(strategy, self._clock)

    # ------------------------------------------------------------ choosing

    def pick(self, ask: Ask, tried: Tried = (), *, priority: int | None = None) -> Candidate | None:
        """The best candidate that is not in `tried`, marked as asked; None when there is none.

        priority: only a healthy one of this priority will do, to be asked beside others of it.
        """
        if priority is not None:
            groups = [group for group in ask.groups if group.candidates[0].credential.priority == priority]
            chosen = self._in_turn(groups, tried)
        elif ask.session:
            chosen = self._of_session(ask, tried)
        else:
            chosen = self._in_turn(ask.groups, tried) or self._soonest(ask, tried)
        if chosen:
            credential_id = chosen.credential.id
            self.cooldowns.asked(credential_id, chosen.model, ask)
            self._busy[credential_id] = self._busy.get(credential_id, 0) + 1
        return chosen

    def _in_turn(self, groups: Sequence[Group], tried: Tried) -> Candidate | None:
        usable = self._untried(tried) if tried else self.is_usable
        for group in groups:
            if chosen := self._policy.pick(group, usable):
                return chosen
        return None

    def _untried(self, tried: Tried) -> Usable:
        return lambda candidate: key_of(candidate) not in tried and self.is_usable(candidate)

    def _of_session(self, ask: Ask, tried: Tried) -> Candidate | None:
        """The session's own, else another: for good when its own cannot serve, for once when that is only busy."""
        binding = self.affinity.binding(ask.session, ask.model)
        own = _find(ask, binding) if binding else None
        if own and (key_of(own) in tried or not self.cooldowns.is_ready(*key_of(own))):
            own = None
        if own and self._has_room(own):
            self.affinity.renew(ask.session, ask.model, *key_of(own))
            return own
        chosen = self._in_turn(ask.groups, tried) or self._soonest(ask, tried)
        if chosen and not own:
            self.affinity.bind(ask.session, ask.model, *key_of(chosen))
        return chosen

    def _soonest(self, ask: Ask, tried: Tried) -> Candidate | None:
        """Of those with a passing trouble, the one that would be back first."""
        passing = [
            (sidelined.cooldown.next_try_s, sidelined.candidate)
            for sidelined in self.sidelined(ask)
            if sidelined.cooldown.reason == "transient"
            and key_of(sidelined.candidate) not in tried
            and self._has_room(sidelined.candidate)
        ]
        return min(passing, key=lambda entry: entry[0])[1] if passing else None

    def is_usable(self, candidate: Candidate) -> bool:
        """Whether it may be asked now."""
        return self.cooldowns.is_ready(candidate.credential.id, candidate.model) and self._has_room(candidate)

    def _has_room(self, candidate: Candidate) -> bool:
        limit = candidate.credential.max_concurrent
        return not limit or self._busy.get(candidate.credential.id, 0) < limit

    def sidelined(self, ask: Ask) -> list[Sidelined]:
        """All candidates that are sidelined now."""
        found = []
        for candidate in ask.candidates():
            if cooldown := self.cooldowns.blocking(candidate.credential.id, candidate.model):
                found.append(Sidelined(candidate, cooldown))
        return found

    # ------------------------------------------------------------ learning

    # Each pick is followed by one of `served`, `failed` and `abandoned`.

    def preferred(self, ask: Ask, candidate: Candidate) -> None:
        """It answered before others that were asked too: the session is its own from now on."""
        if ask.session:
            self.affinity.bind(ask.session, ask.model, *key_of(candidate))

    def answered(self, ask: Ask, candidate: Candidate) -> None:
        """Its answer has begun."""
        self.cooldowns.succeeded(candidate.credential.id, candidate.model, ask)

    def served(self, ask: Ask, candidate: Candidate) -> None:
        """Its answer is complete."""
        self._done(candidate)
        self.cooldowns.succeeded(candidate.credential.id, candidate.model, ask)
        if ask.session:
            self.affinity.renew(ask.session, ask.model, *key_of(candidate))

    def failed(self, ask: Ask, candidate: Candidate, outcome: Outcome, status: int, message: str) -> None:
        """The attempt failed, with the judgement on it and the upstream's last words."""
        self._done(candidate)
        credential_id = candidate.credential.id
        if ask.session and outcome.tries_next:
            self.affinity.release(ask.session, ask.model, *key_of(candidate))
        if outcome.sidelines:
            self.cooldowns.sideline(
                credential_id,
                ALL_MODELS if outcome.all_models else candidate.model,
                ask,
                seconds=outcome.seconds,
                at_least_s=outcome.at_least_s,
                reason=outcome.fault,
                status=status,
                message=message,
            )
        self.cooldowns.released(credential_id, candidate.model, ask, failed=outcome.sidelines)

    def abandoned(self, ask: Ask, candidate: Candidate) -> None:
        """The attempt was given up (the client left, another won): it says nothing."""
        self._done(candidate)
        self.cooldowns.released(candidate.credential.id, candidate.model, ask)

    def _done(self, candidate: Candidate) -> None:
        credential_id = candidate.credential.id
        left = self._busy[credential_id] - 1
        if left:
            self._busy[credential_id] = left
        else:
            del self._busy[credential_id]

    def note_headroom(self, candidate: Candidate, headers: Mapping[str, str]) -> None:
        """Remember what an answer's rate-limit headers leave, where the strategy goes by it."""
        if isinstance(self._policy, MostHeadroom) and (left := headroom(headers)) is not None:
            self._policy.note(candidate.credential.id, left)


def _find(ask: Ask, binding: Binding) -> Candidate | None:
    """The candidate of a binding. It is mostly where it was last; another config may have moved it."""
    wanted = (binding.credential_id, binding.model)
    group, index = binding.place
    if group < len(ask.groups) and index < len(ask.groups[group].candidates):
        candidate = ask.groups[group].candidates[index]
        if key_of(candidate) == wanted:
            return candidate
    for group, one in enumerate(ask.groups):
        for index, candidate in enumerate(one.candidates):
            if key_of(candidate) == wanted:
                binding.place = group, index
                return candidate
    return None

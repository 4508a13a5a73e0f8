"""The policies that choose among equally good candidates.

A policy looks at candidates one by one and takes the first that is usable, so that a thousand healthy credentials cost
no more than one. State is kept by group: the candidates of one priority for one model.
"""

import heapq
import time
from collections.abc import Callable
from typing import Protocol

from cliproxy.credentials.record import Candidate, Group

MAX_GROUPS = 10_000
"""Turns that are remembered; a client that invents model names must not fill the memory."""
READING_S = 300.0
"""How long a rate limit's reading counts. Who is not asked says nothing new, and limits fill up again meanwhile."""

Usable = Callable[[Candidate], bool]


class Policy(Protocol):
    """Chooses within a group; remembers whose turn it is."""

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        """The candidate whose turn it is, of those that are usable; None where none is."""
        ...


class RoundRobin:
    """One after the other, in the order of the config."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        candidates = group.candidates
        count = len(candidates)
        turn = self._next.get(group.key)
        if turn is None:
            _make_room(self._next)
            turn = 0
        for index in range(turn, turn + count):
            if index >= count:
                index -= count
            if usable(candidates[index]):
                self._next[group.key] = index + 1 if index + 1 < count else 0
                return candidates[index]
        return None


class WeightedRoundRobin:
    """In proportion to the weights (stride scheduling). Weight 0 or less: never."""

    def __init__(self) -> None:
        self._queues: dict[str, list[tuple[float, int]]] = {}
        """Per group a heap of (position, index): whoever is furthest behind is next, and moves on by 1/weight."""

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        queue = self._queues.get(group.key) or self._begin(group)
        passed: list[tuple[float, int]] = []
        chosen = None
        while queue:
            position, index = queue[0]
            candidate = group.candidates[index]
            if usable(candidate):
                chosen = candidate
                heapq.heapreplace(queue, (position + 1 / candidate.credential.weight, index))
                # Those that could not take their turn do not get it twice later.
                passed = [(max(position, theirs), waiting) for theirs, waiting in passed]
                break
            passed.append(heapq.heappop(queue))
        for entry in passed:
            heapq.heappush(queue, entry)
        return chosen

    def _begin(self, group: Group) -> list[tuple[float, int]]:
        _make_room(self._queues)
        weights = [(index, candidate.credential.weight) for index, candidate in enumerate(group.candidates)]
        # Half a stride ahead at the start, so that a heavy one does not have all its turns at once.
        queue = [(0.5 / weight, index) for index, weight in weights if weight > 0]
        heapq.heapify(queue)
        self._queues[group.key] = queue
        return queue


class FillFirst:
    """The first of the config's order, until it is sidelined."""

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        return next(filter(usable, group.candidates), None)


class MostHeadroom:
    """Whoever has most of its rate limit left; one that has not said so lately counts as unused. Equals take turns."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds."""
        self._clock = clock
        self._readings: dict[str, tuple[float, float]] = {}
        """Credential id to what is left, and until when that counts."""
        self._turns = RoundRobin()

    def note(self, credential_id: str, left: float) -> None:
        """An answer told what is left, 0 to 1."""
        self._readings[credential_id] = (left, self._clock() + READING_S)

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        if not self._readings:
            return self._turns.pick(group, usable)
        now = self._clock()
        reading_of, unknown = self._readings.get, (1.0, now)

        def left(candidate: Candidate) -> float:
            fraction, until = reading_of(candidate.credential.id, unknown)
            return fraction if now < until else 1.0

        most = -1.0
        for candidate in group.candidates:
            fraction = left(candidate)
            if fraction > most and usable(candidate):
                most = fraction
                if most >= 1.0:
                    break
        return self._turns.pick(group, lambda candidate: left(candidate) >= most and usable(candidate))


def policy(strategy: str, clock: Callable[[], float] = time.time) -> Policy:
    """The policy of a `routing.strategy`. clock: seconds."""
    match strategy:
        case "weighted-round-robin":
            return WeightedRoundRobin()
        case "fill-first":
            return FillFirst()
        case "most-headroom":
            return MostHeadroom(clock)
        case _:
            return RoundRobin()


def _make_room(states: dict[str, int] | dict[str, list[tuple[float, int]]]) -> None:
    """Before a group is added: forget the oldest when there are too many."""
    if len(states) >= MAX_GROUPS:
        del states[next(iter(states))]

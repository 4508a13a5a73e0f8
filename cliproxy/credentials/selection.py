"""The policies that choose among equally good candidates.

A policy looks at candidates one by one and takes the first that is usable, so that a thousand credentials cost no more
than one. State is kept by group: the candidates of one priority for one model.
"""

import heapq
from collections.abc import Callable
from typing import Protocol

from cliproxy.credentials.record import Candidate, Group

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
        start = self._next.get(group.key, 0)
        for step in range(count):
            candidate = candidates[(start + step) % count]
            if usable(candidate):
                self._next[group.key] = (start + step + 1) % count
                return candidate
        return None


class WeightedRoundRobin:
    """In proportion to the weights (stride scheduling). Weight 0 or less: never."""

    def __init__(self) -> None:
        self._queues: dict[str, list[tuple[float, int]]] = {}
        """Per group a heap of (position, index): the candidate furthest behind is next, and moves on by 1/weight."""

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        queue = self._queues.get(group.key)
        if queue is None:
            weighted = [
                (index, c.credential.weight)
                for index, c in enumerate(group.candidates)
                if c.credential.weight > 0
            ]
            # Half a stride ahead at the start, so that a heavy one does not have all its turns at once.
            queue = self._queues[group.key] = [(0.5 / weight, index) for index, weight in weighted]
            heapq.heapify(queue)
        passed: list[tuple[float, int]] = []
        chosen = None
        while queue:
            position, index = heapq.heappop(queue)
            candidate = group.candidates[index]
            if usable(candidate):
                chosen = candidate
                heapq.heappush(queue, (position + 1 / candidate.credential.weight, index))
                # Those that could not take their turn do not get it twice later.
                passed = [(max(position, theirs), waiting) for theirs, waiting in passed]
                break
            passed.append((position, index))
        for entry in passed:
            heapq.heappush(queue, entry)
        return chosen


class FillFirst:
    """The first of the config's order, until it is sidelined."""

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        return next(filter(usable, group.candidates), None)


class MostHeadroom:
    """Whoever has most of its rate limit left, by its last answer; one that never said counts as unused."""

    def __init__(self, headroom: Callable[[str], float | None]) -> None:
        """headroom: fraction left, 0 to 1, of a credential id; None where it is not known."""
        self._headroom = headroom
        self._turns = RoundRobin()

    def pick(self, group: Group, usable: Usable) -> Candidate | None:
        left = {c.credential.id: self._left(c) for c in group.candidates if usable(c)}
        best = max(left.values(), default=0.0)
        return self._turns.pick(group, lambda c: left.get(c.credential.id) == best)

    def _left(self, candidate: Candidate) -> float:
        left = self._headroom(candidate.credential.id)
        return 1.0 if left is None else left


def policy(strategy: str, headroom: Callable[[str], float | None]) -> Policy:
    """The policy of a `routing.strategy`."""
    match strategy:
        case "weighted-round-robin":
            return WeightedRoundRobin()
        case "fill-first":
            return FillFirst()
        case "most-headroom":
            return MostHeadroom(headroom)
        case _:
            return RoundRobin()

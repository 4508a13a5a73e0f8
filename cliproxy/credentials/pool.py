"""The order in which credentials are asked: highest priority first, round-robin among equals."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from cliproxy.credentials.record import Candidate


class Pool:
    """Remembers whose turn it is, per model. Lives longer than a config: reloading keeps the turns."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}

    def order(self, model: str, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
        """All candidates for a model, best first. `model` is the client's name for it."""
        ranked = sorted(candidates, key=lambda c: -c.credential.priority)
        for _, group in groupby(ranked, key=lambda c: c.credential.priority):
            equals = list(group)
            if len(equals) == 1:
                yield equals[0]
                continue
            turn = self._turns.get(model, 0)
            self._turns[model] = turn + 1
            start = turn % len(equals)
            yield from equals[start:]
            yield from equals[:start]

"""How often each credential has served and failed since the program began, in all and in the last hours."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cliproxy.exchange import CLIENT_LEFT, Exchange

SLOT_S = 600
SLOTS = 20
MAX_CREDENTIALS = 2_000
"""Labels that are remembered: intercepted clients bring credentials of their own."""


@dataclass(slots=True)
class Slot:
    """Ten minutes."""

    start_s: int
    """UTC epoch seconds."""
    success: int = 0
    failed: int = 0


@dataclass(slots=True)
class Counts:
    """Of one credential, or of several together."""

    success: int = 0
    failed: int = 0
    slots: dict[int, Slot] = field(default_factory=dict)
    """By their start."""

    def add(self, slot_s: int, *, success: int = 0, failed: int = 0) -> None:
        self.success += success
        self.failed += failed
        slot = self.slots.setdefault(slot_s, Slot(slot_s))
        slot.success += success
        slot.failed += failed


class Activity:
    """Counts by the credential's label."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self._clock = clock
        self._counts: defaultdict[str, Counts] = defaultdict(Counts)

    def note(self, exchange: Exchange) -> None:
        """Count the attempts of an exchange that is over. One that was given up counts for nothing."""
        slot_s = self._slot_s()
        for attempt in exchange.attempts:
            if attempt.credential not in self._counts and len(self._counts) >= MAX_CREDENTIALS:
                continue
            counts = self._counts[attempt.credential]
            if attempt.error or attempt.status >= 400:
                if attempt.error != CLIENT_LEFT:
                    counts.add(slot_s, failed=1)
            else:
                counts.add(slot_s, success=1)
            _forget(counts, slot_s)

    def of(self, labels: Iterable[str]) -> tuple[int, int, list[Slot]]:
        """Successes, failures, and the last slots, the newest last, of credentials together."""
        newest_s = self._slot_s()
        total = Counts(slots={start_s: Slot(start_s) for start_s in _starts(newest_s)})
        for label in dict.fromkeys(labels):
            if label not in self._counts:
                continue
            counts = self._counts[label]
            total.success += counts.success
            total.failed += counts.failed
            for start_s, slot in counts.slots.items():
                if start_s in total.slots:
                    total.slots[start_s].success += slot.success
                    total.slots[start_s].failed += slot.failed
        return total.success, total.failed, list(total.slots.values())

    def _slot_s(self) -> int:
        return int(self._clock()) // SLOT_S * SLOT_S


def _starts(newest_s: int) -> range:
    return range(newest_s - (SLOTS - 1) * SLOT_S, newest_s + 1, SLOT_S)


def _forget(counts: Counts, newest_s: int) -> None:
    if len(counts.slots) > SLOTS:
        counts.slots = {start_s: slot for start_s, slot in counts.slots.items() if start_s in _starts(newest_s)}

"""Successes and failures by credential: counted in slots of ten minutes, bounded, and not for what was given up."""

from cliproxy.exchange import CLIENT_LEFT
from cliproxy.management.activity import MAX_CREDENTIALS, SLOT_S, SLOTS, Activity
from tests.usage.exchanges import attempt, exchange


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_attempts_are_counted_in_the_slot_of_now() -> None:
    clock = Clock()
    activity = Activity(clock)
    activity.note(exchange(attempt(credential="a", status=429, error="full"), attempt(2, credential="b")))
    clock.now_s += SLOT_S
    activity.note(exchange(attempt(credential="a"), attempt(2, credential="a", error=CLIENT_LEFT)))
    success, failed, slots = activity.of(["a"])
    assert (success, failed, len(slots)) == (1, 1, SLOTS)
    assert [(slot.success, slot.failed) for slot in slots[-3:]] == [(0, 0), (0, 1), (1, 0)]
    assert slots[-1].start_s == clock.now_s // SLOT_S * SLOT_S
    assert activity.of(["a", "b", "a"])[:2] == (2, 1)
    assert activity.of(["nobody"])[:2] == (0, 0)


def test_old_slots_are_forgotten_and_totals_stay() -> None:
    clock = Clock()
    activity = Activity(clock)
    for _ in range(100):
        activity.note(exchange(attempt(credential="a")))
        clock.now_s += SLOT_S
    success, _, slots = activity.of(["a"])
    assert success == 100 and sum(slot.success for slot in slots) == SLOTS - 1
    assert len(activity._counts["a"].slots) <= SLOTS + 1


def test_credentials_are_bounded() -> None:
    activity = Activity()
    for number in range(MAX_CREDENTIALS + 5):
        activity.note(exchange(attempt(credential=f"c{number}")))
    assert activity.of([f"c{MAX_CREDENTIALS}"])[0] == 0
    activity.note(exchange(attempt(credential="c0")))
    assert activity.of(["c0"])[0] == 2

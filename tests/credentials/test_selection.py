"""Whose turn it is: fairness, weights, order, headroom, and that nobody waits for ever."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.credentials import selection
from cliproxy.credentials.record import Candidate, Group, grouped
from cliproxy.credentials.selection import READING_S, FillFirst, MostHeadroom, Policy, RoundRobin, WeightedRoundRobin
from tests.candidates import candidate, name_of
from tests.virtual_time import Clock

GROUP_OF_3 = grouped("model", [candidate(name) for name in "abc"])[0]


def group_of(count: int, weights: Sequence[int] = ()) -> Group:
    members = [candidate(str(index), weight=weights[index] if weights else 1) for index in range(count)]
    return grouped("model", members)[0]


def everyone(found: Candidate) -> bool:
    return True


def only(names: Collection[str]) -> Callable[[Candidate], bool]:
    return lambda found: name_of(found) in names


def picks(policy: Policy, group: Group, count: int, usable: Callable[[Candidate], bool] = everyone) -> list[str]:
    return [name_of(policy.pick(group, usable)) for _ in range(count)]


# ---------------------------------------------------------------- round robin


def test_round_robin_goes_by_the_order_of_the_config() -> None:
    assert picks(RoundRobin(), GROUP_OF_3, 5) == ["a", "b", "c", "a", "b"]


@given(st.integers(1, 12), st.integers(0, 100), st.data())
def test_round_robin_is_fair_within_one_among_the_healthy(count: int, rounds: int, data: st.DataObject) -> None:
    names = [str(index) for index in range(count)]
    healthy = data.draw(st.sets(st.sampled_from(names), min_size=1))
    served = Counter(picks(RoundRobin(), group_of(count), rounds, only(healthy)))
    assert set(served) <= healthy
    assert max(served.values(), default=0) - min((served[name] for name in healthy), default=0) <= 1


@given(st.integers(1, 8), st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=60), st.data())
def test_round_robin_starves_nobody_however_the_others_come_and_go(
    count: int, steady: list[set[int]], data: st.DataObject
) -> None:
    patient = data.draw(st.integers(0, count - 1))
    policy, group = RoundRobin(), group_of(count)
    chosen = [policy.pick(group, only({str(index) for index in usable | {patient}})) for usable in steady]
    waited = longest_wait(chosen, str(patient))
    assert waited < count


def longest_wait(chosen: Sequence[Candidate | None], name: str) -> int:
    """The most picks in a row that went to others."""
    longest = wait = 0
    for one in chosen:
        wait = 0 if name_of(one) == name else wait + 1
        longest = max(longest, wait)
    return longest


def test_groups_take_their_turns_apart() -> None:
    policy = RoundRobin()
    other = grouped("other", GROUP_OF_3.candidates)[0]
    assert [*picks(policy, GROUP_OF_3, 2), *picks(policy, other, 1), *picks(policy, GROUP_OF_3, 1)] == list("abac")


def test_nobody_usable_is_nobody() -> None:
    for policy in (RoundRobin(), WeightedRoundRobin(), FillFirst(), MostHeadroom()):
        assert policy.pick(GROUP_OF_3, only(())) is None
        assert name_of(policy.pick(GROUP_OF_3, everyone)) == "a"


@pytest.mark.parametrize("policy", [RoundRobin(), WeightedRoundRobin()])
def test_invented_models_do_not_fill_the_memory(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_GROUPS", 5)
    for number in range(20):
        policy.pick(grouped(f"invented-{number}", GROUP_OF_3.candidates)[0], everyone)
    (states,) = vars(policy).values()
    assert len(states) == 5


# ---------------------------------------------------------------- weights


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_weights_are_kept_exactly_over_each_cycle(weights: list[int], cycles: int) -> None:
    served = Counter(picks(WeightedRoundRobin(), group_of(len(weights), weights), cycles * sum(weights)))
    for index, weight in enumerate(weights):
        assert abs(served[str(index)] - cycles * weight) <= 1


def test_a_heavy_one_does_not_have_all_its_turns_at_once() -> None:
    assert picks(WeightedRoundRobin(), group_of(2, [3, 1]), 4) == ["0", "0", "1", "0"]


@pytest.mark.parametrize("weight", [0, -3])
def test_weight_zero_is_never_served(weight: int) -> None:
    assert set(picks(WeightedRoundRobin(), group_of(2, [weight, 1]), 9)) == {"1"}
    assert WeightedRoundRobin().pick(group_of(1, [weight]), everyone) is None


def test_one_that_was_away_does_not_catch_up() -> None:
    policy, group = WeightedRoundRobin(), group_of(2, [1, 1])
    assert set(picks(policy, group, 50, only({"1"}))) == {"1"}
    served = Counter(picks(policy, group, 10))
    assert abs(served["0"] - served["1"]) <= 2


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.data())
def test_weighted_starves_nobody_however_the_others_come_and_go(weights: list[int], data: st.DataObject) -> None:
    patient = data.draw(st.integers(0, len(weights) - 1))
    others = st.sets(st.integers(0, len(weights) - 1))
    policy, group = WeightedRoundRobin(), group_of(len(weights), weights)
    chosen = [
        policy.pick(group, only({str(index) for index in usable | {patient}}))
        for usable in data.draw(st.lists(others, min_size=1, max_size=200))
    ]
    bound = sum(math.ceil(weight / weights[patient]) + 1 for weight in weights)
    assert longest_wait(chosen, str(patient)) <= bound


# ---------------------------------------------------------------- fill first, headroom


def test_fill_first_stays_with_the_first_until_it_cannot() -> None:
    policy = FillFirst()
    assert picks(policy, GROUP_OF_3, 3) == ["a", "a", "a"]
    assert picks(policy, GROUP_OF_3, 2, only("bc")) == ["b", "b"]
    assert picks(policy, GROUP_OF_3, 1) == ["a"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def read(policy: MostHeadroom, **left: float) -> None:
    for found in GROUP_OF_3.candidates:
        if name_of(found) in left:
            policy.note(found.credential.id, left[name_of(found)])


def test_most_headroom_takes_whoever_has_most_left(clock: Clock) -> None:
    policy = MostHeadroom(clock)
    read(policy, a=0.2, b=0.9, c=0.5)
    assert picks(policy, GROUP_OF_3, 2) == ["b", "b"]
    assert picks(policy, GROUP_OF_3, 1, only("ac")) == ["c"]
    read(policy, b=0.1)
    assert picks(policy, GROUP_OF_3, 1) == ["c"]


def test_one_that_never_said_counts_as_unused_and_equals_take_turns(clock: Clock) -> None:
    policy = MostHeadroom(clock)
    assert picks(policy, GROUP_OF_3, 4) == ["a", "b", "c", "a"]
    read(policy, a=0.9)
    assert picks(policy, GROUP_OF_3, 3) == ["b", "c", "b"]


def test_most_headroom_starves_nobody_because_readings_grow_old(clock: Clock) -> None:
    policy = MostHeadroom(clock)
    read(policy, a=0.01, b=0.9, c=0.9)
    for _ in range(3):
        clock.pass_s(READING_S / 3)
        read(policy, b=0.9, c=0.9)
    assert picks(policy, GROUP_OF_3, 1) == ["a"]

"""Which candidate is taken, and what the pool learns from how it went."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.credentials import pool as module
from cliproxy.credentials.cooldown import PROBE_AFTER_S
from cliproxy.credentials.outcome import Outcome
from cliproxy.credentials.pool import Ask, Pool, key_of
from cliproxy.credentials.record import Candidate
from tests.candidates import QUOTA, REQUEST, TRANSIENT, ask, candidate, name_of
from tests.virtual_time import Clock

LIMITED = replace(QUOTA, seconds=300.0)
REFUSED_KEY = Outcome("credential", tries_next=True, sidelines=True, seconds=1800.0, all_models=True)


class Bench(Pool):
    """A pool with a clock, spoken to in short."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def take(self, asked: Ask) -> Candidate:
        found = self.pick(asked)
        assert found
        return found

    def serve(self, asked: Ask) -> str:
        found = self.take(asked)
        self.served(asked, found)
        return name_of(found)

    def fail(self, asked: Ask, outcome: Outcome) -> str:
        found = self.take(asked)
        self.failed(asked, found, outcome, 429, "no")
        return name_of(found)


@pytest.fixture
def pool() -> Bench:
    return Bench()


# ---------------------------------------------------------------- who is taken


def test_the_highest_priority_is_used_and_lower_ones_are_a_reserve(pool: Bench) -> None:
    asked = ask(candidate("reserve"), candidate("first", priority=9), candidate("second", priority=9))
    assert [pool.serve(asked) for _ in range(3)] == ["first", "second", "first"]
    pool.fail(asked, LIMITED)
    pool.fail(asked, LIMITED)
    assert pool.serve(asked) == "reserve"
    pool.clock.pass_s(300)
    assert pool.serve(asked) in ("first", "second")


def test_what_was_tried_is_not_asked_again(pool: Bench) -> None:
    a, b = candidate("a"), candidate("b")
    assert name_of(pool.pick(ask(a, b), {key_of(a)})) == "b"
    assert pool.pick(ask(a, b), {key_of(a), key_of(b)}) is None


def test_one_credential_may_offer_several_models_under_one_name(pool: Bench) -> None:
    small, large = candidate("a", "small"), candidate("a", "large")
    asked = ask(small, large, model="alias")
    assert pool.take(asked) == small
    pool.failed(asked, small, LIMITED, 429, "no")
    assert pool.pick(asked, {key_of(small)}) == large


def test_a_strategy_change_keeps_cooldowns_and_sessions(pool: Bench) -> None:
    asked = ask(candidate("a"), candidate("b"), candidate("c"), session="s")
    pool.fail(asked, LIMITED)
    assert pool.serve(asked) == "b"
    pool.configure("weighted-round-robin", 3600.0)
    assert pool.serve(asked) == "b"
    assert {pool.serve(ask(*asked.candidates())) for _ in range(4)} == {"b", "c"}


def test_state_survives_another_configuration_with_the_same_credentials(pool: Bench) -> None:
    before = ask(candidate("a"), candidate("b"))
    pool.fail(before, LIMITED)
    after = ask(candidate("new"), candidate("b", weight=2), candidate("a", weight=2))
    assert {pool.serve(after) for _ in range(6)} == {"new", "b"}


def test_most_headroom_goes_by_the_answers_headers(pool: Bench) -> None:
    pool.configure("most-headroom", 3600.0)
    a, b = candidate("a"), candidate("b")
    for found, left in ((a, "5"), (b, "50")):
        pool.note_headroom(found, {"x-ratelimit-remaining-requests": left, "x-ratelimit-limit-requests": "100"})
    assert [pool.serve(ask(a, b)) for _ in range(2)] == ["b", "b"]


def test_a_thousand_healthy_credentials_cost_no_more_than_one(pool: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Candidate] = []
    monkeypatch.setattr(pool, "is_usable", lambda found: looked_at.append(found) or True)
    asked = ask(*(candidate(str(index)) for index in range(1000)))
    for strategy in ("round-robin", "weighted-round-robin", "fill-first"):
        pool.configure(strategy, 3600.0)
        for _ in range(10):
            pool.serve(asked)
    assert len(looked_at) == 30


# ---------------------------------------------------------------- max-concurrent


def test_max_concurrent_counts_what_is_under_way(pool: Bench) -> None:
    asked = ask(candidate("a", max_concurrent=2), candidate("b", max_concurrent=1))
    under_way = [pool.take(asked) for _ in range(3)]
    assert Counter(map(name_of, under_way)) == {"a": 2, "b": 1}
    assert pool.pick(asked) is None
    pool.served(asked, under_way[0])
    again = pool.take(asked)
    assert name_of(again) == name_of(under_way[0])
    pool.failed(asked, again, REQUEST, 400, "no")
    again = pool.take(asked)
    pool.abandoned(asked, again)
    assert name_of(pool.pick(asked)) == name_of(again)


def test_max_concurrent_is_the_credentials_not_the_models(pool: Bench) -> None:
    asked = ask(candidate("a", "small", max_concurrent=1), candidate("a", "large", max_concurrent=1))
    pool.take(asked)
    assert pool.pick(asked) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["pick", "served", "failed", "abandoned"])), max_size=60))
def test_no_credential_ever_has_more_under_way_than_it_may(steps: list[tuple[int, str]]) -> None:
    pool = Bench()
    limits = {"a": 1, "b": 2, "c": 3}
    asked = ask(*(candidate(name, max_concurrent=limit) for name, limit in limits.items()))
    under_way: list[Candidate] = []
    for index, step in steps:
        if step == "pick":
            if found := pool.pick(asked):
                under_way.append(found)
            else:
                assert len(under_way) == 6
        elif index < len(under_way):
            found = under_way.pop(index)
            match step:
                case "served":
                    pool.served(asked, found)
                case "failed":
                    pool.failed(asked, found, REQUEST, 400, "no")
                case _:
                    pool.abandoned(asked, found)
        counts = Counter(map(name_of, under_way))
        assert all(counts[name] <= limit for name, limit in limits.items())


# ---------------------------------------------------------------- who is sidelined


def test_row_success_clears_model_state_quota_and_backoff(pool: Bench) -> None:
    asked = ask(candidate("a"))
    for wait in (1, 2, 4):
        pool.fail(asked, QUOTA)
        pool.clock.pass_s(wait)
    pool.serve(asked)
    pool.fail(asked, QUOTA)
    (sidelined,) = pool.sidelined(asked)
    assert sidelined.cooldown.until_s - pool.clock.now_s == 1


def test_row_success_unless_a_credential_wide_quota_is_pending(pool: Bench) -> None:
    asked, later = ask(candidate("a")), ask(candidate("a"))
    streaming = pool.take(asked)
    pool.fail(later, replace(LIMITED, all_models=True))
    pool.served(asked, streaming)
    assert pool.pick(ask(candidate("a"))) is None


def test_row_client_cancel_never_penalises(pool: Bench) -> None:
    asked = ask(candidate("a"))
    pool.abandoned(asked, pool.take(asked))
    assert not pool.sidelined(asked)


def test_row_429_is_of_the_model_or_of_all_models(pool: Bench) -> None:
    pool.fail(ask(candidate("a", "one")), LIMITED)
    assert pool.serve(ask(candidate("a", "two"))) == "a"
    pool.fail(ask(candidate("a", "two")), REFUSED_KEY)
    assert pool.pick(ask(candidate("a", "three"))) is None


def test_a_request_fault_sidelines_nobody(pool: Bench) -> None:
    asked = ask(candidate("a"))
    pool.fail(asked, REQUEST)
    assert not pool.sidelined(asked)
    assert not pool.cooldowns.dump()


def test_a_passing_trouble_makes_a_credential_the_last_but_refuses_it_not(pool: Bench) -> None:
    asked = ask(candidate("a"), candidate("b"))
    assert pool.fail(asked, TRANSIENT) == "a"
    assert [pool.serve(asked) for _ in range(3)] == ["b", "b", "b"]
    pool.clock.pass_s(5)
    assert pool.fail(asked, TRANSIENT) == "b"
    assert name_of(pool.pick(asked)) == "a", "the one that comes back first"


def test_all_who_come_meanwhile_may_ask_one_in_passing_trouble(pool: Bench) -> None:
    a = candidate("a")
    pool.fail(ask(a), TRANSIENT)
    assert [name_of(pool.pick(ask(a))) for _ in range(3)] == ["a", "a", "a"]


def test_its_success_puts_it_back_into_play(pool: Bench) -> None:
    asked, other = ask(candidate("a")), ask(candidate("a"))
    pool.fail(asked, TRANSIENT)
    first, second = pool.take(asked), pool.take(other)
    pool.answered(asked, first)
    assert not pool.sidelined(asked)
    pool.served(other, second)
    assert not pool.sidelined(asked)


def test_passing_trouble_does_not_hide_a_used_up_quota(pool: Bench) -> None:
    asked = ask(candidate("a"))
    pool.fail(asked, replace(LIMITED, all_models=True, seconds=10.0))
    pool.cooldowns.sideline(
        asked.candidates()[0].credential.id, "model", asked, seconds=60.0, reason="transient", status=500, message="x"
    )
    assert pool.pick(asked) is None
    pool.clock.pass_s(10)
    assert name_of(pool.pick(asked)) == "a"


def test_a_long_cooldown_is_probed_by_exactly_one_request(pool: Bench) -> None:
    a = candidate("a")
    pool.fail(ask(a), replace(QUOTA, seconds=86400.0))
    pool.clock.pass_s(PROBE_AFTER_S)
    probe, second = ask(a), ask(a)
    found = pool.take(probe)
    assert pool.pick(second) is None
    pool.failed(probe, found, QUOTA, 429, "no")
    assert pool.pick(second) is None
    pool.clock.pass_s(PROBE_AFTER_S)
    pool.answered(second, pool.take(second))
    assert name_of(pool.pick(ask(a))) == "a"


# ---------------------------------------------------------------- sessions


def test_a_conversation_stays_with_its_credential(pool: Bench) -> None:
    a, b = candidate("a"), candidate("b")
    for session in ("one", "two"):
        assert len({pool.serve(ask(a, b, session=session)) for _ in range(5)}) == 1
    assert {pool.serve(ask(a, b, session=session)) for session in ("one", "two")} == {"a", "b"}


def test_requests_that_run_at_once_stay_together_too(pool: Bench) -> None:
    a, b = candidate("a"), candidate("b")
    assert [name_of(pool.pick(ask(a, b, session="s"))) for _ in range(3)] == ["a", "a", "a"]


def test_a_failure_rebinds_for_good(pool: Bench) -> None:
    asked = ask(candidate("a"), candidate("b"), session="s")
    assert pool.fail(asked, LIMITED) == "a"
    assert pool.serve(asked) == "b"
    pool.clock.pass_s(301)
    assert [pool.serve(asked) for _ in range(3)] == ["b", "b", "b"]


def test_a_credential_that_others_found_used_up_is_left_for_good(pool: Bench) -> None:
    a, b = candidate("a"), candidate("b")
    assert pool.serve(ask(a, b, session="s")) == "a"
    pool.fail(ask(a), LIMITED)
    assert pool.serve(ask(a, b, session="s")) == "b"
    pool.clock.pass_s(301)
    assert pool.serve(ask(a, b, session="s")) == "b"


def test_a_credential_that_is_only_busy_is_left_for_once(pool: Bench) -> None:
    asked = ask(candidate("a", max_concurrent=1), candidate("b"), session="s")
    own = pool.take(asked)
    assert name_of(own) == "a"
    assert pool.serve(asked) == "b"
    pool.served(asked, own)
    assert pool.serve(asked) == "a"


def test_a_request_fault_leaves_the_session_where_it_is(pool: Bench) -> None:
    asked = ask(candidate("a"), candidate("b"), session="s")
    assert pool.fail(asked, REQUEST) == "a"
    assert pool.serve(asked) == "a"


def test_a_session_outlives_the_recovery_of_a_higher_priority(pool: Bench) -> None:
    asked = ask(candidate("high", priority=1), candidate("low"), session="s")
    assert pool.fail(asked, LIMITED) == "high"
    assert pool.serve(asked) == "low"
    pool.clock.pass_s(301)
    assert pool.serve(asked) == "low"
    assert pool.serve(ask(*asked.candidates())) == "high"


def test_a_session_ends_when_it_is_idle_for_too_long(pool: Bench) -> None:
    pool.configure("round-robin", 100.0)
    asked = ask(candidate("a"), candidate("b"), session="s")
    assert pool.serve(asked) == "a"
    pool.clock.pass_s(99)
    assert pool.serve(asked) == "a"
    pool.clock.pass_s(100)
    assert pool.serve(asked) == "b"


def test_an_answer_that_takes_long_counts_as_use(pool: Bench) -> None:
    pool.configure("round-robin", 100.0)
    asked = ask(candidate("a"), candidate("b"), session="s")
    streaming = pool.take(asked)
    pool.clock.pass_s(90)
    pool.served(asked, streaming)
    pool.clock.pass_s(90)
    assert pool.serve(asked) == "a"


def test_the_winner_of_a_race_keeps_the_session(pool: Bench) -> None:
    asked = ask(candidate("a"), candidate("b"), session="s")
    slow = pool.take(asked)
    fast = pool.pick(asked, {key_of(slow)}, priority=0)
    assert fast
    pool.preferred(asked, fast)
    pool.abandoned(asked, slow)
    pool.served(asked, fast)
    assert pool.serve(asked) == "b"


def test_a_session_is_found_again_wherever_a_new_configuration_puts_its_credential(pool: Bench) -> None:
    members = [candidate(str(index)) for index in range(9)]
    for found in members[:5]:
        assert pool.serve(ask(*members, session=f"session {name_of(found)}")) == name_of(found)
    moved = ask(*(candidate(name_of(found), priority=index % 2) for index, found in enumerate(members)))
    for found in members[:5]:
        session = f"session {name_of(found)}"
        assert pool.serve(Ask(moved.groups[::-1], "model", session)) == name_of(found)
    gone = ask(*members[5:], session="session 0")
    assert pool.serve(gone) == pool.serve(gone)


def test_a_session_is_searched_for_once(pool: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [candidate(str(index)) for index in range(100)]
    for session in map(str, members[:60]):
        pool.serve(ask(*members, session=session))
    asked = ask(*members, session="the last")
    pool.serve(asked)
    pool.serve(asked)
    looked_at: list[Candidate] = []
    monkeypatch.setattr(module, "key_of", lambda found: looked_at.append(found) or key_of(found))
    pool.serve(asked)
    assert len(looked_at) < 10


def test_a_session_is_one_models(pool: Bench) -> None:
    a, b = candidate("a"), candidate("b")
    assert pool.serve(ask(a, b, session="s", model="one")) == "a"
    assert pool.serve(ask(a, b, session="s", model="two")) == "a"
    pool.fail(ask(a, b, session="s", model="two"), replace(LIMITED, seconds=0.0))
    assert pool.serve(ask(a, b, session="s", model="two")) == "b"
    assert pool.serve(ask(a, b, session="s", model="one")) == "a"


# ---------------------------------------------------------------- races


def test_only_healthy_ones_of_the_same_priority_are_asked_beside_another(pool: Bench) -> None:
    asked = ask(candidate("a", priority=1), candidate("b", priority=1), candidate("c"))
    pool.fail(asked, TRANSIENT)
    first = pool.take(asked)
    assert name_of(first) == "b"
    assert pool.pick(asked, {key_of(first)}, priority=1) is None
    assert name_of(pool.pick(asked, {key_of(first)})) == "c"

"""Deadlines, backoff, probes, and what ends a cooldown."""

import pytest

from cliproxy.credentials.cooldown import (
    ALL_MODELS,
    MAX_BACKOFF_S,
    MAX_COOLDOWN_S,
    MAX_MODELS,
    PROBE_AFTER_S,
    Cooldown,
    Cooldowns,
)
from tests.virtual_time import Clock


class Asked(Cooldowns):
    """Cooldowns of the credential `a`, with the words that tests do not care about."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def fails(
        self, model: str = "m", asker: object = None, *, seconds: float | None = None, reason: str = "quota",
        at_least_s: float = 0.0, message: str = "no",
    ) -> None:  # fmt: skip
        self.sideline(
            "a", model, asker or object(), seconds=seconds, at_least_s=at_least_s, reason=reason, status=429,
            message=message,
        )  # fmt: skip

    def probe(self, model: str = "m") -> object:
        """Ask as a request does: only when it may."""
        assert self.is_ready("a", model)
        asker = object()
        self.asked("a", model, asker)
        return asker

    def state(self, model: str = "m") -> Cooldown:
        state = self.blocking("a", model)
        assert state
        return state

    def left_s(self, model: str = "m") -> float:
        return self.state(model).until_s - self.clock.now_s


@pytest.fixture
def cooldowns() -> Asked:
    return Asked()


def test_a_cooldown_is_of_one_model_of_one_credential_and_over_on_time(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=30.0)
    assert not cooldowns.is_ready("a", "m")
    assert cooldowns.is_ready("a", "other")
    assert cooldowns.is_ready("b", "m")
    cooldowns.clock.pass_s(29.9)
    assert not cooldowns.is_ready("a", "m")
    cooldowns.clock.pass_s(0.1)
    assert cooldowns.is_ready("a", "m")
    assert cooldowns.blocking("a", "m") is None


def test_one_of_the_account_holds_for_all_models(cooldowns: Asked) -> None:
    cooldowns.fails(ALL_MODELS, seconds=30.0)
    assert not cooldowns.is_ready("a", "m")
    assert not cooldowns.is_ready("a", "other")


def test_backoff_doubles_from_a_second_to_half_an_hour(cooldowns: Asked) -> None:
    waits = []
    for _ in range(1200):  # far beyond what a float can hold of two's powers
        cooldowns.fails()
        waits.append(cooldowns.left_s())
        cooldowns.clock.pass_s(waits[-1])
    assert waits[:12] == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, MAX_BACKOFF_S])
    assert set(waits[12:]) == {MAX_BACKOFF_S}


def test_backoff_begins_at_what_the_failure_says(cooldowns: Asked) -> None:
    waits = []
    for _ in range(3):
        cooldowns.fails(at_least_s=10.0)
        waits.append(cooldowns.left_s())
        cooldowns.clock.pass_s(waits[-1])
    assert waits == pytest.approx([10, 20, 40])


def test_failures_of_requests_that_were_under_way_already_count_once(cooldowns: Asked) -> None:
    for _ in range(5):
        cooldowns.fails()
    assert cooldowns.left_s() == 1


def test_a_deadline_that_stands_is_never_shortened(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=300.0, message="the quota is used up")
    cooldowns.fails(seconds=60.0, reason="transient", message="oops")
    assert cooldowns.left_s() == 300
    assert (cooldowns.state().reason, cooldowns.state().message) == ("quota", "the quota is used up")
    cooldowns.fails(seconds=400.0)
    assert cooldowns.left_s() == 400


def test_no_deadline_is_believed_beyond_a_month(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=1e300)
    assert cooldowns.left_s() == MAX_COOLDOWN_S


def test_success_clears_state_and_backoff(cooldowns: Asked) -> None:
    for _ in range(3):
        cooldowns.fails()
        cooldowns.clock.pass_s(10)
    cooldowns.succeeded("a", "m", cooldowns.probe())
    cooldowns.fails()
    assert cooldowns.left_s() == 1


def test_success_of_a_request_that_began_before_does_not_end_a_quotas_wait(cooldowns: Asked) -> None:
    streaming = cooldowns.probe()
    cooldowns.fails(ALL_MODELS, seconds=300.0)
    cooldowns.succeeded("a", "m", streaming)
    assert cooldowns.left_s() == 300


def test_success_with_one_model_ends_the_wait_of_the_account_that_it_probed(cooldowns: Asked) -> None:
    cooldowns.fails(ALL_MODELS, seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    cooldowns.succeeded("a", "m", cooldowns.probe())
    assert cooldowns.is_ready("a", "other")


# ---------------------------------------------------------------- probes


def test_a_long_cooldown_is_probed_with_one_request(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S - 1)
    assert not cooldowns.is_ready("a", "m")
    cooldowns.clock.pass_s(1)
    cooldowns.probe()
    assert not cooldowns.is_ready("a", "m")
    cooldowns.clock.pass_s(86400.0 - PROBE_AFTER_S)
    assert cooldowns.is_ready("a", "m")


def test_a_probe_that_serves_ends_the_cooldown(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    cooldowns.succeeded("a", "m", cooldowns.probe())
    assert cooldowns.is_ready("a", "m")


def test_a_probe_that_fails_puts_the_next_one_off_and_keeps_the_deadline(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    asker = cooldowns.probe()
    cooldowns.fails(asker=asker)
    cooldowns.released("a", "m", asker, failed=True)
    assert cooldowns.left_s() == 86400.0 - PROBE_AFTER_S
    cooldowns.clock.pass_s(PROBE_AFTER_S - 1)
    assert not cooldowns.is_ready("a", "m")
    cooldowns.clock.pass_s(1)
    assert cooldowns.is_ready("a", "m")


def test_a_probe_that_is_told_a_nearer_end_is_believed(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    cooldowns.fails(asker=cooldowns.probe(), seconds=20.0)
    assert cooldowns.left_s() == 20


def test_a_probe_of_the_account_that_fails_for_a_model_puts_off_both(cooldowns: Asked) -> None:
    cooldowns.fails(ALL_MODELS, seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    asker = cooldowns.probe("m")
    cooldowns.fails("m", asker, seconds=5.0)
    cooldowns.released("a", "m", asker, failed=True)
    assert not cooldowns.is_ready("a", "other")


def test_a_probe_that_says_nothing_lets_another_follow(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    cooldowns.released("a", "m", cooldowns.probe())
    cooldowns.probe()


def test_an_older_request_that_ends_meanwhile_lets_no_second_probe_through(cooldowns: Asked) -> None:
    older = cooldowns.probe()
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    cooldowns.probe()
    cooldowns.released("a", "m", older)
    assert not cooldowns.is_ready("a", "m")


# ---------------------------------------------------------------- what is told, cleared and saved


def test_what_blocks_is_the_gravest_then_the_longest(cooldowns: Asked) -> None:
    cooldowns.fails(ALL_MODELS, seconds=10.0, reason="quota")
    cooldowns.fails(seconds=60.0, reason="transient")
    assert cooldowns.state().reason == "quota"
    cooldowns.fails(seconds=90.0, reason="model")
    assert cooldowns.state().reason == "model"


def test_cooldowns_can_be_cleared_by_hand(cooldowns: Asked) -> None:
    cooldowns.fails("m", seconds=9.0)
    cooldowns.fails("n", seconds=9.0)
    cooldowns.sideline("b", "m", object(), seconds=9.0, reason="quota", status=429, message="no")
    assert sorted(cooldowns.clear("a")) == ["m", "n"]
    assert cooldowns.is_ready("a", "m")
    assert not cooldowns.is_ready("b", "m")
    assert cooldowns.clear() == ["m"]
    assert cooldowns.clear("nobody") == []


def test_invented_models_do_not_fill_the_memory(cooldowns: Asked) -> None:
    for number in range(MAX_MODELS + 10):
        cooldowns.fails(f"invented-{number}", seconds=43200.0, reason="model")
    assert len(cooldowns.dump()) == MAX_MODELS
    assert cooldowns.is_ready("a", "invented-0")


def test_what_is_saved_is_what_is_not_over(cooldowns: Asked) -> None:
    cooldowns.fails("short", seconds=5.0)
    cooldowns.fails("long", seconds=86400.0, message="the quota is used up")
    cooldowns.clock.pass_s(10)
    saved = cooldowns.dump()
    assert [entry.model for entry in saved] == ["long"]

    after = Asked()
    after.clock.now_s = cooldowns.clock.now_s + 60
    after.load(saved)
    assert after.left_s("long") == 86400 - 10 - 60
    assert after.state("long").message == "the quota is used up"


def test_a_probe_that_was_under_way_is_not_under_way_after_a_restart(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=86400.0)
    cooldowns.clock.pass_s(PROBE_AFTER_S)
    cooldowns.probe()
    after = Asked()
    after.clock.now_s = cooldowns.clock.now_s
    after.load(cooldowns.dump())
    assert after.is_ready("a", "m")


def test_what_is_over_by_now_is_not_taken_over(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=50.0)
    saved = cooldowns.dump()
    after = Asked()
    after.clock.now_s = cooldowns.clock.now_s + 60
    after.load(saved)
    assert after.dump() == []


def test_what_is_known_better_stays(cooldowns: Asked) -> None:
    cooldowns.fails(seconds=50.0)
    saved = cooldowns.dump()
    cooldowns.fails(seconds=90.0)
    cooldowns.load(saved)
    assert cooldowns.left_s() == 90


def test_a_new_login_ends_what_the_old_one_was_blamed_for():
    asked = Asked()
    asked.fails("m", seconds=1800, reason="credential")
    asked.fails("n", seconds=1800, reason="quota")
    asked.forgive("a")
    assert asked.is_ready("a", "m")
    assert not asked.is_ready("a", "n")
    asked.clear("a")
    asked.fails("m", seconds=1800, reason="credential")
    asked.forgive("a")
    asked.forgive("unknown")
    assert asked.dump() == []

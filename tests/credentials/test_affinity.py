"""Sessions and what they are bound to."""

import pytest

from cliproxy.credentials import affinity as module
from cliproxy.credentials.affinity import Affinity
from tests.virtual_time import Clock

CHAT = ("session", "alias")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def affinity(clock: Clock) -> Affinity:
    return Affinity(100.0, clock)


def bound(affinity: Affinity, session: str = "session", model: str = "alias") -> str:
    binding = affinity.binding(session, model)
    return binding.credential_id if binding else ""


def test_a_binding_is_of_one_session_and_one_model(affinity: Affinity) -> None:
    affinity.bind(*CHAT, "a", "m")
    assert (bound(affinity), bound(affinity, session="other"), bound(affinity, model="other")) == ("a", "", "")


def test_a_binding_lasts_from_its_last_use(affinity: Affinity, clock: Clock) -> None:
    affinity.bind(*CHAT, "a", "m")
    clock.pass_s(99)
    affinity.renew(*CHAT, "a", "m")
    clock.pass_s(99)
    assert bound(affinity) == "a"
    clock.pass_s(1)
    assert bound(affinity) == ""


def test_use_of_another_neither_renews_nor_takes_the_session(affinity: Affinity, clock: Clock) -> None:
    affinity.bind(*CHAT, "a", "m")
    clock.pass_s(99)
    affinity.renew(*CHAT, "b", "m")
    affinity.renew(*CHAT, "a", "n")
    assert bound(affinity) == "a"
    clock.pass_s(1)
    assert bound(affinity) == ""


def test_a_failure_releases_only_its_own(affinity: Affinity) -> None:
    affinity.bind(*CHAT, "a", "m")
    affinity.release(*CHAT, "b", "m")
    assert bound(affinity) == "a"
    affinity.release(*CHAT, "a", "m")
    assert bound(affinity) == ""


def test_a_new_ttl_counts_from_the_next_use(affinity: Affinity, clock: Clock) -> None:
    affinity.bind(*CHAT, "a", "m")
    affinity.ttl_s = 10.0
    affinity.renew(*CHAT, "a", "m")
    clock.pass_s(10)
    assert bound(affinity) == ""


def test_the_session_that_was_idle_longest_is_forgotten_first(
    affinity: Affinity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BINDINGS", 2)
    affinity.bind("one", "m", "a", "m")
    affinity.bind("two", "m", "a", "m")
    affinity.renew("one", "m", "a", "m")
    affinity.bind("three", "m", "a", "m")
    assert [bound(affinity, session, "m") for session in ("one", "two", "three")] == ["a", "", "a"]

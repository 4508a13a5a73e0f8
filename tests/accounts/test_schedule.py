"""When logins are due, and in which order they come up."""

import asyncio
from typing import Any

import pytest

from cliproxy.accounts.account import LiveAccount
from cliproxy.accounts.schedule import RETRY_S, Schedule, due_at_s
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.oauth.registration import Registration
from cliproxy.providers.openai import OpenAI
from cliproxy.providers.vendor import Vendor
from tests.accounts.keepers import NoKeeper

NOW_S = 1_800_000_000.0
LEAD_S = 3600.0
VENDOR = Vendor(
    "acme", "Acme", ("openai-chat",), OpenAI(), "https://acme.example", registration=Registration(""), lead_s=LEAD_S
)


def file(**fields: Any) -> AuthFile:
    return AuthFile.of({"type": "acme", "access_token": "test-access", "refresh_token": "test-refresh", **fields})


def account(name: str, **fields: Any) -> LiveAccount:
    return LiveAccount(f"{name}.json", file(**fields), VENDOR, NoKeeper(), clock=lambda: NOW_S)


@pytest.mark.parametrize(
    ("fields", "due_s"),
    [
        ({}, None),
        ({"expired": NOW_S + 9000}, NOW_S + 9000 - LEAD_S),
        ({"last_refresh": NOW_S - 10}, NOW_S - 10 + LEAD_S),
        # A token that lives no longer than the lead is renewed half-way, not at once and for ever.
        ({"expired": NOW_S + 1000, "last_refresh": NOW_S - 1000}, NOW_S),
        ({"expired": NOW_S + 99_000, "last_refresh": NOW_S}, NOW_S + 99_000 - LEAD_S),
        # The clock was set back, or the file was written by hand.
        ({"expired": NOW_S, "last_refresh": NOW_S + 50}, NOW_S - LEAD_S),
        ({"expired": NOW_S + 9000, "last_refresh": NOW_S, "refresh_interval_seconds": 60}, NOW_S + 60),
    ],
)
def test_when_a_login_is_due(fields: dict[str, Any], due_s: float | None) -> None:
    assert due_at_s(file(**fields), VENDOR) == due_s


def test_accounts_come_up_in_the_order_of_their_times() -> None:
    schedule = Schedule()
    late, early, never = (
        account("late", expired=NOW_S + 9000),
        account("early", expired=NOW_S + 5000),
        account("never", expired=NOW_S + 5000, refresh_token=""),
    )
    for one in (late, early, never):
        schedule.put(one, NOW_S)
    assert schedule.due(NOW_S) == []
    assert schedule.due(NOW_S + 9000) == [early, late]
    assert schedule.due(NOW_S + 9000) == []


def test_what_was_put_off_or_forgotten_does_not_come_up_early() -> None:
    schedule = Schedule()
    one, two = account("one", expired=NOW_S), account("two", expired=NOW_S)
    schedule.put(one, NOW_S)
    schedule.put(one, NOW_S, soonest_s=30)
    schedule.put(two, NOW_S)
    schedule.forget(two)
    assert schedule.due(NOW_S + 29) == []
    assert schedule.due(NOW_S + 30) == [one]


def test_failures_are_spaced_further_and_further_apart() -> None:
    schedule = Schedule()
    one = account("one", expired=NOW_S)
    pauses = [schedule.failed(one, None, NOW_S) for _ in range(7)]
    assert pauses == [*RETRY_S, RETRY_S[-1], RETRY_S[-1]]
    assert schedule.failed(one, 1000.0, NOW_S) == 1000.0
    schedule.put(one, NOW_S)
    assert schedule.failed(one, None, NOW_S) == RETRY_S[0]


async def test_whoever_waits_is_woken_by_a_change() -> None:
    schedule = Schedule()
    schedule.put(account("one", expired=NOW_S + 90_000), NOW_S)
    waiting = asyncio.ensure_future(schedule.wait(NOW_S))
    await asyncio.sleep(0)
    assert not waiting.done()
    schedule.put(account("two", expired=NOW_S), NOW_S)
    await asyncio.wait_for(waiting, 5)

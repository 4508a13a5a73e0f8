"""What client keys may use: requests and tokens a minute, dollars a month, models and providers."""

import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.config.schema import ClientKey
from cliproxy.limits import KeyLimits
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.model import Usage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def key(secret: str = "sk-test-limits", **limits: object) -> ClientKey:
    return ClientKey.model_validate({"key": secret, **limits})


def dollar_a_token(provider: str, model: str, usage: Usage) -> float | None:
    return None if model == "unpriced" else float(usage.output or 0)


def refusal(limits: KeyLimits, key: ClientKey) -> GatewayError | None:
    try:
        limits.check(key)
    except GatewayError as error:
        return error
    return None


# ---------------------------------------------------------------- requests a minute


def test_one_request_too_many_in_a_minute_is_refused_until_the_first_is_a_minute_old() -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock), key(rpm=2, name="ci")
    limits.check(limited)
    clock.now += 10
    limits.check(limited)
    error = refusal(limits, limited)
    assert error
    assert (error.status, error.code, error.retry_after_s) == (429, "rate_limit_exceeded", 51)
    assert error.message == "the API key ci has sent its 2 requests of this minute; try again in 51 s"
    clock.now += 51
    limits.check(limited)
    assert refusal(limits, limited)


@given(
    rpm=st.integers(1, 5),
    gaps=st.lists(st.floats(0, 90, allow_nan=False), max_size=60),
    start=st.floats(NOON, NOON + 1),
)
def test_no_minute_has_more_requests_than_the_limit(rpm: int, gaps: list[float], start: float) -> None:
    clock = Clock(start)
    limits, limited = KeyLimits(clock), key(rpm=rpm)
    admitted: list[float] = []
    for gap in gaps:
        clock.now += gap
        if error := refusal(limits, limited):
            assert error.retry_after_s
            # Who waits as told is let in.
            clock.now += error.retry_after_s
            limits.check(limited)
        admitted.append(clock.now)
    for first, later in zip(admitted, admitted[rpm:], strict=False):
        assert later - first >= 60


@given(st.lists(st.floats(0, 90, allow_nan=False), max_size=60))
def test_a_key_is_never_kept_out_longer_than_61_seconds(gaps: list[float]) -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock), key(rpm=3)
    for gap in gaps:
        clock.now += gap
        if error := refusal(limits, limited):
            assert error.retry_after_s
            assert error.retry_after_s <= 61


def test_refused_requests_do_not_count() -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock), key(rpm=1)
    limits.check(limited)
    for _ in range(60):
        clock.now += 1
        assert refusal(limits, limited)
    clock.now += 1
    limits.check(limited)


def test_a_clock_that_goes_back_neither_forgets_nor_locks_out() -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock), key(rpm=1)
    limits.check(limited)
    clock.now -= 5
    assert refusal(limits, limited)
    clock.now -= 86400
    limits.check(limited)


# ---------------------------------------------------------------- tokens a minute


def test_all_tokens_count_and_are_forgotten_after_a_minute() -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock), key(tpm=100)
    limits.check(limited)
    limits.book(limited, Usage(40, 30, 20, 9, reasoning=5), "claude", "m")
    limits.check(limited)
    limits.book(limited, Usage(output=1), "claude", "m")
    error = refusal(limits, limited)
    assert error
    assert (error.status, error.code, error.retry_after_s) == (429, "rate_limit_exceeded", 61)
    clock.now += 61
    limits.check(limited)


def test_the_wait_is_for_as_many_tokens_as_are_in_the_way() -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock), key(tpm=100)
    for tokens in (10, 60, 60):
        limits.book(limited, Usage(output=tokens), "claude", "m")
        clock.now += 10
    error = refusal(limits, limited)
    assert error
    # Without the first 10 there are still 120: the second booking, 20 s ago, must go as well.
    assert error.retry_after_s == 41


def test_usage_below_zero_counts_as_none() -> None:
    limits, limited = KeyLimits(Clock(), lambda *_: -5.0), key(tpm=10, budget_usd=1.0)
    limits.book(limited, Usage(-100, 0, 0, 10), "claude", "m")
    assert refusal(limits, limited)


# ---------------------------------------------------------------- dollars a month


def test_a_budget_that_is_spent_is_refused_until_the_next_month() -> None:
    clock = Clock()
    limits, limited = KeyLimits(clock, dollar_a_token), key(budget_usd=2.5)
    limits.book(limited, Usage(output=2), "claude", "m")
    limits.check(limited)
    limits.book(limited, Usage(output=1), "claude", "m")
    error = refusal(limits, limited)
    assert error
    assert (error.status, error.code, error.retry_after_s) == (429, "insufficient_quota", None)
    assert "$2.5" in error.message and "2026-12-01" in error.message
    clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    assert refusal(limits, limited)
    clock.now += 1
    limits.check(limited)


def test_the_budget_of_december_is_renewed_in_the_next_year() -> None:
    limits, limited = (
        KeyLimits(Clock(datetime(2026, 12, 31, tzinfo=UTC).timestamp()), dollar_a_token),
        key(budget_usd=1.0),
    )
    limits.book(limited, Usage(output=1), "claude", "m")
    error = refusal(limits, limited)
    assert error
    assert "2027-01-01" in error.message


@given(st.lists(st.tuples(st.integers(-3, 5), st.floats(-3600, 86400, allow_nan=False)), max_size=40))
def test_within_a_month_what_is_spent_never_becomes_less(bookings: list[tuple[int, float]]) -> None:
    clock = Clock(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp())
    limits, limited = KeyLimits(clock, dollar_a_token), key(budget_usd=10.0)
    spent, refused = 0, False
    for tokens, gap in bookings:
        clock.now = min(clock.now + gap, datetime(2026, 11, 30, tzinfo=UTC).timestamp())
        limits.book(limited, Usage(output=tokens), "claude", "m")
        spent += max(0, tokens)
        now_refused = refusal(limits, limited) is not None
        assert now_refused == (spent >= 10)
        assert now_refused or not refused
        refused = now_refused


def test_a_clock_that_goes_back_to_the_last_month_forgives_nothing() -> None:
    clock = Clock(datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    limits, limited = KeyLimits(clock, dollar_a_token), key(budget_usd=1.0)
    limits.book(limited, Usage(output=1), "claude", "m")
    clock.now -= 10
    assert refusal(limits, limited)
    clock.now += 10
    assert refusal(limits, limited)


def test_what_has_no_price_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    limits, limited = KeyLimits(Clock(), dollar_a_token), key(budget_usd=1.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            limits.book(limited, Usage(output=9), "my-relay", "unpriced")
    assert [record.getMessage() for record in caplog.records] == [
        "no list price is known for my-relay/unpriced: it does not count towards budgets"
    ]
    limits.check(limited)


def test_list_prices_are_the_default() -> None:
    limits, limited = KeyLimits(Clock()), key(budget_usd=0.001)
    limits.book(limited, Usage(output=1_000_000), "claude", "claude-sonnet-4-5")
    assert refusal(limits, limited)


# ---------------------------------------------------------------- keys


def test_keys_are_counted_apart_and_known_again_after_a_reload() -> None:
    limits = KeyLimits(Clock())
    limits.check(key("sk-test-a", rpm=1))
    limits.check(key("sk-test-b", rpm=1))
    assert refusal(limits, key("sk-test-a", rpm=1, name="renamed"))
    limits.check(key("sk-test-a", rpm=2))


def test_a_key_without_limits_is_never_refused_and_never_remembered() -> None:
    limits, free = KeyLimits(Clock()), key()
    for _ in range(1000):
        limits.check(free)
        limits.book(free, Usage(output=10**9), "claude", "m")
    assert not limits._accounts


def test_an_error_names_the_key_without_telling_it() -> None:
    limits, limited = KeyLimits(Clock()), key("sk-test-secret-0123456789", rpm=1)
    limits.check(limited)
    error = refusal(limits, limited)
    assert error
    assert "sk-t…#" in error.message and "secret" not in error.message


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        ([], "anything", True),
        (["gpt-5"], "gpt-5", True),
        (["gpt-5"], "gpt-5-mini", False),
        (["gpt-*", "claude-*"], "Claude-Sonnet-4-5", True),
        (["gpt-*"], "claude-sonnet-4-5", False),
        (["*-sonnet[1m]"], "claude-sonnet[1m]", True),
        (["*-sonnet[1m]"], "claude-sonnet1", False),
    ],
)
def test_models_of_a_key(patterns: list[str], model: str, allowed: bool) -> None:
    assert KeyLimits().allows_model(key(models=patterns), model) is allowed


@pytest.mark.parametrize(
    ("providers", "provider", "allowed"),
    [([], "claude", True), (["claude"], "claude", True), (["claude"], "codex", False)],
)
def test_providers_of_a_key(providers: list[str], provider: str, allowed: bool) -> None:
    assert KeyLimits().allows_provider(key(providers=providers), provider) is allowed


def test_what_was_spent_before_a_restart_counts() -> None:
    asked: list[tuple[str, float]] = []

    def spent(name: str, since_s: float) -> float:
        asked.append((name, since_s))
        return 4.0

    limits, limited = KeyLimits(Clock(), dollar_a_token), key(budget_usd=5, name="team")
    limits.resume([limited, key("sk-test-free")], spent)
    assert asked == [("team", datetime(2026, 11, 1, tzinfo=UTC).timestamp())]
    assert limits.spent_usd(limited) == 4.0
    limits.book(limited, Usage(output=1), "claude", "m")
    assert limits.spent_usd(limited) == 5.0
    assert refusal(limits, limited)
    # A reload takes nothing over twice.
    limits.resume([limited], spent)
    assert len(asked) == 1


def test_a_key_that_gets_a_budget_later_has_spent_what_it_spent() -> None:
    limits = KeyLimits(Clock(), dollar_a_token)
    limits.resume([key(rpm=9)], lambda name, since_s: 4.0)
    limits.check(key(rpm=9))
    limits.resume([key(budget_usd=5)], lambda name, since_s: 4.0)
    assert limits.spent_usd(key(budget_usd=5)) == 4.0

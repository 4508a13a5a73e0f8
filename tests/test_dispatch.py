"""Trying candidates: rounds, failover, hedging, waiting, and the words for nobody. Time is virtual."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.config import parse_config
from cliproxy.config.schema import ErrorRule
from cliproxy.credentials.pool import Ask, Pool
from cliproxy.credentials.record import Candidate
from cliproxy.dispatch import MAX_JITTER_S, MAX_NAMED, ROUND_PAUSE_S, SOON_S, Dispatch, Limits, Trial
from cliproxy.exchange import Answer, EmptyAnswer, Headers
from cliproxy.wire.errors import (
    GatewayError,
    Unavailable,
    UnsupportedContent,
    UpstreamCut,
    UpstreamRefused,
    UpstreamUnreachable,
)
from tests.candidates import ask, candidate, name_of
from tests.virtual_time import epoch_s, run

ONCE = Limits(rounds=0, bootstrap_rounds=0, candidates=0, wait_s=0.0, parallel=1, hedge_s=0.0)

type Step = GatewayError | Answer | Callable[[Trial], Awaitable[Answer]]


class Stream:
    """A body that never ends by itself, and knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.Event().wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


def answer(body: bytes = b"hello") -> Answer:
    return Answer(200, Headers(), body)


def refused(status: int, message: str = "no", **fields: Any) -> UpstreamRefused:
    return UpstreamRefused(message, status=status, **fields)


def after(seconds: float, step: Step) -> Callable[[Trial], Awaitable[Answer]]:
    async def later(trial: Trial) -> Answer:
        await asyncio.sleep(seconds)
        return await played(step, trial)

    return later


async def played(step: Step, trial: Trial) -> Answer:
    if isinstance(step, GatewayError):
        raise step
    if isinstance(step, Answer):
        if isinstance(step.body, bytes):
            trial.served()
        return step
    return await step(trial)


@dataclass
class Upstream:
    """Each credential plays its steps one after the other; when none is left it repeats the last."""

    steps: Mapping[str, Sequence[Step]]
    asked: list[str] = field(default_factory=list)
    asked_at_s: list[float] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def __call__(self, trial: Trial) -> Answer:
        name = name_of(trial.candidate)
        steps = self.steps[name]
        turn = self.asked.count(name)
        self.asked.append(name)
        self.asked_at_s.append(epoch_s())
        try:
            return await played(steps[min(turn, len(steps) - 1)], trial)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise


@dataclass
class Scene:
    """A pool, a scripted upstream, and a request for all its credentials."""

    upstream: Upstream
    candidates: Sequence[Candidate]
    limits: Limits = ONCE
    pool: Pool = field(default_factory=lambda: Pool(epoch_s))
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, limits: Limits = ONCE, **steps: Step | Sequence[Step]) -> "Scene":
        played = {name: step if isinstance(step, Sequence) else [step] for name, step in steps.items()}
        return cls(Upstream(played), [candidate(name) for name in steps], limits)

    def dispatch(self, session: str = "") -> Dispatch:
        asked: Ask = ask(*self.candidates, session=session)
        return Dispatch(self.pool, asked, self.limits, self.upstream, **self.options)

    async def serve(self) -> Answer:
        return await self.dispatch().run()

    async def fail(self) -> GatewayError:
        with pytest.raises(GatewayError) as failure:
            await self.serve()
        return failure.value

    @property
    def asked(self) -> str:
        return " ".join(self.upstream.asked)


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on a virtual loop."""

    def on_virtual_time() -> None:
        run(test())

    on_virtual_time.__name__ = test.__name__
    on_virtual_time.__doc__ = test.__doc__
    return on_virtual_time


# ---------------------------------------------------------------- failover


@virtual
async def test_the_first_that_answers_serves() -> None:
    scene = Scene.of(a=refused(500), b=refused(429), c=answer(), d=answer())
    assert (await scene.serve()).body == b"hello"
    assert scene.asked == "a b c"


@virtual
async def test_a_request_fault_is_told_at_once_and_cools_nobody() -> None:
    scene = Scene.of(a=refused(400, "bad request"), b=answer())
    error = await scene.fail()
    assert (error.status, error.message) == (400, "bad request")
    assert scene.asked == "a"
    assert not scene.pool.cooldowns.dump()


@virtual
async def test_content_that_one_format_cannot_say_may_fit_another() -> None:
    unsupported = UnsupportedContent("audio", "anthropic")
    scene = Scene.of(a=unsupported, b=answer())
    assert (await scene.serve()).status == 200
    assert (await Scene.of(a=unsupported, b=unsupported).fail()).status == 400


@virtual
async def test_401_and_unreachable_and_cut_before_the_first_byte_go_on() -> None:
    scene = Scene.of(a=refused(401), b=UpstreamUnreachable("down"), c=UpstreamCut("cut"), d=answer())
    assert (await scene.serve()).status == 200
    assert {state.reason for state in scene.pool.cooldowns.dump()} == {"credential", "transient"}
    assert len(scene.pool.cooldowns.dump()) == 2


@virtual
async def test_an_empty_answer_is_tried_again_and_given_only_when_all_are_empty() -> None:
    empty = EmptyAnswer(answer(b""))
    assert (await Scene.of(a=empty, b=answer()).serve()).body == b"hello"
    assert (await Scene.of(a=empty, b=refused(500)).serve()).body == b""
    scene = Scene.of(replace(ONCE, rounds=1), a=[empty, answer()])
    assert (await scene.serve()).body == b"hello"


@virtual
async def test_after_an_answer_has_begun_nothing_is_sent_again() -> None:
    trials: list[Trial] = []

    async def stream(trial: Trial) -> Answer:
        trials.append(trial)
        return Answer(200, Headers(), Stream())

    scene = Scene.of(replace(ONCE, rounds=3, wait_s=60.0), a=stream, b=answer())
    await scene.serve()
    trials[0].failed(refused(500, "broke off"))
    await asyncio.sleep(3600)
    assert scene.asked == "a"


@virtual
async def test_an_answer_that_has_begun_clears_its_credential_and_one_that_breaks_off_does_not_serve() -> None:
    trials: list[Trial] = []

    async def stream(trial: Trial) -> Answer:
        trials.append(trial)
        return Answer(200, Headers(), Stream())

    scene = Scene.of(a=[refused(500), stream])
    await scene.fail()
    await scene.serve()
    assert not scene.pool.cooldowns.dump()
    trials[0].failed(refused(503, "overloaded in mid-stream"))
    assert [state.message for state in scene.pool.cooldowns.dump()] == ["overloaded in mid-stream"]


@virtual
async def test_a_trial_is_judged_once() -> None:
    told: list[Trial] = []

    async def attempt(trial: Trial) -> Answer:
        told.append(trial)
        trial.failed(refused(429, "first word"))
        trial.served()
        trial.abandoned()
        raise refused(500, "second word")

    error = await Scene.of(a=attempt).fail()
    assert (error.message, told[0].fault) == ("first word", "quota")


@virtual
async def test_max_retry_credentials_limits_a_round() -> None:
    scene = Scene.of(replace(ONCE, candidates=2), a=refused(500), b=refused(500), c=answer())
    await scene.fail()
    assert scene.asked == "a b"
    assert (await scene.serve()).status == 200
    assert scene.asked == "a b c"


# ---------------------------------------------------------------- rounds


@virtual
async def test_500_then_ok_is_served_in_the_next_round_after_a_pause_with_jitter() -> None:
    scene = Scene.of(replace(ONCE, rounds=2, wait_s=30.0), a=[refused(500), refused(500), answer()])
    await scene.serve()
    first, second, third = scene.upstream.asked_at_s
    assert ROUND_PAUSE_S <= second - first <= ROUND_PAUSE_S * 1.25
    assert ROUND_PAUSE_S * 2 <= third - second <= ROUND_PAUSE_S * 2.5


@pytest.mark.parametrize("wait_s", [19.0, 0.0])
def test_a_wait_beyond_max_retry_interval_is_not_waited_for(wait_s: float) -> None:
    async def scenario() -> None:
        scene = Scene.of(replace(ONCE, rounds=3, wait_s=wait_s), a=[refused(429, retry_after_s=20.0), answer()])
        error = await scene.fail()
        assert (error.status, error.retry_after_s) == (429, 20.0)
        assert scene.asked == "a"

    run(scenario())


@virtual
async def test_a_quota_that_comes_back_soon_is_waited_for() -> None:
    scene = Scene.of(replace(ONCE, rounds=1, wait_s=30.0), a=[refused(429, retry_after_s=20.0), answer()])
    await scene.serve()
    first, second = scene.upstream.asked_at_s
    assert 20 <= second - first <= 20 + MAX_JITTER_S


@virtual
async def test_a_request_that_finds_all_sidelined_waits_for_the_first_to_come_back() -> None:
    scene = Scene.of(
        replace(ONCE, rounds=1, wait_s=30.0), a=refused(429, retry_after_s=25.0),
        b=[refused(429, retry_after_s=9.0), answer()],
    )  # fmt: skip
    scene.limits = ONCE
    await scene.fail()
    scene.limits = replace(ONCE, rounds=1, wait_s=30.0)
    await scene.serve()
    assert scene.asked == "a b b"
    assert 9 <= scene.upstream.asked_at_s[2] - scene.upstream.asked_at_s[0] <= 9 * 1.25 + 0.01


@virtual
async def test_a_503s_own_retry_after_is_the_pause() -> None:
    scene = Scene.of(replace(ONCE, rounds=1, wait_s=30.0), a=[refused(503, retry_after_s=12.0), answer()])
    await scene.serve()
    first, second = scene.upstream.asked_at_s
    assert 12 <= second - first <= 12 + MAX_JITTER_S


@virtual
async def test_with_no_interval_the_next_round_begins_at_once() -> None:
    scene = Scene.of(replace(ONCE, rounds=2), a=[refused(500), refused(502), answer()])
    await scene.serve()
    assert len(set(scene.upstream.asked_at_s)) == 1


@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_time_does_not_mend_takes_no_part_in_another_round(status: int) -> None:
    async def scenario() -> None:
        limits = replace(ONCE, rounds=3, wait_s=3600.0)
        scene = Scene.of(limits, a=refused(status), b=[refused(500), answer()])
        scene.candidates = [candidate("a", cools=False), candidate("b", cools=False)]
        await scene.serve()
        assert scene.asked == "a b b"
        # Whichever was asked last: the other's return is waited for.
        scene = Scene.of(limits, b=[refused(500), answer()], a=refused(status))
        await scene.serve()
        assert scene.asked == "b a b"

    run(scenario())


@virtual
async def test_request_retry_of_a_credential_wins_over_the_top_levels() -> None:
    scene = Scene.of(replace(ONCE, rounds=1, wait_s=30.0), a=refused(500), b=refused(500), c=refused(500))
    scene.candidates = [candidate("a", request_retry=0), candidate("b"), candidate("c", request_retry=3)]
    await scene.fail()
    assert Counter(scene.upstream.asked) == {"a": 1, "b": 2, "c": 4}


@virtual
async def test_streams_get_bootstrap_retries_more() -> None:
    config = parse_config("request-retry: 1\nmax-retry-interval: 30\nstreaming: {bootstrap-retries: 2}").config
    for stream, times in ((False, 2), (True, 4)):
        scene = Scene.of(Limits.of(config, stream=stream), a=refused(500))
        await scene.fail()
        assert len(scene.upstream.asked) == times


@virtual
async def test_candidates_that_a_round_had_no_place_for_are_asked_in_the_next_without_a_pause() -> None:
    scene = Scene.of(replace(ONCE, rounds=1, candidates=1, wait_s=30.0), a=refused(500), b=answer())
    await scene.serve()
    assert scene.asked == "a b"
    assert len(set(scene.upstream.asked_at_s)) == 1


@virtual
async def test_disable_cooling_keeps_a_credential_in_play() -> None:
    scene = Scene.of(a=refused(429, retry_after_s=300.0))
    scene.candidates = [candidate("a", cools=False)]
    for _ in range(3):
        await scene.fail()
    assert scene.asked == "a a a"


@virtual
async def test_rules_of_a_credential_decide_for_it() -> None:
    stop = ErrorRule.model_validate({"status": 500, "action": "stop"})
    go_on = ErrorRule.model_validate({"status": 400, "action": "continue-and-cooldown"})
    scene = Scene.of(a=refused(400), b=refused(500, "stop here"), c=answer())
    scene.candidates = [candidate("a", error_rules=(go_on,)), candidate("b", error_rules=(stop,)), candidate("c")]
    assert (await scene.fail()).message == "stop here"
    assert scene.asked == "a b"
    assert {state.credential for state in scene.pool.cooldowns.dump()} == {scene.candidates[0].credential.id}


@virtual
async def test_a_codex_quota_can_be_the_models() -> None:
    for model_quotas, models in ((False, [""]), (True, ["model"])):
        scene = Scene.of(a=refused(429, kind="usage_limit_reached"))
        scene.candidates = [candidate("a", provider="codex")]
        scene.options = {"model_quotas": model_quotas}
        await scene.fail()
        assert [state.model for state in scene.pool.cooldowns.dump()] == models


# ---------------------------------------------------------------- several at once

RACE = replace(ONCE, parallel=2)
HEDGED = replace(ONCE, parallel=2, hedge_s=2.0)


@virtual
async def test_a_race_begins_with_several_and_the_first_to_answer_wins() -> None:
    scene = Scene.of(RACE, a=after(5, answer(b"slow")), b=after(1, answer(b"fast")), c=answer(b"third"))
    began_s = epoch_s()
    assert (await scene.serve()).body == b"fast"
    assert epoch_s() - began_s == 1
    assert (scene.asked, scene.upstream.cancelled) == ("a b", ["a"])
    assert not scene.pool.cooldowns.dump()


@virtual
async def test_one_that_fails_in_a_race_is_replaced() -> None:
    scene = Scene.of(RACE, a=after(5, answer(b"slow")), b=after(1, refused(500)), c=after(1, answer(b"third")))
    assert (await scene.serve()).body == b"third"
    assert scene.asked == "a b c"


@virtual
async def test_hedging_asks_one_more_after_each_delay_of_silence() -> None:
    slow = after(30, answer(b"slow"))
    scene = Scene.of(replace(HEDGED, parallel=3), a=slow, b=slow, c=after(1, answer(b"third")), d=slow)
    assert (await scene.serve()).body == b"third"
    assert scene.asked == "a b c"
    first, second, third = scene.upstream.asked_at_s
    assert (second - first, third - second) == (2, 2)
    assert sorted(scene.upstream.cancelled) == ["a", "b"]


@virtual
async def test_hedging_asks_nobody_else_where_the_first_is_fast() -> None:
    scene = Scene.of(HEDGED, a=after(1.9, answer()), b=answer())
    await scene.serve()
    assert scene.asked == "a"


@virtual
async def test_a_failure_is_replaced_without_the_delay() -> None:
    scene = Scene.of(HEDGED, a=after(0.5, refused(500)), b=after(0.5, answer()))
    began_s = epoch_s()
    await scene.serve()
    assert epoch_s() - began_s == 1


@virtual
async def test_never_more_than_max_parallel() -> None:
    under_way = most = 0

    async def counted(trial: Trial) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(5)
        finally:
            under_way -= 1
        raise refused(500)

    for limits in (replace(RACE, parallel=3), replace(HEDGED, parallel=3)):
        await Scene.of(limits, **dict.fromkeys("abcdefg", counted)).fail()
    assert (most, under_way) == (3, 0)


@virtual
async def test_a_reserve_is_not_raced_but_asked_when_the_others_have_failed() -> None:
    scene = Scene.of(replace(RACE, parallel=3), a=after(1, refused(500)), b=after(2, refused(500)), c=answer(b"paid"))
    scene.candidates = [candidate("a", priority=1), candidate("b", priority=1), candidate("c")]
    assert (await scene.serve()).body == b"paid"
    assert [at - scene.upstream.asked_at_s[0] for at in scene.upstream.asked_at_s] == [0, 0, 2]


@virtual
async def test_a_request_fault_ends_the_race() -> None:
    scene = Scene.of(RACE, a=after(1, refused(400, "bad")), b=after(5, answer()))
    assert (await scene.fail()).message == "bad"
    assert scene.upstream.cancelled == ["b"]


@virtual
async def test_a_loser_that_answers_in_the_same_moment_is_closed_unread() -> None:
    first, second = Stream(), Stream()
    scene = Scene.of(RACE, a=Answer(200, Headers(), first), b=Answer(200, Headers(), second))
    won = await scene.serve()
    assert won.body in (first, second)
    assert first.closed is not second.closed
    assert isinstance(won.body, Stream)
    assert not won.body.closed


@virtual
async def test_when_the_client_leaves_all_attempts_are_cancelled() -> None:
    for limits in (ONCE, RACE, HEDGED):
        scene = Scene.of(limits, a=after(60, answer()), b=after(60, answer()))
        serving = asyncio.ensure_future(scene.serve())
        await asyncio.sleep(10)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert sorted(scene.upstream.cancelled) == sorted(scene.upstream.asked)
        assert not scene.pool.cooldowns.dump()
        assert len(scene.upstream.asked) == limits.parallel


@virtual
async def test_a_client_that_leaves_while_the_losers_end_leaves_no_answer_open() -> None:
    won = Stream()

    async def stubborn(trial: Trial) -> Answer:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
        return answer()

    scene = Scene.of(RACE, a=stubborn, b=after(1, Answer(200, Headers(), won)))
    serving = asyncio.ensure_future(scene.serve())
    await asyncio.sleep(1.5)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert won.closed


@virtual
async def test_a_defect_in_an_attempt_is_raised_as_it_is() -> None:
    async def defective(trial: Trial) -> Answer:
        raise ZeroDivisionError

    for limits in (ONCE, RACE):
        scene = Scene.of(limits, a=defective, b=after(1, answer()))
        with pytest.raises(ZeroDivisionError):
            await scene.serve()
        assert scene.pool.pick(ask(candidate("a", max_concurrent=1))), "it is not under way any more"


@virtual
async def test_a_winner_whose_answer_has_begun_is_back_in_play() -> None:
    scene = Scene.of(RACE, a=[refused(500), Answer(200, Headers(), Stream())])
    await scene.fail()
    await scene.serve()
    assert not scene.pool.cooldowns.dump()


@virtual
async def test_a_session_goes_with_the_winner() -> None:
    scene = Scene.of(HEDGED, a=after(9, answer(b"a")), b=after(1, answer(b"b")))
    for _ in range(2):
        assert (await scene.dispatch("session").run()).body == b"b"
    assert scene.asked == "a b b"


# ---------------------------------------------------------------- what holds whatever happens

_STEPS = st.sampled_from(
    [
        answer(),
        after(3, answer()),
        refused(500),
        refused(429),
        refused(429, retry_after_s=7.0),
        refused(401),
        refused(400),
        UpstreamUnreachable("down"),
        UpstreamCut("cut"),
        EmptyAnswer(answer(b"")),
        after(1, refused(503)),
    ]
)
_LIMITS = st.builds(
    Limits,
    rounds=st.integers(0, 3),
    bootstrap_rounds=st.integers(0, 1),
    candidates=st.integers(0, 3),
    wait_s=st.sampled_from([0.0, 10.0, 100.0]),
    parallel=st.integers(1, 3),
    hedge_s=st.sampled_from([0.0, 2.0]),
)


@given(_LIMITS, st.lists(st.lists(_STEPS, min_size=1, max_size=4), min_size=1, max_size=4), st.booleans())
def test_attempts_stay_within_bounds_and_end_with_the_first_answer(
    limits: Limits, steps: list[list[Step]], cools: bool
) -> None:
    async def scenario() -> None:
        names = "abcd"[: len(steps)]
        scene = Scene.of(limits, **dict(zip(names, steps, strict=True)))
        scene.candidates = [candidate(name, cools=cools, priority=index % 2) for index, name in enumerate(names)]
        with contextlib.suppress(GatewayError):
            await scene.serve()
        asked = Counter(scene.upstream.asked)
        rounds = 1 + limits.rounds + limits.bootstrap_rounds
        assert sum(asked.values()) <= rounds * len(steps)
        assert max(asked.values()) <= rounds
        if limits.candidates:
            assert sum(asked.values()) <= rounds * limits.candidates
        before = len(scene.upstream.asked)
        await asyncio.sleep(10_000)
        assert len(scene.upstream.asked) == before, "nothing is sent after the outcome"
        assert {state.status for state in scene.pool.cooldowns.dump()} <= {401, 429, 500, 502, 503}

    run(scenario())


# ---------------------------------------------------------------- when nobody can serve


@virtual
async def test_the_only_ones_own_words_are_told() -> None:
    scene = Scene.of(a=refused(429, "quota of the day", code="daily"))
    error = await scene.fail()
    assert (error.status, error.message, error.code) == (429, "quota of the day", "daily")
    assert error.retry_after_s == 1.0


@virtual
async def test_all_candidates_are_named_with_their_last_words_and_when_they_return() -> None:
    scene = Scene.of(a=refused(429, "used up", retry_after_s=90.0), b=refused(500, "broke"), c=refused(401, "bad key"))
    error = await scene.fail()
    assert isinstance(error, Unavailable)
    a, b, c = (found.credential.label for found in scene.candidates)
    assert error.message == (
        f"no credential can serve 'model' now. {a}: 429 used up (asked again in 90 s); {b}: 500 broke; "
        f"{c}: 401 bad key (asked again in 600 s)"
    )
    assert (error.status, error.code, error.retry_after_s) == (503, "auth_unavailable", SOON_S)
    assert not any("sk-test-" in word for word in error.message.split())


@virtual
async def test_where_all_quotas_are_used_up_it_is_429_with_the_first_to_return() -> None:
    scene = Scene.of(a=refused(429, retry_after_s=90.0), b=refused(429, retry_after_s=40.0))
    for _ in range(2):
        error = await scene.fail()
        assert (error.status, error.code, error.retry_after_s) == (429, "model_cooldown", 40.0)
        assert "429 no (asked again in 40 s)" in error.message
    assert scene.asked == "a b"


@virtual
async def test_one_that_is_sidelined_is_named_beside_the_one_that_was_asked() -> None:
    scene = Scene.of(a=[refused(429, "used up", retry_after_s=90.0)], b=[answer(), refused(500, "broke")])
    await scene.serve()
    with pytest.raises(Unavailable) as failure:
        await scene.serve()
    assert "500 broke" in failure.value.message
    assert "429 used up" in failure.value.message


@virtual
async def test_a_common_status_that_time_does_not_mend_stays() -> None:
    error = await Scene.of(a=refused(404, "no such model"), b=refused(404, "unknown")).fail()
    assert (error.status, error.retry_after_s) == (404, None)
    error = await Scene.of(a=refused(401, "bad key"), b=refused(401, "bad key")).fail()
    assert error.status == 503, "a 401 would blame the client's own key"


@virtual
async def test_a_common_status_says_nothing_of_those_that_were_not_asked() -> None:
    scene = Scene.of(a=[refused(429, "used up", retry_after_s=90.0)], b=[answer(), refused(404)], c=[refused(404)])
    await scene.serve()
    error = await scene.fail()
    assert (error.status, scene.asked) == (503, "a b c b")


@virtual
async def test_who_could_not_say_the_content_is_named_but_does_not_hide_used_up_quotas() -> None:
    error = await Scene.of(a=UnsupportedContent("audio", "anthropic"), b=refused(429, retry_after_s=90.0)).fail()
    assert (error.status, error.retry_after_s) == (429, 90.0)
    assert "audio cannot be sent" in error.message


@virtual
async def test_busy_ones_are_said_to_be_busy() -> None:
    scene = Scene.of(a=after(60, answer()))
    scene.candidates = [candidate("a", max_concurrent=1)]
    serving = asyncio.ensure_future(scene.serve())
    await asyncio.sleep(1)
    error = await scene.fail()
    assert (error.status, error.retry_after_s) == (503, SOON_S)
    assert "busy" in error.message
    await serving


@virtual
async def test_an_upstream_that_quotes_the_key_does_not_give_it_away() -> None:
    said = "Incorrect API key provided: sk-test-a.\nFind yours\n\tthere" + " and on" * 100
    scene = Scene.of(a=refused(401, said), b=refused(500))
    error = await scene.fail()
    assert "sk-test-a" not in error.message
    assert "Incorrect API key provided: sk…#" in error.message
    (state,) = (state for state in scene.pool.cooldowns.dump() if state.status == 401)
    assert "sk-test-a" not in state.message
    assert "\n" not in state.message
    assert len(state.message) == 200


@virtual
async def test_a_long_list_is_cut() -> None:
    scene = Scene.of(ONCE, **{f"key-{index}": refused(500) for index in range(MAX_NAMED + 5)})
    message = (await scene.fail()).message
    assert message.count("500 no") == MAX_NAMED
    assert message.endswith("; and 5 more")

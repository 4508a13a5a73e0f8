"""Questions about a code come at the pace that the server wants, until there is an answer or the code has expired."""

import json
from collections.abc import Sequence

import pytest

from cliproxy.oauth.endpoint import Answer
from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, LoginFailed
from cliproxy.oauth.flow import PENDING_S, Prompt
from cliproxy.oauth.polling import Polled, Polling, expiry_of, interval_of, page_of, user_code_of
from cliproxy.oauth.tokens import Tokens
from cliproxy.wire.model import Json
from tests.oauth.waiting import Waiting
from tests.virtual_time import EPOCH_S

TOKENS = Tokens("test-access-1")


def _flow(waiting: Waiting, polled: Sequence[Polled | Exception], *, life_s: float = 900.0) -> Polling:
    answers = iter(polled)

    async def poll() -> Polled:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    prompt = Prompt("https://example.com/", EPOCH_S + life_s, "ABCD-EFGH")
    return Polling(prompt, 5.0, poll, waiting.clock, waiting.sleep)


async def test_the_interval_comes_before_each_question() -> None:
    waiting = Waiting()
    assert await _flow(waiting, ["pending", "pending", TOKENS]).tokens() is TOKENS
    assert waiting.pauses_s == [5, 5, 5]


async def test_slow_down_adds_five_seconds_for_good() -> None:
    waiting = Waiting()
    await _flow(waiting, ["slow-down", "pending", "slow-down", TOKENS]).tokens()
    assert waiting.pauses_s == [5, 10, 10, 15]


async def test_trouble_doubles_the_pause_until_it_is_over() -> None:
    waiting, trouble = Waiting(), EndpointTrouble("down")
    await _flow(waiting, [trouble, trouble, "pending", TOKENS]).tokens()
    assert waiting.pauses_s == [5, 10, 20, 5]


async def test_the_pause_stays_bearable_but_as_long_as_the_server_asks() -> None:
    waiting, trouble = Waiting(), EndpointTrouble("down")
    await _flow(waiting, [*[trouble] * 6, EndpointTrouble("busy", retry_after_s=200), TOKENS]).tokens()
    assert waiting.pauses_s == [5, 10, 20, 40, 60, 60, 60, 200]


async def test_a_code_that_nobody_confirms_expires() -> None:
    waiting = Waiting()
    with pytest.raises(LoginFailed, match="expired"):
        await _flow(waiting, ["pending", "pending", "pending", "pending"], life_s=12.0).tokens()
    assert waiting.pauses_s == [5, 5, 2]


async def test_what_was_wrong_in_the_end_is_said() -> None:
    with pytest.raises(LoginFailed, match=r"expired.*\(down\)"):
        await _flow(Waiting(), [EndpointTrouble("down")] * 9, life_s=12.0).tokens()


@pytest.mark.parametrize("fault", [LoginFailed("denied"), GrantRefused("no")])
async def test_a_refusal_ends_the_questions(fault: Exception) -> None:
    with pytest.raises(type(fault), match=str(fault)):
        await _flow(Waiting(), ["pending", fault]).tokens()


def _answer(**body: object) -> Answer:
    decoded: Json = json.loads(json.dumps(body))
    return Answer("auth.example.com", 200, decoded, "", "", EPOCH_S, None, None)


@pytest.mark.parametrize("code", ["", None, 7, "AB\x1b[2J", "AB\nCD"])
def test_a_code_must_be_fit_to_show(code: object) -> None:
    with pytest.raises(EndpointTrouble, match="without a code"):
        user_code_of(_answer(user_code=code), "user_code")


def test_names_are_tried_in_turn() -> None:
    assert user_code_of(_answer(usercode="ABCD"), "user_code", "usercode") == "ABCD"
    assert page_of(_answer(verification_url="https://example.com/d"), "verification_uri", "verification_url")


@pytest.mark.parametrize("url", ["", None, "javascript:alert(1)", "file:///etc/passwd", "https://a/\x1b[2J"])
def test_an_address_must_be_fit_to_open(url: object) -> None:
    with pytest.raises(EndpointTrouble, match="without an address"):
        page_of(_answer(verification_uri=url), "verification_uri")


@pytest.mark.parametrize(("interval", "seconds"), [(7, 7), ("3", 3), (0, 5), (None, 5), (-1, 5), (0.01, 1), ("x", 5)])
def test_intervals(interval: object, seconds: float) -> None:
    assert interval_of(_answer(interval=interval)) == seconds


@pytest.mark.parametrize(("expires_in", "life_s"), [(60, 60), ("60", 60), (None, 900), (0, 900), (10**9, PENDING_S)])
def test_expiry(expires_in: object, life_s: float) -> None:
    assert expiry_of(_answer(expires_in=expires_in), 900.0, EPOCH_S) == EPOCH_S + life_s

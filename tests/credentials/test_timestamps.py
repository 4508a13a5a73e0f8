"""Points in time in every form that login files have."""

import math

import pytest

from cliproxy.credentials.timestamps import rfc3339, seconds_of
from tests.auth_files import EXPIRED, EXPIRED_S


@pytest.mark.parametrize(
    "value",
    [
        EXPIRED,
        f"  {EXPIRED}\n",
        "2026-11-21T20:00:00+08:00",
        "2026-11-21 12:00:00",
        "2026-11-21T12:00:00.000000000Z",
        EXPIRED_S,
        int(EXPIRED_S),
        int(EXPIRED_S * 1000),
        str(int(EXPIRED_S)),
        str(int(EXPIRED_S * 1000)),
    ],
)
def test_a_time_is_read_in_each_form(value: object) -> None:
    assert seconds_of(value) == EXPIRED_S


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        0,
        -5,
        "0",
        "0001-01-01T00:00:00Z",
        True,
        [],
        {},
        math.nan,
        math.inf,
        "nan",
        "2026-13-01T00:00:00Z",
    ],
)
def test_what_says_no_time_is_none(value: object) -> None:
    assert seconds_of(value) is None


def test_fractions_count() -> None:
    assert seconds_of("2026-11-21T12:00:00.5Z") == EXPIRED_S + 0.5
    assert seconds_of(EXPIRED_S * 1000 + 500) == EXPIRED_S + 0.5


def test_a_written_time_is_read_back() -> None:
    assert rfc3339(EXPIRED_S + 0.9) == EXPIRED
    assert seconds_of(rfc3339(EXPIRED_S)) == EXPIRED_S

"""cliproxy.wire.upstream_error: any error body becomes one clean message, and waits are read from wherever they stand."""

import json
import time
from datetime import datetime, timedelta, timezone
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import UpstreamRefused
from cliproxy.wire.upstream_error import (
    MAX_MESSAGE_CHARS,
    answered,
    duration_s,
    error_object,
    read,
    read_body,
    wait_s,
)

STATUSES = {"slow_down": 429, "invalid_request_error": 400}


def message_of(body, status=502):
    return read(read_body(body), status, STATUSES).message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "boom"}}', "boom"),
        (b'{"error": "boom"}', "boom"),
        (b'{"error": "boom", "message": "less"}', "boom"),
        (b'{"message": "boom"}', "boom"),
        (b'{"detail": "boom"}', "boom"),
        (b'{"detail": {"message": "boom"}}', "boom"),
        (b'{"detail": [{"loc": ["body"], "msg": "boom"}]}', '[{"loc":["body"],"msg":"boom"}]'),
        (b'{"error_description": "boom"}', "boom"),
        (b'[{"error": {"code": 400, "message": "boom"}}]', "boom"),
        (b"plain words", "plain words"),
        (b"two\nlines", "two\nlines"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", "the upstream answered 502 Bad Gateway"),
        (b"{}", "the upstream answered 502 Bad Gateway"),
        (b"null", "the upstream answered 502 Bad Gateway"),
        (b'{"error": {"message": 7}}', "the upstream answered 502 Bad Gateway"),
        (b'{"error": {"message": " "}}', "the upstream answered 502 Bad Gateway"),
    ],
)
def test_messages_of_any_body(body, message):
    assert message_of(body) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html><head><title>502 Bad\nGateway</title></head><body><h1>x</h1></body></html>", "502 Bad Gateway"),
        (b"<html><title> </title><body><p>Gateway &amp; more</p></body></html>", "Gateway & more"),
        (b"<!doctype html><style>p {}</style><script>x()</script><p>Bad\n <b>gateway</b></p>", "Bad gateway"),
        (b'{"error": {"message": "a <b>bold</b> word"}}', "a bold word"),
        (b'{"error": {"message": "1 < 2 and 3 > 2"}}', "1 < 2 and 3 > 2"),
        (b'{"error": {"message": "expected <int> here"}}', "expected <int> here"),
    ],
)
def test_markup_is_taken_off_and_angle_brackets_stay(body, message):
    assert message_of(body) == message


@pytest.mark.parametrize(
    "body", [b"x" * 9999, b"<p>" + b"x " * 9999, b"<title>" * 9999, b"<script>" * 9999, b"<b" * 9999]
)
def test_long_messages_are_cut(body):
    begun_s = time.process_time()
    assert len(message_of(body)) <= MAX_MESSAGE_CHARS
    assert time.process_time() - begun_s < 2


def test_a_status_without_a_phrase():
    assert message_of(b"", 529) == "the upstream answered 529"


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": {"code": "503"}}, 503),
        ({"error": {"status": 404}}, 404),
        ({"status": 429, "error": {"message": "x"}}, 429),
        ({"status_code": 503, "error": {"message": "x"}}, 503),
        ({"error": {"code": "slow_down"}}, 429),
        ({"error": {"type": "Invalid_Request_Error"}}, 400),
        ({"error": {"status": "SLOW_DOWN"}}, 429),
        ({"error": {"code": 5}}, 502),
        ({"error": {"code": True}}, 502),
        ({"error": {}}, 502),
        ([[[]]], 502),
        (None, 502),
    ],
)
def test_the_status_of_an_error_without_one(payload, status):
    assert read(payload, None, STATUSES).status == status


def test_an_error_in_a_stream_that_says_nothing():
    assert read({}, None, STATUSES).message == "the upstream reported an error without saying which"


def test_the_words_of_an_error():
    error = read({"error": {"message": "m", "type": "t", "code": "c", "param": "p"}}, 400, STATUSES)
    assert (error.kind, error.code, error.param) == ("t", "c", "p")
    error = read({"error": {"message": "m", "type": 5, "code": 400, "param": "p" * 999}}, 400, STATUSES)
    assert (error.kind, error.code, error.param) == (None, None, None)


@pytest.mark.parametrize("payload", [5, None, [], [5], {"error": 5}])
def test_what_describes_no_error(payload):
    assert error_object(payload) in ({}, {"error": 5})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("0.847s", 0.847),
        ("1h16m0.5s", 4560.5),
        ("20 seconds", 20),
        ("450 milliseconds", 0.45),
        ("6m", 360),
        ("2 days, 1 hour", 176400),
        ("0s", 0),
        ("a while", None),
        ("3 months", None),
        ("", None),
    ],
)
def test_durations(text, seconds):
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.5s. Visit …", 1.5),
        ("Limit 10000 in 1 minute. Please try again in 6m0.5s.", 360.5),
        ("Please retry in 34.07s.", 34.07),
        ("Your quota will reset after 1h2m3s.", 3723),
        ("It resets in 5 minutes", 300),
        ("retry after 9 seconds", 9),
        ("Please try again in a while.", None),
        ("after a while", None),
        ("", None),
    ],
)
def test_waits_in_words(message, seconds):
    assert wait_s(message) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_header(headers, seconds):
    error = answered(read({}, 429, STATUSES), headers, b"body")
    assert (error.retry_after_s, error.headers, error.body) == (seconds, headers, b"body")


def test_the_header_counts_for_more_than_words():
    payload = {"message": "Please try again in 20ms"}
    assert answered(read(payload, 429, STATUSES), {"retry-after": "9"}, b"").retry_after_s == 9
    assert answered(read(payload, 429, STATUSES), {"retry-after": "soon"}, b"").retry_after_s == pytest.approx(0.02)


@pytest.mark.parametrize(
    "words",
    ["Usage limit reached for 5 hour. Your limit will reset at {}", "已达到 5 小时的使用上限。您的限额将在 {} 重置。"],
)
def test_glm_tells_the_time_in_beijing(words):
    beijing = datetime.fromtimestamp(time.time() + 7200, timezone(timedelta(hours=8)))
    assert wait_s(words.format(beijing.strftime("%Y-%m-%d %H:%M:%S"))) == pytest.approx(7200, abs=5)
    assert wait_s(words.format("2020-01-01 00:00:00")) == 0
    assert wait_s(words.format("2020-13-01 00:00:00")) is None


def test_words_of_a_request_are_no_wait():
    assert read({"message": "Please try again in 20ms"}, 400, STATUSES).retry_after_s is None


def test_dates_in_the_header():
    def wait(moment_s):
        return answered(read({}, 503, STATUSES), {"retry-after": formatdate(moment_s, usegmt=True)}, b"").retry_after_s

    assert wait(time.time() + 60) == pytest.approx(60, abs=5)
    assert wait(0) == 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("<b>"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail", "status"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=40) | _json.map(lambda value: json.dumps(value).encode()), st.none() | st.integers(400, 599))
def test_any_body_gives_a_clean_error(body, status):
    error = answered(read(read_body(body), status, STATUSES), {"retry-after": body.decode("latin-1")}, body)
    assert isinstance(error, UpstreamRefused)
    assert 400 <= error.status <= 599 and status in (None, error.status)
    assert 0 < len(error.message) <= MAX_MESSAGE_CHARS
    assert error.retry_after_s is None or error.retry_after_s >= 0

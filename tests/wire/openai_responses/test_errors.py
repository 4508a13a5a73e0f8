"""Errors of upstreams, and the gateway's own as the API says them."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault, GatewayError, Unavailable, UpstreamRefused, UpstreamTimeout
from cliproxy.wire.json import dumps
from cliproxy.wire.model import Json
from cliproxy.wire.openai_responses import decode_error, encode_error


@pytest.mark.parametrize(
    ("body", "message", "kind", "code", "param"),
    [
        (
            {"error": {"message": "bad zebra", "type": "t", "code": "c", "param": "input[0]"}},
            "bad zebra",
            "t",
            "c",
            "input[0]",
        ),
        ({"error": {"message": "bad zebra", "code": 400}}, "bad zebra", None, None, None),
        ({"error": "bad zebra"}, "bad zebra", None, None, None),
        ({"detail": "bad zebra"}, "bad zebra", None, None, None),
        ({"detail": {"message": "bad zebra", "code": "c"}}, "bad zebra", None, "c", None),
        ({"message": "bad zebra"}, "bad zebra", None, None, None),
    ],
)
def test_shapes_of_bodies(body: Json, message: str, kind: str | None, code: str | None, param: str | None) -> None:
    raw = dumps(body)
    error = decode_error(400, {"x-request-id": "r"}, raw)
    assert (error.message, error.kind, error.code, error.param) == (message, kind, code, param)
    assert (error.status, error.body, error.headers) == (400, raw, {"x-request-id": "r"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the upstream answered 502 Bad Gateway"),
        (b"bad gateway", "bad gateway"),
        (b"<html><title>502 &amp; gone</title><body>x</body></html>", "502 & gone"),
        (b"<!doctype html><style>p{}</style><p>Bad\n <b>gateway</b></p>", "Bad gateway"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1, 2]", "the upstream answered 502 Bad Gateway"),
    ],
)
def test_bodies_that_are_no_json_objects(body: bytes, message: str) -> None:
    assert decode_error(502, {}, body).message == message


def test_an_angle_bracket_in_a_message_is_no_page() -> None:
    body = dumps({"error": {"message": "expected <int> here"}})
    assert decode_error(400, {}, body).message == "expected <int> here"


def test_long_messages_are_cut() -> None:
    assert len(decode_error(500, {}, b"x" * 9000).message) == 2000


@pytest.mark.parametrize(
    ("headers", "error", "seconds"),
    [
        ({"retry-after": "7"}, {}, 7),
        ({"retry-after-ms": "1500", "retry-after": "9"}, {}, 1.5),
        ({"retry-after": "soon"}, {}, None),
        ({"retry-after": "-1"}, {}, None),
        ({}, {"resets_in_seconds": 90}, 90),
        ({"retry-after": "7"}, {"resets_in_seconds": 90}, 7),
        ({}, {"resets_in_seconds": 10**400}, None),
        ({}, {"message": "Please try again in 20s."}, 20),
        ({}, {"message": "Please try again in 450ms."}, 0.45),
        ({}, {"message": "Please try again in 1m30.5s."}, 90.5),
        ({}, {"message": "Please try again in 6m."}, 360),
        ({}, {"message": "Please try again in 20 seconds."}, 20),
        ({}, {"message": "Please try again in a while."}, None),
        ({}, {}, None),
    ],
)
def test_when_to_come_again(headers: dict[str, str], error: Json, seconds: float | None) -> None:
    """class 4: the upstream's own word, from wherever it stands."""
    assert decode_error(429, headers, dumps({"error": error})).retry_after_s == seconds


def test_times_of_day() -> None:
    by_date = decode_error(503, {"retry-after": formatdate(time.time() + 100, usegmt=True)}, b"")
    by_number = decode_error(429, {}, dumps({"error": {"resets_at": int(time.time()) + 100}}))
    past = decode_error(503, {"retry-after": formatdate(0, usegmt=True)}, b"")
    assert by_date.retry_after_s == pytest.approx(100, abs=5)
    assert by_number.retry_after_s == pytest.approx(100, abs=5)
    assert past.retry_after_s == 0


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (ClientFault("m", param="input"), 400, "invalid_request_error", None),
        (ClientFault("m", status=401), 401, "authentication_error", "invalid_api_key"),
        (ClientFault("m", status=403), 403, "permission_error", None),
        (ClientFault("m", status=404), 404, "invalid_request_error", "model_not_found"),
        (ClientFault("m", status=408), 408, "invalid_request_error", "request_timeout"),
        (ClientFault("m", status=413), 413, "invalid_request_error", None),
        (Unavailable("m", status=429), 429, "rate_limit_error", "rate_limit_exceeded"),
        (Unavailable("m"), 503, "server_error", None),
        (UpstreamTimeout("m"), 504, "server_error", None),
        (UpstreamRefused("m", status=529, kind="overloaded_error"), 529, "server_error", None),
        (
            UpstreamRefused("m", status=429, kind="insufficient_quota", code="q"),
            429,
            "insufficient_quota",
            "q",
        ),
    ],
)
def test_the_gateways_own_errors(error: GatewayError, status: int, kind: str, code: str | None) -> None:
    expected = {"message": "m", "type": kind, "param": error.param, "code": code}
    assert encode_error(error) == (status, {"error": expected})


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=12))
def test_any_answer_with_an_error_status_is_an_error(body: bytes, header: str, value: str) -> None:
    error = decode_error(500, {header: value}, body)
    assert error.message
    assert error.retry_after_s is None or error.retry_after_s >= 0

"""Errors of upstreams, and the gateway's own as the API says them."""

import time

import pytest

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
    ("headers", "error", "seconds"),
    [
        ({}, {"resets_in_seconds": 90}, 90),
        ({"retry-after": "7"}, {"resets_in_seconds": 90}, 7),
        ({}, {"resets_in_seconds": 10**400}, None),
        ({}, {"resets_in_seconds": 90, "message": "Please try again in 20s."}, 90),
        ({}, {"message": "Please try again in 20s."}, 20),
        ({}, {}, None),
    ],
)
def test_when_to_come_again(headers: dict[str, str], error: Json, seconds: float | None) -> None:
    """class 4: the upstream's own word, from wherever it stands."""
    assert decode_error(429, headers, dumps({"error": error})).retry_after_s == seconds


def test_a_time_of_day() -> None:
    by_number = decode_error(429, {}, dumps({"error": {"resets_at": int(time.time()) + 100}}))
    assert by_number.retry_after_s == pytest.approx(100, abs=5)


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

"""cliproxy.wire.gemini.errors: refusals in, refusals out."""

import json
from typing import Any

import pytest
from google.genai import errors
from httpx2 import Response

from cliproxy.wire.errors import ClientFault, GatewayError, Unavailable, UpstreamRefused, UpstreamTimeout
from cliproxy.wire.gemini import decode_error, encode_error
from tests import native


def refused(error: Any, status: int = 429, **headers: str) -> UpstreamRefused:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return decode_error(status, sent, json.dumps({"error": error}).encode())


def test_googles_error() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    body = {
        "error": {
            "code": 400,
            "message": "API key not valid.",
            "status": "INVALID_ARGUMENT",
            "details": [info],
        }
    }
    for raw in (json.dumps(body).encode(), json.dumps([body]).encode()):
        error = decode_error(400, {"content-type": "application/json"}, raw)
        assert (error.status, error.message) == (400, "API key not valid.")
        assert (error.kind, error.code) == ("INVALID_ARGUMENT", "API_KEY_INVALID")
        assert (error.headers, error.body) == ({"content-type": "application/json"}, raw)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.847s"}]}, 0.847),
        ({"details": [{"reason": "QUOTA", "metadata": {"quotaResetDelay": "1h16m0.5s"}}]}, 4560.5),
        ({"details": [{"metadata": {"quotaResetDelay": "9s"}}, {"retryDelay": "2s"}]}, 2),
        ({"details": [{"retryDelay": "soon"}], "message": "Please retry in 34.07s."}, 34.07),
        ({"message": "Your quota will reset after 1h2m3s."}, 3723),
        ({}, None),
    ],
)
def test_the_wait_that_an_error_names(error: Any, seconds: float | None) -> None:
    """class 4: a cooldown lasts as long as the vendor says."""
    assert refused(error).retry_after_s == pytest.approx(seconds)


def test_the_header_comes_before_the_body() -> None:
    assert refused({"message": "retry in 9s"}, retry_after="7").retry_after_s == 7
    assert refused({"message": "retry in 9s"}, retry_after="nonsense").retry_after_s == 9


WORDS: list[tuple[GatewayError, int, str]] = [
    (ClientFault("bad"), 400, "INVALID_ARGUMENT"),
    (ClientFault("no", status=401), 401, "UNAUTHENTICATED"),
    (ClientFault("no", status=403), 403, "PERMISSION_DENIED"),
    (ClientFault("no", status=404), 404, "NOT_FOUND"),
    (ClientFault("big", status=413), 413, "INVALID_ARGUMENT"),
    (Unavailable("busy", status=429), 429, "RESOURCE_EXHAUSTED"),
    (GatewayError("oops"), 500, "INTERNAL"),
    (UpstreamRefused("bad gateway", status=502), 502, "UNAVAILABLE"),
    (Unavailable("none"), 503, "UNAVAILABLE"),
    (UpstreamTimeout("slow"), 504, "DEADLINE_EXCEEDED"),
    (UpstreamRefused("overloaded", status=529, kind="overloaded_error"), 503, "UNAVAILABLE"),
    (UpstreamRefused("no", status=400, kind="FAILED_PRECONDITION"), 400, "FAILED_PRECONDITION"),
]


@pytest.mark.parametrize(("error", "status", "word"), WORDS)
def test_the_gateways_errors_in_googles_words(error: GatewayError, status: int, word: str) -> None:
    assert encode_error(error) == (
        status,
        {"error": {"code": status, "message": error.message, "status": word}},
    )


def test_details() -> None:
    fault = ClientFault("topK must be a number", param="generationConfig.topK")
    _, body = encode_error(fault)
    assert body["error"]["details"][0]["fieldViolations"] == [
        {"field": "generationConfig.topK", "description": "topK must be a number"}
    ]
    status, body = encode_error(Unavailable("busy", status=429, retry_after_s=2.5))
    again = decode_error(status, {}, json.dumps(body).encode())
    assert (again.retry_after_s, again.message, again.kind) == (2.5, "busy", "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize("status", [400, 429, 503])
def test_the_sdk_reads_our_errors(status: int) -> None:
    code, body = encode_error(GatewayError("what went wrong", status=status, retry_after_s=1))
    with pytest.raises(errors.APIError, match="what went wrong") as raised:
        errors.APIError.raise_for_response(Response(code, json=body))
    assert (raised.value.code, raised.value.status) == (status, body["error"]["status"])


@pytest.mark.parametrize("status", [400, 401, 429, 503])
def test_native_errors(status: int) -> None:
    answer = native.error("gemini", status, "upstream says no")
    error = decode_error(status, answer.headers, answer.whole)
    assert (error.status, error.message) == (status, "upstream says no")
    assert encode_error(error)[1]["error"]["status"] == error.kind

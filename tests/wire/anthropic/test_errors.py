"""Errors, read from an upstream and told to a client."""

import pytest

from cliproxy.wire.anthropic import decode_error, encode_error
from cliproxy.wire.errors import (
    ClientFault,
    GatewayError,
    Unavailable,
    UpstreamCut,
    UpstreamRefused,
    UpstreamTimeout,
)

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("body", "message", "kind"),
    [
        (
            b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            "Overloaded",
            "overloaded_error",
        ),
        (b'{"error":{"message":"no","type":"new_api_error"}}', "no", "new_api_error"),
        (b"just words", "just words", None),
        (b"", "the upstream answered 502 Bad Gateway", None),
    ],
)
def test_the_message_and_type_of_a_body(body: bytes, message: str, kind: str | None) -> None:
    error = decode_error(502, {"request-id": "req_1"}, body)
    assert (error.status, error.message, error.kind) == (502, message, kind)
    assert (error.headers, error.body) == ({"request-id": "req_1"}, body)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({}, None),
        (
            {
                "retry-after": "7",
                "anthropic-ratelimit-unified-5h-status": "rejected",
                "anthropic-ratelimit-unified-5h-reset": str(NOW + 600),
            },
            7,
        ),
        (
            {
                "anthropic-ratelimit-unified-5h-status": "rejected",
                "anthropic-ratelimit-unified-5h-reset": str(NOW + 600),
            },
            600,
        ),
        (
            {
                "anthropic-ratelimit-unified-5h-status": "allowed",
                "anthropic-ratelimit-unified-5h-reset": str(NOW + 600),
            },
            None,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2027-01-15T08:01:00Z",
            },
            60,
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "tomorrow"}, None),
    ],
)
def test_when_another_try_makes_sense(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: float | None
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    assert decode_error(429, headers, b"").retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_its_type(status: int, kind: str) -> None:
    error = UpstreamRefused("no", status=status, kind="RESOURCE_EXHAUSTED")
    assert encode_error(error) == (status, {"type": "error", "error": {"type": kind, "message": "no"}})


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ClientFault("no"), 400, "invalid_request_error"),
        (Unavailable("no"), 503, "overloaded_error"),
        (UpstreamCut("no"), 502, "api_error"),
        (UpstreamTimeout("no"), 504, "timeout_error"),
        (UpstreamRefused("no", status=400, kind="billing_error"), 400, "billing_error"),
    ],
)
def test_the_gateways_own_errors(error: GatewayError, status: int, kind: str) -> None:
    sent, body = encode_error(error)
    assert (sent, body["error"]["type"]) == (status, kind)

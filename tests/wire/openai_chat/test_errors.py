"""cliproxy.wire.openai_chat.errors: any error body becomes one clean message; ours become OpenAI's envelope."""

import json

import httpx2
import openai
import pytest

from cliproxy.wire.errors import ClientFault, GatewayError, Unavailable, UnsupportedContent, UpstreamRefused
from cliproxy.wire.openai_chat import decode_error, encode_error
from cliproxy.wire.openai_chat.errors import streamed_error


def test_openais_envelope():
    body = {
        "error": {
            "message": "bad zebra",
            "type": "invalid_request_error",
            "param": "messages[0]",
            "code": "context_length_exceeded",
        }
    }
    raw = json.dumps(body).encode()
    error = decode_error(400, {"x-request-id": "r"}, raw)
    assert (error.status, error.message, error.kind) == (400, "bad zebra", "invalid_request_error")
    assert (error.param, error.code) == ("messages[0]", "context_length_exceeded")
    assert (error.headers, error.body) == ({"x-request-id": "r"}, raw)


def test_when_to_try_again():
    assert decode_error(429, {"retry-after": "7"}, b"").retry_after_s == 7
    body = b'{"error": {"message": "Rate limit reached. Please try again in 1.5s."}}'
    assert decode_error(429, {}, body).retry_after_s == 1.5


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": {"type": "insufficient_quota"}}, 429),
        ({"error": {"type": "invalid_request_error"}}, 400),
        ({"error": {"type": "InternalServerError"}}, 500),
        ({"error": {"type": "overloaded_error"}}, 503),
        ({"error": {}}, 502),
    ],
)
def test_the_status_of_an_error_without_one(payload, status):
    assert streamed_error(payload).status == status


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (ClientFault("no"), 400, "invalid_request_error", None),
        (UnsupportedContent("audio", "x"), 400, "invalid_request_error", "unsupported_content"),
        (GatewayError("no", status=401), 401, "authentication_error", "invalid_api_key"),
        (GatewayError("no", status=403), 403, "permission_error", "insufficient_quota"),
        (GatewayError("no", status=404), 404, "invalid_request_error", "model_not_found"),
        (GatewayError("no", status=408), 408, "request_timeout", "request_timeout"),
        (GatewayError("no", status=413), 413, "invalid_request_error", None),
        (GatewayError("no", status=429), 429, "rate_limit_error", "rate_limit_exceeded"),
        (Unavailable("no"), 503, "server_error", "internal_server_error"),
        (
            UpstreamRefused("no", status=529, kind="overloaded_error"),
            529,
            "server_error",
            "internal_server_error",
        ),
        (
            UpstreamRefused("no", status=429, kind="insufficient_quota", code="q"),
            429,
            "insufficient_quota",
            "q",
        ),
    ],
)
def test_our_errors_in_openais_words(error, status, kind, code):
    assert encode_error(error) == (
        status,
        {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}},
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_the_sdk_raises_its_own_error(status, expected):
    sent, body = encode_error(GatewayError("bad zebra", status=status, param="model"))
    transport = httpx2.MockTransport(lambda _: httpx2.Response(sent, json=body))
    with openai.OpenAI(
        api_key="sk-test",
        base_url="http://gateway.test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    ) as client:
        with pytest.raises(expected, match="bad zebra") as raised:
            client.chat.completions.create(model="m", messages=[])
    assert raised.value.param == "model"

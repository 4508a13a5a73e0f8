"""cliproxy.wire.openai_chat.errors: any error body becomes one clean message; ours become OpenAI's envelope."""

import json
from email.utils import formatdate
from time import time

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import ClientFault, GatewayError, Unavailable, UnsupportedContent, UpstreamRefused
from cliproxy.wire.openai_chat import decode_error, encode_error
from cliproxy.wire.openai_chat.errors import streamed_error
from cliproxy.wire.upstream_error import MAX_MESSAGE_CHARS


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


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "boom"}', "boom"),
        (b'{"message": "boom"}', "boom"),
        (b'{"detail": "boom"}', "boom"),
        (b'{"detail": [{"loc": ["body"], "msg": "boom"}]}', '[{"loc":["body"],"msg":"boom"}]'),
        (b'[{"error": {"code": 400, "message": "boom", "status": "INVALID_ARGUMENT"}}]', "boom"),
        (b"plain words", "plain words"),
        (b"", "the upstream answered 502 Bad Gateway"),
        (b"{}", "the upstream answered 502 Bad Gateway"),
        (b"null", "the upstream answered 502 Bad Gateway"),
        (
            b"<html><head><title>502 Bad\nGateway</title></head><body><h1>x</h1></body></html>",
            "502 Bad Gateway",
        ),
        (b"<html><style>p {}</style><body><p>Gateway &amp; more</p></body></html>", "Gateway & more"),
        (b'{"error": {"message": "a <b>bold</b> word"}}', "a bold word"),
        (b'{"error": {"message": "1 < 2 and 3 > 2"}}', "1 < 2 and 3 > 2"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_messages_of_any_body(body, message):
    assert decode_error(502, {}, body).message == message


def test_long_messages_are_cut():
    assert len(decode_error(500, {}, b"x" * 9999).message) == MAX_MESSAGE_CHARS


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({}, "Rate limit reached. Please try again in 1.5s. Visit …", 1.5),
        ({}, "Please try again in 20ms", 0.02),
        ({}, "Please try again in 1h2m3s.", 3723),
        ({"retry-after": "9"}, "Please try again in 20ms", 9),
        ({}, "no", None),
    ],
)
def test_when_to_try_again(headers, message, seconds):
    body = json.dumps({"error": {"message": message}}).encode()
    assert decode_error(429, headers, body).retry_after_s == (pytest.approx(seconds) if seconds is not None else None)


def test_a_date_in_retry_after():
    wait_s = decode_error(503, {"retry-after": formatdate(time() + 60, usegmt=True)}, b"").retry_after_s
    assert wait_s == pytest.approx(60, abs=5)


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": {"code": "503"}}, 503),
        ({"error": {"status": 404}}, 404),
        ({"error": {"type": "insufficient_quota"}}, 429),
        ({"error": {"type": "invalid_request_error"}}, 400),
        ({"error": {"type": "overloaded_error"}}, 503),
        ({"error": {"code": 5}}, 502),
        ({"error": {}}, 502),
        ([[[]]], 502),
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


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("<b>"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "detail", "status", "param"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.integers(400, 599), st.binary(max_size=40) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_a_clean_error(status, body):
    error = decode_error(status, {"retry-after": body.decode("latin-1")}, body)
    assert error.status == status
    assert error.message
    assert len(error.message) <= MAX_MESSAGE_CHARS
    json.dumps(encode_error(error)[1])

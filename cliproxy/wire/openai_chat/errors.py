"""Errors of Chat Completions: what an upstream's refusal says, and how the gateway's own are said."""

from collections.abc import Mapping
from typing import Any

from cliproxy.wire import upstream_error
from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.model import Json

_STATUSES: dict[str, int] = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "usage_limit_reached": 429,
    "server_error": 500,
    "api_error": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "overloaded": 503,
    "overloaded_error": 503,
    "engine_overloaded": 503,
    "server_is_overloaded": 503,
    "service_unavailable": 503,
    "timeout": 504,
}
"""Status of an error that came inside a stream, where no HTTP status tells: OpenAI's words and compatible servers'."""

_WORDS: dict[int, tuple[str, str | None]] = {
    401: ("authentication_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    408: ("request_timeout", "request_timeout"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
"""Type and code for a status."""
_CLIENT_WORDS = ("invalid_request_error", None)
_SERVER_WORDS = ("server_error", "internal_server_error")

_TYPES = frozenset({*(kind for kind, _ in _WORDS.values()), "invalid_request_error", "server_error", "not_found_error"})
"""OpenAI's own type words; another vendor's says nothing to a client of this format."""


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    error = upstream_error.read(upstream_error.read_body(body), status, _STATUSES)
    return upstream_error.answered(error, headers, body)


def streamed_error(payload: Any) -> UpstreamRefused:
    """Read an `error` in a stream, or an error body that was sent with status 200."""
    return upstream_error.read(payload, None, _STATUSES)


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body, which is also the data of an error in a stream."""
    kind, code = _WORDS.get(error.status, _SERVER_WORDS if error.status >= 500 else _CLIENT_WORDS)
    if error.kind in _TYPES:
        kind = error.kind
    body = {"message": error.message, "type": kind, "param": error.param, "code": error.code or code}
    return error.status, {"error": body}

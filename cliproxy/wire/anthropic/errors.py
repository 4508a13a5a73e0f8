"""Errors of the Messages API: what an upstream's refusal says, and how the gateway's own are said."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cliproxy.wire import upstream_error
from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.model import Json

_STATUSES: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Status of an error that came inside a stream, where no HTTP status tells."""

_WORDS: dict[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Type for a status."""


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    error = upstream_error.read(upstream_error.read_body(body), status, _STATUSES)
    if status == 429:
        reset_s = _quota_reset_s(headers)
        error.retry_after_s = error.retry_after_s if reset_s is None else reset_s
    return upstream_error.answered(error, headers, body)


def streamed_error(payload: Any) -> UpstreamRefused:
    """Read an `error` event, or an error body that was sent with status 200."""
    return upstream_error.read(payload, None, _STATUSES)


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body, which is also the data of an `error` event."""
    kind = error.kind
    if kind not in _STATUSES:
        kind = _WORDS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return error.status, {"type": "error", "error": {"type": kind, "message": error.message}}


def _quota_reset_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the last of the exhausted limits is refilled, from the `anthropic-ratelimit-…` headers.

    Subscriptions state `…-status: rejected` and a Unix time in `…-reset` for each window, API keys state
    `…-remaining: 0` and an RFC 3339 time.
    """
    resets: list[float] = []
    for name, value in headers.items():
        if not name.startswith("anthropic-ratelimit-") or not name.endswith("-reset"):
            continue
        limit = name.removesuffix("-reset")
        if headers.get(f"{limit}-status") == "rejected" or headers.get(f"{limit}-remaining") == "0":
            moment = upstream_error.number(value)
            resets.append(_timestamp(value) if moment is None else moment)
    latest = max(resets, default=0.0)
    return max(0.0, latest - time.time()) if latest else None


def _timestamp(value: str) -> float:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0

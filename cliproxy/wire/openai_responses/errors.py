"""Errors of the Responses API: what an upstream's refusal says, and how the gateway's own are said."""

import time
from collections.abc import Mapping
from typing import Any

from cliproxy.wire import upstream_error
from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.fields import integer_of
from cliproxy.wire.model import Json

_STATUSES: dict[str, int] = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "previous_response_not_found": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "bio_policy": 400,
    "cyber_policy": 400,
    "misalignment_policy_violation": 400,
    "data_residency_mismatch": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "image_parse_error": 400,
    "image_content_policy_violation": 400,
    "image_file_too_large": 400,
    "image_file_not_found": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "invalid_image_mode": 400,
    "invalid_image_url": 400,
    "invalid_base64_image": 400,
    "unsupported_image_media_type": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "usage_limit_reached": 429,
    "usage_not_included": 429,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "vector_store_timeout": 504,
}
"""Status of an error that came inside a stream, where no HTTP status tells."""

_WORDS: dict[int, tuple[str, str | None]] = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    408: ("invalid_request_error", "request_timeout"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
"""Type and code for a status."""
_CLIENT_WORDS = ("invalid_request_error", None)
_SERVER_WORDS = ("server_error", None)

_TYPES = frozenset({
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "rate_limit_error",
    "server_error", "insufficient_quota", "usage_limit_reached",
})  # fmt: skip
"""OpenAI's own type words; another vendor's says nothing to a client of this format."""

_CODE_IN_STREAM = {
    400: "invalid_prompt",
    413: "invalid_prompt",
    422: "invalid_prompt",
    429: "rate_limit_exceeded",
}
_MAX_RESET_S = 10**12


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    return upstream_error.answered(_read(upstream_error.read_body(body), status), headers, body)


def streamed_error(payload: Any) -> UpstreamRefused:
    """Read a failed response's `error`, an `error` event, or an error body that was sent with status 200."""
    return _read(payload, None)


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body."""
    kind, code = _WORDS.get(error.status, _SERVER_WORDS if error.status >= 500 else _CLIENT_WORDS)
    if error.kind in _TYPES:
        kind = error.kind
    body = {"message": error.message, "type": kind, "param": error.param, "code": error.code or code}
    return error.status, {"error": body}


def streamed_error_json(error: GatewayError) -> Json:
    """The `error` member of a failed response. Clients decide by its code whether to try again."""
    code, message = error.code, error.message
    if code is None:
        # An overloaded upstream is a server_error too: on server_is_overloaded Codex gives up.
        code = _CODE_IN_STREAM.get(error.status, "server_error")
    # A stream has no retry-after header: Codex reads the time from the message.
    if error.retry_after_s is not None and upstream_error.wait_s(message) is None:
        message = f"{message.rstrip('.')}. Please try again in {error.retry_after_s:g}s."
    return {"code": code, "message": message}


def _read(payload: Any, status: int | None) -> UpstreamRefused:
    refused = upstream_error.read(payload, status, _STATUSES)
    if refused.kind == "error":  # the type of the event
        refused.kind = None
    if status is None and "model is at capacity" in refused.message.lower():
        # The ChatGPT backend's words come without a code.
        refused.status = 429
    error = upstream_error.error_object(payload)
    for key, since_s in (("resets_in_seconds", 0.0), ("resets_at", time.time())):
        reset_s = integer_of(error, key)
        if reset_s is not None and abs(reset_s) < _MAX_RESET_S:
            refused.retry_after_s = max(0.0, reset_s - since_s)
            break
    return refused

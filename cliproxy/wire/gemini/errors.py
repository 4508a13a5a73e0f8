"""Errors of the Gemini API: what an upstream's refusal says, and how the gateway's own are said."""

from collections.abc import Mapping
from typing import Any

from cliproxy.wire import upstream_error
from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Json

_STATUSES: dict[str, int] = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "aborted": 409,
    "already_exists": 409,
    "resource_exhausted": 429,
    "cancelled": 499,
    "internal": 500,
    "unknown": 500,
    "data_loss": 500,
    "unimplemented": 501,
    "unavailable": 503,
    "deadline_exceeded": 504,
}
"""Google's words in lower case, and the HTTP statuses that they go with."""

_WORDS: dict[int, str] = {
    401: "UNAUTHENTICATED",
    402: "PERMISSION_DENIED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
"""Word for a status."""

_TYPE_URL = "type.googleapis.com/google.rpc."


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    return upstream_error.answered(_read(upstream_error.read_body(body), status), headers, body)


def streamed_error(payload: Any) -> UpstreamRefused:
    """Read the `error` member of a chunk, or of a body that was sent with status 200."""
    return _read(payload, None)


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body, which is also the chunk that ends a stream."""
    status = 503 if error.status == 529 else error.status
    word = error.kind
    if word is None or word.lower() not in _STATUSES:
        word = _WORDS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    fields: Json = {"code": status, "message": error.message, "status": word}
    details: list[Json] = []
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPE_URL}BadRequest", "fieldViolations": [violation]})
    if error.retry_after_s is not None:
        details.append({"@type": f"{_TYPE_URL}RetryInfo", "retryDelay": f"{error.retry_after_s:g}s"})
    if details:
        fields["details"] = details
    return status, {"error": fields}


def _read(payload: Any, status: int | None) -> UpstreamRefused:
    refused = upstream_error.read(payload, status, _STATUSES)
    error = upstream_error.error_object(payload)
    details = objects_of(error, "details")
    refused.kind = upstream_error.word(error, "status")
    # Google's own short word, such as `API_KEY_INVALID`.
    refused.code = next((reason for detail in details if (reason := text_of(detail, "reason"))), None)
    stated_s = _stated_wait_s(details)
    if stated_s is not None:
        refused.retry_after_s = stated_s
    return refused


def _stated_wait_s(details: list[Json]) -> float | None:
    """The wait that the error names: `RetryInfo`, else a quota's reset."""
    delays = [text_of(detail, "retryDelay") for detail in details]
    delays += [text_of(object_of(detail, "metadata"), "quotaResetDelay") for detail in details]
    waits = (upstream_error.duration_s(delay) for delay in delays)
    return next((wait for wait in waits if wait is not None), None)

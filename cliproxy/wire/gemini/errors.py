"""Errors of the Gemini API: what an upstream's refusal says, and how the gateway's own are said."""

import html
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.json import loads
from cliproxy.wire.model import Json

MAX_MESSAGE_CHARS = 2000

_STATUSES: dict[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Google's words and the HTTP statuses that they go with."""

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

_TYPE_URL = "type.googleapis.com/google.rpc."

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_HINT = re.compile(r"\b(?:retry in|after|reset in)\s+((?:\d+(?:\.\d+)?(?:ms|h|m|s))+)", re.IGNORECASE)

_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z!/][^>]*>")


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", "replace")
    refused = _refused(_error_object(value), status, f"the upstream answered {status} without saying why")
    in_header = _retry_after_header_s(headers)
    if in_header is not None:
        refused.retry_after_s = in_header
    refused.headers, refused.body = dict(headers), body
    return refused


def streamed_error(error: Any) -> UpstreamRefused:
    """Read the `error` member of a chunk, or of a body that was sent with status 200."""
    fields = _error_object({"error": error})
    status = fields.get("code")
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = _STATUSES.get(_text(fields, "status") or "", 502)
    return _refused(fields, status, "the upstream reported an error without saying which")


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body, which is also the chunk that ends a stream."""
    status = 503 if error.status == 529 else error.status
    word = error.kind if error.kind in _STATUSES else None
    if word is None:
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


def _refused(error: Json, status: int, otherwise: str) -> UpstreamRefused:
    message = _text(error, "message") or ""
    return UpstreamRefused(
        _plain(message) or otherwise,
        status=status,
        code=_reason(error),
        kind=_text(error, "status"),
        retry_after_s=_retry_after_hint_s(error, message),
    )


def _error_object(value: Any) -> Json:
    """The object with `code`, `message` and `status`, from any of the shapes that servers use."""
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]
    if isinstance(value, str):
        return {"message": value}
    if not isinstance(value, dict):
        return {}
    body = cast("Json", value)
    error = body.get("error", body.get("detail"))
    if isinstance(error, str):
        return {"message": error}
    return cast("Json", error) if isinstance(error, dict) else body


def _text(fields: Json, key: str) -> str | None:
    value = fields.get(key)
    return value if isinstance(value, str) and value else None


def _details(error: Json) -> list[Json]:
    details = error.get("details")
    if not isinstance(details, list):
        return []
    return [cast("Json", detail) for detail in cast("list[Any]", details) if isinstance(detail, dict)]


def _reason(error: Json) -> str | None:
    """Google's own short word, such as `API_KEY_INVALID`."""
    return next((reason for detail in _details(error) if (reason := _text(detail, "reason"))), None)


def _plain(message: str) -> str:
    """One clean line or paragraph: an HTML page is reduced to its title or its text."""
    if _TAG.search(message):
        message = _UNSEEN.sub(" ", message)
        title = _TITLE.search(message)
        message = html.unescape(_TAG.sub(" ", title[1] if title and title[1].strip() else message))
        message = " ".join(message.split())
    return message.strip()[:MAX_MESSAGE_CHARS]


def _retry_after_header_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return seconds if 0 <= seconds < float("inf") else None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _retry_after_hint_s(error: Json, message: str) -> float | None:
    """The wait that the error names: `RetryInfo`, else a quota's reset, else the words of its message."""
    details = _details(error)
    for detail in details:
        seconds = _duration_s(_text(detail, "retryDelay"))
        if seconds is not None:
            return seconds
    for detail in details:
        metadata = detail.get("metadata")
        if isinstance(metadata, dict):
            seconds = _duration_s(_text(cast("Json", metadata), "quotaResetDelay"))
            if seconds is not None:
                return seconds
    hint = _HINT.search(message)
    return _duration_s(hint[1]) if hint else None


def _duration_s(text: str | None) -> float | None:
    """Seconds of Google's `0.847s` or `1h16m0.5s`."""
    pieces = _DURATION.findall(text or "")
    return sum(float(number) * _SECONDS[unit] for number, unit in pieces) if pieces else None

"""Errors of the Messages API: what an upstream's refusal says, and how the gateway's own are said."""

import html
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from cliproxy.wire.anthropic.fields import object_of, text_of
from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.json import loads
from cliproxy.wire.model import Json

MAX_MESSAGE_CHARS = 2000

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

_TYPES: dict[int, str] = {
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

_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z!/][^>]*>")


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", "replace")
    error = _error_object(value)
    return UpstreamRefused(
        _plain(text_of(error, "message")) or f"the upstream answered {status} without saying why",
        status=status,
        kind=text_of(error, "type") or None,
        retry_after_s=_retry_after_s(status, headers),
        headers=dict(headers),
        body=body,
    )


def streamed_error(event: Json) -> UpstreamRefused:
    """Read an `error` event, or an error body that was sent with status 200."""
    error = _error_object(event)
    kind = text_of(error, "type")
    return UpstreamRefused(
        _plain(text_of(error, "message")) or "the upstream reported an error without saying which",
        status=_STATUSES.get(kind, 502),
        kind=kind or None,
    )


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body, which is also the data of an `error` event."""
    kind = error.kind
    if kind not in _STATUSES:
        kind = _TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return error.status, {"type": "error", "error": {"type": kind, "message": error.message}}


def _error_object(value: Any) -> Json:
    """The object with `type` and `message`, from any of the shapes that servers use."""
    if isinstance(value, str):
        return {"message": value}
    if not isinstance(value, dict):
        return {}
    body = cast("Json", value)
    for key in ("error", "detail"):
        inner = object_of(body, key)
        if inner:
            return inner
        if text_of(body, key):
            return {"message": text_of(body, key)}
    return {"message": text_of(body, "message")}


def _plain(message: str) -> str:
    """One clean line or paragraph: an HTML page is reduced to its title or its text."""
    if _TAG.search(message):
        message = _UNSEEN.sub(" ", message)
        title = _TITLE.search(message)
        shown = title.group(1) if title and title.group(1).strip() else message
        message = " ".join(html.unescape(_TAG.sub(" ", shown)).split())
    return message.strip()[:MAX_MESSAGE_CHARS]


def _retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is None and value:
        try:
            seconds = max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            seconds = None
    if seconds is None and status == 429:
        seconds = _quota_reset_s(headers)
    return seconds


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
            moment = _number(value)
            resets.append(_timestamp(value) if moment is None else moment)
    latest = max(resets, default=0.0)
    return max(0.0, latest - time.time()) if latest else None


def _timestamp(value: str) -> float:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None

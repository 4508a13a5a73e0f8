"""Errors of the Responses API: what an upstream's refusal says, and how the gateway's own are said."""

import html
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.json import loads
from cliproxy.wire.model import Json
from cliproxy.wire.openai_responses.fields import integer_of, object_of, text_of

MAX_MESSAGE_CHARS = 2000

_STATUS_OF_CODE: dict[str, int] = {
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

_TYPE_AND_CODE: dict[int, tuple[str, str | None]] = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    408: ("invalid_request_error", "request_timeout"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}

_CODE_IN_STREAM = {
    400: "invalid_prompt",
    413: "invalid_prompt",
    422: "invalid_prompt",
    429: "rate_limit_exceeded",
}

_OWN_TYPES = frozenset({
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error",
    "rate_limit_error", "server_error", "insufficient_quota", "usage_limit_reached",
})  # fmt: skip

_TRY_AGAIN = re.compile(
    r"try again in (?:(\d{1,6})m(?!s)\s*)?(?:(\d{1,9}(?:\.\d+)?)\s*(ms|s(?:ec\w*)?)\b)?", re.IGNORECASE
)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """Read an answer with an error status, whatever its body is. `headers` have lower-case names."""
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", "replace")
    error = _error_object(value)
    message = _plain(text_of(error, "message")) or f"the upstream answered {status} without saying why"
    retry_after_s = _retry_after_header_s(headers)
    return UpstreamRefused(
        message,
        status=status,
        code=_word(error, "code"),
        kind=_word(error, "type"),
        param=_word(error, "param"),
        retry_after_s=_retry_after_hint_s(error) if retry_after_s is None else retry_after_s,
        headers=dict(headers),
        body=body,
    )


def streamed_error(event: Json) -> UpstreamRefused:
    """Read a failed response's `error`, an `error` event, or an error body that came with status 200."""
    error = _error_object(event)
    code, kind = _word(error, "code"), _word(error, "type")
    status = integer_of(event, "status") or integer_of(event, "status_code")
    if status is None or not 400 <= status < 600:
        status = _status_of(code) or _status_of(kind) or 502
    return UpstreamRefused(
        _plain(text_of(error, "message")) or "the upstream reported an error without saying which",
        status=status,
        code=code,
        kind=None if kind == "error" else kind,
        param=_word(error, "param"),
        retry_after_s=_retry_after_hint_s(error),
    )


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and the body."""
    kind, code = _TYPE_AND_CODE.get(
        error.status, ("server_error", None) if error.status >= 500 else ("invalid_request_error", None)
    )
    if error.kind in _OWN_TYPES:
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
    if error.retry_after_s is not None and _wait_in_words_s(message) is None:
        message = f"{message.rstrip('.')}. Please try again in {error.retry_after_s:g}s."
    return {"code": code, "message": message}


def _status_of(word: str | None) -> int | None:
    if word is None:
        return None
    if word.startswith(("image_", "invalid_image", "invalid_base64")):
        return 400
    return _STATUS_OF_CODE.get(word)


def _error_object(value: Any) -> Json:
    """The object with `message`, `code`, `type`, `param`, from any of the shapes that servers use."""
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
            return {**body, "message": text_of(body, key)}
    return body


def _word(error: Json, key: str) -> str | None:
    """A short machine-readable member; some servers send the status as a number there."""
    value = text_of(error, key)
    return value if value and len(value) <= 200 else None


def _plain(message: str) -> str:
    """One clean line or paragraph: an HTML page is reduced to its title or its text."""
    if message.lstrip().startswith("<"):
        message = _UNSEEN.sub(" ", message)
        title = _TITLE.search(message)
        if title and title.group(1).strip():
            message = title.group(1)
        message = " ".join(html.unescape(_TAG.sub(" ", message)).split())
    return message.strip()[:MAX_MESSAGE_CHARS]


def _retry_after_header_s(headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _retry_after_hint_s(error: Json) -> float | None:
    for key, since_s in (("resets_in_seconds", 0.0), ("resets_at", time.time())):
        value = integer_of(error, key)
        if value is not None and abs(value) < 10**12:
            return max(0.0, value - since_s)
    return _wait_in_words_s(text_of(error, "message"))


def _wait_in_words_s(message: str) -> float | None:
    hint = _TRY_AGAIN.search(message)
    if hint is None or not (hint.group(1) or hint.group(2)):
        return None
    rest = float(hint.group(2) or 0)
    return int(hint.group(1) or 0) * 60 + (rest / 1000 if hint.group(3) == "ms" else rest)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None

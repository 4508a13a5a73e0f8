"""Errors of Chat Completions: an upstream's body → UpstreamRefused, GatewayError → OpenAI's envelope."""

import html
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

from cliproxy.wire.errors import GatewayError, UpstreamRefused
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import Json

MAX_MESSAGE_CHARS = 2000

_IN_STREAM_STATUS = 502
"""For an error in a stream that says nothing of its kind."""

_STATUS_BY_WORD = {
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

_WORDS_BY_STATUS: dict[int, tuple[str, str | None]] = {
    401: ("authentication_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    408: ("request_timeout", "request_timeout"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
_CLIENT_WORDS = ("invalid_request_error", None)
_SERVER_WORDS = ("server_error", "internal_server_error")

_TYPES = frozenset(
    {
        *(kind for kind, _ in _WORDS_BY_STATUS.values()),
        "invalid_request_error",
        "server_error",
        "not_found_error",
    }
)
"""OpenAI's own type words; another vendor's says nothing to a client of this format."""

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[!/a-zA-Z][^>]*>")
_WAIT = re.compile(r"(?:try again in|retry after|retry in)\s+((?:\d+(?:\.\d+)?\s*[a-z]+[\s,]*)+)", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|h|m|s)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """What an upstream's error status means. headers: lower-case names. body: anything at all."""
    try:
        payload: Any = loads(body)
    except (ValueError, RecursionError):
        payload = body.decode("utf-8", "replace")
    error = error_of(payload, status)
    error.headers, error.body = dict(headers), body
    stated = _retry_after(headers)
    if stated is not None:
        error.retry_after_s = stated
    return error


def error_of(payload: Any, status: int | None = None) -> UpstreamRefused:
    """The error that a decoded body or a stream's event states.

    payload: OpenAI's envelope or what stands in it, what compatible servers send instead of it, or text.
    status: None where there was none, as in a stream; then the payload's own words decide.
    """
    detail = _detail(payload)
    code, kind, param = detail.get("code"), detail.get("type"), detail.get("param")
    if status is None:
        status = _stated_status(detail)
    message = _plain(_message(detail)) or f"the upstream answered {_status_words(status)}"
    return UpstreamRefused(
        message,
        status=status,
        code=str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None,
        kind=kind if isinstance(kind, str) else None,
        param=param if isinstance(param, str) else None,
        retry_after_s=_wait_in(message) if status in (429, 503) else None,
    )


def encode_error(error: GatewayError) -> tuple[int, Json]:
    """The HTTP status and OpenAI's error body."""
    kind, code = _WORDS_BY_STATUS.get(error.status, _SERVER_WORDS if error.status >= 500 else _CLIENT_WORDS)
    if error.kind in _TYPES:
        kind = error.kind
    envelope = {"message": error.message, "type": kind, "param": error.param, "code": error.code or code}
    return error.status, {"error": envelope}


def _detail(payload: Any) -> Json:
    """The object that describes the error, however it is wrapped."""
    if isinstance(payload, list) and payload:  # Google's compatibility layer
        payload = cast("list[Any]", payload)[0]
    if isinstance(payload, str):
        return {"message": payload}
    if not isinstance(payload, dict):
        return {}
    detail = cast("Json", payload)
    inner = detail.get("error")
    if isinstance(inner, dict):
        return cast("Json", inner)
    if isinstance(inner, str) and inner:
        return {"message": inner, **detail}
    return detail


def _message(detail: Json) -> str:
    for key in ("message", "detail", "msg", "error_description"):
        value = detail.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list | dict) and value:
            return dumps_text(value)
    return ""


def _plain(text: str) -> str:
    """Without markup, on one line, of bearable length. A page of HTML shrinks to its title."""
    if _TAG.search(text):
        title = _TITLE.search(text)
        text = html.unescape(_TAG.sub(" ", title[1] if title else _UNSEEN.sub(" ", text)))
    return " ".join(text.split())[:MAX_MESSAGE_CHARS]


def _stated_status(detail: Json) -> int:
    for key in ("status", "status_code", "code"):
        value = detail.get(key)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    for key in ("code", "type"):
        value = detail.get(key)
        if isinstance(value, str) and value.lower() in _STATUS_BY_WORD:
            return _STATUS_BY_WORD[value.lower()]
    return _IN_STREAM_STATUS


def _status_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from OpenAI's `retry-after-ms` or the standard header's number or date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError, OverflowError):
        return None


def _wait_in(message: str) -> float | None:
    """Seconds, from a message such as "Please try again in 6m0.5s"."""
    wait = _WAIT.search(message)
    if wait is None:
        return None
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _DURATION.findall(wait[1])) or None

"""Reads what upstream errors of all formats have in common: any body at all, markup in messages, waits in words."""

import html
import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

from cliproxy.wire.errors import UpstreamRefused
from cliproxy.wire.fields import text_of
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import Json

MAX_MESSAGE_CHARS = 2000
_MAX_PAGE_CHARS = 20_000
"""What is read of a page in HTML: its title stands at the beginning."""
_MAX_WORD_CHARS = 200

_IN_STREAM_STATUS = 502
"""For an error in a stream that says nothing of its kind."""

_HTML = re.compile(
    r"<(!doctype\b|/?(html|head|title|body|script|style|div|span|p|h[1-6]|a|b|i|strong|em|br|hr|pre|center|table)\b)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[!/a-zA-Z][^<>]*>")

_DURATION = re.compile(
    r"(\d{1,9}(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])",
    re.IGNORECASE,
)
_WAIT = re.compile(r"\b(?:try again|retry|resets?)\s+(?:in|after)\s+((?:\d+(?:\.\d+)?\s*[a-z]+[\s,]*)+)", re.IGNORECASE)
_RESET_AT = re.compile(r"(?:\breset at|将在)\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
_GLM_CLOCK = timezone(timedelta(hours=8))
"""GLM tells the time of Beijing to all the world."""
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WAITING_STATUSES = frozenset({429, 503, 529})


def read_body(body: bytes) -> Any:
    """The JSON of an error body, or its text."""
    try:
        return loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def read(payload: Any, status: int | None, statuses: Mapping[str, int]) -> UpstreamRefused:
    """The error that a body or an event of a stream states.

    payload: a vendor's envelope or what stands in it, what compatible servers send instead, or text. status: None
    where there was none, as in a stream; then the payload's own words decide by `statuses`, whose keys are lower-case.
    """
    error = error_object(payload)
    message = _plain(_message(error))
    if status is None:
        status = _stated_status(error, statuses)
        message = message or "the upstream reported an error without saying which"
    return UpstreamRefused(
        message or f"the upstream answered {_status_words(status)}",
        status=status,
        code=word(error, "code") or word(error, "reason"),
        kind=word(error, "type"),
        param=word(error, "param"),
        retry_after_s=wait_s(message) if status in _WAITING_STATUSES else None,
    )


def answered(error: UpstreamRefused, headers: Mapping[str, str], body: bytes) -> UpstreamRefused:
    """`error` itself, with what only an HTTP answer says. Its `retry-after` counts for more than the body's words."""
    error.headers, error.body = dict(headers), body
    stated = _retry_after_s(headers)
    if stated is not None:
        error.retry_after_s = stated
    return error


def error_object(payload: Any) -> Json:
    """The object that describes the error, however it is wrapped; empty where there is none."""
    if isinstance(payload, list) and payload:  # Google's compatibility layer
        payload = cast("list[Any]", payload)[0]
    if isinstance(payload, str):
        return {"message": payload}
    if not isinstance(payload, dict):
        return {}
    outer = cast("Json", payload)
    for key in ("error", "detail"):
        inner = outer.get(key)
        if isinstance(inner, dict) and inner:
            stated = {name: outer[name] for name in ("status", "status_code") if name in outer}
            return {**stated, **cast("Json", inner)}
        if isinstance(inner, str) and inner:
            return {**outer, "message": inner}
    return outer


def word(error: Json, key: str) -> str | None:
    """A short machine-readable member; some servers repeat the status as a number there."""
    value = text_of(error, key)
    return value if value and len(value) <= _MAX_WORD_CHARS else None


def wait_s(message: str) -> float | None:
    """Seconds, from a message such as "Please try again in 6m0.5s", or GLM's "will reset at 2026-09-09 05:38:28"."""
    if wait := _WAIT.search(message):
        return duration_s(wait[1])
    reset = _RESET_AT.search(message)
    return _until_s(reset[1]) if reset else None


def _until_s(glm_time: str) -> float | None:
    try:
        return max(0.0, datetime.fromisoformat(glm_time).replace(tzinfo=_GLM_CLOCK).timestamp() - time.time())
    except ValueError:
        return None


def duration_s(text: str) -> float | None:
    """Seconds of `20ms`, `1h16m0.5s` or `20 seconds`."""
    pieces = _DURATION.findall(text)
    return sum(float(number) * _unit_s(unit.lower()) for number, unit in pieces) if pieces else None


def _unit_s(unit: str) -> float:
    return 0.001 if unit.startswith(("ms", "milli")) else _SECONDS[unit[0]]


def _message(error: Json) -> str:
    for key in ("message", "detail", "msg", "error_description"):
        value = error.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list | dict) and value:
            return dumps_text(value)
    return ""


def _plain(message: str) -> str:
    """Without markup and of bearable length: a page of HTML is reduced to its title or its text, on one line."""
    if _HTML.search(message):
        page = message[:_MAX_PAGE_CHARS]
        title = _TITLE.search(page)
        shown = title[1] if title and title[1].strip() else _UNSEEN.sub(" ", page)
        message = " ".join(html.unescape(_TAG.sub(" ", shown)).split())
    return message.strip()[:MAX_MESSAGE_CHARS]


def _stated_status(error: Json, statuses: Mapping[str, int]) -> int:
    for key in ("status", "status_code", "code"):
        value = error.get(key)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    words = (text_of(error, key).lower() for key in ("code", "type", "status"))
    return next((statuses[word] for word in words if word in statuses), _IN_STREAM_STATUS)


def _status_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, from OpenAI's `retry-after-ms` or the standard header's number or date."""
    milliseconds = number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = number(value)
    if seconds is not None or not value:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def number(text: str) -> float | None:
    """A number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None

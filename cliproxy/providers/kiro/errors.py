"""What the service's exceptions mean, where they come within an answer and have no HTTP status of their own."""

import re

from cliproxy.providers.kiro.frames import Frame
from cliproxy.wire import upstream_error
from cliproxy.wire.errors import UpstreamRefused
from cliproxy.wire.fields import text_of

TOO_LONG = "contentlengthexceeded"
"""The answer reached its limit."""

_STATUSES = {
    "accessdenied": 403,
    "conflict": 409,
    "expiredtoken": 401,
    "internalserver": 500,
    "resourcenotfound": 404,
    "servicequotaexceeded": 429,
    "serviceunavailable": 503,
    "throttling": 429,
    "unauthorized": 401,
    "validation": 400,
    TOO_LONG: 400,
}
_UNKNOWN_STATUS = 500
_SUFFIX = re.compile(r"(exception|error)$")


def exception_name(frame: Frame) -> str:
    """`throttling`, for `ThrottlingException`, `throttlingError` and the like."""
    return _SUFFIX.sub("", frame.name.rpartition("#")[2].lower())


def refusal(frame: Frame) -> UpstreamRefused:
    """The error that an exception or error frame stands for."""
    stated = upstream_error.error_object(upstream_error.read_body(frame.payload))
    message = text_of(stated, "message") or text_of(stated, "Message") or frame.message or frame.name
    reason = text_of(stated, "reason")
    return UpstreamRefused(
        f"{message} ({reason})" if reason else message,
        status=_STATUSES.get(exception_name(frame), _UNKNOWN_STATUS),
        code=reason or None,
        retry_after_s=upstream_error.wait_s(message),
    )

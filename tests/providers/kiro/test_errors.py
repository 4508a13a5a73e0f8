"""What the service's errors come to, with a status of their own and within an answer."""

import json

import pytest

from cliproxy.credentials.outcome import Outcome, Terms, judge
from cliproxy.providers.kiro.errors import exception_name, refusal
from cliproxy.providers.kiro.frames import Frame
from cliproxy.wire.anthropic import decode_error
from cliproxy.wire.errors import UpstreamRefused

NOW_S = 1_763_000_000.0

# Status, message, reason, exception; whose fault it is, whether another account may do, whether all models rest.
ERRORS = [
    (400, "Input is too long.", "CONTENT_LENGTH_EXCEEDS_THRESHOLD", "ValidationException", "context", False, False),
    (400, "Improperly formed request.", "REQUEST_BODY_INVALID", "ValidationException", "request", False, False),
    (400, "Invalid model.", "INVALID_MODEL_ID", "ValidationException", "model", True, False),
    (403, "The bearer token included in the request is invalid.", None, "AccessDeniedException", "credential", True, True),
    (403, "Suspended.", "TEMPORARILY_SUSPENDED", "AccessDeniedException", "credential", True, True),
    (403, "User is not authorized to make this call.", None, "AccessDeniedException", "credential", True, False),
    (429, "You have reached the limit.", "MONTHLY_REQUEST_COUNT", "ThrottlingException", "quota", True, True),
    (429, "High traffic.", "INSUFFICIENT_MODEL_CAPACITY", "ThrottlingException", "quota", True, False),
    (429, "Too many requests.", None, "throttlingException", "quota", True, False),
    (500, "Unexpectedly high load.", None, "InternalServerException", "transient", True, False),
    (503, "Unavailable.", None, "ServiceUnavailableException", "transient", True, False),
]  # fmt: skip


def judged(error: UpstreamRefused) -> Outcome:
    return judge(error, Terms(), NOW_S)


@pytest.mark.parametrize(("status", "message", "reason", "exception", "fault", "another", "all_models"), ERRORS)
def test_errors(
    status: int, message: str, reason: str | None, exception: str, fault: str, another: bool, all_models: bool
) -> None:
    body = json.dumps({"message": message, "reason": reason}).encode()
    with_status = decode_error(status, {"content-type": "application/json"}, body)
    assert (with_status.message, with_status.code) == (message, reason)
    within = refusal(Frame("exception", exception, "", body))
    assert within.status == status
    for error in (with_status, within):
        outcome = judged(error)
        assert (outcome.fault, outcome.tries_next, outcome.all_models) == (fault, another, all_models)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("ThrottlingException", "throttling"),
        ("throttlingError", "throttling"),
        ("com.amazon.aws.codewhisperer#ThrottlingException", "throttling"),
        ("InternalFailure", "internalfailure"),
    ],
)
def test_names_of_exceptions(said: str, name: str) -> None:
    assert exception_name(Frame("exception", said, "", b"")) == name


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame("exception", "NewException", "", b"{}"), "NewException"),
        (Frame("exception", "NewException", "", b"not JSON"), "not JSON"),
        (Frame("error", "InternalFailure", "It broke.", b""), "It broke."),
    ],
)
def test_what_an_error_says_that_nobody_knows(frame: Frame, message: str) -> None:
    error = refusal(frame)
    assert (error.status, error.message, error.code) == (500, message, None)


def test_a_wait_in_words() -> None:
    body = b'{"message": "Slow down, retry in 20 seconds."}'
    assert refusal(Frame("exception", "ThrottlingException", "", body)).retry_after_s == 20

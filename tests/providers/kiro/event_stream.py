"""Frames of `application/vnd.amazon.eventstream`, as the service sends them."""

import json
from collections.abc import Mapping
from typing import Any

from smithy_aws_event_stream.events import EventMessage

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def event(name: str, /, **payload: Any) -> bytes:
    return _frame("event", ":event-type", name, json.dumps(payload).encode())


def garbled(name: str) -> bytes:
    """An event whose payload is no JSON."""
    return _frame("event", ":event-type", name, b"{]")


def exception(name: str, /, **payload: Any) -> bytes:
    """A modelled error."""
    return _frame("exception", ":exception-type", name, json.dumps(payload).encode())


def error(code: str, message: str) -> bytes:
    """An error that the service's model does not know."""
    headers = {":message-type": "error", ":error-code": code, ":error-message": message}
    return EventMessage(headers=headers).encode()


def said(*words: str) -> list[bytes]:
    return [event("assistantResponseEvent", content=word, modelId="claude-sonnet-4.5") for word in words]


def thought(*words: str) -> list[bytes]:
    return [
        *(event("reasoningContentEvent", text=word) for word in words),
        event("reasoningContentEvent", signature="test-signature"),
    ]


def called(name: str, arguments: dict[str, Any], id: str = "tooluse_test1") -> list[bytes]:
    """A call: its name first, its arguments in two pieces, its end."""
    code = json.dumps(arguments)
    half = len(code) // 2
    head = {"name": name, "toolUseId": id}
    return [
        event("toolUseEvent", **head),
        event("toolUseEvent", **head, input=code[:half]),
        event("toolUseEvent", **head, input=code[half:]),
        event("toolUseEvent", **head, stop=True),
    ]


def ended(reason: str = "END_TURN", usage: Mapping[str, int] | None = None) -> list[bytes]:
    """What comes after the content. usage: counts of tokens, which the service mostly leaves out."""
    counts = {"tokenUsage": dict(usage)} if usage else {}
    return [
        event("metadataEvent", stopReason=reason, **counts),
        event("contextUsageEvent", contextUsagePercentage=10.867),
        event("meteringEvent", unit="credit", unitPlural="credits", usage=0.0897),
    ]


def _frame(kind: str, header: str, name: str, payload: bytes) -> bytes:
    headers = {":message-type": kind, header: name, ":content-type": "application/json"}
    return EventMessage(headers=headers, payload=payload).encode()

"""The events of Responses answers as messages of a WebSocket: one event is one message, and errors have a status.

Over HTTP a failure before the first event is an error status; here it is an `error` event with the same body. A passing
429 is a failed response instead: Codex waits and tries again after one, and gives up on the status.
"""

import time
from typing import cast

from cliproxy.exchange import Answer
from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.fold import unfold
from cliproxy.wire.model import Answer as Said
from cliproxy.wire.model import Json, Usage
from cliproxy.wire.names import new_id
from cliproxy.wire.openai_responses import AnswerEncoder, decode_error, decode_request, encode_error
from cliproxy.wire.openai_responses.errors import streamed_error, streamed_error_json
from cliproxy.wire.openai_responses.outcome import Outcome
from cliproxy.wire.sse import ServerSentEvent, SseParser, frame

PATIENCE_S = 60.0
"""The longest wait after which a client is told to try again by itself."""

_USED_UP = frozenset({"usage_limit_reached", "usage_not_included", "insufficient_quota"})
"""Types and codes of a 429 that waiting a little does not help."""


class Events:
    """One streamed answer: turns it into messages, and keeps what it came to."""

    def __init__(self) -> None:
        self.outcome = Outcome()
        self._parser = SseParser()

    def feed(self, chunk: bytes) -> list[str]:
        """The messages that a slice of the stream completes. Raises UpstreamGarbled."""
        return [self._message(event) for event in self._parser.feed(chunk)]

    def finish(self) -> list[str]:
        """The stream has ended. Raises UpstreamGarbled when it was none."""
        return [self._message(event) for event in self._parser.finish()]

    def _message(self, event: ServerSentEvent) -> str:
        outcome = self.outcome
        outcome.note(event.data)
        if outcome.type == "error" and outcome.status is None:
            return error_event(streamed_error(json.loads(event.data)))
        return event.data.decode("utf-8", "replace")


def error_event(error: GatewayError) -> str:
    """An error as a message."""
    if _passes_soon(error):
        return _failed(error)
    status, body = encode_error(error)
    headers = {} if error.retry_after_s is None else {"retry-after": str(max(1, round(error.retry_after_s)))}
    return _error(status, body["error"], headers)


def failure_event(answer: Answer) -> str:
    """An answer that is an error, as a message."""
    assert isinstance(answer.body, bytes)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    error = decode_error(answer.status, headers, answer.body)
    if _passes_soon(error):
        return _failed(error)
    told = {name: value for name, value in headers.items() if name == "retry-after" or name.startswith("x-")}
    return _error(answer.status, _stated(answer.body) or encode_error(error)[1]["error"], told)


def _passes_soon(error: GatewayError) -> bool:
    is_used_up = error.code in _USED_UP or error.kind in _USED_UP
    return error.status == 429 and not is_used_up and (error.retry_after_s or 0.0) <= PATIENCE_S


def _failed(error: GatewayError) -> str:
    # Codex reads the time to wait from the message of this code, and of no other.
    error = GatewayError(error.message, status=429, code="rate_limit_exceeded", retry_after_s=error.retry_after_s)
    response: Json = {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "failed",
        "error": streamed_error_json(error),
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    return json.dumps_text({"type": "response.failed", "sequence_number": 0, "response": response})


def _error(status: int, error: Json, headers: dict[str, str]) -> str:
    event: Json = {"type": "error", "status": status, "error": error}
    return json.dumps_text({**event, "headers": headers} if headers else event)


def _stated(body: bytes) -> Json | None:
    """The `error` of an error body, with all that it says."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    error = value.get("error") if isinstance(value, dict) else None
    return cast("Json", error) if isinstance(error, dict) else None


def prewarmed_events(body: Json) -> bytes:
    """The stream for a request that shall not be answered, only be gone on from (`generate: false`).

    Raises ClientFault for a body that is none.
    """
    request = decode_request({**body, "stream": True})
    encoder = AnswerEncoder(request, request.model)
    said = Said(new_id("resp_"), request.model, None, [], Usage(input=0, output=0), "stop")
    return b"".join([*map(encoder.push, unfold(said)), encoder.finish()])


def whole_events(response: Json) -> bytes:
    """The stream for a response that came whole."""
    output = response.get("output")
    events = [
        {"type": "response.output_item.done", "output_index": index, "item": item}
        for index, item in enumerate(output if isinstance(output, list) else [])
    ]
    events.append({"type": f"response.{response.get('status', 'completed')}", "response": response})
    return b"".join(frame(json.dumps(event), event["type"]) for event in events)

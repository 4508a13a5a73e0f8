"""cliproxy.wire.openai_responses.outcome: what the events of a response come to."""

import json
from typing import Any

import pytest

from cliproxy.wire.openai_responses.outcome import Outcome

FIRST, SECOND = {"type": "reasoning", "id": "rs_1"}, {"type": "message", "id": "msg_1"}


def outcome(*events: Any) -> Outcome:
    noted = Outcome()
    for event in events:
        noted.note(json.dumps(event).encode())
    return noted


def done(index: int, item: Any) -> Any:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def final(kind: str, **response: Any) -> Any:
    return {"type": f"response.{kind}", "response": {"id": "resp_1", **response}}


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_the_output_is_what_was_sent_item_by_item(kind: str) -> None:
    noted = outcome(done(1, SECOND), done(0, FIRST), final(kind, output=[], usage={}))
    assert noted.ended
    assert noted.response == {"id": "resp_1", "output": [FIRST, SECOND]}


def test_without_items_it_is_what_the_last_event_holds() -> None:
    assert outcome(final("completed", output=[FIRST])).response == {"id": "resp_1", "output": [FIRST]}


@pytest.mark.parametrize("event", [final("failed", output=[]), {"type": "error", "message": "no"}])
def test_a_failure_ends_it_with_nothing_to_go_on_from(event: Any) -> None:
    noted = outcome(done(0, FIRST), event)
    assert noted.ended
    assert noted.response is None


def test_the_last_event_is_told() -> None:
    noted = outcome({"type": "error", "status": 429})
    assert (noted.type, noted.status) == ("error", 429)
    noted.note('{"type": "response.created"}')
    assert (noted.type, noted.status) == ("response.created", None)


@pytest.mark.parametrize("status", [True, "429", 200, 1000, -1, 429.0])
def test_what_is_no_error_status_is_none(status: Any) -> None:
    assert outcome({"type": "error", "status": status}).status is None


@pytest.mark.parametrize(
    "event",
    [b"", b"[]", b"{", b"null", b"\xff", b'{"type": 5}', b'{"type": "response.output_item.done", "output_index": "x"}'],
)
def test_what_is_no_event_says_nothing(event: bytes) -> None:
    noted = Outcome()
    noted.note(event)
    assert (noted.ended, noted.response) == (False, None)


@pytest.mark.parametrize("response", [None, [], "x", {}, {"id": 5}, {"id": "resp_1", "output": "x"}])
def test_an_end_that_is_none_gives_no_output(response: Any) -> None:
    noted = outcome({"type": "response.completed", "response": response})
    assert noted.ended
    assert noted.response in (None, {"id": "resp_1", "output": []})

"""cliproxy.providers.codex_answer: streams made whole, however they arrive."""

import json
from typing import Any

import pytest

from cliproxy.providers.codex_answer import Collected, Completed
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.sse import SseParser
from tests import native
from tests.providers.codex_backend import event, without_output

TEXT = without_output(native.text("openai-responses", stream=True)).whole
CALL = without_output(native.tool_call("openai-responses", stream=True)).whole


def whole(*pieces: bytes) -> Any:
    collected = Collected()
    assert not any(map(collected.feed, pieces))
    return json.loads(collected.finish())


def passed(*pieces: bytes) -> bytes:
    completed = Completed()
    return b"".join([*map(completed.feed, pieces), completed.finish()])


def events(body: bytes) -> list[Any]:
    parser = SseParser()
    return [json.loads(each.data) for each in (*parser.feed(body), *parser.finish())]


@pytest.mark.parametrize("stream", [TEXT, CALL])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_cut_at_every_byte(stream: bytes, newline: bytes) -> None:
    stream = stream.replace(b"\n", newline)
    response, told = whole(stream), events(passed(stream))
    assert response["output"][0]["type"] in ("message", "function_call")
    assert told[-1]["response"] == response
    for cut in range(len(stream) + 1):
        pieces = stream[:cut], stream[cut:]
        assert whole(*pieces) == response
        assert events(passed(*pieces)) == told
    single = [stream[at : at + 1] for at in range(len(stream))]
    assert whole(*single) == response
    assert events(passed(*single)) == told


def test_only_the_last_event_is_written_anew() -> None:
    frames = [frame + b"\n\n" for frame in TEXT.split(b"\n\n")[:-1]]
    completed = Completed()
    assert [completed.feed(frame) for frame in frames[:-1]] == frames[:-1]
    assert completed.feed(frames[-1]) != frames[-1]
    assert completed.finish() == b""


def test_output_that_is_there_stays() -> None:
    stream = native.text("openai-responses", stream=True).whole
    assert passed(stream) == stream
    assert whole(stream) == events(stream)[-1]["response"]


def test_items_stand_in_their_places() -> None:
    done = [
        {"type": "response.output_item.done", "output_index": place, "item": {"type": "message", "id": f"msg_{place}"}}
        for place in (1, 0)
    ]
    last = {"type": "response.completed", "response": {"id": "resp_1", "output": None}}
    stream = b"".join(map(event, [*done, last]))
    assert [item["id"] for item in whole(stream)["output"]] == ["msg_0", "msg_1"]
    assert [item["id"] for item in events(passed(stream))[-1]["response"]["output"]] == ["msg_0", "msg_1"]


def test_nothing_done_is_nothing_said() -> None:
    last = {"type": "response.completed", "response": {"id": "resp_1", "output": []}}
    assert whole(event(last)) == last["response"]
    assert events(passed(event(last))) == [last]


def test_what_comes_after_the_end_is_not_read() -> None:
    response = {"id": "resp_1", "output": [{"type": "message"}]}
    ended = event({"type": "response.completed", "response": response})
    assert whole(ended + b"data: [DONE]\n\n" + event({"type": "error", "message": "late"})) == response


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        ({"type": "response.failed", "response": {"error": {"code": "context_length_exceeded", "message": "m"}}}, 400),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m"}, 429),
        ({"type": "error", "error": {"type": "usage_limit_reached", "message": "m"}}, 429),
        ({"type": "error", "message": "Selected model is at capacity. Please try a different model."}, 429),
        ({"type": "response.cancelled", "response": {}}, 502),
    ],
)
def test_a_failure_is_raised(failure: Any, status: int) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        whole(event(failure))
    assert refused.value.status == status


@pytest.mark.parametrize("end", [0, -1])
def test_a_stream_that_ends_early_is_cut(end: int) -> None:
    frames = TEXT.split(b"\n\n")[:-2][: end or None]
    with pytest.raises(UpstreamCut):
        whole(b"\n\n".join(frames) + b"\n\n")


def test_what_is_no_stream_is_garbled() -> None:
    for reader in (Collected(), Completed()):
        with pytest.raises(UpstreamGarbled):
            reader.feed(b"<html>\n<p>\n")
            reader.finish()

"""cliproxy.providers.xai_tools: answers told again, however they arrive and however they end."""

import json
from typing import Any

import pytest

from cliproxy.providers.xai_tools import Restored, Simplified
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.model import ModelFacts
from tests import native
from tests.providers.codex_backend import event

EXEC = {"type": "custom", "name": "exec"}
CALL = native.tool_call("openai-responses", "exec", {"input": "ls -l é"}, stream=True).whole


def simplified(*tools: Any, **members: Any) -> Simplified:
    body = {"model": "grok-4.5", "input": "hi", "tools": list(tools), **members}
    return Simplified(json.dumps(body).encode(), ModelFacts("grok-4.5"))


def told(*pieces: bytes) -> Any:
    """The last event of a stream that is told again, whose ids are those of the first telling."""
    restored = Restored(simplified(EXEC), "grok-4.5", stream=True)
    out = b"".join([*map(restored.feed, pieces), restored.finish()])
    return json.loads(out.split(b"\n\n")[-2].partition(b"data: ")[2])["response"]


def test_cut_at_every_byte() -> None:
    [item] = told(CALL)["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "ls -l é")
    for cut in range(len(CALL) + 1):
        [again] = told(CALL[:cut], CALL[cut:])["output"]
        assert {**again, "id": ""} == {**item, "id": ""}
    [again] = told(*(CALL[at : at + 1] for at in range(len(CALL))))["output"]
    assert {**again, "id": ""} == {**item, "id": ""}


@pytest.mark.parametrize(
    ("tools", "is_told_again"),
    [
        ([EXEC], True),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}], True),
        ([{"type": "function", "name": "f"}, {"type": "web_search"}], False),
        ([], False),
    ],
)
def test_only_unknown_tools_make_it_necessary(tools: list[Any], is_told_again: bool) -> None:
    assert simplified(*tools).is_told_again is is_told_again


def test_names_that_stand_in_two_namespaces_stay_apart() -> None:
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    tools = [{"type": "namespace", "name": name, "tools": [function]} for name in ("a", "b")]
    call = {"type": "function_call", "call_id": "c", "name": "f", "namespace": "b", "arguments": "{}"}
    made = simplified(*tools, input=[{"role": "user", "content": "hi"}, call])
    assert [tool["name"] for tool in made.body["tools"]] == ["a__f", "b__f"]
    assert (made.body["input"][1]["name"], "namespace" in made.body["input"][1]) == ("b__f", False)
    restored = Restored(made, "m", stream=False)
    restored.feed(native.tool_call("openai-responses", "b__f").whole)
    [item] = json.loads(restored.finish())["output"]
    assert (item["name"], item["namespace"]) == ("f", "b")


def test_what_was_said_before_a_failure_is_told() -> None:
    frames = [frame + b"\n\n" for frame in native.text("openai-responses", stream=True).whole.split(b"\n\n")[:-1]]
    failed = event({"type": "response.failed", "response": {"error": {"code": "server_is_overloaded", "message": "m"}}})
    restored = Restored(simplified(EXEC), "m", stream=True)
    assert b"hello" in restored.feed(b"".join(frames[:5]) + failed)
    with pytest.raises(UpstreamRefused) as refused:
        restored.finish()
    assert refused.value.status == 503


def test_a_failure_alone_is_raised_at_once() -> None:
    restored = Restored(simplified(EXEC), "m", stream=True)
    with pytest.raises(UpstreamRefused):
        restored.feed(event({"type": "error", "message": "m"}))
    with pytest.raises(UpstreamRefused):
        restored.feed(b"data: {}\n\n")


@pytest.mark.parametrize(
    ("stream", "body", "error"),
    [
        (True, CALL[: CALL.index(b"event: response.completed")], UpstreamCut),
        (True, CALL[:-10], UpstreamGarbled),
        (True, b"", UpstreamCut),
        (False, b"<html>", UpstreamGarbled),
        (False, b'{"output": null}', UpstreamGarbled),
        (False, b'{"output": [], "status": "failed", "error": {"message": "m"}}', UpstreamRefused),
    ],
)
def test_what_is_no_answer_is_not_told(stream: bool, body: bytes, error: type[GatewayError]) -> None:
    restored = Restored(simplified(EXEC), "m", stream=stream)
    with pytest.raises(error):
        restored.feed(body)
        restored.finish()

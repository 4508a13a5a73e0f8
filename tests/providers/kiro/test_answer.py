"""cliproxy.providers.kiro.answer: event streams as streams and whole messages of the Anthropic format."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from cliproxy.providers.kiro.answer import KiroAnswer
from cliproxy.providers.kiro.tools import tool_names
from cliproxy.wire import tokens
from cliproxy.wire.anthropic import decode_request
from cliproxy.wire.errors import UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.model import Request
from tests.providers.kiro.event_stream import called, ended, error, event, exception, garbled, said, thought

ADAPTIVE = {"type": "adaptive"}


def asked(thinking: dict[str, str] | None = None, tool: str = "get_weather") -> Request:
    schema = {"type": "object", "properties": {}}
    body: dict[str, Any] = {
        "model": "claude-sonnet-4.5",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "How warm is it in Paris?"}],
        "tools": [{"name": tool, "input_schema": schema}],
    }
    return decode_request(body | ({"thinking": thinking} if thinking else {}))


def streamed(pieces: Sequence[bytes], request: Request | None = None) -> list[dict[str, Any]]:
    """The events of the stream."""
    reader = KiroAnswer(request or asked(), stream=True)
    assert reader.content_type == "text/event-stream"
    out = b"".join([*map(reader.feed, pieces), reader.finish()])
    frames = [frame.partition(b"\ndata: ") for frame in out.split(b"\n\n") if frame]
    events = [json.loads(data) for _, _, data in frames]
    assert [f"event: {event['type']}".encode() for event in events] == [name for name, _, _ in frames]
    return events


def whole(pieces: Sequence[bytes], request: Request | None = None) -> dict[str, Any]:
    """The message in one piece."""
    reader = KiroAnswer(request or asked(), stream=False)
    assert reader.content_type == "application/json"
    assert b"".join(map(reader.feed, pieces)) == b""
    return json.loads(reader.finish())


def collected(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The content that a stream adds up to, and why it ended."""
    blocks: list[dict[str, Any]] = []
    for each in events:
        match each:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert index == len(blocks)
                blocks.append(dict(block))
            case {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}:
                [(name, more)] = delta.items()
                key = "input" if kind == "input_json_delta" else name
                blocks[index][key] = (blocks[index].get(key) or "") + more
            case _:
                pass
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["input"])
    [stop] = [each["delta"]["stop_reason"] for each in events if each["type"] == "message_delta"]
    assert [event["type"] for event in (events[0], events[-1])] == ["message_start", "message_stop"]
    return blocks, stop


TEXT = {"type": "text", "text": "It is warm."}
USE = {"type": "tool_use", "id": "tooluse_test1", "name": "get_weather", "input": {"city": "Paris"}}
THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": ""}

ANSWERS: dict[str, tuple[list[bytes], dict[str, str] | None, list[dict[str, Any]], str]] = {
    "text": ([*said("It is", " warm."), *ended()], None, [TEXT], "end_turn"),
    "text without an ending": (said("It is", " warm."), None, [TEXT], "end_turn"),
    "a call": ([*called("get_weather", {"city": "Paris"}), *ended("TOOL_USE")], None, [USE], "tool_use"),
    "a call without an ending": (called("get_weather", {"city": "Paris"}), None, [USE], "tool_use"),
    "text and calls": (
        [*said("It is warm."), *called("get_weather", {"city": "Paris"}), *called("get_weather", {}, "tooluse_2")],
        None,
        [TEXT, USE, {**USE, "id": "tooluse_2", "input": {}}],
        "tool_use",
    ),
    "thinking": ([*thought("Let me", " see."), *said("It is warm."), *ended()], ADAPTIVE, [THINKING, TEXT], "end_turn"),
    "thinking that nobody asked for": ([*thought("Let me see."), *said("It is warm.")], None, [TEXT], "end_turn"),
    "thinking that nobody wants to see": (
        [*thought("Let me see."), *said("It is warm.")],
        {"type": "adaptive", "display": "omitted"},
        [TEXT],
        "end_turn",
    ),
    "a limit": ([*said("It is warm."), *ended("MAX_TOKENS")], None, [TEXT], "max_tokens"),
    "a limit as an exception": (
        [*said("It is warm."), exception("ContentLengthExceededException", message="too long")],
        None,
        [TEXT],
        "max_tokens",
    ),
    "a filter": ([*said("It is warm."), *ended("CONTENT_FILTERED")], None, [TEXT], "refusal"),
    "a pause": ([*said("It is warm."), *ended("PAUSE_TURN")], None, [TEXT], "pause_turn"),
    "a reason that nobody knows": ([*said("It is warm."), *ended("UNKNOWN")], None, [TEXT], "end_turn"),
    "things beside the answer": (
        [
            event("initial-response"),
            *said("It is"),
            event("codeReferenceEvent", references=[{"licenseName": "MIT", "repository": "a/b"}]),
            event("followupPromptEvent", followupPrompt={"content": "And tomorrow?"}),
            event("supplementaryWebLinksEvent", supplementaryWebLinks=[{"url": "https://example.com"}]),
            event("eventOfTheFuture", content="never mind"),
            *said("", " warm."),
        ],
        None,
        [TEXT],
        "end_turn",
    ),
    "nothing": ([], None, [], "end_turn"),
}  # fmt: skip


@pytest.mark.parametrize(("pieces", "thinking", "content", "stop"), ANSWERS.values(), ids=ANSWERS)
def test_answers(
    pieces: list[bytes], thinking: dict[str, str] | None, content: list[dict[str, Any]], stop: str
) -> None:
    assert collected(streamed(pieces, asked(thinking))) == (content, stop)
    message = whole(pieces, asked(thinking))
    assert (message["content"], message["stop_reason"]) == (content, stop)
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "claude-sonnet-4.5")


def test_a_stream_split_at_every_byte() -> None:
    stream = b"".join(
        [*thought("Let me see."), *said("It is warm."), *called("get_weather", {"city": "Paris"}), *ended()]
    )
    expected = collected(streamed([stream], asked(ADAPTIVE)))
    for at in range(len(stream)):
        assert collected(streamed([stream[:at], stream[at:]], asked(ADAPTIVE))) == expected


def test_words_go_out_as_they_come() -> None:
    reader = KiroAnswer(asked(), stream=True)
    assert reader.feed(event("messageMetadataEvent", conversationId="c", utteranceId="u-1")) == b""
    [first, second] = said("It is", " warm.")
    out = reader.feed(first)
    assert b"message_start" in out
    assert b'"id":"msg_u-1"' in out
    assert b"It is" in out
    assert b"message_start" not in reader.feed(second)


def test_calls_side_by_side_come_one_after_the_other() -> None:
    one, two = called("get_weather", {"city": "Paris"}), called("get_weather", {"city": "Rome"}, "tooluse_2")
    blocks, _ = collected(streamed([piece for pair in zip(one, two, strict=True) for piece in pair]))
    assert blocks == [USE, {**USE, "id": "tooluse_2", "input": {"city": "Rome"}}]


def test_arguments_as_an_object() -> None:
    head = {"name": "get_weather", "toolUseId": "tooluse_test1"}
    pieces = [
        event("toolUseEvent", **head, input={}),
        event("toolUseEvent", **head, input={"city": "Paris"}, stop=True),
    ]
    assert whole(pieces)["content"] == [USE]


def test_names_come_back_as_the_client_knows_them() -> None:
    name = "mcp__" + "server_" * 12 + "__do_it"
    [sent] = tool_names(asked(tool=name)).restored
    assert len(sent) <= 64
    [block] = whole(called(sent, {}), asked(tool=name))["content"]
    assert block["name"] == name


# ---------------------------------------------------------------- usage


def test_counts_of_the_service() -> None:
    counts = {"uncachedInputTokens": 5, "cacheReadInputTokens": 300, "cacheWriteInputTokens": 20, "outputTokens": 7}
    pieces = [*said("hi"), *ended(usage=counts)]
    expected = {
        "input_tokens": 5,
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 20,
        "output_tokens": 7,
    }
    assert whole(pieces)["usage"] == expected
    [usage] = [each["usage"] for each in streamed(pieces) if each["type"] == "message_delta"]
    assert usage == expected


def test_counts_are_estimated_where_the_service_tells_none() -> None:
    pieces = [*thought("Let me see."), *said("It is warm."), *called("get_weather", {"city": "Paris"}), *ended()]
    generated = tokens.estimate('Let me see.It is warm.{"city": "Paris"}')
    usage = whole(pieces)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (tokens.count(asked()), generated)
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (0, 0)
    events = streamed(pieces)
    assert events[0]["message"]["usage"]["input_tokens"] == tokens.count(asked())


# ---------------------------------------------------------------- errors

REFUSALS = [
    (exception("throttlingException", message="Slow down."), 429, "Slow down.", "rate_limit_error"),
    (exception("ServiceQuotaExceededException", message="No more."), 429, "No more.", "rate_limit_error"),
    (exception("com.amazon.aws#AccessDeniedError", message="No."), 403, "No.", "permission_error"),
    (exception("ExpiredTokenException", message="Expired."), 401, "Expired.", "authentication_error"),
    (
        exception("ValidationException", message="Input is too long.", reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"),
        400,
        "Input is too long. (CONTENT_LENGTH_EXCEEDS_THRESHOLD)",
        "invalid_request_error",
    ),
    (exception("ContentLengthExceededException", message="Too long."), 400, "Too long.", "invalid_request_error"),
    (exception("InternalServerException"), 500, "InternalServerException", "api_error"),
    (exception("ServiceUnavailableException", Message="Later."), 503, "Later.", "overloaded_error"),
    (exception("SomethingNewException", message="New."), 500, "New.", "api_error"),
    (error("InternalFailure", "Broken."), 500, "Broken.", "api_error"),
    (event("invalidStateEvent", reason="INVALID", message="Not now."), 400, "Not now.", "invalid_request_error"),
]


@pytest.mark.parametrize(("frame", "status", "message", "kind"), REFUSALS)
def test_exceptions(frame: bytes, status: int, message: str, kind: str) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        whole([frame])
    assert (caught.value.status, caught.value.message) == (status, message)
    assert [each["type"] for each in streamed([frame])] == ["message_start", "error"]


@pytest.mark.parametrize(
    ("frame", "message", "kind"), [(f, m, k) for f, _, m, k in REFUSALS if b"LengthExceeded" not in f]
)
def test_exceptions_in_mid_stream(frame: bytes, message: str, kind: str) -> None:
    pieces = [*said("It is"), frame, *said(" warm."), event("toolUseEvent", toolUseId="nameless"), *ended()]
    *before, last = streamed(pieces)
    assert last == {"type": "error", "error": {"type": kind, "message": message}}
    assert [each["type"] for each in before] == ["message_start", "content_block_start", "content_block_delta"]
    with pytest.raises(UpstreamRefused, match=message.partition(" (")[0]):
        whole(pieces)


def test_a_code_is_kept() -> None:
    with pytest.raises(UpstreamRefused) as caught:
        whole([exception("ThrottlingException", message="Wait.", reason="INSUFFICIENT_MODEL_CAPACITY")])
    assert caught.value.code == "INSUFFICIENT_MODEL_CAPACITY"


@pytest.mark.parametrize("stream", [True, False])
def test_what_came_before_damage_goes_out_first(stream: bool) -> None:
    reader = KiroAnswer(asked(), stream=stream)
    data = b"".join(said("It is")) + b"<html>damaged</html>"
    if stream:
        assert b"It is" in reader.feed(data)
        with pytest.raises(UpstreamGarbled):
            reader.feed(b"more")
        with pytest.raises(UpstreamGarbled):
            reader.finish()
    else:
        with pytest.raises(UpstreamGarbled):
            reader.feed(data)


@pytest.mark.parametrize(
    "frame",
    [
        event("toolUseEvent", toolUseId="tooluse_1", input="{}"),
        garbled("assistantResponseEvent"),
    ],
)
def test_events_that_make_no_sense(frame: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        whole([frame])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("pieces", [said("It is warm.")[:1], called("get_weather", {"city": "Paris"})[:2]])
def test_an_early_end(pieces: list[bytes], stream: bool) -> None:
    """Within a frame, or within a call; a text just ends, for not every answer says how it ended."""
    reader = KiroAnswer(asked(), stream=stream)
    for piece in pieces[:-1]:
        reader.feed(piece)
    reader.feed(pieces[-1][: -1 if len(pieces) == 1 else None])
    with pytest.raises(UpstreamCut):
        reader.finish()


def test_a_call_that_a_limit_cut_short() -> None:
    pieces = [*called("get_weather", {"city": "Paris"})[:2], exception("ContentLengthExceededException", message="x")]
    message = whole(pieces)
    assert (message["stop_reason"], message["content"][0]["name"]) == ("max_tokens", "get_weather")

"""The benchmark's ready-made bytes are right for each format, and its check refuses what is not."""

import json

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from bench import formats
from bench.formats import PATHS, Format, Order, question
from bench.load import dechunked

FORMATS = list(PATHS)


def _body(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("order", [Order(), Order(200), Order(50, 20)])
def test_the_upstream_reads_the_order_from_the_question(format: Format, order: Order) -> None:
    assert formats.ordered(_body(question(format, order, 1).payload)) == order


def test_whole_answers_are_the_vendors() -> None:
    completion = ChatCompletion.model_validate_json(_body(formats.whole_answer("openai-chat")), strict=True)
    assert completion.choices[0].message.content == formats.WORD.decode()
    message = Message.model_validate_json(_body(formats.whole_answer("anthropic")))
    assert message.content[0].type == "text" and message.stop_reason == "end_turn"


def test_streams_are_the_vendors() -> None:
    lines = dechunked(b"".join(formats.event_chunks("openai-chat", 3))).split(b"\n\n")
    assert lines[-2:] == [b"data: [DONE]", b""]
    chunks = [ChatCompletionChunk.model_validate_json(line.removeprefix(b"data: ")) for line in lines[:-2]]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text or "" for text in texts) == "amber000 amber001 amber002 "
    events = TypeAdapter(RawMessageStreamEvent)
    lines = dechunked(b"".join(formats.event_chunks("anthropic", 3))).split(b"\n\n")
    named = [line.removeprefix(b"event: ").split(b"\ndata: ") for line in lines[:-1]]
    for name, data in named:
        assert events.validate_json(data).type == name.decode()
    assert [name for name, _ in named].count(b"content_block_delta") == 3


@pytest.mark.parametrize("format", FORMATS)
def test_the_check_accepts_the_answer_and_nothing_less(format: Format) -> None:
    asked = question(format, Order(3), 1)
    body = dechunked(b"".join(formats.event_chunks(format, 3)))
    assert formats.fault(asked, 200, body) is None
    assert formats.fault(asked, 500, body) == "status 500"
    assert formats.fault(asked, 200, dechunked(b"".join(formats.event_chunks(format, 2)))) == "2 of 3 deltas"
    assert formats.fault(asked, 200, body[: body.rindex(formats.END_MARKS[format])]) == "no end marker"
    whole = question(format, Order(), 1)
    assert formats.fault(whole, 200, _body(formats.whole_answer(format))) is None
    assert formats.fault(whole, 200, json.dumps({"error": "none"}).encode()) == "0 of 1 deltas"

"""Compaction for upstreams that have none: the model summarises, and the client gets OpenAI's shape of it.

A client compacts in one of two ways. `POST /v1/responses/compact` answers with the user's messages and one
`compaction` item. An ordinary response whose input ends in a `compaction_trigger` item has that one item as its
output. Either way the client sends the item back later, and the Responses codec reads the summary out of it.
"""

import time
from typing import Any

from msgspec.structs import replace

from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.fold import Fold
from cliproxy.wire.model import (
    Answer,
    Event,
    Failure,
    Finish,
    Json,
    Opaque,
    PartEnd,
    PartStart,
    Request,
    Sampling,
    Start,
    Text,
    Turn,
    UsageReport,
)
from cliproxy.wire.names import new_id
from cliproxy.wire.openai_responses import FORMAT, AnswerEncoder, encode_answer
from cliproxy.wire.openai_responses.summary import compaction_item
from cliproxy.wire.openai_responses.vocabulary import usage_json
from cliproxy.wire.translation import AnswerShape

PROMPT = """\
Summarise this conversation, so that someone who knows nothing of it but the user's own messages and your summary can \
go on with the work at once. Say:
- what the user wants, with every constraint and preference they stated;
- what was done and what came of it, with the exact names, paths, commands, values and errors that still matter;
- what was decided, and why;
- what is left to do, and which step is the next.
Keep to facts. Do not call tools and do not continue the work: answer with the summary alone."""


def is_triggered(request: Request) -> bool:
    """Whether a request for a response asks for compaction instead."""
    return any(_is_trigger(part) for turn in request.turns[-1:] for part in turn.parts[-1:])


def _is_trigger(part: object) -> bool:
    return isinstance(part, Opaque) and part.origin == FORMAT and part.raw.get("type") == "compaction_trigger"


def summarising(request: Request) -> Request:
    """The request that asks for the summary: the conversation of `request`, without its tools and limits."""
    turns = [Turn(turn.role, [part for part in turn.parts if not _is_trigger(part)]) for turn in request.turns]
    return replace(
        request,
        turns=[*(turn for turn in turns if turn.parts), Turn("user", [Text(PROMPT)])],
        tools=[],
        tool_choice=None,
        parallel_calls=None,
        sampling=Sampling(),
        output=None,
        verbosity=None,
        extras={},
    )


class SummaryEncoder:
    """The stream of a response with one `compaction` item for all that the model says."""

    def __init__(self, request: Request, model: str) -> None:
        self._response = AnswerEncoder(request, model)
        self._said = Fold()

    def push(self, event: Event) -> bytes:
        if isinstance(event, Failure):
            return self._response.push(event)
        self._said.push(event)
        match event:
            case Start() | UsageReport():
                return self._response.push(event)
            case Finish():
                return self._finish()
            case _:
                return b""

    def finish(self) -> bytes:
        return self._response.finish()

    def ping(self) -> bytes:
        return self._response.ping()

    def _finish(self) -> bytes:
        try:
            item = Opaque(FORMAT, _item(self._said.answer))
        except UpstreamGarbled as error:
            return self._response.push(Failure(error))
        return b"".join(map(self._response.push, (PartStart(0, item), PartEnd(0), Finish("stop"))))


def _item(answer: Answer) -> Json:
    """Raises UpstreamGarbled when the model did not summarise."""
    summary = "".join(part.text for part in answer.parts if isinstance(part, Text)).strip()
    if not summary or answer.finish in ("filter", "refusal"):
        raise UpstreamGarbled(f"the model ended with {answer.finish!r} and without a summary of the conversation")
    return compaction_item(summary)


def _as_response(answer: Answer, request: Request, model: str) -> Json:
    item = Opaque(FORMAT, _item(answer))
    return encode_answer(replace(answer, parts=[item], finish="stop"), request, model)


def _as_compacted(answer: Answer, request: Request, model: str) -> Json:
    """OpenAI's `response.compaction` object, which has no place for the model."""
    return {
        "id": new_id("resp_"),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*_user_messages(request.raw.get("input")), _item(answer)],
        "usage": usage_json(answer.usage),
    }


def _user_messages(given: Any) -> list[Json]:
    """What the user said, word for word, as a response's items."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages: list[Json] = []
    for item in given or []:
        if item.get("role") != "user" or item.get("type", "message") != "message":
            continue
        content = item.get("content")
        if isinstance(content, str):
            content = [{"type": "input_text", "text": content}]
        given_id = {"id": item.get("id") or new_id("msg_")}
        messages.append({**item, **given_id, "type": "message", "status": "completed", "content": content})
    return messages


TRIGGERED = AnswerShape(SummaryEncoder, _as_response)
"""The response to a request that ends in a `compaction_trigger`."""
COMPACTED = AnswerShape(SummaryEncoder, _as_compacted)
"""The answer of `/v1/responses/compact`, which is never streamed."""

"""The bytes on both ends of the benchmark: what its clients ask and what its upstream answers, made beforehand.

Two of the four formats are enough to measure passing through and translating. A request says in its prompt
how many deltas it wants and how far apart, so the order survives any translation and the upstream keeps no
state. The word that marks a delta stands in each delta once and nowhere else.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

type Format = Literal["openai-chat", "anthropic"]

MODEL = "bench-model"
CLIENT_KEY = "sk-bench-client"
WORD = b"amber"
PATHS: Mapping[Format, str] = {"openai-chat": "/v1/chat/completions", "anthropic": "/v1/messages"}
END_MARKS: Mapping[Format, bytes] = {"openai-chat": b"data: [DONE]", "anthropic": b'"message_stop"'}
EVENT_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"

_ORDER = re.compile(rb"deltas=(\d+) interval_ms=(\d+)")
_STREAM = re.compile(rb'"stream": ?true')


@dataclass(frozen=True, slots=True)
class Order:
    """What one request wants. `deltas=None` is an answer in one body; `interval_ms=0` is as fast as can be."""

    deltas: int | None = None
    interval_ms: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A request as its client sends it, and what its answer must be."""

    format: Format
    order: Order
    payload: bytes


@cache
def question(format: Format, order: Order, port: int) -> Question:
    """A small request to `127.0.0.1:port` in `format`."""
    prompt = f"deltas={order.deltas or 0} interval_ms={order.interval_ms}"
    body: dict[str, Any] = {"model": MODEL, "max_tokens": 256, "temperature": 0.2}
    if format == "openai-chat":
        body["messages"] = [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": prompt},
        ]
        key = f"authorization: Bearer {CLIENT_KEY}"
    else:
        body |= {"system": "You are helpful.", "messages": [{"role": "user", "content": prompt}]}
        key = f"x-api-key: {CLIENT_KEY}\r\nanthropic-version: 2023-06-01"
    if order.deltas is not None:
        body["stream"] = True
    content = json.dumps(body).encode()
    head = (
        f"POST {PATHS[format]} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{key}\r\naccept: */*\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return Question(format, order, head.encode() + content)


def fault(asked: Question, status: int, body: bytes) -> str | None:
    """Why an answer is not the one that was asked for; None if it is."""
    if status != 200:
        return f"status {status}"
    expected = 1 if asked.order.deltas is None else asked.order.deltas
    if (found := body.count(WORD)) != expected:
        return f"{found} of {expected} deltas"
    if asked.order.deltas is not None and END_MARKS[asked.format] not in body[-120:]:
        return "no end marker"
    return None


def ordered(body: bytes) -> Order:
    """What a request's body asks of the upstream, in whichever format it arrives."""
    order = _ORDER.search(body)
    return Order(int(order[1]), int(order[2])) if order and _STREAM.search(body) else Order()


@cache
def whole_answer(format: Format) -> bytes:
    """An HTTP response with one word of text."""
    text = WORD.decode()
    if format == "openai-chat":
        message = {"role": "assistant", "content": text}
        body: dict[str, Any] = {
            **_CHAT,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _CHAT_USAGE,
        }
    else:
        body = {**_MESSAGE, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    content = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
    return head + content


@cache
def event_chunks(format: Format, deltas: int) -> tuple[bytes, ...]:
    """The body of a streamed answer, cut where the upstream writes: first the opening, last the ending."""
    opening, *middle, ending = (_chat_events if format == "openai-chat" else _message_events)(deltas)
    return _chunk(opening), *map(_chunk, middle), _chunk(ending) + b"0\r\n\r\n"


def delta_frame(format: Format) -> bytes:
    """One event of a stream that carries text."""
    return (_chat_events if format == "openai-chat" else _message_events)(1)[1]


_CHAT = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": MODEL}
_CHAT_USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
_MESSAGE = {
    "id": "msg_bench",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 20},
}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(data: Mapping[str, Any], name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def _words(deltas: int) -> list[str]:
    # Each its own, since some gateways take a run of equal deltas for a model gone wrong.
    return [f"{WORD.decode()}{number:03d} " for number in range(deltas)]


def _chat_events(deltas: int) -> list[bytes]:
    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event({**_CHAT, "object": "chat.completion.chunk", "choices": [choice]})

    spent = {**_CHAT, "object": "chat.completion.chunk", "choices": [], "usage": _CHAT_USAGE}
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": word}) for word in _words(deltas)),
        chunk({}, "stop") + _event(spent) + b"data: [DONE]\n\n",
    ]


def _message_events(deltas: int) -> list[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        return _event({"type": kind, **fields}, kind)

    return [
        event("message_start", message={**_MESSAGE, "content": [], "stop_reason": None})
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in _words(deltas)),
        event("content_block_stop", index=0)
        + event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 20},
        )
        + event("message_stop"),
    ]

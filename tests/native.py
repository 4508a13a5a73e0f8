"""What the four vendors answer, ready made: whole bodies, event streams and errors.

Owns the wire shapes only, as plain literals; sending them is `tests.upstream`. The vendors' own SDKs read
every one of them in `tests/test_native.py`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tests.answers import Answer

type Format = Literal["openai-chat", "openai-responses", "anthropic", "gemini"]

FORMATS: tuple[Format, ...] = ("openai-chat", "openai-responses", "anthropic", "gemini")
WORDS = ("hello", " from", " upstream")
INPUT_TOKENS, OUTPUT_TOKENS = 11, 7
TOOL_CALL_ID = "call_test_1"


type Event = tuple[str, Mapping[str, Any]]
"""One server-sent event: its name ("" for a bare `data:` line) and its JSON."""


def text(format: Format, *, words: Sequence[str] = WORDS, model: str = "test-model", stream: bool = False) -> Answer:
    """An assistant's message made of `words`; streamed, each word is one delta and each event one chunk."""
    match format:
        case "openai-chat":
            deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
            message = {"role": "assistant", "content": "".join(words), "refusal": None}
            return _chat(message, deltas, "stop", model, stream)
        case "openai-responses":
            return _responses_text(words, model, stream)
        case "anthropic":
            empty = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": word} for word in words]
            return _anthropic(empty, {"type": "text", "text": "".join(words)}, deltas, "end_turn", model, stream)
        case "gemini":
            return _gemini([{"text": word} for word in words] if stream else [{"text": "".join(words)}], model, stream)


def tool_call(
    format: Format,
    name: str = "get_weather",
    arguments: Mapping[str, Any] | None = None,
    *,
    model: str = "test-model",
    stream: bool = False,
) -> Answer:
    """One call of the tool `name`; streamed, its arguments come in two pieces where the format allows it."""
    arguments = {"city": "Paris"} if arguments is None else arguments
    code = json.dumps(arguments)
    pieces = (code[: len(code) // 2], code[len(code) // 2 :])
    match format:
        case "openai-chat":
            head = {
                "index": 0,
                "id": TOOL_CALL_ID,
                "type": "function",
                "function": {"name": name, "arguments": ""},
            }
            deltas = [
                {"role": "assistant", "content": None, "tool_calls": [head]},
                *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces),
            ]
            call = {"id": TOOL_CALL_ID, "type": "function", "function": {"name": name, "arguments": code}}
            message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
            return _chat(message, deltas, "tool_calls", model, stream)
        case "openai-responses":
            return _responses_tool_call(name, pieces, model, stream)
        case "anthropic":
            block = {"type": "tool_use", "id": "toolu_test_1", "name": name, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            return _anthropic(block, {**block, "input": arguments}, deltas, "tool_use", model, stream)
        case "gemini":
            return _gemini([{"functionCall": {"name": name, "args": arguments}}], model, stream)


def error(format: Format, status: int, message: str = "upstream says no", **headers: str) -> Answer:
    """The vendor's error body for `status`; `retry_after="2"` becomes the header `retry-after: 2`."""
    match format:
        case "openai-chat" | "openai-responses":
            kind = (
                "rate_limit_exceeded" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
            )
            body: Any = {"error": {"message": message, "type": kind, "param": None, "code": kind}}
        case "anthropic":
            body = {
                "type": "error",
                "error": {"type": _ANTHROPIC_ERRORS.get(status, "api_error"), "message": message},
            }
        case "gemini":
            kind = _GEMINI_ERRORS.get(status, "INTERNAL")
            body = {"error": {"code": status, "message": message, "status": kind}}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return _json(body, status=status, headers=sent)


_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_GEMINI_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


def _json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps(body).encode(),
    )


def _event_stream(events: Iterable[Event], *, done: bool = False) -> Answer:
    chunks = [
        (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"
        for name, data in events
    ]
    if done:
        chunks.append(b"data: [DONE]\n\n")
    return Answer(headers={"content-type": "text/event-stream"}, body=chunks)


def _chat(
    message: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]], reason: str, model: str, stream: bool
) -> Answer:
    usage = {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    common = {"id": "chatcmpl-test", "created": 1_700_000_000, "model": model}
    if not stream:
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return _json({**common, "object": "chat.completion", "choices": [choice], "usage": usage})

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return "", {**common, "object": "chat.completion.chunk", "choices": [choice], "usage": None}

    return _event_stream(
        [
            *map(chunk, deltas),
            chunk({}, reason),
            ("", {**common, "object": "chat.completion.chunk", "choices": [], "usage": usage}),
        ],
        done=True,
    )


def _anthropic(
    empty_block: Mapping[str, Any],
    block: Mapping[str, Any],
    deltas: Sequence[Mapping[str, Any]],
    reason: str,
    model: str,
    stream: bool,
) -> Answer:
    usage = {"input_tokens": INPUT_TOKENS, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
    }
    if not stream:
        spent = {**usage, "output_tokens": OUTPUT_TOKENS}
        return _json({**message, "content": [block], "stop_reason": reason, "usage": spent})
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    stop = {"stop_reason": reason, "stop_sequence": None}
    payloads: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": empty_block},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": OUTPUT_TOKENS}},
        {"type": "message_stop"},
    ]
    return _event_stream((payload["type"], payload) for payload in payloads)


def _gemini(parts: Sequence[Mapping[str, Any]], model: str, stream: bool) -> Answer:
    usage = {
        "promptTokenCount": INPUT_TOKENS,
        "candidatesTokenCount": OUTPUT_TOKENS,
        "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    answers: list[dict[str, Any]] = []
    for position, part in enumerate(parts, start=1):
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
        if position == len(parts):
            candidate["finishReason"] = "STOP"
        answers.append(
            {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": model,
                "responseId": "resp-test",
            }
        )
    return _event_stream(("", answer) for answer in answers) if stream else _json(answers[0])


def _responses_text(words: Sequence[str], model: str, stream: bool) -> Answer:
    where = {"item_id": "msg_test", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "".join(words), "annotations": [], "logprobs": []}
    opening = {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    item = {**opening, "status": "completed", "content": [part]}
    delta = "response.output_text.delta"
    middle: list[dict[str, Any]] = [
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *({"type": delta, **where, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
    ]
    return _responses(opening, middle, item, model, stream)


def _responses_tool_call(name: str, pieces: Sequence[str], model: str, stream: bool) -> Answer:
    where = {"item_id": "fc_test", "output_index": 0}
    code = "".join(pieces)
    opening = {
        "id": "fc_test",
        "type": "function_call",
        "call_id": TOOL_CALL_ID,
        "name": name,
        "arguments": "",
    }
    item = {**opening, "arguments": code, "status": "completed"}
    delta = "response.function_call_arguments.delta"
    middle: list[dict[str, Any]] = [
        *({"type": delta, **where, "delta": piece} for piece in pieces),
        {"type": "response.function_call_arguments.done", **where, "name": name, "arguments": code},
    ]
    return _responses({**opening, "status": "in_progress"}, middle, item, model, stream)


def _responses(
    opening: Mapping[str, Any],
    middle: Sequence[Mapping[str, Any]],
    item: Mapping[str, Any],
    model: str,
    stream: bool,
) -> Answer:
    response = {
        "id": "resp_test",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    finished = {**response, "status": "completed", "output": [item], "usage": usage}
    if not stream:
        return _json(finished)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    payloads = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": opening},
        *middle,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": finished},
    ]
    return _event_stream(
        (str(payload["type"]), {**payload, "sequence_number": number}) for number, payload in enumerate(payloads)
    )

"""A turn of a coding agent, made up: what it asks in Anthropic's format, and how a chat upstream answers it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from tests.answers import Answer

MODEL = "claude-sonnet-4-5"

READ = {
    "name": "Read",
    "description": "Read a file",
    "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]},
}
EDIT = {
    "name": "Edit",
    "description": "Change a file",
    "input_schema": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("file_path", "old_string", "new_string")},
        "required": ["file_path", "old_string", "new_string"],
    },
}

REQUEST: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 4096,
    "top_k": 40,
    "stream": True,
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "system": "You are a coding agent.\nRead before you write, and say briefly what you did.",
    "metadata": {"user_id": "user_test"},
    "tools": [READ, EDIT],
    "messages": [
        {"role": "user", "content": "add() gives wrong results. Mend it, please."},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will read the file first."},
                {"type": "tool_use", "id": "toolu_01Test", "name": "Read", "input": {"file_path": "/project/sums.py"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01Test", "content": "def add(a, b):\n    return a - b\n"},
            ],
        },
    ],
}

THOUGHT = ("The function", " subtracts", " where it should add.")
SPOKEN = ("There", " it is", ": a minus", " for a plus.")
ARGUMENTS = (
    '{"file_path": "/project/sums.py", ',
    '"old_string": "    return a - b", ',
    '"new_string": "    return a + b"}',
)


def answer() -> tuple[Answer, list[asyncio.Event]]:
    """A streamed answer that thinks, speaks and calls a tool; each of its pieces waits for an event."""
    call = {"index": 0, "id": "call_test_7", "type": "function", "function": {"name": "Edit", "arguments": ""}}
    deltas: list[Mapping[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"reasoning_content": piece} for piece in THOUGHT),
        *({"content": piece} for piece in SPOKEN),
        {"tool_calls": [call]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in ARGUMENTS),
    ]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    usage = {"prompt_tokens": 1840, "completion_tokens": 96, "prompt_tokens_details": {"cached_tokens": 1536}}
    chunks.append({"choices": [], "usage": usage})
    head = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-5"}
    pieces = [b"data: " + json.dumps({**head, **chunk}).encode() + b"\n\n" for chunk in chunks]
    pieces.append(b"data: [DONE]\n\n")
    gates = [asyncio.Event() for _ in pieces]
    body: list[bytes | asyncio.Event] = [step for pair in zip(gates, pieces, strict=True) for step in pair]
    return Answer(headers={"content-type": "text/event-stream"}, body=body), gates

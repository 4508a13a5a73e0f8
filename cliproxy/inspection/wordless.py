"""Bodies without what was said in them: how they are built stays, so that a fault of form can still be seen."""

import re
from typing import Any, cast

from cliproxy.wire import json
from cliproxy.wire.model import Json
from cliproxy.wire.sse import frame

_KEPT = frozenset(
    {
        "call_id", "code", "effort", "event", "finishReason", "finish_reason", "id", "kind", "media_type", "mimeType",
        "mime_type", "mode", "model", "modelVersion", "name", "object", "role", "service_tier", "status", "stop_reason",
        "tool_call_id", "tool_use_id", "type",
    }
)  # fmt: skip
"""Members whose words say how a body is built."""
_FREE = frozenset({"arguments", "args", "input_schema", "metadata", "parameters", "parametersJsonSchema", "schema"})
"""Members whose own members have names that somebody chose."""
_WORD = re.compile(r"[\w.:/@+-]{1,100}")
_MAX_DEPTH = 40


def wordless(body: bytes, content_type: str) -> bytes:
    """A body of any kind. content_type: without parameters, lower case."""
    if not body:
        return body
    if content_type == "text/event-stream":
        return b"".join(_event(block) for block in re.split(rb"\r?\n\r?\n", body) if block.strip())
    try:
        return json.dumps(_value(json.loads(body)))
    except ValueError:
        return f"({len(body)} bytes)".encode()


def _event(block: bytes) -> bytes:
    lines = block.splitlines()
    name = next((line[6:].strip().decode("utf-8", "replace") for line in lines if line.startswith(b"event:")), "")
    data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    return frame(data if data == b"[DONE]" else wordless(data, ""), name)


def _value(value: Any, name: str = "", depth: int = 0) -> Any:
    match value:
        case str():
            is_kept = name in _KEPT and _WORD.fullmatch(value)
            return value if is_kept else f"({len(value)} characters)"
        case dict():
            members = cast("Json", value)
            # A tool's input is free where it is called, and a list of turns at the top of a request.
            if name in _FREE or (name == "input" and depth > 1) or depth > _MAX_DEPTH:
                return f"({len(members)} members)"
            return {key: _value(each, key, depth + 1) for key, each in members.items()}
        case list():
            if depth > _MAX_DEPTH:
                return f"({len(cast('list[Any]', value))} items)"
            return [_value(each, name, depth + 1) for each in cast("list[Any]", value)]
        case _:
            return value

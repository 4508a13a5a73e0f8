"""Finds in an event of a stream the bit of text that it adds, in whichever of the four formats it is."""

from collections.abc import Sequence
from typing import NamedTuple

from cliproxy.inspection.body import Frame, json_object, opened_answer
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Json

_ANTHROPIC = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "reasoning"),
    "input_json_delta": ("partial_json", "arguments"),
    "signature_delta": ("signature", "signature"),
}
"""By the delta's type: its field, and what that is."""
_CHAT = {"content": "text", "reasoning_content": "reasoning", "reasoning": "reasoning", "refusal": "refusal"}


class Bit(NamedTuple):
    """More of a text."""

    of: str
    """Which text: bits of one have the same words here."""
    kind: str
    """`text`, `reasoning`, `arguments` …"""
    text: str


def bit_of(data: Json) -> Bit | None:
    """What an event adds to a text; None where it says something else too."""
    kind = data.get("type")
    if kind == "content_block_delta":
        return _of_anthropic(data)
    if isinstance(kind, str) and kind.endswith(".delta") and isinstance(data.get("delta"), str):
        of = f"{kind} {data.get('output_index')} {data.get('content_index')}"
        return Bit(of, _responses_kind(kind), data["delta"])
    data = opened_answer(data)
    if data.get("usage") or data.get("error"):
        return None
    if len(choices := objects_of(data, "choices")) == 1:
        return _of_chat(choices[0])
    if len(candidates := objects_of(data, "candidates")) == 1:
        return _of_gemini(candidates[0])
    return None


class Said(NamedTuple):
    """What several bits add up to."""

    kind: str
    text: str


def joined(found: Sequence[Frame]) -> list[Said]:
    """The texts that a stream's events add up to, where a decoder cannot read it: its beginning is missing."""
    texts: dict[str, tuple[str, list[str]]] = {}
    for frame in found:
        data = json_object(frame.data)
        if data and (bit := bit_of(data)):
            texts.setdefault(bit.of, (bit.kind, []))[1].append(bit.text)
    return [Said(kind, "".join(pieces)) for kind, pieces in texts.values()]


def _of_anthropic(data: Json) -> Bit | None:
    delta = object_of(data, "delta")
    field, kind = _ANTHROPIC.get(text_of(delta, "type"), ("", ""))
    text = delta.get(field)
    return Bit(f"{kind} {data.get('index')}", kind, text) if isinstance(text, str) else None


def _responses_kind(kind: str) -> str:
    if "arguments" in kind or "input" in kind:
        return "arguments"
    return "reasoning" if "reasoning" in kind else "text"


def _of_chat(choice: Json) -> Bit | None:
    delta = {name: value for name, value in object_of(choice, "delta").items() if value}
    delta.pop("role", None)
    if choice.get("finish_reason") or len(delta) != 1:
        return None
    [(name, value)] = delta.items()
    if isinstance(value, str) and name in _CHAT:
        return Bit(name, _CHAT[name], value)
    if name == "tool_calls" and len(calls := objects_of(delta, name)) == 1:
        function = object_of(calls[0], "function")
        arguments = function.get("arguments")
        if isinstance(arguments, str) and not function.get("name"):
            return Bit(f"call {calls[0].get('index')}", "arguments", arguments)
    return None


def _of_gemini(candidate: Json) -> Bit | None:
    parts = objects_of(object_of(candidate, "content"), "parts")
    if len(parts) != 1 or candidate.get("finishReason"):
        return None
    text = parts[0].get("text")
    if not isinstance(text, str) or parts[0].keys() - {"text", "thought"}:
        return None
    kind = "reasoning" if parts[0].get("thought") else "text"
    return Bit(kind, kind, text)

"""The instruction and the contents of a Gemini body → the system prompt and the turns of a `Request`."""

from typing import Any, cast

from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.gemini.camel_case import CamelFields
from cliproxy.wire.gemini.vocabulary import FORMAT, carrier_of, inline_media, linked_media
from cliproxy.wire.model import (
    Carrier,
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Role,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)

_ROLES: dict[str, Role] = {"": "user", "user": "user", "function": "user", "model": "assistant"}

_RESULT_KEYS = frozenset({"output", "result", "content", "error"})
"""Where clients put what a function returned, in a `functionResponse.response` that holds nothing else."""


def decode_conversation(body: CamelFields) -> tuple[list[Text | Media | Opaque], list[Turn]]:
    """The instructions before the first turn, and the turns; contents of one role are one turn."""
    turns: list[Turn] = []
    for index, entry in enumerate(body.items("contents")):
        said = isinstance(entry, str)
        turn = Turn("user", [Text(entry)]) if said else _turn(CamelFields(entry, body, "contents", index))
        if not turn.parts:
            continue
        if turns and turns[-1].role == turn.role:
            _add(turns[-1].parts, turn.parts, turn.role)
        else:
            turns.append(turn)
    if not turns:
        raise ClientFault("contents must hold at least one part", param="contents")
    return _system(body), turns


def _system(body: CamelFields) -> list[Text | Media | Opaque]:
    """A string, a part, or several in a list or in an object."""
    holder, key = body, "systemInstruction"
    if isinstance(body.object.get(key), dict):
        instruction = body.required_child(key)
        if "parts" in instruction.object:
            holder, key = instruction, "parts"
    system: list[Text | Media | Opaque] = []
    for index, entry in enumerate(holder.items(key)):
        for part in _parts(holder, key, index, entry):
            if not isinstance(part, Text | Media | Opaque):
                place = holder.place(key, index)
                raise ClientFault(f"{place} must be text", param=place)
            system.append(part)
    return system


def _turn(content: CamelFields) -> Turn:
    role = _ROLES.get(content.string("role") or "")
    if role is None:
        raise content.invalid("role", ("user", "model"))
    parts: list[Part] = []
    for index, entry in enumerate(content.items("parts")):
        parts += _parts(content, "parts", index, entry)
    if len(parts) == 1 and type(parts[0]) is Text:
        return Turn(role, parts)
    kinds = set(map(type, parts))
    if kinds == {ToolResult}:
        return Turn("user", parts)  # some clients return results as if the model had said them
    if role == "user" and ToolCall in kinds:
        place = content.place()
        raise ClientFault(f"{place} is the user's: it cannot hold a functionCall", param=place)
    if role == "assistant" and ToolResult in kinds:
        place = content.place()
        raise ClientFault(f"{place} is the model's: it cannot hold a functionResponse", param=place)
    told: list[Part] = []
    _add(told, parts, role)
    return Turn(role, told)


def _add(told: list[Part], parts: list[Part], role: Role) -> None:
    """Add parts to a turn: what a model said in many chunks is one text, a carrier told twice is one."""
    for part in parts:
        last = told[-1] if told else None
        match part, last:
            case Text(), Text(carrier=None) if role == "assistant":
                last.text += part.text
                last.carrier = part.carrier
            case Reasoning(), Reasoning(carrier=None):
                last.text += part.text
                last.carrier = part.carrier
            case Reasoning(text="", carrier=Carrier() as carrier), _ if any(
                isinstance(one, Reasoning) and one.carrier == carrier for one in told
            ):
                pass
            case _:
                told.append(part)


# ---------------------------------------------------------------- parts


def _parts(holder: CamelFields, key: str, index: int, entry: Any) -> list[Part]:
    """One part of Gemini's as parts of ours: another vendor's token on it is the reasoning before it."""
    if isinstance(entry, str):
        return [Text(entry)]
    part = CamelFields(entry, holder, key, index)
    text, signature = part.string("text"), part.string("thoughtSignature")
    carrier = carrier_of(signature) if signature else None
    if text is not None:
        if part.object.get("thought"):
            return [Reasoning(text, carrier)]
        return [Text(text)] if carrier is None else _signed(Text(text), carrier)
    call = part.child("functionCall")
    if call is not None:
        return _signed(_tool_call(call), carrier)
    other = _other(part)
    if other is not None:
        return [other]
    return [] if carrier is None else _signed(Text(""), carrier)


def _signed(part: Text | ToolCall, carrier: Carrier | None) -> list[Part]:
    if carrier is not None and carrier.origin != FORMAT:
        return [Reasoning("", carrier), part]
    part.carrier = carrier
    return [part]


def _other(part: CamelFields) -> Part | None:
    """Any part but text and calls; None for one without content."""
    blob, file, result = (part.child(key) for key in ("inlineData", "fileData", "functionResponse"))
    if blob is not None:
        return inline_media(blob.string("mimeType"), blob.required("data"), blob.string("displayName"))
    if file is not None:
        return linked_media(file.string("mimeType"), file.required("fileUri"), file.string("displayName"))
    if result is not None:
        return _tool_result(result)
    code, outcome = part.child("executableCode"), part.child("codeExecutionResult")
    if code is not None:
        return ServerCall(code.string("id") or "", "code_execution", FORMAT, code.object, raw=part.object)
    if outcome is not None:
        return ServerResult(outcome.string("id") or "", "code_execution", FORMAT, raw=part.object)
    content = part.object.keys() - {"thought", "thoughtSignature"}
    return Opaque(FORMAT, part.object) if any(part.object[key] is not None for key in content) else None


# ---------------------------------------------------------------- calls and results


def _tool_call(call: CamelFields) -> ToolCall:
    return ToolCall(call.string("id") or "", call.required("name"), json.dumps_text(call.json("args") or {}))


def _tool_result(result: CamelFields) -> ToolResult:
    parts, is_error = _outcome(result.object.get("response"))
    parts += [part for item in result.children("parts") if isinstance(part := _other(item), Media)]
    return ToolResult(result.string("id") or "", parts, name=result.required("name"), is_error=is_error)


def _outcome(response: Any) -> tuple[list[Text | Media | Opaque], bool]:
    """What a function returned, as text, and whether that is an error."""
    if response is None:
        return [], False
    is_error = False
    if isinstance(response, dict):
        said = {key: value for key, value in cast("Json", response).items() if value is not None}
        is_error = bool(said.get("error")) and "output" not in said and "result" not in said
        keys = said.keys() - {"name"} if "content" in said else said.keys()
        if len(keys) == 1 and keys <= _RESULT_KEYS:
            response = said[next(iter(keys))]
    return [Text(response if isinstance(response, str) else json.dumps_text(response))], is_error

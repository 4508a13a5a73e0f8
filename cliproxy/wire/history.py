"""Makes any conversation one that every upstream accepts: calls and results paired, adjacent and in order.

Clients lose ids, split parallel results over several messages, answer a call twice or never. All of that is
mended here, once, before encoding; what a single format demands beyond it is the business of its encoder.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cliproxy.wire import json
from cliproxy.wire.model import Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Turn

NO_RESULT = "No result was recorded for this call."
"""Stands for the result of a call that the client never answered."""

_arguments_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Call(Struct):
    """A call on its way to its result."""

    turn: int
    part: ToolCall
    result: ToolResult | None = None
    used_id: str = ""
    """The id that it leaves with: unique in the conversation."""


class _Calls:
    """The calls met so far, and where to look for the one that a result answers."""

    def __init__(self) -> None:
        self.all: list[_Call] = []
        self.by_turn: dict[int, list[_Call]] = {}
        self._by_id: dict[str, list[_Call]] = {}
        self._by_name: dict[str, list[_Call]] = {}

    def add(self, turn: int, part: ToolCall) -> None:
        call = _Call(turn, part)
        self.all.append(call)
        self.by_turn.setdefault(turn, []).append(call)
        self._by_id.setdefault(part.id, []).append(call)
        self._by_name.setdefault(part.name, []).append(call)

    def unanswered(self, result: ToolResult) -> _Call | None:
        """The unanswered call that `result` belongs to: of the latest turn that has one, the earliest."""
        if result.id:
            return _earliest_of_latest_turn(self._by_id.get(result.id, ())) or _earliest_of_latest_turn(
                call for call in self._by_name.get(result.name or "", ()) if not call.part.id
            )
        return _earliest_of_latest_turn(self._by_name.get(result.name, ()) if result.name else self.all)

    def answered(self, result: ToolResult) -> _Call | None:
        """The latest call of that id, which has a result already."""
        return self._by_id[result.id][-1] if result.id in self._by_id and result.id else None


def repair(turns: list[Turn], dropped: list[str]) -> list[Turn]:
    """A legal conversation of the same content. `turns` stays as it is; `dropped` gets a line for each loss.

    Neighbours of one role are one turn. Each call has one result, in the user turn directly after its own, in
    the order of the calls and before other content; only calls that end the conversation may stay unanswered.
    Ids are unique and never empty, results carry their call's name and kind, arguments of functions are JSON
    objects. Empty texts and turns are gone, but one user turn stays.
    """
    merged = _merged(_cleaned(turn, dropped) for turn in turns)
    if not any(type(part) is ToolCall or type(part) is ToolResult for turn in merged for part in turn.parts):
        return _with_a_user(merged)
    calls = _paired(merged, dropped)
    _give_ids(calls.all)
    return _with_a_user(_merged(_rebuilt(merged, calls.by_turn, dropped)))


def _cleaned(turn: Turn, dropped: list[str]) -> Turn:
    parts: list[Part] = []
    for part in turn.parts:
        if type(part) is ToolCall:
            if turn.role != "assistant":
                dropped.append(f"tool call {part.name}: stands in a {turn.role} turn")
                continue
            part = _with_arguments(part, dropped)
        elif _is_empty(part):
            continue
        parts.append(part)
    return Turn(turn.role, parts)


def _is_empty(part: Part) -> bool:
    match part:
        case Text(text="", carrier=None) | Reasoning(text="", carrier=None) | Refusal(text=""):
            return True
        case _:
            return False


def _with_arguments(call: ToolCall, dropped: list[str]) -> ToolCall:
    if call.kind == "custom":
        return call
    if not call.arguments or call.arguments.isspace():
        return replace(call, arguments="{}")
    try:
        _arguments_decoder.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError):
        if not _is_object(call.arguments):
            dropped.append(f"tool call {call.name} {call.id}: its arguments are not a JSON object")
            return replace(call, arguments="{}")
    return call


def _is_object(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _merged(turns: Iterable[Turn]) -> list[Turn]:
    """Without empty turns, neighbours of one role as one turn; system turns stay apart as they were."""
    merged: list[Turn] = []
    last: Turn | None = None
    for turn in turns:
        if not turn.parts:
            continue
        if last is not None and last.role == turn.role != "system":
            last.parts += turn.parts
        else:
            last = Turn(turn.role, list(turn.parts))
            merged.append(last)
    return merged


def _with_a_user(turns: list[Turn]) -> list[Turn]:
    if any(turn.role == "user" for turn in turns):
        return turns
    return [Turn("user", [Text("")]), *turns]


def _paired(turns: list[Turn], dropped: list[str]) -> _Calls:
    calls = _Calls()
    early: list[ToolResult] = []
    for index, turn in enumerate(turns):
        for part in turn.parts:
            if type(part) is ToolCall:
                calls.add(index, part)
            elif type(part) is ToolResult:
                # Of several results for one call the last counts.
                call = calls.unanswered(part) or calls.answered(part)
                if call is None:
                    early.append(part)
                else:
                    call.result = part
    for result in early:
        call = calls.unanswered(result)
        if call is None:
            dropped.append(f"tool result {result.id or result.name or '(no id)'}: no call to go with it")
        else:
            call.result = result
    return calls


def _earliest_of_latest_turn(calls: Iterable[_Call]) -> _Call | None:
    best: _Call | None = None
    for call in calls:
        if call.result is None and (best is None or call.turn > best.turn):
            best = call
    return best


def _give_ids(calls: list[_Call]) -> None:
    """Unique ids, made from the place in the conversation alone: the next request gives the same ones."""
    taken = {call.part.id for call in calls}
    seen: set[str] = set()
    for number, call in enumerate(calls, 1):
        id = call.part.id
        if not id or id in seen:
            id = _unused(f"{id}_{number}" if id else f"call_{number}", taken)
            taken.add(id)
        seen.add(id)
        call.used_id = id


def _unused(id: str, taken: set[str]) -> str:
    while id in taken:
        id += "_"
    return id


def _rebuilt(turns: list[Turn], calls_by_turn: dict[int, list[_Call]], dropped: list[str]) -> Iterator[Turn]:
    last = _last_turn_that_stays(turns)
    for index, turn in enumerate(turns):
        parts = [part for part in turn.parts if type(part) is not ToolResult]
        calls = calls_by_turn.get(index)
        if calls is None:
            yield Turn(turn.role, parts)
            continue
        called = iter(calls)
        yield Turn(turn.role, [_called(part, next(called)) if type(part) is ToolCall else part for part in parts])
        if index != last or any(call.result is not None for call in calls):
            yield Turn("user", [_result_of(call, dropped) for call in calls])


def _last_turn_that_stays(turns: list[Turn]) -> int:
    """The index of the last turn that holds more than tool results."""
    stays = [any(type(part) is not ToolResult for part in turn.parts) for turn in turns]
    return max((index for index, stay in enumerate(stays) if stay), default=-1)


def _called(part: ToolCall, call: _Call) -> ToolCall:
    return part if part.id == call.used_id else replace(part, id=call.used_id)


def _result_of(call: _Call, dropped: list[str]) -> ToolResult:
    result = call.result
    if result is None:
        dropped.append(f"tool call {call.part.name} {call.part.id}: has no result, a note stands in for it")
        result = ToolResult("", [Text(NO_RESULT)], is_error=True)
    if (result.id, result.name, result.kind) == (call.used_id, call.part.name, call.part.kind):
        return result
    return replace(result, id=call.used_id, name=call.part.name, kind=call.part.kind)

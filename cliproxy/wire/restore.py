"""Gives an answer back what the request lost on its way: tool names, freeform tools, namespaces."""

from collections import Counter

from msgspec import Struct
from msgspec.structs import replace

from cliproxy.wire import json
from cliproxy.wire.model import (
    Answer,
    Delta,
    Event,
    Part,
    PartEnd,
    PartStart,
    Request,
    ServerTool,
    Tool,
    ToolCall,
    Turn,
)


class _Known(Struct, frozen=True):
    """A tool as the client knows it."""

    name: str
    namespace: str | None
    custom: bool


def flattened(request: Request) -> Request:
    """The request without name clashes between namespaces, for a format without them; itself if it has none.

    Tools of one name in two namespaces become `namespace__name`; all others keep their names.
    """
    flat = {key: name for key, name in _flat_names(request.tools).items() if name != key[1]}
    if not flat:
        return request
    tools = [
        replace(tool, name=flat.get((tool.namespace, tool.name), tool.name)) if isinstance(tool, Tool) else tool
        for tool in request.tools
    ]
    turns = [Turn(turn.role, [_flat_call(part, flat) for part in turn.parts]) for turn in request.turns]
    return replace(request, tools=tools, turns=turns)


def _flat_names(tools: list[Tool | ServerTool]) -> dict[tuple[str | None, str], str]:
    """Namespace and name of each tool → the one name that it goes by where there are no namespaces."""
    uses = Counter(tool.name for tool in tools)
    return {
        (tool.namespace, tool.name): f"{tool.namespace}__{tool.name}"
        if tool.namespace is not None and uses[tool.name] > 1
        else tool.name
        for tool in tools
        if isinstance(tool, Tool)
    }


def _flat_call(part: Part, flat: dict[tuple[str | None, str], str]) -> Part:
    if type(part) is ToolCall and (part.namespace, part.name) in flat:
        return replace(part, name=flat[part.namespace, part.name])
    return part


class Restorer:
    """Restores the calls of one answer.

    request: the client's. names: tool names as sent → as they stood in the request that was encoded, where
    they differ (`Encoded.names`). A freeform tool that went out as a function with the one string argument
    `input` comes back as a freeform call with the raw text; a call that the upstream made as a freeform call
    stays as it is.
    """

    def __init__(self, request: Request, names: dict[str, str]) -> None:
        flat = _flat_names(request.tools)
        self._known = {
            flat[tool.namespace, tool.name]: _Known(tool.name, tool.namespace, tool.kind == "custom")
            for tool in request.tools
            if isinstance(tool, Tool) and (tool.kind == "custom" or tool.namespace is not None)
        }
        for sent, name in names.items():
            self._known[sent] = self._known.get(name) or _Known(name, None, False)
        self._unwrapping: dict[int, list[str]] = {}

    def apply(self, events: list[Event]) -> list[Event]:
        """The events with their tool calls restored: the list itself when there is nothing to restore."""
        if not self._known:
            return events
        restored: list[Event] = []
        for event in events:
            if type(event) is Delta:
                held = self._unwrapping.get(event.index)
                if held is not None:
                    held.append(event.text)
                    continue
            elif type(event) is PartStart:
                if type(event.part) is ToolCall:
                    event = PartStart(event.index, self._started(event.index, event.part))
            elif type(event) is PartEnd and event.index in self._unwrapping:
                text = _raw_input("".join(self._unwrapping.pop(event.index)))
                if text:
                    restored.append(Delta(event.index, text))
            restored.append(event)
        return restored

    def answer(self, answer: Answer) -> Answer:
        """The same for a whole answer, which is changed in place."""
        if self._known:
            answer.parts = [self._whole(part) if type(part) is ToolCall else part for part in answer.parts]
        return answer

    def _started(self, index: int, call: ToolCall) -> ToolCall:
        known = self._known.get(call.name)
        if known is None:
            return call
        if known.custom and call.kind == "function":
            self._unwrapping[index] = [call.arguments]
            return replace(call, name=known.name, namespace=known.namespace, kind="custom", arguments="")
        return replace(call, name=known.name, namespace=call.namespace or known.namespace)

    def _whole(self, call: ToolCall) -> ToolCall:
        known = self._known.get(call.name)
        if known is None:
            return call
        if known.custom and call.kind == "function":
            text = _raw_input(call.arguments)
            return replace(call, name=known.name, namespace=known.namespace, kind="custom", arguments=text)
        return replace(call, name=known.name, namespace=call.namespace or known.namespace)


def _raw_input(arguments: str) -> str:
    """The text of `{"input": text}`; a model that ignores the wrapping has written the text itself."""
    try:
        value = json.loads_object(arguments, "the arguments")
    except (ValueError, RecursionError):
        return arguments
    text = value.get("input") if value else ""
    return text if isinstance(text, str) else arguments

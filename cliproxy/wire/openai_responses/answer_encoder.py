"""Events or an Answer → a response for the client, streamed or whole."""

import time
from collections.abc import Callable
from typing import Any

from cliproxy.wire import envelope, names
from cliproxy.wire.errors import UpstreamCut
from cliproxy.wire.fold import merge_usage, unfold
from cliproxy.wire.json import dumps
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    Json,
    Media,
    Opaque,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    Signed,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from cliproxy.wire.openai_responses.errors import streamed_error_json
from cliproxy.wire.openai_responses.vocabulary import FORMAT, annotation_of, ending, usage_json
from cliproxy.wire.sse import frame

_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Settings of the request that a response repeats, with what the API says where they were not given."""


class AnswerEncoder:
    """The stream of one response.

    request: the client's own request, whose settings are repeated. model: the name that the client asked for.
    """

    def __init__(self, request: Request, model: str) -> None:
        self._model = model
        given = request.raw
        self._echo: Json = {key: default if given.get(key) is None else given[key] for key, default in _ECHOED.items()}
        self._echo_tail = dumps(self._echo)[1:]
        self._id = ""
        self._created_s = 0
        self._usage = Usage()
        self._refused = False
        self._output = _Output()
        self._open: dict[int, _TextWriter | _CallWriter | _ReasoningWriter] = {}
        self._message: _Message | None = None
        self._searches: dict[str, _Search] = {}
        self._ended = False
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            Start: self._start,
            PartStart: self._part_start,
            Delta: self._delta,
            Signed: self._signed,
            Cited: self._cited,
            PartEnd: self._part_end,
            UsageReport: self._usage_report,
            Finish: self._finish,
            Failure: self._failure,
        }
        self.response: Json = {}
        """The response object as last sent."""

    def push(self, event: Event) -> bytes:
        if self._ended:
            return b""
        if not self._id and type(event) is not Start:
            self._start(Start())
        self._handlers[type(event)](event)
        return self._output.drain()

    def finish(self) -> bytes:
        """The last bytes, whatever was pushed before."""
        return self.push(Failure(UpstreamCut("the upstream's answer ended before its end")))

    def ping(self) -> bytes:
        return b": ping\n\n"

    # ---------------------------------------------------------------- one method an event

    def _start(self, event: Start) -> None:
        if self._id:
            return
        self._id = event.id if event.id.startswith("resp_") else names.new_id("resp_")
        self._created_s = int(time.time()) if event.created_s is None else event.created_s
        if event.usage is not None:
            merge_usage(self._usage, event.usage)
        self._lifecycle("response.created", "in_progress")
        self._lifecycle("response.in_progress", "in_progress")

    def _part_start(self, event: PartStart) -> None:
        part = event.part
        match part:
            case Text() | Refusal():
                self._open[event.index] = self._text(part)
            case ToolCall():
                self._leave_message()
                self._open[event.index] = _CallWriter(self._output, part)
            case Reasoning():
                self._leave_message()
                self._open[event.index] = _ReasoningWriter(self._output, part)
            case Media():
                self._leave_message()
                _write_image(self._output, part)
            case ServerCall():
                self._leave_message()
                self._server_call(part)
            case ServerResult():
                search = self._searches.pop(part.id, None)
                if search is not None:
                    search.end(part.sources)
            case Opaque():
                self._leave_message()
                if part.origin == FORMAT:
                    _write_item(self._output, part.raw)
            case _:
                pass
        if isinstance(part, Text | ToolCall) and part.carrier is not None:
            self._signed(Signed(event.index, part.carrier))

    def _delta(self, event: Delta) -> None:
        writer = self._open.get(event.index)
        if writer is not None:
            writer.delta(event.text)

    def _signed(self, event: Signed) -> None:
        """Reasoning has a slot for its token; that of a call or a text goes in a reasoning item after it."""
        writer = self._open.get(event.index)
        if isinstance(writer, _ReasoningWriter):
            writer.carrier = event.carrier
        elif writer is not None:
            carrier = event.carrier
            self._leave_message()
            _write_token(self._output, Carrier(carrier.origin, carrier.kind, carrier.data, writer.token_place))

    def _cited(self, event: Cited) -> None:
        writer = self._open.get(event.index)
        if isinstance(writer, _TextWriter):
            writer.cite(event.citation)

    def _part_end(self, event: PartEnd) -> None:
        writer = self._open.pop(event.index, None)
        if writer is not None:
            writer.end()

    def _usage_report(self, event: UsageReport) -> None:
        merge_usage(self._usage, event.usage)

    def _finish(self, event: Finish) -> None:
        for writer in self._open.values():
            writer.end()
        self._open.clear()
        self._leave_message()
        for search in self._searches.values():
            search.end([])
        status, reason = ending(event.reason, self._refused)
        details = None if reason is None else {"reason": reason}
        self._lifecycle(f"response.{status}", status, details=details, usage=usage_json(self._usage))
        self._ended = True

    def _failure(self, event: Failure) -> None:
        """What is open stays without its end: a client would run a call whose arguments are cut."""
        usage = None if self._usage == Usage() else usage_json(self._usage)
        self._lifecycle("response.failed", "failed", error=streamed_error_json(event.error), usage=usage)
        self._ended = True

    # ---------------------------------------------------------------- items

    def _text(self, part: Text | Refusal) -> "_TextWriter":
        """Neighbouring texts are contents of one message."""
        if self._message is None:
            self._message = _Message(self._output)
        self._refused = self._refused or isinstance(part, Refusal)
        return _TextWriter(self._output, self._message, part)

    def _leave_message(self) -> None:
        if self._message is not None:
            self._message.seal()
            self._message = None

    def _server_call(self, part: ServerCall) -> None:
        if part.origin == FORMAT:
            if part.raw is not None:
                _write_item(self._output, part.raw)
        elif part.name == "web_search":
            self._searches[part.id] = _Search(self._output, part.input)

    def _lifecycle(
        self,
        event_type: str,
        status: str,
        *,
        error: Json | None = None,
        details: Json | None = None,
        usage: Json | None = None,
    ) -> None:
        state: Json = {
            "id": self._id,
            "object": "response",
            "created_at": self._created_s,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": details,
            "model": self._model,
            "output": [item for item in self._output.items if item is not None],
            "usage": usage,
        }
        self.response = {**state, **self._echo}
        # The repeated settings are most of it (tools, instructions), and the same each time.
        self._output.write(event_type, b'"response":' + dumps(state)[:-1] + b"," + self._echo_tail)


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """A whole response: the last state of its stream."""
    encoder = AnswerEncoder(request, model)
    for event in unfold(answer):
        encoder.push(event)
    return encoder.response


# ---------------------------------------------------------------- output items


class _Output:
    """The numbered events not yet handed out, and the items by `output_index`."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.sequence_number = 0
        self.items: list[Json | None] = []
        """None while an item is not done."""

    def drain(self) -> bytes:
        frames, self.frames = self.frames, []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def write(self, event_type: str, members: bytes) -> None:
        """An event with these members, as JSON without its braces."""
        name = event_type.encode()
        data = b'{"type":"%b","sequence_number":%d,%b}' % (name, self.sequence_number, members)
        self.sequence_number += 1
        self.frames.append(frame(data, event_type))

    def event(self, event_type: str, members: Json) -> None:
        self.write(event_type, dumps(members)[1:-1])

    def add(self, item: Json) -> int:
        """Announce an item and return its `output_index`."""
        index = len(self.items)
        self.items.append(None)
        self.event("response.output_item.added", {"output_index": index, "item": item})
        return index

    def done(self, index: int, item: Json) -> None:
        self.items[index] = item
        self.event("response.output_item.done", {"output_index": index, "item": item})


class _Deltas:
    """The delta events of one text, all bytes but the text and the number made beforehand."""

    __slots__ = ("head", "middle", "output", "pieces", "tail")

    def __init__(self, output: _Output, event_type: str, place: Json, tail: bytes = b"") -> None:
        name = event_type.encode()
        self.output = output
        self.pieces: list[str] = []
        self.head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        self.middle = b"," + dumps(place)[1:-1] + b',"delta":'
        self.tail = tail + b"}\n\n"

    def send(self, text: str) -> None:
        output = self.output
        self.pieces.append(text)
        number = output.sequence_number
        output.sequence_number = number + 1
        output.frames.append(b"%b%d%b%b%b" % (self.head, number, self.middle, dumps(text), self.tail))

    def text(self) -> str:
        return "".join(self.pieces)


class _Message:
    """A message item and its contents. Once sealed it takes no more, and is done with the last of them."""

    def __init__(self, output: _Output) -> None:
        self.output = output
        self.id = names.new_id("msg_")
        self.contents: list[Json] = []
        self.open_contents = 0
        self.sealed = False
        self.index = output.add(self._item("in_progress"))

    def seal(self) -> None:
        self.sealed = True
        self._finish_if_over()

    def content_ended(self) -> None:
        self.open_contents -= 1
        self._finish_if_over()

    def _finish_if_over(self) -> None:
        if self.sealed and not self.open_contents:
            self.output.done(self.index, self._item("completed"))

    def _item(self, status: str) -> Json:
        return {
            "id": self.id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": self.contents.copy(),
        }


class _TextWriter:
    """One content of a message: a text or a refusal."""

    token_place = "text"

    def __init__(self, output: _Output, message: _Message, part: Text | Refusal) -> None:
        self._output = output
        self._message = message
        self._kind = "refusal" if isinstance(part, Refusal) else "output_text"
        self._index = len(message.contents)
        self._place: Json = {
            "item_id": message.id,
            "output_index": message.index,
            "content_index": self._index,
        }
        self._annotations: list[Json] = []
        self._of_whole_text: list[Citation] = []
        tail = b"" if self._kind == "refusal" else b',"logprobs":[]'
        self._deltas = _Deltas(output, f"response.{self._kind}.delta", self._place, tail)
        message.contents.append(self._content(""))
        message.open_contents += 1
        output.event("response.content_part.added", {**self._place, "part": self._content("")})
        if part.text:
            self.delta(part.text)
        if isinstance(part, Text):
            for citation in part.citations:
                self.cite(citation)

    def delta(self, text: str) -> None:
        self._deltas.send(text)

    def cite(self, citation: Citation) -> None:
        if citation.end is None:
            # How long the text is shows at its end.
            self._of_whole_text.append(citation)
        else:
            self._annotate(annotation_of(citation, 0))

    def end(self) -> None:
        text = self._deltas.text()
        for citation in self._of_whole_text:
            self._annotate(annotation_of(citation, len(text)))
        if self._kind == "refusal":
            self._output.event("response.refusal.done", {**self._place, "refusal": text})
        else:
            self._output.event("response.output_text.done", {**self._place, "text": text, "logprobs": []})
        content = self._content(text)
        self._message.contents[self._index] = content
        self._output.event("response.content_part.done", {**self._place, "part": content})
        self._message.content_ended()

    def _annotate(self, annotation: Json | None) -> None:
        if annotation is not None:
            place = {**self._place, "annotation_index": len(self._annotations), "annotation": annotation}
            self._output.event("response.output_text.annotation.added", place)
            self._annotations.append(annotation)

    def _content(self, text: str) -> Json:
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": self._annotations.copy(),
            "logprobs": [],
        }


class _CallWriter:
    """A call of a function or of a freeform tool."""

    def __init__(self, output: _Output, part: ToolCall) -> None:
        self._output = output
        self._custom = part.kind == "custom"
        self._argument = "input" if self._custom else "arguments"
        self._event = f"response.{'custom_tool_call_input' if self._custom else 'function_call_arguments'}"
        self._id = names.new_id("ctc_" if self._custom else "fc_")
        self._call_id = part.id or names.new_id("call_")
        self._name = part.name
        self._namespace = part.namespace
        self._index = output.add(self._item("in_progress", ""))
        self._place: Json = {"item_id": self._id, "output_index": self._index}
        self._deltas = _Deltas(output, f"{self._event}.delta", self._place)
        self.token_place = f"call:{self._call_id}"
        if part.arguments:
            self.delta(part.arguments)

    def delta(self, text: str) -> None:
        self._deltas.send(text)

    def end(self) -> None:
        if not self._custom and not self._deltas.text():
            self.delta("{}")
        arguments = self._deltas.text()
        name = {} if self._custom else {"name": self._name}
        self._output.event(f"{self._event}.done", {**self._place, self._argument: arguments, **name})
        self._output.done(self._index, self._item("completed", arguments))

    def _item(self, status: str, arguments: str) -> Json:
        item: Json = {
            "id": self._id,
            "type": "custom_tool_call" if self._custom else "function_call",
            "status": status,
            self._argument: arguments,
            "call_id": self._call_id,
            "name": self._name,
        }
        if self._namespace is not None:
            item["namespace"] = self._namespace
        return item


class _ReasoningWriter:
    """A reasoning item: its text is one summary, begun with the first piece, its token comes at the end."""

    token_place = ""

    def __init__(self, output: _Output, part: Reasoning) -> None:
        self._output = output
        self.carrier = part.carrier
        own_id = part.carrier.id if part.carrier is not None and part.carrier.origin == FORMAT else None
        self._id = own_id or names.new_id("rs_")
        self._index = output.add({"id": self._id, "type": "reasoning", "summary": []})
        self._place: Json = {"item_id": self._id, "output_index": self._index, "summary_index": 0}
        self._deltas = _Deltas(output, "response.reasoning_summary_text.delta", self._place)
        if part.text:
            self.delta(part.text)

    def delta(self, text: str) -> None:
        if not self._deltas.pieces:
            part = {"type": "summary_text", "text": ""}
            self._output.event("response.reasoning_summary_part.added", {**self._place, "part": part})
        self._deltas.send(text)

    def end(self) -> None:
        summary: list[Json] = []
        if self._deltas.pieces:
            text = self._deltas.text()
            part = {"type": "summary_text", "text": text}
            self._output.event("response.reasoning_summary_text.done", {**self._place, "text": text})
            self._output.event("response.reasoning_summary_part.done", {**self._place, "part": part})
            summary.append(part)
        item: Json = {"id": self._id, "type": "reasoning", "summary": summary}
        if self.carrier is not None:
            item["encrypted_content"] = _slot(self.carrier)
        self._output.done(self._index, item)


class _Search:
    """A web search at another vendor, open until what it found is known."""

    def __init__(self, output: _Output, asked: Json) -> None:
        self._output = output
        queries: list[Any] = asked["queries"] if isinstance(asked.get("queries"), list) else []
        query: Any = asked.get("query") or (queries[0] if queries else "")
        self._action: Json = {"type": "search", "query": query if isinstance(query, str) else ""}
        self._id = names.new_id("ws_")
        self._index = output.add(self._item("in_progress"))
        self._report("in_progress")
        self._report("searching")

    def end(self, sources: list[Citation]) -> None:
        found = [{"type": "url", "url": source.url} for source in sources if source.url]
        if found:
            self._action["sources"] = found
        self._report("completed")
        self._output.done(self._index, self._item("completed"))

    def _report(self, state: str) -> None:
        place: Json = {"output_index": self._index, "item_id": self._id}
        self._output.event(f"response.web_search_call.{state}", place)

    def _item(self, status: str) -> Json:
        return {"id": self._id, "type": "web_search_call", "status": status, "action": self._action.copy()}


def _write_item(output: _Output, item: Json) -> None:
    """An item of this API, as another response had it."""
    if not isinstance(item.get("id"), str):
        item = {**item, "id": names.new_id("item_")}
    output.done(output.add(item), item)


def _write_image(output: _Output, part: Media) -> None:
    """Only an inline picture has a place in a response."""
    if part.kind != "image" or part.data is None:
        return
    item: Json = {
        "id": names.new_id("ig_"),
        "type": "image_generation_call",
        "status": "in_progress",
        "result": None,
    }
    index = output.add(item)
    for state in ("in_progress", "generating", "completed"):
        output.event(f"response.image_generation_call.{state}", {"output_index": index, "item_id": item["id"]})
    file_type = (part.mime or "image/png").rpartition("/")[2]
    output.done(index, {**item, "status": "completed", "result": part.data, "output_format": file_type})


def _write_token(output: _Output, carrier: Carrier) -> None:
    """A token without text: the request decoder gives it back to the call or text that its id names."""
    item: Json = {"id": names.new_id("rs_"), "type": "reasoning", "summary": []}
    output.done(output.add(item), {**item, "encrypted_content": envelope.seal(carrier)})


def _slot(carrier: Carrier) -> str:
    return carrier.data if carrier.origin == FORMAT else envelope.seal(carrier)

"""The output items of a response as the client is told of them, event by event."""

from collections.abc import Sequence
from typing import Any

from cliproxy.wire import envelope, names
from cliproxy.wire.json import dumps
from cliproxy.wire.model import Carrier, Citation, Json, Media, Reasoning, Refusal, Text, ToolCall
from cliproxy.wire.openai_responses.vocabulary import FORMAT, citation_json
from cliproxy.wire.sse import frame


class Output:
    """The numbered events of one response.

    frames: takes them. items: by `output_index`, None while one is not done.
    """

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames
        self.sequence_number = 0
        self.items: list[Json | None] = []

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

    __slots__ = ("_head", "_middle", "_output", "_tail", "pieces")

    def __init__(self, output: Output, event_type: str, place: Json, tail: bytes = b"") -> None:
        name = event_type.encode()
        self.pieces: list[str] = []
        self._output = output
        self._head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        self._middle = b"," + dumps(place)[1:-1] + b',"delta":'
        self._tail = tail + b"}\n\n"

    def send(self, text: str) -> None:
        output = self._output
        self.pieces.append(text)
        number = output.sequence_number
        output.sequence_number = number + 1
        output.frames.append(b"%b%d%b%b%b" % (self._head, number, self._middle, dumps(text), self._tail))

    def text(self) -> str:
        return "".join(self.pieces)


class Message:
    """A message item and its contents. Once sealed it takes no more, and is done with the last of them."""

    def __init__(self, output: Output) -> None:
        self.id = names.new_id("msg_")
        self.contents: list[Json] = []
        self.open_contents = 0
        self._output = output
        self._sealed = False
        self.index = output.add(self._item("in_progress"))

    def seal(self) -> None:
        self._sealed = True
        self._finish_if_over()

    def content_ended(self) -> None:
        self.open_contents -= 1
        self._finish_if_over()

    def _finish_if_over(self) -> None:
        if self._sealed and not self.open_contents:
            self._output.done(self.index, self._item("completed"))

    def _item(self, status: str) -> Json:
        contents = self.contents.copy()
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": contents}


class TextWriter:
    """One content of a message: a text or a refusal."""

    token_place = "text"

    def __init__(self, output: Output, message: Message, part: Text | Refusal) -> None:
        self._output = output
        self._message = message
        self._kind = "refusal" if isinstance(part, Refusal) else "output_text"
        self._index = len(message.contents)
        self._place: Json = {"item_id": message.id, "output_index": message.index, "content_index": self._index}
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
            self._annotate(citation_json(citation, 0))

    def end(self) -> None:
        text = self._deltas.text()
        for citation in self._of_whole_text:
            self._annotate(citation_json(citation, len(text)))
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
        return {"type": "output_text", "text": text, "annotations": self._annotations.copy(), "logprobs": []}


class CallWriter:
    """A call of a function or of a freeform tool."""

    def __init__(self, output: Output, part: ToolCall) -> None:
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
        return item if self._namespace is None else {**item, "namespace": self._namespace}


class ReasoningWriter:
    """A reasoning item: its text is one summary, begun with the first piece, its token comes at the end."""

    def __init__(self, output: Output, part: Reasoning) -> None:
        self.carrier = part.carrier
        self._output = output
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
        item: Json = {"id": self._id, "type": "reasoning", "summary": []}
        if self._deltas.pieces:
            text = self._deltas.text()
            part = {"type": "summary_text", "text": text}
            self._output.event("response.reasoning_summary_text.done", {**self._place, "text": text})
            self._output.event("response.reasoning_summary_part.done", {**self._place, "part": part})
            item["summary"] = [part]
        if self.carrier is not None:
            item["encrypted_content"] = (
                self.carrier.data if self.carrier.origin == FORMAT else envelope.seal(self.carrier)
            )
        self._output.done(self._index, item)


class SearchWriter:
    """A web search at another vendor, open until what it found is known."""

    def __init__(self, output: Output, asked: Json) -> None:
        self._output = output
        queries: list[Any] = asked["queries"] if isinstance(asked.get("queries"), list) else []
        query: Any = asked.get("query") or (queries[0] if queries else "")
        self._action: Json = {"type": "search", "query": query if isinstance(query, str) else ""}
        self._id = names.new_id("ws_")
        self._index = output.add(self._item("in_progress"))
        self._report("in_progress")
        self._report("searching")

    def end(self, sources: Sequence[Citation] = ()) -> None:
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


def write_item(output: Output, item: Json) -> None:
    """An item of this API, as another response had it."""
    if not isinstance(item.get("id"), str):
        item = {**item, "id": names.new_id("item_")}
    output.done(output.add(item), item)


def write_image(output: Output, part: Media) -> None:
    """Only an inline picture has a place in a response."""
    if part.kind != "image" or part.data is None:
        return
    item: Json = {"id": names.new_id("ig_"), "type": "image_generation_call", "status": "in_progress", "result": None}
    index = output.add(item)
    for state in ("in_progress", "generating", "completed"):
        output.event(f"response.image_generation_call.{state}", {"output_index": index, "item_id": item["id"]})
    file_type = (part.mime or "image/png").rpartition("/")[2]
    output.done(index, {**item, "status": "completed", "result": part.data, "output_format": file_type})


def write_token(output: Output, carrier: Carrier, place: str) -> None:
    """The token of a call or text, which have no slot for it: the request decoder gives it back to that place."""
    item: Json = {"id": names.new_id("rs_"), "type": "reasoning", "summary": []}
    sealed = envelope.seal(Carrier(carrier.origin, carrier.kind, carrier.data, place))
    output.done(output.add(item), {**item, "encrypted_content": sealed})

"""Events, or an `Answer` → Chat Completions chunks, or a whole completion."""

import time
from typing import Any

from msgspec import Struct

from cliproxy.wire import media
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.json import dumps
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Cited,
    Delta,
    Failure,
    Finish,
    Json,
    Media,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Request,
    Signed,
    Start,
    Text,
    ToolCall,
    Usage,
)
from cliproxy.wire.names import new_id
from cliproxy.wire.openai_chat.errors import encode_error
from cliproxy.wire.openai_chat.vocabulary import (
    DONE,
    FORMAT,
    carried_details,
    citation_json,
    finish_word,
    usage_json,
)
from cliproxy.wire.sse import frame
from cliproxy.wire.streaming import StreamEncoder

_REASONING_FIELD = "reasoning_content"
"""OpenAI has no field for visible reasoning; of the common ones this is what clients read and give back."""

_BETWEEN_REASONING = "\n\n"

_DELTA_END = b',"logprobs":null,"finish_reason":null}]}\n\n'


class _Open(Struct):
    """A part in progress: what goes before and after each piece of it."""

    part: Text | Reasoning | Refusal | ToolCall
    before: bytes
    after: bytes
    number: int = 0
    """Of a call among the calls."""
    offset: int = 0
    """Of a text: where it begins in the message's content, in characters."""
    is_empty: bool = True


class AnswerEncoder(StreamEncoder):
    """Turns the events of one answer into a stream.

    request: the client's. model: the name that the client asked for.
    """

    PING = b": keep-alive\n\n"

    def __init__(self, request: Request, model: str) -> None:
        super().__init__()
        self._model = model
        self._wants_usage = request.include_usage
        self._head = b""
        """The beginning of each chunk."""
        self._open: dict[int, _Open] = {}
        self._content_chars = 0
        self._calls = 0
        self._annotations = 0
        self._images = 0
        self._has_reasoned = False

    # ------------------------------------------------------------ events

    def _start(self, event: Start) -> None:
        identity = dumps(shell(event, self._model, "chat.completion.chunk", "chatcmpl-"))
        self._head = b"data: " + identity[:-1] + b',"choices":['
        self._chunk({"role": "assistant", "content": ""})

    def _part_start(self, event: PartStart) -> None:
        part, index = event.part, event.index
        match part:
            case Text():
                self._begin(index, part, b'{"content":', b"}", offset=self._content_chars)
            case Refusal():
                self._begin(index, part, b'{"refusal":', b"}")
            case Reasoning():
                self._begin(index, part, b'{"reasoning_content":', b"}")
                if self._has_reasoned:
                    self._delta(Delta(index, _BETWEEN_REASONING))
            case ToolCall():
                self._begin_call(index, part)
            case Media():
                self._show(part)
                return
            case _:
                return
        text = part.arguments if isinstance(part, ToolCall) else part.text
        if text:
            self._delta(Delta(index, text))

    def _delta(self, event: Delta) -> None:
        opened = self._open[event.index]
        opened.is_empty = False
        text = event.text
        if type(opened.part) is Text:
            self._content_chars += len(text)
        self._out.append(opened.before + dumps(text) + opened.after)

    def _signed(self, event: Signed) -> None:
        opened = self._open[event.index]
        if isinstance(opened.part, ToolCall):
            extra = _extra_content(event.carrier)
            if extra and opened.part.kind == "function":
                # The SDK's accumulator wants a function in every delta of a call.
                self._chunk({"tool_calls": [{"index": opened.number, "function": {"arguments": ""}, **extra}]})
        elif isinstance(opened.part, Reasoning):
            details = carried_details(event.carrier)
            if details:
                self._chunk({"reasoning_details": details})

    def _cited(self, event: Cited) -> None:
        annotation = citation_json(event.citation, self._open[event.index].offset, self._content_chars)
        if annotation is not None:
            # The SDK's accumulator wants an index in every entry of a list.
            self._chunk({"annotations": [{**annotation, "index": self._annotations}]})
            self._annotations += 1

    def _part_end(self, event: PartEnd) -> None:
        opened = self._open.pop(event.index, None)
        if opened is None:
            return
        if isinstance(opened.part, Reasoning):
            self._has_reasoned = self._has_reasoned or not opened.is_empty
        elif isinstance(opened.part, ToolCall) and opened.is_empty and opened.part.kind == "function":
            self._out.append(opened.before + b'"{}"' + opened.after)

    def _finish(self, event: Finish) -> None:
        self._chunk({}, finish_word(event.reason, called=self._calls > 0))
        if self._wants_usage:
            self._out.append(self._head + b'],"usage":' + dumps(usage_json(self._usage)) + b"}\n\n")
        self._out.append(frame(DONE))

    def _failure(self, event: Failure) -> None:
        """No [DONE] behind it: some clients take that for a good end whatever came before."""
        self._out.append(failure_frame(event.error))

    # ------------------------------------------------------------ chunks

    def _begin(
        self,
        index: int,
        part: Text | Reasoning | Refusal | ToolCall,
        before: bytes,
        after: bytes,
        *,
        number: int = 0,
        offset: int = 0,
    ) -> None:
        before = self._head + b'{"index":0,"delta":' + before
        self._open[index] = _Open(part, before, after + _DELTA_END, number, offset)

    def _begin_call(self, index: int, part: ToolCall) -> None:
        number, self._calls = self._calls, self._calls + 1
        key, field = ("custom", "input") if part.kind == "custom" else ("function", "arguments")
        before = f'{{"tool_calls":[{{"index":{number},"{key}":{{"{field}":'.encode()
        self._begin(index, part, before, b"}}]}", number=number)
        call = _tool_call(part)
        call[key][field] = ""
        self._chunk({"tool_calls": [{"index": number, **call}]})

    def _show(self, part: Media) -> None:
        image = _image(part)
        if image is not None:
            self._chunk({"images": [{**image, "index": self._images}]})
            self._images += 1

    def _chunk(self, delta: Json, finish_word: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_word}
        self._out.append(self._head + dumps(choice) + b"]}\n\n")


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """The whole body, `model` being the name that the client asked for."""
    message = _message(answer)
    start = Start(answer.id, answer.model, answer.created_s)
    word = finish_word(answer.finish, called="tool_calls" in message)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": word}
    completion = {**shell(start, model, "chat.completion", "chatcmpl-"), "choices": [choice]}
    if answer.usage != Usage():
        completion["usage"] = usage_json(answer.usage)
    return completion


def shell(start: Start, model: str, kind: str, id_prefix: str) -> Json:
    """The fields that every chunk repeats. An upstream's id of another kind stays readable in ours."""
    id = start.id
    if not id.startswith(id_prefix):
        id = id_prefix + id if id else new_id(id_prefix)
    created_s = start.created_s if start.created_s is not None else int(time.time())
    return {"id": id, "object": kind, "created": created_s, "model": model, "system_fingerprint": None}


def failure_frame(error: GatewayError) -> bytes:
    return frame(dumps(encode_error(error)[1]))


# ---------------------------------------------------------------- whole parts


def _message(answer: Answer) -> Json:
    """The parts of an answer in the fields of one message."""
    content: list[str] = []
    refusals: list[str] = []
    reasoning: list[str] = []
    further: dict[str, list[Any]] = {"reasoning_details": [], "tool_calls": [], "annotations": [], "images": []}
    offset = 0
    for part in answer.parts:
        match part:
            case Text(text, citations):
                content.append(text)
                end = offset + len(text)
                annotations = (citation_json(citation, offset, end) for citation in citations)
                further["annotations"] += [annotation for annotation in annotations if annotation is not None]
                offset = end
            case Refusal(text):
                refusals.append(text)
            case Reasoning(text, carrier):
                reasoning += [text] if text else []
                further["reasoning_details"] += carried_details(carrier)
            case ToolCall():
                further["tool_calls"].append(_tool_call(part))
            case Media():
                image = _image(part)
                further["images"] += [] if image is None else [image]
            case _:
                pass
    has_content = content or not (further["tool_calls"] or refusals)
    message: Json = {
        "role": "assistant",
        "content": "".join(content) if has_content else None,
        "refusal": "".join(refusals) or None,
    }
    if reasoning:
        message[_REASONING_FIELD] = _BETWEEN_REASONING.join(reasoning)
    return message | {field: entries for field, entries in further.items() if entries}


def _tool_call(call: ToolCall) -> Json:
    """A whole call. Upstreams without ids leave it to us to give one."""
    id = call.id or new_id("call_")
    if call.kind == "custom":
        return {"id": id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": id, "type": "function", "function": function, **_extra_content(call.carrier)}


def _extra_content(carrier: Carrier | None) -> Json:
    """A call's signature, in the one place that chat clients know of and give back: Google's."""
    if carrier is None or carrier.origin not in ("gemini", FORMAT):
        return {}
    return {"extra_content": {"google": {"thought_signature": carrier.data}}}


def _image(part: Media) -> Json | None:
    """Not OpenAI's: where OpenRouter and Gemini's compatible servers put the images of an answer."""
    url = media.data_url(part) or part.url
    return {"type": "image_url", "image_url": {"url": url}} if part.kind == "image" and url else None

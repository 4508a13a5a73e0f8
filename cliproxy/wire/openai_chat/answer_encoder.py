"""Events, or a whole answer → Chat Completions chunks, or a completion."""

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cliproxy.wire import media
from cliproxy.wire.errors import GatewayError, UpstreamCut
from cliproxy.wire.fold import merge_usage
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
    FinishReason,
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
    UsageReport,
)
from cliproxy.wire.names import new_id
from cliproxy.wire.openai_chat.errors import encode_error
from cliproxy.wire.openai_chat.vocabulary import (
    DONE,
    FINISH_WORDS,
    FORMAT,
    carried_details,
    encode_usage,
    is_reported,
)
from cliproxy.wire.sse import frame

REASONING_FIELD = "reasoning_content"
"""OpenAI has no field for visible reasoning; of the common ones this is what clients read and give back."""

BETWEEN_REASONING = "\n\n"

COMMENT = b": keep-alive\n\n"


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


class AnswerEncoder:
    """Writes the chunks of one stream.

    request: the client's. model: the name that the client asked for.
    """

    def __init__(self, request: Request, model: str) -> None:
        self._model = model
        self._wants_usage = request.include_usage
        self._usage = Usage()
        self._head = b""
        self._open: dict[int, _Open] = {}
        self._content_chars = 0
        self._calls = 0
        self._annotations = 0
        self._images = 0
        self._has_reasoned = False
        self._ended = False
        self._writers: dict[type[Event], Callable[[Any], bytes]] = {
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

    def push(self, event: Event) -> bytes:
        """The bytes of one event; nothing after the end."""
        return b"" if self._ended else self._writers[type(event)](event)

    def finish(self) -> bytes:
        """End the stream: as cut off, unless Finish or Failure came."""
        return self.push(Failure(UpstreamCut("the upstream's answer ended before its end")))

    def ping(self) -> bytes:
        return b"" if self._ended else COMMENT

    # ------------------------------------------------------------ events

    def _start(self, event: Start) -> bytes:
        if event.usage is not None:
            merge_usage(self._usage, event.usage)
        self._head = b"data: " + dumps(_shell(event, self._model, "chat.completion.chunk"))[:-1] + b',"choices":['
        return self._chunk({"role": "assistant", "content": ""})

    def _part_start(self, event: PartStart) -> bytes:
        part = event.part
        match part:
            case Text():
                self._open[event.index] = self._opened(part, b'{"content":', b"}", offset=self._content_chars)
            case Reasoning():
                self._open[event.index] = self._opened(part, b'{"reasoning_content":', b"}")
                if self._has_reasoned:
                    return self._delta(Delta(event.index, BETWEEN_REASONING + part.text))
            case Refusal():
                self._open[event.index] = self._opened(part, b'{"refusal":', b"}")
            case ToolCall():
                return self._call_start(event.index, part)
            case Media():
                return self._image(part)
            case _:
                return b""
        return self._delta(Delta(event.index, part.text)) if part.text else b""

    def _opened(
        self,
        part: Text | Reasoning | Refusal | ToolCall,
        before: bytes,
        after: bytes,
        *,
        number: int = 0,
        offset: int = 0,
    ) -> _Open:
        before = self._head + b'{"index":0,"delta":' + before
        return _Open(part, before, after + b',"logprobs":null,"finish_reason":null}]}\n\n', number, offset)

    def _call_start(self, index: int, part: ToolCall) -> bytes:
        number, self._calls = self._calls, self._calls + 1
        key, field = ("custom", "input") if part.kind == "custom" else ("function", "arguments")
        before = f'{{"tool_calls":[{{"index":{number},"{key}":{{"{field}":'.encode()
        self._open[index] = self._opened(part, before, b"}}]}", number=number)
        call = _call(part)
        call[key][field] = ""
        chunk = self._chunk({"tool_calls": [{"index": number, **call}]})
        return chunk + self._delta(Delta(index, part.arguments)) if part.arguments else chunk

    def _delta(self, event: Delta) -> bytes:
        opened = self._open[event.index]
        opened.is_empty = False
        if type(opened.part) is Text:
            self._content_chars += len(event.text)
        return opened.before + dumps(event.text) + opened.after

    def _signed(self, event: Signed) -> bytes:
        opened = self._open[event.index]
        if isinstance(opened.part, ToolCall):
            extra = _extra_content(event.carrier)
            # The SDK's accumulator wants a function in every delta of a call.
            delta: Json = {"index": opened.number, "function": {"arguments": ""}, **extra}
            return self._chunk({"tool_calls": [delta]}) if extra and opened.part.kind == "function" else b""
        details = carried_details(event.carrier) if isinstance(opened.part, Reasoning) else []
        return self._chunk({"reasoning_details": details}) if details else b""

    def _cited(self, event: Cited) -> bytes:
        opened = self._open[event.index]
        annotation = _annotation(event.citation, opened.offset, self._content_chars)
        if annotation is None:
            return b""
        # The SDK's accumulator wants an index in every entry of a list.
        annotation["index"] = self._annotations
        self._annotations += 1
        return self._chunk({"annotations": [annotation]})

    def _image(self, part: Media) -> bytes:
        image = _image(part)
        if image is None:
            return b""
        image["index"] = self._images
        self._images += 1
        return self._chunk({"images": [image]})

    def _part_end(self, event: PartEnd) -> bytes:
        opened = self._open.pop(event.index, None)
        if opened is None:
            return b""
        if isinstance(opened.part, Reasoning):
            self._has_reasoned = self._has_reasoned or not opened.is_empty
        elif isinstance(opened.part, ToolCall) and opened.is_empty and opened.part.kind == "function":
            return opened.before + b'"{}"' + opened.after
        return b""

    def _usage_report(self, event: UsageReport) -> bytes:
        merge_usage(self._usage, event.usage)
        return b""

    def _finish(self, event: Finish) -> bytes:
        self._ended = True
        word = finish_word(event.reason, called=self._calls > 0)
        out = self._chunk({}, word)
        if self._wants_usage:
            out += self._head + b'],"usage":' + dumps(encode_usage(self._usage)) + b"}\n\n"
        return out + frame(DONE)

    def _failure(self, event: Failure) -> bytes:
        """No [DONE] behind it: some clients take that for a good end whatever came before."""
        self._ended = True
        return failure_frame(event.error)

    def _chunk(self, delta: Json, finish_word: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_word}
        return self._head + dumps(choice) + b"]}\n\n"


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """A whole completion. model: the name that the client asked for."""
    content: list[str] = []
    refusals: list[str] = []
    reasoning: list[str] = []
    details: list[Any] = []
    calls: list[Json] = []
    annotations: list[Json] = []
    images: list[Json] = []
    offset = 0
    for part in answer.parts:
        match part:
            case Text(text, citations):
                content.append(text)
                end = offset + len(text)
                annotations += [note for one in citations if (note := _annotation(one, offset, end)) is not None]
                offset = end
            case Refusal(text):
                refusals.append(text)
            case Reasoning(text, carrier):
                reasoning += [text] if text else []
                details += carried_details(carrier)
            case ToolCall():
                calls.append(_call(part))
            case Media():
                image = _image(part)
                images += [image] if image is not None else []
            case _:
                pass
    message: Json = {"role": "assistant", "content": "".join(content), "refusal": "".join(refusals) or None}
    if not content and (calls or refusals):
        message["content"] = None
    for field, value in (
        (REASONING_FIELD, BETWEEN_REASONING.join(reasoning)),
        ("reasoning_details", details),
        ("tool_calls", calls),
        ("annotations", annotations),
        ("images", images),
    ):
        if value:
            message[field] = value
    start = Start(answer.id, answer.model, answer.created_s)
    word = finish_word(answer.finish, called=bool(calls))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": word}
    completion = {**_shell(start, model, "chat.completion"), "choices": [choice]}
    if is_reported(answer.usage):
        completion["usage"] = encode_usage(answer.usage)
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


def finish_word(reason: FinishReason, *, called: bool) -> str:
    """Clients run calls only after `tool_calls`, and must not be sent looking for what is not there."""
    if reason in ("stop", "tool"):
        return "tool_calls" if called else "stop"
    return FINISH_WORDS[reason]


def _shell(start: Start, model: str, kind: str) -> Json:
    return shell(start, model, kind, "chatcmpl-")


def _call(call: ToolCall) -> Json:
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


def _annotation(citation: Citation, offset: int, end: int) -> Json | None:
    """offset, end: where the text that it belongs to stands in the content. Only web pages can be cited."""
    if citation.url is None:
        return None
    start = offset if citation.start is None else offset + citation.start
    end = end if citation.end is None else offset + citation.end
    source = {"url": citation.url, "title": citation.title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": source}


def _image(part: Media) -> Json | None:
    """Not OpenAI's: where OpenRouter and Gemini's compatible servers put the images of an answer."""
    url = media.data_url(part) or part.url
    return {"type": "image_url", "image_url": {"url": url}} if part.kind == "image" and url else None

"""Events, or an `Answer` → the chunks of a Gemini answer in either framing, or a whole one."""

from msgspec import Struct, field

from cliproxy.wire import stand_ins
from cliproxy.wire.gemini.errors import encode_error
from cliproxy.wire.gemini.grounding import GroundingWriter
from cliproxy.wire.gemini.vocabulary import FORMAT, finish_word, media_json, slot_text, usage_json
from cliproxy.wire.json import dumps, loads_object
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Failure,
    Finish,
    FinishReason,
    Json,
    Media,
    Opaque,
    Part,
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
)
from cliproxy.wire.names import new_id
from cliproxy.wire.streaming import StreamEncoder

_HEAD = b'{"candidates":[{"content":{"parts":[{"text":'
_TEXT_TAIL = b'}],"role":"model"},"index":0}],'
_THOUGHT_TAIL = b',"thought":true' + _TEXT_TAIL


class _OpenPart(Struct):
    """A part on its way."""

    part: Text | Reasoning | Refusal | ToolCall
    tail: bytes = b""
    """What follows its text in a chunk; empty where it goes out whole."""
    carrier: Carrier | None = None
    citations: list[Citation] = field(default_factory=list[Citation])
    pieces: list[str] = field(default_factory=list[str])


class AnswerEncoder(StreamEncoder):
    """Turns the events of one answer into a stream.

    request: the client's. model: the name that the client asked for. sse: False for a JSON array in place of
    server-sent events. Calls go out whole; those at the end of the answer go out with the chunk that ends it, as
    Gemini's own do.
    """

    def __init__(self, request: Request, model: str, sse: bool = True) -> None:
        super().__init__()
        self._model = model
        self._sse = sse
        self._begun = False
        """A chunk has gone out."""
        self._id = ""
        self._identity = b""
        """The end of each chunk."""
        self._open: dict[int, _OpenPart] = {}
        self._parts = _PartWriter()
        self._held: list[Json] = []
        """Calls that may be the last parts."""

    # ------------------------------------------------------------ events

    def _start(self, event: Start) -> None:
        self._id = event.id or new_id("")
        self._identity = dumps({"modelVersion": self._model, "responseId": self._id})[1:]

    def _part_start(self, event: PartStart) -> None:
        part, index = event.part, event.index
        match part:
            case Text(text, citations):
                self._open[index] = _OpenPart(part, tail=_TEXT_TAIL, citations=[*citations])
            case Refusal(text):
                self._open[index] = _OpenPart(part, tail=_TEXT_TAIL)
            case Reasoning(text):
                self._open[index] = _OpenPart(part, tail=_THOUGHT_TAIL)
            case ToolCall(arguments=text):
                self._open[index] = _OpenPart(part, carrier=part.carrier)
            case _:
                self._send(self._parts.written(part))
                return
        self._delta(Delta(index, text))

    def _delta(self, event: Delta) -> None:
        part = self._open.get(event.index)
        if part is None or not event.text:
            return
        part.pieces.append(event.text)
        if part.tail:
            self._release()
            self._chunk(_HEAD + dumps(event.text) + part.tail + self._identity)

    def _signed(self, event: Signed) -> None:
        part = self._open.get(event.index)
        if part is None:
            return
        part.carrier = event.carrier
        if isinstance(part.part, Text):
            self._send([_text_part("", event.carrier)])
        elif isinstance(part.part, Reasoning):
            self._send([_thought_part("", event.carrier)])

    def _cited(self, event: Cited) -> None:
        part = self._open.get(event.index)
        if part is not None:
            part.citations.append(event.citation)

    def _part_end(self, event: PartEnd) -> None:
        part = self._open.pop(event.index, None)
        if part is None:
            return
        said = "".join(part.pieces)
        match part.part:
            case ToolCall() as call:
                whole = ToolCall(call.id, call.name, said, call.kind, carrier=part.carrier)
                self._held += self._parts.written(whole)
            case Reasoning():
                self._parts.keep_token(said, part.carrier)
            case _:
                self._parts.cite(said, part.citations)

    def _finish(self, event: Finish) -> None:
        for index in list(self._open):
            self._part_end(PartEnd(index))
        candidate = _candidate(self._held, self._parts.grounding, event.reason, event.raw)
        self._chunk(dumps(_body(candidate, self._usage, self._model, self._id)))
        self._close()

    def _failure(self, event: Failure) -> None:
        self._chunk(dumps(encode_error(event.error)[1]))
        self._close()

    # ------------------------------------------------------------ chunks

    def _send(self, parts: list[Json]) -> None:
        if parts:
            self._release()
            candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
            self._chunk(dumps({"candidates": [candidate]})[:-1] + b"," + self._identity)

    def _release(self) -> None:
        """Send the calls that were held back, because something comes after them."""
        if self._held:
            held, self._held = self._held, []
            self._send(held)

    def _chunk(self, chunk: bytes) -> None:
        # Google's older Python SDKs and other clients end lines at these three too, even inside JSON.
        if b"\xe2\x80" in chunk:
            chunk = chunk.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        if b"\xc2\x85" in chunk:
            chunk = chunk.replace(b"\xc2\x85", b"\\u0085")
        if self._sse:
            self._out.append(b"data: " + chunk + b"\n\n")
        else:
            self._out.append((b",\n" if self._begun else b"[") + chunk)
        self._begun = True

    def _close(self) -> None:
        if not self._sse:
            self._out.append(b"]")


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """The whole body, `model` being the name that the client asked for."""
    writer = _PartWriter()
    parts = [written for part in answer.parts for written in writer.written(part)]
    candidate = _candidate(parts, writer.grounding, answer.finish, answer.raw_finish)
    return _body(candidate, answer.usage, model, answer.id or new_id(""))


# ---------------------------------------------------------------- whole parts


class _PartWriter:
    """Writes whole parts, and collects what Gemini says beside the parts."""

    def __init__(self) -> None:
        self.grounding = GroundingWriter()
        self._token: Carrier | None = None

    def written(self, part: Part) -> list[Json]:
        match part:
            case Text(text, citations, carrier):
                self.cite(text, citations)
                return [_text_part(text, carrier)] if text or carrier is not None else []
            case Refusal(text):
                return [{"text": text}] if text else []
            case Reasoning(text, carrier):
                self.keep_token(text, carrier)
                return [_thought_part(text, carrier)] if text or carrier is not None else []
            case ToolCall():
                return [self._call_part(part)]
            case Media():
                return [_media(part)]
            case Opaque() | ServerCall() | ServerResult() if part.origin == FORMAT and part.raw is not None:
                return [part.raw]
            case ServerCall(name="web_search"):
                self.grounding.add_call(part)
            case ServerResult(name="web_search"):
                self.grounding.add_result(part)
            case _:
                pass
        return []

    def cite(self, text: str, citations: list[Citation]) -> None:
        for citation in citations:
            self.grounding.add_citation(citation, text)

    def keep_token(self, text: str, carrier: Carrier | None) -> None:
        """Note another vendor's reasoning that is nothing but its token, for the next call to carry too.

        Gemini CLI forgets thoughts and brings back the signatures of calls.
        """
        if carrier is not None and carrier.origin != FORMAT and (carrier.kind != "signature" or not text):
            self._token = carrier

    def _call_part(self, call: ToolCall) -> Json:
        carrier, self._token = call.carrier or self._token, None
        part: Json = {"functionCall": {"id": call.id, "name": call.name, "args": _arguments(call)}}
        return _signed(part, carrier)


def _arguments(call: ToolCall) -> Json:
    if call.kind == "custom":
        return stand_ins.custom_tool_arguments(call.arguments)
    try:
        return loads_object(call.arguments, "the arguments")
    except ValueError:
        return {}


def _media(part: Media) -> Json:
    return media_json(part) if part.text is None else {"text": stand_ins.titled(part.name, part.text)}


def _text_part(text: str, carrier: Carrier | None) -> Json:
    return _signed({"text": text}, carrier)


def _thought_part(text: str, carrier: Carrier | None) -> Json:
    return _signed({"text": text, "thought": True}, carrier)


def _signed(part: Json, carrier: Carrier | None) -> Json:
    if carrier is not None:
        part["thoughtSignature"] = slot_text(carrier)
    return part


def _candidate(parts: list[Json], grounding: GroundingWriter, reason: FinishReason, raw: str | None) -> Json:
    """The candidate that ends an answer. It has a part even if there is nothing to say: SDKs look for one."""
    content = {"parts": parts or [{"text": ""}], "role": "model"}
    candidate: Json = {"content": content, "finishReason": finish_word(reason, raw), "index": 0}
    metadata = grounding.metadata()
    if metadata is not None:
        candidate["groundingMetadata"] = metadata
    return candidate


def _body(candidate: Json, usage: Usage, model: str, id: str) -> Json:
    return {
        "candidates": [candidate],
        "usageMetadata": usage_json(usage),
        "modelVersion": model,
        "responseId": id,
    }

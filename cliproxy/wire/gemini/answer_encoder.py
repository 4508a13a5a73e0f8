"""Events as Gemini's answer: a stream of chunks in either framing, or one whole body."""

from msgspec import Struct, field

from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamCut
from cliproxy.wire.fold import merge_usage
from cliproxy.wire.gemini.errors import encode_error
from cliproxy.wire.gemini.grounding import GroundingWriter
from cliproxy.wire.gemini.vocabulary import FORMAT, finish_word, media_part, signature_of, usage_metadata
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
    UsageReport,
)
from cliproxy.wire.names import new_id

_HEAD = b'{"candidates":[{"content":{"parts":[{"text":'
_TEXT_TAIL = b'}],"role":"model"},"index":0}],'
_THOUGHT_TAIL = b',"thought":true' + _TEXT_TAIL


class AnswerEncoder:
    """Writes the stream of one answer.

    model: the name that the client asked for. sse: False for a JSON array in place of server-sent events.
    Calls go out whole; those at the end of the answer go out with the chunk that ends it, as Gemini's own do.
    """

    def __init__(self, request: Request, model: str, sse: bool = True) -> None:
        self._sse = sse
        self._begun = False
        self._over = False
        self._model = model
        self._id = ""
        self._identity = b""
        self._open: dict[int, _OpenPart] = {}
        self._parts = _Parts()
        self._held: list[Json] = []
        self._usage = Usage()

    def push(self, event: Event) -> bytes:
        """The bytes for one more event of the answer; often none."""
        if self._over:
            return b""
        match event:
            case Delta():
                return self._on_delta(event)
            case PartStart():
                return self._on_part_start(event)
            case PartEnd():
                return self._on_part_end(event)
            case Signed():
                return self._on_signed(event)
            case Cited():
                return self._on_cited(event)
            case Start():
                return self._on_start(event)
            case UsageReport():
                return self._on_usage_report(event)
            case Finish():
                return self._on_finish(event)
            case Failure():
                return self._on_failure(event)

    def finish(self) -> bytes:
        """The end of the answer, if it has not come: as of one that was cut."""
        return self.push(Failure(UpstreamCut("the upstream's answer ended before its end")))

    def ping(self) -> bytes:
        """Nothing: Google's SDKs fail on comments."""
        return b""

    # ------------------------------------------------------------ events

    def _on_start(self, event: Start) -> bytes:
        self._id = event.id or new_id("")
        self._identity = json.dumps({"modelVersion": self._model, "responseId": self._id})[1:]
        if event.usage is not None:
            merge_usage(self._usage, event.usage)
        return b""

    def _on_part_start(self, event: PartStart) -> bytes:
        part = event.part
        match part:
            case Text(text, citations):
                self._open[event.index] = _OpenPart(part, tail=_TEXT_TAIL, citations=[*citations])
            case Reasoning(text):
                self._open[event.index] = _OpenPart(part, tail=_THOUGHT_TAIL)
            case Refusal(text):
                self._open[event.index] = _OpenPart(part, tail=_TEXT_TAIL)
            case ToolCall():
                self._open[event.index] = _OpenPart(part, carrier=part.carrier)
                text = part.arguments
            case _:
                return self._send_parts(self._parts.written(part))
        return self._on_delta(Delta(event.index, text))

    def _on_delta(self, event: Delta) -> bytes:
        part = self._open.get(event.index)
        if part is None or not event.text:
            return b""
        part.pieces.append(event.text)
        if not part.tail:
            return b""
        return self._release() + self._framed(_HEAD + json.dumps(event.text) + part.tail + self._identity)

    def _on_signed(self, event: Signed) -> bytes:
        part = self._open.get(event.index)
        if part is None:
            return b""
        part.carrier = event.carrier
        match part.part:
            case Text():
                return self._send_parts([_text_part("", event.carrier)])
            case Reasoning():
                return self._send_parts([_thought_part("", event.carrier)])
            case _:
                return b""

    def _on_cited(self, event: Cited) -> bytes:
        part = self._open.get(event.index)
        if part is not None:
            part.citations.append(event.citation)
        return b""

    def _on_part_end(self, event: PartEnd) -> bytes:
        part = self._open.pop(event.index, None)
        if part is None:
            return b""
        said = "".join(part.pieces)
        match part.part:
            case ToolCall() as call:
                whole = ToolCall(call.id, call.name, said, call.kind, carrier=part.carrier)
                self._held.extend(self._parts.written(whole))
            case Reasoning():
                self._parts.keep_token(said, part.carrier)
            case _:
                self._parts.cite(said, part.citations)
        return b""

    def _on_usage_report(self, event: UsageReport) -> bytes:
        merge_usage(self._usage, event.usage)
        return b""

    def _on_finish(self, event: Finish) -> bytes:
        for index in list(self._open):
            self._on_part_end(PartEnd(index))
        candidate = _candidate(self._held, self._parts.grounding, event.reason, event.raw)
        self._over = True
        return self._framed(json.dumps(_body(candidate, self._usage, self._model, self._id))) + self._closed()

    def _on_failure(self, event: Failure) -> bytes:
        self._over = True
        return self._framed(json.dumps(encode_error(event.error)[1])) + self._closed()

    # ------------------------------------------------------------ bytes

    def _send_parts(self, parts: list[Json]) -> bytes:
        if not parts:
            return b""
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
        chunk = json.dumps({"candidates": [candidate]})[:-1] + b"," + self._identity
        return self._release() + self._framed(chunk)

    def _release(self) -> bytes:
        """The calls that were held back, because something comes after them."""
        if not self._held:
            return b""
        held, self._held = self._held, []
        return self._send_parts(held)

    def _framed(self, chunk: bytes) -> bytes:
        # Google's older Python SDKs and other clients end lines at these three too, even inside JSON.
        if b"\xe2\x80" in chunk:
            chunk = chunk.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        if b"\xc2\x85" in chunk:
            chunk = chunk.replace(b"\xc2\x85", b"\\u0085")
        if self._sse:
            return b"data: " + chunk + b"\n\n"
        separator = b",\n" if self._begun else b"["
        self._begun = True
        return separator + chunk

    def _closed(self) -> bytes:
        return b"" if self._sse else b"]"


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """Write a whole answer."""
    writer = _Parts()
    parts = [written for part in answer.parts for written in writer.written(part)]
    candidate = _candidate(parts, writer.grounding, answer.finish, answer.raw_finish)
    return _body(candidate, answer.usage, model, answer.id or new_id(""))


class _OpenPart(Struct):
    """A part on its way. tail: what follows its text in a chunk; empty where it goes out whole."""

    part: Text | Reasoning | Refusal | ToolCall
    tail: bytes = b""
    carrier: Carrier | None = None
    citations: list[Citation] = field(default_factory=list[Citation])
    pieces: list[str] = field(default_factory=list[str])


class _Parts:
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
                return [media_part(part)]
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
        return {"input": call.arguments}
    try:
        return json.loads_object(call.arguments, "the arguments")
    except (ValueError, RecursionError):
        return {}


def _text_part(text: str, carrier: Carrier | None) -> Json:
    return _signed({"text": text}, carrier)


def _thought_part(text: str, carrier: Carrier | None) -> Json:
    return _signed({"text": text, "thought": True}, carrier)


def _signed(part: Json, carrier: Carrier | None) -> Json:
    if carrier is not None:
        part["thoughtSignature"] = signature_of(carrier)
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
        "usageMetadata": usage_metadata(usage),
        "modelVersion": model,
        "responseId": id,
    }

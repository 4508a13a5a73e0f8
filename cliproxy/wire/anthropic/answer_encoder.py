"""Events, or an `Answer` → the stream events of a message, or a whole one."""

from msgspec.structs import replace

from cliproxy.wire import media, names, stand_ins
from cliproxy.wire.anthropic.errors import encode_error
from cliproxy.wire.anthropic.vocabulary import (
    FORMAT,
    ID_LIMIT,
    NAME_CHARS,
    citation_json,
    finish_word,
    search_result_json,
    slot_text,
    usage_json,
)
from cliproxy.wire.json import dumps, dumps_text, loads_object
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Cited,
    Delta,
    Failure,
    Finish,
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
from cliproxy.wire.sse import frame
from cliproxy.wire.streaming import StreamEncoder

_STOP = frame(b'{"type":"message_stop"}', "message_stop")
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%s,%s:'
_DELTA_END = b"}}\n\n"

# What a sort of block is called, and the name and member of its deltas.
_TEXT = (b'"text_delta"', b'"text"')
_THINKING = (b'"thinking_delta"', b'"thinking"')
_ARGUMENTS = (b'"input_json_delta"', b'"partial_json"')


type _PartEvent = PartStart | Delta | Signed | Cited | PartEnd
_PART_EVENTS: tuple[type[_PartEvent], ...] = (PartStart, Delta, Signed, Cited, PartEnd)


class _Part:
    """A part of the answer on its way out. Its block opens when the first thing that shapes it is known."""

    __slots__ = ("block", "carrier", "held", "part", "prefix")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.block = -1
        """Index of its content block, -1 while that is not open."""
        self.prefix = b""
        """The bytes of a delta before its text."""
        self.held: list[str] = []
        """Arguments that are not written yet."""
        self.carrier: Carrier | None = None


class AnswerEncoder(StreamEncoder):
    """Turns the events of one answer into a stream.

    request: the client's. model: the name that the client asked for. The API knows no interleaving: while one part is
    open, events of the others wait.
    """

    PING = frame(b'{"type":"ping"}', "ping")

    def __init__(self, request: Request, model: str) -> None:
        super().__init__()
        self._model = model
        self._begun = False
        self._blocks = 0
        self._called = False
        self._current: int | None = None
        """Index of the part whose turn it is."""
        self._open: _Part | None = None
        self._waiting: dict[int, list[_PartEvent]] = {}
        self._part_handlers = self._handlers
        self._handlers = {**self._handlers, **dict.fromkeys(_PART_EVENTS, self._route)}

    # ------------------------------------------------------------ events of the message

    def _start(self, event: Start) -> None:
        if not self._begun:
            self._begun = True
            message = _message(event.id, self._model, [], None, None, self._usage)
            self._emit({"type": "message_start", "message": message})

    def _finish(self, event: Finish) -> None:
        self._start(Start())
        self._flush()
        word = finish_word(event.reason, called=self._called)
        sequence = event.stop_sequence if word == "stop_sequence" else None
        delta = {"stop_reason": word, "stop_sequence": sequence}
        self._emit({"type": "message_delta", "delta": delta, "usage": _delta_usage(self._usage)})
        self._out.append(_STOP)

    def _failure(self, event: Failure) -> None:
        self._out.append(frame(dumps(encode_error(event.error)[1]), "error"))

    # ------------------------------------------------------------ events of parts, one at a time

    def _route(self, event: _PartEvent) -> None:
        if self._current is None:
            self._start(Start())
            self._current = event.index
        if event.index == self._current:
            self._part_handlers[type(event)](event)
            self._advance()
        else:
            self._waiting.setdefault(event.index, []).append(event)

    def _advance(self) -> None:
        """Once the open part has ended, let those speak that have waited, the longest first."""
        while self._current is None and self._waiting:
            self._current = next(iter(self._waiting))
            for event in self._waiting.pop(self._current):
                self._part_handlers[type(event)](event)

    def _flush(self) -> None:
        """Close what an ending finds open."""
        while self._current is not None:
            self._part_end(PartEnd(self._current))
            self._advance()

    def _part_start(self, event: PartStart) -> None:
        part = event.part
        if isinstance(part, ToolCall):
            part = _identified(part)
        shown = self._open = _Part(part)
        match part:
            case Text(text) | Refusal(text) | Reasoning(text):
                if text:
                    self._say(shown, text)
            case ToolCall():
                self._called = True
                shown.carrier = part.carrier
                if part.arguments:
                    self._argue(shown, part, part.arguments)
            case _:
                for block in _whole_blocks(part):
                    self._block(block)
        if isinstance(part, Reasoning):
            shown.carrier = part.carrier

    def _delta(self, event: Delta) -> None:
        shown = self._open
        if shown is None or not event.text:
            return
        if shown.block >= 0:
            self._out.append(shown.prefix + dumps(event.text) + _DELTA_END)
        elif isinstance(shown.part, ToolCall):
            self._argue(shown, shown.part, event.text)
        else:
            self._say(shown, event.text)

    def _signed(self, event: Signed) -> None:
        # A text's own signature is not written: Gemini can do without it, and a block behind the last text
        # would hide that text from clients that show the last block.
        if self._open is not None:
            self._open.carrier = event.carrier

    def _cited(self, event: Cited) -> None:
        shown = self._open
        citation = citation_json(event.citation)
        if shown is None or citation is None or not isinstance(shown.part, Text):
            return
        if shown.block < 0:
            self._begin(shown, {"type": "text", "text": ""}, _TEXT)
        self._block_delta(shown.block, {"type": "citations_delta", "citation": citation})

    def _part_end(self, event: PartEnd) -> None:
        shown, self._open, self._current = self._open, None, None
        if shown is None:
            return
        if isinstance(shown.part, ToolCall):
            self._end_call(shown, shown.part)
        elif isinstance(shown.part, Reasoning):
            self._end_reasoning(shown)
        elif shown.block >= 0:
            self._stop(shown.block)

    def _end_call(self, shown: _Part, call: ToolCall) -> None:
        if shown.block < 0:
            arguments = _input("".join(shown.held), custom=call.kind == "custom")
            self._write_arguments(shown, call, dumps_text(arguments))
        self._stop(shown.block)
        if shown.carrier is not None:
            # It came too late to stand before the call.
            self._block(_apart(call, shown.carrier))

    def _end_reasoning(self, shown: _Part) -> None:
        carrier = shown.carrier
        if shown.block < 0:
            if carrier is None:
                return
            if carrier.kind != "signature":
                self._block(_redacted(carrier))
                return
            self._begin(shown, {"type": "thinking", "thinking": "", "signature": ""}, _THINKING)
        # Clients take a thinking block without a signature for a broken one; an empty one is none.
        signature = "" if carrier is None else slot_text(carrier)
        self._block_delta(shown.block, {"type": "signature_delta", "signature": signature})
        self._stop(shown.block)

    # ------------------------------------------------------------ blocks

    def _emit(self, payload: Json) -> None:
        self._out.append(frame(dumps(payload), payload["type"]))

    def _say(self, shown: _Part, text: str) -> None:
        if shown.block < 0:
            if isinstance(shown.part, Text | Refusal):
                self._begin(shown, {"type": "text", "text": ""}, _TEXT)
            elif isinstance(shown.part, Reasoning):
                self._begin(shown, {"type": "thinking", "thinking": "", "signature": ""}, _THINKING)
            else:
                return
        self._out.append(shown.prefix + dumps(text) + _DELTA_END)

    def _argue(self, shown: _Part, call: ToolCall, text: str) -> None:
        """Write arguments through once they show to be an object's; anything else is judged at its end.

        An object that is whole already waits for that end too: its signature may yet come, to go before it.
        """
        shown.held.append(text)
        arguments = "".join(shown.held).lstrip()
        if call.kind == "function" and arguments.startswith("{") and not _is_object(arguments):
            self._write_arguments(shown, call, arguments)

    def _write_arguments(self, shown: _Part, call: ToolCall, arguments: str) -> None:
        if shown.carrier is not None:
            self._block(_apart(call, shown.carrier))
            shown.carrier = None
        self._begin(shown, _tool_use(call, {}), _ARGUMENTS)
        self._out.append(shown.prefix + dumps(arguments) + _DELTA_END)

    def _begin(self, shown: _Part, block: Json, sort: tuple[bytes, bytes]) -> None:
        shown.block = self._blocks
        shown.prefix = _DELTA % (shown.block, *sort)
        self._blocks += 1
        self._emit({"type": "content_block_start", "index": shown.block, "content_block": block})

    def _block(self, block: Json) -> None:
        """Write a whole block at once."""
        index = self._blocks
        self._blocks += 1
        start: Json = block
        delta: Json | None = None
        kind = block.get("type")
        if kind == "text":
            start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        elif kind == "server_tool_use":
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": dumps_text(block["input"])}
        self._emit({"type": "content_block_start", "index": index, "content_block": start})
        if delta is not None:
            self._block_delta(index, delta)
        self._stop(index)

    def _block_delta(self, index: int, delta: Json) -> None:
        self._emit({"type": "content_block_delta", "index": index, "delta": delta})

    def _stop(self, index: int) -> None:
        self._emit({"type": "content_block_stop", "index": index})


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """The whole body, `model` being the name that the client asked for."""
    content = [block for part in answer.parts for block in _whole_blocks(part)]
    word = finish_word(answer.finish, called=any(isinstance(part, ToolCall) for part in answer.parts))
    sequence = answer.stop_sequence if word == "stop_sequence" else None
    return _message(answer.id, model, content, word, sequence, answer.usage)


def _message(id: str, model: str, content: list[Json], reason: str | None, sequence: str | None, usage: Usage) -> Json:
    return {
        "id": id if id.startswith("msg_") else f"msg_{id}" if id else names.new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage_json(usage),
    }


def _delta_usage(usage: Usage) -> Json:
    """Counts of the whole answer. Only reported ones: clients let them replace those of the start."""
    counts = usage_json(usage)
    unreported = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }
    return {key: count for key, count in counts.items() if unreported.get(key, 0) is not None}


# ---------------------------------------------------------------- parts as blocks


def _whole_blocks(part: Part) -> list[Json]:
    """The blocks of a part that is known in full."""
    match part:
        case Text(text, citations):
            shown = [raw for citation in citations if (raw := citation_json(citation)) is not None]
            block: Json = {"type": "text", "text": text, **({"citations": shown} if shown else {})}
            return [block] if text or shown else []
        case Refusal(text):
            return [{"type": "text", "text": text}] if text else []
        case Reasoning(text, carrier):
            return _reasoning_blocks(text, carrier)
        case ToolCall(_, _, arguments, kind):
            call = _identified(part)
            block = _tool_use(call, _input(arguments, custom=kind == "custom"))
            return [block] if call.carrier is None else [_apart(call, call.carrier), block]
        case Media():
            return _media_blocks(part)
        case ServerCall() | ServerResult():
            return _server_blocks(part)
        case Opaque(origin, raw):
            return [raw] if origin == FORMAT else []
        case _:
            return []


def _reasoning_blocks(text: str, carrier: Carrier | None) -> list[Json]:
    if not text and carrier is None:
        return []
    if not text and carrier is not None and carrier.kind != "signature":
        return [_redacted(carrier)]
    signature = "" if carrier is None else slot_text(carrier)
    return [{"type": "thinking", "thinking": text, "signature": signature}]


def _redacted(carrier: Carrier) -> Json:
    return {"type": "redacted_thinking", "data": slot_text(carrier)}


def _apart(call: ToolCall, carrier: Carrier) -> Json:
    """The signature of a call, for which its own block has no slot: the client returns it beside the call."""
    return _redacted(Carrier(carrier.origin, carrier.kind, carrier.data, call.id))


def _identified(call: ToolCall) -> ToolCall:
    id = names.call_id(call.id, ID_LIMIT, NAME_CHARS, "toolu_")
    return call if id == call.id else replace(call, id=id)


def _tool_use(call: ToolCall, input: Json) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": input}


def _is_object(arguments: str) -> bool:
    """Whether the arguments are complete; only what ends like an object is looked into."""
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        loads_object(arguments, "the arguments")
    except ValueError:
        return False
    return True


def _input(arguments: str, *, custom: bool) -> Json:
    """The arguments as the object that this API demands; what is none cannot be used by anybody."""
    if custom:
        return stand_ins.custom_tool_arguments(arguments)
    try:
        return loads_object(arguments, "the arguments")
    except ValueError:
        return {}


def _media_blocks(part: Media) -> list[Json]:
    """Answers of this API hold no media; Markdown is what its clients can show."""
    address = part.url or media.data_url(part)
    if address is None:
        return []
    mark = "!" if part.kind == "image" else ""
    return [{"type": "text", "text": f"{mark}[{part.name or part.kind}]({address})"}]


def _server_blocks(part: ServerCall | ServerResult) -> list[Json]:
    """Blocks of a web search; what else ran at other vendors has no block here."""
    if part.origin == FORMAT and part.raw is not None:
        return [part.raw]
    if part.name != "web_search":
        return []
    id = part.id if part.id.startswith("srvtoolu_") else f"srvtoolu_{part.id}"
    if isinstance(part, ServerCall):
        return [{"type": "server_tool_use", "id": id, "name": part.name, "input": part.input}]
    return [search_result_json(part, id)]

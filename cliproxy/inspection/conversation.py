"""A request or an answer as a conversation, whatever its format: who said what, what was called, what it cost."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec

from cliproxy.inspection.body import (
    Frame,
    frames,
    is_stream,
    json_object,
    opened_answer,
    opened_request,
)
from cliproxy.inspection.deltas import joined
from cliproxy.inspection.outline import Entries, Entry, clipped, outline, size_text
from cliproxy.usage.prices import cost_usd
from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError, UpstreamGarbled
from cliproxy.wire.fields import text_of
from cliproxy.wire.fold import Fold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Event,
    Failure,
    Format,
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
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Usage,
)
from cliproxy.wire.openai_chat.vocabulary import REASONING_FIELDS
from cliproxy.wire.sse import frame
from cliproxy.wire.translation import CODECS

RECENT_TURNS = 8
"""The last turns are shown at length; an agent sends all that came before with each request."""
RECENT_CHARACTERS, EARLIER_CHARACTERS = 8000, 400
"""Of each text."""
SYSTEM_CHARACTERS = 3000
_SHOWN_ID_CHARACTERS, _WHOLE_ID_CHARACTERS = 8, 12
_NO_MODEL = "no model"


class Answered(msgspec.Struct, frozen=True):
    """What is known of an answer beside its body."""

    status: int = 200
    content_type: str | None = None
    """Without parameters."""
    provider: str = ""
    """Who answered; for the price."""
    model: str = ""
    """As the upstream calls it; for the price."""
    left_out_bytes: int = 0
    """How much of the body's beginning is not there any more."""
    is_complete: bool = True
    """Nothing more will come."""


def request_text(format_: Format, data: bytes, model: str = "") -> str | None:
    """None where the body is no request of the format. model: where the path names it."""
    request = decoded_request(format_, data, model)
    return outline(_request_entries(format_, request), RECENT_CHARACTERS) if request else None


def decoded_request(format_: Format, data: bytes, model: str = "") -> Request | None:
    """A request out of its envelope; None where the body is none of the format. model: where the path names it."""
    body = json_object(data)
    if body is None:
        return None
    body = opened_request(body)
    try:
        request = CODECS[format_].decode_request(body, model=text_of(body, "model") or model or _NO_MODEL)
    except (GatewayError, ValueError, RecursionError):
        return None
    # A request for nothing is a body of another kind, of which this format knows no field.
    return request if request.turns or request.system else None


def answer_text(format_: Format, data: bytes, answered: Answered) -> str | None:
    """None where the body is no answer of the format."""
    if answered.status >= 400:
        return _error_text(format_, data, answered.status)
    if is_stream(data, answered.content_type):
        return _stream_text(format_, data, answered)
    body = json_object(data)
    if body is None:
        return None
    try:
        answer = CODECS[format_].decode_answer(opened_answer(body))
    except GatewayError as error:
        return _error_text(format_, data, error.status) if "error" in body else None
    except (ValueError, RecursionError):
        return None
    return _answer_text(format_, answer, answered)


# ---------------------------------------------------------------- requests


def _request_entries(format_: Format, request: Request) -> Iterator[Entry]:
    streamed = ", streamed" if request.stream else ""
    turns = "1 turn" if len(request.turns) == 1 else f"{len(request.turns)} turns"
    yield Entry("request", f"{request.model} ({format_}{streamed}), {turns}")
    if settings := _settings(request):
        yield Entry("settings", settings)
    if request.tools:
        names = [tool.name if isinstance(tool, Tool) else f"{tool.name} (at the vendor)" for tool in request.tools]
        yield Entry(f"tools, {len(names)}", names)
    if request.system:
        texts = "\n\n".join(part.text if isinstance(part, Text) else str(_plain_part(part)) for part in request.system)
        yield Entry("system", clipped(texts, SYSTEM_CHARACTERS))
    yield from _turns(request.turns)


def _settings(request: Request) -> dict[str, Any]:
    """What the request says beside the conversation, without what it leaves to the model."""
    said: dict[str, Any] = _said(request.sampling)
    if request.reasoning:
        said["reasoning"] = _said(request.reasoning)
    if request.output and request.output.kind != "text":
        said["output"] = request.output.name or request.output.kind
    if request.tool_choice:
        choice = request.tool_choice
        said["tool_choice"] = ", ".join([choice.mode, *choice.names])
    for name in ("verbosity", "service_tier", "cache_key", "previous_response_id", "parallel_calls", "store", "user"):
        if (value := getattr(request, name)) is not None:
            said[name] = value
    return said


def _said(settings: msgspec.Struct) -> dict[str, Any]:
    fields = cast("dict[str, Any]", msgspec.to_builtins(settings))
    return {name: value for name, value in fields.items() if value is not None and value is not False}


def _turns(turns: Sequence[Turn]) -> Iterator[Entry]:
    names = {part.id: part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall)}
    recent = len(turns) - RECENT_TURNS
    for number, turn in enumerate(turns):
        limit = RECENT_CHARACTERS if number >= recent else EARLIER_CHARACTERS
        yield Entry(turn.role, _parts(turn.parts, names, limit))


def _parts(parts: Sequence[Part], names: dict[str, str], limit: int) -> Entries | str:
    match parts:
        case [Text(text)]:
            return clipped(text, limit)
        case []:
            return ""
        case _:
            return [_part(part, names, limit) for part in parts]


def _part(part: Part, names: dict[str, str], limit: int) -> Entry:
    match part:
        case Text():
            return _text_entry(part, limit)
        case Refusal(text):
            return Entry("refusal", clipped(text, limit))
        case Reasoning():
            return _reasoning_entry(part, limit)
        case Media():
            return Entry(part.kind, _media(part, limit))
        case ToolCall():
            name = f"{part.namespace}.{part.name}" if part.namespace else part.name
            return Entry(f"call {name}{_id(part.id)}", _arguments(part, limit))
        case ToolResult():
            of = part.name or names.get(part.id, "")
            kind = "failed result" if part.is_error else "result"
            said = _parts(part.parts, names, limit)
            return Entry(f"{kind} of {of or 'a call'}{_id(part.id)}", said)
        case ServerCall():
            return Entry(f"call {part.name} at the vendor{_id(part.id)}", _shortened(part.input, limit))
        case ServerResult():
            sources = [source.url or source.title or "" for source in part.sources]
            return Entry(f"result of {part.name} at the vendor{_id(part.id)}", sources or _shortened(part.raw, limit))
        case Opaque(raw=raw):
            return Entry(str(raw.get("type") or "something else"), _shortened(raw, limit))


def _text_entry(part: Text, limit: int) -> Entry:
    name = "text" if part.cache is None else "text, cached up to here"
    text = clipped(part.text, limit)
    if not part.citations:
        return Entry(name, text)
    sources = [source.url or source.title or source.quote or "" for source in part.citations]
    return Entry(name, [Entry("says", text), Entry("cites", list(dict.fromkeys(sources)))])


def _reasoning_entry(part: Reasoning, limit: int) -> Entry:
    sealed = _sealed(part.carrier)
    if not part.text:
        return Entry("reasoning", sealed or "not shown")
    return Entry(f"reasoning, {sealed}" if sealed else "reasoning", clipped(part.text, limit))


def _sealed(carrier: Carrier | None) -> str:
    match carrier:
        case None:
            return ""
        case Carrier(data=field) if field in REASONING_FIELDS:
            # Nothing is signed: it only says where a chat upstream put its reasoning.
            return ""
        case Carrier(kind="signature"):
            return "signed"
        case Carrier():
            return f"{carrier.kind} in {len(carrier.data):,} characters"


def _media(media: Media, limit: int) -> str:
    kind = f"{media.mime or media.kind}{f' {media.name}' if media.name else ''}"
    if media.data is not None:
        return f"{kind}, {size_text(len(media.data) * 3 // 4)}"
    if media.text is not None:
        return f"{kind}:\n{clipped(media.text, limit)}"
    return f"{kind} at {clipped(media.url, 200)}" if media.url else f"{kind}, file {media.file_id}"


def _arguments(call: ToolCall, limit: int) -> Any:
    """What a tool is called with; text where it is no JSON, or not all of it."""
    if call.kind == "custom":
        return clipped(call.arguments, limit)
    try:
        return _shortened(json.loads(call.arguments or "{}"), limit)
    except ValueError:
        return clipped(call.arguments, limit)


def _plain_part(part: Media | Opaque) -> str:
    return _media(part, SYSTEM_CHARACTERS) if isinstance(part, Media) else json.dumps_text(part.raw)


def _shortened(value: Any, limit: int, depth: int = 0) -> Any:
    """A JSON value with its texts cut to size."""
    match value:
        case str():
            return clipped(value, limit)
        case dict() if depth < 12:
            members = cast("dict[str, Any]", value)
            return {name: _shortened(each, limit, depth + 1) for name, each in members.items()}
        case list() if depth < 12:
            return [_shortened(each, limit, depth + 1) for each in cast("list[Any]", value)]
        case dict() | list():
            return "…"
        case _:
            return value


def _id(id_: str) -> str:
    """Enough of a call's id to find its result."""
    if not id_:
        return ""
    return f" ({id_})" if len(id_) <= _WHOLE_ID_CHARACTERS else f" (…{id_[-_SHOWN_ID_CHARACTERS:]})"


# ---------------------------------------------------------------- answers


def _answer_text(format_: Format, answer: Answer, answered: Answered, *notes: Entry, ended: bool = True) -> str:
    head = Entry("answer", f"{answer.model or answered.model or _NO_MODEL} ({format_})")
    body = _part_entries(answer.parts)
    tail = list(notes)
    if ended:
        theirs = f" ({answer.raw_finish})" if answer.raw_finish not in (None, answer.finish) else ""
        tail.append(Entry("finish", f"{answer.finish}{theirs}"))
    return outline([head, *body, *tail, *_usage_entries(answer, answered)], RECENT_CHARACTERS)


def _part_entries(parts: Iterable[Part]) -> list[Entry]:
    return [_part(part, {}, RECENT_CHARACTERS) for part in parts]


def _usage_entries(answer: Answer, answered: Answered) -> Iterator[Entry]:
    if not (words := usage_text(answer.usage)):
        return
    yield Entry("usage", words)
    cost = cost_usd(answered.provider, answered.model or answer.model, answer.usage)
    if cost is not None:
        yield Entry("cost", f"${cost:.6f} at list price")


def usage_text(usage: Usage) -> str:
    """`1,200 input + 800 from the cache + 350 output tokens, 120 of them reasoning`; empty where nothing is known."""
    counts = (
        (usage.input, "input"),
        (usage.cache_read, "from the cache"),
        (usage.cache_write, "into the cache"),
        (usage.output, "output"),
    )
    said = [f"{count:,} {what}" for count, what in counts if count or (count == 0 and what in ("input", "output"))]
    if not said:
        return ""
    reasoning = f", {usage.reasoning:,} of them reasoning" if usage.reasoning else ""
    return f"{' + '.join(said)} tokens{reasoning}"


def _error_text(format_: Format, data: bytes, status: int) -> str:
    error = CODECS[format_].decode_error(status, {}, data)
    return outline([_error_entry(error)])


def _error_entry(error: GatewayError) -> Entry:
    said: dict[str, Any] = {"status": error.status, "code": error.code, "kind": error.kind, "param": error.param}
    known = {name: value for name, value in said.items() if value is not None}
    if error.retry_after_s is not None:
        known["retry after"] = f"{error.retry_after_s:g} s"
    return Entry("error", {**known, "message": error.message})


def _stream_text(format_: Format, data: bytes, answered: Answered) -> str | None:
    found = frames(data, left_out=answered.left_out_bytes > 0)
    if not found:
        return None
    if answered.left_out_bytes:
        gone = Entry("note", f"the first {size_text(answered.left_out_bytes)} of this answer are not kept")
        return outline([gone, *(Entry(kind, text) for kind, text in joined(found))], RECENT_CHARACTERS)
    events = _events(format_, found, complete=answered.is_complete)
    answer, failure, is_finished = _folded(events)
    if failure and not answer.parts and not answer.model:
        return outline([_error_entry(failure)]) if _tells_an_error(found) else None
    notes: list[Entry] = []
    if failure:
        notes.append(_error_entry(failure))
    elif not is_finished:
        notes.append(Entry("note", "the answer is still coming"))
    return _answer_text(format_, answer, answered, *notes, ended=is_finished)


def _events(format_: Format, found: Sequence[Frame], *, complete: bool) -> list[Event]:
    decoder = CODECS[format_].AnswerDecoder()
    events: list[Event] = []
    try:
        for each in found:
            events += decoder.feed(frame(_on_one_line(each.data), each.name))
        if complete:
            events += decoder.finish()
    except GatewayError as error:
        events.append(Failure(error))
    except (ValueError, RecursionError) as error:
        events.append(Failure(UpstreamGarbled(f"this cannot be read: {error}")))
    return events


def _on_one_line(data: bytes) -> bytes:
    """An event's data out of its envelope and on one line."""
    if b'"response"' not in data and b"\n" not in data and b"\r" not in data:
        return data
    body = json_object(data)
    return data.replace(b"\n", b" ").replace(b"\r", b" ") if body is None else json.dumps(opened_answer(body))


def _folded(events: Iterable[Event]) -> tuple[Answer, GatewayError | None, bool]:
    """What came, parts that have not ended included, why it broke off, and whether it ended well."""
    folding, failure, open_parts = Fold(), None, set[int]()
    for event in events:
        match event:
            case Failure(error):
                failure = error
                break
            case PartStart(index):
                open_parts.add(index)
            case PartEnd(index):
                open_parts.discard(index)
            case _:
                pass
        folding.push(event)
    for index in sorted(open_parts):
        folding.push(PartEnd(index))
    return folding.answer, failure, folding.finished


def _tells_an_error(found: Sequence[Frame]) -> bool:
    return any(b'"error"' in each.data or each.name == "error" for each in found)

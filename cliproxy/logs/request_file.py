"""The text of a request's file: what the client asked, what upstreams were asked and answered, what the client got.

`sections` takes what it needs of an exchange, on the event loop; `text` writes it out, in the writing thread.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cliproxy.exchange import Attempt, Exchange, Headers
from cliproxy.inspection.redaction import Redactor
from cliproxy.logs.recording import MAX_BODY_BYTES, Recording, Tape
from cliproxy.secrets import mask
from cliproxy.transport.encoding import decompress


class Section(NamedTuple):
    title: str
    facts: Sequence[str] = ()
    """Lines; texts of others in them are redacted."""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    """The first bytes of it."""
    size_bytes: int = 0
    """Of the whole body."""


def sections(exchange: Exchange, recording: Recording) -> list[Section]:
    """All that there is to write."""
    request = exchange.request
    target = f"{request.path}?{request.query}" if request.query else request.path
    facts = [
        f"{request.method} {target}",
        f"Id: {exchange.id}",
        f"Time: {_time(exchange.started_s)} to {_time(exchange.ended_s)}",
        f"Client: {exchange.client_key} from {request.peer}",
        f"Model: {exchange.model}",
        *([f"Error: {exchange.error}"] if exchange.error else ()),
    ]
    found = [_section("REQUEST", facts, request.headers, _tape(request.body))]
    for attempt in exchange.attempts:
        found += _of_attempt(attempt, recording.tapes.get(attempt.number))
    answer = recording.answer
    headers = answer.headers if answer else Headers()
    return [*found, _section("RESPONSE", [f"Status: {exchange.status}"], headers, recording.answer_tape)]


def _of_attempt(attempt: Attempt, tape: Tape | None) -> Iterator[Section]:
    sent = attempt.request
    headers = Headers(
        (name, mask(value) if name.lower() in attempt.secret_headers else value) for name, value in sent.headers.items()
    )
    asked = [f"{sent.method} {sent.url}", f"Credential: {attempt.provider} {attempt.credential}"]
    yield _section(f"API REQUEST {attempt.number}", asked, headers, _tape(sent.body))
    said = [f"Status: {attempt.status} {attempt.reason}", *([f"Error: {attempt.error}"] if attempt.error else ())]
    yield _section(f"API RESPONSE {attempt.number}", said, attempt.response_headers, tape or Tape())


def _section(title: str, facts: Sequence[str], headers: Headers, tape: Tape) -> Section:
    return Section(title, facts, list(headers.items()), tape.kept, tape.size_bytes)


def _tape(body: Any) -> Tape:
    """What is passed on unheld was not kept."""
    return Tape(body) if isinstance(body, bytes) else Tape()


def text(parts: Iterable[Section], redactor: Redactor) -> bytes:
    """The file."""
    return b"\n".join(_written(part, redactor) for part in parts)


def _written(part: Section, redactor: Redactor) -> bytes:
    lines = [f"=== {part.title} ===", *map(redactor.url, part.facts)]
    lines += [f"{name}: {redactor.header(name, value)}" for name, value in part.headers]
    head = "\n".join(lines).encode("utf-8", "replace") + b"\n"
    if not part.size_bytes:
        return head
    coding = next((value for name, value in part.headers if name.lower() == "content-encoding"), "")
    return head + b"\n" + _shown(part, coding, redactor) + b"\n"


def _shown(part: Section, coding: str, redactor: Redactor) -> bytes:
    body = part.body
    if coding:
        try:
            body = decompress(body, coding)
        except ValueError:
            return f"({part.size_bytes} bytes, {coding})".encode()
    if b"\0" in body:
        return f"({part.size_bytes} bytes that are no text)".encode()
    shown = redactor.body(body)
    if len(shown) <= MAX_BODY_BYTES and len(part.body) == part.size_bytes:
        return shown
    return shown[:MAX_BODY_BYTES] + f"\n(the first {MAX_BODY_BYTES} of {part.size_bytes} bytes)".encode()


def _time(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds")

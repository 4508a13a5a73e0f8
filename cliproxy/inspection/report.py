"""A bug report of exchanges, as Markdown: everything that is needed to understand one, in one file.

What goes in is redacted by whoever calls; here it is only laid out.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from cliproxy.inspection.outline import clipped
from cliproxy.wire import json

MAX_BODY_CHARACTERS = 200_000
"""Of each body."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer."""

    first_line: str
    headers: Sequence[tuple[str, str]]
    body: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request and what came of it."""

    title: str
    request: Message
    curl: str
    """Empty: it cannot be said so."""
    facts: Mapping[str, str] = field(default_factory=dict)
    answer: Message | None = None
    """None: there was none."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReportedExchange:
    """A client's call with the attempts that were made for it."""

    client: Call
    attempts: Sequence[Call] = ()


def report(exchanges: Sequence[ReportedExchange], versions: Mapping[str, str]) -> str:
    """The whole file. versions: of the programs that took part, by their names."""
    return "\n".join(_lines(exchanges, versions)) + "\n"


def readable(body: bytes) -> str:
    """A body as text: JSON with its members on lines of their own."""
    try:
        pretty = msgspec.json.format(json.dumps(json.loads(body)), indent=2).decode()
    except ValueError:
        pretty = body.decode("utf-8", "replace")
    return clipped(pretty, MAX_BODY_CHARACTERS)


def _lines(exchanges: Sequence[ReportedExchange], versions: Mapping[str, str]) -> Iterator[str]:
    yield "# Report of an exchange" if len(exchanges) == 1 else f"# Report of {len(exchanges)} exchanges"
    yield ""
    for name, version in versions.items():
        yield f"* {name} {version}"
    yield f"* Python {platform.python_version()} on {platform.platform()}"
    yield f"* written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, without secrets"
    for exchange in exchanges:
        yield from _call(exchange.client, "##")
        for attempt in exchange.attempts:
            yield from _call(attempt, "###")


def _call(call: Call, level: str) -> Iterator[str]:
    yield from ("", f"{level} {call.title}", "")
    for name, fact in call.facts.items():
        yield f"* {name}: {_inline(fact)}"
    if call.error:
        yield f"* error: {_inline(call.error)}"
    yield from _message(call.request, "Request")
    if call.curl:
        yield from ("", "The same with curl:", "", *_fenced(call.curl, "sh"))
    if call.answer:
        yield from _message(call.answer, "Answer")


def _message(message: Message, title: str) -> Iterator[str]:
    head = [message.first_line, *(f"{name}: {value}" for name, value in message.headers)]
    yield from ("", f"{title}:", "", *_fenced("\n".join([*head, "", message.body]).rstrip(), "http"))


def _fenced(text: str, language: str) -> Iterable[str]:
    """A block of code, whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return (f"{fence}{language}", text, fence)


def _inline(text: str) -> str:
    return " ".join(text.split())

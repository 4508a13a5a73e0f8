"""Redacts what leaves mitmproxy: files of flows, HAR, exports. What is shown stays as it is.

mitmproxy offers no hook there, so the doors themselves are replaced while the script runs: each takes a flow, and gets
a redacted copy of it.
"""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from mitmproxy import ctx, http, io
from mitmproxy.addonmanager import Loader
from mitmproxy.addons import export
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.flow import Flow
from mitmproxy.tcp import TCPFlow
from mitmproxy.udp import UDPFlow

from cliproxy.inspection.redaction import LEVELS, Redactor

OPTION = "cliproxy_redact"


class Redaction:
    """Stands at the doors."""

    name = "cliproxy.redaction"

    def __init__(self, secrets: Callable[[], Collection[str]]) -> None:
        """secrets: those that are known now."""
        self._secrets = secrets
        self._reopen: list[Callable[[], None]] = []

    def load(self, loader: Loader) -> None:
        loader.add_option(
            OPTION,
            str,
            LEVELS[0],
            "What is taken out of flows that are saved or exported: secrets; also all content; or nothing (off).",
            choices=LEVELS,
        )
        for writer in (io.FlowWriter, io.FilteredFlowWriter):
            self._guard(writer, "add", at=1)
        self._guard(SaveHar, "flow_entry", at=1)
        formats = dict(export.formats)
        export.formats.update((name, self._guarded(form, at=0)) for name, form in formats.items())
        self._reopen.append(lambda: export.formats.update(formats))

    def done(self) -> None:
        # At the end others still write what they hold, maybe after this.
        if not ctx.master.should_exit.is_set():
            for reopen in self._reopen:
                reopen()

    def redactor(self) -> Redactor | None:
        """As the option says now; None: everything passes."""
        level = ctx.options.cliproxy_redact
        return None if level == "off" else Redactor(self._secrets(), keeps_words=level != "content")

    def _guard(self, owner: type, method: str, *, at: int) -> None:
        original = getattr(owner, method)
        setattr(owner, method, self._guarded(original, at=at))
        self._reopen.append(lambda: setattr(owner, method, original))

    def _guarded(self, door: Callable[..., Any], *, at: int) -> Callable[..., Any]:
        """at: where among the door's arguments the flow is."""

        @wraps(door)
        def guarded(*args: Any) -> Any:
            redactor = self.redactor()
            if redactor is None:
                return door(*args)
            return door(*args[:at], redacted(args[at], redactor), *args[at + 1 :])

        return guarded


def redacted[F: Flow](flow: F, redactor: Redactor) -> F:
    """A copy of a flow that may be given away."""
    # What was there before an edit is saved with a flow, too.
    copy = type(flow).from_state({**flow.get_state(), "backup": None})
    copy.comment = _without_error(flow, redactor)
    if copy.error:
        copy.error.msg = redactor.words(copy.error.msg)
    for name, value in copy.metadata.items():
        if isinstance(value, str):
            copy.metadata[name] = redactor.words(value) if name.endswith("error") else redactor.text(value)
    match copy:
        case http.HTTPFlow():
            _redact_http(copy, redactor)
        case TCPFlow() | UDPFlow():
            for message in copy.messages:
                message.content = redactor.body(message.content)
        case _:
            pass
    return copy  # pyright: ignore[reportReturnType] - `from_state` makes a flow of the same kind


def _without_error(flow: Flow, redactor: Redactor) -> str:
    """The comment, which repeats an attempt's error."""
    error = str(flow.metadata.get("cliproxy.error") or "")
    return redactor.text(flow.comment.replace(error, redactor.words(error)) if error else flow.comment)


def _redact_http(flow: http.HTTPFlow, redactor: Redactor) -> None:
    flow.request.path = redactor.url(flow.request.path)
    _redact_message(flow.request, redactor)
    if flow.response:
        _redact_message(flow.response, redactor)
    for message in flow.websocket.messages if flow.websocket else ():
        message.content = redactor.body(message.content, "application/json")


def _redact_message(message: http.Message, redactor: Redactor) -> None:
    message.headers = http.Headers(
        [
            (name, redactor.header(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            ))
            for name, value in message.headers.fields
        ]
    )  # fmt: skip
    if not message.raw_content:
        return
    try:
        plain = message.get_content() or b""
    except ValueError:
        # Of a compressed body that is not whole nobody knows what it holds.
        clean = f"({len(message.raw_content)} bytes that cannot be decoded)".encode()
    else:
        clean = redactor.body(plain, message.headers.get("content-type", ""))
        if clean == plain:
            return
    message.headers.pop("content-encoding", None)
    message.content = clean

"""How to ask a candidate for what a client wants: with the client's own bytes where it speaks the client's format, else
translated; and how its answer is to be read."""

from functools import partial

from cliproxy import compaction
from cliproxy.call import ClientCall
from cliproxy.config.schema import Config
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Exchange, Headers
from cliproxy.image_generation import without_image_tool
from cliproxy.keepalive import Signs, stream_signs, whole_signs
from cliproxy.providers import dialect_of
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.relay import JSON, Passing, Relay, Translating
from cliproxy.renaming import Renamer
from cliproxy.routes import Operation
from cliproxy.routing.payload import PayloadRules
from cliproxy.session import session_of
from cliproxy.transcripts import Transcripts
from cliproxy.transport.headers import forwarded
from cliproxy.wire.model import Format, Request
from cliproxy.wire.translation import COMPLETIONS, AnswerShape, Translation
from cliproxy.wire.unsealing import without_sealed

GEMINI_PATIENCE_S = 50.0
"""How long a streaming Gemini client is left without headers: Gemini CLI gives up after 65 s."""


class Planner:
    """Plans the calls of one configuration."""

    def __init__(self, config: Config, transcripts: Transcripts) -> None:
        self._config = config
        self._transcripts = transcripts
        self._payload = PayloadRules(config.payload)

    def signs(self, call: ClientCall) -> Signs | None:
        """How to keep the client of a slow answer waiting; None: just wait."""
        format_, config = call.route.format, self._config
        if call.stream:
            interval_s = config.streaming.keepalive_seconds
            if format_ == "gemini" and interval_s <= 0:
                interval_s = GEMINI_PATIENCE_S
            return stream_signs(format_, interval_s, sse=call.sse) if interval_s > 0 else None
        interval_s = config.nonstream_keepalive_interval
        return whole_signs(format_, interval_s) if interval_s > 0 else None

    def plan(self, exchange: Exchange, call: ClientCall, candidate: Candidate) -> tuple[Relay, UpstreamCall]:
        """How to ask `candidate`: as the client did where it speaks the client's format, else translated."""
        format_ = call.route.format
        if (
            format_ in candidate.credential.formats
            and call.route.operation is not Operation.COMPLETE
            and not self._must_summarise(call, candidate)
        ):
            exchange.dropped = []
            headers = _json_headers(forwarded(exchange.request.headers))
            renamer = Renamer(format_, call.model) if candidate.force_mapping or exchange.stand_in else None
            if renamer or self.signs(call) or call.route.enveloped:
                # Nothing can be put into a compressed body, or around what it holds.
                headers["Accept-Encoding"] = "identity"
            body = call.passed_body(candidate)
            if format_ == "openai-responses":
                body = self._transcripts.expanded_body(exchange.client_key, body)
            body = without_sealed(format_, body, candidate.model)
            holds = candidate.credential.provider == "codex" and self._config.codex.stream_bootstrap_buffering
            return Passing(format_, renamer, holds_handshake=holds), UpstreamCall(
                Purpose.GENERATE,
                format_,
                "POST",
                call.route.path,
                call.query,
                headers,
                self._ruled(exchange, call, candidate, format_, body),
                call.stream,
                call.route.action,
                session=_session(exchange, call, candidate),
                dropped=exchange.dropped,
            )
        return self.translated(exchange, call, candidate)

    @staticmethod
    def _must_summarise(call: ClientCall, candidate: Candidate) -> bool:
        """Whether the conversation ends in a wish for its summary that the upstream only understands in words."""
        if dialect_of(candidate.credential, call.route.format).takes_compaction_trigger:
            return False
        return b'"compaction_trigger"' in call.body and compaction.is_triggered(call.request())

    def translated(self, exchange: Exchange, call: ClientCall, candidate: Candidate) -> tuple[Relay, UpstreamCall]:
        format_ = call.route.format
        upstream = candidate.credential.formats[0]
        stream = call.stream or candidate.credential.streams_only
        request, shape = self._asked(exchange, call, upstream)
        remember = None
        if format_ == "openai-responses" and shape is None:
            remember = partial(self._transcripts.remember, exchange.client_key, request)
        translation = Translation(
            request, upstream, candidate.facts, call.model, stream=stream, shape=shape, remember=remember
        )
        exchange.dropped = translation.encoded.dropped
        headers = Headers({"content-type": JSON, "accept-encoding": "identity"})
        body = self._ruled(exchange, call, candidate, upstream, translation.body)
        upstream_call = UpstreamCall(
            Purpose.GENERATE,
            upstream,
            "POST",
            "",
            "",
            headers,
            body,
            stream,
            session=_session(exchange, call, candidate),
            dropped=exchange.dropped,
        )
        return Translating(translation, upstream, stream=call.stream, sse=call.sse), upstream_call

    def _asked(self, exchange: Exchange, call: ClientCall, upstream: Format) -> tuple[Request, AnswerShape | None]:
        """What to ask, and how to write the answer where not as the client's format does."""
        request = call.request()
        if upstream != "openai-responses":
            request = self._transcripts.expand(exchange.client_key, request)
        match call.route.operation:
            case Operation.COMPLETE:
                return request, COMPLETIONS
            case Operation.COMPACT:
                return compaction.summarising(request), compaction.COMPACTED
            case _ if compaction.is_triggered(request):
                return compaction.summarising(request), compaction.TRIGGERED
            case _:
                return request, None

    def _ruled(
        self, exchange: Exchange, call: ClientCall, candidate: Candidate, upstream: Format, body: bytes
    ) -> bytes:
        """A body for `upstream` as the config wants it: without the image tool maybe, and by its payload rules."""
        if upstream == "openai-responses" and self._config.disable_image_generation in (True, "chat"):
            body = without_image_tool(body)
        if not self._payload:
            return body
        return self._payload.apply(
            body,
            model=candidate.model,
            upstream=upstream,
            client=call.route.format,
            headers=exchange.request.headers,
            # A thinking suffix is already in the body; defaults go by what the client itself said.
            original=call.body if call.reasoning and upstream == call.route.format else None,
            provider=candidate.credential.provider,
            client_model=call.model,
        )


def _json_headers(headers: Headers) -> Headers:
    """Headers for a JSON body that was read and is sent uncompressed."""
    headers.popall("content-encoding", None)
    headers["Content-Type"] = JSON
    return headers


def _session(exchange: Exchange, call: ClientCall, candidate: Candidate) -> str:
    """Vendors' own upstreams may want to know the conversation; to find it out costs something."""
    return session_of(exchange.request, call) if candidate.credential.dialect else ""

"""One exchange's way between a client's format and an upstream's: the codecs and what lies between them."""

from collections.abc import Callable, Mapping
from typing import Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from cliproxy.wire import anthropic, gemini, history, json, openai_chat, openai_responses
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fold import Fold, merge_usage, unfold
from cliproxy.wire.model import (
    Answer,
    Delta,
    Encoded,
    Event,
    Failure,
    Finish,
    Format,
    Json,
    ModelFacts,
    PartStart,
    Request,
    Start,
    Usage,
    UsageReport,
)
from cliproxy.wire.openai_chat.completions import CompletionEncoder, encode_completion
from cliproxy.wire.restore import Restorer, flattened


class AnswerDecoder(Protocol):
    """Upstream bytes in, cut anywhere; events out."""

    def feed(self, chunk: bytes) -> list[Event]: ...
    def finish(self) -> list[Event]: ...


class AnswerEncoder(Protocol):
    """Events in, client bytes out."""

    def push(self, event: Event) -> bytes: ...
    def finish(self) -> bytes: ...
    def ping(self) -> bytes: ...


class Codec(Protocol):
    """What each format's package offers."""

    FORMAT: Format
    AnswerDecoder: Callable[[], AnswerDecoder]
    AnswerEncoder: Callable[..., AnswerEncoder]

    def decode_request(self, body: Json, *, model: str | None = None, stream: bool | None = None) -> Request: ...
    def encode_request(self, request: Request, facts: ModelFacts) -> Encoded: ...
    def decode_answer(self, body: Json) -> Answer: ...
    def encode_answer(self, answer: Answer, request: Request, model: str) -> Json: ...
    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamRefused: ...
    def encode_error(self, error: GatewayError) -> tuple[int, Json]: ...


class AnswerShape(Struct, frozen=True):
    """How a client's answers are written, streamed and whole: as its format does, or as its route demands."""

    encoder: Callable[..., AnswerEncoder]
    encode: Callable[[Answer, Request, str], Json]


CODECS: dict[Format, Codec] = {
    "openai-chat": cast(Codec, openai_chat),
    "openai-responses": cast(Codec, openai_responses),
    "anthropic": cast(Codec, anthropic),
    "gemini": cast(Codec, gemini),
}
COMPLETIONS = AnswerShape(CompletionEncoder, encode_completion)
"""Answers of `/v1/completions`."""


class Translation:
    """The way of one exchange.

    body: the request as JSON in the upstream's format. encoded: the same decoded, with what was dropped and
    renamed.
    usage, finish_reason: what the answer said, by whichever of the ways below it came.

    Raises UnsupportedContent and the other ClientFaults of the upstream format's encoder.
    """

    def __init__(
        self,
        request: Request,
        upstream: Format,
        facts: ModelFacts,
        shown_model: str,
        *,
        stream: bool | None = None,
        shape: AnswerShape | None = None,
        remember: Callable[[Json], None] | None = None,
    ) -> None:
        """shown_model: the model's name for the client. stream: how to ask, where not as the client asks.

        shape: how the client's answer is written, where not as its format does.
        remember: for a Responses client: takes the response, once it is complete and before its last bytes go out.
        """
        dropped: list[str] = []
        sent = replace(request if upstream == "openai-responses" else flattened(request))
        sent.stream = request.stream if stream is None else stream
        sent.turns = history.repair(sent.turns, dropped)
        self.encoded = CODECS[upstream].encode_request(sent, facts)
        self.encoded.dropped[:0] = dropped
        self.body = json.dumps(self.encoded.body)
        self.usage = Usage()
        self.finish_reason: str | None = None
        self.is_empty = False
        """A whole answer that says nothing at all."""
        self._request = request
        self._upstream = CODECS[upstream]
        client = CODECS[request.origin]
        self._shape = shape or AnswerShape(client.AnswerEncoder, client.encode_answer)
        self._remember = remember
        self._shown_model = shown_model

    def stream(self, sse: bool = True) -> "Stream":
        """Upstream streams, client streams. sse: False for a Gemini client that wants a JSON array."""
        return Stream(self, self._upstream.AnswerDecoder(), self._encoder(sse))

    def collect(self) -> "Collector":
        """Upstream streams, client wants a whole body."""
        return Collector(self, self._upstream.AnswerDecoder())

    def answer(self, body: bytes) -> bytes:
        """Whole upstream body → whole client body.

        Raises UpstreamGarbled when it is no answer, UpstreamRefused when it is an error.
        """
        return self.encode(self._decode(body))

    def unfolded(self, body: bytes, sse: bool = True) -> bytes:
        """Whole upstream body → whole client stream. Raises as `answer` does."""
        answer = self.restorer().answer(self._decode(body))
        self._note(answer)
        encoder = self._encoder(sse)
        out = b"".join([*map(encoder.push, unfold(answer)), encoder.finish()])
        self.completed(encoder)
        return out

    def encode(self, answer: Answer) -> bytes:
        """An answer as the client's whole body."""
        answer = self.restorer().answer(answer)
        self._note(answer)
        whole = self._shape.encode(answer, self._request, self._shown_model)
        if self._remember is not None:
            self._remember(whole)
        return json.dumps(whole)

    def completed(self, encoder: AnswerEncoder) -> None:
        """The client's stream has ended well."""
        if self._remember is not None and isinstance(encoder, openai_responses.AnswerEncoder):
            self._remember(encoder.response)

    def restorer(self) -> Restorer:
        return Restorer(self._request, self.encoded.names)

    def _note(self, answer: Answer) -> None:
        self.usage, self.finish_reason = answer.usage, answer.finish
        self.is_empty = not answer.parts

    def _encoder(self, sse: bool) -> AnswerEncoder:
        if sse:
            return self._shape.encoder(self._request, self._shown_model)
        return self._shape.encoder(self._request, self._shown_model, sse=False)

    def _decode(self, body: bytes) -> Answer:
        try:
            value = json.loads_object(body, "the upstream's answer")
        except (ValueError, RecursionError) as error:
            raise UpstreamGarbled("the upstream's answer is not a JSON object") from error
        return self._upstream.decode_answer(value)


class Stream:
    """Upstream stream bytes in, client stream bytes out.

    Nothing comes out until the upstream has said something of content, so that an upstream that fails before
    then raises its GatewayError and can be replaced; a later failure becomes the client format's error event.

    usage, finish_reason: what the answer said so far. started: content has been seen.
    ended: nothing more will come. failure: why it did not end well.
    """

    def __init__(self, translation: Translation, decoder: AnswerDecoder, encoder: AnswerEncoder) -> None:
        self.usage = translation.usage
        self.finish_reason: str | None = None
        self.started = False
        self.ended = False
        self.failure: GatewayError | None = None
        self._translation = translation
        self._decoder = decoder
        self._encoder = encoder
        self._restorer = translation.restorer()
        self._held = b""
        self._said_something = False

    def feed(self, chunk: bytes) -> bytes:
        """Client bytes for 0..n upstream bytes, cut anywhere. Raises a failure that comes before any."""
        if self.ended:
            return b""
        try:
            events = self._decoder.feed(chunk)
        except GatewayError as error:
            events: list[Event] = [Failure(error)]
        return self._encode(events) if events else b""

    def finish(self) -> bytes:
        """The upstream's body is over. Raises as `feed` does."""
        return b"" if self.ended else self._encode(self._decoder.finish())

    def fail(self, error: GatewayError) -> bytes:
        """End the client's stream with an error of the gateway's own; never raises."""
        if self.ended:
            return b""
        self._said_something = True
        return self._encode([Failure(error)])

    def ping(self) -> bytes:
        """A keep-alive. From then on failures can only be told in the stream."""
        if self.ended:
            return b""
        ping = self._encoder.ping()
        if not ping:
            return b""
        self._said_something = True
        held, self._held = self._held, b""
        return held + ping

    def _encode(self, events: list[Event]) -> bytes:
        push = self._encoder.push
        pieces: list[bytes] = []
        for event in self._restorer.apply(events):
            if type(event) is not Delta:
                self._note(event)
            pieces.append(push(event))
            if self.ended:
                pieces.append(self._encoder.finish())
                if self.failure is None:
                    self._translation.completed(self._encoder)
                break
        out = b"".join(pieces)
        if self._said_something:
            return out
        out = self._held + out
        if self.started or self.ended:
            self._said_something, self._held = True, b""
            return out
        self._held = out
        return b""

    def _note(self, event: Event) -> None:
        match event:
            case PartStart():
                self.started = True
            case UsageReport(usage):
                merge_usage(self.usage, usage)
            case Start(usage=Usage() as usage):
                merge_usage(self.usage, usage)
            case Finish(reason):
                self.ended = True
                self.finish_reason = self._translation.finish_reason = reason
            case Failure(error):
                self.ended = True
                self.failure = error
                if not self._said_something and not self.started:
                    raise error
            case _:
                pass


class Collector:
    """Upstream stream bytes in, one whole client body out."""

    def __init__(self, translation: Translation, decoder: AnswerDecoder) -> None:
        self._translation = translation
        self._decoder = decoder
        self._fold = Fold()

    def feed(self, chunk: bytes) -> None:
        """Take 0..n upstream bytes, cut anywhere. Raises the GatewayError of a failure."""
        self._take(self._decoder.feed(chunk))

    def finish(self) -> bytes:
        """The client's body. Raises UpstreamCut when the stream ended before its end."""
        self._take(self._decoder.finish())
        if not self._fold.finished:
            raise UpstreamCut("the upstream's answer ended before its end")
        return self._translation.encode(self._fold.answer)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            self._fold.push(event)

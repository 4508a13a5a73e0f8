"""Events, or an `Answer` → the stream events of a response, or a whole one."""

import time

from cliproxy.wire import names
from cliproxy.wire.fold import unfold
from cliproxy.wire.json import dumps
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Cited,
    Delta,
    Event,
    Failure,
    Finish,
    Json,
    Media,
    Opaque,
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
from cliproxy.wire.openai_responses.errors import streamed_error_json
from cliproxy.wire.openai_responses.output_encoder import (
    CallWriter,
    Message,
    Output,
    ReasoningWriter,
    SearchWriter,
    TextWriter,
    write_image,
    write_item,
    write_token,
)
from cliproxy.wire.openai_responses.vocabulary import FORMAT, finish_words, usage_json
from cliproxy.wire.streaming import StreamEncoder

_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Settings of the request that a response repeats, with what the API says where they were not given."""


class AnswerEncoder(StreamEncoder):
    """Turns the events of one answer into a stream.

    request: the client's, whose settings are repeated. model: the name that the client asked for.
    """

    PING = b": keep-alive\n\n"

    def __init__(self, request: Request, model: str) -> None:
        super().__init__()
        self._model = model
        given = request.raw
        self._echo: Json = {key: default if given.get(key) is None else given[key] for key, default in _ECHOED.items()}
        self._echo_end = dumps(self._echo)[1:]
        self._id = ""
        self._created_s = 0
        self._refused = False
        self._output = Output(self._out)
        self._open: dict[int, TextWriter | CallWriter | ReasoningWriter] = {}
        self._message: Message | None = None
        self._tokens: dict[int, Carrier] = {}
        """Of calls that are still open, by the call's index."""
        self._searches: dict[str, SearchWriter] = {}
        self.response: Json = {}
        """The response object as last sent."""

    def push(self, event: Event) -> bytes:
        """The bytes of one event; nothing after the end."""
        if not self._id and type(event) is not Start:
            self._start(Start())
        return super().push(event)

    # ------------------------------------------------------------ events

    def _start(self, event: Start) -> None:
        if self._id:
            return
        self._id = event.id if event.id.startswith("resp_") else names.new_id("resp_")
        self._created_s = int(time.time()) if event.created_s is None else event.created_s
        self._lifecycle("response.created", "in_progress")
        self._lifecycle("response.in_progress", "in_progress")

    def _part_start(self, event: PartStart) -> None:
        part, index = event.part, event.index
        if not isinstance(part, Text | Refusal | ServerResult):
            self._leave_message()
        match part:
            case Text() | Refusal():
                self._open[index] = self._text(part)
            case Reasoning():
                self._open[index] = ReasoningWriter(self._output, part)
            case ToolCall():
                self._open[index] = CallWriter(self._output, part)
            case Media():
                write_image(self._output, part)
            case ServerCall():
                self._server_call(part)
            case ServerResult():
                self._server_result(part)
            case Opaque():
                if part.origin == FORMAT:
                    write_item(self._output, part.raw)
            case _:
                pass
        if isinstance(part, Text | ToolCall) and part.carrier is not None:
            self._signed(Signed(index, part.carrier))

    def _delta(self, event: Delta) -> None:
        writer = self._open.get(event.index)
        if writer is not None:
            writer.delta(event.text)

    def _signed(self, event: Signed) -> None:
        """Reasoning has a slot for its token; that of a call or a text goes in a reasoning item after it."""
        writer = self._open.get(event.index)
        if isinstance(writer, ReasoningWriter):
            writer.carrier = event.carrier
        elif isinstance(writer, CallWriter):
            # Clients keep items in the order in which they are done.
            self._tokens[event.index] = event.carrier
        elif writer is not None:
            self._leave_message()
            write_token(self._output, event.carrier, writer.token_place)

    def _cited(self, event: Cited) -> None:
        writer = self._open.get(event.index)
        if isinstance(writer, TextWriter):
            writer.cite(event.citation)

    def _part_end(self, event: PartEnd) -> None:
        writer = self._open.pop(event.index, None)
        if writer is not None:
            writer.end()
        if isinstance(writer, CallWriter) and (carrier := self._tokens.pop(event.index, None)):
            write_token(self._output, carrier, writer.token_place)

    def _finish(self, event: Finish) -> None:
        for index in list(self._open):
            self._part_end(PartEnd(index))
        self._leave_message()
        for search in self._searches.values():
            search.end()
        status, reason = finish_words(event.reason, refused=self._refused)
        details = None if reason is None else {"reason": reason}
        self._lifecycle(f"response.{status}", status, details=details, usage=usage_json(self._usage))

    def _failure(self, event: Failure) -> None:
        """What is open stays without its end: a client would run a call whose arguments are cut."""
        usage = None if self._usage == Usage() else usage_json(self._usage)
        self._lifecycle("response.failed", "failed", error=streamed_error_json(event.error), usage=usage)

    # ------------------------------------------------------------ items

    def _text(self, part: Text | Refusal) -> TextWriter:
        """Neighbouring texts are contents of one message."""
        if self._message is None:
            self._message = Message(self._output)
        self._refused = self._refused or isinstance(part, Refusal)
        return TextWriter(self._output, self._message, part)

    def _leave_message(self) -> None:
        if self._message is not None:
            self._message.seal()
            self._message = None

    def _server_call(self, part: ServerCall) -> None:
        if part.origin == FORMAT:
            if part.raw is not None:
                write_item(self._output, part.raw)
        elif part.name == "web_search":
            self._searches[part.id] = SearchWriter(self._output, part.input)

    def _server_result(self, part: ServerResult) -> None:
        search = self._searches.pop(part.id, None)
        if search is not None:
            search.end(part.sources)

    def _lifecycle(
        self,
        event_type: str,
        status: str,
        *,
        error: Json | None = None,
        details: Json | None = None,
        usage: Json | None = None,
    ) -> None:
        state: Json = {
            "id": self._id,
            "object": "response",
            "created_at": self._created_s,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": details,
            "model": self._model,
            "output": [item for item in self._output.items if item is not None],
            "usage": usage,
        }
        self.response = {**state, **self._echo}
        # The repeated settings are most of it (tools, instructions), and the same each time.
        self._output.write(event_type, b'"response":' + dumps(state)[:-1] + b"," + self._echo_end)


def encode_answer(answer: Answer, request: Request, model: str) -> Json:
    """The whole body, `model` being the name that the client asked for: the last state of its stream."""
    encoder = AnswerEncoder(request, model)
    for event in unfold(answer):
        encoder.push(event)
    return encoder.response

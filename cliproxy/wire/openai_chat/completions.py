"""The older Completions format (`/v1/completions`), served by chat models: a prompt in, bare text out."""

from cliproxy.wire.errors import ClientFault, UnsupportedContent
from cliproxy.wire.fields import Fields
from cliproxy.wire.json import dumps
from cliproxy.wire.model import (
    Answer,
    Cited,
    Delta,
    Failure,
    Finish,
    Json,
    PartEnd,
    PartStart,
    Refusal,
    Request,
    Signed,
    Start,
    Text,
    Usage,
)
from cliproxy.wire.openai_chat.answer_encoder import AnswerEncoder, failure_frame, shell
from cliproxy.wire.openai_chat.request_decoder import decode_request
from cliproxy.wire.openai_chat.vocabulary import DONE, finish_word, usage_json
from cliproxy.wire.sse import frame
from cliproxy.wire.streaming import StreamEncoder

_SHARED = (
    *("model", "stream", "stream_options", "max_tokens", "temperature", "top_p", "stop", "seed", "user"),
    *("presence_penalty", "frequency_penalty", "logit_bias"),
)
"""Fields that mean the same to a chat."""


def decode_completion_request(body: Json) -> Request:
    """The request as a chat of one user message; `raw` is the body itself.

    Raises ClientFault for anything that is not a Completions request, and for what a chat model cannot serve:
    several prompts or answers, or a suffix.
    """
    top = Fields(body)
    if (top.integer("n") or 1) > 1:
        raise ClientFault("n must be 1: several texts cannot be answered at once", param="n")
    if top.string("suffix"):
        raise UnsupportedContent("a suffix", "Chat Completions", param="suffix")
    chat = {key: body[key] for key in _SHARED if key in body}
    chat["messages"] = [{"role": "user", "content": _prompt(top)}]
    logprobs = top.integer("logprobs")
    if logprobs is not None:
        chat |= {"logprobs": True, "top_logprobs": logprobs}
    request = decode_request(chat)
    request.raw = body
    return request


class CompletionEncoder(StreamEncoder):
    """Turns the events of one answer into a stream. Only text has a place in it; reasoning and calls have none.

    request: the client's, as `decode_completion_request` read it. model: the name that the client asked for.
    """

    PING = AnswerEncoder.PING

    def __init__(self, request: Request, model: str) -> None:
        super().__init__()
        self._model = model
        self._wants_usage = request.include_usage
        self._echo = _echo(request)
        self._shell: Json = {}
        self._texts: set[int] = set()

    def _start(self, event: Start) -> None:
        self._shell = shell(event, self._model, "text_completion", "cmpl-")
        if self._echo:
            self._chunk(self._echo)

    def _part_start(self, event: PartStart) -> None:
        if isinstance(event.part, Text | Refusal):
            self._texts.add(event.index)
            if event.part.text:
                self._chunk(event.part.text)

    def _delta(self, event: Delta) -> None:
        if event.index in self._texts:
            self._chunk(event.text)

    def _signed(self, event: Signed) -> None:
        """No place for it."""

    def _cited(self, event: Cited) -> None:
        """No place for it."""

    def _part_end(self, event: PartEnd) -> None:
        """Nothing to say."""

    def _finish(self, event: Finish) -> None:
        self._chunk("", finish_word(event.reason, called=False))
        if self._wants_usage:
            self._out.append(frame(dumps({**self._shell, "choices": [], "usage": usage_json(self._usage)})))
        self._out.append(frame(DONE))

    def _failure(self, event: Failure) -> None:
        self._out.append(failure_frame(event.error))

    def _chunk(self, text: str, finish_word: str | None = None) -> None:
        self._out.append(frame(dumps({**self._shell, "choices": [_choice(text, finish_word)]})))


def encode_completion(answer: Answer, request: Request, model: str) -> Json:
    """A whole text completion. model: the name that the client asked for."""
    words = [part.text for part in answer.parts if isinstance(part, Text | Refusal)]
    text = _echo(request) + "".join(words)
    start = Start(answer.id, answer.model, answer.created_s)
    completion = shell(start, model, "text_completion", "cmpl-")
    completion["choices"] = [_choice(text, finish_word(answer.finish, called=False))]
    if answer.usage != Usage():
        completion["usage"] = usage_json(answer.usage)
    return completion


def _prompt(top: Fields) -> str:
    """The prompt, which may also come as a list of one. Chat models take text, not token numbers."""
    if top.object.get("prompt") is None:
        raise top.missing("prompt")
    prompts = top.text_or_items("prompt")
    if isinstance(prompts, str):
        return prompts
    if len(prompts) != 1:
        raise ClientFault("prompt must be a single text: several cannot be answered at once", param="prompt")
    return top.strings("prompt")[0]


def _echo(request: Request) -> str:
    return _prompt(Fields(request.raw)) if request.raw.get("echo") is True else ""


def _choice(text: str, finish_word: str | None) -> Json:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_word}

"""The older Completions format (`/v1/completions`), served by chat models: a prompt in, bare text out."""

from cliproxy.wire.errors import ClientFault, UnsupportedContent, UpstreamCut
from cliproxy.wire.fields import Fields
from cliproxy.wire.fold import merge_usage
from cliproxy.wire.json import dumps
from cliproxy.wire.model import (
    Answer,
    Delta,
    Event,
    Failure,
    Finish,
    Json,
    PartStart,
    Refusal,
    Request,
    Start,
    Text,
    Usage,
    UsageReport,
)
from cliproxy.wire.openai_chat.answer_encoder import PING, failure_frame, shell
from cliproxy.wire.openai_chat.request_decoder import decode_request
from cliproxy.wire.openai_chat.vocabulary import DONE, finish_word, usage_json
from cliproxy.wire.sse import frame

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


class CompletionEncoder:
    """Writes the chunks of one stream. Only text has a place in them; reasoning and calls have none."""

    def __init__(self, request: Request, model: str) -> None:
        self._model = model
        self._wants_usage = request.include_usage
        self._echo = _echo(request)
        self._usage = Usage()
        self._shell: Json = {}
        self._texts: set[int] = set()
        self._ended = False

    def push(self, event: Event) -> bytes:
        """The bytes of one event; nothing after the end."""
        if self._ended:
            return b""
        match event:
            case Delta(index, text) if index in self._texts:
                return self._chunk(text)
            case PartStart(index, Text(text) | Refusal(text)):
                self._texts.add(index)
                return self._chunk(text) if text else b""
            case Start():
                self._note(event.usage)
                self._shell = shell(event, self._model, "text_completion", "cmpl-")
                return self._chunk(self._echo) if self._echo else b""
            case UsageReport(usage):
                self._note(usage)
            case Finish(reason):
                return self._finish(finish_word(reason, called=False))
            case Failure(error):
                self._ended = True
                return failure_frame(error)
            case _:
                pass
        return b""

    def finish(self) -> bytes:
        """End the stream: as cut off, unless Finish or Failure came."""
        return self.push(Failure(UpstreamCut()))

    def ping(self) -> bytes:
        return b"" if self._ended else PING

    def _note(self, usage: Usage | None) -> None:
        if usage is not None:
            merge_usage(self._usage, usage)

    def _chunk(self, text: str, finish_word: str | None = None) -> bytes:
        return frame(dumps({**self._shell, "choices": [_choice(text, finish_word)]}))

    def _finish(self, word: str) -> bytes:
        self._ended = True
        out = self._chunk("", word)
        if self._wants_usage:
            out += frame(dumps({**self._shell, "choices": [], "usage": usage_json(self._usage)}))
        return out + frame(DONE)


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

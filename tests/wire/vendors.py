"""What the vendors' own SDKs understand of an answer, in one shape for all four formats."""

from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types

from cliproxy.wire import json
from cliproxy.wire.model import Format

_QUESTION: Any = [{"role": "user", "content": "hi"}]
_ORIGIN = "http://gateway.test"


@dataclass
class Understood:
    """An answer as an SDK's user sees it."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Names and arguments."""
    finish: str | None = None
    """The vendor's word."""
    model: str | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    """Input and output."""


def read(format: Format, raw: bytes, *, stream: bool) -> Understood:
    """Have the vendor's SDK read a body; raises what it raises."""
    content_type = "text/event-stream" if stream else "application/json"
    answer = httpx2.Response(200, headers={"content-type": content_type}, content=raw)
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)) as http:
        match format:
            case "openai-chat":
                return _chat(http, stream)
            case "openai-responses":
                return _responses(http, stream)
            case "anthropic":
                return _messages(http, stream)
            case "gemini":
                return _gemini(http, stream)


def _openai(http: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", base_url=f"{_ORIGIN}/v1", http_client=http, max_retries=0)


def _chat(http: Any, stream: bool) -> Understood:
    completions = _openai(http).chat.completions
    if stream:
        with completions.stream(model="m", messages=_QUESTION) as events:
            completion: Any = events.get_final_completion()
    else:
        completion = completions.create(model="m", messages=_QUESTION)
    [choice] = completion.choices
    usage = completion.usage
    return Understood(
        choice.message.content or "",
        [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()],
        choice.finish_reason,
        completion.model,
        (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None),
    )


def _responses(http: Any, stream: bool) -> Understood:
    responses = _openai(http).responses
    if stream:
        with responses.stream(model="m", input="hi") as events:
            response: Any = events.get_final_response()
    else:
        response = responses.create(model="m", input="hi")
    usage = response.usage
    return Understood(
        response.output_text,
        [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"],
        response.status,
        response.model,
        (usage.input_tokens, usage.output_tokens) if usage else (None, None),
    )


def _messages(http: Any, stream: bool) -> Understood:
    messages = anthropic.Anthropic(api_key="sk-test", base_url=_ORIGIN, http_client=http, max_retries=0).messages
    if stream:
        with messages.stream(model="m", max_tokens=9, messages=_QUESTION) as events:
            message: Any = events.get_final_message()
    else:
        message = messages.create(model="m", max_tokens=9, messages=_QUESTION)
    return Understood(
        "".join(block.text for block in message.content if block.type == "text"),
        [(block.name, block.input) for block in message.content if block.type == "tool_use"],
        message.stop_reason,
        message.model,
        (message.usage.input_tokens, message.usage.output_tokens),
    )


def _gemini(http: Any, stream: bool) -> Understood:
    options = types.HttpOptions(base_url=_ORIGIN, httpx_client=http)
    models = genai.Client(api_key="sk-test", http_options=options).models
    chunks: list[Any] = (
        list(models.generate_content_stream(model="m", contents="hi"))
        if stream
        else [models.generate_content(model="m", contents="hi")]
    )
    understood = Understood()
    for chunk in chunks:
        understood.model = chunk.model_version
        [candidate] = chunk.candidates or [None]
        for part in (candidate and candidate.content and candidate.content.parts) or ():
            if part.function_call:
                understood.calls.append((part.function_call.name, part.function_call.args))
            elif part.text and not part.thought:
                understood.text += part.text
        if candidate and candidate.finish_reason:
            understood.finish = candidate.finish_reason.value
        if usage := chunk.usage_metadata:
            thoughts = usage.thoughts_token_count or 0
            understood.tokens = (usage.prompt_token_count, (usage.candidates_token_count or 0) + thoughts)
    return understood

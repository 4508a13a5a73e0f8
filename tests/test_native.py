"""The ready-made answers are what the vendors' own SDKs expect."""

from typing import Any

import pytest
from anthropic import AsyncAnthropic
from google import genai
from google.genai import types
from openai import AsyncOpenAI

from tests import native
from tests.upstream import Upstream

KEY = "sk-test-upstream"
QUESTION: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_sdk_reads_chat_completions(stream: bool) -> None:
    async with (
        Upstream() as upstream,
        AsyncOpenAI(base_url=upstream.url, api_key=KEY, max_retries=0) as client,
    ):
        upstream.script(*(make("openai-chat", stream=stream) for make in (native.text, native.tool_call)))
        texts, calls, reasons, tokens = [], [], [], []
        for _ in range(2):
            if stream:
                options: Any = {"stream_options": {"include_usage": True}}
                async with client.chat.completions.stream(model="m", messages=QUESTION, **options) as events:
                    completion = await events.get_final_completion()
            else:
                completion = await client.chat.completions.create(model="m", messages=QUESTION)
            message, usage = completion.choices[0].message, completion.usage
            assert usage
            texts.append(message.content)
            calls += [
                (c.id, c.function.name, c.function.arguments) for c in message.tool_calls or [] if c.type == "function"
            ]
            reasons.append(completion.choices[0].finish_reason)
            tokens.append((usage.prompt_tokens, usage.completion_tokens))
    assert texts == ["hello from upstream", None]
    assert calls == [("call_test_1", "get_weather", '{"city": "Paris"}')]
    assert reasons == ["stop", "tool_calls"]
    assert tokens == [(11, 7)] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_sdk_reads_responses(stream: bool) -> None:
    async with (
        Upstream() as upstream,
        AsyncOpenAI(base_url=upstream.url, api_key=KEY, max_retries=0) as client,
    ):
        upstream.script(*(make("openai-responses", stream=stream) for make in (native.text, native.tool_call)))
        responses = []
        for _ in range(2):
            if stream:
                async with client.responses.stream(model="m", input="hi") as events:
                    responses.append(await events.get_final_response())
            else:
                responses.append(await client.responses.create(model="m", input="hi"))
    said, called = responses
    assert said.output_text == "hello from upstream"
    call = called.output[0]
    assert call.type == "function_call"
    assert (call.call_id, call.name, call.arguments) == ("call_test_1", "get_weather", '{"city": "Paris"}')
    assert [response.status for response in responses] == ["completed"] * 2
    assert [response.usage and response.usage.total_tokens for response in responses] == [18, 18]


@pytest.mark.parametrize("stream", [False, True])
async def test_anthropic_sdk_reads_messages(stream: bool) -> None:
    async with (
        Upstream() as upstream,
        AsyncAnthropic(base_url=upstream.url, api_key=KEY, max_retries=0) as client,
    ):
        upstream.script(*(make("anthropic", stream=stream) for make in (native.text, native.tool_call)))
        messages = []
        for _ in range(2):
            asked: Any = {"model": "m", "max_tokens": 64, "messages": QUESTION}
            if stream:
                async with client.messages.stream(**asked) as events:
                    messages.append(await events.get_final_message())
            else:
                messages.append(await client.messages.create(**asked))
    said, called = messages
    assert (said.content[0].text, said.stop_reason) == ("hello from upstream", "end_turn")
    assert (called.content[0].name, called.content[0].input) == ("get_weather", {"city": "Paris"})
    assert called.stop_reason == "tool_use"
    assert [(m.usage.input_tokens, m.usage.output_tokens) for m in messages] == [(11, 7)] * 2


# The SDK subclasses aiohttp's session, which aiohttp discourages.
@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
@pytest.mark.parametrize("stream", [False, True])
async def test_google_sdk_reads_generate_content(stream: bool) -> None:
    async with Upstream() as upstream:
        options = types.HttpOptions(base_url=upstream.url)
        async with genai.Client(api_key=KEY, http_options=options).aio as client:
            upstream.script(*(make("gemini", stream=stream) for make in (native.text, native.tool_call)))
            replies: list[list[types.GenerateContentResponse]] = []
            for _ in range(2):
                if stream:
                    events = await client.models.generate_content_stream(model="m", contents="hi")
                    replies.append([event async for event in events])
                else:
                    replies.append([await client.models.generate_content(model="m", contents="hi")])
    said, called = replies
    assert "".join(reply.text or "" for reply in said) == "hello from upstream"
    calls = called[-1].function_calls
    assert calls and (calls[0].name, calls[0].args) == ("get_weather", {"city": "Paris"})
    for reply in (said[-1], called[-1]):
        assert reply.candidates and reply.candidates[0].finish_reason == types.FinishReason.STOP
        assert reply.usage_metadata and reply.usage_metadata.total_token_count == 18

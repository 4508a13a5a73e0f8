"""`POST /v1/completions`, the older format: served by chat models of every upstream format, judged by OpenAI's SDK."""

import asyncio
from typing import Any

import openai
import pytest

from tests import native, streams
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Site
from tests.native import FORMATS, INPUT_TOKENS, OUTPUT_TOKENS, Format

PROMPT = "Say hello"
ASKED: dict[str, Any] = {"model": MODEL, "prompt": PROMPT}

every_upstream = pytest.mark.parametrize("upstream", FORMATS)


@every_upstream
async def test_a_whole_completion(site: Site, upstream: Format) -> None:
    vendor = await site.upstream(upstream)
    completion = await site.clients().openai.completions.create(**ASKED, max_tokens=64, temperature=0.5)
    assert (completion.object, completion.model) == ("text_completion", MODEL)
    assert completion.id.startswith("cmpl-")
    [choice] = completion.choices
    assert (choice.text, choice.finish_reason, choice.index) == ("hello from upstream", "stop", 0)
    usage = completion.usage
    assert usage and (usage.prompt_tokens, usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    [request] = vendor.requests
    assert PROMPT.encode() in request.body and b'"prompt"' not in request.body
    assert not request.path.endswith("/v1/completions")


@every_upstream
async def test_a_streamed_completion(site: Site, upstream: Format) -> None:
    await site.upstream(upstream)
    stream = await site.clients().openai.completions.create(
        **ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "hello from upstream"
    assert sum(bool(chunk.choices and chunk.choices[0].text) for chunk in chunks) == len(native.WORDS)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert {(chunk.object, chunk.model, chunk.id) for chunk in chunks} == {("text_completion", MODEL, chunks[0].id)}
    usage = chunks[-1].usage
    assert usage and (usage.prompt_tokens, usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


@every_upstream
async def test_each_word_arrives_when_it_is_said(site: Site, upstream: Format) -> None:
    rest = asyncio.Event()
    said = streams.events(upstream)
    first = next(number for number, event in enumerate(said, 1) if native.WORDS[0].encode() in event)
    await site.upstream(upstream, streams.held(upstream, rest, after=first))
    stream = await site.clients().openai.completions.create(**ASKED, stream=True)
    words = (chunk.choices[0].text async for chunk in stream if chunk.choices and chunk.choices[0].text)
    assert await anext(words) == native.WORDS[0]
    rest.set()
    assert [word async for word in words] == [*native.WORDS[1:]]


@every_upstream
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_upstreams_refusal_is_told_in_openais_words(site: Site, upstream: Format, stream: bool) -> None:
    await site.upstream(upstream, native.error(upstream, 400, "too hot"))
    with pytest.raises(openai.BadRequestError, match="too hot"):
        await site.clients().openai.completions.create(**ASKED, stream=stream)


@pytest.mark.parametrize("upstream", ["openai-chat", "anthropic", "openai-responses"])
async def test_a_stream_that_breaks_off_is_no_success(site: Site, upstream: Format) -> None:
    said = streams.events(upstream)
    spoken = next(number for number, event in enumerate(said, 1) if native.WORDS[0].encode() in event)
    await site.upstream(upstream, streams.broken(upstream, after=spoken))
    stream = await site.clients().openai.completions.create(**ASKED, stream=True)
    words: list[str] = []
    with pytest.raises(openai.APIError, match="cut off"):
        async for chunk in stream:
            words += [choice.text for choice in chunk.choices]
    assert "".join(words) == native.WORDS[0]


async def test_the_prompt_is_echoed_where_the_client_wants_it(site: Site) -> None:
    await site.upstream("anthropic")
    completion = await site.clients().openai.completions.create(**ASKED, echo=True)
    assert completion.choices[0].text == f"{PROMPT}hello from upstream"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"n": 2}, "n"),
        ({"suffix": "the end"}, "suffix"),
        ({"prompt": None}, "prompt"),
    ],
)
async def test_what_a_chat_model_cannot_do_is_refused(site: Site, asked: dict[str, Any], param: str) -> None:
    vendor = await site.upstream("gemini")
    with pytest.raises(openai.BadRequestError) as refused:
        await site.clients().openai.completions.create(**{**ASKED, **asked})
    assert refused.value.param == param
    assert not vendor.requests


async def test_another_upstream_serves_when_the_first_refuses(site: Site) -> None:
    await site.upstream("anthropic", native.error("anthropic", 529), priority=1)
    other = await site.upstream("gemini")
    completion = await site.clients().openai.completions.create(**ASKED)
    assert completion.choices[0].text == "hello from upstream"
    assert UPSTREAM_MODEL in other.requests[0].path
    assert other.requests[0].json["contents"][0]["parts"] == [{"text": PROMPT}]

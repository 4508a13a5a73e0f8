"""`force-mapping`: answers name the model as the client did, also where they pass as they are."""

from dataclasses import replace
from typing import Any

import pytest

from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients, Site
from tests.native import FORMATS, Format

MAPPED = [{"name": UPSTREAM_MODEL, "alias": MODEL, "force-mapping": True}]
HELLO: Any = [{"role": "user", "content": "hello"}]

every_format = pytest.mark.parametrize("format", FORMATS)
in_both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def models(clients: Clients, format: Format, *, stream: bool, model: str = MODEL) -> set[Any]:
    """The models that an answer names, in all of its pieces."""
    match format:
        case "openai-chat":
            create: Any = clients.openai.chat.completions.create
            if stream:
                return {chunk.model async for chunk in await create(model=model, messages=HELLO, stream=True)}
            return {(await create(model=model, messages=HELLO)).model}
        case "openai-responses":
            create = clients.openai.responses.create
            if stream:
                events = [event async for event in await create(model=model, input="hello", stream=True)]
                return {event.response.model for event in events if hasattr(event, "response")}
            return {(await create(model=model, input="hello")).model}
        case "anthropic":
            create = clients.anthropic.messages.create
            asked: Any = {"model": model, "max_tokens": 64, "messages": HELLO}
            if stream:
                events = [event async for event in await create(**asked, stream=True)]
                return {event.message.model for event in events if event.type == "message_start"}
            return {(await create(**asked)).model}
        case "gemini":
            google = clients.google.models
            if stream:
                chunks = await google.generate_content_stream(model=model, contents="hello")
                return {chunk.model_version async for chunk in chunks}
            return {(await google.generate_content(model=model, contents="hello")).model_version}


@every_format
@in_both_ways
async def test_the_clients_name_stands_in_the_answer(site: Site, format: Format, stream: bool) -> None:
    vendor = await site.upstream(format, native.text(format, model="up-model-2025", stream=stream), models=MAPPED)
    assert await models(site.clients(), format, stream=stream) == {MODEL}
    assert vendor.requests[0].headers["accept-encoding"] == "identity"


@every_format
@in_both_ways
async def test_without_it_the_upstreams_name_passes(site: Site, format: Format, stream: bool) -> None:
    await site.upstream(format)
    assert await models(site.clients(), format, stream=stream) == {UPSTREAM_MODEL}


@every_format
@in_both_ways
async def test_a_name_under_which_the_client_may_call_it_too_counts_as_its_name(
    site: Site, format: Format, stream: bool
) -> None:
    await site.upstream(format, models=MAPPED, prefix="mine")
    assert await models(site.clients(), format, stream=stream, model=f"mine/{MODEL}") == {f"mine/{MODEL}"}


@every_format
@in_both_ways
async def test_a_translated_answer_has_the_clients_name_anyway(site: Site, format: Format, stream: bool) -> None:
    await site.upstream("gemini" if format == "anthropic" else "anthropic")
    assert await models(site.clients(), format, stream=stream) == {MODEL}


def in_pieces(answer: Answer, size: int) -> Answer:
    said = answer.whole
    return replace(answer, body=[said[start : start + size] for start in range(0, len(said), size)])


@every_format
@in_both_ways
async def test_nothing_but_the_name_changes(site: Site, format: Format, stream: bool) -> None:
    """However the answer is cut on its way, and also where the name stands in what the model says."""
    words = ('{"model": "', "up-model-2025", '"}')
    said = native.text(format, words=words, model="up-model-2025", stream=stream)
    vendor = await site.upstream(format, in_pieces(said, 7), models=MAPPED)
    paths = {"openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses", "anthropic": "/v1/messages"}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    path = paths.get(format, f"/v1beta/models/{MODEL}:{verb}")
    answer = await site.clients().http.post(path, json={"model": MODEL, "stream": stream})
    key = b'"modelVersion": "' if format == "gemini" else b'"model": "'
    assert key + b'up-model-2025"' in said.whole
    assert answer.content == said.whole.replace(key + b'up-model-2025"', key[:-1] + b'"model"')
    assert len(vendor.requests) == 1

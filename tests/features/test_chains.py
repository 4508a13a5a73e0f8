"""Fallback chains: a name for several models, tried in order, whoever offers them and whatever they speak."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from tests import native, streams
from tests.answers import Answer
from tests.features.gateways import PROVIDERS, Clients, Site
from tests.native import FORMATS, Format
from tests.upstream import Upstream

CHAIN = {"best": {"targets": ["large", "small"], "on": ["quota", "error", "context"]}}

PATHS: Mapping[Format, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:{verb}",
}

TOO_LONG: Mapping[Format, str] = {
    "openai-chat": "This model's maximum context length is 8 tokens. However, your messages resulted in 9 tokens.",
    "openai-responses": "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "anthropic": "prompt is too long: 9 tokens > 8 maximum",
    "gemini": "The input token count (9) exceeds the maximum number of tokens allowed (8).",
}
"""What each vendor says with its 400."""

FAILURES: Mapping[str, int] = {"quota": 429, "error": 500, "context": 400}

every_client = pytest.mark.parametrize("client", FORMATS)
in_both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def ask(clients: Clients, format: Format, model: str = "best", *, stream: bool = False) -> httpx2.Response:
    hello = {"role": "user", "content": "hello"}
    bodies: Mapping[Format, dict[str, Any]] = {
        "openai-chat": {"model": model, "messages": [hello], "stream": stream},
        "openai-responses": {"model": model, "input": "hello", "stream": stream},
        "anthropic": {"model": model, "max_tokens": 64, "messages": [hello], "stream": stream},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
    }
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    path = PATHS[format].format(model=model, verb=verb)
    return await clients.http.post(path, json=bodies[format])


async def two(site: Site, first: Format, second: Format, *answers: Answer) -> tuple[Upstream, Upstream]:
    """`large`, which answers so, and `small`, each from an upstream of its own."""
    large = await site.upstream(first, *answers, models=[{"name": "up-large", "alias": "large"}])
    small = await site.upstream(second, models=[{"name": "up-small", "alias": "small"}])
    return large, small


def failure(format: Format, kind: str) -> Answer:
    return native.error(format, FAILURES[kind], TOO_LONG[format] if kind == "context" else "not now")


@every_client
@in_both_ways
@pytest.mark.parametrize("kind", FAILURES)
async def test_the_next_model_answers_in_the_clients_format(
    site: Site, client: Format, stream: bool, kind: str
) -> None:
    first: Format = "openai-responses" if client == "gemini" else "gemini"
    second: Format = "openai-chat" if client == "anthropic" else "anthropic"
    large, small = await two(site, first, second, failure(first, kind))
    answer = await ask(site.clients(site.gateway(models=CHAIN)), client, stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-cliproxy-served-by"] == f"{PROVIDERS[second]}/up-small"
    assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert all(word.strip() in answer.text for word in native.WORDS)
    assert '"best"' in answer.text and "up-small" not in answer.text
    assert (len(large.requests), len(small.requests)) == (1, 1)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("on", FAILURES)
async def test_each_vendors_failure_is_taken_for_what_it_is(site: Site, format: Format, kind: str, on: str) -> None:
    chain = {"best": {"targets": ["large", "small"], "on": [on]}}
    _, small = await two(site, format, "anthropic", failure(format, kind))
    answer = await ask(site.clients(site.gateway(models=chain)), "openai-chat")
    assert answer.status_code == (200 if kind == on else FAILURES[kind])
    assert len(small.requests) == (kind == on)


async def test_a_context_too_long_may_be_told_in_the_stream(site: Site) -> None:
    """As OpenAI does it: the status is 200, and the first event but two is the failure."""
    error = {"code": "context_length_exceeded", "message": TOO_LONG["openai-responses"]}
    failed = {"type": "response.failed", "response": {"id": "r", "status": "failed", "output": [], "error": error}}
    opening = streams.events("openai-responses")[:2]
    said = [*opening, f"event: response.failed\ndata: {json.dumps(failed)}\n\n".encode()]
    refusal = Answer(headers={"content-type": "text/event-stream"}, body=said)
    await two(site, "openai-responses", "gemini", refusal)
    answer = await ask(site.clients(site.gateway(models=CHAIN)), "anthropic", stream=True)
    assert answer.headers["x-cliproxy-served-by"] == "gemini/up-small"


async def test_all_keys_of_a_model_are_tried_before_the_next_model(site: Site) -> None:
    models = [{"name": "large"}]
    first = await site.upstream("anthropic", native.error("anthropic", 429), models=models)
    second = await site.upstream("anthropic", models=models)
    small = await site.upstream("gemini", models=[{"name": "small"}])
    answer = await ask(site.clients(site.gateway(models=CHAIN)), "anthropic")
    assert answer.headers["x-cliproxy-served-by"] == "claude/large"
    assert (len(first.requests), len(second.requests), len(small.requests)) == (1, 1, 0)


async def test_a_model_that_is_sidelined_is_passed_over_at_once(site: Site) -> None:
    large, small = await two(site, "anthropic", "gemini", native.error("anthropic", 429, retry_after="60"))
    clients = site.clients(site.gateway(models=CHAIN))
    for _ in range(3):
        assert (await ask(clients, "openai-chat")).headers["x-cliproxy-served-by"] == "gemini/up-small"
    assert (len(large.requests), len(small.requests)) == (1, 3)
    site.clock.pass_s(61)
    assert (await ask(clients, "openai-chat")).headers["x-cliproxy-served-by"] == "claude/up-large"


@every_client
async def test_when_all_fail_the_last_ones_words_are_told(site: Site, client: Format) -> None:
    _, small = await two(site, "anthropic", "gemini", native.error("anthropic", 429, "large is busy"))
    small.script(native.error("gemini", 503, "small is down"))
    answer = await ask(site.clients(site.gateway(models=CHAIN)), client)
    assert answer.status_code == 503
    assert "small is down" in answer.json()["error"]["message"]
    assert "x-cliproxy-served-by" not in answer.headers


async def test_a_target_that_nobody_offers_is_passed_over(site: Site) -> None:
    await site.upstream("gemini", models=[{"name": "small"}])
    answer = await ask(site.clients(site.gateway(models=CHAIN)), "anthropic")
    assert answer.headers["x-cliproxy-served-by"] == "gemini/small"


async def test_a_chain_of_nothing_is_an_unknown_model(site: Site) -> None:
    await site.upstream("gemini", models=[{"name": "other"}])
    answer = await ask(site.clients(site.gateway(models=CHAIN)), "anthropic")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert "'large'" in answer.json()["error"]["message"]


async def test_a_pattern_takes_names_that_nothing_else_is_for(site: Site) -> None:
    """Tools ask for models of their own choice beside the one that the user chose."""
    await two(site, "anthropic", "gemini")
    chains = {"claude-*": {"targets": ["large"]}, "*": {"targets": ["small"]}, "claude-x": {"targets": ["small"]}}
    clients = site.clients(site.gateway(models=chains))
    served = {
        name: (await ask(clients, "anthropic", name)).headers["x-cliproxy-served-by"].rpartition("/")[2]
        for name in ("claude-sonnet", "claude-x", "gpt-5")
    }
    assert served == {"claude-sonnet": "up-large", "claude-x": "up-small", "gpt-5": "up-small"}


async def test_a_chain_may_have_the_name_of_its_first_model(site: Site) -> None:
    large, _ = await two(site, "anthropic", "gemini", native.error("anthropic", 500))
    clients = site.clients(site.gateway(models={"large": {"targets": ["large", "small"]}}))
    assert (await ask(clients, "anthropic", "large")).headers["x-cliproxy-served-by"] == "gemini/up-small"
    assert len(large.requests) == 1


@in_both_ways
async def test_targets_say_how_much_to_think(site: Site, stream: bool) -> None:
    large, _ = await two(site, "openai-chat", "gemini")
    chains = {"best": {"targets": ["large(high)", "small"]}}
    await ask(site.clients(site.gateway(models=chains)), "openai-chat", stream=stream)
    assert large.requests[0].json["reasoning_effort"] == "high"


async def test_what_has_begun_is_not_begun_again(site: Site) -> None:
    spoken = next(n for n, event in enumerate(streams.events("anthropic"), 1) if native.WORDS[0].encode() in event)
    _, small = await two(site, "anthropic", "gemini", streams.broken("anthropic", after=spoken))
    answer = await ask(site.clients(site.gateway(models=CHAIN)), "anthropic", stream=True)
    assert answer.headers["x-cliproxy-served-by"] == "claude/up-large"
    assert "event: error" in answer.text
    assert not small.requests


async def test_a_used_up_model_gives_way_to_its_preview(site: Site) -> None:
    models = [{"name": "large"}, {"name": "large-preview"}]
    await site.upstream("gemini", native.error("gemini", 429), models=models)
    gateway = site.gateway(quota_exceeded={"switch-preview-model": True})
    answer = await ask(site.clients(gateway), "gemini", "large")
    assert answer.headers["x-cliproxy-served-by"] == "gemini/large-preview"


async def test_a_client_that_leaves_ends_the_chain(site: Site) -> None:
    large, small = await two(site, "anthropic", "gemini", Answer(hang=True))
    asking = asyncio.ensure_future(ask(site.clients(site.gateway(models=CHAIN)), "anthropic"))
    [request] = await large.received()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(request.disconnected.wait(), 5)
    assert not small.requests

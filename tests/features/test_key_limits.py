"""Client keys with limits: which models and providers they may use, how often, for how much money and how long."""

import asyncio
from collections.abc import Mapping
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors

from tests import native, streams
from tests.answers import Answer
from tests.features.gateways import MODEL, Clients, Site
from tests.native import FORMATS, Format

KEY = "sk-test-limited"
PRICED = "claude-sonnet-4-5"
"""A model with a list price: one answer of 11 tokens in and 7 out costs $0.000138."""
COST_USD = 0.000138
REFUSALS: tuple[type[Exception], ...] = (openai.APIStatusError, anthropic.APIStatusError, errors.APIError)


def limited(site: Site, options: Mapping[str, Any] | None = None, **limits: Any) -> Clients:
    """Clients with a key of such limits."""
    key = {"key": KEY, "name": "ann", **{name.replace("_", "-"): value for name, value in limits.items()}}
    return site.clients(site.gateway(api_keys=[key, "sk-test-free"], **(options or {})), KEY)


async def ask(clients: Clients, format: Format = "anthropic", model: str = MODEL) -> str:
    """The answer's text; raises what the vendor's SDK raises."""
    match format:
        case "openai-chat":
            messages: Any = [{"role": "user", "content": "hi"}]
            completion = await clients.openai.chat.completions.create(model=model, messages=messages)
            return completion.choices[0].message.content or ""
        case "openai-responses":
            return (await clients.openai.responses.create(model=model, input="hi")).output_text
        case "anthropic":
            messages = [{"role": "user", "content": "hi"}]
            message = await clients.anthropic.messages.create(model=model, max_tokens=64, messages=messages)
            assert message.content[0].type == "text"
            return message.content[0].text
        case "gemini":
            return (await clients.google.models.generate_content(model=model, contents="hi")).text


async def refused(
    clients: Clients, format: Format = "anthropic", model: str = MODEL
) -> tuple[int, str, Mapping[str, str]]:
    """Status, message and headers of the refusal."""
    with pytest.raises(REFUSALS) as refusal:
        await ask(clients, format, model)
    error: Any = refusal.value
    return error.code if format == "gemini" else error.status_code, str(error), error.response.headers


# ---------------------------------------------------------------- models and providers


@pytest.mark.parametrize("format", FORMATS)
async def test_only_its_models(site: Site, format: Format) -> None:
    vendor = await site.upstream("anthropic", models=[{"name": "small-1"}, {"name": "small-2"}, {"name": "large"}])
    clients = limited(site, models=["small-*"])
    assert await ask(clients, format, "small-2") == "hello from upstream"
    status, message, _ = await refused(clients, format, "large")
    assert status == 403 and "may not use 'large'" in message
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("format", FORMATS)
async def test_only_its_providers(site: Site, format: Format) -> None:
    other = await site.upstream("anthropic", models=[{"name": MODEL}, {"name": "large"}], priority=1)
    await site.upstream("gemini")
    clients = limited(site, providers=["gem*"])
    assert await ask(clients, format) == "hello from upstream"
    status, message, _ = await refused(clients, format, "large")
    assert status == 403 and "may not use the providers of 'large'" in message
    assert not other.requests


async def test_a_failover_stays_with_its_providers(site: Site) -> None:
    await site.upstream("gemini", native.error("gemini", 503))
    other = await site.upstream("anthropic")
    status, _, _ = await refused(limited(site, providers=["gemini"]))
    assert status == 503
    assert not other.requests


async def test_lists_show_only_its_models(site: Site) -> None:
    await site.upstream("anthropic", models=[{"name": "small-1"}, {"name": "large"}])
    clients = limited(site, models=["small-*"])
    assert [model.id async for model in clients.openai.models.list()] == ["small-1"]
    assert [model.id async for model in clients.anthropic.models.list()] == ["small-1"]
    with pytest.raises(openai.NotFoundError):
        await clients.openai.models.retrieve("large")


async def test_a_thinking_suffix_is_no_other_model(site: Site) -> None:
    await site.upstream("anthropic")
    assert await ask(limited(site, models=[MODEL]), model=f"{MODEL}(high)") == "hello from upstream"


async def test_tokens_are_counted_for_its_models_only(site: Site) -> None:
    vendor = await site.upstream("anthropic", models=[{"name": "large"}])
    with pytest.raises(anthropic.PermissionDeniedError):
        hello: Any = [{"role": "user", "content": "hi"}]
        await limited(site, models=["small-*"]).anthropic.messages.count_tokens(model="large", messages=hello)
    assert not vendor.requests


async def test_a_chain_that_it_may_use_is_its_model(site: Site) -> None:
    """The client's name for it is the chain's; which models stand behind it is the operator's affair."""
    await site.upstream("anthropic")
    options = {"models": {"best": {"targets": [MODEL]}}}
    assert await ask(limited(site, options, models=["best"]), model="best") == "hello from upstream"


async def test_a_chain_passes_over_what_it_may_not_use(site: Site) -> None:
    other = await site.upstream("gemini", models=[{"name": "large"}])
    await site.upstream("anthropic")
    options = {"models": {"best": {"targets": ["large", MODEL]}}}
    assert await ask(limited(site, options, providers=["claude"]), model="best") == "hello from upstream"
    assert not other.requests


async def embed(clients: Clients, model: str = MODEL) -> int:
    """The status of a call that passes to the vendor as it is."""
    headers = {"authorization": f"Bearer {KEY}"}
    return (
        await clients.http.post("/v1/embeddings", json={"model": model, "input": "hi"}, headers=headers)
    ).status_code


def embeddings() -> Answer:
    return Answer(headers={"content-type": "application/json"}, body=b'{"object": "list", "data": []}')


async def test_routes_that_pass_to_the_vendor_have_the_same_limits(site: Site) -> None:
    models = [{"name": "small"}, {"name": "large"}]
    vendor = await site.upstream("openai-chat", *[embeddings()] * 3, models=models)
    assert await embed(limited(site, providers=["claude"]), "small") == 403
    assert await embed(limited(site, models=["small"]), "large") == 403
    assert not vendor.requests
    clients = limited(site, models=["small"], providers=["chat"], rpm=1)
    assert [await embed(clients, "small") for _ in range(2)] == [200, 429]
    assert len(vendor.requests) == 1


# ---------------------------------------------------------------- how often


@pytest.mark.parametrize("format", FORMATS)
async def test_requests_a_minute(site: Site, format: Format) -> None:
    vendor = await site.upstream("anthropic")
    clients = limited(site, rpm=2)
    for _ in range(2):
        await ask(clients, format)
    site.clock.pass_s(20)
    status, message, headers = await refused(clients, format)
    assert status == 429 and "2 requests of this minute" in message and "'ann'" not in message and KEY not in message
    assert 39 <= int(headers["retry-after"]) <= 41
    site.clock.pass_s(int(headers["retry-after"]))
    assert await ask(clients, format) == "hello from upstream"
    assert len(vendor.requests) == 3


async def test_a_reload_of_the_config_gives_no_new_minute(site: Site) -> None:
    await site.upstream("anthropic")
    await ask(limited(site, rpm=1))
    assert (await refused(limited(site, rpm=1)))[0] == 429


async def test_other_keys_have_their_own_minute(site: Site) -> None:
    await site.upstream("anthropic")
    keys = [{"key": "sk-test-ann", "rpm": 1}, {"key": "sk-test-bob", "rpm": 1}]
    gateway = site.gateway(api_keys=keys)
    for key in ("sk-test-ann", "sk-test-bob"):
        assert await ask(site.clients(gateway, key)) == "hello from upstream"
    assert (await refused(site.clients(gateway, "sk-test-ann")))[0] == 429


async def test_requests_at_once_do_not_pass_together(site: Site) -> None:
    vendor = await site.upstream("anthropic")
    clients = limited(site, rpm=3)
    answers = await asyncio.gather(*(ask(clients) for _ in range(8)), return_exceptions=True)
    assert sum(answer == "hello from upstream" for answer in answers) == 3 == len(vendor.requests)


async def test_tokens_a_minute(site: Site) -> None:
    await site.upstream("anthropic")
    clients = limited(site, tpm=native.INPUT_TOKENS + native.OUTPUT_TOKENS + 1)
    for _ in range(2):
        await ask(clients)
    status, message, headers = await refused(clients)
    assert status == 429 and "tokens of this minute" in message
    site.clock.pass_s(int(headers["retry-after"]))
    assert await ask(clients) == "hello from upstream"


# ---------------------------------------------------------------- for how much


@pytest.mark.parametrize("format", FORMATS)
async def test_dollars_a_month(site: Site, format: Format) -> None:
    vendor = await site.upstream("anthropic", models=[{"name": PRICED, "alias": MODEL}])
    clients = limited(site, budget_usd=1.5 * COST_USD)
    for _ in range(2):
        assert await ask(clients, format) == "hello from upstream"
    status, message, _ = await refused(clients, format)
    assert status == 429 and "budget is renewed on 2025-12-01" in message
    assert len(vendor.requests) == 2
    site.clock.pass_s(31 * 24 * 3600)
    assert await ask(clients, format) == "hello from upstream"


async def test_what_a_stream_cost_until_the_client_left_counts(site: Site) -> None:
    vendor = await site.upstream(
        "anthropic", streams.held("anthropic", after=4), models=[{"name": PRICED, "alias": MODEL}]
    )
    clients = limited(site, budget_usd=COST_USD / 100)
    messages: Any = [{"role": "user", "content": "hi"}]
    async with clients.anthropic.messages.stream(model=MODEL, max_tokens=64, messages=messages) as stream:
        await anext(stream.text_stream)
    await asyncio.wait_for(vendor.requests[0].disconnected.wait(), 5)
    assert (await refused(clients))[0] == 429


async def test_what_failed_costs_nothing(site: Site) -> None:
    models = [{"name": PRICED, "alias": MODEL}]
    await site.upstream("anthropic", native.error("anthropic", 529), models=models, priority=1)
    await site.upstream("anthropic", models=models)
    clients = limited(site, budget_usd=1.5 * COST_USD)
    for _ in range(2):
        await ask(clients)
    assert (await refused(clients))[0] == 429


# ---------------------------------------------------------------- how long


@pytest.mark.parametrize("format", FORMATS)
async def test_an_expired_key_is_refused(site: Site, format: Format) -> None:
    vendor = await site.upstream("anthropic")
    status, message, _ = await refused(limited(site, expires="2020-01-01"), format)
    assert status == 401 and "has expired" in message
    assert not vendor.requests


async def test_a_key_that_expires_later_serves(site: Site) -> None:
    await site.upstream("anthropic")
    assert await ask(limited(site, expires="2999-12-31T18:00:00Z")) == "hello from upstream"


async def test_a_key_without_limits_beside_it_has_none(site: Site) -> None:
    await site.upstream("anthropic")
    gateway = site.gateway(api_keys=[{"key": KEY, "rpm": 1, "models": ["other"]}, "sk-test-free"])
    for _ in range(3):
        assert await ask(site.clients(gateway, "sk-test-free")) == "hello from upstream"

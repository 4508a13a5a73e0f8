"""Counting the tokens of a request, between all formats: the upstream's count where it has a counter, else an estimate.

An estimate says so: `x-cliproxy-token-count: estimated`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients, Site
from tests.native import Format

SYSTEM = "Answer in verse."
TELLS = "Tells the weather of a city."
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}

COUNTERS: Mapping[Format, tuple[str, dict[str, Any]]] = {
    "openai-responses": ("/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 42}),
    "anthropic": ("/v1/messages/count_tokens", {"input_tokens": 42}),
    "gemini": (f"/v1beta/models/{UPSTREAM_MODEL}:countTokens", {"totalTokens": 42}),
}
"""Where an upstream counts, and what it answers. Chat Completions has no counter."""

every_client = pytest.mark.parametrize("client", COUNTERS)
every_counter = pytest.mark.parametrize("upstream", COUNTERS)


def counted(format: Format) -> Answer:
    return Answer(headers={"content-type": "application/json"}, body=json.dumps(COUNTERS[format][1]).encode())


@dataclass
class Count:
    """What a client is told."""

    tokens: int
    is_estimated: bool


async def count(clients: Clients, format: Format, text: str = "hello", model: str = MODEL) -> Count:
    """Count a request with a system prompt and a tool, as the vendor's SDK does."""
    headers: list[httpx2.Headers] = []

    async def note(response: httpx2.Response) -> None:
        headers.append(response.headers)

    clients.http.event_hooks = {"response": [note]}
    match format:
        case "openai-responses":
            tool: Any = {
                "type": "function",
                "name": "weather",
                "description": TELLS,
                "parameters": SCHEMA,
                "strict": False,
            }
            counter = clients.openai.responses.input_tokens
            tokens = (await counter.count(model=model, input=text, instructions=SYSTEM, tools=[tool])).input_tokens
        case "anthropic":
            messages: Any = [{"role": "user", "content": text}]
            tool = {"name": "weather", "description": TELLS, "input_schema": SCHEMA}
            asked: Any = {"model": model, "messages": messages, "system": SYSTEM, "tools": [tool]}
            tokens = (await clients.anthropic.messages.count_tokens(**asked)).input_tokens
        case _:
            # The SDK's Gemini client knows no system prompt and no tools here; the API does.
            declared = [{"name": "weather", "description": TELLS, "parameters": SCHEMA}]
            whole = {
                "model": f"models/{model}",
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "systemInstruction": {"parts": [{"text": SYSTEM}]},
                "tools": [{"functionDeclarations": declared}],
            }
            answer = await clients.http.post(
                f"/v1beta/models/{model}:countTokens", json={"generateContentRequest": whole}
            )
            tokens = answer.raise_for_status().json()["totalTokens"]
    return Count(tokens, headers[-1].get("x-cliproxy-token-count") == "estimated")


@every_client
@every_counter
async def test_the_upstream_counts(site: Site, client: Format, upstream: Format) -> None:
    vendor = await site.upstream(upstream, counted(upstream))
    assert await count(site.clients(), client) == Count(42, is_estimated=False)
    [request] = vendor.requests
    assert request.path == COUNTERS[upstream][0]
    if upstream != "gemini":
        assert request.json["model"] == UPSTREAM_MODEL


@every_client
@every_counter
async def test_the_upstream_counts_the_whole_request(site: Site, client: Format, upstream: Format) -> None:
    """System prompt and tools are most of what coding agents send."""
    vendor = await site.upstream(upstream, counted(upstream))
    await count(site.clients(), client)
    for part in (b"hello", SYSTEM.encode(), TELLS.encode()):
        assert part in vendor.requests[0].body
    for field in (b"max_tokens", b"max_output_tokens", b"stream", b"store"):
        assert field not in vendor.requests[0].body


async def test_googles_sdk_counts(site: Site) -> None:
    vendor = await site.upstream("anthropic", counted("anthropic"))
    told = await site.clients().google.models.count_tokens(model=MODEL, contents="hello")
    assert told.total_tokens == 42
    assert vendor.requests[0].json["messages"][0]["role"] == "user"


# ---------------------------------------------------------------- estimates


@every_client
async def test_where_nobody_counts_the_count_is_estimated(site: Site, client: Format) -> None:
    vendor = await site.upstream("openai-chat")
    clients = site.clients()
    short, long = await count(clients, client), await count(clients, client, "hello " * 1000)
    assert short.is_estimated and long.is_estimated
    assert 5 < short.tokens < 200
    assert 800 < long.tokens - short.tokens < 2000
    assert not vendor.requests


@every_client
@pytest.mark.parametrize(
    "answer",
    [
        native.error("anthropic", 404, "no such route"),
        native.error("anthropic", 500),
        native.error("anthropic", 400, "this is wrong"),
        Answer(headers={"content-type": "application/json"}, body=b'{"input_tokens": "many"}'),
        Answer(headers={"content-type": "text/html"}, body=b"<html>"),
        Answer(raw=b""),
    ],
    ids=["no counter", "500", "400", "no number", "HTML", "hangs up"],
)
async def test_where_the_counter_fails_the_count_is_estimated(site: Site, client: Format, answer: Answer) -> None:
    await site.upstream("anthropic", answer)
    told = await count(site.clients(), client)
    assert told.is_estimated and told.tokens > 5


@every_client
async def test_where_all_counters_fail_the_count_is_estimated(site: Site, client: Format) -> None:
    for format in COUNTERS:
        await site.upstream(format, native.error(format, 500))
    assert (await count(site.clients(), client)).is_estimated


@every_client
async def test_where_all_are_sidelined_the_count_is_estimated(site: Site, client: Format) -> None:
    """The client can wait for its answer, but hardly for the number that it decides by."""
    vendor = await site.upstream("anthropic", native.error("anthropic", 429, retry_after="60"))
    clients = site.clients()
    for _ in range(2):
        assert (await count(clients, client)).is_estimated
    assert len(vendor.requests) == 1


async def test_another_counter_counts_when_the_first_fails(site: Site) -> None:
    await site.upstream("anthropic", native.error("anthropic", 500), priority=1)
    await site.upstream("gemini", counted("gemini"))
    assert await count(site.clients(), "anthropic") == Count(42, is_estimated=False)


async def test_a_failed_count_sidelines_nobody(site: Site) -> None:
    for status in (404, 500):
        vendor = await site.upstream("anthropic", native.error("anthropic", status), models=[{"name": f"m{status}"}])
        clients = site.clients()
        assert (await count(clients, "anthropic", model=f"m{status}")).is_estimated
        hello: Any = [{"role": "user", "content": "hi"}]
        await clients.anthropic.messages.create(model=f"m{status}", max_tokens=9, messages=hello)
        assert len(vendor.requests) == 2


# ---------------------------------------------------------------- what belongs to the request


@every_counter
async def test_a_conversation_that_goes_on_by_an_id_counts_whole(site: Site, upstream: Format) -> None:
    await site.upstream("anthropic")
    first = await site.clients().openai.responses.create(model=MODEL, input="Make soup.")
    vendor = await site.upstream(upstream, counted(upstream), priority=1)
    told = await site.clients().openai.responses.input_tokens.count(
        model=MODEL, input="Is it done?", previous_response_id=first.id
    )
    assert told.input_tokens == 42
    for part in (b"Make soup.", b"hello from upstream", b"Is it done?"):
        assert part in vendor.requests[0].body
    assert b"previous_response_id" not in vendor.requests[0].body


async def test_a_native_count_passes_with_its_query_and_headers(site: Site) -> None:
    """Claude Code counts with `?beta=true`."""
    vendor = await site.upstream("anthropic", counted("anthropic"))
    body = b'{"model": "model", "messages": [ {"role":"user","content":"\\u00e9"} ], "new_field": 1.50}'
    headers = {"anthropic-beta": "context-1m", "x-api-key": "sk-test-client"}
    answer = await site.clients().http.post("/v1/messages/count_tokens?beta=true", content=body, headers=headers)
    assert answer.json() == {"input_tokens": 42}
    [request] = vendor.requests
    assert (request.query, request.headers["anthropic-beta"]) == ("beta=true", "context-1m")
    assert b'[ {"role":"user","content":"\\u00e9"} ]' in request.body and b"1.50" in request.body
    assert b"sk-test-client" not in repr(request.headers).encode()


# ---------------------------------------------------------------- what cannot be counted


async def test_an_unknown_model_is_told(site: Site) -> None:
    await site.upstream("anthropic")
    with pytest.raises(anthropic.NotFoundError, match="unknown model 'nobody'"):
        await count(site.clients(), "anthropic", model="nobody")
    with pytest.raises(openai.NotFoundError, match="unknown model 'nobody'"):
        await count(site.clients(), "openai-responses", model="nobody")


async def test_what_is_no_request_is_told(site: Site) -> None:
    await site.upstream("openai-chat")
    answer = await site.clients().http.post("/v1/messages/count_tokens", json={"model": MODEL, "messages": 1})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "messages" in answer.json()["error"]["message"]

"""`payload`: what a config changes in the bodies that go upstream, passed on or translated.

Which rule is for which request is `tests/routing/test_payload.py`; here the rules meet real requests.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from tests import native
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Clients, Site
from tests.native import FORMATS, Format

PATHS: Mapping[Format, str] = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": f"/v1beta/models/{MODEL}:generateContent",
}
TEMPERATURE: Mapping[Format, str] = {
    "openai-chat": "temperature",
    "openai-responses": "temperature",
    "anthropic": "temperature",
    "gemini": "generationConfig.temperature",
}
"""Where each format has it."""


async def ask(clients: Clients, format: Format, temperature: float | None = None, **headers: str) -> None:
    message = {"role": "user", "content": "hello"}
    match format:
        case "openai-chat":
            body: dict[str, Any] = {"model": MODEL, "messages": [message]}
        case "openai-responses":
            body = {"model": MODEL, "input": "hello"}
        case "anthropic":
            body = {"model": MODEL, "max_tokens": 64, "messages": [message]}
        case "gemini":
            body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    if temperature is not None:
        body |= (
            {"generationConfig": {"temperature": temperature}} if format == "gemini" else {"temperature": temperature}
        )
    answer = await clients.http.post(PATHS[format], json=body, headers=headers)
    assert answer.status_code == 200, answer.text


def value(body: Any, path: str) -> Any:
    for key in path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body


every_pair = pytest.mark.parametrize(
    ("client", "upstream"), [(client, upstream) for client in FORMATS for upstream in FORMATS]
)


@every_pair
@pytest.mark.parametrize(
    ("section", "given", "sent"), [("default", None, 0.25), ("default", 0.5, 0.5), ("override", 0.5, 0.25)]
)
async def test_a_value_is_written_where_it_is_due(
    site: Site, client: Format, upstream: Format, section: str, given: float | None, sent: float
) -> None:
    vendor = await site.upstream(upstream)
    rule = {"models": [{"name": UPSTREAM_MODEL, "protocol": upstream}], "params": {TEMPERATURE[upstream]: 0.25}}
    await ask(site.clients(site.gateway(payload={section: [rule]})), client, given)
    assert value(vendor.requests[0].json, TEMPERATURE[upstream]) == sent


@every_pair
async def test_a_field_is_taken_out(site: Site, client: Format, upstream: Format) -> None:
    vendor = await site.upstream(upstream)
    rule = {"models": ["*"], "params": [TEMPERATURE[upstream]]}
    await ask(site.clients(site.gateway(payload={"filter": [rule]})), client, 0.5)
    sent = vendor.requests[0].json
    assert value(sent, TEMPERATURE[upstream]) is None
    assert value(sent, "contents" if upstream == "gemini" else "model")


async def test_raw_json_is_written(site: Site) -> None:
    vendor = await site.upstream("openai-chat")
    payload = {
        "default-raw": [{"models": ["*"], "params": {"response_format": '{"type": "json_object"}'}}],
        "override-raw": [{"models": ["*"], "params": {"metadata": '{"team": "a", "n": [1, 2]}'}}],
    }
    await ask(site.clients(site.gateway(payload=payload)), "openai-chat")
    sent = vendor.requests[0].json
    assert (sent["response_format"], sent["metadata"]) == ({"type": "json_object"}, {"team": "a", "n": [1, 2]})


async def test_a_passed_body_keeps_its_other_bytes(site: Site) -> None:
    vendor = await site.upstream("openai-chat")
    rule = {"models": ["*"], "params": {"temperature": 0.25}}
    messages = b'[ {"role":"user", "content":"\\u00e9\\/", "x": 1.50} ]'
    body = b'{"model": "model", "messages": ' + messages + b', "unheard_of": 1e2}'
    clients = site.clients(site.gateway(payload={"override": [rule]}))
    answer = await clients.http.post(PATHS["openai-chat"], content=body)
    assert answer.status_code == 200
    sent = vendor.requests[0]
    assert sent.json["temperature"] == 0.25
    assert messages in sent.body and b"1e2" in sent.body


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({"name": UPSTREAM_MODEL}, True),
        ({"name": MODEL}, True),
        ({"name": "up-*"}, True),
        ({"name": "gpt-*"}, False),
        ({"protocol": "anthropic"}, True),
        ({"protocol": "openai-chat"}, False),
        ({"from-protocol": "openai-chat"}, True),
        ({"from-protocol": "anthropic"}, False),
        ({"headers": {"X-Team": "blue*"}}, True),
        ({"headers": {"X-Team": "red"}}, False),
        ({"match": [{"messages.0.role": "user"}]}, True),
        ({"match": [{"messages.0.role": "system"}]}, False),
        ({"not-match": [{"temperature": 0.5}]}, False),
        ({"exist": ["temperature"]}, True),
        ({"exist": ["tools"]}, False),
        ({"not-exist": ["tools"]}, True),
    ],
)
async def test_a_rule_is_for_what_its_selector_says(site: Site, selector: dict[str, Any], chosen: bool) -> None:
    """The body is that for the upstream: Anthropic's, of a Chat client."""
    vendor = await site.upstream("anthropic")
    rule = {"models": [{"name": "*", **selector}], "params": {"top_k": 3}}
    clients = site.clients(site.gateway(payload={"override": [rule]}))
    await ask(clients, "openai-chat", 0.5, **{"x-team": "blue-1"})
    assert vendor.requests[0].json.get("top_k") == (3 if chosen else None)


async def test_a_provider_may_stand_for_its_format(site: Site) -> None:
    codex = await site.upstream("openai-responses", native.error("openai-responses", 503))
    chat = await site.upstream("openai-chat")
    rule = {"models": [{"name": "*", "protocol": "codex"}], "params": {"service_tier": "flex"}}
    await ask(site.clients(site.gateway(payload={"override": [rule]})), "openai-responses")
    assert codex.requests[0].json["service_tier"] == "flex"
    assert "service_tier" not in chat.requests[0].json


async def test_each_attempt_gets_the_rules_of_its_own_upstream(site: Site) -> None:
    first = await site.upstream("anthropic", native.error("anthropic", 529), priority=1)
    second = await site.upstream("gemini")
    rules = [
        {"models": [{"name": "*", "protocol": "anthropic"}], "params": {"top_k": 3}},
        {"models": [{"name": "*", "protocol": "gemini"}], "params": {"generationConfig.topK": 4}},
    ]
    await ask(site.clients(site.gateway(payload={"override": rules})), "openai-chat")
    assert first.requests[0].json["top_k"] == 3
    assert second.requests[0].json["generationConfig"]["topK"] == 4 and "top_k" not in second.requests[0].json


async def test_defaults_overrides_and_filters_come_in_this_order(site: Site) -> None:
    vendor = await site.upstream("anthropic")
    everywhere = {"models": ["*"]}
    payload = {
        "filter": [{**everywhere, "params": ["metadata"]}],
        "override": [{**everywhere, "params": {"top_k": 1}}, {**everywhere, "params": {"top_k": 2}}],
        "default": [{**everywhere, "params": {"metadata.user_id": "x", "top_p": 0.5}},
                    {**everywhere, "params": {"top_p": 0.75}}],
    }  # fmt: skip
    await ask(site.clients(site.gateway(payload=payload)), "anthropic")
    sent = vendor.requests[0].json
    assert (sent["top_k"], sent["top_p"]) == (2, 0.5)
    assert "metadata" not in sent

"""`previous_response_id`: the gateway keeps conversations for upstreams that do not, and leaves their ids to those that do."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests import native, streams
from tests.features.gateways import MODEL, Site
from tests.native import Format
from tests.upstream import Received

TOOL: Any = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}

keeping_nothing = pytest.mark.parametrize("upstream", ["openai-chat", "anthropic", "gemini"])
in_both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def respond(client: AsyncOpenAI, text: str, *, stream: bool = False, **fields: Any) -> Response:
    asked: dict[str, Any] = {"model": MODEL, "input": text, **fields}
    if not stream:
        return await client.responses.create(**asked)
    async with client.responses.stream(**asked) as events:
        return await events.get_final_response()


def said(format: Format, request: Received) -> list[str]:
    """Who said what in a request, one string for each turn: `user: …`."""
    body = request.json
    if format == "openai-responses":
        items = [item for item in body["input"] if item.get("type", "message") == "message"]
        return [f"{item['role']}: {_text(item['content'])}" for item in items]
    if format == "gemini":
        roles = {"model": "assistant"}
        return [f"{roles.get(turn['role'], turn['role'])}: {_text(turn['parts'])}" for turn in body["contents"]]
    return [f"{turn['role']}: {_text(turn['content'])}" for turn in body["messages"]]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@keeping_nothing
@in_both_ways
async def test_a_conversation_goes_on_by_the_last_id(site: Site, upstream: Format, stream: bool) -> None:
    vendor = await site.upstream(upstream)
    client = site.clients().openai
    first = await respond(client, "One.", stream=stream)
    second = await respond(client, "Two.", stream=stream, previous_response_id=first.id)
    third = await respond(client, "Three.", stream=stream, previous_response_id=second.id)
    assert len({first.id, second.id, third.id}) == 3
    assert [first.previous_response_id, second.previous_response_id] == [None, first.id]
    answered = "assistant: hello from upstream"
    assert [said(upstream, request) for request in vendor.requests] == [
        ["user: One."],
        ["user: One.", answered, "user: Two."],
        ["user: One.", answered, "user: Two.", answered, "user: Three."],
    ]


@keeping_nothing
async def test_a_conversation_branches_off_where_the_client_wants(site: Site, upstream: Format) -> None:
    vendor = await site.upstream(upstream)
    client = site.clients().openai
    first = await respond(client, "One.")
    for text in ("Two.", "Other."):
        await respond(client, text, previous_response_id=first.id)
    assert said(upstream, vendor.requests[-1]) == ["user: One.", "assistant: hello from upstream", "user: Other."]


@keeping_nothing
@in_both_ways
async def test_a_call_is_answered_with_nothing_but_its_result(site: Site, upstream: Format, stream: bool) -> None:
    vendor = await site.upstream(upstream, native.tool_call(upstream, stream=stream))
    client = site.clients().openai
    called = await respond(client, "How warm is it?", stream=stream, tools=[TOOL])
    [call] = called.output
    assert call.type == "function_call"
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}]
    answered = await client.responses.create(model=MODEL, input=result, tools=[TOOL], previous_response_id=called.id)
    assert answered.output_text == "hello from upstream"
    sent = vendor.requests[1].body
    for part in (b"How warm is it?", b"get_weather", b"Paris", b"18 degrees"):
        assert part in sent


async def test_instructions_are_each_requests_own(site: Site) -> None:
    vendor = await site.upstream("anthropic")
    client = site.clients().openai
    first = await respond(client, "One.", instructions="Be brief.")
    await respond(client, "Two.", previous_response_id=first.id, instructions="Be kind.")
    assert b"Be brief." in vendor.requests[0].body
    assert b"Be kind." in vendor.requests[1].body and b"Be brief." not in vendor.requests[1].body


# ---------------------------------------------------------------- what is not known


@keeping_nothing
@in_both_ways
async def test_an_unknown_id_is_told_in_openais_words(site: Site, upstream: Format, stream: bool) -> None:
    vendor = await site.upstream(upstream)
    with pytest.raises(openai.BadRequestError) as refused:
        await respond(site.clients().openai, "Two.", stream=stream, previous_response_id="resp_unknown")
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    assert "resp_unknown" in refused.value.message
    assert not vendor.requests


@in_both_ways
async def test_what_is_not_to_be_stored_is_not_known(site: Site, stream: bool) -> None:
    vendor = await site.upstream("anthropic")
    client = site.clients().openai
    first = await respond(client, "One.", stream=stream, store=False)
    with pytest.raises(openai.BadRequestError, match="is not kept here"):
        await respond(client, "Two.", previous_response_id=first.id)
    assert len(vendor.requests) == 1


async def test_another_clients_conversation_is_not_known(site: Site) -> None:
    vendor = await site.upstream("anthropic")
    gateway = site.gateway(api_keys=["sk-test-ann", "sk-test-bob"])
    ann, bob = (site.clients(gateway, key).openai for key in ("sk-test-ann", "sk-test-bob"))
    first = await respond(ann, "A secret.")
    with pytest.raises(openai.BadRequestError) as refused:
        await respond(bob, "What did she say?", previous_response_id=first.id)
    assert refused.value.code == "previous_response_not_found"
    assert len(vendor.requests) == 1
    await respond(ann, "Go on.", previous_response_id=first.id)
    assert b"A secret." in vendor.requests[1].body


async def test_an_answer_that_broke_off_is_not_known(site: Site) -> None:
    event = next(n for n, event in enumerate(streams.events("anthropic"), 1) if native.WORDS[0].encode() in event)
    vendor = await site.upstream("anthropic", streams.broken("anthropic", after=event))
    client = site.clients().openai
    stream = await client.responses.create(model=MODEL, input="One.", stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    with pytest.raises(openai.BadRequestError, match="is not kept here"):
        await respond(client, "Two.", previous_response_id=events[-1].response.id)
    assert len(vendor.requests) == 1


async def test_a_reload_of_the_config_forgets_nothing(site: Site) -> None:
    vendor = await site.upstream("anthropic")
    first = await respond(site.clients(site.gateway(debug=True)).openai, "One.")
    await respond(site.clients(site.gateway()).openai, "Two.", previous_response_id=first.id)
    assert said("anthropic", vendor.requests[1])[0] == "user: One."


# ---------------------------------------------------------------- upstreams that know ids themselves


@in_both_ways
async def test_an_upstream_gets_its_own_ids_as_they_are(site: Site, stream: bool) -> None:
    vendor = await site.upstream("openai-responses")
    client = site.clients().openai
    first = await respond(client, "One.", stream=stream)
    assert first.id == "resp_test"
    await respond(client, "Two.", stream=stream, previous_response_id=first.id)
    sent = vendor.requests[1].json
    assert (sent["previous_response_id"], sent["input"]) == ("resp_test", "Two.")


async def test_an_upstream_says_itself_what_it_does_not_know(site: Site) -> None:
    body = (
        b'{"error":{"message":"gone","type":"invalid_request_error","param":null,"code":"previous_response_not_found"}}'
    )
    refusal = native.Answer(status=400, headers={"content-type": "application/json"}, body=body)
    await site.upstream("openai-responses", refusal)
    answer = await site.clients().http.post(
        "/v1/responses", json={"model": MODEL, "input": "Two.", "previous_response_id": "resp_test"}
    )
    assert (answer.status_code, answer.content) == (400, body)


@in_both_ways
async def test_a_conversation_moves_to_an_upstream_that_keeps_ids(site: Site, stream: bool) -> None:
    one = await site.upstream("anthropic")
    client = site.clients().openai
    first = await respond(client, "One.", stream=stream)
    other = await site.upstream("openai-responses", priority=1)
    client = site.clients().openai
    await respond(client, "Two.", stream=stream, previous_response_id=first.id)
    assert (len(one.requests), len(other.requests)) == (1, 1)
    assert "previous_response_id" not in other.requests[0].json
    assert said("openai-responses", other.requests[0]) == [
        "user: One.", "assistant: hello from upstream", "user: Two."
    ]  # fmt: skip


async def test_who_knows_the_id_serves_though_another_was_asked_first(site: Site) -> None:
    await site.upstream("openai-responses", native.error("openai-responses", 503), priority=1)
    vendor = await site.upstream("gemini")
    keeper = await site.upstream("openai-responses")
    await respond(site.clients().openai, "Two.", previous_response_id="resp_test")
    assert not vendor.requests
    assert keeper.requests[0].json["previous_response_id"] == "resp_test"

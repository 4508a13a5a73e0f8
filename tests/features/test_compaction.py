"""Compaction: as the upstream does it where it can, else by a summary, in both ways of asking for it."""

import json
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseCompactionItem

from cliproxy import compaction
from cliproxy.wire.json import dumps_text
from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, UPSTREAM_MODEL, Site
from tests.native import FORMATS, INPUT_TOKENS, OUTPUT_TOKENS, Format
from tests.upstream import Received

ASKED_TO_SUMMARISE = dumps_text(compaction.PROMPT)[1:-1].encode()
TRIGGER = {"type": "compaction_trigger"}
CONVERSATION: list[Any] = [
    {"type": "message", "role": "user", "content": "Make soup."},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It boils."}]},
]
NATIVE: dict[str, Any] = {
    "id": "resp_compacted",
    "object": "response.compaction",
    "created_at": 1_700_000_000,
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": "Make soup."}],
        },
        {"type": "compaction", "id": "cmp_native", "encrypted_content": "gAAAA-only-openai-reads-this"},
    ],
    "usage": {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    },
}

without_compaction = pytest.mark.parametrize("upstream", ["openai-chat", "anthropic", "gemini"])


def natively() -> Answer:
    return Answer(headers={"content-type": "application/json"}, body=json.dumps(NATIVE).encode())


def items(output: Any) -> list[dict[str, Any]]:
    """As JSON. The SDK's type knows no user messages, though the API's documentation has them here: it warns of them."""
    return [item.to_dict(warnings=False) for item in output]


def went_on_from_the_summary(request: Received) -> None:
    assert b"Summary of the conversation so far:\\n\\nhello from upstream" in request.body
    assert b"Make soup." in request.body and b"Is it done?" in request.body
    assert b"It boils." not in request.body and b"cpx1" not in request.body


# ---------------------------------------------------------------- POST /v1/responses/compact


@without_compaction
async def test_a_model_summarises_and_the_conversation_goes_on(site: Site, upstream: Format) -> None:
    vendor = await site.upstream(upstream)
    client = site.clients().openai
    compacted = await client.responses.compact(model=MODEL, input=CONVERSATION)
    assert compacted.object == "response.compaction"
    message, item = output = items(compacted.output)
    assert (message["role"], message["content"]) == ("user", [{"type": "input_text", "text": "Make soup."}])
    assert item["type"] == "compaction"
    assert (compacted.usage.input_tokens, compacted.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert ASKED_TO_SUMMARISE in vendor.requests[0].body and b"It boils." in vendor.requests[0].body
    more: Any = [*output, {"role": "user", "content": "Is it done?"}]
    answer = await client.responses.create(model=MODEL, input=more)
    assert answer.output_text == "hello from upstream"
    went_on_from_the_summary(vendor.requests[1])


async def test_an_upstream_that_compacts_does_so_itself(site: Site) -> None:
    vendor = await site.upstream("openai-responses", natively())
    client = site.clients().openai
    compacted = await client.responses.compact(model=MODEL, input=CONVERSATION, instructions="Be brief.")
    assert items(compacted.output) == NATIVE["output"]
    [request] = vendor.requests
    assert request.path == "/v1/responses/compact"
    assert request.json == {"model": UPSTREAM_MODEL, "input": CONVERSATION, "instructions": "Be brief."}


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_upstream_without_it_is_asked_to_summarise(site: Site, status: int) -> None:
    vendor = await site.upstream("openai-responses", native.error("openai-responses", status, "no such route"))
    client = site.clients().openai
    compacted = await client.responses.compact(model=MODEL, input=CONVERSATION)
    assert [item["type"] for item in items(compacted.output)] == ["message", "compaction"]
    assert [request.path for request in vendor.requests] == ["/v1/responses/compact", "/v1/responses"]
    assert ASKED_TO_SUMMARISE in vendor.requests[1].body
    more: Any = [*items(compacted.output), {"role": "user", "content": "Is it done?"}]
    await client.responses.create(model=MODEL, input=more)
    went_on_from_the_summary(vendor.requests[2])


async def test_an_upstream_without_it_stays_in_use(site: Site) -> None:
    """A 404 of a model would rest the credential for hours."""
    vendor = await site.upstream("openai-responses", native.error("openai-responses", 404, "no such route"))
    client = site.clients().openai
    await client.responses.compact(model=MODEL, input=CONVERSATION)
    assert (await client.responses.create(model=MODEL, input="Hello?")).output_text == "hello from upstream"
    assert len(vendor.requests) == 3


async def test_an_upstreams_refusal_to_compact_is_told_as_it_came(site: Site) -> None:
    vendor = await site.upstream("openai-responses", native.error("openai-responses", 400, "nothing to compact"))
    with pytest.raises(openai.BadRequestError, match="nothing to compact"):
        await site.clients().openai.responses.compact(model=MODEL, input=CONVERSATION)
    assert len(vendor.requests) == 1


async def test_what_the_vendor_compacted_goes_back_to_it_as_it_came(site: Site) -> None:
    vendor = await site.upstream("openai-responses", natively())
    client = site.clients().openai
    compacted = await client.responses.compact(model=MODEL, input=CONVERSATION)
    more: Any = [*items(compacted.output), {"role": "user", "content": "Is it done?"}]
    await client.responses.create(model=MODEL, input=more)
    assert vendor.requests[1].json["input"][:-1] == NATIVE["output"]


@pytest.mark.parametrize("upstream", FORMATS)
async def test_a_conversation_that_is_known_by_its_id_is_compacted_whole(site: Site, upstream: Format) -> None:
    await site.upstream("anthropic")
    first = await site.clients().openai.responses.create(model=MODEL, input="Make soup.")
    vendor = await site.upstream(upstream, *([natively()] if upstream == "openai-responses" else []), priority=1)
    compacted = await site.clients().openai.responses.compact(model=MODEL, previous_response_id=first.id)
    assert items(compacted.output)[0]["content"] == [{"type": "input_text", "text": "Make soup."}]
    [request] = vendor.requests
    assert b"Make soup." in request.body and b"hello from upstream" in request.body
    assert b"previous_response_id" not in request.body


@without_compaction
async def test_an_id_that_is_not_known_cannot_be_compacted(site: Site, upstream: Format) -> None:
    vendor = await site.upstream(upstream)
    with pytest.raises(openai.BadRequestError) as refused:
        await site.clients().openai.responses.compact(model=MODEL, previous_response_id="resp_unknown")
    assert refused.value.code == "previous_response_not_found"
    assert not vendor.requests


async def test_a_model_that_calls_a_tool_instead_is_replaced(site: Site) -> None:
    await site.upstream("anthropic", native.tool_call("anthropic"), priority=1)
    await site.upstream("gemini")
    compacted = await site.clients().openai.responses.compact(model=MODEL, input=CONVERSATION)
    assert items(compacted.output)[-1]["type"] == "compaction"


async def test_a_compacted_conversation_never_streams(site: Site) -> None:
    vendor = await site.upstream("openai-responses")
    answer = await site.clients().http.post(
        "/v1/responses/compact", json={"model": MODEL, "input": CONVERSATION, "stream": True}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
    assert not vendor.requests


# ---------------------------------------------------------------- compaction_trigger


@without_compaction
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_trigger_gives_one_item_from_which_to_go_on(site: Site, upstream: Format, stream: bool) -> None:
    vendor = await site.upstream(upstream)
    client = site.clients().openai
    asked: dict[str, Any] = {"model": MODEL, "input": [*CONVERSATION, TRIGGER], "store": False}
    if stream:
        async with client.responses.stream(**asked) as events:
            response: Any = await events.get_final_response()
    else:
        response = await client.responses.create(**asked)
    [item] = response.output
    assert isinstance(item, ResponseCompactionItem)
    assert (response.status, response.model) == ("completed", MODEL)
    assert ASKED_TO_SUMMARISE in vendor.requests[0].body and b"compaction_trigger" not in vendor.requests[0].body
    more: Any = [CONVERSATION[0], item.to_dict(), {"role": "user", "content": "Is it done?"}]
    await client.responses.create(model=MODEL, input=more)
    went_on_from_the_summary(vendor.requests[1])


async def test_a_trigger_passes_to_an_upstream_that_knows_it(site: Site) -> None:
    vendor = await site.upstream("openai-responses")
    asked: Any = [*CONVERSATION, TRIGGER]
    await site.clients().openai.responses.create(model=MODEL, input=asked)
    assert vendor.requests[0].json["input"] == asked

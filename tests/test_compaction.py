"""cliproxy.compaction: summaries in OpenAI's shape from upstreams of every format."""

from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import CompactedResponse, ResponseCompactionItem

from cliproxy import compaction
from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.fold import unfold
from cliproxy.wire.model import FORMATS, Answer, ModelFacts, Refusal, Request, Text, ToolCall, ToolChoice, Usage
from cliproxy.wire.openai_responses import decode_request
from cliproxy.wire.translation import CODECS, Translation

FACTS = ModelFacts("up-model", max_output_tokens=32000)
USAGE = Usage(input=60, cache_read=40, cache_write=0, output=30, reasoning=7)
SUMMARY = Answer("id1", "up-model", 1, [Text("\nThe user wants soup.")], USAGE)
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAEC", "detail": "auto"}
INPUT = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Soup?"},
    {"type": "function_call", "call_id": "call_1", "name": "cook", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "hot"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Soup."}]},
    {
        "type": "message",
        "id": "msg_1",
        "role": "user",
        "content": [{"type": "input_text", "text": "Like this:"}, PICTURE],
    },
]
BODY = {
    "model": "shown",
    "input": INPUT,
    "tools": [{"type": "function", "name": "cook", "parameters": {"type": "object", "properties": {}}}],
    "tool_choice": "required",
    "max_output_tokens": 50,
    "text": {"format": {"type": "json_object"}},
}
TRIGGER = {"type": "compaction_trigger"}

every_upstream = pytest.mark.parametrize("upstream", FORMATS)


def translating(upstream, shape, **more):
    request = decode_request({**BODY, **more})
    return Translation(compaction.summarising(request), upstream, FACTS, "shown", shape=shape)


def whole(upstream, answer):
    return json.dumps(CODECS[upstream].encode_answer(answer, Request(upstream, "m", []), "up-model"))


def streamed(upstream, answer):
    encoder = CODECS[upstream].AnswerEncoder(Request(upstream, "m", [], stream=True), "up-model")
    return b"".join([*map(encoder.push, unfold(answer)), encoder.finish()])


def sdk(content, content_type):
    answer = httpx2.Response(200, headers={"content-type": content_type}, content=content)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    return openai.OpenAI(api_key="sk-test", base_url="http://gateway.test/v1", http_client=http, max_retries=0)


def compacted(content) -> CompactedResponse:
    with sdk(content, "application/json") as client:
        return client.responses.compact(model="shown", input="…")


def output_of(answer: CompactedResponse) -> list[Any]:
    """As JSON. The SDK's type knows no user messages, though the API's documentation has them here: it warns of them."""
    return [item.to_dict(warnings=False) for item in answer.output]


def response_to(content):
    with sdk(content, "text/event-stream") as client, client.responses.stream(model="m", input="…") as events:
        return events.get_final_response()


# ---------------------------------------------------------------- what the model is asked


@every_upstream
def test_the_model_is_asked_for_words_and_nothing_else(upstream):
    way = translating(upstream, compaction.COMPACTED, input=[*INPUT, TRIGGER])
    sent = way.body.decode()
    assert "compaction_trigger" not in sent
    assert json.dumps_text(compaction.PROMPT)[1:-1] in sent
    asked = CODECS[upstream].decode_request(json.loads(way.body), model="m", stream=False)
    assert asked.sampling.max_tokens in (None, 32000)
    assert asked.output is None
    # Anthropic refuses calls in the history of a request without tools, and is told not to call any.
    assert asked.tools == [] or (upstream == "anthropic" and asked.tool_choice == ToolChoice("none"))
    texts = [part.text for part in asked.system if isinstance(part, Text)]
    texts += [part.text for turn in asked.turns for part in turn.parts if isinstance(part, Text)]
    assert texts == ["Be brief.", "Soup?", "Soup.", "Like this:", compaction.PROMPT]


def test_the_clients_request_stays_as_it_was():
    request = decode_request({**BODY, "input": [*INPUT, TRIGGER]})
    before = repr(request)
    compaction.summarising(request)
    assert repr(request) == before


@pytest.mark.parametrize(
    ("items", "triggered"),
    [
        ([*INPUT, TRIGGER], True),
        (INPUT, False),
        ([TRIGGER], True),
        ([TRIGGER, *INPUT], False),
        ("compaction_trigger", False),
    ],
)
def test_a_trigger_counts_at_the_end(items, triggered):
    assert compaction.is_triggered(decode_request({**BODY, "input": items})) == triggered


def test_no_other_request_is_triggered():
    assert not compaction.is_triggered(Request("openai-chat", "m", []))


# ---------------------------------------------------------------- POST /v1/responses/compact


@every_upstream
@pytest.mark.parametrize("upstream_streams", [True, False])
def test_the_users_messages_and_one_item_come_back(upstream, upstream_streams):
    way = translating(upstream, compaction.COMPACTED)
    if upstream_streams:
        collector = way.collect()
        collector.feed(streamed(upstream, SUMMARY))
        got = compacted(collector.finish())
    else:
        got = compacted(way.answer(whole(upstream, SUMMARY)))
    assert isinstance(got, CompactedResponse) and got.id.startswith("resp_") and got.created_at > 1
    assert got.object == "response.compaction"
    *messages, item = output_of(got)
    assert messages[0].pop("id").startswith("msg_")
    assert messages == [
        {
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_text", "text": "Soup?"}],
        },
        {**INPUT[-1], "status": "completed"},
    ]
    assert ResponseCompactionItem.model_validate(item, extra="forbid").id.startswith("cmp_")
    assert (got.usage.input_tokens, got.usage.output_tokens, got.usage.total_tokens) == (100, 30, 130)
    assert got.usage.input_tokens_details.cached_tokens == 40


def test_an_input_of_one_text_is_the_users_message():
    got = compacted(translating("gemini", compaction.COMPACTED, input="Soup?").answer(whole("gemini", SUMMARY)))
    message, _ = output_of(got)
    assert (message["role"], message["content"]) == ("user", [{"type": "input_text", "text": "Soup?"}])


@every_upstream
def test_the_next_request_goes_on_from_the_summary(upstream):
    answer = json.loads(translating("anthropic", compaction.COMPACTED).answer(whole("anthropic", SUMMARY)))
    request = decode_request({**BODY, "input": [*answer["output"], {"role": "user", "content": "Go on."}]})
    way = Translation(request, upstream, FACTS, "shown")
    asked = CODECS[upstream].decode_request(json.loads(way.body), model="m", stream=False)
    told = [part.text for turn in asked.turns for part in turn.parts if isinstance(part, Text)]
    assert told == ["Soup?", "Like this:", "Summary of the conversation so far:\n\nThe user wants soup.", "Go on."]
    assert b"cpx1" not in way.body and way.encoded.dropped == []


def test_what_is_compacted_again_keeps_the_users_messages_and_one_item():
    first = json.loads(translating("anthropic", compaction.COMPACTED).answer(whole("anthropic", SUMMARY)))
    way = translating("anthropic", compaction.COMPACTED, input=first["output"])
    assert b"The user wants soup." in way.body
    again = json.loads(way.answer(whole("anthropic", SUMMARY)))
    assert again["output"][:-1] == first["output"][:-1]
    assert [item["type"] for item in again["output"]] == ["message", "message", "compaction"]


# ---------------------------------------------------------------- compaction_trigger


@every_upstream
@pytest.mark.parametrize("upstream_streams", [True, False])
def test_a_triggered_stream_has_one_item(upstream, upstream_streams):
    """Codex gives up when there is not exactly one."""
    way = translating(upstream, compaction.TRIGGERED, input=[*INPUT, TRIGGER], stream=True)
    if upstream_streams:
        stream = way.stream()
        got = stream.feed(streamed(upstream, SUMMARY)) + stream.finish()
        assert stream.failure is None
    else:
        got = way.unfolded(whole(upstream, SUMMARY))
    assert got.count(b"event: response.output_item.done\n") == 1
    response = response_to(got)
    [item] = response.output
    assert isinstance(item, ResponseCompactionItem)
    assert (response.status, response.model) == ("completed", "shown")
    assert response.usage and (response.usage.input_tokens, response.usage.output_tokens) == (100, 30)


@every_upstream
def test_a_triggered_response_has_one_item(upstream):
    way = translating(upstream, compaction.TRIGGERED, input=[*INPUT, TRIGGER])
    response = json.loads(way.answer(whole(upstream, SUMMARY)))
    assert (response["object"], response["status"]) == ("response", "completed")
    assert [item["type"] for item in response["output"]] == ["compaction"]


def test_a_summary_that_reached_its_limit_serves():
    cut = Answer("id1", "m", 1, [Text("The user wants")], USAGE, "length")
    way = translating("anthropic", compaction.TRIGGERED, input=[*INPUT, TRIGGER], stream=True)
    stream = way.stream()
    assert response_to(stream.feed(streamed("anthropic", cut)) + stream.finish()).status == "completed"


NO_SUMMARY = {
    "nothing": Answer("id1", "m", 1, [], USAGE),
    "a call": Answer("id1", "m", 1, [ToolCall("call_1", "cook", "{}")], USAGE, "tool"),
    "a refusal": Answer("id1", "m", 1, [Refusal("I will not.")], USAGE, "refusal"),
    "half of it, filtered": Answer("id1", "m", 1, [Text("The user")], USAGE, "filter"),
}


@pytest.mark.parametrize("answer", NO_SUMMARY.values(), ids=NO_SUMMARY)
def test_a_model_that_does_not_summarise_has_failed(answer):
    with pytest.raises(UpstreamGarbled, match="without a summary"):
        translating("openai-chat", compaction.COMPACTED).answer(whole("openai-chat", answer))
    stream = translating("openai-chat", compaction.TRIGGERED, input=[*INPUT, TRIGGER], stream=True).stream()
    out = stream.feed(streamed("openai-chat", answer)) + stream.finish()
    assert b"event: response.failed\n" in out and b"output_item.done" not in out


def test_a_stream_that_breaks_off_fails():
    stream = translating("openai-chat", compaction.TRIGGERED, input=[*INPUT, TRIGGER], stream=True).stream()
    raw = streamed("openai-chat", SUMMARY)
    out = stream.feed(raw[: raw.index(b'"finish_reason":"stop"')]) + stream.ping()
    assert b": keep-alive\n\n" in out and b"response.created" in out
    assert b"event: response.failed\n" in stream.finish()

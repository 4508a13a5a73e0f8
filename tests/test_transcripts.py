"""cliproxy.transcripts: conversations that go on by the id of the last response."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.transcripts import Transcripts
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fold import unfold
from cliproxy.wire.model import FORMATS, Answer, Carrier, ModelFacts, Reasoning, Request, Text, ToolCall, Usage
from cliproxy.wire.openai_responses import decode_request
from cliproxy.wire.translation import CODECS, Translation

FACTS = ModelFacts("up-model", max_output_tokens=32000)
TOOLS = [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}]


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def asked(words, previous=None, **more):
    return decode_request({"model": "shown", "input": words, "previous_response_id": previous, **more})


def response(id, *texts):
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"id": id, "output": [{"type": "message", "id": "msg_1", "role": "assistant", "content": content}]}


def told(transcripts, owner, id):
    """The texts before a next request, by both ways of expanding."""
    request = transcripts.expand(owner, asked("next", id))
    body = transcripts.expanded_body(owner, json.dumps({"model": "m", "input": "next", "previous_response_id": id}))
    by_body = decode_request(json.loads(body))
    assert (by_body.turns, by_body.system) == (request.turns, request.system)
    return [part.text for turn in request.turns for part in turn.parts if isinstance(part, Text)][:-1]


# ---------------------------------------------------------------- conversations


@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_conversation_goes_on_by_ids(upstream, stream):
    """The client sends only what is new; each upstream gets everything, with calls and their results paired."""
    transcripts = Transcripts()

    def exchanged(answer, body):
        request = transcripts.expand(
            "key", decode_request({"model": "shown", "tools": TOOLS, "stream": stream, **body})
        )
        way = Translation(
            request, upstream, FACTS, "shown", remember=lambda got: transcripts.remember("key", request, got)
        )
        asking = Request(upstream, "m", [], stream=stream)
        if not stream:
            raw = json.dumps(CODECS[upstream].encode_answer(answer, asking, "m"))
            return way.body, json.loads(way.answer(raw))
        encoder = CODECS[upstream].AnswerEncoder(asking, "m")
        going = way.stream()
        out = going.feed(b"".join([*map(encoder.push, unfold(answer)), encoder.finish()])) + going.finish()
        [last] = [line[6:] for line in out.split(b"\n") if line.startswith(b'data: {"type":"response.completed"')]
        return way.body, json.loads(last)["response"]

    call = Answer("id1", "m", 1, [Text("Let me look."), ToolCall("call_1", "look", '{"at":"sky"}')], Usage(), "tool")
    _, first = exchanged(call, {"input": "Weather?", "instructions": "Be brief."})
    [call_id] = [item["call_id"] for item in first["output"] if item["type"] == "function_call"]
    result = [{"type": "function_call_output", "call_id": call_id, "output": "blue"}]
    _, second = exchanged(
        Answer("id2", "m", 1, [Text("Fine.")], Usage()), {"input": result, "previous_response_id": first["id"]}
    )
    assert second["previous_response_id"] == first["id"] != second["id"]
    sent, _ = exchanged(
        Answer("id3", "m", 1, [Text("Yes.")], Usage()),
        {"input": "Sure?", "previous_response_id": second["id"], "instructions": "Be kind."},
    )
    arrived = CODECS[upstream].decode_request(json.loads(sent), model="m", stream=stream)
    parts = [part for turn in arrived.turns for part in turn.parts]
    assert [part.text for part in parts if isinstance(part, Text)] == ["Weather?", "Let me look.", "Fine.", "Sure?"]
    assert [json.loads(part.arguments) for part in parts if isinstance(part, ToolCall)] == [{"at": "sky"}]
    assert sent.count(b"blue") == 1
    # As with OpenAI, instructions hold for one request.
    assert [part.text for part in arrived.system if isinstance(part, Text)] == ["Be kind."]
    assert b"previous_response_id" not in sent


def test_it_can_branch():
    """Two requests may go on from one response."""
    transcripts = Transcripts()
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    transcripts.remember("key", asked("b", "resp_1"), response("resp_2", "B"))
    transcripts.remember("key", asked("c", "resp_1"), response("resp_3", "C"))
    assert told(transcripts, "key", "resp_2") == ["a", "A", "b", "B"]
    assert told(transcripts, "key", "resp_3") == ["a", "A", "c", "C"]


def test_developer_messages_tools_and_reasoning_in_the_input_are_part_of_it():
    transcripts = Transcripts()
    items = [
        {"role": "developer", "content": "Be brief."},
        {"type": "additional_tools", "tools": TOOLS},
        {"role": "user", "content": "hi"},
    ]
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABo"}
    answer = response("resp_1", "A")
    transcripts.remember("key", asked(items), {**answer, "output": [thought, *answer["output"]]})
    request = transcripts.expand("key", asked("next", "resp_1"))
    assert request.system == [Text("Be brief.")]
    assert [tool.name for tool in request.tools] == ["look"]
    assert request.turns[1].parts[0] == Reasoning("", Carrier("openai-responses", "encrypted", "gAAAAABo", "rs_1"))


def test_a_request_without_an_id_stays_as_it_is():
    request = asked("hi")
    assert Transcripts().expand("key", request) is request


def test_settings_of_the_request_stay():
    transcripts = Transcripts()
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    request = decode_request(
        {"model": "m", "input": "b", "previous_response_id": "resp_1", "temperature": 1}, stream=True
    )
    expanded = transcripts.expand("key", request)
    assert expanded.stream and expanded.sampling.temperature == 1
    assert expanded.previous_response_id is None
    assert expanded.raw is request.raw


# ---------------------------------------------------------------- what is not known


def refused(transcripts, owner, id):
    with pytest.raises(ClientFault) as caught:
        transcripts.expand(owner, asked("next", id))
    body = json.dumps({"model": "m", "input": "next", "previous_response_id": id})
    assert transcripts.expanded_body(owner, body) is body
    return caught.value


def test_an_unknown_id_is_refused():
    error = refused(Transcripts(), "key", "resp_gone")
    assert (error.status, error.code, error.param) == (400, "previous_response_not_found", "previous_response_id")
    assert "resp_gone" in error.message
    status, body = CODECS["openai-responses"].encode_error(error)
    assert (status, body["error"]["code"]) == (400, "previous_response_not_found")


def test_other_keys_see_nothing():
    transcripts = Transcripts()
    transcripts.remember("mine", asked("a"), response("resp_1", "A"))
    refused(transcripts, "yours", "resp_1")
    assert told(transcripts, "mine", "resp_1") == ["a", "A"]


def test_what_shall_not_be_stored_is_not():
    transcripts = Transcripts()
    transcripts.remember("key", asked("a", store=False), response("resp_1", "A"))
    refused(transcripts, "key", "resp_1")
    transcripts.remember("key", asked("a", store=True), response("resp_1", "A"))
    assert told(transcripts, "key", "resp_1") == ["a", "A"]


def test_half_a_conversation_is_not_kept():
    """Its beginning was forgotten while the upstream answered."""
    transcripts = Transcripts()
    transcripts.remember("key", asked("b", "resp_gone"), response("resp_2", "B"))
    refused(transcripts, "key", "resp_2")


# ---------------------------------------------------------------- bounds


def test_what_is_not_used_is_forgotten_in_time():
    clock = Clock()
    transcripts = Transcripts(ttl_s=60, now=clock)
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    clock.now_s += 59
    assert told(transcripts, "key", "resp_1")
    clock.now_s += 59
    assert told(transcripts, "key", "resp_1")
    clock.now_s += 60
    refused(transcripts, "key", "resp_1")
    assert (len(transcripts), transcripts.size_bytes) == (0, 0)


def test_the_longest_unused_goes_first():
    transcripts = Transcripts(max_entries=2)
    for id in ("resp_1", "resp_2"):
        transcripts.remember("key", asked(id), response(id, "A"))
    assert told(transcripts, "key", "resp_1")
    transcripts.remember("key", asked("c"), response("resp_3", "A"))
    refused(transcripts, "key", "resp_2")
    assert told(transcripts, "key", "resp_1") and told(transcripts, "key", "resp_3")


def test_a_conversation_outlives_its_earlier_responses():
    transcripts = Transcripts(max_entries=1)
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    transcripts.remember("key", asked("b", "resp_1"), response("resp_2", "B"))
    refused(transcripts, "key", "resp_1")
    assert told(transcripts, "key", "resp_2") == ["a", "A", "b", "B"]


def test_what_is_too_large_is_not_kept_and_drives_nothing_out():
    transcripts = Transcripts(max_bytes=400)
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    transcripts.remember("key", asked("x" * 400), response("resp_2", "B"))
    refused(transcripts, "key", "resp_2")
    assert told(transcripts, "key", "resp_1")


def test_what_transcripts_share_counts_once():
    transcripts = Transcripts()
    transcripts.remember("key", asked("x" * 1000), response("resp_1", "A"))
    alone = transcripts.size_bytes
    for number in range(2, 9):
        transcripts.remember("key", asked("b", f"resp_{number - 1}"), response(f"resp_{number}", "B"))
    assert 1000 < alone < transcripts.size_bytes < 2 * alone


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8), st.text(max_size=40)), max_size=30))
def test_it_stays_within_its_bounds_and_never_tells_a_wrong_story(exchanges):
    clock = Clock()
    transcripts = Transcripts(max_entries=5, max_bytes=1000, ttl_s=60, now=clock)
    stories = {}
    for previous, id, words in exchanges:
        known = f"resp_{previous}" if previous in stories else None
        if known:
            try:
                assert told(transcripts, "key", known) == stories[previous]
            except ClientFault:
                continue
        transcripts.remember("key", asked([{"role": "user", "content": words}], known), response(f"resp_{id}", "A"))
        stories[id] = [*stories.get(previous, []), *([words] if words else []), "A"]
        assert transcripts.size_bytes <= 1000 and len(transcripts) <= 5
    clock.now_s += 60
    refused(transcripts, "key", "resp_0")
    assert (len(transcripts), transcripts.size_bytes) == (0, 0)


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","input":"hi"}',
        b'{ "model":"m", "input":"hi", "previous_response_id": null }',
        b'{"model":"m","input":"hi","previous_response_id":7}',
        b'{"model":"m","input":7,"previous_response_id":"resp_1"}',
        b'["previous_response_id"]',
        b'{"previous_response_id"',
    ],
)
def test_a_body_that_names_no_response_of_ours_keeps_its_bytes(body):
    transcripts = Transcripts()
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    assert transcripts.expanded_body("key", body) is body


@pytest.mark.parametrize(
    "own", [{}, {"input": None}, {"input": []}, {"input": "b"}, {"input": [{"role": "user", "content": "b"}]}]
)
def test_a_body_gets_the_items_before_its_own(own):
    transcripts = Transcripts()
    transcripts.remember("key", asked("a"), response("resp_1", "A"))
    body = json.dumps({"model": "m", "previous_response_id": "resp_1", "x": 1.5, **own})
    got = json.loads(transcripts.expanded_body("key", body))
    items = got.pop("input")
    assert got == {"model": "m", "x": 1.5}
    assert items[:2] == [{"type": "message", "role": "user", "content": "a"}, *response("resp_1", "A")["output"]]
    assert [item["content"] for item in items[2:]] == (["b"] if own.get("input") else [])


# ---------------------------------------------------------------- memories that end with their conversation


def test_what_is_not_to_be_stored_can_be_kept_all_the_same():
    transcripts = Transcripts()
    first = {"model": "m", "input": "one", "store": False}
    transcripts.remember("key", decode_request(first), response("resp_1", "first"))
    assert not transcripts.holds("key", "resp_1")
    transcripts.keep("key", first, response("resp_1", "first"))
    assert transcripts.holds("key", "resp_1")
    assert not transcripts.holds("other", "resp_1")
    second = {"model": "m", "input": "two", "previous_response_id": "resp_1", "store": False}
    transcripts.keep("key", second, response("resp_2", "second"))
    assert told(transcripts, "key", "resp_2") == ["one", "first", "two", "second"]


def test_nothing_is_kept_that_goes_on_from_what_is_not_known():
    transcripts = Transcripts()
    body = {"model": "m", "input": "two", "previous_response_id": "resp_lost"}
    transcripts.keep("key", body, response("resp_2", "second"))
    assert not transcripts.holds("key", "resp_2")

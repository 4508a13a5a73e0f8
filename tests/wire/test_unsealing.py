"""cliproxy.wire.unsealing: other vendors' tokens stay out of requests that pass in their own format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire import json
from cliproxy.wire.envelope import holds_sealed, seal
from cliproxy.wire.model import FORMATS, Answer, Carrier, Reasoning, Request, Text, Usage
from cliproxy.wire.openai_responses.summary import compaction_item
from cliproxy.wire.translation import CODECS
from cliproxy.wire.unsealing import without_sealed

FROM_ANTHROPIC = seal(Carrier("anthropic", "signature", "RXFRQkM="))
FROM_RESPONSES = seal(Carrier("openai-responses", "encrypted", "gAAAAABo", "rs_1"))
FROM_GEMINI = seal(Carrier("gemini", "signature", "CkgB"))


def cleaned(format, body, model=""):
    return json.loads(without_sealed(format, json.dumps(body), model))


# ---------------------------------------------------------------- what is left alone

NATIVE = {
    "openai-chat": {"model": "m", "messages": [{"role": "user", "content": "cpx1"}]},
    "openai-responses": {
        "model": "m",
        "input": [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABo"},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAAABp"},
            {"role": "user", "content": "hi"},
        ],
    },
    "anthropic": {
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "RXFRQkM="},
                    {"type": "redacted_thinking", "data": "UkVE"},
                    {"type": "text", "text": "Yes."},
                ],
            },
        ],
    },
    "gemini": {"contents": [{"role": "model", "parts": [{"text": "Yes.", "thoughtSignature": "CkgB"}]}]},
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mark", ["", ', "x": "cpx1", "y": "cpx1AAAA"'], ids=["nothing like it", "looks like it"])
def test_a_body_without_envelopes_keeps_its_bytes(format, mark):
    body = json.dumps(NATIVE[format])[:-1] + mark.encode() + b"}"
    assert holds_sealed(body) == bool(mark) or format == "openai-chat"
    assert without_sealed(format, body) == body


@given(st.sampled_from(FORMATS), st.recursive(st.none() | st.integers() | st.just(FROM_GEMINI), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([
        "messages", "content", "type", "signature", "citations", "input", "contents", "parts", "thoughtSignature", "role",
    ]), inner, max_size=3)
)))  # fmt: skip
def test_nothing_that_a_client_sends_breaks_it(format, value):
    assert isinstance(without_sealed(format, json.dumps({"messages": value, "input": value, "contents": value})), bytes)


def test_what_is_no_json_is_left_to_the_upstream():
    assert without_sealed("anthropic", b'{"a": "cpx1') == b'{"a": "cpx1'


# ---------------------------------------------------------------- Anthropic


def conversation(*blocks, **more):
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": list(blocks)}]
    return {"model": "m", "messages": [*messages, {"role": "user", "content": "Go on."}], **more}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Hm.", "signature": FROM_RESPONSES},
        {"type": "redacted_thinking", "data": FROM_GEMINI},
    ],
)
def test_thinking_of_others_is_dropped(block):
    text = {"type": "text", "text": "Yes."}
    assert cleaned("anthropic", conversation(block, text)) == conversation(text)


def test_a_message_of_foreign_thinking_alone_is_dropped():
    """The API refuses empty messages, and takes two of the user's after each other."""
    body = conversation({"type": "redacted_thinking", "data": FROM_GEMINI})
    assert [message["role"] for message in cleaned("anthropic", body)["messages"]] == ["user", "user"]


def test_thinking_of_anthropics_own_comes_out_of_its_envelope():
    body = conversation(
        {"type": "thinking", "thinking": "Hm.", "signature": FROM_ANTHROPIC}, {"type": "text", "text": "A"}
    )
    assert cleaned("anthropic", body)["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "Hm.",
        "signature": "RXFRQkM=",
    }


def test_a_search_that_ran_elsewhere_is_dropped_with_its_call_and_citations():
    mark = seal(Carrier("gemini", "encrypted", ""))
    own = {"type": "web_search_result_location", "url": "https://b.test", "encrypted_index": "Eo8B"}
    body = conversation(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "web_search_result", "url": "https://a.test", "encrypted_content": mark}],
        },
        {"type": "text", "text": "A", "citations": [{**own, "encrypted_index": mark}]},
        {"type": "text", "text": "B", "citations": [{**own, "encrypted_index": mark}, own]},
        {"type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": {"query": "q"}},
    )
    assert cleaned("anthropic", body)["messages"][1]["content"] == [
        {"type": "text", "text": "A"},
        {"type": "text", "text": "B", "citations": [own]},
        {"type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": {"query": "q"}},
    ]


def tool_loop(thinking, **more):
    return {
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": FROM_GEMINI},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]},
        ],
        "thinking": thinking,
        **more,
    }


def test_a_turn_that_lost_its_thinking_goes_on_without_a_budget():
    """With one, the API demands thinking at the head of the turn, and no clearing of it without."""
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]
    body = tool_loop({"type": "enabled", "budget_tokens": 2000}, context_management={"edits": edits})
    got = cleaned("anthropic", body)
    assert "thinking" not in got
    assert got["context_management"] == {"edits": edits[1:]}


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "disabled"}])
def test_other_thinking_stays(thinking):
    assert cleaned("anthropic", tool_loop(thinking))["thinking"] == thinking


def test_a_turn_that_is_over_does_not_touch_thinking():
    budget = {"type": "enabled", "budget_tokens": 2000}
    body = conversation(
        {"type": "thinking", "thinking": "Hm.", "signature": FROM_GEMINI},
        {"type": "text", "text": "A"},
        thinking=budget,
    )
    assert cleaned("anthropic", body)["thinking"] == budget


# ---------------------------------------------------------------- Responses

QUESTION = {"role": "user", "content": "hi"}


@pytest.mark.parametrize("summary", [[], [{"type": "summary_text", "text": "Hm."}]])
def test_reasoning_of_others_is_dropped(summary):
    item = {"type": "reasoning", "id": "rs_9", "summary": summary, "encrypted_content": FROM_GEMINI}
    assert cleaned("openai-responses", {"model": "m", "input": [QUESTION, item]}) == {"model": "m", "input": [QUESTION]}


@pytest.mark.parametrize("own_id", [{"id": "rs_1"}, {}], ids=["its id", "no id"])
def test_reasoning_of_openais_own_comes_out_of_its_envelope_with_its_id(own_id):
    """The id that the client was shown is the gateway's."""
    sealed = seal(Carrier("openai-responses", "encrypted", "gAAAAABo", own_id.get("id")))
    item = {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": sealed}
    assert cleaned("openai-responses", {"model": "m", "input": [QUESTION, item]})["input"][1] == {
        **own_id,
        "type": "reasoning",
        "summary": [],
        "encrypted_content": "gAAAAABo",
    }


def test_a_summary_made_here_is_told_in_words():
    body = {"model": "m", "input": [QUESTION, compaction_item("All is well."), QUESTION]}
    assert cleaned("openai-responses", body)["input"][1] == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Summary of the conversation so far:\n\nAll is well."}],
    }


# ---------------------------------------------------------------- Gemini


def gemini_loop(*parts):
    call = [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": list(parts)}]
    return {"contents": [*call, {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}


CALL = {"functionCall": {"name": "f", "args": {}}}


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ({"text": "A", "thoughtSignature": FROM_ANTHROPIC}, [{"text": "A"}]),
        ({"text": "", "thoughtSignature": FROM_ANTHROPIC}, []),
        ({"thoughtSignature": FROM_ANTHROPIC}, []),
        ({"text": "Hm.", "thought": True, "thoughtSignature": FROM_ANTHROPIC}, []),
        ({"text": "A", "thoughtSignature": FROM_GEMINI}, [{"text": "A", "thoughtSignature": "CkgB"}]),
        ({"text": "A", "thoughtSignature": "CkgC"}, [{"text": "A", "thoughtSignature": "CkgC"}]),
    ],
)
def test_signatures_of_others_are_dropped(part, kept):
    sealed = {"text": "B", "thoughtSignature": FROM_RESPONSES}
    got = cleaned("gemini", gemini_loop(part, sealed))
    assert got["contents"][1]["parts"] == [*kept, {"text": "B"}]


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        ("gemini-3-pro-preview", {"thoughtSignature": "skip_thought_signature_validator"}),
        ("gemini-flash-latest", {"thoughtSignature": "skip_thought_signature_validator"}),
        ("gemini-2.5-pro", {}),
    ],
)
def test_a_call_in_the_current_loop_gets_the_filler_that_its_model_asks_for(model, signature):
    got = cleaned("gemini", gemini_loop({**CALL, "thoughtSignature": FROM_ANTHROPIC}), model)
    assert got["contents"][1]["parts"] == [{**CALL, **signature}]


def test_a_content_of_foreign_thoughts_alone_is_dropped():
    got = cleaned("gemini", gemini_loop({"text": "Hm.", "thought": True, "thoughtSignature": FROM_ANTHROPIC}))
    assert [content["role"] for content in got["contents"]] == ["user", "user"]


# ---------------------------------------------------------------- with the rest


def next_body(client, answer):
    """The client's next request, with the whole answer in it as it came."""
    match client:
        case "openai-responses":
            return {"model": "m", "input": [QUESTION, *answer["output"], QUESTION]}
        case "anthropic":
            return conversation(*answer["content"])
        case _:
            return {"contents": [answer["candidates"][0]["content"], {"role": "user", "parts": [{"text": "Go on."}]}]}


@pytest.mark.parametrize("client", [format for format in FORMATS if format != "openai-chat"])
@pytest.mark.parametrize("other", [format for format in FORMATS if format != "openai-chat"])
def test_a_conversation_that_comes_home_brings_no_envelopes(client, other):
    """Class 6: one turn is answered by another vendor, the next passes to the client's own."""
    parts = [Reasoning("Hm.", Carrier(other, "signature", "CkgB", "rs_1")), Text("Yes.")]
    answer = CODECS[client].encode_answer(Answer("id", "m", 1, parts, Usage()), Request(client, "m", []), "m")
    body = json.dumps(next_body(client, answer))
    assert holds_sealed(body) == (client != other)
    passed = without_sealed(client, body)
    assert (passed == body) == (client == other) and not holds_sealed(passed)
    arrived = CODECS[client].decode_request(json.loads(passed), model="m", stream=False)
    said = [part for turn in arrived.turns for part in turn.parts if turn.role == "assistant"][-1]
    assert isinstance(said, Text) and said.text == "Yes."

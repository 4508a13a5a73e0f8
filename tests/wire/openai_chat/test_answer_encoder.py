"""cliproxy.wire.openai_chat.answer_encoder: OpenAI's SDK reads every stream and body, and reads them alike."""

import copy

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire import envelope
from cliproxy.wire.errors import ClientFault, UpstreamRefused
from cliproxy.wire.fold import fold, unfold
from cliproxy.wire.model import (
    Answer,
    Carrier,
    Citation,
    Cited,
    Delta,
    Failure,
    Finish,
    FinishReason,
    Media,
    Opaque,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    Signed,
    Start,
    Text,
    ToolCall,
    Usage,
    UsageReport,
)
from cliproxy.wire.openai_chat import AnswerDecoder, AnswerEncoder, encode_answer
from tests.wire.event_grammar import check_events
from tests.wire.openai_chat.judge import accumulated, chunks_of, completion, errors_of, told

REQUEST = Request("openai-chat", "alias", [], stream=True)
GEMINIS = Carrier("gemini", "signature", "c2ln")


def written(events, request=REQUEST):
    encoder = AnswerEncoder(request, "alias")
    return b"".join(map(encoder.push, events)) + encoder.finish()


def streamed(*parts, finish: FinishReason = "stop", usage=None):
    return written(list(unfold(Answer("chatcmpl-1", "up", 7, list(parts), usage or Usage(), finish))))


def whole(*parts, finish: FinishReason = "stop", usage=None, id="chatcmpl-1"):
    return encode_answer(Answer(id, "up", 7, list(parts), usage or Usage(), finish), REQUEST, "alias")


def deltas_of(raw):
    return [chunk["choices"][0]["delta"] for chunk in chunks_of(raw) if chunk["choices"]]


def test_a_text_stream_byte_for_byte():
    head = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"alias","system_fingerprint":null,'

    def frame(delta, finish="null"):
        return f'data: {head}"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}\n\n'

    assert streamed(Text("ok"), usage=Usage(5, output=2)).decode() == (
        frame('{"role":"assistant","content":""}')
        + frame('{"content":"ok"}')
        + frame("{}", '"stop"')
        + f'data: {head}"choices":[],"usage":{{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,'
        '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
        "data: [DONE]\n\n"
    )


PARTS = {
    "text": [Text("a"), Text("b")],
    "nothing": [],
    "reasoning": [Reasoning("hm"), Text("ok")],
    "interleaved reasoning": [Reasoning("one"), Text("a"), Reasoning("two"), Text("b")],
    "refusal": [Refusal("No.")],
    "calls": [Text("a"), ToolCall("x", "f", '{"a":1}'), ToolCall("y", "g", "{}")],
    "a call without arguments": [ToolCall("x", "f", "")],
    "a signed call": [ToolCall("x", "f", '{"a":1}', carrier=GEMINIS)],
    "a custom call": [ToolCall("x", "exec", "ls", "custom")],
    "an image": [
        Text("see"),
        Media("image", "image/png", data="QUJD"),
        Media("image", url="https://img.test/a.png"),
    ],
    "sources": [Text("ab", [Citation("https://a.test", "A", start=0, end=1), Citation("https://b.test")])],
    "server tools": [
        ServerCall("s", "web_search", "anthropic"),
        ServerResult("s", "web_search", "anthropic"),
        Opaque("anthropic", {"type": "new"}),
        Text("ok"),
    ],
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_the_sdk_accumulates_the_stream_to_the_whole_body(parts):
    """class 1: a stream and a whole body say the same, and the SDK accepts both."""
    finish = "tool" if any(isinstance(part, ToolCall) for part in parts) else "stop"
    usage = Usage(5, 3, 2, 7, 1)
    body = whole(*parts, finish=finish, usage=usage)
    completion(body)
    answer = accumulated(streamed(*parts, finish=finish, usage=usage))
    # A stream says that it will be text before it knows.
    assert {"content": answer.pop("content")} == {"content": body["choices"][0]["message"].pop("content") or ""}
    assert answer == told(body)


@pytest.mark.parametrize(
    ("usage", "wire"),
    [
        (Usage(5, 3, 2, 7, 1), {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}),
        (Usage(), {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    ],
)
def test_usage_comes_in_a_chunk_of_its_own(usage, wire):
    """class 8: cache reads and writes are input; who asked for usage gets it even where none was reported."""
    *_, last = chunks_of(streamed(Text("a"), usage=usage))
    assert last["choices"] == []
    assert {key: last["usage"][key] for key in wire} == wire


def test_usage_that_was_not_asked_for_is_not_sent():
    request = Request("openai-chat", "alias", [], stream=True, include_usage=False)
    raw = written([Start(), UsageReport(Usage(5)), Finish("stop")], request)
    assert not any(chunk.get("usage") for chunk in chunks_of(raw))


def test_usage_that_was_not_reported_is_not_in_a_whole_body():
    assert "usage" not in whole(Text("a"))


@pytest.mark.parametrize(
    ("reason", "called", "word"),
    [
        ("stop", False, "stop"),
        ("stop_sequence", False, "stop"),
        ("length", False, "length"),
        ("length", True, "length"),
        ("tool", True, "tool_calls"),
        ("stop", True, "tool_calls"),
        ("tool", False, "stop"),
        ("filter", False, "content_filter"),
        ("refusal", False, "stop"),
        ("pause", False, "stop"),
    ],
)
def test_finish_reasons(reason, called, word):
    parts = [ToolCall("x", "f", "{}")] if called else [Text("a")]
    assert accumulated(streamed(*parts, finish=reason))["finish_reason"] == word
    assert whole(*parts, finish=reason)["choices"][0]["finish_reason"] == word


def test_interleaved_calls_keep_their_arguments_apart():
    """class 1: the arguments of two open calls go to their own indexes."""
    raw = written(
        [
            *(
                Start("chatcmpl-1"),
                PartStart(0, ToolCall("x", "f", "")),
                PartStart(1, ToolCall("y", "g", "")),
            ),
            *(Delta(0, '{"a"'), Delta(1, '{"b"'), Delta(0, ":1}"), Delta(1, ":2}"), PartEnd(1), PartEnd(0)),
            Finish("tool"),
        ]
    )
    calls = accumulated(raw)["tool_calls"]
    assert [call["function"] for call in calls] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": '{"b":2}'},
    ]


def test_calls_without_an_id_get_one_each():
    """class 2: two calls of an upstream without ids stay apart."""
    calls = accumulated(streamed(ToolCall("", "f", "{}"), ToolCall("", "f", "{}"), finish="tool"))["tool_calls"]
    assert len({call["id"] for call in calls}) == 2
    assert all(call["id"].startswith("call_") for call in calls)


def test_only_geminis_signatures_have_a_slot():
    """class 6: a foreign signature goes nowhere, and no slot is made up for it."""
    foreign = Carrier("anthropic", "signature", "c2ln")
    raw = streamed(Reasoning("hm", foreign), ToolCall("x", "f", "{}", carrier=foreign), finish="tool")
    assert b"c2ln" not in raw
    assert envelope.seal(foreign).encode() not in raw
    assert (
        "extra_content"
        not in whole(ToolCall("x", "f", "{}", carrier=foreign))["choices"][0]["message"]["tool_calls"][0]
    )


def test_openrouters_reasoning_details_reach_the_client():
    details = Carrier("openai-chat", "signature", '[{"type":"reasoning.text","text":"hm","signature":"c2ln"}]')
    message = accumulated(streamed(Reasoning("hm", details), Text("a")))
    assert message["reasoning_content"] == "hm"
    assert message["reasoning_details"] == [{"type": "reasoning.text", "text": "hm", "signature": "c2ln"}]


def test_a_source_that_is_no_page_has_no_form():
    assert deltas_of(
        written([Start(), PartStart(0, Text("a")), Cited(0, Citation(quote="q")), PartEnd(0), Finish("stop")])
    ) == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {},
    ]


def test_sources_count_from_the_start_of_the_message():
    citation = Citation("https://a.test", "A", start=0, end=1)
    [note] = whole(Text("ab"), Text("cd", [citation]))["choices"][0]["message"]["annotations"]
    assert (note["url_citation"]["start_index"], note["url_citation"]["end_index"]) == (2, 3)
    [note] = accumulated(streamed(Text("ab"), Text("cd", [citation])))["annotations"]
    assert (note["url_citation"]["start_index"], note["url_citation"]["end_index"]) == (2, 3)


@pytest.mark.parametrize(
    ("given", "start"), [("chatcmpl-9", "chatcmpl-9"), ("msg_01", "chatcmpl-msg_01"), ("", "chatcmpl-")]
)
def test_ids(given, start):
    """An id of another format stays readable in ours."""
    assert whole(Text("a"), id=given)["id"].startswith(start)


def test_the_name_that_the_client_asked_for():
    """class 12: the answer names the model as the client does."""
    assert {chunk["model"] for chunk in chunks_of(streamed(Text("a")))} == {"alias"}
    assert whole(Text("a"))["model"] == "alias"


# ---------------------------------------------------------------- failures


def test_a_failure_is_an_error_object_and_no_done():
    """class 1: a stream that broke off never ends like one that is through."""
    fault = UpstreamRefused("overloaded zebra", status=529)
    raw = written([Start("chatcmpl-1"), PartStart(0, Text("")), Delta(0, "a"), Failure(fault)])
    assert b"[DONE]" not in raw
    assert b'"finish_reason":"' not in raw
    error = errors_of(raw)
    assert isinstance(error, openai.APIError)
    assert (error.message, error.type) == ("overloaded zebra", "server_error")


def test_finish_without_an_ending_is_a_failure():
    error = errors_of(written([Start(), PartStart(0, Text("a"))]))
    assert isinstance(error, openai.APIError)
    assert "ended before its end" in error.message


def test_nothing_comes_after_the_end():
    encoder = AnswerEncoder(REQUEST, "alias")
    encoder.push(Start())
    encoder.push(Finish("stop"))
    assert (encoder.push(Delta(0, "a")), encoder.finish(), encoder.ping()) == (b"", b"", b"")
    encoder = AnswerEncoder(REQUEST, "alias")
    encoder.push(Failure(ClientFault("no")))
    assert encoder.finish() == b""


def test_pings_are_comments():
    encoder = AnswerEncoder(REQUEST, "alias")
    raw = encoder.ping() + encoder.push(Start("chatcmpl-1")) + encoder.ping() + encoder.push(Finish("stop"))
    assert encoder.ping() == b""
    assert accumulated(raw)["finish_reason"] == "stop"


# ---------------------------------------------------------------- properties

_texts = st.text(st.characters(codec="utf-8") | st.sampled_from('\u2028\r\n"\\'), min_size=1, max_size=4)
_own = st.sampled_from(["reasoning_content", '[{"type":"reasoning.text","text":"t","index":0}]'])
_prose = st.one_of(
    st.builds(Text, _texts),
    st.builds(Reasoning, _texts, st.none() | st.builds(Carrier, st.just("openai-chat"), st.just("signature"), _own)),
    st.builds(Refusal, _texts),
)
_others = st.sampled_from(
    [
        Media("image", "image/png", data="QUJD"),
        ServerCall("s", "web_search", "gemini"),
        Opaque("anthropic", {"type": "new"}),
    ]
)
_calls = st.builds(
    ToolCall, st.just(""), st.just("f"), st.sampled_from(["", '{"a":1}']), st.sampled_from(["function", "custom"]),
    carrier=st.none() | st.just(GEMINIS),
)  # fmt: skip


@st.composite
def legal_events(draw):
    """Any answer, its prose in pieces and its calls interleaved."""
    prose, calls = draw(st.lists(_prose | _others, max_size=4)), draw(st.lists(_calls, max_size=3))
    events = list(unfold(Answer("chatcmpl-1", "up", 7, prose)))[:-2]
    events.append(UsageReport(Usage(draw(st.none() | st.integers(0, 9)))))
    queues = []
    for index, call in enumerate(calls, len(prose)):
        head = ToolCall(f"call_{index}", call.name, "", call.kind)
        pieces = [Delta(index, piece) for piece in call.arguments]
        signed = [Signed(index, call.carrier)] if call.carrier is not None else []
        queues.append([PartStart(index, head), *pieces, *signed, PartEnd(index)])
        events.append(queues[-1].pop(0))
    while any(queues):
        events.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    finish = "tool" if calls else draw(st.sampled_from(["stop", "length", "filter", "stop_sequence", "pause"]))
    return [*events, Finish(finish)]


@given(legal_events())
def test_any_legal_events_make_a_legal_stream(events):
    check_events(events)
    raw = written(events)
    chunks_of(raw)
    message = accumulated(raw)
    answer = fold(copy.deepcopy(events))
    assert message["content"] == "".join(part.text for part in answer.parts if isinstance(part, Text))
    assert len(message.get("tool_calls") or []) == sum(isinstance(part, ToolCall) for part in answer.parts)


@given(
    st.lists(
        st.builds(Text, _texts) | st.builds(ToolCall, st.just("x"), st.just("f"), st.just('{"a":1}')),
        max_size=3,
    )
)
def test_decoding_what_was_encoded_gives_the_same_answer(parts):
    """decode∘encode is the identity on what both can say: one text, then calls."""
    texts, calls = (
        [part for part in parts if isinstance(part, Text)],
        [part for part in parts if isinstance(part, ToolCall)],
    )
    calls = [ToolCall(f"call_{number}", call.name, call.arguments) for number, call in enumerate(calls)]
    said = Answer("chatcmpl-1", "alias", 7, [*texts[:1], *calls], Usage(5, 3, 2, 7, 1), "tool" if calls else "stop")
    decoder = AnswerDecoder()
    heard = fold(decoder.feed(written(list(unfold(copy.deepcopy(said))))) + decoder.finish())
    heard.raw_finish = None
    assert heard == said

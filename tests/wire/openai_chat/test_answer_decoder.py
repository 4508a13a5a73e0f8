"""cliproxy.wire.openai_chat.answer_decoder: whatever compatible servers stream becomes legal events."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fold import fold
from cliproxy.wire.model import (
    Carrier,
    Citation,
    Delta,
    Failure,
    Finish,
    Media,
    PartStart,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    Usage,
)
from cliproxy.wire.openai_chat import AnswerDecoder, decode_answer
from tests.wire.event_grammar import check_events
from tests.wire.openai_chat.judge import DONE, chunk, sse

ROLE = {"role": "assistant", "content": ""}


def events_of(*slices):
    decoder = AnswerDecoder()
    events = [event for one in slices for event in decoder.feed(one)] + decoder.finish()
    check_events(events)
    return events


def streamed(*deltas, finish="stop", done=True, more=()):
    raw = sse(chunk(ROLE), *map(chunk, deltas), chunk({}, finish), *more) + (DONE if done else b"")
    return fold(events_of(raw))


def whole(message, finish: str | None = "stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return decode_answer({"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], **more})


def failure_of(*slices):
    last = events_of(*slices)[-1]
    assert isinstance(last, Failure)
    return last.error


def call(index=None, id=None, name=None, arguments=None, **more):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fields = {"index": index, "id": id, "function": function, **more}
    return {"tool_calls": [{key: value for key, value in fields.items() if value is not None}]}


def tool(id, name, arguments):
    return ToolCall(id, name, arguments)


# ---------------------------------------------------------------- content


def test_text_comes_in_the_pieces_it_was_sent_in():
    raw = sse(chunk(ROLE), chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop")) + DONE
    deltas = [event.text for event in events_of(raw) if isinstance(event, Delta)]
    assert deltas == ["Hel", "lo"]
    assert fold(events_of(raw)).parts == [Text("Hello")]


def test_the_start_says_who_answers():
    assert events_of(sse(chunk(ROLE), chunk({}, "stop")))[0] == Start("chatcmpl-1", "up", 1_700_000_000)


def test_azures_first_chunk_without_choices_does_not_start_the_answer():
    raw = sse(
        {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []},
        chunk(ROLE),
        chunk({}, "stop"),
    )
    assert events_of(raw)[0] == Start("chatcmpl-1", "up", 1_700_000_000)


@pytest.mark.parametrize(
    ("deltas", "parts"),
    [
        (
            [{"reasoning_content": "hm"}, {"content": "ok"}],
            [Reasoning("hm", Carrier("openai-chat", "signature", "reasoning_content")), Text("ok")],
        ),
        (
            [{"reasoning": "h"}, {"reasoning": "m", "content": None}, {"content": "ok"}],
            [Reasoning("hm", Carrier("openai-chat", "signature", "reasoning")), Text("ok")],
        ),
        (
            [{"reasoning_content": "hm", "reasoning": "hm"}],
            [Reasoning("hm", Carrier("openai-chat", "signature", "reasoning_content"))],
        ),
        (
            [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}],
            [Reasoning("hm")],
        ),
        ([{"content": [{"type": "text", "text": "a"}, "b"]}], [Text("ab")]),
        ([{"refusal": "No"}, {"refusal": "."}], [Refusal("No.")]),
        ([{"content": None}, {"content": ""}], []),
        (
            [{"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]}],
            [Media("image", "image/png", data="QUJD")],
        ),
        (
            [{"images": [{"image_url": "https://img.test/a.png"}]}],
            [Media("image", url="https://img.test/a.png")],
        ),
        ([{"audio": {"data": "QUJD"}, "content": "a"}], [Text("a")]),
    ],
    ids=str,
)
def test_kinds_of_content(deltas, parts):
    """class 19: reasoning_content, reasoning, lists of parts and images, as compatible servers send them."""
    assert streamed(*deltas).parts == parts


def test_reasoning_details_are_put_together_for_the_way_back():
    """class 6: OpenRouter's signatures return to it byte for byte."""
    answer = streamed(
        {"reasoning": "let ", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "let "}]},
        {"reasoning": "me", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "me"}]},
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "c2ln"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "ZW5j"}]},
        {"content": "ok"},
    )
    reasoning = answer.parts[0]
    assert isinstance(reasoning, Reasoning)
    assert reasoning.text == "let me"
    assert reasoning.carrier is not None
    assert reasoning.carrier.kind == "signature"
    assert json.loads(reasoning.carrier.data) == [
        {"type": "reasoning.text", "index": 0, "text": "let me", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "index": 1, "data": "ZW5j"},
    ]


def test_reasoning_details_alone_are_read():
    [reasoning] = streamed({"reasoning_details": [{"type": "reasoning.summary", "summary": "short"}]}).parts
    assert isinstance(reasoning, Reasoning)
    assert reasoning.text == "short"


def test_citations_belong_to_the_open_text():
    note = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.test", "title": "A", "start_index": 0, "end_index": 2},
    }
    answer = streamed({"annotations": [note]}, {"content": "ok"}, {"annotations": [note]})
    assert answer.parts == [Text("ok", [Citation("https://a.test", "A", start=0, end=2)])]


def test_further_choices_are_ignored():
    other = {"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}
    raw = sse(
        {**chunk({"content": "this"}), "choices": [*chunk({"content": "this"})["choices"], other]},
        chunk({}, "stop"),
    )
    answer = fold(events_of(raw))
    assert (answer.parts, answer.finish) == ([Text("this")], "stop")


# ---------------------------------------------------------------- calls

SAME_CALLS = [tool("a", "f", '{"x":1}'), tool("b", "g", '{"y":2}')]


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [
                call(0, "a", "f", ""),
                call(0, arguments='{"x"'),
                call(0, arguments=":1}"),
                call(1, "b", "g", '{"y":2}'),
            ],
            id="as OpenAI",
        ),
        pytest.param(
            [
                call(0, "a", "f", '{"x"'),
                call(1, "b", "g", '{"y"'),
                call(0, arguments=":1}"),
                call(1, arguments=":2}"),
            ],
            id="interleaved",
        ),
        pytest.param([call(0, "a", "f", '{"x":1}'), call(0, "b", "g", '{"y":2}')], id="every index 0"),
        pytest.param(
            [call(id="a", name="f", arguments='{"x":1}'), call(id="b", name="g", arguments='{"y":2}')],
            id="no index",
        ),
        pytest.param(
            [
                call(id="a", name="f"),
                call(arguments='{"x":1}'),
                call(id="b", name="g"),
                call(arguments='{"y":2}'),
            ],
            id="no index, the rest without id",
        ),
        pytest.param(
            [call(0, "a", "f", '{"x"'), call(0, "a", "f", ":1}"), call(1, "b", "g", '{"y":2}')],
            id="id and name repeated",
        ),
        pytest.param(
            [call(0, "a", "f", '{"x"'), call(0, "other", arguments=":1}"), call(1, "b", "g", '{"y":2}')],
            id="another id each time",
        ),
        pytest.param(
            [
                call(0, "a"),
                call(0, arguments='{"x"'),
                call(0, name="f", arguments=":1}"),
                call(1, "b", "g", '{"y":2}'),
            ],
            id="name last",
        ),
        pytest.param([call(0, "a", "f", {"x": 1}), call(1, "b", "g", {"y": 2})], id="arguments as an object"),
    ],
)
def test_calls_in_every_dialect(deltas):
    """class 2: calls by index, by id or by neither, interleaved or whole, are the calls that the model made."""
    answer = streamed(*deltas, finish="tool_calls")
    assert answer.parts == SAME_CALLS
    assert answer.finish == "tool"


def test_a_call_streams_while_it_is_written():
    decoder = AnswerDecoder()
    decoder.feed(sse(chunk(ROLE)))
    assert decoder.feed(sse(chunk(call(0, "a", "f", "")))) == [PartStart(0, ToolCall("a", "f", ""))]
    assert decoder.feed(sse(chunk(call(0, arguments='{"x"')))) == [Delta(0, '{"x"')]


def test_the_deprecated_function_call():
    answer = streamed(
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        finish="function_call",
    )
    assert (answer.parts, answer.finish) == ([tool("", "f", "{}")], "tool")


def test_a_custom_call():
    head = {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "exec", "input": ""}}]}
    tail = {"tool_calls": [{"index": 0, "custom": {"input": "ls"}}]}
    assert streamed(head, tail, finish="tool_calls").parts == [ToolCall("a", "exec", "ls", "custom")]


def test_geminis_signature_of_a_call():
    """class 6: the signature of Google's compatibility layer is its own, not that of a Gemini upstream."""
    signed = call(0, "a", "f", "{}", extra_content={"google": {"thought_signature": "c2ln"}})
    [part] = streamed(signed, finish="tool_calls").parts
    assert isinstance(part, ToolCall)
    assert part.carrier == Carrier("openai-chat", "signature", "c2ln")


def test_a_call_that_is_never_named_is_garbled():
    """class 2: a nameless call must not vanish into an empty answer."""
    assert isinstance(failure_of(sse(chunk(call(0, "a", arguments="{}")), chunk({}, "tool_calls"))), UpstreamGarbled)


def test_text_between_calls_is_a_part_of_its_own():
    answer = streamed({"content": "a"}, call(0, "a", "f", "{}"), {"content": "b"}, finish="tool_calls")
    assert answer.parts == [Text("a"), tool("a", "f", "{}"), Text("b")]


# ---------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("word", "deltas", "reason"),
    [
        ("stop", [{"content": "a"}], "stop"),
        ("length", [{"content": "a"}], "length"),
        ("content_filter", [{"content": "a"}], "filter"),
        ("tool_calls", [call(0, "a", "f", "{}")], "tool"),
        ("stop", [call(0, "a", "f", "{}")], "tool"),
        ("length", [call(0, "a", "f", "{")], "length"),
        ("tool_calls", [{"content": "a"}], "stop"),
        ("stop", [{"refusal": "No"}], "refusal"),
        ("refusal", [{"content": "a"}], "filter"),
        ("eos", [{"content": "a"}], "stop"),
        ("model_length", [{"content": "a"}], "length"),
    ],
)
def test_finish_reasons(word, deltas, reason):
    answer = streamed(*deltas, finish=word)
    assert (answer.finish, answer.raw_finish) == (reason, word)


@pytest.mark.parametrize("word", ["error", "network_error", "insufficient_system_resource", "abort"])
def test_a_finish_reason_can_state_a_failure(word):
    """class 1: an upstream that says it broke off did not end well."""
    error = failure_of(sse(chunk({"content": "a"}), chunk({}, word)) + DONE)
    assert isinstance(error, UpstreamRefused)
    assert word in error.message


def test_usage_after_the_finish_reason_counts():
    raw = sse(chunk(ROLE), chunk({}, "stop"), chunk(None, usage={"prompt_tokens": 5, "completion_tokens": 2}))
    decoder = AnswerDecoder()
    assert not any(isinstance(event, Finish) for event in decoder.feed(raw))
    assert fold(events_of(raw, DONE)).usage == Usage(5, output=2)


def test_no_done_after_a_finish_reason_is_fine():
    """class 1: [DONE] is optional."""
    assert streamed({"content": "a"}, done=False).finish == "stop"


def test_done_without_a_finish_reason_ends_what_has_come():
    """class 1: [DONE] is the server's own word that it is through."""
    answer = fold(events_of(sse(chunk({"content": "a"})) + DONE))
    assert (answer.parts, answer.finish) == ([Text("a")], "stop")
    answer = fold(events_of(sse(chunk(call(0, "a", "f", "{}"))) + DONE))
    assert answer.finish == "tool"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        DONE,
        sse(chunk(ROLE)),
        sse(chunk(ROLE)) + DONE,
        sse(chunk(ROLE), chunk({"content": "a"})),
        sse(chunk(ROLE), chunk(call(0, "a", "f", '{"x'))),
    ],
)
def test_a_stream_without_an_ending_is_cut(raw):
    """class 1, class 18: a cut or empty stream never looks like success."""
    assert isinstance(failure_of(raw), UpstreamCut)


@pytest.mark.parametrize(
    "raw", [b"<html>hello</html>", b'{"id":"chatcmpl-1","choices":[{"message":{"content":"not a stream"}}]}']
)
def test_what_is_no_event_stream_is_garbled(raw):
    assert isinstance(failure_of(raw), UpstreamGarbled)


@pytest.mark.parametrize(
    "raw",
    [
        b"data: <html>\n\n",
        b'data: {"choices":\n\n',
        b"data: 5\n\n",
        sse({"choices": 5}),
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
    ids=["html", "half a chunk", "a number", "wrong type", "too deep"],
)
def test_what_is_no_chunk_is_garbled(raw):
    assert isinstance(failure_of(raw), UpstreamGarbled)


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (sse({"error": {"message": "boom", "type": "server_error"}}), 500, "boom"),
        (sse({"error": {"message": "slow", "type": "tokens", "code": "rate_limit_exceeded"}}), 429, "slow"),
        (
            sse(
                {
                    "error": {"message": "boom", "code": 503},
                    "choices": [{"delta": {}, "finish_reason": "error"}],
                }
            ),
            503,
            "boom",
        ),
        (sse({"error": "boom"}), 502, "boom"),
        (sse({"object": "error", "message": "boom", "type": "BadRequestError", "code": 400}), 400, "boom"),
        (
            sse({"choices": [{"index": 0, "delta": {}, "error": {"message": "boom", "code": 429}}]}),
            429,
            "boom",
        ),
        (b'event: error\ndata: {"error":{"message":"boom","type":"overloaded_error"}}\n\n', 503, "boom"),
        (b"event: error\ndata: plain words\n\n", 502, "plain words"),
    ],
)
def test_errors_in_the_stream(raw, status, message):
    error = failure_of(sse(chunk({"content": "a"})) + raw + sse(chunk({}, "stop")) + DONE)
    assert isinstance(error, UpstreamRefused)
    assert (error.status, error.message) == (status, message)


def test_nothing_counts_after_the_end():
    decoder = AnswerDecoder()
    decoder.feed(sse(chunk({"content": "a"}), chunk({}, "stop")) + DONE)
    assert decoder.feed(sse(chunk({"content": "b"}))) == []
    assert decoder.finish() == []


def test_unknown_events_are_ignored():
    raw = b"event: ping\ndata: now\n\ndata:\n\n" + sse({"type": "new"}, chunk({"content": "a"}), chunk({}, "stop"))
    assert fold(events_of(raw)).parts == [Text("a")]


def test_numbers_in_strings_are_numbers():
    raw = b"event: chunk\n" + sse({"choices": [{"index": "0", "delta": {"content": "a"}}]}, chunk({}, "stop"))
    assert fold(events_of(raw)).parts == [Text("a")]
    usage = {"prompt_tokens": "5", "completion_tokens": 2.0}
    assert streamed({"content": "a"}, more=[chunk(None, usage=usage)]).usage == Usage(5, output=2)


# ---------------------------------------------------------------- whole bodies


def test_a_whole_body_is_the_fold_of_its_stream():
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"y":2}'}},
    ]
    message = {"content": "ok", "reasoning_content": "hm", "refusal": None, "tool_calls": calls}
    answer = whole(message, "tool_calls", usage={"prompt_tokens": 5, "completion_tokens": 2}, model="up", created=7)
    carrier = Carrier("openai-chat", "signature", "reasoning_content")
    assert answer.parts == [Reasoning("hm", carrier), Text("ok"), *SAME_CALLS]
    assert (answer.finish, answer.usage, answer.created_s) == ("tool", Usage(5, output=2), 7)


def test_a_whole_body_needs_no_finish_reason():
    assert whole({"content": "a"}, None).finish == "stop"
    assert whole({"content": ""}, "stop").parts == []


@pytest.mark.parametrize(
    "body", [{}, {"hello": "world"}, {"choices": []}, {"choices": [{"index": 0}]}, {"choices": "a"}]
)
def test_a_body_of_another_kind_is_garbled(body):
    """class 18: JSON that is no completion is no empty answer."""
    with pytest.raises(UpstreamGarbled):
        decode_answer(body)


def test_an_error_as_the_body_is_raised():
    with pytest.raises(UpstreamRefused, match="boom"):
        decode_answer({"error": {"message": "boom"}})


# ---------------------------------------------------------------- properties

RICH = (
    sse(
        chunk(ROLE),
        chunk({"reasoning": "Grüße", "reasoning_details": [{"type": "reasoning.text", "text": "Grüße"}]}),
        chunk({"content": "終 \u2028 🦊"}),
        chunk(call(0, "a", "f", '{"x"')),
        chunk(call(1, "b", "g", "{}")),
        chunk(call(0, arguments=":1}")),
        chunk({}, "tool_calls"),
        chunk(None, usage={"prompt_tokens": 5, "completion_tokens": 2}),
    ).replace(b"\n", b"\r\n")
    + DONE
)


@given(st.lists(st.integers(0, len(RICH)), max_size=12))
def test_any_cut_gives_the_same_answer(cuts):
    edges = [0, *sorted(cuts), len(RICH)]
    slices = [RICH[start:end] for start, end in itertools.pairwise(edges)]
    assert fold(events_of(*slices)) == fold(events_of(RICH))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_call_deltas = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(-1, 2),
        "id": st.sampled_from(["", "a", "b"]) | st.none(),
        "function": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["f", ""]) | st.none(),
                "arguments": st.text(max_size=3) | st.none(),
            },
        ),
        "custom": st.none() | st.just({"name": "c", "input": "i"}),
        "extra_content": _json | st.just({"google": {"thought_signature": "s"}}),
    },
)
_deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.text(max_size=3) | st.lists(_json, max_size=2),
        "reasoning_content": _json,
        "reasoning": _json,
        "reasoning_details": _json | st.lists(st.just({"type": "reasoning.text", "text": "t"}), max_size=2),
        "refusal": st.none() | st.text(max_size=3),
        "tool_calls": st.none() | st.lists(_call_deltas, max_size=3),
        "function_call": st.none() | st.just({"name": "f", "arguments": "{}"}),
        "annotations": _json | st.just([{"url_citation": {"url": "https://a.test"}}]),
        "images": _json | st.just([{"image_url": {"url": "data:image/png;base64,QQ=="}}]),
        "audio": _json,
    },
)
_chunks = st.builds(
    lambda delta, finish, index, more: {
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
        **more,
    },
    _deltas,
    st.none() | st.sampled_from(["stop", "tool_calls", "length", "error", "x"]),
    st.none() | st.integers(0, 1),
    st.fixed_dictionaries({}, optional={"id": _json, "usage": st.none() | st.just({"prompt_tokens": 3})}),
)


@given(st.lists(_chunks | _json, max_size=6), st.booleans())
def test_any_chunks_give_legal_events(chunks, done):
    events = events_of(sse(*chunks) + (DONE if done else b""))
    try:
        fold(events)
    except GatewayError as error:
        assert isinstance(events[-1], Failure)
        assert error.message


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"data: ", b"\n\n", b"{", b"event: error\n"]), max_size=6))
def test_any_bytes_give_legal_events(slices):
    events_of(*slices)


@given(_json | _chunks)
def test_any_body_is_an_answer_or_an_upstream_fault(body):
    try:
        decode_answer(body if isinstance(body, dict) else {"choices": body})
    except GatewayError as error:
        assert error.status >= 400

"""cliproxy.wire.translation: all sixteen ways between a client's format and an upstream's."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire import envelope, json
from cliproxy.wire.errors import GatewayError, UpstreamCut, UpstreamGarbled, UpstreamRefused, UpstreamTimeout
from cliproxy.wire.fold import fold, unfold
from cliproxy.wire.model import (
    FORMATS,
    Answer,
    Carrier,
    Delta,
    Failure,
    Finish,
    Media,
    ModelFacts,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Start,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
    UsageReport,
)
from cliproxy.wire.translation import CODECS, Translation
from tests import native
from tests.wire import vendors
from tests.wire.conversations import CONVERSATIONS, SCHEMA

PAIRS = [pytest.param(client, upstream, id=f"{client}>{upstream}") for client, upstream in product(FORMATS, FORMATS)]
every_pair = pytest.mark.parametrize(("client", "upstream"), PAIRS)
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

FACTS = ModelFacts("up-model", max_output_tokens=32000)


def decoded(format, stream=True, **more):
    """A client's request."""
    body = {**CONVERSATIONS[format], **more}
    if format == "gemini":
        return CODECS[format].decode_request(body, model="shown", stream=stream)
    body["stream"] = stream
    if format == "openai-chat" and not stream:
        del body["stream_options"]
    return CODECS[format].decode_request(body)


def translation(client, upstream, stream=True, **more):
    return Translation(decoded(client, stream, **more), upstream, FACTS, "shown")


def upstream_stream(format, answer):
    """The bytes in which an upstream of this format streams `answer`."""
    encoder = CODECS[format].AnswerEncoder(decoded(format), "up-model")
    return b"".join([*map(encoder.push, unfold(answer)), encoder.finish()])


def upstream_whole(format, answer):
    return json.dumps(CODECS[format].encode_answer(answer, decoded(format, stream=False), "up-model"))


def read_stream(format, raw):
    """What a client of this format makes of a stream."""
    decoder = CODECS[format].AnswerDecoder()
    return fold([*decoder.feed(raw), *decoder.finish()])


def read_whole(format, raw):
    return CODECS[format].decode_answer(json.loads(raw))


def said(answer):
    """What all formats can say of an answer. Neighbouring texts are one: chat has but one content."""
    text, thoughts, calls, refusals = "", "", [], ""
    for part in answer.parts:
        match part:
            case Text(words):
                text += words
            case Reasoning(words):
                thoughts += words
            case Refusal(words):
                refusals += words
            case ToolCall():
                calls.append((part.name, json.loads(part.arguments)))
            case _:
                pass
    usage = answer.usage
    return {
        "text": text,
        "thoughts": thoughts,
        "refusals": refusals,
        "calls": calls,
        "finish": answer.finish,
        "input": sum(count or 0 for count in (usage.input, usage.cache_read, usage.cache_write)),
        "cached": usage.cache_read or 0,
        "output": usage.output,
    }


def call(number, arguments='{"city":"Oslo"}'):
    return ToolCall(f"call_{number}", "get_weather", arguments)


COUNTS = Usage(input=100, cache_read=40, cache_write=0, output=30, reasoning=7)
ANSWERS = {
    "text": Answer(
        "id1", "up-model", 1, [Text("Hello wörld \u2028 \U0001f600\x00\n\ndata: [DONE]\n\n")], COUNTS, "stop"
    ),
    "nothing": Answer("id1", "up-model", 1, [], COUNTS, "stop"),
    "thinking": Answer("id1", "up-model", 1, [Reasoning("Hm.\n\nSo."), Text("Yes.")], COUNTS, "stop"),
    "calls": Answer("id1", "up-model", 1, [Text("So."), call(1), call(2, '{"city":"Rome"}')], COUNTS, "tool"),
    "thinking and call": Answer("id1", "up-model", 1, [Reasoning("Hm."), call(1)], COUNTS, "tool"),
    "call without arguments": Answer("id1", "up-model", 1, [call(1, "{}")], COUNTS, "tool"),
    "cut short": Answer("id1", "up-model", 1, [Text("Once")], COUNTS, "length"),
    "filtered": Answer("id1", "up-model", 1, [Text("Once")], COUNTS, "filter"),
}
every_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)

# ---------------------------------------------------------------- requests


@every_pair
@both_modes
def test_a_conversation_arrives_whole(client, upstream, stream):
    way = translation(client, upstream, stream)
    body = json.loads(way.body)
    arrived = CODECS[upstream].decode_request(
        body, **({"model": "m", "stream": stream} if upstream == "gemini" else {})
    )
    assert way.encoded.dropped == []
    assert [part.text for part in arrived.system if isinstance(part, Text)] == ["Be brief."]
    parts = [(turn.role, part) for turn in arrived.turns for part in turn.parts]
    assert [(role, part.text) for role, part in parts if isinstance(part, Text)] == [
        ("user", "Weather?"),
        ("assistant", "Let me look."),
        ("user", "And now?"),
    ]
    assert [part.data for _, part in parts if isinstance(part, Media)] == ["AAEC"]
    assert [(tool.name, tool.description, tool.schema) for tool in arrived.tools if isinstance(tool, Tool)] == [
        ("get_weather", "W.", SCHEMA)
    ]
    assert upstream == "gemini" or (body["model"], bool(body.get("stream"))) == ("up-model", stream)


@every_pair
def test_calls_and_results_stay_paired(client, upstream):
    """Class 2: by their ids, or by name and order where the client gave none."""
    body = json.loads(translation(client, upstream).body)
    arrived = CODECS[upstream].decode_request(body, **({"model": "m"} if upstream == "gemini" else {}))
    calls = [part for turn in arrived.turns for part in turn.parts if isinstance(part, ToolCall)]
    results = [part for turn in arrived.turns for part in turn.parts if isinstance(part, ToolResult)]
    assert [json.loads(part.arguments) for part in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert [part.id for part in results] == [part.id for part in calls]
    assert len({part.id for part in calls}) == 2
    assert ["sun" in json.dumps_text(part.parts[0].text) for part in results] == [True, False]


@every_pair
def test_the_clients_request_stays_as_it_was(client, upstream):
    request = decoded(client)
    before = repr(request)
    Translation(request, upstream, FACTS, "shown")
    assert repr(request) == before


@every_pair
def test_the_same_request_gives_the_same_bytes(client, upstream):
    """Class 13: or prompt caches go cold."""
    assert translation(client, upstream).body == translation(client, upstream).body


def test_an_upstream_that_only_streams_is_asked_to():
    request = decoded("anthropic", stream=False)
    body = json.loads(Translation(request, "openai-chat", FACTS, "shown", stream=True).body)
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert request.stream is False


def test_losses_are_told_in_the_order_in_which_they_came():
    more = {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "tool", "tool_call_id": "gone", "content": "x"},
        ],
        "logit_bias": {"1": 5},
    }
    dropped = translation("openai-chat", "anthropic", **more).encoded.dropped
    assert dropped[0] == "tool result gone: no call to go with it"
    assert any(line.startswith("logit_bias") for line in dropped[1:])


# ---------------------------------------------------------------- answers


@every_pair
@every_answer
def test_an_answer_means_the_same_by_every_way(client, upstream, answer):
    """Stream to stream, whole to whole, stream to whole, whole to stream."""
    wanted = said(answer)
    streamed, whole = upstream_stream(upstream, answer), upstream_whole(upstream, answer)
    assert said(read_stream(upstream, streamed)) == wanted == said(read_whole(upstream, whole))

    stream = translation(client, upstream).stream()
    assert said(read_stream(client, stream.feed(streamed) + stream.finish())) == wanted
    way = translation(client, upstream, stream=False)
    assert said(read_whole(client, way.answer(whole))) == wanted
    collector = translation(client, upstream, stream=False).collect()
    collector.feed(streamed)
    assert said(read_whole(client, collector.finish())) == wanted
    assert said(read_stream(client, translation(client, upstream).unfolded(whole))) == wanted

    total = (stream.usage.input or 0) + (stream.usage.cache_read or 0) + (stream.usage.cache_write or 0)
    assert (total, stream.usage.output, stream.finish_reason) == (140, 30, answer.finish)
    assert (way.usage.output, way.finish_reason) == (30, answer.finish)


_words = st.text(max_size=12)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | _words,
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
_parts = st.one_of(
    st.builds(Text, st.text(min_size=1, max_size=12)),
    st.builds(Reasoning, st.text(min_size=1, max_size=12)),
    st.builds(
        lambda arguments: ("call", arguments),
        st.dictionaries(st.text(max_size=5), _values, max_size=2).map(json.dumps_text),
    ),
)


@st.composite
def answers(draw):
    drawn = draw(st.lists(_parts, max_size=4))
    # Chat has one place for all reasoning, where paragraphs keep its parts apart: one part says the same everywhere.
    thoughts = [part for part in drawn if isinstance(part, Reasoning)][:1]
    drawn = [*thoughts, *(part for part in drawn if not isinstance(part, Reasoning))]
    parts = [call(number, part[1]) if isinstance(part, tuple) else part for number, part in enumerate(drawn, 1)]
    called = any(isinstance(part, ToolCall) for part in parts)
    usage = Usage(input=draw(st.integers(0, 99)), cache_read=draw(st.integers(0, 9)), output=draw(st.integers(0, 99)))
    return Answer("id1", "up-model", 1, parts, usage, "tool" if called else draw(st.sampled_from(["stop", "length"])))


@every_pair
@settings(max_examples=12)
@given(answers(), st.data())
def test_any_answer_means_the_same_however_it_is_cut(client, upstream, answer, data):
    """Class 1. Usage is conserved too (class 8)."""
    raw = upstream_stream(upstream, answer)
    size = data.draw(st.integers(1, 60), "size of the pieces")
    stream = translation(client, upstream).stream()
    out = b"".join(stream.feed(raw[at : at + size]) for at in range(0, len(raw), size)) + stream.finish()
    assert said(read_stream(client, out)) == said(answer)
    assert stream.failure is None and stream.ended


@every_pair
@every_answer
def test_a_stream_that_was_cut_never_looks_like_a_success(client, upstream, answer):
    """Class 1: whatever the upstream's own decoder takes for the end is the end, and nothing else."""
    raw = upstream_stream(upstream, answer)
    ends = [at + 2 for at in range(len(raw)) if raw[at : at + 2] == b"\n\n"]
    for end in ends:
        decoder = CODECS[upstream].AnswerDecoder()
        last = [*decoder.feed(raw[:end]), *decoder.finish()][-1]
        stream = translation(client, upstream).stream()
        try:
            out = stream.feed(raw[:end]) + stream.finish()
        except GatewayError as error:
            assert isinstance(last, Failure) and isinstance(error, UpstreamCut)
            assert stream.failure is error and not stream.started
            continue
        client_decoder = CODECS[client].AnswerDecoder()
        seen = [*client_decoder.feed(out), *client_decoder.finish()][-1]
        assert type(seen) is type(last), raw[:end]
        assert (stream.failure is None) == isinstance(last, Finish)


@every_pair
@settings(max_examples=25)
@given(st.data())
def test_any_bytes_give_a_legal_stream_or_an_upstreams_fault(client, upstream, data):
    raw = upstream_stream(upstream, ANSWERS["calls"])
    at, length = data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, 40))
    spoiled = raw[:at] + data.draw(st.binary(max_size=20)) + raw[at + length :]
    stream = translation(client, upstream).stream()
    try:
        out = stream.feed(spoiled) + stream.finish()
    except GatewayError:
        return
    decoder = CODECS[client].AnswerDecoder()
    last = [*decoder.feed(out), *decoder.finish()][-1]
    assert isinstance(last, Finish if stream.failure is None else Failure)


@every_pair
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b"<html>", b'{"choices":[]}', b'{"output":5}', b"[" * 9999, b"\xff"]
)
def test_a_body_that_is_no_answer_is_the_upstreams_fault(client, upstream, body):
    with pytest.raises((UpstreamGarbled, UpstreamRefused)):
        translation(client, upstream, stream=False).answer(body)
    with pytest.raises((UpstreamGarbled, UpstreamRefused)):
        translation(client, upstream).unfolded(body)


@every_pair
@pytest.mark.parametrize("finish", ["refusal", "stop"])
def test_the_words_of_a_refusal_arrive(client, upstream, finish):
    answer = Answer("id1", "up-model", 1, [Refusal("I will not.")], COUNTS, finish)
    stream = translation(client, upstream).stream()
    seen = said(read_stream(client, stream.feed(upstream_stream(upstream, answer)) + stream.finish()))
    assert seen["text"] + seen["refusals"] == "I will not."


@every_pair
def test_parts_that_interleave_in_the_upstreams_stream_arrive_whole(client, upstream):
    encoder = CODECS[upstream].AnswerEncoder(decoded(upstream), "up-model")
    events = [
        Start("id1", "up-model", 1),
        PartStart(0, Text("")),
        Delta(0, "So"),
        PartStart(1, call(1, "")),
        PartStart(2, call(2, "")),
        Delta(1, '{"city"'),
        Delta(2, '{"city":'),
        Delta(0, "."),
        Delta(1, ':"Oslo"}'),
        Delta(2, '"Rome"}'),
        PartEnd(0),
        PartEnd(1),
        PartEnd(2),
        UsageReport(COUNTS),
        Finish("tool"),
    ]
    raw = b"".join([*map(encoder.push, events), encoder.finish()])
    stream = translation(client, upstream).stream()
    assert said(read_stream(client, stream.feed(raw) + stream.finish())) == said(fold(events))


# ---------------------------------------------------------------- errors in the stream


@every_pair
def test_an_upstream_that_fails_before_it_says_anything_raises(client, upstream):
    """So that another upstream can be asked (class 14)."""
    encoder = CODECS[upstream].AnswerEncoder(decoded(upstream), "up-model")
    events = list(unfold(ANSWERS["text"]))
    raw = encoder.push(events[0]) + encoder.push(Failure(UpstreamRefused("overloaded", status=529))) + encoder.finish()
    stream = translation(client, upstream).stream()
    with pytest.raises(UpstreamRefused, match="overloaded"):
        stream.feed(raw)
        stream.finish()
    assert not stream.started and stream.ended
    assert stream.feed(b"data: x\n\n") == stream.finish() == stream.ping() == b""


@every_pair
def test_an_upstream_that_fails_later_ends_the_stream_with_an_error(client, upstream):
    encoder = CODECS[upstream].AnswerEncoder(decoded(upstream), "up-model")
    events = list(unfold(ANSWERS["text"]))
    raw = b"".join(map(encoder.push, [*events[:3], Failure(UpstreamRefused("overloaded", status=529))]))
    stream = translation(client, upstream).stream()
    out = stream.feed(raw + encoder.finish()) + stream.finish()
    assert isinstance(stream.failure, UpstreamRefused)
    with pytest.raises(UpstreamRefused, match="overloaded"):
        read_stream(client, out)


@every_pair
@pytest.mark.parametrize("begun", [True, False])
def test_the_gateway_can_end_a_stream_with_an_error_of_its_own(client, upstream, begun):
    stream = translation(client, upstream).stream()
    raw = upstream_stream(upstream, ANSWERS["text"])
    out = stream.feed(raw[: len(raw) // 2]) if begun else b""
    error = UpstreamTimeout("too slow")
    out += stream.fail(error)
    assert stream.failure is error and stream.ended
    assert stream.fail(error) == b""
    with pytest.raises(UpstreamRefused, match="too slow"):
        read_stream(client, out)


@every_pair
def test_nothing_is_said_until_the_upstream_has_said_something(client, upstream):
    raw = upstream_stream(upstream, ANSWERS["text"])
    stream = translation(client, upstream).stream()
    out = b""
    for at in range(len(raw)):
        out += stream.feed(raw[at : at + 1])
        assert stream.started or not out
    assert stream.started and said(read_stream(client, out + stream.finish())) == said(ANSWERS["text"])


@every_pair
def test_a_ping_does_no_harm(client, upstream):
    raw = upstream_stream(upstream, ANSWERS["calls"])
    stream = translation(client, upstream).stream()
    out = stream.ping()
    for at in range(0, len(raw), 50):
        out += stream.feed(raw[at : at + 50]) + stream.ping()
    out += stream.finish()
    assert stream.ping() == b""
    assert said(read_stream(client, out)) == said(ANSWERS["calls"])


def test_a_gemini_client_may_ask_for_an_array():
    raw = upstream_stream("anthropic", ANSWERS["calls"])
    stream = translation("gemini", "anthropic").stream(sse=False)
    chunks = json.loads(stream.feed(raw) + stream.finish())
    assert [
        part
        for chunk in chunks
        for part in chunk["candidates"][0].get("content", {}).get("parts", [])
        if "functionCall" in part
    ]
    assert json.loads(
        translation("gemini", "anthropic").unfolded(upstream_whole("anthropic", ANSWERS["text"]), sse=False)
    )


def test_a_collected_stream_that_was_cut_is_no_answer():
    raw = upstream_stream("openai-responses", ANSWERS["text"])
    collector = translation("anthropic", "openai-responses", stream=False).collect()
    collector.feed(raw[: raw.index(b"event: response.output_text.done")])
    with pytest.raises(UpstreamCut):
        collector.finish()


# ---------------------------------------------------------------- what was changed on the way comes back

LONG_NAME = "mcp__a_very_long_server_name__and_a_very_long_tool_name_0123456789_abc"


@pytest.mark.parametrize("upstream", [format for format in FORMATS if format != "anthropic"])
@both_modes
def test_tool_names_come_back(upstream, stream):
    tools = [{"name": LONG_NAME, "description": "W.", "input_schema": SCHEMA}]
    way = translation("anthropic", upstream, stream, tools=tools)
    [sent] = [
        tool.name
        for tool in CODECS[upstream]
        .decode_request(json.loads(way.body), **({"model": "m"} if upstream == "gemini" else {}))
        .tools
    ]
    assert len(sent) <= 64
    answer = Answer("id1", "m", 1, [ToolCall("call_1", sent, '{"city":"Oslo"}')], COUNTS, "tool")
    if stream:
        out = way.stream()
        got = read_stream("anthropic", out.feed(upstream_stream(upstream, answer)) + out.finish())
    else:
        got = read_whole("anthropic", way.answer(upstream_whole(upstream, answer)))
    assert [part.name for part in got.parts] == [LONG_NAME]


EXEC = {
    "type": "custom",
    "name": "exec",
    "description": "Runs JavaScript.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


@pytest.mark.parametrize("upstream", ["anthropic", "gemini"])
@both_modes
def test_freeform_tools_come_back_with_raw_text(upstream, stream):
    """Codex takes a function call of one for "aborted", silently."""
    way = translation("openai-responses", upstream, stream, tools=[EXEC])
    answer = Answer("id1", "m", 1, [ToolCall("call_1", "exec", '{"input":"text(\\"hi\\")\\n"}')], COUNTS, "tool")
    if stream:
        out = way.stream()
        got = read_stream("openai-responses", out.feed(upstream_stream(upstream, answer)) + out.finish())
    else:
        got = read_whole("openai-responses", way.answer(upstream_whole(upstream, answer)))
    assert [(part.kind, part.name, part.arguments) for part in got.parts] == [("custom", "exec", 'text("hi")\n')]


def test_tools_of_one_name_in_two_namespaces_reach_a_format_without_namespaces():
    namespaces = [
        {
            "type": "namespace",
            "name": name,
            "description": name,
            "tools": [{"type": "function", "name": "search", "parameters": SCHEMA}],
        }
        for name in ("docs", "mail")
    ]
    way = translation("openai-responses", "anthropic", tools=namespaces)
    assert [tool["name"] for tool in json.loads(way.body)["tools"]] == ["docs__search", "mail__search"]
    answer = Answer("id1", "m", 1, [ToolCall("call_1", "mail__search", '{"city":"Oslo"}')], COUNTS, "tool")
    out = way.stream()
    got = read_stream("openai-responses", out.feed(upstream_stream("anthropic", answer)) + out.finish())
    assert [(part.namespace, part.name) for part in got.parts] == [("mail", "search")]


SIGNED = {
    "anthropic": Answer("id1", "m", 1, [Reasoning("Hm.", Carrier("anthropic", "signature", "RXFRQkM=")), Text("Yes.")], COUNTS, "stop"),
    "openai-responses": Answer("id1", "m", 1, [Reasoning("Hm.", Carrier("openai-responses", "encrypted", "gAAAAABo", "rs_1")), Text("Yes.")], COUNTS, "stop"),
    "gemini": Answer("id1", "m", 1, [ToolCall("call_1", "get_weather", "{}", carrier=Carrier("gemini", "signature", "CkgB"))], COUNTS, "tool"),
}  # fmt: skip


@pytest.mark.parametrize("client", [format for format in FORMATS if format != "openai-chat"])
@pytest.mark.parametrize("upstream", SIGNED)
@both_modes
def test_signatures_reach_a_client_that_can_carry_them(client, upstream, stream):
    """Class 6: byte for byte, in an envelope where they are foreign."""
    answer = SIGNED[upstream]
    if stream:
        out = translation(client, upstream).stream()
        got = read_stream(client, out.feed(upstream_stream(upstream, answer)) + out.finish())
    else:
        got = read_whole(client, translation(client, upstream, stream=False).answer(upstream_whole(upstream, answer)))
    carriers = [part.carrier for part in got.parts if isinstance(part, Reasoning | ToolCall | Text) and part.carrier]
    returned = [envelope.unseal(carrier.data) or carrier for carrier in carriers]
    assert [(carrier.origin, carrier.data) for carrier in returned] == [
        (part.carrier.origin, part.carrier.data) for part in answer.parts if getattr(part, "carrier", None)
    ]


def next_request(client, answer):
    """The client's next request, with the body of the answer in it as it came, and results for its calls."""
    match client:
        case "openai-responses":
            results = [
                {"type": "function_call_output", "call_id": item["call_id"], "output": "r"}
                for item in answer["output"]
                if item["type"] == "function_call"
            ]
            question, again = {"role": "user", "content": "Q"}, {"role": "user", "content": "Go on."}
            body = {"model": "shown", "input": [question, *answer["output"], *results, again]}
        case "anthropic":
            results = [
                {"type": "tool_result", "tool_use_id": block["id"], "content": "r"}
                for block in answer["content"]
                if block["type"] == "tool_use"
            ]
            messages = [
                {"role": "user", "content": "Q"},
                {"role": "assistant", "content": answer["content"]},
                {"role": "user", "content": [*results, {"type": "text", "text": "Go on."}]},
            ]
            body = {"model": "shown", "max_tokens": 9000, "messages": messages}
        case "gemini":
            content = answer["candidates"][0]["content"]
            results = [
                {"functionResponse": {"name": part["functionCall"]["name"], "response": {"result": "r"}}}
                for part in content["parts"]
                if "functionCall" in part
            ]
            contents = [
                {"role": "user", "parts": [{"text": "Q"}]},
                content,
                {"role": "user", "parts": [*results, {"text": "Go on."}]},
            ]
            return CODECS[client].decode_request({"contents": contents}, model="shown", stream=False)
    return CODECS[client].decode_request(body)


@pytest.mark.parametrize("client", [format for format in FORMATS if format != "openai-chat"])
@pytest.mark.parametrize("upstream", SIGNED)
@pytest.mark.parametrize("other", FORMATS)
def test_signatures_return_to_their_origin_and_go_nowhere_else(client, upstream, other):
    """Class 6."""
    answer = SIGNED[upstream]
    [token] = [part.carrier.data for part in answer.parts if getattr(part, "carrier", None)]
    got = json.loads(translation(client, upstream, stream=False).answer(upstream_whole(upstream, answer)))
    body = Translation(next_request(client, got), other, FACTS, "shown").body
    assert (token.encode() in body) == (other == upstream)
    assert b"cpx1" not in body


# ---------------------------------------------------------------- the vendors judge

FINISH_WORDS = {
    "openai-chat": ("stop", "tool_calls"),
    "openai-responses": ("completed", "completed"),
    "anthropic": ("end_turn", "tool_use"),
    "gemini": ("STOP", "STOP"),
}


@every_pair
@both_modes
def test_the_vendors_sdk_reads_what_the_client_gets(client, upstream, stream):
    for make, text, calls, word in zip(
        (native.text, native.tool_call),
        ("hello from upstream", ""),
        ([], [("get_weather", {"city": "Paris"})]),
        FINISH_WORDS[client],
        strict=True,
    ):
        streamed, whole = make(upstream, stream=True).whole, make(upstream, stream=False).whole
        if stream:
            out = translation(client, upstream).stream()
            bodies = [out.feed(streamed) + out.finish(), translation(client, upstream).unfolded(whole)]
        else:
            collector = translation(client, upstream, stream=False).collect()
            collector.feed(streamed)
            bodies = [collector.finish(), translation(client, upstream, stream=False).answer(whole)]
        for body in bodies:
            understood = vendors.read(client, body, stream=stream)
            assert (understood.text, understood.calls, understood.finish) == (text, calls, word)
            assert (understood.model, understood.tokens) == (
                "shown",
                (native.INPUT_TOKENS, native.OUTPUT_TOKENS),
            )

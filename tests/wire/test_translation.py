"""cliproxy.wire.translation: all sixteen ways between a client's format and an upstream's."""

from itertools import product

import openai
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
from cliproxy.wire.openai_chat.completions import decode_completion_request
from cliproxy.wire.translation import CODECS, COMPLETIONS, Translation
from tests import native
from tests.wire import vendors
from tests.wire.conversations import CONVERSATIONS, SCHEMA
from tests.wire.openai_chat import judge

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


def arriving(format, body):
    """A request as an upstream of this format reads it."""
    if format == "gemini":
        return CODECS[format].decode_request(body, model="m", stream=True)
    return CODECS[format].decode_request(body)


def calls_in(answer):
    return [part for part in answer.parts if isinstance(part, ToolCall)]


def carriers_in(answer):
    signed = (part for part in answer.parts if isinstance(part, Text | Reasoning | ToolCall))
    return [part.carrier for part in signed if part.carrier is not None]


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


def received(client, upstream, answer, **more):
    """What a client makes of an upstream's answer, by each way: streamed or whole from there, and to here."""
    streamed, whole = upstream_stream(upstream, answer), upstream_whole(upstream, answer)
    stream = translation(client, upstream, **more).stream()
    collector = translation(client, upstream, stream=False, **more).collect()
    collector.feed(streamed)
    return [
        read_stream(client, stream.feed(streamed) + stream.finish()),
        read_stream(client, translation(client, upstream, **more).unfolded(whole)),
        read_whole(client, translation(client, upstream, stream=False, **more).answer(whole)),
        read_whole(client, collector.finish()),
    ]


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
    arrived = arriving(upstream, body)
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
    arrived = arriving(upstream, body)
    calls = [part for turn in arrived.turns for part in turn.parts if isinstance(part, ToolCall)]
    results = [part for turn in arrived.turns for part in turn.parts if isinstance(part, ToolResult)]
    assert [json.loads(part.arguments) for part in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert [part.id for part in results] == [part.id for part in calls]
    assert len({part.id for part in calls}) == 2
    assert ["sun" in repr(part.parts) for part in results] == [True, False]


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
    wanted = said(answer)
    assert said(read_stream(upstream, upstream_stream(upstream, answer))) == wanted
    assert said(read_whole(upstream, upstream_whole(upstream, answer))) == wanted
    assert [said(got) for got in received(client, upstream, answer)] == [wanted] * 4


@every_pair
def test_what_was_spent_is_known_by_every_way(client, upstream):
    """Class 8."""
    answer = ANSWERS["cut short"]
    streamed, whole = upstream_stream(upstream, answer), upstream_whole(upstream, answer)
    ways = [translation(client, upstream, stream) for stream in (True, True, False, False)]
    stream, collector = ways[0].stream(), ways[2].collect()
    assert stream.feed(streamed) + stream.finish()
    assert ways[1].unfolded(whole)
    collector.feed(streamed)
    assert collector.finish()
    assert ways[3].answer(whole)
    for told in (stream, *ways):
        total = (told.usage.input or 0) + (told.usage.cache_read or 0) + (told.usage.cache_write or 0)
        assert (total, told.usage.output, told.finish_reason) == (140, 30, "length")


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
def test_tool_names_come_back(upstream):
    tools = [{"name": LONG_NAME, "description": "W.", "input_schema": SCHEMA}]
    body = json.loads(translation("anthropic", upstream, tools=tools).body)
    [tool] = arriving(upstream, body).tools
    assert len(tool.name) <= 64
    answer = Answer("id1", "m", 1, [ToolCall("call_1", tool.name, '{"city":"Oslo"}')], COUNTS, "tool")
    for got in received("anthropic", upstream, answer, tools=tools):
        assert [part.name for part in calls_in(got)] == [LONG_NAME]


EXEC = {
    "type": "custom",
    "name": "exec",
    "description": "Runs JavaScript.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


@pytest.mark.parametrize("upstream", ["anthropic", "gemini"])
def test_freeform_tools_come_back_with_raw_text(upstream):
    """Codex takes a function call of one for "aborted", silently."""
    answer = Answer("id1", "m", 1, [ToolCall("call_1", "exec", '{"input":"text(\\"hi\\")\\n"}')], COUNTS, "tool")
    for got in received("openai-responses", upstream, answer, tools=[EXEC]):
        [returned] = calls_in(got)
        assert (returned.kind, returned.name, returned.arguments) == ("custom", "exec", 'text("hi")\n')


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
    assert [(part.namespace, part.name) for part in calls_in(got)] == [("mail", "search")]


SIGNED = {
    "anthropic": Answer("id1", "m", 1, [Reasoning("Hm.", Carrier("anthropic", "signature", "RXFRQkM=")), Text("Yes.")], COUNTS, "stop"),
    "openai-responses": Answer("id1", "m", 1, [Reasoning("Hm.", Carrier("openai-responses", "encrypted", "gAAAAABo", "rs_1")), Text("Yes.")], COUNTS, "stop"),
    "gemini": Answer("id1", "m", 1, [ToolCall("call_1", "get_weather", "{}", carrier=Carrier("gemini", "signature", "CkgB"))], COUNTS, "tool"),
}  # fmt: skip


@pytest.mark.parametrize("client", [format for format in FORMATS if format != "openai-chat"])
@pytest.mark.parametrize("upstream", SIGNED)
def test_signatures_reach_a_client_that_can_carry_them(client, upstream):
    """Class 6: byte for byte, in an envelope where they are foreign."""
    answer = SIGNED[upstream]
    [sent] = carriers_in(answer)
    for got in received(client, upstream, answer):
        [carrier] = carriers_in(got)
        returned = envelope.unseal(carrier.data) or carrier
        assert (returned.origin, returned.data) == (sent.origin, sent.data)


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
        case _:
            raise ValueError(f"{client} has no place for a token")
    return CODECS[client].decode_request(body)


@pytest.mark.parametrize("client", [format for format in FORMATS if format != "openai-chat"])
@pytest.mark.parametrize("upstream", SIGNED)
@pytest.mark.parametrize("other", FORMATS)
def test_signatures_return_to_their_origin_and_go_nowhere_else(client, upstream, other):
    """Class 6."""
    answer = SIGNED[upstream]
    [carrier] = carriers_in(answer)
    got = json.loads(translation(client, upstream, stream=False).answer(upstream_whole(upstream, answer)))
    body = Translation(next_request(client, got), other, FACTS, "shown").body
    assert (carrier.data.encode() in body) == (other == upstream)
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


# ---------------------------------------------------------------- answers of another shape


@pytest.mark.parametrize("upstream", FORMATS)
@both_modes
def test_a_completion_on_any_upstream(upstream, stream):
    """`/v1/completions`: the prompt goes as a chat, and the text comes back as the older format has it."""
    body = {"model": "shown", "prompt": "Once", "stream": stream, "stream_options": {"include_usage": True}}
    request = decode_completion_request(body if stream else {"model": "shown", "prompt": "Once"})
    way = Translation(request, upstream, FACTS, "shown", shape=COMPLETIONS)
    answer = Answer("id1", "up-model", 7, [Reasoning("Hm."), Text("upon a time")], COUNTS, "length")
    if stream:
        out = way.stream()
        chunks = judge.text_completions(out.feed(upstream_stream(upstream, answer)) + out.finish())
        assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "upon a time"
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
        [usage] = [chunk.usage for chunk in chunks if chunk.usage]
        assert {chunk.object for chunk in chunks} == {"text_completion"}
        assert {chunk.model for chunk in chunks} == {"shown"}
    else:
        whole = openai.types.Completion.model_validate(json.loads(way.answer(upstream_whole(upstream, answer))))
        assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("upon a time", "length")
        assert (whole.object, whole.model) == ("text_completion", "shown")
        usage = whole.usage
    assert usage and (usage.prompt_tokens, usage.completion_tokens) == (140, 30)


# ---------------------------------------------------------------- what is remembered of an answer


@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("way", ["stream", "answer", "collect", "unfolded"])
def test_a_response_is_remembered_as_the_client_gets_it(upstream, way):
    remembered = []
    request = decoded("openai-responses", way in ("stream", "unfolded"))
    translating = Translation(request, upstream, FACTS, "shown", remember=remembered.append)
    streamed, whole = (make(upstream, ANSWERS["calls"]) for make in (upstream_stream, upstream_whole))
    match way:
        case "stream":
            stream = translating.stream()
            got = stream.feed(streamed) + stream.finish()
        case "answer":
            got = translating.answer(whole)
        case "collect":
            collector = translating.collect()
            collector.feed(streamed)
            got = collector.finish()
        case _:
            got = translating.unfolded(whole)
    if way in ("stream", "unfolded"):
        # Its last bytes may bring the client's next request: by then it must be known.
        [response] = [
            json.loads(line[6:])["response"] for line in got.split(b"\n") if b'"response.completed"' in line[:40]
        ]
    else:
        response = json.loads(got)
    assert remembered == [response]
    assert response["id"].startswith("resp_") and response["output"]


def test_a_stream_that_fails_is_not_remembered():
    remembered = []
    translating = Translation(decoded("openai-responses"), "openai-chat", FACTS, "shown", remember=remembered.append)
    raw = upstream_stream("openai-chat", ANSWERS["text"])
    stream = translating.stream()
    assert stream.feed(raw[: raw.index(b'"finish_reason":"stop"')])
    assert b"response.failed" in stream.finish()
    assert remembered == []

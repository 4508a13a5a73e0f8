"""cliproxy.call: a client's request read: what of it routing needs, and what stays as it was."""

import gzip
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.call import ClientCall, read_body, read_call, with_model
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import ClientRequest, Headers
from cliproxy.routes import Route, match
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format, ModelFacts, ReasoningIntent, Text, ThinkingFacts, Turn

LIMIT_BYTES = 4096
CHAT, COMPLETIONS = match("POST", "/v1/chat/completions"), match("POST", "/v1/completions")
RESPONSES, MESSAGES = match("POST", "/v1/responses"), match("POST", "/v1/messages")
GENERATE = match("POST", "/v1beta/models/m:generateContent")
STREAM_GENERATE = match("POST", "/v1beta/models/m:streamGenerateContent")
HELLO = [{"role": "user", "content": "hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]


def request(body: Any, *, query: str = "", headers: Mapping[str, str] | None = None) -> ClientRequest:
    raw = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
    return ClientRequest("POST", "/", query, Headers(headers or {}), raw)


async def call(route: Route, body: Any, *, query: str = "") -> ClientCall:
    return await read_call(request(body, query=query), route, LIMIT_BYTES)


async def fault(route: Route, body: Any) -> ClientFault:
    with pytest.raises(ClientFault) as caught:
        await call(route, body)
    return caught.value


def candidate(model: str, format: Format = "openai-chat", facts: ModelFacts | None = None) -> Candidate:
    return Candidate(Credential("p", (format,), "http://upstream.test"), model, facts or ModelFacts(model))


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# ---------------------------------------------------------------- the body


async def test_a_body_in_pieces_is_put_together() -> None:
    assert await read_body(request(pieces(b"ab", b"", b"cd")), 4) == b"abcd"


@pytest.mark.parametrize("body", [b"abcde", pieces(b"ab", b"cd", b"e")])
async def test_a_body_over_the_limit_is_refused(body: Any) -> None:
    with pytest.raises(ClientFault, match=r"exceeds 4 bytes \(max-request-body-bytes\)") as caught:
        await read_body(request(body), 4)
    assert caught.value.status == 413


async def test_pieces_beyond_the_limit_are_not_read() -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield b"x"

    with pytest.raises(ClientFault):
        await read_body(request(endless()), 10)
    assert len(read) == 11


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [("gzip", b"not gzip", 400), ("snappy", b"{}", 415), ("gzip", gzip.compress(b"x" * 5000, mtime=0), 413)],
)
async def test_a_coding_that_cannot_be_undone_is_refused(coding: str, body: bytes, status: int) -> None:
    with pytest.raises(ClientFault) as caught:
        await read_body(request(body, headers={"content-encoding": coding}), LIMIT_BYTES)
    assert caught.value.status == status


async def test_a_packed_body_is_unpacked() -> None:
    asking = request(gzip.compress(b'{"a":1}'), headers={"Content-Encoding": "gzip"})
    assert await read_body(asking, LIMIT_BYTES) == b'{"a":1}'


# ---------------------------------------------------------------- what routing needs


@pytest.mark.parametrize("stream", [True, False, None])
@pytest.mark.parametrize("route", [CHAT, RESPONSES, MESSAGES])
async def test_model_and_stream_stand_in_the_body(route: Route, stream: bool | None) -> None:
    body = {"model": "m-1", "messages": HELLO, "input": "hi", "stream": stream, "own": {"x": 1}}
    read = await call(route, body, query="key=secret&beta=true")
    assert (read.model, read.stream, read.sse, read.query) == ("m-1", stream is True, True, "beta=true")
    assert read.route == route
    assert json.loads(read.body) == body


@pytest.mark.parametrize(
    ("route", "query", "stream", "sse"),
    [
        (GENERATE, "", False, False),
        (STREAM_GENERATE, "alt=sse", True, True),
        (STREAM_GENERATE, "key=secret&alt=sse", True, True),
        (STREAM_GENERATE, "alt=json", True, False),
        (STREAM_GENERATE, "", True, False),
    ],
)
async def test_gemini_says_model_and_stream_in_the_path(route: Route, query: str, stream: bool, sse: bool) -> None:
    read = await call(route, {"contents": CONTENTS, "model": 5, "stream": "x"}, query=query)
    assert (read.model, read.stream, read.sse) == ("m", stream, sse)
    assert "secret" not in read.query


@pytest.mark.parametrize(
    ("body", "format"),
    [
        ({"model": "m", "input": "hi"}, "openai-responses"),
        ({"model": "m", "input": "hi", "messages": None}, "openai-responses"),
        ({"model": "m", "input": "hi", "messages": HELLO}, "openai-chat"),
        ({"model": "m", "input": "hi", "messages": []}, "openai-chat"),
        ({"model": "m", "messages": HELLO}, "openai-chat"),
        ({"model": "m"}, "openai-chat"),
    ],
)
async def test_a_responses_body_on_the_chat_path_is_taken_for_what_it_is(body: Any, format: Format) -> None:
    read = await call(CHAT, body)
    assert read.route.format == format
    assert read.route.path == {"openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses"}[format]


async def test_only_the_chat_path_takes_responses_bodies() -> None:
    assert (await call(MESSAGES, {"model": "m", "input": "hi"})).route == MESSAGES
    assert (await call(COMPLETIONS, {"model": "m", "input": "hi"})).route == COMPLETIONS


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","x":"\\ud800"}',
        b'{"model":"m","x":NaN,"y":-Infinity}',
        b'{"model":"m","x":1e999}',
        b'{"model":"m","x":' + b"9" * 400 + b"}",
        '{"model":"m","x":"é\u2028"}'.encode(),
        b' \r\n\t{ "model" : "m" } \n',
        b'{"model":"other","model":"m"}',
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"m","x":"\xed\xa0\x80"}',
    ],
)
async def test_json_as_clients_really_send_it(raw: bytes) -> None:
    read = await call(CHAT, raw)
    assert (read.model, read.body) == ("m", raw)
    assert json.loads(read.passed_body(candidate("other")))["model"] == "other"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "model is missing"),
        ("", "model must be a string that is not empty"),
        (5, "model must be a string that is not empty, not 5"),
        (["m"], "model must be a string that is not empty"),
    ],
)
async def test_a_model_must_be_named(value: Any, told: str) -> None:
    for body in ({"model": value, "messages": HELLO}, {"model": value, "x": float("nan")}):
        refused = await fault(CHAT, body)
        assert (refused.status, refused.param) == (400, "model")
        assert refused.message.startswith(told)


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}, 1.0])
async def test_stream_is_a_boolean(value: Any) -> None:
    refused = await fault(MESSAGES, {"model": "m", "stream": value})
    assert (refused.status, refused.param) == (400, "stream")
    assert refused.message.startswith("stream must be true or false, not ")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "the body is not valid JSON"),
        (b'{"model":"m"', "the body is not valid JSON"),
        (b"{'model':'m'}", "the body is not valid JSON"),
        (b'{"model":"m"} {}', "the body is not valid JSON"),
        (b'{"model":"\xff"}', "the body is not valid JSON"),
        ('{"model":"m"}'.encode("utf-16-le"), "the body is not valid JSON"),
        (b"--boundary\r\n", "the body is not valid JSON"),
        (b"[]", "the body must be a JSON object, not an array"),
        (b'"m"', "the body must be a JSON object, not a string"),
        (b"7", "the body must be a JSON object, not a number"),
        (b"7.5", "the body must be a JSON object, not a number"),
        (b"null", "the body must be a JSON object, not null"),
        (b"true", "the body must be a JSON object, not a boolean"),
    ],
)
@pytest.mark.parametrize("route", [CHAT, GENERATE])
async def test_a_body_that_is_no_object_is_told_so(route: Route, raw: bytes, told: str) -> None:
    refused = await fault(route, raw)
    assert refused.status == 400
    assert refused.message.startswith(told)


@pytest.mark.parametrize("nest", [b"[", b'{"a":'])
@pytest.mark.parametrize("route", [CHAT, GENERATE])
async def test_a_body_that_is_nested_too_deeply_is_the_callers_mistake(route: Route, nest: bytes) -> None:
    for head in (b"", b'{"model":"m","messages":[],"x":', b'{"model":'):
        raw = head + nest * 100_000
        with pytest.raises(ClientFault):
            await read_call(request(raw), route, len(raw))


_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["model", "stream", "messages", "input", "role", "content", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
_bodies = st.binary(max_size=60) | _documents.map(lambda value: json.dumps(value).encode()) | _documents.flatmap(
    lambda value: st.integers(0, 60).map(lambda end: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")[:end])
)  # fmt: skip


@pytest.mark.parametrize("route", [CHAT, COMPLETIONS, RESPONSES, MESSAGES, GENERATE])
@given(body=_bodies)
@settings(max_examples=60, deadline=None)
async def test_any_bytes_are_a_call_or_the_callers_mistake(route: Route, body: bytes) -> None:
    try:
        read = await call(route, body)
    except ClientFault as refused:
        assert refused.status == 400
        assert len(refused.message) > 10
        return
    assert read.body == body
    assert read.model
    renamed = json.loads(read.passed_body(candidate("another", route.format)))
    assert renamed.get("model") == "another" or route.model
    try:
        assert read.request().model == read.model
    except ClientFault as refused:
        assert refused.message


# ---------------------------------------------------------------- the body in the wire model


async def test_a_body_is_decoded_once() -> None:
    read = await call(CHAT, {"model": "m", "messages": HELLO})
    assert read.request() is read.request()
    assert read.request().turns == [Turn("user", [Text("hello")])]


async def test_the_suffix_wins_over_the_body() -> None:
    read = await call(CHAT, {"model": "m(high)", "messages": HELLO, "reasoning_effort": "low"})
    read.reasoning = ReasoningIntent(effort="high")
    assert read.request().reasoning == ReasoningIntent(effort="high")
    read.reasoning = None
    asked = read.request().reasoning
    assert asked and asked.effort == "low"


async def test_a_completion_is_a_chat_of_one_message() -> None:
    asked = (await call(COMPLETIONS, {"model": "m", "prompt": "once upon"})).request()
    assert asked.turns == [Turn("user", [Text("once upon")])]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", {"model": "m", "messages": HELLO}),
        ("/v1/responses/input_tokens", {"model": "m", "input": "hello"}),
        ("/v1beta/models/m:countTokens", {"contents": CONTENTS}),
        ("/v1beta/models/m:countTokens", {"generateContentRequest": {"contents": CONTENTS}}),
    ],
)
async def test_what_is_counted_needs_no_more_than_its_text(path: str, body: Any) -> None:
    read = await call(match("POST", path), body)
    assert read.request().turns == [Turn("user", [Text("hello")])]
    answer, headers = read.count_answer(None)
    estimate = answer["totalTokens" if "v1beta" in path else "input_tokens"]
    assert estimate > 0
    assert headers == {"x-cliproxy-token-count": "estimated"}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/messages/count_tokens", {"input_tokens": 12}),
        ("/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 12}),
        (
            "/v1beta/models/m:countTokens",
            {"totalTokens": 12, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}]},
        ),
    ],
)
async def test_a_count_is_told_in_the_clients_format(path: str, answer: Any) -> None:
    read = await call(match("POST", path), {"model": "m"})
    assert read.count_answer(12) == (answer, {})


# ---------------------------------------------------------------- the body for an upstream of the same format

SPACED = b'{ "messages" : [ {"role":"user", "content":"h\\u00e9 \\/"} ],\n "temperature": 1.0, "model":"m", "n":1e2 }'


async def test_a_body_whose_model_has_the_right_name_is_not_touched() -> None:
    read = await call(CHAT, SPACED)
    assert read.passed_body(candidate("m")) == SPACED


async def test_a_body_gets_the_upstreams_name_for_the_model() -> None:
    sent = (await call(CHAT, SPACED)).passed_body(candidate("vendor/m"))
    assert json.loads(sent) == {**json.loads(SPACED), "model": "vendor/m"}
    for value in (b'[ {"role":"user", "content":"h\\u00e9 \\/"} ]', b"1.0", b"1e2"):
        assert value in sent


async def test_geminis_model_is_not_in_the_body() -> None:
    raw = b'{"contents": [ ], "model": "theirs"}'
    assert (await call(GENERATE, raw)).passed_body(candidate("vendor-m", "gemini")) == raw


async def test_a_suffix_is_written_into_a_body_that_passes() -> None:
    read = await call(CHAT, {"model": "m(high)", "messages": HELLO, "own": 1})
    read = replace(read, reasoning=ReasoningIntent(effort="high"))
    facts = ModelFacts("m", thinking=ThinkingFacts(levels=("low", "high")), known=True)
    assert json.loads(read.passed_body(candidate("m", facts=facts))) == {
        "model": "m", "messages": HELLO, "own": 1, "reasoning_effort": "high",
    }  # fmt: skip


_values = st.recursive(
    st.sampled_from(["null", "true", "1.0", "1e5", "-0", "1E+2", "0.10", '"\\u00e9\\/"', '"\u2028é"', '"\\ud83d\\ude00"', "12345678901234567890123"])
    | st.text(st.characters(codec="utf-8"), max_size=5).map(json.dumps),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[ " + " ,".join(items) + "\n]")
    | st.dictionaries(st.text("ab\"\\é", max_size=3).map(json.dumps), inner, max_size=3).map(
        lambda members: "{\t" + ", ".join(f"{key} : {value}" for key, value in members.items()) + "}"
    ),
    max_leaves=6,
)  # fmt: skip
_keys = st.text(st.characters(codec="utf-8"), max_size=4).filter(lambda key: key != "model")


@given(st.dictionaries(_keys, _values, max_size=5), st.text(st.characters(codec="utf-8")), st.integers(0, 5))
@settings(deadline=None)
def test_every_value_keeps_its_bytes_when_the_model_is_renamed(members: dict[str, str], model: str, at: int) -> None:
    pairs = [(json.dumps(key), value) for key, value in members.items()]
    pairs.insert(at, ('"model"', '"old"'))
    body = ("{ " + " , ".join(f"{key} :{value}" for key, value in pairs) + " }").encode()
    renamed = msgspec.json.decode(with_model(body, model), type=dict[str, msgspec.Raw])
    assert list(renamed) == [json.loads(key) for key, _ in pairs]
    assert json.loads(bytes(renamed.pop("model"))) == model
    assert {key: bytes(value).decode().strip() for key, value in renamed.items()} == members


@pytest.mark.parametrize("odd", ['"\\ud800"', "NaN", "-Infinity", "1e999", '"a\\u0000b"'])
def test_values_that_are_hardly_json_keep_their_bytes_too(odd: str) -> None:
    body = f'{{"model":"old","x":[{odd}],"spaced":[ 1.0 ]}}'.encode()
    renamed = with_model(body, "new")
    assert b'"model":"new"' in renamed
    assert f'"x":[{odd}]'.encode() in renamed
    assert b"[ 1.0 ]" in renamed

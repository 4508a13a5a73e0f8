"""cliproxy.gateway: a request in, an answer out, with an upstream on real sockets in between.

The library without mitmproxy. What comes of an upstream's answer is `test_answering`, failover `test_failover`; the
same bad input through mitmproxy is `test_bad_input`.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cliproxy.config.loading import parse_config
from cliproxy.exchange import AnswerCut, ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.transport.client import HttpTransport
from cliproxy.wire.errors import GatewayError
from cliproxy.wire.model import FORMATS, Format
from tests import native
from tests.answers import Answer
from tests.calls import MODELS
from tests.certificates import client_context
from tests.processes import CLIENT_KEY, UPSTREAM_KEY
from tests.site import NO_LIMITS, Noting, Reply, Site, ask, body_of, plain, refused, request
from tests.upstream import Upstream
from tests.wire.vendors import read

JSON, SSE = {"content-type": "application/json"}, {"content-type": "text/event-stream"}
PAIRS = [(client, server) for client in FORMATS for server in FORMATS]
every_format = pytest.mark.parametrize("format", FORMATS)
either_way = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
async def site(upstream: Upstream) -> AsyncIterator[Site]:
    site = Site(upstream)
    yield site
    await site.close()


# ---------------------------------------------------------------- what needs no key


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_anyone_may_look_whether_it_runs(site: Site, path: str) -> None:
    gateway = site.gateway()
    for method in ("GET", "HEAD"):
        assert (await ask(gateway, ClientRequest(method, path, "", Headers(), b""))).status == 200
    reply = await ask(gateway, ClientRequest("GET", path, "", Headers(), b""))
    assert reply.json == {"status": "ok"} if path == "/healthz" else "POST /v1/messages" in reply.json["endpoints"]


async def test_a_browser_may_ask_before(site: Site) -> None:
    reply = await ask(site.gateway(), ClientRequest("OPTIONS", "/v1/messages", "", Headers(), b""))
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == "*"
    assert "POST" in reply.headers["access-control-allow-methods"]


# ---------------------------------------------------------------- keys

PLACES: list[tuple[str, dict[str, str]]] = [
    ("", {"authorization": f"Bearer {CLIENT_KEY}"}),
    ("", {"x-goog-api-key": CLIENT_KEY}),
    ("", {"x-api-key": CLIENT_KEY}),
    (f"key={CLIENT_KEY}&x=1", {}),
    (f"x=1&auth_token={CLIENT_KEY}", {}),
]


@pytest.mark.parametrize(("query", "headers"), PLACES)
@every_format
async def test_a_clients_key_opens_every_route_and_goes_nowhere(
    site: Site, format: Format, query: str, headers: dict[str, str]
) -> None:
    asked = request(format)
    asked.query, asked.headers = query, Headers({**headers, "Cookie": "own=1", "X-Own": "1"})
    assert (await ask(site.gateway(), asked)).status == 200
    received = site.upstream.requests[0]
    seen = received.path + received.query + str(list(received.headers.items()))
    assert CLIENT_KEY not in seen
    assert "cookie" not in received.headers
    assert received.headers["x-own"] == "1"
    assert received.query == ("x=1" if query else "")
    own = received.headers["x-goog-api-key" if format == "gemini" else "authorization"]
    assert own.removeprefix("Bearer ") == UPSTREAM_KEY


@every_format
async def test_without_a_key_there_is_nothing(site: Site, format: Format) -> None:
    gateway = site.gateway()
    for headers in ({}, {"authorization": "Bearer sk-test-wrong"}):
        asked = request(format)
        asked.headers = Headers(headers)
        assert "API key" in refused(format, 401, await ask(gateway, asked))
    for path in ("/v1/models", "/v1/files", "/v1/embeddings"):
        assert (await ask(gateway, ClientRequest("GET", path, "", Headers(), b""))).status in (401, 405)
    assert not site.upstream.requests


# ---------------------------------------------------------------- model lists


@pytest.mark.parametrize(
    ("path", "headers", "names"),
    [
        ("/v1/models", {}, lambda body: [model["id"] for model in body["data"] if body["object"] == "list"]),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, lambda body: [m["id"] for m in body["data"] if not body["has_more"]]),
        ("/v1/models", {"User-Agent": "claude-cli/2.0"}, lambda body: [m["id"] for m in body["data"] if m["type"] == "model"]),
        ("/v1beta/models", {}, lambda body: [m["name"].removeprefix("models/") for m in body["models"]]),
    ],
)  # fmt: skip
async def test_models_are_listed_as_the_client_reads_them(
    site: Site, path: str, headers: dict[str, str], names: Callable[[Any], list[str]]
) -> None:
    gateway = site.gateway()
    asked = plain("GET", path)
    asked.headers.update(headers)
    listed = names((await ask(gateway, asked)).json)
    assert {*MODELS.values(), "demo/echo"} <= {*listed}
    for name in ("chat-model", "demo/echo"):
        asked.path = f"{path}/{name}"
        one = (await ask(gateway, asked)).json
        assert name in (one.get("id"), one.get("name", "").removeprefix("models/"))
    asked.path = f"{path}/unknown"
    unknown = await ask(gateway, asked)
    assert unknown.status == 404
    assert ("type" in unknown.json) == bool(headers)


# ---------------------------------------------------------------- the same format: bytes pass


@either_way
@every_format
async def test_the_same_format_passes_bytes(site: Site, format: Format, stream: bool) -> None:
    scripted = native.text(format, stream=stream)
    site.upstream.script(
        Answer(
            headers={**scripted.headers, "X-Own": "1", "Set-Cookie": "a=1", "request-id": "req-1"}, body=scripted.body
        )
    )
    asked = request(format, stream=stream, headers={"X-Client": "2", "anthropic-beta": "b", "Accept-Encoding": "br"})
    spaced = body_of(asked).decode().replace(": ", " :\t")[:-1] + ', "own" : { "x":[1.0, 1e2, "\\u00e9"] } }'
    asked.body = spaced.encode()
    asked.query = "&".join(filter(None, (asked.query, "beta=true&x=%2B")))
    reply = await ask(site.gateway(), asked)
    assert (reply.status, reply.body) == (200, scripted.whole)
    assert (reply.headers["x-own"], reply.headers["request-id"]) == ("1", "req-1")
    assert "set-cookie" not in reply.headers
    provider = {"openai-chat": "chat", "openai-responses": "codex", "anthropic": "claude", "gemini": "gemini"}[format]
    assert reply.headers["x-cliproxy-served-by"] == f"{provider}/upstream-model"

    received = site.upstream.requests[0]
    assert received.query == asked.query
    assert received.json == {**json.loads(spaced), **({"model": "upstream-model"} if format != "gemini" else {})}
    assert b'{ "x":[1.0, 1e2, "\\u00e9"] }' in received.body
    # Headers may go to a streaming Gemini client before the upstream's, so they cannot promise a compression.
    encoding = "identity" if format == "gemini" and stream else "br"
    for name, value in (("x-client", "2"), ("anthropic-beta", "b"), ("accept-encoding", encoding)):
        assert received.headers[name] == value
    if format == "gemini":
        assert received.path == f"/v1beta/models/upstream-model:{'streamGenerate' if stream else 'generate'}Content"


@every_format
async def test_a_model_of_the_upstreams_own_name_is_not_touched_at_all(site: Site, format: Format) -> None:
    asked = request(format, model="own-" + MODELS[format])
    asked.body = body_of(asked).replace(b": ", b" : ")
    assert (await ask(site.gateway(), asked)).status == 200
    assert site.upstream.requests[0].body == asked.body


@either_way
@every_format
async def test_packed_bodies_work_both_ways(site: Site, format: Format, stream: bool) -> None:
    scripted = native.text(format, stream=stream).encoded("br")
    site.upstream.script(scripted)
    asked = request(format, stream=stream, headers={"content-encoding": "gzip", "accept-encoding": "br"})
    asked.body = gzip.compress(body_of(asked))
    reply = await ask(site.gateway(), asked)
    assert (reply.body, reply.headers["content-encoding"]) == (scripted.whole, "br")
    received = site.upstream.requests[0]
    assert "content-encoding" not in received.headers
    assert received.json["contents" if format == "gemini" else "model"]


async def test_gemini_streams_an_array_where_no_events_are_asked_for(site: Site) -> None:
    asked = request("gemini", stream=True)
    asked.query = ""
    reply = await ask(site.gateway(), asked)
    assert reply.headers["content-type"] == "application/json"
    assert reply.json[0]["candidates"]
    asked = request("gemini", stream=True, model="chat-model")
    asked.query = ""
    assert (await ask(site.gateway(), asked)).json[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_a_responses_body_on_the_chat_path_is_served(site: Site) -> None:
    reply = await ask(site.gateway(), request("openai-chat", body=b'{"model": "responses-model", "input": "hello"}'))
    assert read("openai-responses", reply.body, stream=False).text == "hello from upstream"


# ---------------------------------------------------------------- other formats: translated


@either_way
@pytest.mark.parametrize(("client", "server"), PAIRS)
async def test_every_client_is_served_by_every_upstream(
    site: Site, client: Format, server: Format, stream: bool
) -> None:
    site.upstream.script(native.text(server, stream=stream or server == "openai-responses" != client))
    usage = {"stream_options": {"include_usage": True}} if stream and client == "openai-chat" else {}
    asked = request(client, stream=stream, model=MODELS[server], headers={"X-Client": "2"}, fields=usage)
    noting = Noting()
    reply = await ask(site.gateway(), asked, noting)
    understood = read(client, reply.body, stream=stream)
    assert (understood.text, understood.tokens) == ("hello from upstream", (11, 7))
    if client != server:
        assert understood.model == MODELS[server]
        assert "x-client" not in site.upstream.requests[0].headers
    assert reply.headers["x-cliproxy-served-by"].endswith("/upstream-model")
    [attempt] = noting.ended
    assert (attempt.error, attempt.usage.output, attempt.finish_reason) == ("", 7, "stop")


@pytest.mark.parametrize("server", FORMATS)
@either_way
async def test_the_legacy_completions_are_served(site: Site, server: Format, stream: bool) -> None:
    asked = plain(
        "POST", "/v1/completions", json.dumps({"model": MODELS[server], "prompt": "hi", "stream": stream}).encode()
    )
    reply = await ask(site.gateway(), asked)
    assert reply.status == 200
    if stream:
        frames = [frame.removeprefix(b"data: ") for frame in reply.body.split(b"\n\n")]
        pieces = [json.loads(frame) for frame in frames if frame not in (b"", b"[DONE]")]
    else:
        pieces = [reply.json]
    assert {piece["object"] for piece in pieces} == {"text_completion"}
    assert "".join(choice["text"] for piece in pieces for choice in piece["choices"]) == "hello from upstream"


@pytest.mark.parametrize("debug", [True, False])
async def test_what_cannot_be_said_is_told_in_debug(site: Site, debug: bool) -> None:
    odd = {"top_k": 5, "own_field": 1, "ö\r\nx-evil: 1": 2}
    reply = await ask(site.gateway({"debug": debug}), request("anthropic", model="chat-model", fields=odd))
    assert reply.status == 200
    dropped = reply.headers.get("x-cliproxy-dropped", "")
    assert bool(dropped) == debug
    if debug:
        assert "top_k" in dropped
        assert "own_field" in dropped
        assert dropped.isprintable()
        assert dropped.isascii()
    same = await ask(site.gateway({"debug": debug}), request("openai-chat", fields=odd))
    assert "x-cliproxy-dropped" not in same.headers


@pytest.mark.parametrize("name", ["a\r\nx-evil: 1", "é\u2028", "\\ud800", "a\x00b", "a\tb"])
async def test_a_models_name_cannot_break_a_header(site: Site, name: str) -> None:
    raw = json.dumps({"model": f"chat/{name}", "messages": []}).replace("\\\\ud800", "\\ud800")
    reply = await ask(site.gateway(), request("openai-chat", body=raw.encode()))
    shown = reply.headers.get("x-cliproxy-served-by", "")
    assert shown.isprintable()
    assert shown.isascii()


# ---------------------------------------------------------------- bad input

WRONG: dict[str, tuple[Callable[[ClientRequest], ClientRequest], int, str]] = {}


def wrong(status: int, told: str) -> Callable[[Callable[[ClientRequest], None]], None]:
    """Adds a row to WRONG: how to spoil a good request, and what comes of it."""

    def add(spoil: Callable[[ClientRequest], None]) -> None:
        def spoilt(asked: ClientRequest) -> ClientRequest:
            spoil(asked)
            return asked

        WRONG[spoil.__name__] = (spoilt, status, told)

    return add


@wrong(400, "not valid JSON")
def malformed_json(asked: ClientRequest) -> None:
    asked.body = body_of(asked)[:-1]


@wrong(400, "not valid JSON")
def no_body(asked: ClientRequest) -> None:
    asked.body = b""


@wrong(400, "must be a JSON object, not an array")
def another_json(asked: ClientRequest) -> None:
    asked.body = b"[]"


@wrong(400, "nest")
def deep_json(asked: ClientRequest) -> None:
    asked.body = b'{"x":' + b"[" * 50_000


@wrong(413, "max-request-body-bytes")
def large_body(asked: ClientRequest) -> None:
    asked.body = b'{"x":"' + b"x" * 100_000 + b'"}'


@wrong(413, "max-request-body-bytes")
def bomb(asked: ClientRequest) -> None:
    asked.headers["content-encoding"] = "gzip"
    asked.body = gzip.compress(b" " * 200_000)


@wrong(415, "unknown content-encoding")
def unknown_coding(asked: ClientRequest) -> None:
    asked.headers["content-encoding"] = "snappy"


@wrong(400, "damaged content-encoding")
def damaged_coding(asked: ClientRequest) -> None:
    asked.headers["content-encoding"] = "gzip"


@wrong(401, "not valid")
def wrong_key(asked: ClientRequest) -> None:
    asked.headers = Headers({"x-api-key": "sk-test-wrong"})


@wrong(404, "there is nothing at")
def unknown_path(asked: ClientRequest) -> None:
    asked.path = {"v1beta": "/v1beta/unknown", "messages": "/v1/messages/unknown", "responses": "/v1/responses_"}.get(
        next((word for word in ("v1beta", "messages", "responses") if word in asked.path), ""), "/v1/unknown"
    )


@wrong(405, "use POST")
def wrong_method(asked: ClientRequest) -> None:
    asked.method = "PUT"


@pytest.mark.parametrize("row", WRONG)
@every_format
async def test_bad_input_is_answered_in_the_clients_format(site: Site, format: Format, row: str) -> None:
    spoil, status, told = WRONG[row]
    gateway = site.gateway({"max-request-body-bytes": 90_000})
    assert told in refused(format, status, await ask(gateway, spoil(request(format))))
    assert not site.upstream.requests
    assert (await ask(gateway, request(format))).status == 200, "the gateway lives on"


@every_format
async def test_an_unknown_model_names_the_nearest(site: Site, format: Format) -> None:
    model = MODELS[format]
    message = refused(format, 404, await ask(site.gateway(), request(format, model=model.replace("model", "modal"))))
    assert f"'{model}'" in message


@pytest.mark.parametrize(
    ("format", "fields", "param"),
    [
        ("openai-chat", {"model": None}, "model"),
        ("openai-chat", {"model": 5}, "model"),
        ("anthropic", {"model": ["m"]}, "model"),
        ("openai-responses", {"stream": "yes"}, "stream"),
        ("anthropic", {"messages": "hello"}, "messages"),
        ("openai-responses", {"input": 5}, "input"),
        ("openai-chat", {"messages": [{"role": "user", "content": 5}]}, "content"),
        ("gemini", {"contents": "hello", "generationConfig": 5}, "generationConfig"),
    ],
)
async def test_a_wrong_type_is_named(site: Site, format: Format, fields: dict[str, Any], param: str) -> None:
    other = "chat-model" if format != "openai-chat" else "anthropic-model"
    asked = request(format, model=other)
    asked.body = json.dumps({**json.loads(body_of(asked)), **fields}).encode()
    reply = await ask(site.gateway(), asked)
    assert param in refused(format, 400, reply)


async def test_a_websocket_is_told_to_come_by_post(site: Site) -> None:
    reply = await ask(site.gateway(), plain("GET", "/v1/responses", upgrade="websocket", connection="upgrade"))
    assert "use POST" in refused("openai-responses", 426, reply)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "parts", "name", "parameters", "function", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
_fields = st.dictionaries(
    st.sampled_from(["messages", "input", "contents", "system", "instructions", "tools", "stream", "tool_choice", "reasoning", "generationConfig"]),
    _json,
    max_size=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def demo() -> Gateway:
    """A gateway without an upstream."""
    return Gateway(
        parse_config("api-keys: [" + CLIENT_KEY + "]").config, HttpTransport(client_context(), NO_LIMITS, "direct")
    )


@given(fields=_fields)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@every_format
async def test_any_json_is_answered(demo: Gateway, format: Format, fields: dict[str, Any]) -> None:
    for suffix in ("", "(high)"):
        reply = await ask(demo, request(format, model="demo/echo" + suffix, fields=fields))
        assert reply.status in (200, 400, 422)
        if reply.status != 200:
            assert refused(format, reply.status, reply)


# ---------------------------------------------------------------- counting

COUNTERS: dict[Format, tuple[str, dict[str, Any]]] = {
    "anthropic": ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "hello"}]}),
    "openai-responses": ("/v1/responses/input_tokens", {"input": "hello"}),
    "gemini": ("/v1beta/models/{model}:countTokens", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
}


def count_request(format: Format, model: str) -> ClientRequest:
    path, body = COUNTERS[format]
    return plain("POST", path.replace("{model}", model), json.dumps({"model": model, **body}).encode())


def count_in(format: Format, reply: Reply) -> int:
    assert reply.status == 200
    return reply.json["totalTokens" if format == "gemini" else "input_tokens"]


@pytest.mark.parametrize("server", FORMATS)
@pytest.mark.parametrize("client", COUNTERS)
async def test_tokens_are_counted_by_the_upstream_or_estimated(site: Site, client: Format, server: Format) -> None:
    body = {"totalTokens": 42} if server == "gemini" else {"input_tokens": 42}
    site.upstream.script(Answer(headers=JSON, body=json.dumps(body).encode()))
    reply = await ask(site.gateway(), count_request(client, MODELS[server]))
    if server == "openai-chat":
        assert 0 < count_in(client, reply) < 42
        assert reply.headers["x-cliproxy-token-count"] == "estimated"
        assert not site.upstream.requests
        return
    assert count_in(client, reply) == 42
    assert "x-cliproxy-token-count" not in reply.headers
    assert site.upstream.requests[0].path.endswith(COUNTERS[server][0].rpartition("/")[2].removeprefix("{model}"))


@pytest.mark.parametrize(
    "answer",
    [
        native.error("anthropic", 404),
        native.error("anthropic", 500),
        Answer(headers=JSON, body=b"{}"),
        Answer(headers=JSON, body=b"<html>"),
        Answer(raw=b""),
    ],
)
async def test_a_counter_that_fails_is_replaced_by_an_estimate(site: Site, answer: Answer) -> None:
    site.upstream.script(answer)
    reply = await ask(site.gateway(), count_request("anthropic", "anthropic-model"))
    assert count_in("anthropic", reply) > 0
    assert reply.headers["x-cliproxy-token-count"] == "estimated"


async def test_counters_that_fail_in_different_ways_are_replaced_too(site: Site) -> None:
    second = {
        "api-key": "sk-test-second",
        "base-url": site.upstream.url,
        "models": [{"name": "m", "alias": "anthropic-model"}],
    }
    gateway = site.gateway(None, {"claude-api-key": [second]})
    site.upstream.script(native.error("anthropic", 500, "one"), native.error("anthropic", 529, "two"))
    reply = await ask(gateway, count_request("anthropic", "anthropic-model"))
    assert count_in("anthropic", reply) > 0
    assert len(site.upstream.requests) == 2


async def test_what_cannot_be_counted_is_told(site: Site) -> None:
    gateway = site.gateway()
    assert (await ask(gateway, count_request("anthropic", "unknown"))).status == 404
    asked = count_request("anthropic", "chat-model")
    asked.body = b'{"model":"chat-model","messages":5}'
    assert "messages" in refused("anthropic", 400, await ask(gateway, asked))


# ---------------------------------------------------------------- native routes


@pytest.mark.parametrize(
    ("method", "path", "query", "sent"),
    [
        ("GET", "/v1/files", "limit=2&key=" + CLIENT_KEY, "/v1/files"),
        ("DELETE", "/v1/files/f%2F1", "", "/v1/files/f%2F1"),
        ("GET", "/v1/responses/r_1/input_items", "", "/v1/responses/r_1/input_items"),
        ("GET", "/v1/messages/batches", "", "/v1/messages/batches"),
        ("GET", "/v1beta/files/f1:download", "alt=media", "/v1beta/files/f1:download"),
    ],
)
async def test_native_routes_pass_to_who_speaks_them(site: Site, method: str, path: str, query: str, sent: str) -> None:
    site.upstream.script(Answer(status=201, headers={"content-type": "x/own", "X-Own": "1"}, body=b"\x00own"))
    reply = await ask(site.gateway(), plain(method, path, query=query, X_Client="2"))
    assert (reply.status, reply.body) == (201, b"\x00own")
    assert (reply.headers["content-type"], reply.headers["x-own"], reply.headers["content-length"]) == (
        "x/own",
        "1",
        "4",
    )
    received = site.upstream.requests[0]
    assert (received.method, received.path, received.body) == (method, sent, b"")
    assert received.query == query.partition("&key=")[0]
    assert received.headers["x-client"] == "2"
    assert UPSTREAM_KEY in str([*received.headers.values()])


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_native_refusal_passes_too(site: Site, status: int) -> None:
    scripted = native.error("openai-chat", status)
    site.upstream.script(scripted)
    reply = await ask(site.gateway(), plain("GET", "/v1/files"))
    assert (reply.status, reply.body) == (status, scripted.whole)


async def test_an_upload_passes_while_it_comes(site: Site) -> None:
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        more.set()
        yield b"file" * 50_000

    kind = "multipart/form-data; boundary=b"
    reply = await ask(site.gateway(), plain("POST", "/v1/files", pieces(), content_type=kind))
    assert reply.status == 404
    received = site.upstream.requests[0]
    assert received.headers["content-type"] == kind
    assert received.body == b"--b\r\n" + b"file" * 50_000


@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        ("/v1/embeddings", b'{"model": "chat-model", "input":[ 1.0 ]}', b'{"model":"upstream-model","input":[ 1.0 ]}'),
        ("/v1/embeddings", b'{"model": "own-chat-model", "x": 1}', b'{"model":"own-chat-model","x":1}'),
        ("/v1/embeddings", b'{"model": "unheard-of", "x": 1}', b'{"model": "unheard-of", "x": 1}'),
        ("/v1/images/generations", b'{ "prompt": "p" }', b'{ "prompt": "p" }'),
        ("/v1/audio/x", b"not JSON", b"not JSON"),
        ("/v1/audio/x", b"[" * 100_000, b"[" * 100_000),
        ("/v1beta/models/gemini-model:embedContent", b'{"content": {} }', b'{"content": {} }'),
    ],
)
async def test_a_native_body_may_name_a_model(site: Site, path: str, body: bytes, sent: bytes) -> None:
    await ask(site.gateway(), plain("POST", path, body))
    received = site.upstream.requests[0]
    assert received.body == sent
    assert received.path == path.replace("/gemini-model:", "/upstream-model:")


async def test_a_native_route_that_nobody_speaks(site: Site) -> None:
    gateway = site.gateway({"gemini-api-key": [], "demo": True})
    reply = await ask(gateway, plain("GET", "/v1beta/files"))
    assert "needs a credential whose upstream speaks gemini" in refused("gemini", 404, reply)


async def test_a_native_answer_streams_and_is_cut_where_its_upstream_is(site: Site) -> None:
    site.upstream.script(Answer(headers=SSE, body=[b"data: 1\n\n"], cut=True))
    answer = await site.gateway().handle(plain("GET", "/v1/batches/b1"))
    assert not isinstance(answer.body, bytes)
    slices = aiter(answer.body)
    assert await anext(slices) == b"data: 1\n\n"
    with pytest.raises((AnswerCut, GatewayError)):
        await anext(slices)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_native_answer_given_up_frees_its_connection(site: Site, begun: bool) -> None:
    site.upstream.script(Answer(body=[b"one", asyncio.Event()]))
    noting = Noting()
    answer = await site.gateway().handle(plain("GET", "/v1/files/f1/content"), noting)
    assert not isinstance(answer.body, bytes)
    if begun:
        assert await anext(aiter(answer.body)) == b"one"
    await answer.close()
    async with asyncio.timeout(5):
        await site.upstream.requests[0].disconnected.wait()
    assert len(noting.ended) == 1


# ---------------------------------------------------------------- chains and the demo


async def test_a_chain_goes_to_its_next_model_in_another_format(site: Site) -> None:
    chain = {"smart": {"targets": ["unknown-model", "anthropic-model", "gemini-model"]}}
    site.upstream.script(native.error("anthropic", 529), native.text("gemini", stream=True))
    reply = await ask(site.gateway({"models": chain}), request("openai-chat", model="smart", stream=True))
    assert read("openai-chat", reply.body, stream=True).text == "hello from upstream"
    assert reply.headers["x-cliproxy-served-by"] == "gemini/upstream-model"
    assert [received.path for received in site.upstream.requests] == [
        "/v1/messages",
        "/v1beta/models/upstream-model:streamGenerateContent",
    ]


async def test_a_chain_of_unknown_models_is_unknown(site: Site) -> None:
    chain = {"smart": {"targets": ["unknown-1", "unknown-2"]}}
    reply = await ask(site.gateway({"models": chain}), request("anthropic", model="smart"))
    assert "unknown-1" in refused("anthropic", 404, reply)


async def test_a_request_that_is_wrong_ends_a_chain(site: Site) -> None:
    chain = {"smart": {"targets": ["anthropic-model", "gemini-model"]}}
    site.upstream.script(native.error("anthropic", 400, "no such thing"))
    reply = await ask(site.gateway({"models": chain}), request("openai-chat", model="smart"))
    assert refused("openai-chat", 400, reply) == "no such thing"
    assert len(site.upstream.requests) == 1


@either_way
@every_format
async def test_the_demo_needs_no_upstream(demo: Gateway, format: Format, stream: bool) -> None:
    reply = await ask(demo, request(format, model="demo/echo", stream=stream))
    assert read(format, reply.body, stream=stream).text == "You said: hello"
    assert reply.headers["x-cliproxy-served-by"] == "demo/echo"


@either_way
@every_format
async def test_a_suffix_makes_the_demo_think(demo: Gateway, format: Format, stream: bool) -> None:
    room = {"max_tokens": 4096} if format == "anthropic" else {}
    reply = await ask(demo, request(format, model="demo/echo(high)", stream=stream, fields=room))
    assert b"Let " in reply.body
    assert read(format, reply.body, stream=stream).text == "You said: hello"


@pytest.mark.parametrize("format", COUNTERS)
async def test_the_demo_counts(demo: Gateway, format: Format) -> None:
    reply = await ask(demo, count_request(format, "demo/echo"))
    assert count_in(format, reply) > 0
    assert "x-cliproxy-token-count" not in reply.headers


async def test_a_session_is_no_reason_to_refuse_what_would_pass(site: Site) -> None:
    gateway = site.gateway({"routing": {"session-affinity": True}})
    own = [{"role": "oracle", "content": [{"type": "own", "x": 1}]}]
    assert (await ask(gateway, request("anthropic", fields={"messages": own}))).status == 200
    assert site.upstream.requests[0].json["messages"] == own

"""Whatever clients and upstreams do wrong is answered in the format of the route, and the gateway lives on."""

import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, ClientSession
from yarl import URL

from tests import native
from tests.answers import Answer, Encoding
from tests.calls import MODELS, PATHS, Call, ask, call, message_of
from tests.conftest import Start
from tests.native import FORMATS, Format
from tests.processes import CLIENT_KEY, Gateway, config_for, credentials
from tests.streams import broken, events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_BYTES = 100_000
BODY_FORMATS: tuple[Format, ...] = ("openai-chat", "openai-responses", "anthropic")
"""Those that name the model in the body."""


@pytest.fixture(scope="module")
def dead_url() -> Iterator[str]:
    """Where nobody listens, nor will: the port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(start: Start, shared_upstream: Upstream, dead_url: str) -> Gateway:
    limits = {"first-byte-seconds": 1, "idle-seconds": 1}
    config = config_for(
        shared_upstream, credentials(dead_url, "dead-"), timeouts=limits, max_request_body_bytes=LIMIT_BYTES
    )
    return await start(config)


async def refused(
    client: ClientSession, gateway: Gateway, format: Format, asked: Call, status: int, **sent: Any
) -> str:
    """Send a call that must be refused with `status` in the format; return the message."""
    reply = await ask(client, gateway, asked, **sent)
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/json"
    message = message_of(format, status, reply.json)
    assert CLIENT_KEY not in reply.body.decode()
    return message


# ---------------------------------------------------------------- the client's mistakes


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_missing_key_is_401(gateway: Gateway, client: ClientSession, format: Format, stream: bool) -> None:
    asked = call(format, stream=stream)
    assert "missing" in await refused(client, gateway, format, Call(asked.path, {}, asked.json), 401)


@pytest.mark.parametrize("format", FORMATS)
async def test_a_wrong_key_is_401_and_not_repeated(gateway: Gateway, client: ClientSession, format: Format) -> None:
    asked = call(format)
    wrong = Call(asked.path, dict.fromkeys(asked.headers, "sk-test-wrong"), asked.json)
    message = await refused(client, gateway, format, wrong, 401)
    assert "not valid" in message
    assert "sk-test-wrong" not in message


@pytest.mark.parametrize("format", FORMATS)
async def test_an_unknown_model_is_404_and_the_nearest_are_named(
    gateway: Gateway, client: ClientSession, format: Format
) -> None:
    asked = call(format, model=MODELS[format] + "l")
    message = await refused(client, gateway, format, asked, 404)
    assert repr(MODELS[format] + "l") in message
    assert repr(MODELS[format]) in message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", BODY_FORMATS)
async def test_a_missing_model_is_400(gateway: Gateway, client: ClientSession, format: Format, stream: bool) -> None:
    asked = call(format, stream=stream)
    del asked.json["model"]
    assert "model is missing" in await refused(client, gateway, format, asked, 400)


@pytest.mark.parametrize(("field", "value"), [("model", 7), ("model", ""), ("model", ["a"]), ("stream", "yes")])
@pytest.mark.parametrize("format", BODY_FORMATS)
async def test_a_wrong_type_is_400_and_names_the_field(
    gateway: Gateway, client: ClientSession, format: Format, field: str, value: object
) -> None:
    asked = call(format)
    asked.json[field] = value
    assert (await refused(client, gateway, format, asked, 400)).startswith(f"{field} must be")


MALFORMED = {
    "empty": b"",
    "not JSON": b"hello",
    "cut off": b'{"model": "chat-model", "messages": [',
    "an array": b"[]",
    "a string": b'"hello"',
    "null": b"null",
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "deep": b'{"model":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("format", FORMATS)
async def test_malformed_json_is_400(gateway: Gateway, client: ClientSession, format: Format, body: bytes) -> None:
    assert await refused(client, gateway, format, call(format), 400, body=body)


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", b"not gzip", 400),
        ("lzma", b"{}", 415),
        ("gzip", zlib.compress(b'{"a":"' + b"a" * 10_000_000 + b'"}', wbits=31), 413),
    ],
    ids=["damaged", "unknown", "a bomb"],
)
@pytest.mark.parametrize("format", FORMATS)
async def test_a_bad_content_encoding_is_refused(
    gateway: Gateway, client: ClientSession, format: Format, coding: str, body: bytes, status: int
) -> None:
    await refused(client, gateway, format, call(format), status, body=body, content_encoding=coding)


@pytest.mark.parametrize("format", FORMATS)
async def test_a_body_over_the_limit_is_413(gateway: Gateway, client: ClientSession, format: Format) -> None:
    body = b'{"model": "' + b"m" * LIMIT_BYTES + b'"}'
    message = await refused(client, gateway, format, call(format), 413, body=body)
    assert "max-request-body-bytes" in message


UNKNOWN_PATHS: dict[str, Format] = {
    "/v1/nothing": "openai-chat",
    "/nothing": "openai-chat",
    "/v1/messages/nothing": "anthropic",
    "/v1beta/nothing": "gemini",
    "/v1beta/models/gemini-model:nothing": "gemini",
}


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
async def test_an_unknown_path_is_404_in_the_format_of_its_family(
    gateway: Gateway, client: ClientSession, path: str
) -> None:
    format = UNKNOWN_PATHS[path]
    asked = call(format)
    message = await refused(client, gateway, format, Call(path, asked.headers, asked.json), 404)
    assert message == f"there is nothing at {path}"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_wrong_method_is_405(gateway: Gateway, client: ClientSession, format: Format, method: str) -> None:
    asked = call(format)
    async with client.request(method, gateway.url + asked.path, headers=asked.headers) as answer:
        if (format, method) == ("openai-responses", "GET"):
            # There it would be a WebSocket.
            assert answer.status == 426
            return
        assert answer.status == 405
        if method != "HEAD":
            assert "use POST" in message_of(format, 405, await answer.json())


# ---------------------------------------------------------------- the upstream's


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_dead_upstream_is_502(
    gateway: Gateway, client: ClientSession, dead_url: str, format: Format, stream: bool
) -> None:
    asked = call(format, model=f"dead-{MODELS[format]}", stream=stream)
    message = await refused(client, gateway, format, asked, 502)
    assert message.startswith(f"{URL(dead_url).authority} cannot be reached")


@pytest.mark.parametrize("format", FORMATS)
async def test_a_silent_upstream_is_504(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format
) -> None:
    shared_upstream.script(Answer(hang=True))
    message = await refused(client, gateway, format, call(format, stream=True), 504)
    assert "first-byte-seconds" in message
    await shared_upstream.requests[-1].disconnected.wait()


HTML = {"content-type": "text/html"}
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
NOT_WHAT_IT_CLAIMS = {
    "a web page": Answer(headers=HTML, body=b"<html>Please log in</html>"),
    "no type": Answer(body=b"hello"),
    "broken JSON": Answer(headers=JSON, body=b'{"id": "x", '),
    "not an object": Answer(headers=JSON, body=b'["hello"]'),
    "not gzip": Answer(headers={**JSON, "content-encoding": "gzip"}, body=b"hello"),
    "unknown coding": Answer(headers={**JSON, "content-encoding": "lzma"}, body=b"hello"),
    "a redirect": Answer(status=302, headers={"location": "http://127.0.0.1/"}),
    "nothing": Answer(raw=b""),
    "not HTTP": Answer(raw=b"SSH-2.0-nothing\r\n\r\n"),
    "cut": Answer(headers=JSON, body=b'{"id": "x"', cut=True),
}


@pytest.mark.parametrize("answer", NOT_WHAT_IT_CLAIMS.values(), ids=NOT_WHAT_IT_CLAIMS)
@pytest.mark.parametrize("format", FORMATS)
async def test_a_body_that_is_not_what_it_claims_is_502(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, answer: Answer
) -> None:
    shared_upstream.script(answer)
    assert await refused(client, gateway, format, call(format), 502)


NOT_A_STREAM = {
    "a web page": Answer(headers=HTML, body=b"<html>Please log in</html>"),
    "an empty one": Answer(headers=SSE, body=b""),
    "not gzip": Answer(headers={**SSE, "content-encoding": "gzip"}, body=[b"hello"]),
    "cut at once": Answer(headers=SSE, body=[], cut=True),
}


@pytest.mark.parametrize("answer", NOT_A_STREAM.values(), ids=NOT_A_STREAM)
@pytest.mark.parametrize("format", FORMATS)
async def test_a_stream_that_fails_before_its_first_event_is_502(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, answer: Answer
) -> None:
    shared_upstream.script(answer)
    assert await refused(client, gateway, format, call(format, stream=True), 502)


def error_event(format: Format, frame: bytes) -> str:
    """The message of the event that ends a failed stream."""
    name, _, data = frame.rpartition(b"data: ")
    error = json.loads(data)
    match format:
        case "anthropic":
            assert name == b"event: error\n"
            assert error["type"] == "error"
            return error["error"]["message"]
        case "openai-responses":
            assert name == b"event: error\n"
            assert error["type"] == "error"
            assert {"code", "message", "param"} <= set(error)
            return error["message"]
        case _:
            assert name == b""
            return error["error"]["message"]


@pytest.mark.parametrize("tail", [b"", b'data: {"half": '], ids=["between events", "within one"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "ended too early"])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_stream_that_breaks_off_ends_in_an_error_event(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, tail: bytes, reset: bool
) -> None:
    whole = b"".join(events(format)[:2])
    shared_upstream.script(broken(format, after=2, tail=tail, reset=reset))
    reply = await ask(client, gateway, call(format, stream=True))
    assert reply.status == 200
    assert reply.body.startswith(whole)
    *nothing, frame, after = reply.body.removeprefix(whole).split(b"\n\n")
    assert (nothing, after) == ([], b"")
    assert error_event(format, frame).startswith("the upstream's answer")


async def test_a_stream_that_falls_silent_ends_in_an_error_event(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    whole = b"".join(events("anthropic")[:2])
    shared_upstream.script(held("anthropic", after=2))
    reply = await ask(client, gateway, call("anthropic", stream=True))
    assert "idle-seconds" in error_event("anthropic", reply.body.removeprefix(whole).removesuffix(b"\n\n"))
    await shared_upstream.requests[-1].disconnected.wait()


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_compressed_stream_that_breaks_off_never_ends_cleanly(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, encoding: Encoding
) -> None:
    encoded = native.text(format, stream=True).encoded(encoding)
    shared_upstream.script(Answer(headers=encoded.headers, body=encoded.body[:2], cut=True))
    asked = call(format, stream=True)
    async with client.post(gateway.url + asked.path, headers=asked.headers, json=asked.json) as answer:
        with pytest.raises(ClientPayloadError):
            await answer.content.read()


async def test_a_json_array_stream_that_breaks_off_never_ends_cleanly(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    piece = native.text("gemini").whole
    shared_upstream.script(Answer(headers=JSON, body=[b"[" + piece, b","], cut=True))
    asked = call("gemini")
    path = PATHS["gemini"].format(model=MODELS["gemini"]).replace(":generate", ":streamGenerate")
    async with client.post(gateway.url + path, headers=asked.headers, json=asked.json) as answer:
        with pytest.raises(ClientPayloadError):
            await answer.content.read()


async def test_after_all_that_the_gateway_serves(gateway: Gateway, client: ClientSession) -> None:
    assert (await ask(client, gateway, call("openai-chat"))).status == 200

"""The mock upstream does what tests rely on: it records, obeys its script, and notices a client that leaves."""

import asyncio
import json

import pytest
from aiohttp import ClientError, ClientPayloadError, ClientSession, ServerDisconnectedError
from yarl import URL

from tests import certificates, native
from tests.answers import Answer
from tests.native import FORMATS, Format
from tests.upstream import Upstream

PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
}


async def test_records_requests_as_they_were_sent() -> None:
    async with Upstream() as upstream, ClientSession() as client:
        upstream.script(Answer(status=201))
        url = URL(f"{upstream.url}/a%20b?x=1&y=%2F", encoded=True)
        async with client.post(url, json={"k": [1]}, headers={"X-oDd": "é"}) as answer:
            assert answer.status == 201
    (received,) = upstream.requests
    assert (received.method, received.path, received.query) == ("POST", "/a%20b", "x=1&y=%2F")
    assert "X-oDd" in list(received.headers)
    assert received.headers["x-odd"].encode("latin-1").decode() == "é"
    assert received.json == {"k": [1]}
    assert not received.disconnected.is_set()


@pytest.mark.parametrize("format", FORMATS)
async def test_without_a_script_answers_natively(format: Format) -> None:
    async with Upstream() as upstream, ClientSession() as client:
        async with client.post(upstream.url + PATHS[format], json={"model": "m"}) as answer:
            whole = await answer.json()
        assert whole == json.loads(native.text(format, model="m").whole)
        path = PATHS[format].replace(":generate", ":streamGenerate") + "?alt=sse"
        async with client.post(upstream.url + path, json={"model": "m", "stream": True}) as answer:
            streamed = await answer.read()
            assert answer.content_type == "text/event-stream"
    assert streamed == native.text(format, model="m", stream=True).whole


async def test_gemini_without_sse_streams_an_array_and_an_unknown_path_is_404() -> None:
    async with Upstream() as upstream, ClientSession() as client:
        async with client.post(f"{upstream.url}/v1beta/models/m:streamGenerateContent", json={}) as answer:
            assert [part["modelVersion"] for part in await answer.json()] == ["m"]
        async with client.post(f"{upstream.url}/v1internal:generateContent", json={}) as answer:
            assert answer.status == 404


async def test_gates_hold_back_headers_and_chunks() -> None:
    headers_gate, chunk_gate = asyncio.Event(), asyncio.Event()
    async with Upstream() as upstream, ClientSession() as client:
        upstream.script(Answer(gate=headers_gate, body=[b"one", chunk_gate, b"two"]))
        asking = asyncio.ensure_future(client.get(upstream.url))
        await upstream.received()
        assert not asking.done()
        headers_gate.set()
        async with await asking as answer:
            assert await answer.content.readany() == b"one"
            chunk_gate.set()
            assert await answer.content.readany() == b"two"


@pytest.mark.parametrize("body", [b"one", [b"one"]])
async def test_cut_delivers_its_bytes_and_then_breaks(body: bytes | list[bytes]) -> None:
    async with Upstream() as upstream, ClientSession() as client:
        upstream.script(Answer(body=body, cut=True))
        async with client.get(upstream.url) as answer:
            assert await answer.content.readexactly(3) == b"one"
            with pytest.raises((ClientPayloadError, ConnectionResetError)):
                await answer.content.read()
    assert not upstream.requests[0].disconnected.is_set()


async def test_raw_bytes_are_sent_as_they_are() -> None:
    async with Upstream() as upstream, ClientSession() as client:
        upstream.script(Answer(raw=b"SSH-2.0-nothing\r\n\r\n"), Answer(raw=b""))
        with pytest.raises(ClientError, match="Expected HTTP/"):
            await client.post(upstream.url)
        with pytest.raises(ServerDisconnectedError):
            await client.post(upstream.url)


@pytest.mark.parametrize("answer", [Answer(hang=True), Answer(body=[b"one", asyncio.Event()])])
async def test_notices_that_the_client_left(answer: Answer) -> None:
    async with Upstream() as upstream:
        upstream.script(answer)
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        (received,) = await upstream.received()
        if not answer.hang:
            await reader.readuntil(b"one")
        assert not received.disconnected.is_set()
        writer.close()
        await received.disconnected.wait()


async def test_scripted_answers_come_first_in_first_out_and_may_be_encoded() -> None:
    async with Upstream() as upstream, ClientSession() as client:
        upstream.script(native.error("anthropic", 529, retry_after="2"), Answer(body=b"text").encoded("gzip"))
        async with client.get(upstream.url) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (529, "2")
            assert (await answer.json())["error"]["type"] == "overloaded_error"
        async with client.get(upstream.url) as answer:
            assert await answer.read() == b"text"


async def test_tls_needs_its_own_certificate_to_be_trusted() -> None:
    async with Upstream(tls=True) as upstream, ClientSession() as client:
        with pytest.raises(ClientError, match="certificate"):
            await client.post(upstream.url)
        async with client.post(upstream.url, ssl=certificates.client_context()) as answer:
            assert answer.status == 404

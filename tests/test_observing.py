"""Calls that only pass by: every byte is the vendor's and the client's own, and what was used is on record."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import zstandard

from cliproxy.config.schema import Config
from cliproxy.exchange import Answer as GatewayAnswer
from cliproxy.exchange import AnswerCut, Attempt, ClientRequest, Exchange, Headers, Intercepted
from cliproxy.gateway import Gateway
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import GatewayError
from tests import native
from tests.answers import Answer
from tests.calls import Call, call
from tests.native import FORMATS, Format
from tests.processes import CLIENT_KEY
from tests.streams import events
from tests.upstream import Upstream


@dataclass
class Vendor:
    """A vendor, and a gateway that calls to it pass by."""

    upstream: Upstream
    gateway: Gateway
    seen: list[Exchange] = field(default_factory=list)

    async def ask(self, asked: Call, *, body: bytes | None = None, **headers: str) -> tuple[GatewayAnswer, bytes]:
        """The answer, and all of its body."""
        path, _, query = asked.path.partition("?")
        sent = json.dumps(asked.json).encode() if body is None else body
        fields = Headers({**asked.headers, "content-type": "application/json", **headers})
        intercepted = Intercepted("observe", "vendor", self.upstream.url + path)
        request = ClientRequest("POST", path, query, fields, sent, "192.0.2.1", intercepted=intercepted)
        answer = await self.gateway.handle(request)
        if isinstance(answer.body, bytes):
            return answer, answer.body
        return answer, b"".join([chunk async for chunk in answer.body])

    @property
    def attempt(self) -> Attempt:
        """The only attempt of the last exchange."""
        (attempt,) = self.seen[-1].attempts
        return attempt


@pytest.fixture
async def vendor(upstream: Upstream) -> AsyncIterator[Vendor]:
    transport = HttpTransport(ssl.create_default_context(), TimeLimits(5.0, 5.0, 5.0), "direct")
    # Keys are asked for, and retries made, of calls to the gateway only.
    config = Config.model_validate({"api-keys": [{"key": "sk-test-other"}], "request-retry": 3, "demo": False})
    seen: list[Exchange] = []
    yield Vendor(upstream, Gateway(config, transport, book=seen.append), seen)
    await transport.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_request_and_answer_pass_as_they_are(vendor: Vendor, format: Format, stream: bool) -> None:
    asked = call(format, stream=stream, model="vendors-own")
    sent = json.dumps(asked.json, indent=3).encode() + b"\n"
    answer, body = await vendor.ask(asked, body=sent, cookie="a=b", **{"X-Own": "é"})
    scripted = native.text(format, model="vendors-own", stream=stream)
    assert (answer.status, body) == (200, scripted.whole)
    (received,) = vendor.upstream.requests
    assert (received.method, received.body) == ("POST", sent)
    assert f"{received.path}?{received.query}".rstrip("?") == asked.path
    arrived = {name.lower(): value for name, value in received.headers.items()}
    assert int(arrived.pop("content-length")) == len(sent)
    assert arrived.pop("host") == f"127.0.0.1:{vendor.upstream.port}"
    wanted = {
        **asked.headers,
        "content-type": "application/json",
        "cookie": "a=b",
        "x-own": "é".encode().decode("latin-1"),
    }
    assert arrived == {name.lower(): value for name, value in wanted.items()}


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_what_was_used_is_on_record(vendor: Vendor, format: Format, stream: bool, coding: str) -> None:
    scripted = native.text(format, model="vendors-own", stream=stream)
    if coding:
        headers = {**scripted.headers, "content-encoding": coding}
        vendor.upstream.script(Answer(headers=headers, body=gzip.compress(scripted.whole)))
    _, body = await vendor.ask(call(format, stream=stream, model="vendors-own"))
    assert body == (gzip.compress(scripted.whole) if coding else scripted.whole)
    exchange, attempt = vendor.seen[-1], vendor.attempt
    assert (exchange.model, exchange.format, exchange.stream) == ("vendors-own", format, stream)
    assert (exchange.status, exchange.error) == (200, "")
    assert (attempt.provider, attempt.model, attempt.error) == ("vendor", "vendors-own", "")
    assert attempt.usage.input
    assert attempt.usage.output
    assert attempt.finish_reason == "stop"


async def test_the_record_shows_whose_key_it_was_and_not_the_key(vendor: Vendor) -> None:
    await vendor.ask(call("anthropic"))
    assert vendor.attempt.credential.startswith("vendor sk-t…#")
    assert CLIENT_KEY not in repr(vendor.attempt.credential)
    assert {"x-api-key", "authorization"} <= vendor.attempt.secret_headers


async def test_a_compressed_request_stays_compressed_and_its_model_is_known(vendor: Vendor) -> None:
    asked = call("openai-responses", model="vendors-own")
    sent = zstandard.compress(json.dumps(asked.json).encode())
    vendor.upstream.script(native.text("openai-responses", model="vendors-own"))
    await vendor.ask(asked, body=sent, **{"Content-Encoding": "zstd"})
    (received,) = vendor.upstream.requests
    assert (received.body, received.headers["content-encoding"]) == (sent, "zstd")
    assert vendor.attempt.model == "vendors-own"


@pytest.mark.parametrize("format", FORMATS)
async def test_a_refusal_passes_as_it_is_and_is_not_tried_again(vendor: Vendor, format: Format) -> None:
    refusal = native.error(format, 429, "slow down")
    headers = {**refusal.headers, "retry-after": "7", "set-cookie": "seen=1", "x-own": "1"}
    vendor.upstream.script(Answer(status=429, headers=headers, body=refusal.whole))
    answer, body = await vendor.ask(call(format))
    assert (answer.status, body) == (429, refusal.whole)
    assert {name: answer.headers[name] for name in headers} == headers
    assert len(vendor.upstream.requests) == 1
    assert (vendor.attempt.status, vendor.attempt.error) == (429, "slow down")
    assert vendor.seen[-1].error == "slow down"


async def test_what_is_no_call_of_a_model_passes_too(vendor: Vendor) -> None:
    vendor.upstream.script(Answer(headers={"content-type": "application/json"}, body=b'{"input_tokens": 3}'))
    answer, body = await vendor.ask(Call("/v1/messages/count_tokens", {}, {"model": "vendors-own", "messages": []}))
    assert (answer.status, body) == (200, b'{"input_tokens": 3}')
    assert vendor.attempt.model == "vendors-own"


async def test_what_nobody_here_understands_passes_unread(vendor: Vendor) -> None:
    vendor.upstream.script(
        Answer(headers={"content-type": "text/event-stream", "content-encoding": "odd"}, body=b"\xff")
    )
    answer, body = await vendor.ask(call("anthropic"), body=b"\x00 no json")
    assert (answer.status, body) == (200, b"\xff")
    assert (vendor.seen[-1].model, vendor.attempt.error) == ("", "")


async def test_an_answer_that_is_cut_is_cut_for_the_client(vendor: Vendor) -> None:
    whole = native.text("anthropic", stream=True)
    vendor.upstream.script(Answer(headers=whole.headers, body=whole.whole[:200], cut=True))
    with pytest.raises((AnswerCut, GatewayError)):
        await vendor.ask(call("anthropic", stream=True))
    assert "cut off" in vendor.attempt.error


async def test_a_stream_passes_as_it_comes(vendor: Vendor) -> None:
    headers, (first, *rest) = native.text("anthropic", stream=True).headers, events("anthropic")
    gate = asyncio.Event()
    vendor.upstream.script(Answer(headers=headers, body=[first, gate, *rest]))
    asked = call("anthropic", stream=True)
    intercepted = Intercepted("observe", "vendor", vendor.upstream.url + asked.path)
    body = json.dumps(asked.json).encode()
    request = ClientRequest("POST", asked.path, "", Headers(asked.headers), body, intercepted=intercepted)
    answer = await vendor.gateway.handle(request)
    assert not isinstance(answer.body, bytes)
    assert await anext(answer.body) == first
    await answer.body.aclose()
    gate.set()
    assert vendor.attempt.error == "the client went away"


async def test_an_envelope_of_code_assist_is_read_through(vendor: Vendor) -> None:
    inner = native.text("gemini", model="vendors-own").whole
    vendor.upstream.script(
        Answer(headers={"content-type": "application/json"}, body=b'{"response": ' + inner + b', "traceId": "1"}')
    )
    body = {"model": "vendors-own", "project": "p", "request": {"contents": []}}
    _, passed = await vendor.ask(Call("/v1internal:generateContent", {"authorization": "Bearer sk-test-other"}, body))
    assert json.loads(passed)["traceId"] == "1"
    assert vendor.attempt.usage.output
    assert vendor.seen[-1].model == "vendors-own"


async def test_an_upstream_that_is_not_there_is_told_in_the_clients_format(vendor: Vendor, free_port: int) -> None:
    asked = call("anthropic")
    intercepted = Intercepted("observe", "vendor", f"http://127.0.0.1:{free_port}{asked.path}")
    request = ClientRequest("POST", asked.path, "", Headers(asked.headers), b"{}", intercepted=intercepted)
    answer = await vendor.gateway.handle(request)
    assert answer.status == 502
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["type"] == "error"

"""The gateway in a real mitmproxy: which flows are its own, over which protocols, and beside which other parts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, ClientSession, ServerDisconnectedError

from tests import native
from tests.answers import Answer
from tests.calls import Call, ask, call, http1
from tests.certificates import loopback_certificate
from tests.conftest import Start
from tests.http2 import Http2Client, ResetByServer
from tests.native import FORMATS, Format
from tests.processes import Gateway, assert_clean, config_for, credentials, mitmproxy
from tests.streams import events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND_SCRIPT = Path(__file__).with_name("second_script.py")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Upstream]:
    """What the reverse proxy stands before: a server that has paths of its own."""
    async with Upstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_upstream() -> AsyncIterator[Upstream]:
    async with Upstream(tls=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    start: Start, shared_upstream: Upstream, target: Upstream, tls_upstream: Upstream, confdir: Path
) -> Gateway:
    trusted = confdir / "upstream.pem"
    trusted.write_text(loopback_certificate()[0], "ascii")
    return await start(
        config_for(shared_upstream, credentials(tls_upstream.url, "tls-")),
        "-s", str(SECOND_SCRIPT), "--set", f"ssl_verify_upstream_trusted_ca={trusted}",
        mode=f"reverse:{target.url}@127.0.0.1:0",
    )  # fmt: skip


# ---------------------------------------------------------------- claiming


async def test_the_gateways_paths_are_answered_by_the_gateway(
    gateway: Gateway, shared_upstream: Upstream, target: Upstream, client: ClientSession
) -> None:
    before = len(target.requests)
    assert (await ask(client, gateway, call("anthropic"))).status == 200
    assert shared_upstream.requests[-1].path == "/v1/messages"
    async with client.get(f"{gateway.url}/healthz") as answer:
        assert await answer.json() == {"status": "ok"}
    assert len(target.requests) == before


async def test_other_paths_go_where_the_reverse_proxy_says_and_are_not_touched(
    gateway: Gateway, target: Upstream, client: ClientSession
) -> None:
    body = bytes(range(256))
    target.script(Answer(status=207, headers={"x-own": "1", "set-cookie": "a=b"}, body=b"from the target"))
    headers = {"authorization": "Bearer sk-test-other", "x-api-key": "sk-test-other", "x-forwarded-for": "192.0.2.1"}
    async with client.request("PATCH", f"{gateway.url}/v2/own?key=k&x=1", headers=headers, data=body) as answer:
        assert (answer.status, answer.headers["x-own"]) == (207, "1")
        assert answer.headers["set-cookie"] == "a=b"
        assert await answer.read() == b"from the target"
    received = target.requests[-1]
    assert (received.method, received.path, received.query) == ("PATCH", "/v2/own", "key=k&x=1")
    assert received.body == body
    assert {name: received.headers[name] for name in headers} == headers


async def test_one_connection_carries_requests_of_both_kinds(gateway: Gateway, target: Upstream) -> None:
    asked = call("anthropic")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for _ in range(2):
        writer.write(http1(asked))
        assert await _status_and_body(reader) == (200, native.text("anthropic", model="upstream-model").whole)
        target.script(Answer(body=b"from the target"))
        writer.write(http1(Call("/v2/own", {}, {})))
        assert await _status_and_body(reader) == (200, b"from the target")
    writer.close()


async def _status_and_body(reader: asyncio.StreamReader, *, bodiless: bool = False) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split(" ")[1]), b"" if bodiless else await reader.readexactly(length)


# ---------------------------------------------------------------- protocols


@pytest.mark.parametrize("format", FORMATS)
async def test_tls_and_plain_text_share_the_port(
    gateway: Gateway, client: ClientSession, authority: Callable[[], SSLContext], format: Format
) -> None:
    asked = call(format, stream=True)
    async with client.post(
        gateway.tls_url + asked.path, headers=asked.headers, json=asked.json, ssl=authority()
    ) as answer:
        over_tls = await answer.read()
    assert over_tls == (await ask(client, gateway, asked)).body
    assert over_tls == native.text(format, model="upstream-model", stream=True).whole


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_http2_is_served_over_tls(
    gateway: Gateway, authority: Callable[[], SSLContext], format: Format, stream: bool
) -> None:
    asked = call(format, stream=stream)
    async with Http2Client(gateway.port, authority()) as client:
        answer = await client.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode())
        assert await answer.answered() == 200
        assert await answer.read() == native.text(format, model="upstream-model", stream=stream).whole
    assert not {"connection", "transfer-encoding"} & set(answer.headers)


async def test_http2_streams_run_side_by_side(
    gateway: Gateway, shared_upstream: Upstream, authority: Callable[[], SSLContext]
) -> None:
    count, before = 20, len(shared_upstream.requests)
    headers, (first, *rest) = native.text("anthropic", stream=True).headers, events("anthropic")
    gates = [asyncio.Event() for _ in range(count)]
    shared_upstream.script(
        *(Answer(headers=headers, body=[first, gate, b": %d\n\n" % number, *rest]) for number, gate in enumerate(gates))
    )
    asked = call("anthropic", stream=True)
    async with Http2Client(gateway.port, authority()) as client:
        streams = [
            await client.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode()) for _ in range(count)
        ]
        assert [await stream.answered() for stream in streams] == [200] * count
        await shared_upstream.received(before + count)
        for gate in reversed(gates):
            gate.set()
        bodies = {await stream.read() for stream in streams}
    assert bodies == {b"".join([first, b": %d\n\n" % number, *rest]) for number in range(count)}


async def test_pipelined_requests_are_answered_in_their_order(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    unknown = call("anthropic", model="unknown-model")
    writer.write(http1(call("anthropic")) + http1(unknown) + http1(call("anthropic")))
    assert [(await _status_and_body(reader))[0] for _ in range(3)] == [200, 404, 200]
    writer.close()


async def test_head_is_answered_without_a_body(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for path, status in (("/healthz", 200), ("/v1/messages", 405)):
        writer.write(f"HEAD {path} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        assert await _status_and_body(reader, bodiless=True) == (status, b"")
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
    assert await _status_and_body(reader) == (200, b'{"status":"ok"}')
    writer.close()


async def test_head_is_answered_without_a_body_over_http2(
    gateway: Gateway, authority: Callable[[], SSLContext]
) -> None:
    async with Http2Client(gateway.port, authority()) as client:
        stream = await client.send("HEAD", "/healthz")
        assert await stream.answered() == 200
        assert await stream.read() == b""
    assert stream.headers["content-length"] == "15"


# ---------------------------------------------------------------- other scripts


async def test_another_script_may_change_a_request(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    assert (await ask(client, gateway, call("anthropic"), x_test_script="change")).status == 200
    assert shared_upstream.requests[-1].headers["x-changed"] == "yes"


async def test_another_script_may_answer_in_place_of_the_gateway(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    before = len(shared_upstream.requests)
    reply = await ask(client, gateway, call("anthropic"), x_test_script="answer")
    assert (reply.status, reply.body) == (203, b"from the script")
    assert len(shared_upstream.requests) == before


async def test_another_script_may_kill_a_request(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    before = len(shared_upstream.requests)
    with pytest.raises(ServerDisconnectedError):
        await ask(client, gateway, call("anthropic"), x_test_script="kill")
    assert len(shared_upstream.requests) == before


def _held_twice(gate: asyncio.Event) -> Answer:
    """A stream of which a second event comes when the gate opens, and nothing after it."""
    first, second, *_ = events("anthropic")
    return replace(held("anthropic"), body=[first, gate, second, asyncio.Event()])


async def test_a_stream_that_another_script_kills_ends_uncleanly_at_its_next_event(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    gate, asked = asyncio.Event(), call("anthropic", stream=True)
    shared_upstream.script(_held_twice(gate))
    headers = {**asked.headers, "x-test-script": "hold"}
    async with client.post(gateway.url + asked.path, headers=headers, json=asked.json) as stream:
        received = shared_upstream.requests[-1]
        assert await stream.content.readany() == events("anthropic")[0]
        assert (await ask(client, gateway, asked, x_test_script="kill those held")).status == 204
        gate.set()
        with pytest.raises(ClientPayloadError):
            await stream.content.readany()
    await received.disconnected.wait()


async def test_an_http2_stream_that_another_script_kills_is_reset(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, authority: Callable[[], SSLContext]
) -> None:
    gate, asked = asyncio.Event(), call("anthropic", stream=True)
    shared_upstream.script(_held_twice(gate))
    headers = {**asked.headers, "x-test-script": "hold"}
    async with Http2Client(gateway.port, authority()) as http2:
        stream = await http2.send("POST", asked.path, headers, json.dumps(asked.json).encode())
        assert await stream.answered() == 200
        received = shared_upstream.requests[-1]
        assert await anext(stream.chunks()) == events("anthropic")[0]
        assert (await ask(client, gateway, asked, x_test_script="kill those held")).status == 204
        gate.set()
        with pytest.raises(ResetByServer):
            await stream.read()
    await received.disconnected.wait()


# ---------------------------------------------------------------- options of mitmproxy


async def test_an_upstreams_certificate_is_checked_as_mitmproxys_options_say(
    gateway: Gateway, start: Start, tls_upstream: Upstream, client: ClientSession
) -> None:
    asked = call("anthropic", model="tls-anthropic-model")
    assert (await ask(client, gateway, asked)).status == 200
    config = config_for(tls_upstream)
    refusing = await ask(client, await start(config), call("anthropic"))
    assert (refusing.status, "certificate" in refusing.json["error"]["message"]) == (502, True)
    assert (await ask(client, await start(config, "--ssl-insecure"), call("anthropic"))).status == 200


WRONG_CONFIGS = {
    "a wrong type": ("host: 127.0.0.1\nport: many\n", r"wrong\.yaml:2:\d+: .*port"),
    "not YAML": ("api-keys: [\nport: 1\n", r"wrong\.yaml:\d+"),
    "a template's key": ("api-keys:\n  - your-api-key-1\n", r"wrong\.yaml:2:\d+: .*api-keys"),
    "a missing file": (None, r"wrong\.yaml"),
}


@pytest.mark.parametrize("wrong", WRONG_CONFIGS)
async def test_a_wrong_config_ends_the_start(confdir: Path, tmp_path: Path, wrong: str) -> None:
    text, told = WRONG_CONFIGS[wrong]
    path = tmp_path / "wrong.yaml"
    if text is not None:
        path.write_text(text, "utf-8")
    async with mitmproxy(confdir, "--set", f"cliproxy_config={path}") as gateway:
        assert await gateway.ended() == 1
        await gateway.wait_for(told)


async def test_a_gateway_that_is_open_to_the_network_warns(start: Start, shared_upstream: Upstream) -> None:
    config = {**config_for(shared_upstream), "api-keys": []}
    opened = await start(config, mode="reverse:http://cliproxy.internal@0.0.0.0:0")
    await opened.wait_for("anyone who reaches it may use it")
    local = await start(config)
    # The log is in order: what `running` says would stand before the answer's line.
    async with ClientSession() as client, client.get(f"{local.url}/healthz") as answer:
        assert answer.status == 200
    await local.wait_for("200 OK")
    assert "anyone" not in local.text
    assert_clean(local)

"""cliproxy.transport.client: bytes to an upstream and back over real sockets, and what each trouble is called."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import (
    UpstreamCut,
    UpstreamFault,
    UpstreamGarbled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tests.answers import Answer
from tests.certificates import client_context
from tests.proxies import HttpProxy, Proxy, Socks5Proxy
from tests.upstream import Upstream

NO_LIMITS = TimeLimits(None, None, None)
TINY_S = 0.02
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def transport(
    limits: TimeLimits = NO_LIMITS, proxy: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HttpTransport]:
    running = HttpTransport(tls or client_context(), limits, proxy)
    try:
        yield running
    finally:
        await running.close()


def post(url: str, body: Any = b"{}", proxy: str | None = None, headers: Headers | None = None) -> UpstreamRequest:
    return UpstreamRequest("POST", url, headers or Headers(), body, proxy)


@asynccontextmanager
async def server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The address of a server that speaks as the test says; it hangs up when `serve` returns."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # The client has left.
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65536)
    await asyncio.Event().wait()


def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def answer(client: HttpTransport, request: UpstreamRequest, limit_bytes: int = MIB) -> tuple[int, bytes]:
    """Status and body."""
    response = await client.send(request)
    try:
        return response.status, await response.read(limit_bytes)
    finally:
        response.close()


async def trouble(request: UpstreamRequest, limits: TimeLimits = NO_LIMITS, **options: Any) -> UpstreamFault:
    """What `send`, or reading the body, raises."""
    async with asyncio.timeout(5), transport(limits, **options) as client:
        with pytest.raises(UpstreamFault) as caught:
            await answer(client, request)
    return caught.value


# ---------------------------------------------------------------- what is sent


async def test_a_request_goes_out_as_it_is_and_nothing_is_added() -> None:
    received: list[bytes] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    headers = Headers([("x-B", "1"), ("X-a", "2"), ("anthropic-BETA", "a,b"), ("x-B", "3"), ("accept-encoding", "br")])
    async with server(record) as address, transport() as client:
        url = f"http://{address}/v1/a%2Fb//c?x=%20+&y=é%C3&&z"
        await answer(client, post(url, b"a\x00\xffb", headers=headers))
    head, _, body = received[0].partition(b"\r\n\r\n")
    request_line, *lines = head.split(b"\r\n")
    assert request_line == "POST /v1/a%2Fb//c?x=%20+&y=é%C3&&z HTTP/1.1".encode()
    own = [line for line in lines if line not in (f"Host: {address}".encode(), b"Content-Length: 4")]
    assert own == [b"x-B: 1", b"X-a: 2", b"anthropic-BETA: a,b", b"x-B: 3", b"accept-encoding: br"]
    assert len(lines) == len(own) + 2
    assert body == b"a\x00\xffb"


async def test_a_body_can_be_passed_on_while_it_comes(upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with transport() as client:
        await answer(client, post(f"{upstream.url}/upload", pieces()))
    assert upstream.requests[0].body == b"one two"
    assert upstream.requests[0].headers["transfer-encoding"] == "chunked"


async def test_no_body_is_no_body(upstream: Upstream) -> None:
    async with transport() as client:
        await answer(client, UpstreamRequest("GET", f"{upstream.url}/x", Headers(), None))
    received = upstream.requests[0]
    assert (received.method, received.body) == ("GET", b"")
    assert not {"content-length", "content-type", "user-agent", "accept", "accept-encoding"} & {*received.headers}


async def test_connections_are_used_again(upstream: Upstream) -> None:
    ports = set()

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername")[1])
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with server(record) as address, transport() as client:
        for _ in range(4):
            assert await answer(client, post(f"http://{address}/x")) == (200, b"ok")
    assert len(ports) == 1


async def test_nothing_is_remembered_followed_or_unpacked(upstream: Upstream) -> None:
    scripted = Answer(
        status=302,
        headers={"location": f"{upstream.url}/elsewhere", "set-cookie": "a=b", "content-encoding": "gzip"},
        body=b"\x1f\x8bnot really",
    )
    upstream.script(scripted, scripted)
    async with transport() as client:
        for _ in range(2):
            assert await answer(client, post(f"{upstream.url}/x")) == (302, b"\x1f\x8bnot really")
    assert [received.path for received in upstream.requests] == ["/x", "/x"]
    assert "cookie" not in upstream.requests[1].headers


# ---------------------------------------------------------------- what comes back


async def test_an_answer_shows_status_headers_and_address(upstream: Upstream) -> None:
    more = asyncio.Event()
    upstream.script(Answer(status=529, headers={"X-Own": "1", "x-OWN": "2"}, body=[b"one", more, b"two"]))
    async with transport() as client:
        response = await client.send(post(f"{upstream.url}/x"))
        assert (response.status, response.peer) == (529, ("127.0.0.1", upstream.port))
        assert [pair for pair in response.headers.items() if pair[0].lower() == "x-own"] == [
            ("X-Own", "1"),
            ("x-OWN", "2"),
        ]
        slices = response.chunks()
        assert await anext(slices) == b"one"
        more.set()
        assert [piece async for piece in slices] == [b"two"]


async def test_an_answer_may_be_larger_than_any_buffer(upstream: Upstream) -> None:
    body = bytes(range(256)) * 4096
    upstream.script(Answer(body=body), Answer(body=[body, body]), Answer(body=body))
    async with transport() as client:
        assert await answer(client, post(f"{upstream.url}/x")) == (200, body)
        assert await answer(client, post(f"{upstream.url}/x"), 2 * MIB) == (200, body * 2)
        with pytest.raises(UpstreamGarbled, match=f"exceeds {MIB - 1} bytes"):
            await answer(client, post(f"{upstream.url}/x"), MIB - 1)


async def test_giving_up_closes_the_connection(upstream: Upstream) -> None:
    upstream.script(Answer(body=[b"one", asyncio.Event()]))
    async with transport() as client:
        response = await client.send(post(f"{upstream.url}/x"))
        response.close()
        await upstream.requests[0].disconnected.wait()


async def test_cancelling_closes_the_connection(upstream: Upstream) -> None:
    upstream.script(Answer(hang=True))
    async with transport() as client:
        sending = asyncio.create_task(client.send(post(f"{upstream.url}/x")))
        await upstream.received()
        sending.cancel()
        await upstream.requests[0].disconnected.wait()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_closing_ends_calls_under_way(upstream: Upstream) -> None:
    upstream.script(Answer(body=[b"one", asyncio.Event()]))
    async with transport() as client:
        response = await client.send(post(f"{upstream.url}/x"))
        await client.close()
        with pytest.raises(UpstreamCut):
            await response.read(MIB)
        response.close()
        await upstream.requests[0].disconnected.wait()


# ---------------------------------------------------------------- troubles, by their names


async def test_a_refused_connection() -> None:
    port = closed_port()
    fault = await trouble(post(f"http://127.0.0.1:{port}/x"))
    assert isinstance(fault, UpstreamUnreachable)
    assert fault.status == 502
    assert f"127.0.0.1:{port}" in fault.message


async def test_a_host_without_an_address() -> None:
    fault = await trouble(post("http://upstream.invalid/x"))
    assert isinstance(fault, UpstreamUnreachable)
    assert "upstream.invalid" in fault.message


async def test_a_certificate_that_nobody_vouches_for() -> None:
    async with Upstream(tls=True) as upstream:
        fault = await trouble(post(f"{upstream.url}/x"), tls=ssl.create_default_context())
        assert isinstance(fault, UpstreamUnreachable)
        assert "certificate" in fault.message
        assert not upstream.requests
        async with transport() as client:
            assert (await answer(client, post(f"{upstream.url}/x")))[0] == 404


async def test_a_certificate_of_another_name() -> None:
    async with Upstream(tls=True) as upstream:
        fault = await trouble(post(f"https://127.0.0.2:{upstream.port}/x"))
    assert isinstance(fault, UpstreamUnreachable)


async def test_tls_towards_a_server_without_it(upstream: Upstream) -> None:
    assert isinstance(await trouble(post(f"https://127.0.0.1:{upstream.port}/x")), UpstreamUnreachable)


RESET = b"reset"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", UpstreamCut),
        (RESET, UpstreamFault),
        (b"HTTP/1.1 200 OK\r\ncontent-le", UpstreamCut),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", UpstreamGarbled),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", UpstreamGarbled),
        (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", UpstreamGarbled),
        (b"HTTP/1.1 OK\r\n\r\n", UpstreamGarbled),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", UpstreamGarbled),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", UpstreamCut),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nha", UpstreamCut),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", UpstreamCut),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", UpstreamFault),
    ],
)
async def test_an_answer_that_is_none(raw: bytes, kind: type[UpstreamFault]) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        if raw == RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            writer.write(raw)

    async with server(reply) as address:
        fault = await trouble(post(f"http://{address}/v1?key=sk-test-secret-key"))
    assert isinstance(fault, kind)
    assert fault.status == 502
    assert "sk-test-secret-key" not in fault.message
    assert "\n" not in fault.message
    assert len(fault.message) < 500


@pytest.mark.parametrize("body", [b"half", [b"half"]])
async def test_an_answer_that_is_reset(upstream: Upstream, body: Any) -> None:
    upstream.script(Answer(body=body, cut=True))
    async with transport() as client:
        response = await client.send(post(f"{upstream.url}/x"))
        with pytest.raises(UpstreamCut):
            assert [piece async for piece in response.chunks()] == []
        response.close()


async def test_an_answer_of_no_declared_length_ends_with_its_connection() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async with server(reply) as address, transport() as client:
        assert await answer(client, post(f"http://{address}/x")) == (200, b"all of it")


# ---------------------------------------------------------------- time limits


async def test_a_first_byte_that_does_not_come(upstream: Upstream) -> None:
    upstream.script(Answer(hang=True))
    fault = await trouble(post(f"{upstream.url}/x"), TimeLimits(None, TINY_S, None))
    assert isinstance(fault, UpstreamTimeout)
    assert fault.status == 504
    assert "0.02 s (timeouts.first-byte-seconds)" in fault.message
    await upstream.requests[0].disconnected.wait()


async def test_a_body_that_stops_coming(upstream: Upstream) -> None:
    upstream.script(Answer(body=[b"one", asyncio.Event()]))
    fault = await trouble(post(f"{upstream.url}/x"), TimeLimits(None, None, TINY_S))
    assert isinstance(fault, UpstreamTimeout)
    assert "0.02 s (timeouts.idle-seconds)" in fault.message
    await upstream.requests[0].disconnected.wait()


async def test_the_first_bytes_limit_ends_with_the_headers(upstream: Upstream) -> None:
    more = asyncio.Event()
    upstream.script(Answer(body=[b"one", more, b"two"]))
    async with transport(TimeLimits(None, TINY_S, None)) as client:
        slices = (await client.send(post(f"{upstream.url}/x"))).chunks()
        assert await anext(slices) == b"one"
        asyncio.get_running_loop().call_later(3 * TINY_S, more.set)
        assert await anext(slices) == b"two"


async def test_a_connection_that_is_used_again_has_all_limits_again(upstream: Upstream) -> None:
    upstream.script(Answer(body=b"one"), Answer(hang=True))
    async with transport(TimeLimits(None, TINY_S, 9.0)) as client:
        await answer(client, post(f"{upstream.url}/x"))
        with pytest.raises(UpstreamTimeout):
            await answer(client, post(f"{upstream.url}/x"))


async def test_a_handshake_that_takes_too_long() -> None:
    async with server(silent) as address:
        fault = await trouble(post(f"https://{address}/x"), TimeLimits(TINY_S, None, None))
    assert isinstance(fault, UpstreamUnreachable)
    assert "0.02 s" in fault.message


@pytest.mark.parametrize(
    ("scheme", "target"), [("http", "https"), ("socks5", "http"), ("socks5", "https"), ("socks5h", "http")]
)
async def test_a_silent_proxy_is_an_upstream_that_cannot_be_reached(scheme: str, target: str) -> None:
    async with server(silent) as address:
        request = post(f"{target}://upstream.test/x", proxy=f"{scheme}://{address}")
        fault = await trouble(request, TimeLimits(TINY_S, None, None))
    assert isinstance(fault, UpstreamUnreachable)


# ---------------------------------------------------------------- proxies


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("kind", [HttpProxy, Socks5Proxy])
async def test_a_proxy_carries_the_call(kind: type[Proxy], tls: bool) -> None:
    async with Upstream(tls=tls) as upstream, kind() as proxy, transport() as client:
        upstream.script(Answer(body=b"through"), Answer(body=b"direct"))
        shown = proxy.url.replace("//", "//user:test-password@")
        assert await answer(client, post(f"{upstream.url}/x", proxy=shown)) == (200, b"through")
        method = "SOCKS5" if kind is Socks5Proxy else "CONNECT" if tls else "POST"
        [passage] = proxy.passages
        assert (passage.target, passage.method) == (f"127.0.0.1:{upstream.port}", method)
        assert passage.credentials == "user:test-password"
        assert "proxy-authorization" not in upstream.requests[0].headers
        assert await answer(client, post(f"{upstream.url}/x")) == (200, b"direct")
        assert len(proxy.passages) == 1


@pytest.mark.parametrize(("scheme", "resolved"), [("socks5", True), ("socks5h", False)])
async def test_who_resolves_a_name_behind_socks(upstream: Upstream, scheme: str, resolved: bool) -> None:
    async with Socks5Proxy() as proxy, transport() as client:
        url = f"http://localhost:{upstream.port}/x"
        await answer(client, post(url, proxy=proxy.url.replace("socks5", scheme)))
    [target] = proxy.targets
    assert (target == f"localhost:{upstream.port}") != resolved


async def test_the_nearest_word_on_proxies_counts(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpProxy() as own, HttpProxy() as default, HttpProxy() as environment:

        def asked() -> tuple[int, ...]:
            return tuple(len(proxy.passages) for proxy in (own, default, environment))

        monkeypatch.setenv("http_proxy", environment.url)
        monkeypatch.setenv("no_proxy", "unrelated.test")
        async with transport() as client:
            await answer(client, post(f"{upstream.url}/x"))
            assert asked() == (0, 0, 1)
        async with transport(proxy=default.url) as client:
            await answer(client, post(f"{upstream.url}/x"))
            assert asked() == (0, 1, 1)
            await answer(client, post(f"{upstream.url}/x", proxy=own.url))
            assert asked() == (1, 1, 1)
            await answer(client, post(f"{upstream.url}/x", proxy="direct"))
            assert asked() == (1, 1, 1)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("bare", [False, True])
async def test_the_environments_proxy_may_be_written_in_any_way(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, name: str, bare: bool
) -> None:
    async with HttpProxy() as proxy, transport() as client:
        monkeypatch.setenv(name, proxy.url.removeprefix("http://") if bare else proxy.url)
        await answer(client, post(f"{upstream.url}/x"))
        assert len(proxy.passages) == 1


async def test_the_environment_can_except_hosts(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", "upstream.test,127.0.0.1")
    async with transport() as client:
        assert (await answer(client, post(f"{upstream.url}/x")))[0] == 404


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("target", ["http", "https"])
async def test_a_dead_proxy_is_an_upstream_that_cannot_be_reached(scheme: str, target: str) -> None:
    proxy = f"{scheme}://user:test-password@127.0.0.1:{closed_port()}"
    fault = await trouble(post(f"{target}://127.0.0.1:9/x", proxy=proxy))
    assert isinstance(fault, UpstreamUnreachable)
    assert "test-password" not in fault.message


async def refuse_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(2)
    writer.write(b"\x05\x00")
    await reader.read(99)
    writer.write(b"\x05\x05\x00\x01" + bytes(6))


async def refuse_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(99)


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(99)
    writer.write(b"nonsense\r\n\r\n")


@pytest.mark.parametrize(
    ("scheme", "serve"),
    [
        ("socks5", refuse_socks),
        ("socks5", hang_up),
        ("socks5", talk_nonsense),
        ("http", refuse_connect),
        ("http", hang_up),
        ("http", talk_nonsense),
    ],
)
async def test_a_proxy_that_does_not_connect_is_named_without_its_password(scheme: str, serve: Any) -> None:
    async with server(serve) as address:
        request = post("https://127.0.0.1:9/x", proxy=f"{scheme}://user:test-password@{address}")
        fault = await trouble(request)
    assert fault.status == 502
    assert "test-password" not in fault.message
    if scheme == "socks5" or serve is refuse_connect:
        assert isinstance(fault, UpstreamUnreachable), "nothing was sent: another try is safe"

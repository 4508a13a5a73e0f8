"""Interception in a real mitmproxy: tools that call their vendors over TLS, and what becomes of their calls."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientConnectorCertificateError, ClientSession, WSMsgType
from mitmproxy.addons.upstream_auth import UpstreamAuth
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from addons.intercept import intercepts, is_on_this_machine, proxy_of_modes
from cliproxy.certs.store import CertificateStore
from cliproxy.config.schema import Intercept
from cliproxy.interception.hosts import InterceptedHosts
from tests import native
from tests.answers import Answer
from tests.calls import Call, call
from tests.conftest import Start
from tests.http2 import Http2Client
from tests.native import FORMATS, Format
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Gateway, config_for
from tests.upstream import Upstream
from tests.vendors import HOSTS, OTHER_HOST, Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGULAR = "regular@127.0.0.1:0"


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gateways of this module keep the local CA."""
    folder = tmp_path_factory.mktemp("certs")
    CertificateStore(folder).authority(InterceptedHosts(Intercept()).names)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vendors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vendors]:
    async with Vendors(tmp_path_factory.mktemp("vendors")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def observing(start: Start, vendors: Vendors, certs: Path) -> Gateway:
    return await start(vendors.config(certs), *vendors.options(), mode=REGULAR)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spending(start: Start, vendors: Vendors, shared_upstream: Upstream, certs: Path) -> Gateway:
    """Pools one vendor's calls and routes another's, to an upstream of all formats."""
    hosts = {"api.openai.com": "route"}
    config = {**config_for(shared_upstream), **vendors.config(certs, mode="pool", hosts=hosts), "proxy-url": "direct"}
    return await start(config, *vendors.options(), mode=REGULAR)


@pytest.fixture
def trust(certs: Path) -> ssl.SSLContext:
    """A tool's that was given the local CA, and trusts nothing else."""
    return ssl.create_default_context(cafile=certs / "ca.pem")


async def ask(
    client: ClientSession, gateway: Gateway, host: str, asked: Call, trust: ssl.SSLContext, **more: Any
) -> tuple[int, Mapping[str, str], bytes]:
    """Call a vendor as a tool does; status, headers and body of the answer."""
    request = {"json": asked.json} if "data" not in more else {}
    url = f"https://{host}{asked.path}"
    async with client.post(url, headers=asked.headers, proxy=gateway.url, ssl=trust, **request, **more) as answer:
        return answer.status, answer.headers, await answer.read()


# ---------------------------------------------------------------- observe


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_an_observed_call_reaches_its_vendor_as_it_is(
    observing: Gateway, vendors: Vendors, client: ClientSession, trust: ssl.SSLContext, format: Format, stream: bool
) -> None:
    asked = call(format, stream=stream, model="vendors-own")
    sent = json.dumps(asked.json, indent=1).encode()
    headers = {**asked.headers, "content-type": "application/json", "X-Own": "1"}
    status, _, body = await ask(
        client, observing, HOSTS[format], Call(asked.path, headers, asked.json), trust, data=sent
    )
    assert (status, body) == (200, native.text(format, model="vendors-own", stream=stream).whole)
    received = vendors.upstream.requests[-1]
    assert received.body == sent
    assert received.headers["host"] == HOSTS[format]
    assert {name: received.headers[name] for name in headers} == headers
    # Through the gateway, which was told of a proxy, and not past it.
    assert vendors.proxy.targets[-1] == f"{HOSTS[format]}:443"


async def test_a_clients_leaving_ends_an_observed_call(
    observing: Gateway, vendors: Vendors, client: ClientSession, trust: ssl.SSLContext
) -> None:
    vendors.upstream.script(Answer(hang=True))
    before = len(vendors.upstream.requests)
    asking = asyncio.create_task(ask(client, observing, HOSTS["anthropic"], call("anthropic"), trust))
    received = (await vendors.upstream.received(before + 1))[-1]
    asking.cancel()
    await received.disconnected.wait()


async def test_http2_is_spoken_within_the_tunnel(observing: Gateway, trust: ssl.SSLContext) -> None:
    asked = call("anthropic", stream=True, model="vendors-own")
    async with Http2Client(observing.port, trust, tunnel_to=HOSTS["anthropic"]) as client:
        streams = [
            await client.send("POST", asked.path, asked.headers, json.dumps(asked.json).encode()) for _ in range(3)
        ]
        for stream in streams:
            assert await stream.answered() == 200
            assert await stream.read() == native.text("anthropic", model="vendors-own", stream=True).whole


async def test_what_is_no_api_call_passes_without_the_gateway(
    observing: Gateway, vendors: Vendors, client: ClientSession, trust: ssl.SSLContext
) -> None:
    vendors.upstream.script(Answer(status=207, headers={"set-cookie": "a=b"}, body=b"settings"))
    passages = len(vendors.proxy.passages)
    asked = Call("/api/claude_code/settings?key=k", {"authorization": "Bearer sk-test-other"}, {"x": 1})
    status, headers, body = await ask(client, observing, HOSTS["anthropic"], asked, trust)
    assert (status, headers["set-cookie"], body) == (207, "a=b", b"settings")
    received = vendors.upstream.requests[-1]
    assert (received.path, received.query) == ("/api/claude_code/settings", "key=k")
    assert received.headers["authorization"] == "Bearer sk-test-other"
    assert len(vendors.proxy.passages) == passages


async def test_an_observed_websocket_is_passed_on_by_mitmproxy(
    observing: Gateway, vendors: Vendors, client: ClientSession, trust: ssl.SSLContext
) -> None:
    """The mock has no WebSockets: that it was asked for one is what can be seen."""
    url = f"wss://{HOSTS['openai-responses']}/v1/responses"
    with pytest.raises(Exception, match="404"):
        await client.ws_connect(url, proxy=observing.url, ssl=trust, headers={"authorization": f"Bearer {CLIENT_KEY}"})
    received = vendors.upstream.requests[-1]
    assert (received.method, received.path) == ("GET", "/v1/responses")
    assert received.headers["upgrade"] == "websocket"
    assert received.headers["authorization"] == f"Bearer {CLIENT_KEY}"


# ---------------------------------------------------------------- other hosts


async def test_other_hosts_are_not_decrypted(
    observing: Gateway, vendors: Vendors, client: ClientSession, trust: ssl.SSLContext
) -> None:
    theirs = ssl.create_default_context(cafile=vendors.ca)
    status, _, body = await ask(client, observing, OTHER_HOST, call("anthropic", model="theirs"), theirs)
    assert (status, body) == (200, native.text("anthropic", model="theirs").whole)
    with pytest.raises(ClientConnectorCertificateError):
        await ask(client, observing, OTHER_HOST, call("anthropic"), trust)


async def test_other_hosts_are_decrypted_where_that_is_asked_for(
    start: Start, vendors: Vendors, client: ClientSession, certs: Path, confdir: Path, trust: ssl.SSLContext
) -> None:
    gateway = await start(vendors.config(certs, decrypt_others=True), *vendors.options(), mode=REGULAR)
    mitmproxys = ssl.create_default_context(cafile=confdir / "mitmproxy-ca-cert.pem")
    before = len(vendors.proxy.passages)
    status, _, body = await ask(client, gateway, OTHER_HOST, call("anthropic", model="theirs"), mitmproxys)
    assert (status, body) == (200, native.text("anthropic", model="theirs").whole)
    assert len(vendors.proxy.passages) == before
    status, _, _ = await ask(client, gateway, HOSTS["anthropic"], call("anthropic"), trust)
    assert status == 200


async def test_mitmproxys_ca_signs_where_that_is_asked_for(
    start: Start, vendors: Vendors, client: ClientSession, confdir: Path, tmp_path: Path
) -> None:
    gateway = await start(vendors.config(tmp_path / "certs", ca="mitmproxy"), *vendors.options(), mode=REGULAR)
    mitmproxys = ssl.create_default_context(cafile=confdir / "mitmproxy-ca-cert.pem")
    status, _, _ = await ask(client, gateway, HOSTS["anthropic"], call("anthropic"), mitmproxys)
    assert status == 200
    assert not (tmp_path / "certs").exists()


# ---------------------------------------------------------------- pool and route


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", ["anthropic", "gemini"])
async def test_a_pooled_call_is_made_with_our_credential(
    spending: Gateway,
    vendors: Vendors,
    shared_upstream: Upstream,
    client: ClientSession,
    trust: ssl.SSLContext,
    format: Format,
    stream: bool,
) -> None:
    before = len(vendors.upstream.requests)
    asked = call(format, stream=stream)
    keyless = Call(
        asked.path, {**asked.headers, **dict.fromkeys(("x-api-key", "x-goog-api-key"), "sk-test-vendors")}, asked.json
    )
    status, headers, body = await ask(client, spending, HOSTS[format], keyless, trust)
    assert (status, body) == (200, native.text(format, model="upstream-model", stream=stream).whole)
    assert headers["x-cliproxy-served-by"].endswith("/upstream-model")
    received = shared_upstream.requests[-1]
    assert UPSTREAM_KEY in " ".join(received.headers.values())
    assert "sk-test-vendors" not in " ".join(received.headers.values())
    assert len(vendors.upstream.requests) == before


async def test_a_pooled_call_is_not_translated(
    spending: Gateway, shared_upstream: Upstream, client: ClientSession, trust: ssl.SSLContext
) -> None:
    before = len(shared_upstream.requests)
    status, _, body = await ask(client, spending, HOSTS["anthropic"], call("anthropic", model="chat-model"), trust)
    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
    assert "`route` would translate" in json.loads(body)["error"]["message"]
    assert len(shared_upstream.requests) == before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["chat-model", "responses-model", "anthropic-model", "gemini-model"])
async def test_a_routed_call_is_answered_by_whoever_has_the_model(
    spending: Gateway,
    shared_upstream: Upstream,
    client: ClientSession,
    trust: ssl.SSLContext,
    model: str,
    stream: bool,
) -> None:
    asked = call("openai-responses", stream=stream, model=model)
    status, _, body = await ask(client, spending, HOSTS["openai-responses"], asked, trust)
    assert status == 200
    assert b"hello from upstream" in body
    wanted = {"chat-model": "completions", "responses-model": "responses", "anthropic-model": "messages"}
    assert shared_upstream.requests[-1].path.endswith(wanted.get(model, "Content"))


async def test_a_routed_websocket_is_the_gateways(
    spending: Gateway, client: ClientSession, trust: ssl.SSLContext
) -> None:
    url = f"wss://{HOSTS['openai-responses']}/v1/responses"
    async with client.ws_connect(url, proxy=spending.url, ssl=trust) as socket:
        asked = call("openai-responses", model="anthropic-model").json
        await socket.send_json({"type": "response.create", **asked})
        kinds = []
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            kinds.append(message.json()["type"])
            if kinds[-1] == "response.completed":
                break
    assert kinds[0] == "response.created"


async def test_the_models_that_are_listed_are_ours(
    spending: Gateway, client: ClientSession, trust: ssl.SSLContext
) -> None:
    url = f"https://{HOSTS['anthropic']}/v1/models"
    async with client.get(url, headers={"anthropic-version": "2023-06-01"}, proxy=spending.url, ssl=trust) as answer:
        assert "anthropic-model" in [model["id"] for model in (await answer.json())["data"]]


async def test_an_option_stands_above_the_config(
    start: Start, vendors: Vendors, shared_upstream: Upstream, client: ClientSession, certs: Path, trust: ssl.SSLContext
) -> None:
    config = {**config_for(shared_upstream), **vendors.config(certs, hosts={"api.anthropic.com": "observe"})}
    options = (*vendors.options(), "--set", "cliproxy_intercept=pool")
    gateway = await start({**config, "proxy-url": "direct"}, *options, mode=REGULAR)
    status, _, body = await ask(client, gateway, HOSTS["anthropic"], call("anthropic"), trust)
    assert (status, body) == (200, native.text("anthropic", model="upstream-model").whole)


# ---------------------------------------------------------------- other modes


async def test_a_proxy_before_us_leads_to_the_vendors(
    start: Start, vendors: Vendors, client: ClientSession, certs: Path, trust: ssl.SSLContext
) -> None:
    """In upstream mode, with nobody but the gateway looking at its flows."""
    options = ("--set", f"ssl_verify_upstream_trusted_ca={vendors.ca}", "--set", "flow_detail=0")
    config = {"certs-dir": str(certs), "demo": False}
    gateway = await start(config, *options, mode=f"upstream:{vendors.proxy.url}@127.0.0.1:0")
    for stream in (False, True):
        asked = call("anthropic", model="vendors-own", stream=stream)
        status, _, body = await ask(client, gateway, HOSTS["anthropic"], asked, trust)
        assert (status, body) == (200, native.text("anthropic", model="vendors-own", stream=stream).whole)
        assert vendors.proxy.targets[-1] == "api.anthropic.com:443"
    status, _, _ = await ask(client, gateway, HOSTS["anthropic"], Call("/api/own", {}, {}), trust)
    assert (status, vendors.upstream.requests[-1].path) == (404, "/api/own")
    theirs = ssl.create_default_context(cafile=vendors.ca)
    status, _, _ = await ask(client, gateway, OTHER_HOST, call("anthropic"), theirs)
    assert (status, vendors.proxy.targets[-1]) == (200, f"{OTHER_HOST}:443")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def socks(start: Start, vendors: Vendors, certs: Path) -> Gateway:
    return await start(vendors.config(certs), *vendors.options(), mode="socks5@127.0.0.1:0")


@pytest.mark.parametrize("address", ["name", "IP address"])
async def test_a_host_is_known_by_the_name_that_tls_says(socks: Gateway, trust: ssl.SSLContext, address: str) -> None:
    """By SOCKS, whose clients may name an address only, as those do that know of no proxy."""
    host = HOSTS["anthropic"]
    named = b"\x03" + bytes([len(host)]) + host.encode() if address == "name" else b"\x01\xc0\x00\x02\x0a"
    reader, writer = await asyncio.open_connection("127.0.0.1", socks.port)
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00" + named + (443).to_bytes(2))
    assert (await reader.readexactly(10))[1] == 0
    await writer.start_tls(trust, server_hostname=host)
    asked = call("anthropic", model="vendors-own")
    body = json.dumps(asked.json).encode()
    fields = {**asked.headers, "host": host, "content-length": str(len(body)), "connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"POST {asked.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.read()
    assert answer.endswith(native.text("anthropic", model="vendors-own").whole)
    writer.close()


@pytest.mark.parametrize(
    ("modes", "environment", "expected"),
    [
        (["regular@8080"], {}, None),
        (["regular@8080"], {"https_proxy": "http://proxy.example:8080"}, None),
        # Calls would come back for ever.
        (["regular@8080"], {"https_proxy": "http://user:word@127.0.0.1:8080"}, "direct"),
        (["regular@"], {"https_proxy": "localhost:8080"}, "direct"),
        # mitmproxy's default, in place of which the gateway's own port is opened.
        (["regular"], {"https_proxy": "localhost:8080"}, None),
        (["reverse:http://cliproxy.internal@8317"], {"https_proxy": "http://127.0.0.1:8317"}, None),
        (["regular@8080", "upstream:https://proxy.example:3128@8081"], {}, "https://proxy.example:3128"),
        (["upstream:http://[::1]:3128"], {}, "http://[::1]:3128"),
        (["nonsense"], {}, None),
    ],
)
async def test_the_proxy_of_the_gateways_own_calls(
    monkeypatch: pytest.MonkeyPatch, modes: list[str], environment: Mapping[str, str], expected: str | None
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with taddons.context(UpstreamAuth()) as context:
        # mitmproxy itself refuses what is no mode.
        context.options.mode = modes
        assert proxy_of_modes() == expected
        context.options.upstream_auth = "user:a/word"
        if expected and expected != "direct":
            assert proxy_of_modes() == expected.replace("://", "://user:a%2Fword@")


@pytest.mark.parametrize(
    ("spec", "peer", "local", "is_ours"),
    [
        ("regular", "127.0.0.1", "127.0.0.1", True),
        ("regular", "::1", "::1", True),
        ("regular", "::ffff:127.0.0.1", "::", True),
        ("regular", "192.0.2.7", "192.0.2.1", False),
        ("regular", "192.0.2.7", "127.0.0.1", False),
        ("transparent", "192.0.2.1", "127.0.0.1", True),
        ("transparent", "192.0.2.7", "192.0.2.1", False),
        ("local", "192.0.2.1", "203.0.113.9", True),
        ("wireguard", "10.0.0.1", "127.0.0.1", False),
        ("wireguard", "127.0.0.1", "127.0.0.1", False),
    ],
)
async def test_which_clients_are_on_this_machine(spec: str, peer: str, local: str, is_ours: bool) -> None:
    mode = ProxyMode.parse(spec)
    assert intercepts(mode)
    client = Client(peername=(peer, 50000), sockname=(local, 8080), proxy_mode=mode)
    assert is_on_this_machine(client) is is_ours


@pytest.mark.parametrize("spec", ["reverse:http://cliproxy.internal", "dns"])
async def test_modes_in_which_clients_mean_us(spec: str) -> None:
    assert not intercepts(ProxyMode.parse(spec))

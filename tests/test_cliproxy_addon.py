"""The whole program from its entry script: calls of all four formats through a real mitmdump, same format upstream."""

import asyncio
import gzip
import json
import shutil
from pathlib import Path

import brotli
import msgspec
import pytest
import pytest_asyncio
import zstandard
from aiohttp import ClientSession
from yarl import URL

from tests import native
from tests.answers import Answer, Encoding
from tests.calls import MODELS, Call, ask, call
from tests.conftest import Start
from tests.native import FORMATS, Format
from tests.processes import CLIENT_KEY, ROOT, UPSTREAM_KEY, Gateway, config_for, credentials, listening, mitmproxy
from tests.proxies import HttpProxy, Socks5Proxy
from tests.streams import events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENCODINGS: tuple[Encoding, ...] = ("gzip", "br", "zstd")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(start: Start, shared_upstream: Upstream) -> Gateway:
    return await start(config_for(shared_upstream))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_each_format_is_answered_by_an_upstream_of_its_own(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, stream: bool
) -> None:
    reply = await ask(client, gateway, call(format, stream=stream))
    assert (reply.status, reply.body) == (
        200,
        native.text(format, model="upstream-model", stream=stream).whole,
    )
    assert reply.headers["content-type"] == ("text/event-stream" if stream else "application/json")


@pytest.mark.parametrize("format", FORMATS)
async def test_the_body_keeps_its_bytes_but_for_the_models_name(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format
) -> None:
    asked = call(format)
    odd = b'"temperature": 1.0, "x-unknown" :{"\\u00e9":[1e2, 10000000000000000000001,  null]}, "metadata":{"a":"\xc3\xa9/\\/"}'
    body = json.dumps(asked.json).encode()[:-1] + b",\n  " + odd + b" }"
    assert (await ask(client, gateway, asked, body=body)).status == 200
    received = shared_upstream.requests[-1]
    if format == "gemini":
        assert received.path == "/v1beta/models/upstream-model:generateContent"
        assert received.body == body
        return
    sent = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    arrived = msgspec.json.decode(received.body, type=dict[str, msgspec.Raw])
    assert list(arrived) == list(sent)
    assert bytes(arrived.pop("model")) == b'"upstream-model"'
    del sent["model"]
    assert {name: bytes(value) for name, value in arrived.items()} == {
        name: bytes(value) for name, value in sent.items()
    }


@pytest.mark.parametrize("format", ["openai-chat", "openai-responses", "anthropic"])
async def test_a_model_called_by_its_own_name_leaves_the_body_untouched(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format
) -> None:
    asked = call(format, model=f"own-{MODELS[format]}")
    body = json.dumps(asked.json, indent=3).encode()
    assert (await ask(client, gateway, asked, body=body)).status == 200
    assert shared_upstream.requests[-1].body == body


FORMAT_HEADERS: dict[Format, dict[str, str]] = {
    "openai-chat": {"OpenAI-Organization": "org-test", "openai-project": "proj-test", "X-Stainless-Lang": "python"},
    "openai-responses": {"openai-beta": "responses=experimental", "session_id": "0199-test", "originator": "test"},
    "anthropic": {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one-2025-01-01,two-2025-02-02",
        "anthropic-dangerous-direct-browser-access": "true",
    },
    "gemini": {"x-goog-api-client": "gl-python/3.13", "X-Goog-User-Project": "test", "x-server-timeout": "600"},
}


@pytest.mark.parametrize("format", FORMATS)
async def test_headers_arrive_as_they_were_sent_but_for_the_credential(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format
) -> None:
    asked = call(format)
    own = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, br",
        "Content-Type": "application/json",
        "User-Agent": "test-client/1.0 (é)",
        "X-Unknown": 'a, b ;c="d"',
        **FORMAT_HEADERS[format],
    }  # fmt: skip
    for_the_gateway = {
        **asked.headers,
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "X-Forwarded-For": "192.0.2.1",
        "Cookie": "session=test",
    }
    url = URL(gateway.url + asked.path, encoded=True)
    async with client.post(url, headers={**for_the_gateway, **own}, json=asked.json) as answer:
        assert answer.status == 200
    received = shared_upstream.requests[-1]
    credential = ("x-goog-api-key", UPSTREAM_KEY) if format == "gemini" else ("authorization", f"Bearer {UPSTREAM_KEY}")
    arrived = {name.lower(): value.encode("latin-1").decode() for name, value in received.headers.items()}
    assert int(arrived.pop("content-length")) == len(received.body)
    assert arrived.pop("host") == f"127.0.0.1:{shared_upstream.port}"
    assert arrived == {**{name.lower(): value for name, value in own.items()}, credential[0]: credential[1]}
    assert len(arrived) + 2 == len(received.headers)


async def test_a_header_that_comes_twice_goes_twice(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    asked = call("anthropic")
    headers = [*asked.headers.items(), ("anthropic-beta", "one"), ("anthropic-beta", "two")]
    async with client.post(gateway.url + asked.path, headers=headers, json=asked.json) as answer:
        assert answer.status == 200
    assert shared_upstream.requests[-1].headers.getall("anthropic-beta") == ["one", "two"]


KEY_PLACES: dict[str, tuple[dict[str, str], str]] = {
    "bearer": ({"Authorization": f"Bearer {CLIENT_KEY}"}, ""),
    "bare authorization": ({"Authorization": CLIENT_KEY}, ""),
    "x-goog-api-key": ({"X-Goog-Api-Key": CLIENT_KEY}, ""),
    "x-api-key": ({"X-Api-Key": CLIENT_KEY}, ""),
    "key": ({}, f"key={CLIENT_KEY}"),
    "auth_token": ({}, f"auth_token={CLIENT_KEY}"),
}


@pytest.mark.parametrize("place", KEY_PLACES)
@pytest.mark.parametrize("format", FORMATS)
async def test_the_clients_key_is_taken_in_every_place_and_never_goes_upstream(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, place: str
) -> None:
    headers, query = KEY_PLACES[place]
    asked = call(format, stream=True)
    path, _, own_query = asked.path.partition("?")
    path += "?" + "&".join(filter(None, ("beta=true", query, own_query, "x=%2F+%20")))
    reply = await ask(client, gateway, Call(path, headers, asked.json))
    assert reply.status == 200
    received = shared_upstream.requests[-1]
    assert received.query == "&".join(filter(None, ("beta=true", own_query, "x=%2F+%20")))
    shown = [received.path, received.query, received.body.decode(), *received.headers.values()]
    assert not [text for text in shown if CLIENT_KEY in text]
    assert [text for text in shown if UPSTREAM_KEY in text]


UNHEARD_OF = (
    b": a comment, as keep-alive\n\n",
    b'event: unheard_of\nid: 7\nretry: 10\ndata: {"type": "unheard_of",  "x": [1,2]}\n\n',
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b'data: {"object": "unheard.of"}\r\n\r\n',
)


@pytest.mark.parametrize("format", FORMATS)
async def test_events_that_nobody_knows_reach_the_client_byte_for_byte(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format
) -> None:
    first, *rest = events(format)
    cut = [rest[0][:10], rest[0][10:]]
    headers = native.text(format, stream=True).headers
    shared_upstream.script(Answer(headers=headers, body=[first, *UNHEARD_OF, *cut, *rest[1:]]))
    reply = await ask(client, gateway, call(format, stream=True))
    assert reply.body == b"".join([first, *UNHEARD_OF, *rest])


async def test_an_event_reaches_the_client_while_the_next_is_not_there_yet(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    gate = asyncio.Event()
    shared_upstream.script(held("anthropic", gate))
    asked = call("anthropic", stream=True)
    first, *rest = events("anthropic")
    async with client.post(gateway.url + asked.path, headers=asked.headers, json=asked.json) as answer:
        assert await answer.content.readany() == first
        gate.set()
        assert await answer.content.read() == b"".join(rest)


async def test_gemini_without_sse_streams_its_json_array(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    asked = call("gemini", stream=True)
    reply = await ask(client, gateway, Call(asked.path.removesuffix("?alt=sse"), asked.headers, asked.json))
    assert [part["modelVersion"] for part in reply.json] == ["upstream-model"]
    assert shared_upstream.requests[-1].path.endswith(":streamGenerateContent")


async def test_headers_of_the_answer_survive_but_for_those_of_the_connection(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession
) -> None:
    told = {"request-id": "req_test", "anthropic-ratelimit-requests-remaining": "7", "x-unknown": "1"}
    known = native.text("anthropic")
    shared_upstream.script(Answer(headers={**known.headers, **told, "set-cookie": "a=b"}, body=known.body))
    reply = await ask(client, gateway, call("anthropic"))
    assert {name: reply.headers.get(name) for name in told} == told
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("format", "stream"),
    # Streams for Gemini clients come uncompressed: their headers may be sent before the upstream's.
    [(format, stream) for format in FORMATS for stream in (False, True) if (format, stream) != ("gemini", True)],
)
async def test_a_compressed_answer_passes_as_it_is(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, stream: bool, encoding: Encoding
) -> None:  # fmt: skip
    answer = native.text(format, stream=stream).encoded(encoding)
    shared_upstream.script(answer)
    reply = await ask(client, gateway, call(format, stream=stream), accept_encoding=encoding)
    assert (reply.status, reply.body) == (200, answer.whole)
    assert reply.headers["content-encoding"] == encoding
    assert shared_upstream.requests[-1].headers["accept-encoding"] == encoding


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("format", FORMATS)
async def test_a_compressed_request_is_read(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format, encoding: Encoding
) -> None:
    asked = call(format)
    plain = json.dumps(asked.json).encode()
    packed = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress}[encoding](plain)
    reply = await ask(client, gateway, asked, body=packed, content_encoding=encoding)
    assert reply.status == 200
    received = shared_upstream.requests[-1]
    assert "content-encoding" not in received.headers
    if format != "gemini":
        asked.json["model"] = "upstream-model"
    assert received.json == asked.json


@pytest.mark.parametrize("format", FORMATS)
async def test_an_upstreams_refusal_passes_as_it_is(
    gateway: Gateway, shared_upstream: Upstream, client: ClientSession, format: Format
) -> None:
    refusal = native.error(format, 429, "slow down", retry_after="7")
    shared_upstream.script(refusal)
    reply = await ask(client, gateway, call(format, stream=True))
    assert (reply.status, reply.body) == (429, refusal.whole)
    assert reply.headers["retry-after"] == "7"


async def test_the_demo_answers_without_an_upstream(gateway: Gateway, client: ClientSession) -> None:
    reply = await ask(client, gateway, call("openai-chat", model="demo/echo"))
    assert "hello" in reply.json["choices"][0]["message"]["content"]


async def test_upstreams_are_reached_through_their_proxies(
    start: Start, shared_upstream: Upstream, client: ClientSession
) -> None:
    async with HttpProxy() as http, Socks5Proxy() as socks, Socks5Proxy() as default:
        by_name = f"http://localhost:{shared_upstream.port}"
        gateway = await start(
            config_for(
                shared_upstream,
                credentials(shared_upstream.url, "http-", proxy_url=http.url),
                credentials(shared_upstream.url, "socks-", proxy_url=socks.url),
                credentials(by_name, "socks5h-", proxy_url=socks.url.replace("socks5", "socks5h")),
                credentials(shared_upstream.url, "direct-", proxy_url="direct"),
                proxy_url=default.url,
            )
        )
        for before in ("http-", "socks-", "socks5h-", "direct-", ""):
            for asked in (
                call("anthropic", model=f"{before}anthropic-model"),
                call("gemini", model=f"{before}gemini-model"),
            ):
                assert (await ask(client, gateway, asked)).status == 200
    target = f"127.0.0.1:{shared_upstream.port}"
    assert http.targets == [target] * 2
    assert [passage.method for passage in http.passages] == ["POST"] * 2
    # SOCKS carries a connection, which the second request uses again.
    assert socks.targets == [target, f"localhost:{shared_upstream.port}"]
    assert default.targets == [target]


async def test_a_reloaded_script_goes_on_serving(
    confdir: Path, tmp_path: Path, shared_upstream: Upstream, client: ClientSession
) -> None:
    script = Path(shutil.copy(ROOT / "cliproxy_addon.py", tmp_path))
    for package in ("addons", "cliproxy"):
        (tmp_path / package).symlink_to(ROOT / package)
    async with mitmproxy(confdir, config=config_for(shared_upstream), script=script) as gateway:
        await listening(gateway)
        gate = asyncio.Event()
        shared_upstream.script(held("anthropic", gate))
        asked = call("anthropic", stream=True)
        first, *rest = events("anthropic")
        async with client.post(gateway.url + asked.path, headers=asked.headers, json=asked.json) as answer:
            assert await answer.content.readany() == first
            _touch(script)
            await gateway.wait_for("Loading script", times=2)
            assert (await ask(client, gateway, asked)).status == 200
            gate.set()
            assert await answer.content.read() == b"".join(rest)


def _touch(script: Path) -> None:
    """Change a file: mitmproxy looks at the time of the last change."""
    script.write_text(script.read_text("utf-8") + "\n", "utf-8")

"""What leaves a running mitmproxy: files, HAR and exports hold no secret, and no word where none is wanted."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from tests import mitmweb, native
from tests.answers import Answer
from tests.calls import Call, ask, call
from tests.conftest import Start
from tests.mitmweb import Flow, Mitmweb
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Gateway, config_for, listening, mitmproxy
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0In0.c2lnbmF0dXJl"
REFRESH = "opaque-refresh-token-1"
PRIVATE = "the private words of a user"
ANSWERED = "the private words of a model"
SECRETS = (CLIENT_KEY, UPSTREAM_KEY, JWT, REFRESH)


def talkative(*, stream: bool) -> Call:
    """A call whose user pastes all kinds of secrets."""
    asked = call("openai-chat", stream=stream, model="anthropic-model")
    pasted = json.dumps({"refresh_token": REFRESH})
    asked.json["messages"][0]["content"] = f"{PRIVATE}: {CLIENT_KEY}, {UPSTREAM_KEY}, {JWT}, {pasted}"
    return asked


def careless(*, stream: bool) -> Answer:
    """An answer that repeats them."""
    return native.text("anthropic", words=[f"{ANSWERED}: {UPSTREAM_KEY}", f" and {JWT}"], stream=stream)


def leaks(data: bytes, *more: str) -> list[str]:
    return [text for text in (*SECRETS, *more) if text.encode() in data]


async def converse(gateway: Gateway, upstream: Upstream, client: ClientSession) -> None:
    """Whole, streamed, compressed, refused in the upstream's own words, and one that the end interrupts."""
    answers = (
        (careless(stream=False), False),
        (careless(stream=True), True),
        (careless(stream=True).encoded("gzip"), True),
        (native.error("anthropic", 400, f"{PRIVATE} is refused for {UPSTREAM_KEY}"), False),
    )
    for answer, stream in answers:
        upstream.script(answer)
        await ask(client, gateway, talkative(stream=stream))


@dataclass(frozen=True, slots=True)
class Files:
    flows: bytes
    har: bytes


async def _files(folder: Path, confdir: Path, upstream: Upstream, *options: str) -> Files:
    flows, har = folder / "flows", folder / "flows.har"
    arguments = ("-w", str(flows), "--set", f"hardump={har}", *options)
    async with (
        ClientSession(timeout=ClientTimeout(total=20)) as client,
        mitmproxy(confdir, *arguments, config=config_for(upstream, shutdown_grace_seconds=0)) as gateway,
    ):
        await listening(gateway)
        await converse(gateway, upstream, client)
        before = len(upstream.requests)
        upstream.script(Answer(hang=True))
        interrupted = asyncio.create_task(ask(client, gateway, talkative(stream=True)))
        await upstream.received(before + 1)
        await gateway.stop()
        await asyncio.wait({interrupted})
        assert interrupted.exception()
    return Files(flows.read_bytes(), har.read_bytes())


def _read(path: Path) -> list[HTTPFlow]:
    with path.open("rb") as file:
        return [flow for flow in FlowReader(file).stream() if isinstance(flow, HTTPFlow)]


async def test_what_is_saved_holds_no_secret(confdir: Path, tmp_path: Path, shared_upstream: Upstream) -> None:
    files = await _files(tmp_path, confdir, shared_upstream)
    for data in (files.flows, files.har):
        assert not leaks(data)
        assert PRIVATE.encode() in data
        assert ANSWERED.encode() in data
    # Client and attempt of each of the five; the HAR has those that ended.
    flows = _read(tmp_path / "flows")
    assert len(flows) == 10
    assert json.loads(flows[0].request.content or b"")["messages"][0]["role"] == "user"
    assert len(json.loads(files.har)["log"]["entries"]) >= 8


async def test_on_demand_no_word_is_saved(confdir: Path, tmp_path: Path, shared_upstream: Upstream) -> None:
    files = await _files(tmp_path, confdir, shared_upstream, "--set", "cliproxy_redact=content")
    for data in (files.flows, files.har):
        assert not leaks(data, PRIVATE, ANSWERED, "is refused for")
        assert b"upstream-model" in data
    assert any(
        b"content_block_delta" in (flow.response.content or b"") for flow in _read(tmp_path / "flows") if flow.response
    )


async def test_the_user_may_want_everything(confdir: Path, tmp_path: Path, shared_upstream: Upstream) -> None:
    files = await _files(tmp_path, confdir, shared_upstream, "--set", "cliproxy_redact=off")
    assert set(leaks(files.flows)) == set(SECRETS)


async def test_saving_alone_is_an_audience(confdir: Path, tmp_path: Path, shared_upstream: Upstream) -> None:
    files = await _files(tmp_path, confdir, shared_upstream, "--set", "flow_detail=0")
    assert files.flows.count(b"cliproxy.attempt") >= 5
    assert not leaks(files.flows)


# ---------------------------------------------------------------- from a user interface


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(start: Start, shared_upstream: Upstream, client: ClientSession) -> AsyncIterator[Mitmweb]:
    port = mitmweb.free_port()
    gateway = await start(config_for(shared_upstream), *mitmweb.options(port), program="mitmweb")
    async with Mitmweb.of(gateway, port) as user:
        await converse(gateway, shared_upstream, client)
        yield user


async def both(web: Mitmweb) -> list[Flow]:
    """The first call's flows."""
    flows = await web.flows()
    return [next(flow for flow in flows if flow.is_attempt is kind) for kind in (True, False)]


async def test_what_is_shown_is_what_was_said(web: Mitmweb) -> None:
    for flow in await both(web):
        assert set(leaks(await web.body(flow, "request"))) >= {JWT, UPSTREAM_KEY, CLIENT_KEY}


async def test_what_the_page_saves_holds_no_secret(web: Mitmweb, tmp_path: Path) -> None:
    saved, har, flows = await web.saved(), tmp_path / "page.har", tmp_path / "page"
    await web.run("save.har", "@all", str(har))
    await web.run("save.file", "@all", str(flows))
    for data in (saved, har.read_bytes(), flows.read_bytes()):
        assert not leaks(data)
        assert PRIVATE.encode() in data
    # A flow that is edited is saved with what it was before.
    flow, _ = await both(web)
    await web.edit(flow, comment=f"mine: {UPSTREAM_KEY}")
    assert not leaks(await web.saved())


@pytest.mark.parametrize("form", ["curl", "httpie", "raw", "raw_request", "raw_response"])
async def test_what_the_page_exports_holds_no_secret(web: Mitmweb, form: str) -> None:
    for flow in await both(web):
        exported = await web.run("export", form, f"@{flow.id}")
        assert not leaks(exported.encode())
        assert (ANSWERED if form == "raw_response" else PRIVATE) in exported


async def test_the_page_may_leave_out_all_words(web: Mitmweb) -> None:
    await web.set(cliproxy_redact="content")
    try:
        assert not leaks(await web.saved(), PRIVATE, ANSWERED)
        flow, _ = await both(web)
        assert not leaks((await web.run("export", "raw", f"@{flow.id}")).encode(), PRIVATE, ANSWERED)
    finally:
        await web.set(cliproxy_redact="secrets")

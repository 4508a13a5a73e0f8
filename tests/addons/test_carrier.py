"""Attempts that someone pauses, changes and kills in mitmweb, with a real client and a real upstream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from addons.carrier import MAX_PAUSED_BYTES
from tests import mitmweb, native
from tests.answers import Answer
from tests.calls import Reply, ask, call, message_of
from tests.conftest import Start
from tests.mitmweb import ATTEMPTS, Mitmweb
from tests.native import FORMATS, Format
from tests.processes import UPSTREAM_KEY, Gateway, config_for, credentials
from tests.streams import events, held
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND = "second-"
"""Begins the names of the models that a second credential of the same upstream offers, too."""
HEADER_SECRET = "sk-test-header-secret"


class Site:
    """A gateway in mitmweb, its user, its client and its upstream."""

    def __init__(self, gateway: Gateway, web: Mitmweb, client: ClientSession, upstream: Upstream) -> None:
        self.gateway = gateway
        self.web = web
        self.client = client
        self.upstream = upstream

    def ask(self, format: Format, *, stream: bool = False, model: str = "") -> asyncio.Task[Reply]:
        return asyncio.create_task(ask(self.client, self.gateway, call(format, stream=stream, model=model)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(start: Start, shared_upstream: Upstream, client: ClientSession) -> AsyncIterator[Site]:
    port = mitmweb.free_port()
    shared = {"base-url": shared_upstream.url, "models": [{"name": "upstream-model", "alias": "shared-model"}]}
    keyed = credentials(shared_upstream.url, "keyed-", headers={"X-Team": HEADER_SECRET})
    pair = {"claude-api-key": [{"api-key": f"{UPSTREAM_KEY}-{number}", **shared} for number in (1, 2)]}
    config = config_for(shared_upstream, pair, keyed)
    gateway = await start(config, *mitmweb.options(port), program="mitmweb")
    async with Mitmweb.of(gateway, port) as web:
        yield Site(gateway, web, client, shared_upstream)


@pytest_asyncio.fixture(loop_scope="module")
async def site(running: Site) -> AsyncIterator[Site]:
    yield running
    await running.web.set(intercept="")
    await running.web.clear()


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("format", FORMATS)
async def test_a_translated_request_is_paused_and_sent_as_it_was_changed(site: Site, format: Format) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~q")
    before = len(site.upstream.requests)
    asked = site.ask(format, model="shared-model")
    flow = await site.web.paused_attempt()
    assert len(site.upstream.requests) == before
    body = json.loads(await site.web.body(flow, "request"))
    body["messages"][-1]["content"] = "changed by hand"
    headers = [*flow.raw["request"]["headers"], ["x-added", "by hand"]]
    await site.web.edit(flow, request={"content": json.dumps(body), "headers": headers, "path": "/v1/messages?beta=1"})
    await site.web.resume(flow)
    assert (await asked).status == 200
    received = site.upstream.requests[-1]
    assert received.json["messages"][-1]["content"] == "changed by hand"
    assert (received.headers["x-added"], received.query) == ("by hand", "beta=1")
    # The credential was masked in what was edited.
    assert received.headers["authorization"].startswith(f"Bearer {UPSTREAM_KEY}-")
    assert int(received.headers["content-length"]) == len(received.body)


async def test_a_masked_credential_may_be_replaced_or_removed(site: Site) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~q")
    asked = site.ask("anthropic", model="keyed-anthropic-model")
    flow = await site.web.paused_attempt()
    headers = dict(flow.raw["request"]["headers"])
    team = next(name for name in headers if name.lower() == "x-team")
    assert HEADER_SECRET not in headers[team]
    await site.web.edit(flow, request={"headers": [*({**headers, "x-more": "1", "x-api-key": "mine"}.items())]})
    await site.web.resume(flow)
    await asked
    received = site.upstream.requests[-1]
    assert received.headers["x-team"] == HEADER_SECRET
    assert received.headers["x-api-key"] == "mine"


async def test_what_nobody_changes_is_sent_as_it_was(site: Site) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~q")
    asked = site.ask("anthropic", stream=True)
    await site.web.resume(await site.web.paused_attempt())
    assert (await asked).body == native.text("anthropic", model="upstream-model", stream=True).whole
    paused = site.upstream.requests[-1]
    await site.web.set(intercept="")
    await site.ask("anthropic", stream=True)
    unpaused = site.upstream.requests[-1]
    assert (paused.body, paused.headers) == (unpaused.body, unpaused.headers)


async def test_an_attempt_that_is_killed_before_it_is_sent_fails_over(site: Site) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~q")
    before = len(site.upstream.requests)
    asked = site.ask("openai-chat", model="shared-model")
    first = await site.web.paused_attempt()
    await site.web.kill(first)
    second = await site.web.wait_for(lambda flow: flow.is_attempt and flow.is_paused and flow.id != first.id)
    await site.web.resume(second)
    assert (await asked).status == 200
    [served] = site.upstream.requests[before:]
    assert served.headers["authorization"] in (f"Bearer {UPSTREAM_KEY}-1", f"Bearer {UPSTREAM_KEY}-2")
    killed = await site.web.wait_for(lambda flow: flow.id == first.id)
    assert "killed" in killed.error


async def test_a_client_that_leaves_meanwhile_ends_the_pause(site: Site) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~q")
    before = len(site.upstream.requests)
    asked = site.ask("anthropic")
    flow = await site.web.paused_attempt()
    asked.cancel()
    ended = await site.web.wait_for(lambda each: each.id == flow.id and bool(each.error))
    assert not ended.is_paused
    assert len(site.upstream.requests) == before


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_an_answer_is_paused_and_told_as_it_was_changed(site: Site, format: Format, stream: bool) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~s")
    asked = site.ask(format, stream=stream, model="shared-model")
    flow = await site.web.paused_attempt()
    body = (await site.web.body(flow, "response")).decode()
    assert "hello" in body
    await site.web.edit(flow, response={"content": body.replace("hello", "goodbye")})
    await site.web.resume(flow)
    said = (await asked).body.decode()
    assert "goodbye" in said
    assert "hello" not in said
    done = await site.web.wait_for(lambda each: each.id == flow.id and not each.is_paused)
    assert "goodbye" in (await site.web.body(done, "response")).decode()


async def test_an_answer_may_be_made_an_error(site: Site) -> None:
    """A way to see how a tool takes an upstream's errors, and the gateway's failover."""
    await site.web.set(intercept=f"{ATTEMPTS} & ~s")
    asked = site.ask("anthropic", model="shared-model")
    first = await site.web.paused_attempt()
    refusal = json.loads(native.error("anthropic", 529).whole)
    await site.web.edit(first, response={"code": 529, "content": json.dumps(refusal)})
    await site.web.resume(first)
    second = await site.web.wait_for(lambda flow: flow.is_attempt and flow.is_paused and flow.id != first.id)
    await site.web.resume(second)
    assert (await asked).status == 200


async def test_an_attempt_that_is_killed_with_its_answer_fails_over(site: Site) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~s")
    asked = site.ask("openai-responses", stream=True, model="shared-model")
    first = await site.web.paused_attempt()
    await site.web.kill(first)
    second = await site.web.wait_for(lambda flow: flow.is_attempt and flow.is_paused and flow.id != first.id)
    await site.web.resume(second)
    assert b"hello" in (await asked).body


async def test_a_long_answer_passes_unpaused(site: Site) -> None:
    await site.web.set(intercept=f"{ATTEMPTS} & ~s")
    words = ["x" * 1_000_000] * (MAX_PAUSED_BYTES // 1_000_000 + 2)
    answer = native.text("anthropic", words=words, stream=True)
    site.upstream.script(answer)
    reply = await site.ask("anthropic", stream=True)
    assert reply.body == answer.whole
    assert "is not paused" in site.gateway.text


# ---------------------------------------------------------------- without a pause


async def test_an_attempt_that_is_killed_while_the_upstream_is_silent_fails_over(site: Site) -> None:
    site.upstream.script(Answer(hang=True))
    before = len(site.upstream.requests)
    asked = site.ask("anthropic", model="shared-model")
    await site.upstream.received(before + 1)
    flow = await site.web.wait_for(lambda each: each.is_attempt)
    await site.web.kill(flow)
    assert (await asked).status == 200
    await site.upstream.requests[before].disconnected.wait()


async def test_an_attempt_that_is_killed_within_its_answer_ends_it_with_an_error(site: Site) -> None:
    site.upstream.script(held("anthropic", after=4))
    asked = call("anthropic", stream=True)
    first = b"".join(events("anthropic")[:4])
    async with site.client.post(site.gateway.url + asked.path, headers=asked.headers, json=asked.json) as answer:
        begun = await answer.content.readexactly(len(first))
        flow = await site.web.wait_for(lambda each: each.is_attempt)
        await site.web.kill(flow)
        rest = (await answer.content.read()).decode()
    assert begun == first
    last: dict[str, Any] = json.loads(rest.strip().rpartition("data: ")[2])
    assert "killed in mitmproxy" in message_of("anthropic", 502, last)
    await site.upstream.requests[-1].disconnected.wait()


async def test_the_last_attempt_that_is_killed_is_the_clients_error(site: Site) -> None:
    site.upstream.script(Answer(hang=True))
    before = len(site.upstream.requests)
    asked = site.ask("gemini")
    await site.upstream.received(before + 1)
    await site.web.kill(await site.web.wait_for(lambda each: each.is_attempt))
    reply = await asked
    assert "killed in mitmproxy" in message_of("gemini", 502, reply.json)


async def test_an_answer_is_visible_while_it_streams(site: Site) -> None:
    gate = asyncio.Event()
    site.upstream.script(held("anthropic", gate, after=4))
    asked = site.ask("openai-chat", stream=True, model="shared-model")
    for is_attempt in (True, False):
        flow = await site.web.wait_for(
            lambda each, kind=is_attempt: (
                each.is_attempt is kind and bool((each.raw.get("response") or {}).get("contentLength"))
            )
        )
        text, view = await site.web.view(flow, "response")
        assert view == "Conversation"
        assert "still coming" in text
    gate.set()
    await asked
    flow = await site.web.wait_for(lambda each: each.is_attempt)
    text, _ = await site.web.view(flow, "response")
    assert "still coming" not in text
    assert "hello from upstream" in text

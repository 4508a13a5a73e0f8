"""The contentviews in running programs: which one shows itself for what, and what flows know for it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from addons.streamed_body import MAX_SLICES
from tests import mitmweb, native
from tests.calls import ask, call
from tests.conftest import Start
from tests.mitmweb import Flow, Mitmweb, Part
from tests.native import FORMATS, Format
from tests.processes import Gateway, config_for
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEPT_BYTES = 6000


class Site:
    """A gateway in mitmweb, its user, its client and its upstream."""

    def __init__(self, gateway: Gateway, web: Mitmweb, client: ClientSession, upstream: Upstream) -> None:
        self.gateway = gateway
        self.web = web
        self.client = client
        self.upstream = upstream

    async def asked(self, format: Format, *, stream: bool = False, model: str = "") -> tuple[Flow, Flow]:
        """The flows of a call: the client's and the attempt's."""
        await self.web.clear()
        await ask(self.client, self.gateway, call(format, stream=stream, model=model))
        attempt = await self.web.wait_for(lambda flow: flow.is_attempt and bool(flow.raw["marked"]))
        return await self.web.wait_for(lambda flow: not flow.is_attempt), attempt


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(start: Start, shared_upstream: Upstream, client: ClientSession) -> AsyncIterator[Site]:
    port = mitmweb.free_port()
    config = config_for(shared_upstream, inspect={"max-body-bytes": KEPT_BYTES})
    gateway = await start(config, *mitmweb.options(port), program="mitmweb")
    async with Mitmweb.of(gateway, port) as web:
        yield Site(gateway, web, client, shared_upstream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_views_show_themselves_for_what_they_are_made_for(site: Site, format: Format, stream: bool) -> None:
    # The upstream of `anthropic-model` speaks Anthropic's format.
    client, attempt = await site.asked(format, stream=stream, model="anthropic-model")
    text, view = await site.web.view(client, "request")
    assert view == "Conversation"
    assert text.startswith(f"request: anthropic-model ({format}")
    assert text.endswith("user: hello")

    text, view = await site.web.view(attempt, "request")
    assert view == "Changes"
    assert ("format: unchanged" if format == "anthropic" else f"format: {format} → anthropic") in text
    assert "model: anthropic-model → upstream-model" in text

    for flow, spoken in ((client, format), (attempt, "anthropic")):
        text, view = await site.web.view(flow, "response")
        assert view == "Conversation"
        assert f"({spoken})\ntext: hello from upstream\nfinish: stop" in text
        # A chat client has to ask for the counts of a stream.
        assert "usage: 11 input + 7 output tokens" in text or (spoken, stream) == ("openai-chat", True)


async def test_the_time_line_of_both_sides_has_times(site: Site) -> None:
    client, attempt = await site.asked("openai-chat", stream=True, model="anthropic-model")
    for flow in (client, attempt):
        text, _ = await site.web.view(flow, "response", "Time line")
        rows = [row for row in text.partition("\n \n")[0].splitlines()[1:] if "×3" in row or "×2" in row]
        assert len(rows) == 1
        assert rows[0].split()[0].replace(",", "").isdigit()
        assert "hello from upstream" in rows[0]


async def test_of_a_compressed_stream_no_times_are_claimed(site: Site) -> None:
    site.upstream.script(native.text("anthropic", stream=True).encoded("gzip"))
    _, attempt = await site.asked("anthropic", stream=True)
    text, _ = await site.web.view(attempt, "response", "Time line")
    assert "when they came is not known" in text
    assert "hello from upstream" in text


async def test_of_a_long_answer_the_end_is_shown(site: Site) -> None:
    words = [f"word {number} " for number in range(400)]
    site.upstream.script(native.text("openai-chat", words=words, stream=True))
    client, attempt = await site.asked("openai-chat", stream=True)
    for flow in (client, attempt):
        text, view = await site.web.view(flow, "response")
        assert view == "Conversation"
        assert "of this answer are not kept" in text
        assert "word 399" in text
        assert "word 300 " not in text
        text, _ = await site.web.view(flow, "response", "Time line")
        assert "of this answer are not kept" in text
        assert len(await site.web.body(flow, "response")) == KEPT_BYTES


async def test_of_a_long_compressed_answer_it_is_told_that_nothing_can_be_read(site: Site) -> None:
    words = [f"{number:x}" for number in range(1, 10**9, 10**5)]
    site.upstream.script(native.text("anthropic", words=words, stream=True).encoded("gzip"))
    _, attempt = await site.asked("anthropic", stream=True)
    for view in ("auto", "Time line"):
        text, _ = await site.web.view(attempt, "response", view)
        assert "The beginning of this compressed answer is not kept" in text


async def test_as_many_times_as_slices_are_kept_stay_bounded(site: Site) -> None:
    body = native.text("openai-chat", words=["x"] * (MAX_SLICES + 100), stream=True)
    site.upstream.script(body)
    _, attempt = await site.asked("openai-chat", stream=True)
    text, _ = await site.web.view(attempt, "response", "Time line")
    assert "the longest silence" in text or "events in" in text


async def test_other_streams_and_bodies_have_the_views_that_fit(site: Site) -> None:
    await site.web.clear()
    asked = call("openai-chat", model="nobody")
    await ask(site.client, site.gateway, asked)
    refused = await site.web.wait_for(lambda flow: "response" in flow.raw)
    text, view = await site.web.view(refused, "response")
    assert view == "Conversation"
    assert text.startswith("error:\n  status: 404")
    await ask(site.client, site.gateway, asked, body=b"not json")
    broken = await site.web.wait_for(lambda flow: flow.raw["request"]["contentLength"] == len(b"not json"))
    text, view = await site.web.view(broken, "request")
    assert view not in ("Conversation", "Changes", "Time line")
    for name in ("Conversation", "Time line", "Changes"):
        text, view = await site.web.view(broken, "request", name)
        assert "This is no " in text


async def test_flows_from_a_file_find_each_other(site: Site) -> None:
    client, attempt = await site.asked("openai-chat", stream=True, model="anthropic-model")

    async def shown() -> list[str]:
        looks: list[tuple[Flow, Part, str]] = [
            (client, "request", "auto"), (client, "response", "auto"), (attempt, "request", "auto"),
            (attempt, "response", "auto"), (attempt, "response", "Time line"),
        ]  # fmt: skip
        texts = [(await site.web.view(*look))[0] for look in looks]
        # mitmproxy puts its reverse target into the URLs of what it loads.
        return [text.replace(site.upstream.url, "http://cliproxy.internal") for text in texts]

    before = await shown()
    file = await site.web.saved()
    await site.web.clear()
    await site.web.load(file)
    assert await shown() == before


async def test_mitmdump_prints_conversations(start: Start, shared_upstream: Upstream, client: ClientSession) -> None:
    gateway = await start(config_for(shared_upstream), "--set", "flow_detail=4")
    await ask(client, gateway, call("openai-chat", stream=True, model="anthropic-model"))
    await gateway.wait_for("finish: stop", 2)
    assert "format: openai-chat → anthropic" in gateway.text

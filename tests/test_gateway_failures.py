"""cliproxy.gateway, where an upstream fails, refuses, or stops half-way: what the client of each format is told."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from cliproxy.exchange import AnswerCut, Attempt, Exchange, NoObserver
from cliproxy.transport.client import TimeLimits
from cliproxy.wire.model import FORMATS, Format
from tests import native
from tests.answers import Answer
from tests.calls import MODELS
from tests.site import Noting, Site, ask, refused, request
from tests.streams import events, held
from tests.upstream import Upstream

TINY_S = 0.05
JSON, SSE = {"content-type": "application/json"}, {"content-type": "text/event-stream"}
PAIRS = [(client, server) for client in FORMATS for server in FORMATS]
every_format = pytest.mark.parametrize("format", FORMATS)
either_way = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
async def site(upstream: Upstream) -> AsyncIterator[Site]:
    site = Site(upstream)
    yield site
    await site.close()


# ---------------------------------------------------------------- upstreams that fail


@either_way
@every_format
async def test_a_dead_upstream(site: Site, format: Format, stream: bool) -> None:
    gateway = site.gateway()
    await site.upstream.__aexit__(None, None, None)
    assert "cannot be reached" in refused(format, 502, await ask(gateway, request(format, stream=stream)))


@either_way
@every_format
async def test_a_silent_upstream(site: Site, format: Format, stream: bool) -> None:
    site.upstream.script(Answer(hang=True))
    reply = await ask(site.gateway(limits=TimeLimits(None, TINY_S, None)), request(format, stream=stream))
    assert "first-byte-seconds" in refused(format, 504, reply)


GARBAGE: dict[str, Answer] = {
    "not HTTP": Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "nothing": Answer(raw=b""),
    "HTML": Answer(headers={"content-type": "text/html"}, body=b"<html>"),
    "no type": Answer(body=b"{}"),
    "not JSON": Answer(headers=JSON, body=b"<html>"),
    "half of it": Answer(headers=JSON, body=b'{"choices":[', cut=True),
    "a list": Answer(headers=JSON, body=b"[1]"),
    "deep JSON": Answer(headers=JSON, body=b'{"a":' * 100_000),
    "a redirect": Answer(status=302, headers={"location": "/elsewhere"}),
    "damaged": Answer(headers={**JSON, "content-encoding": "gzip"}, body=b"not packed"),
    "an unknown coding": Answer(headers={**JSON, "content-encoding": "snappy"}, body=b"{}"),
}
GARBAGE_STREAMS: dict[str, Answer] = {
    "no event": Answer(headers=SSE),
    "no type": Answer(body=[b"data: {}\n\n"]),
    "half an event": Answer(headers=SSE, body=[b"data: {"], cut=True),
    "damaged": Answer(headers={**SSE, "content-encoding": "gzip"}, body=[b"data: {}\n\n"]),
    "an unknown coding": Answer(headers={**SSE, "content-encoding": "snappy"}, body=[b"data: {}\n\n"]),
    "several unknown codings": Answer(headers={**SSE, "content-encoding": "snappy, lzma"}, body=[b"data: {}\n\n"]),
}


@pytest.mark.parametrize(
    ("stream", "row"), [*((stream, row) for stream in (False, True) for row in GARBAGE), *((True, "stream: " + row) for row in GARBAGE_STREAMS)]
)  # fmt: skip
@pytest.mark.parametrize("client", ["openai-chat", "anthropic"])
async def test_an_answer_that_is_not_what_it_claims(site: Site, client: Format, stream: bool, row: str) -> None:
    if (stream, row) == (True, "a list"):
        return  # Of a stream it is only known at its end.
    answers = {**GARBAGE, **{"stream: " + name: answer for name, answer in GARBAGE_STREAMS.items()}}
    site.upstream.script(answers[row])
    gateway, noting = site.gateway(), Noting()
    reply = await ask(gateway, request(client, stream=stream, model="chat-model"), noting)
    assert len(refused(client, 502, reply)) < 500
    assert [bool(attempt.error) for attempt in noting.ended] == [True]
    assert (await ask(gateway, request(client, model="chat-model"))).status == 200


@either_way
@pytest.mark.parametrize(("client", "server"), PAIRS)
async def test_a_stream_that_is_cut_never_ends_well(site: Site, client: Format, server: Format, stream: bool) -> None:
    """The last argument: whether the connection ends as well, or only the answer."""
    pieces = events(server)
    kept = pieces[: {"openai-chat": 2, "openai-responses": 5, "anthropic": 4, "gemini": 1}[server]]
    site.upstream.script(Answer(headers=SSE, body=[*kept, pieces[len(kept)][:20]], cut=stream))
    noting = Noting()
    reply = await ask(site.gateway(), request(client, stream=True, model=MODELS[server]), noting)
    assert reply.status == 200
    last = reply.body.rstrip(b"\n").split(b"\n\n")[-1]
    assert b"error" in last
    assert json.loads(last.rpartition(b"data: ")[2])
    assert pieces[len(kept)][:20] not in reply.body.replace(b"".join(kept), b""), "half an event went out"
    assert [bool(attempt.error) for attempt in noting.ended] == [True], "the attempt looks as if it had gone well"


@every_format
async def test_a_stream_that_falls_silent_ends_in_an_error(site: Site, format: Format) -> None:
    site.upstream.script(held(format))
    async with asyncio.timeout(5):
        reply = await ask(site.gateway(limits=TimeLimits(None, None, TINY_S)), request(format, stream=True))
    assert reply.body.startswith(events(format)[0])
    assert b"timeouts.idle-seconds" in reply.body
    await site.upstream.requests[0].disconnected.wait()


@pytest.mark.parametrize("packed", [True, False])
async def test_what_cannot_say_an_error_is_cut(site: Site, packed: bool) -> None:
    answer = native.text("gemini", stream=True)
    if packed:
        whole = answer.encoded("gzip").whole
        site.upstream.script(Answer(headers={**SSE, "content-encoding": "gzip"}, body=[whole[:60]], cut=True))
    else:
        site.upstream.script(Answer(headers=JSON, body=[b"[", native.text("gemini").whole, b","], cut=True))
    asked = request("gemini", stream=True)
    asked.query = "alt=sse" if packed else ""
    with pytest.raises(AnswerCut):
        await ask(site.gateway(), asked)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_ends_the_attempt(site: Site, begun: bool) -> None:
    site.upstream.script(held("anthropic", after=3))
    noting = Noting()
    answer = await site.gateway().handle(request("anthropic", stream=True), noting)
    assert not isinstance(answer.body, bytes)
    if begun:
        await anext(aiter(answer.body))
    await answer.close()
    await site.upstream.requests[0].disconnected.wait()
    assert [attempt.error for attempt in noting.ended] == ["the client went away"]


async def test_a_client_that_leaves_before_the_answer_ends_the_exchange(site: Site) -> None:
    class Watching(NoObserver):
        def attempt_ended(self, exchange: Exchange, attempt: Attempt) -> None:
            seen.append(exchange)

    seen: list[Exchange] = []
    site.upstream.script(Answer(hang=True))
    asking = asyncio.create_task(site.gateway().handle(request("anthropic"), Watching()))
    await site.upstream.received()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [(exchange.status, exchange.error) for exchange in seen] == [(499, "the client went away")]
    assert seen[0].ended_s


# ---------------------------------------------------------------- upstreams that refuse


@either_way
@every_format
async def test_a_refusal_passes_as_it_came(site: Site, format: Format, stream: bool) -> None:
    scripted = native.error(format, 400, "no such thing", x_own="1", retry_after="3")
    site.upstream.script(scripted)
    reply = await ask(site.gateway(), request(format, stream=stream))
    assert (reply.status, reply.body, reply.headers["x-own"]) == (400, scripted.whole, "1")


@pytest.mark.parametrize(("client", "server"), [pair for pair in PAIRS if pair[0] != pair[1]])
async def test_a_refusal_is_told_in_the_clients_format(site: Site, client: Format, server: Format) -> None:
    site.upstream.script(native.error(server, 400, "no such thing"))
    reply = await ask(site.gateway(), request(client, model=MODELS[server]))
    assert refused(client, 400, reply) == "no such thing"


@pytest.mark.parametrize(
    ("said", "told"),
    [("7", "7"), ("0", "1"), ("-5", None), ("1.2", "1"), ("nan", None), ("inf", None), ("1e999", None), ("soon", None)],
)
async def test_when_to_come_again_is_a_number_of_seconds(site: Site, said: str, told: str | None) -> None:
    site.upstream.script(native.error("openai-chat", 429, "slow down", retry_after=said))
    reply = await ask(site.gateway(), request("anthropic", model="chat-model"))
    assert refused("anthropic", 429, reply) == "slow down"
    shown = reply.headers.get("retry-after")
    assert shown == told if told else shown is None or shown.isdigit()

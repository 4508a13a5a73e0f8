"""cliproxy.sockets.relay: pages of AI Studio as credentials, and the calls that they make."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cliproxy.config.loading import parse_config
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.gateway import Gateway
from cliproxy.members import Members
from cliproxy.memory import Memory
from cliproxy.routing.registry import builtin_registry
from cliproxy.sockets import relay
from cliproxy.sockets.relay import Page, Relay
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import UpstreamCut, UpstreamFault, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from tests import native
from tests.answers import Answer
from tests.client_sockets import ClientSocket, Talking
from tests.features.gateways import MODEL, Clients
from tests.features.test_tool_loop import LOOPS
from tests.native import FORMATS, Format

NO_LIMITS = TimeLimits(None, None, None)
URL = "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse"


def relay_to(members: Members, limits: TimeLimits = NO_LIMITS, **options: Any) -> Relay:
    config = parse_config(json.dumps({name.replace("_", "-"): value for name, value in options.items()})).config
    return Relay(config, builtin_registry(), members, limits)


@asynccontextmanager
async def joined(limits: TimeLimits = NO_LIMITS) -> AsyncIterator[tuple[Page, ClientSocket]]:
    """A page that is there: what sends calls over it, and the page's end of the socket."""
    page = relay_to(Members(), limits).page()
    async with Talking(page) as client:
        await asyncio.sleep(0)
        yield page, client


def request(url: str = URL, body: bytes = b'{"contents": []}') -> UpstreamRequest:
    return UpstreamRequest("POST", url, Headers({"content-type": "application/json"}), body)


def reply(asked: Any, kind: str, **payload: Any) -> dict[str, Any]:
    return {"id": asked["id"], "type": kind, "payload": payload}


async def begun(page: Page, client: ClientSocket, *messages: tuple[str, dict[str, Any]], asked: Any = None) -> Any:
    """A response that the page began with these messages."""
    sending = asyncio.create_task(page.send(asked or request()))
    call = await client.hear()
    for kind, payload in messages:
        client.say(reply(call, kind, **payload))
    return await sending


async def body(response: Any) -> bytes:
    return b"".join([chunk async for chunk in response.chunks()])


# ---------------------------------------------------------------- pages


async def test_a_page_is_a_credential_while_it_is_there() -> None:
    members = Members()
    page = relay_to(members).page()
    async with Talking(page) as client:
        client.say({"id": "1", "type": "ping"})
        assert await client.hear() == {"id": "1", "type": "pong"}
        (credential,) = members.credentials()
        assert (credential.provider, credential.formats) == ("aistudio", ("gemini",))
        assert credential.label.startswith("aistudio aistudio-")
        assert credential.base_url == "https://generativelanguage.googleapis.com"
        assert members.transport_of(credential) is page
    assert members.credentials() == []


async def test_each_page_is_another_one() -> None:
    members = Members()
    relay = relay_to(members)
    async with Talking(relay.page()), Talking(relay.page()):
        await asyncio.sleep(0)
        assert len({credential.id for credential in members.credentials()}) == 2


async def test_the_configs_words_for_the_provider_hold() -> None:
    options = {
        "providers": {"aistudio": {"base-url": "https://own.test"}},
        "oauth_model_alias": {"aistudio": [{"name": "gemini-2.5-pro", "alias": "pro"}]},
        "oauth_excluded_models": {"aistudio": ["*flash*"]},
    }
    members = Members()
    async with Talking(relay_to(members, **options).page()):
        await asyncio.sleep(0)
        (credential,) = members.credentials()
    assert credential.base_url == "https://own.test"
    names = {model.name for model in credential.models}
    assert "pro" in names
    assert not any("flash" in name for name in names)


@pytest.mark.parametrize("message", ["hello", "[]", '{"id": 5}', '{"id": "unknown", "type": "stream_end"}', b"\xff"])
async def test_what_no_page_says_is_passed_over(message: str | bytes) -> None:
    async with joined() as (page, client):
        client.say(message)
        assert (await begun(page, client, ("stream_start", {}))).status == 200


async def test_a_message_that_is_too_large_ends_it() -> None:
    members = Members()
    page = relay_to(members).page()
    client = ClientSocket()
    client.say_too_much()
    await page.converse(client)
    assert client.closed and client.closed[0] == 1009
    assert members.credentials() == []


# ---------------------------------------------------------------- calls


async def test_a_call_reaches_the_page_and_its_stream_comes_back() -> None:
    async with joined() as (page, client):
        sending = asyncio.create_task(page.send(request()))
        call = await client.hear()
        assert call["type"] == "http_request"
        payload = call["payload"]
        assert payload.pop("sent_at")
        headers = {"content-type": ["application/json"]}
        assert payload == {"method": "POST", "url": URL, "headers": headers, "body": '{"contents": []}'}
        client.say(reply(call, "stream_start", status=201, headers={"content-encoding": "gzip", "x-own": ["a", "b"]}))
        response = await sending
        assert (response.status, response.headers.getall("x-own")) == (201, ["a", "b"])
        assert "content-encoding" not in response.headers
        assert response.headers["content-type"] == "text/event-stream"
        client.say(reply(call, "stream_chunk", data='data: {"a": 1}\n\n'))
        client.say(reply(call, "stream_end"))
        assert await body(response) == b'data: {"a": 1}\n\n'


@pytest.mark.parametrize(
    "pieces",
    [
        ['data: {"a": "}{"}\r\n\r\ndata: {"b": 2}\r\n\r\n'],
        ['data: {"a": "}{"}', 'data: {"b": 2}'],
        ['data: {"a": "}{"}\n', 'data: {"b": 2}\n'],
        ['{"a": "}{"}', '{"b": 2}'],
        ['[{"a": "}{"},\n', '{"b": 2}]'],
        ['data: {"a": "}', '{"}\n\ndata: {"b"', ": 2}\n\n"],
        ['data: {\n"a": "}{"}\n\n', 'data: {"b": 2\n}'],
    ],
    ids=["events", "without line ends", "lines", "objects", "an array", "cut anywhere", "on several lines"],
)
async def test_however_a_page_cuts_a_stream_its_events_come_whole(pieces: list[str]) -> None:
    async with joined() as (page, client):
        chunks = [("stream_chunk", {"data": piece}) for piece in pieces]
        response = await begun(page, client, ("stream_start", {}), *chunks, ("stream_end", {}))
        events = (await body(response)).decode().split("\n\n")
    assert [json.loads(event.removeprefix("data: ")) for event in events if event] == [{"a": "}{"}, {"b": 2}]


async def test_a_whole_answer_comes_as_it_is() -> None:
    async with joined() as (page, client):
        asked = request(URL.partition(":stream")[0] + ":generateContent")
        response = await begun(page, client, ("http_response", {"status": 200, "body": '{\n"a": 1}'}), asked=asked)
        assert response.headers["content-type"] == "application/json"
        assert await response.read(100) == b'{\n"a": 1}'


async def test_a_stream_may_begin_with_its_first_piece() -> None:
    async with joined() as (page, client):
        response = await begun(page, client, ("stream_chunk", {"data": '{"a": 1}'}), ("stream_end", {}))
        assert (response.status, await body(response)) == (200, b'data: {"a": 1}\n\n')


async def test_an_error_status_is_told_with_its_body() -> None:
    async with joined() as (page, client):
        words = '{"error": {"message": "no"}}'
        response = await begun(page, client, ("http_response", {"status": 403, "body": words}))
        assert (response.status, response.headers["content-type"]) == (403, "application/json")
        assert await response.read(100) == words.encode()


async def test_a_call_that_the_page_could_not_make() -> None:
    async with joined() as (page, client):
        response = await begun(page, client, ("error", {"error": "quota", "status": 429}))
        assert response.status == 429
        assert json.loads(await response.read(1000)) == {"error": {"code": 429, "message": "quota"}}
        with pytest.raises(UpstreamFault, match="Failed to fetch") as failed:
            await begun(page, client, ("error", {"error": "Failed to fetch"}))
        assert failed.value.status == 502


async def test_a_stream_that_the_page_could_not_bring_to_its_end() -> None:
    async with joined() as (page, client):
        messages = [("stream_chunk", {"data": '{"a": 1}'}), ("error", {"error": "aborted", "status": 500})]
        response = await begun(page, client, *messages)
        chunks = response.chunks()
        assert await anext(chunks) == b'data: {"a": 1}\n\n'
        with pytest.raises(UpstreamCut, match="aborted"):
            await anext(chunks)


async def test_calls_run_side_by_side() -> None:
    async with joined() as (page, client):
        sending = [asyncio.create_task(page.send(request(body=b"%d" % n))) for n in range(3)]
        calls = [await client.hear() for _ in sending]
        for call in reversed(calls):
            client.say(reply(call, "http_response", body=json.dumps({"said": call["payload"]["body"]})))
        responses = await asyncio.gather(*sending)
        assert [json.loads((await body(r))[6:]) for r in responses] == [{"said": str(n)} for n in range(3)]


async def test_a_page_that_leaves_cuts_its_answers() -> None:
    async with joined() as (page, client):
        response = await begun(page, client, ("stream_start", {}))
        waiting = asyncio.create_task(page.send(request()))
        await client.hear()
    with pytest.raises(UpstreamCut, match="has left"):
        await body(response)
    with pytest.raises(UpstreamCut, match="has left"):
        await waiting
    with pytest.raises(UpstreamUnreachable, match="has left"):
        await page.send(request())


# ---------------------------------------------------------------- giving up


async def test_the_page_is_told_when_nobody_waits_any_more() -> None:
    async with joined() as (page, client):
        response = await begun(page, client, ("stream_start", {}))
        response.close()
        assert await client.hear() == {"id": response.id, "type": "cancel", "payload": {}}
        waiting = asyncio.create_task(page.send(request()))
        call = await client.hear()
        waiting.cancel()
        assert await client.hear() == {"id": call["id"], "type": "cancel", "payload": {}}
        client.say(reply(call, "stream_start"))


async def test_of_a_complete_answer_nothing_is_cancelled() -> None:
    async with joined() as (page, client):
        response = await begun(page, client, ("http_response", {"body": '{"a": 1}'}))
        response.close()
        client.say({"id": "1", "type": "ping"})
        assert (await client.hear())["type"] == "pong"


async def test_limits_hold_for_the_beginning_and_for_the_gaps() -> None:
    async with joined(TimeLimits(None, 0.01, 0.01)) as (page, client):
        with pytest.raises(UpstreamTimeout, match="first-byte-seconds"):
            await page.send(request())
        await client.hear()
        assert (await client.hear())["type"] == "cancel"
        response = await begun(page, client, ("stream_start", {}))
        with pytest.raises(UpstreamTimeout, match="idle-seconds"):
            await body(response)
        assert (await client.hear())["type"] == "cancel"


async def test_what_nobody_reads_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_UNREAD_BYTES", 10)
    async with joined() as (page, client):
        response = await begun(page, client, ("stream_chunk", {"data": '{"a": 1}'}))
        assert (await client.hear())["type"] == "cancel"
        with pytest.raises(UpstreamGarbled, match="10 bytes"):
            await body(response)


async def test_more_than_the_reader_wants_is_refused() -> None:
    async with joined() as (page, client):
        response = await begun(page, client, ("stream_chunk", {"data": '{"a": 1}'}))
        with pytest.raises(UpstreamGarbled, match="exceeds 5 bytes"):
            await response.read(5)


# ---------------------------------------------------------------- clients


class Browser:
    """A page that has calls answered as scripted: whole ones in one message, streamed ones in one for each piece."""

    def __init__(self, *answers: Answer) -> None:
        self.calls: list[Any] = []
        self._answers = deque(answers)

    async def run(self, client: ClientSocket) -> None:
        while True:
            call = await client.hear()
            self.calls.append(call["payload"])
            answer = self._answers.popleft()
            client.say(reply(call, "stream_start", status=answer.status, headers=dict(answer.headers)))
            for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
                assert isinstance(piece, bytes)
                client.say(reply(call, "stream_chunk", data=piece.decode()))
            client.say(reply(call, "stream_end"))


@asynccontextmanager
async def serving(browser: Browser) -> AsyncIterator[Clients]:
    """Clients of a gateway whose only credential is a page."""
    memory, transport = Memory(), HttpTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), NO_LIMITS)
    aliases = {"aistudio": [{"name": "gemini-3-pro-preview", "alias": MODEL}]}
    async with Talking(relay_to(memory.members, oauth_model_alias=aliases).page()) as client:
        running = asyncio.create_task(browser.run(client))
        await asyncio.sleep(0)
        config = parse_config('{"demo": false}').config
        yield Clients(Gateway(config, transport, memory, accounts=memory.members.credentials()), "sk-test-client")
        running.cancel()
    await transport.close()


@pytest.mark.parametrize("format", FORMATS)
async def test_a_tools_round_from_clients_of_every_format(format: Format) -> None:
    browser = Browser(native.tool_call("gemini", stream=True), native.text("gemini", stream=True))
    go_through, _ = LOOPS[format]
    async with serving(browser) as clients:
        loop = await go_through(clients)
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", {"city": "Paris"}, "hello from upstream")
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    assert {call["url"].rpartition("/")[2] for call in browser.calls} == {
        "gemini-3-pro-preview:streamGenerateContent?alt=sse"
    }
    assert {tuple(call["headers"]) for call in browser.calls} == {("Content-Type",)}

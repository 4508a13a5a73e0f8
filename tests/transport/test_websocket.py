"""cliproxy.transport.websocket: requests go over a conversation's socket while there is one, and by HTTP otherwise."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cliproxy.exchange import Headers, UpstreamRequest, UpstreamResponse
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.transport.websocket import SocketTransport, UpstreamSockets
from cliproxy.wire.errors import UpstreamCut, UpstreamTimeout, UpstreamUnreachable
from tests.certificates import client_context
from tests.websocket_upstream import WebSocketUpstream, answer, error

TINY_S = 0.02
USER = {"type": "message", "role": "user", "content": "hi"}


@pytest.fixture
async def upstream() -> AsyncIterator[WebSocketUpstream]:
    async with WebSocketUpstream() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(client_context(), TimeLimits(None, None, None), "direct")
    yield transport
    await transport.close()


@pytest.fixture
def sockets() -> UpstreamSockets:
    return UpstreamSockets()


@pytest.fixture
def transport(sockets: UpstreamSockets, http: HttpTransport) -> SocketTransport:
    return sockets.transport("one", http)


def request(upstream: WebSocketUpstream, *items: Any, key: str = "sk-test-1", **fields: Any) -> UpstreamRequest:
    body = {"model": "m", "stream": True, "input": list(items), **fields}
    headers = Headers({"authorization": f"Bearer {key}", "content-type": "application/json", "x-own": "1"})
    return UpstreamRequest("POST", f"{upstream.url}/v1/responses", headers, json.dumps(body).encode())


async def events(response: UpstreamResponse) -> list[dict[str, Any]]:
    """The events of a streamed answer, from the bytes that server-sent events are."""
    frames = b"".join([chunk async for chunk in response.chunks()]).decode().removesuffix("\n\n").split("\n\n")
    found = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames]
    assert [frame["event"] for frame in found] == [json.loads(frame["data"])["type"] for frame in found]
    return [json.loads(frame["data"]) for frame in found]


async def output(transport: SocketTransport, asked: UpstreamRequest) -> Any:
    """Ask, and return what a client would send back with its next request: the items that were said."""
    told = await events(await transport.send(asked))
    return [event["item"] for event in told if event["type"] == "response.output_item.done"]


async def test_an_answer_comes_as_over_http(upstream: WebSocketUpstream, transport: SocketTransport) -> None:
    response = await transport.send(request(upstream, USER, tools=[]))
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.peer and response.peer[0] == "127.0.0.1"
    assert await events(response) == answer("resp_1")
    assert upstream.bodies == [{"type": "response.create", "model": "m", "input": [USER], "tools": []}]
    headers = upstream.handshakes[0].headers
    assert (headers["authorization"], headers["x-own"]) == ("Bearer sk-test-1", "1")
    assert headers["openai-beta"].startswith("responses_websockets=")
    assert "content-type" not in headers


async def test_while_the_socket_lives_only_what_is_new_is_sent(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    said = [USER]
    for _ in range(3):
        said = [*said, *await output(transport, request(upstream, *said)), USER]
    assert [(number, body.get("previous_response_id"), len(body["input"])) for number, body in upstream.requests] == [
        (1, None, 1),
        (1, "resp_1", 1),
        (1, "resp_2", 1),
    ]


async def test_items_that_come_back_without_their_ids_are_still_known(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    (item,) = await output(transport, request(upstream, USER))
    item = {"phase": None, **{name: value for name, value in item.items() if name not in ("id", "status")}}
    await output(transport, request(upstream, USER, item, USER))
    assert upstream.bodies[-1]["previous_response_id"] == "resp_1"


@pytest.mark.parametrize("change", ["other words", "cut short", "nothing new"])
async def test_a_conversation_that_is_another_is_sent_whole(
    upstream: WebSocketUpstream, transport: SocketTransport, change: str
) -> None:
    said = [USER, *await output(transport, request(upstream, USER))]
    items = {"other words": [{**USER, "content": "ho"}, *said[1:], USER], "cut short": [USER], "nothing new": said}
    await output(transport, request(upstream, *items[change]))
    assert upstream.bodies[-1]["input"] == items[change]
    assert "previous_response_id" not in upstream.bodies[-1]


async def test_an_id_of_the_clients_own_is_left_alone(upstream: WebSocketUpstream, transport: SocketTransport) -> None:
    response = await transport.send(request(upstream, USER, previous_response_id="resp_elsewhere"))
    assert response.status == 400
    assert upstream.bodies[0]["previous_response_id"] == "resp_elsewhere"


@pytest.mark.parametrize("status", [426, 404, 401, 302])
async def test_a_refused_handshake_means_http_from_then_on(
    upstream: WebSocketUpstream, transport: SocketTransport, status: int
) -> None:
    upstream.refusals.append(status)
    for count in (1, 2):
        assert (await transport.send(request(upstream, USER))).status == 500
        assert (len(upstream.handshakes), len(upstream.posts)) == (1, count)
    assert upstream.posts[0] == {"model": "m", "stream": True, "input": [USER]}


async def test_another_credential_has_a_socket_of_its_own(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    said = [USER, *await output(transport, request(upstream, USER)), USER]
    await output(transport, request(upstream, *said, key="sk-test-2"))
    assert [(number, len(body["input"])) for number, body in upstream.requests] == [(1, 1), (2, 3)]
    await upstream.closed.wait()


async def test_what_cannot_be_a_stream_goes_by_http(upstream: WebSocketUpstream, transport: SocketTransport) -> None:
    await transport.send(request(upstream, USER, stream=False))
    assert (upstream.handshakes, len(upstream.posts)) == ([], 1)


async def test_an_error_in_place_of_an_answer_is_an_error_status(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    said = [USER, *await output(transport, request(upstream, USER)), USER]
    upstream.script(error(429, "rate_limit_exceeded", headers={"retry-after": 7, "content-length": "1"}))
    response = await transport.send(request(upstream, *said))
    assert (response.status, response.headers["retry-after"]) == (429, "7")
    assert "content-length" not in response.headers
    assert json.loads(await response.read(1000))["error"]["code"] == "rate_limit_exceeded"
    # A vendor forgets the conversation of a turn that failed.
    await output(transport, request(upstream, *said))
    assert [(number, len(body["input"])) for number, body in upstream.requests] == [(1, 1), (1, 1), (1, 3)]


@pytest.mark.parametrize("code", ["previous_response_not_found", "websocket_connection_limit_reached"])
async def test_what_a_new_connection_mends_is_not_told(
    upstream: WebSocketUpstream, transport: SocketTransport, code: str
) -> None:
    said = [USER, *await output(transport, request(upstream, USER)), USER]
    upstream.script(error(400, code))
    assert await output(transport, request(upstream, *said))
    assert [(number, len(body["input"])) for number, body in upstream.requests] == [(1, 1), (1, 1), (2, 3)]


async def test_a_socket_that_was_closed_in_the_meantime_is_opened_again(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    upstream.script([*answer("resp_1"), None])
    said = [USER, *await output(transport, request(upstream, USER)), USER]
    await output(transport, request(upstream, *said))
    assert [(number, len(body["input"])) for number, body in upstream.requests] == [(1, 1), (2, 3)]


async def test_an_upstream_that_only_hangs_up_is_asked_by_http(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    upstream.script([None])
    assert (await transport.send(request(upstream, USER))).status == 500
    assert len(upstream.posts) == 1


async def test_a_cut_answer_is_one(upstream: WebSocketUpstream, transport: SocketTransport) -> None:
    upstream.script([*answer("resp_1")[:2], None])
    response = await transport.send(request(upstream, USER))
    with pytest.raises(UpstreamCut, match="1000"):
        await events(response)
    assert await output(transport, request(upstream, USER))


async def test_an_answer_that_nobody_reads_on_is_stopped(
    upstream: WebSocketUpstream, transport: SocketTransport
) -> None:
    upstream.script([*answer("resp_1")[:2], asyncio.Event()])
    response = await transport.send(request(upstream, USER))
    async for _ in response.chunks():
        break
    response.close()
    await output(transport, request(upstream, USER))
    assert [number for number, _ in upstream.requests] == [1, 2]


async def test_a_request_beside_another_goes_by_http(upstream: WebSocketUpstream, transport: SocketTransport) -> None:
    gate = asyncio.Event()
    upstream.script([answer("resp_1")[0], gate, *answer("resp_1")[1:]])
    first = await transport.send(request(upstream, USER))
    assert (await transport.send(request(upstream, USER))).status == 500
    gate.set()
    assert len(await events(first)) == 4


async def test_limits_hold_for_the_first_event_and_for_the_gaps(upstream: WebSocketUpstream) -> None:
    http = HttpTransport(client_context(), TimeLimits(None, TINY_S, TINY_S), "direct")
    transport = UpstreamSockets().transport("one", http)
    upstream.script([asyncio.Event()], [answer("resp_1")[0], asyncio.Event()])
    with pytest.raises(UpstreamTimeout, match="first-byte-seconds"):
        await transport.send(request(upstream, USER))
    response = await transport.send(request(upstream, USER))
    with pytest.raises(UpstreamTimeout, match="idle-seconds"):
        await events(response)
    await http.close()


async def test_nobody_there_is_told_as_over_http(transport: SocketTransport, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/v1/responses"
    with pytest.raises(UpstreamUnreachable):
        await transport.send(UpstreamRequest("POST", url, Headers(), b'{"stream": true, "input": []}'))


async def test_an_event_of_several_lines_becomes_one(upstream: WebSocketUpstream, transport: SocketTransport) -> None:
    upstream.script([json.dumps(event, indent=1).encode() for event in answer("resp_1")])
    assert await events(await transport.send(request(upstream, USER))) == answer("resp_1")


async def test_conversations_share_nothing(
    upstream: WebSocketUpstream, sockets: UpstreamSockets, http: HttpTransport
) -> None:
    for conversation in ("one", "two"):
        await output(sockets.transport(conversation, http), request(upstream, USER))
    assert [number for number, _ in upstream.requests] == [1, 2]
    sockets.release("one")
    await upstream.closed.wait()
    await output(sockets.transport("two", http), request(upstream, USER))
    assert len(upstream.handshakes) == 2


async def test_other_connections_of_the_gateway_mean_another_socket(
    upstream: WebSocketUpstream, sockets: UpstreamSockets, http: HttpTransport
) -> None:
    """As after a reload of the config: the one before closes its connections."""
    before = HttpTransport(client_context(), TimeLimits(None, None, None), "direct")
    await output(sockets.transport("one", before), request(upstream, USER))
    await output(sockets.transport("one", http), request(upstream, USER))
    assert len(upstream.handshakes) == 2
    await before.close()

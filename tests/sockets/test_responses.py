"""cliproxy.sockets.responses: one client's conversation over a WebSocket, with gateway and upstreams behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cliproxy.exchange import Answer, AnswerCut, ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.sockets.responses import ResponsesConversation
from cliproxy.transport.websocket import UpstreamSockets
from tests import native
from tests.answers import Answer as Scripted
from tests.calls import MODELS
from tests.client_sockets import ClientSocket, Talking
from tests.native import FORMATS, Format
from tests.processes import CLIENT_KEY
from tests.site import Site
from tests.streams import broken
from tests.upstream import Upstream
from tests.websocket_upstream import WebSocketUpstream

HANDSHAKE = ClientRequest(
    "GET",
    "/v1/responses",
    "x=1",
    Headers(
        {
            "authorization": f"Bearer {CLIENT_KEY}",
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": "dGVzdCB0ZXN0IHRlc3QgMQ==",
            "openai-beta": "own=1, responses_websockets=2026-02-06",
            "session-id": "s-1",
            "accept-encoding": "gzip",
        }
    ),
    b"",
    peer="192.0.2.1",
)
FINAL = ("response.completed", "response.failed", "response.incomplete", "error")


@pytest.fixture
async def site(upstream: Upstream) -> AsyncIterator[Site]:
    site = Site(upstream)
    yield site
    await site.close()


def talking(gateway: Gateway) -> Talking:
    return Talking(ResponsesConversation(HANDSHAKE, gateway.handle, gateway._upstreams._sockets, 1000))


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def create(*input: Any, model: str = MODELS["openai-responses"], **fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": model, "store": False, "input": list(input), **fields}


async def answered(client: ClientSocket, message: Any = None) -> list[dict[str, Any]]:
    """Say something and hear all of the answer to it."""
    if message is not None:
        client.say(message)
    events = [await client.hear()]
    while events[-1]["type"] not in FINAL:
        events.append(await client.hear())
    return events


async def told(client: ClientSocket, message: Any) -> str:
    """Say something that gets an answer; return the id of the response."""
    events = await answered(client, message)
    assert events[-1]["type"] == "response.completed", events[-1]
    return events[-1]["response"]["id"]


async def failed(client: ClientSocket, message: Any) -> tuple[int, dict[str, Any]]:
    """Say something that gets no answer; return the error's status and object."""
    (event,) = await answered(client, message)
    assert event["type"] == "error"
    return event["status"], event["error"]


# ---------------------------------------------------------------- requests and answers


async def test_each_event_is_a_message_as_it_came(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        events = await answered(client, create(user("hi")))
    pieces = native.text("openai-responses", model="upstream-model", stream=True).whole.decode().split("\n\n")
    assert events == [json.loads(piece.partition("data: ")[2]) for piece in pieces if piece]
    received = upstream.requests[0]
    assert (received.method, received.path, received.query) == ("POST", "/v1/responses", "x=1")
    assert received.json["stream"] is True
    assert not {"type", "generate"} & received.json.keys()
    assert {name: received.headers.get(name) for name in ("session-id", "openai-beta", "accept-encoding")} == {
        "session-id": "s-1",
        "openai-beta": "own=1",
        "accept-encoding": "identity",
    }
    assert not {"upgrade", "sec-websocket-key"} & {name.lower() for name in received.headers}


async def test_requests_are_answered_one_after_the_other(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        for text in ("one", "two", "three"):
            client.say(create(user(text)))
        for _ in range(3):
            assert (await answered(client))[-1]["type"] == "response.completed"
    assert [received.json["input"][0]["content"] for received in upstream.requests] == ["one", "two", "three"]


@pytest.mark.parametrize("format", FORMATS)
async def test_an_upstream_of_any_format_gets_all_that_was_said(site: Site, upstream: Upstream, format: Format) -> None:
    """The client sends only what is new."""
    upstream.script(native.tool_call(format, stream=True))
    model = MODELS[format]
    async with talking(site.gateway()) as client:
        events = await answered(client, create(user("What is the weather?"), model=model))
        (call,) = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny in Paris"}
        first = events[-1]["response"]["id"]
        second = await told(client, create(result, model=model, previous_response_id=first))
        await told(client, create(user("And tomorrow?"), model=model, previous_response_id=second))
    whole = upstream.requests[2].body.decode()
    assert "previous_response_id" not in whole
    places = [whole.index(word) for word in ("What is the weather?", "get_weather", "sunny in", "hello", "tomorrow")]
    assert places == sorted(places)


async def test_the_conversation_goes_on_where_it_fails_over_to(site: Site, upstream: Upstream) -> None:
    async with Upstream() as other:
        model = {"name": "upstream-model", "alias": MODELS["openai-responses"]}
        entry = {"api-key": "sk-test-other", "base-url": other.url, "priority": -1, "models": [model]}
        async with talking(site.gateway({}, {"claude-api-key": [entry]})) as client:
            first = await told(client, create(user("one")))
            upstream.script(native.error("openai-responses", 503))
            await told(client, create(user("two"), previous_response_id=first))
        (received,) = other.requests
    assert [(message["role"], json.dumps(message["content"])) for message in received.json["messages"]] == [
        ("user", '[{"type": "text", "text": "one"}]'),
        ("assistant", '[{"type": "text", "text": "hello from upstream"}]'),
        ("user", '[{"type": "text", "text": "two"}]'),
    ]


async def test_a_response_that_came_whole_is_told_in_events(site: Site, upstream: Upstream) -> None:
    upstream.script(native.text("openai-responses"))
    async with talking(site.gateway()) as client:
        events = await answered(client, create(user("one")))
        assert [event["type"] for event in events] == ["response.output_item.done", "response.completed"]
        await told(client, create(user("two"), previous_response_id=events[-1]["response"]["id"]))
    assert [item["role"] for item in upstream.requests[1].json["input"]] == ["user", "assistant", "user"]


async def test_messages_may_be_binary(site: Site) -> None:
    async with talking(site.gateway()) as client:
        await told(client, json.dumps(create(user("hi"))).encode())


# ---------------------------------------------------------------- going on


async def test_a_prewarmed_response_is_gone_on_from(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        events = await answered(client, create(user("setting"), generate=False, tools=[]))
        assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
        response = events[-1]["response"]
        assert (response["output"], response["status"], response["model"]) == ([], "completed", "responses-model")
        assert not upstream.requests
        await told(client, create(user("hi"), previous_response_id=response["id"]))
    assert [item["content"] for item in upstream.requests[0].json["input"]] == ["setting", "hi"]


async def test_one_may_go_on_from_the_same_response_twice(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        warm = (await answered(client, create(user("setting"), generate=False)))[-1]["response"]["id"]
        for text in ("one", "two"):
            await told(client, create(user(text), previous_response_id=warm))
    assert [received.json["input"][1:] for received in upstream.requests] == [[user("one")], [user("two")]]


async def test_append_goes_on_from_the_last_response_with_its_settings(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        await told(client, create(user("one"), instructions="be brief", temperature=0.5))
        await answered(client, {"type": "response.append", "input": [user("two")], "temperature": 0.7})
    asked = upstream.requests[1].json
    assert [item["role"] for item in asked["input"]] == ["user", "assistant", "user"]
    assert (asked["model"], asked["instructions"], asked["temperature"]) == ("upstream-model", "be brief", 0.7)


async def test_append_without_anything_to_go_on_from_is_refused(site: Site) -> None:
    async with talking(site.gateway()) as client:
        status, error = await failed(client, {"type": "response.append", "input": []})
    assert (status, error["param"]) == (400, "type")
    assert "response.create" in error["message"]


async def test_an_unknown_response_is_not_found(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        status, error = await failed(client, create(user("hi"), previous_response_id="resp_lost"))
        assert (status, error["code"]) == (400, "previous_response_not_found")
        assert "whole conversation" in error["message"]
        await told(client, create(user("hi")))
    assert len(upstream.requests) == 1


async def test_what_a_vendor_may_have_stored_is_for_the_vendor_to_know(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        await told(client, create(user("hi"), previous_response_id="resp_stored", store=True))
    assert upstream.requests[0].json["previous_response_id"] == "resp_stored"


async def test_a_failed_response_is_not_gone_on_from(site: Site, upstream: Upstream) -> None:
    async with talking(site.gateway()) as client:
        first = await told(client, create(user("one")))
        upstream.script(native.error("openai-responses", 400))
        await failed(client, create(user("two"), previous_response_id=first))
        await told(client, create(user("three"), previous_response_id=first))
    assert [item["content"] for item in upstream.requests[2].json["input"] if item["role"] == "user"] == [
        "one",
        "three",
    ]


async def test_connections_know_nothing_of_each_other(site: Site) -> None:
    gateway = site.gateway()
    async with talking(gateway) as client:
        first = await told(client, create(user("one")))
    async with talking(gateway) as client:
        status, error = await failed(client, create(user("two"), previous_response_id=first))
    assert (status, error["code"]) == (400, "previous_response_not_found")


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("hello", "JSON object"),
        ([1], "JSON object"),
        ({"model": "m"}, "None is no type"),
        ({"type": "session.update"}, "'session.update' is no type"),
        ({"type": ["response.create"]}, "is no type"),
        ({"type": "response.create", "input": []}, "model is missing"),
        ({"type": "response.create"}, "model is missing"),
        ({"type": "response.create", "model": "nobody's"}, "unknown model"),
        (create({"type": 5}, generate=False), "type"),
    ],
)
async def test_what_is_no_request_is_refused_and_the_socket_stays(site: Site, message: Any, word: str) -> None:
    async with talking(site.gateway()) as client:
        status, error = await failed(client, message)
        assert 400 <= status <= 404
        assert word in error["message"]
        assert client.closed is None
        await told(client, create(user("hi")))


async def test_an_acknowledgement_needs_no_answer(site: Site) -> None:
    async with talking(site.gateway()) as client:
        client.say({"type": "response.processed", "response_id": "resp_1"})
        await told(client, create(user("hi")))


async def test_an_upstreams_error_comes_with_its_words_and_headers(site: Site, upstream: Upstream) -> None:
    body = {"type": "usage_limit_reached", "message": "used up", "plan_type": "plus", "resets_at": 4_000_000_000}
    headers = {"content-type": "application/json", "x-codex-primary-used-percent": "100"}
    upstream.script(Scripted(status=429, headers=headers, body=json.dumps({"error": body}).encode()))
    async with talking(site.gateway()) as client:
        (event,) = await answered(client, create(user("hi")))
    assert (event["type"], event["status"], event["error"]) == ("error", 429, body)
    assert event["headers"]["x-codex-primary-used-percent"] == "100"


async def test_a_rate_limit_that_passes_is_a_failed_response(site: Site, upstream: Upstream) -> None:
    """Codex gives up on the status, and waits as long as these words say."""
    upstream.script(native.error("openai-responses", 429, retry_after="7"))
    async with talking(site.gateway()) as client:
        (event,) = await answered(client, create(user("hi")))
    assert event["type"] == "response.failed"
    assert event["response"]["error"]["code"] == "rate_limit_exceeded"
    assert "try again in 7s" in event["response"]["error"]["message"]


async def test_a_long_wait_is_told_as_a_status(site: Site, upstream: Upstream) -> None:
    upstream.script(native.error("openai-responses", 429, retry_after="3600"))
    async with talking(site.gateway()) as client:
        (event,) = await answered(client, create(user("hi")))
    assert (event["status"], event["headers"]["retry-after"]) == (429, "3600")


@pytest.mark.parametrize("format", ["openai-responses", "anthropic"])
async def test_a_cut_answer_ends_with_an_error(site: Site, upstream: Upstream, format: Format) -> None:
    upstream.script(broken(format, after=5))
    async with talking(site.gateway()) as client:
        events = await answered(client, create(user("hi"), model=MODELS[format]))
        assert len(events) > 1
        assert events[-1]["type"] == "response.failed" or events[-1]["status"] == 502
        await told(client, create(user("hi")))


@pytest.mark.parametrize(("failure", "words"), [(AnswerCut("cut here"), "cut here"), (None, "before its end")])
async def test_an_answer_that_cannot_even_fail_is_an_error(failure: AnswerCut | None, words: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'event: response.created\ndata: {"type": "response.created"}\n\n'
        if failure:
            raise failure

    async def ask(request: ClientRequest) -> Answer:
        return Answer(200, Headers({"content-type": "text/event-stream"}), pieces())  # pyright: ignore[reportArgumentType]

    async with Talking(ResponsesConversation(HANDSHAKE, ask, UpstreamSockets(), 1000)) as client:
        events = await answered(client, create(user("hi")))
    assert events[-1]["status"] == 502
    assert words in events[-1]["error"]["message"]


async def test_a_message_that_is_too_large_is_told_and_closes(site: Site) -> None:
    async with talking(site.gateway()) as client:
        client.say_too_much()
        (event,) = await answered(client)
    assert (event["status"], event["error"]["code"]) == (413, "request_too_large")
    assert "1000 bytes" in event["error"]["message"]
    assert client.closed == (1009, "message too large")


async def test_a_client_that_leaves_ends_it(site: Site) -> None:
    conversation = ResponsesConversation(HANDSHAKE, site.gateway().handle, UpstreamSockets(), 1000)
    client = ClientSocket()
    client.leave()
    await asyncio.wait_for(conversation.converse(client), 5)


# ---------------------------------------------------------------- upstreams with WebSockets


def keys(*upstreams: WebSocketUpstream) -> dict[str, Any]:
    return {
        "codex-api-key": [
            {
                "api-key": f"sk-test-{n}",
                "base-url": f"{one.url}/v1",
                "websockets": True,
                "models": [{"name": "ws-model"}],
            }
            for n, one in enumerate(upstreams)
        ]
    }


async def test_the_upstreams_socket_lives_as_long_as_the_clients(site: Site) -> None:
    async with WebSocketUpstream() as vendor:
        async with talking(site.gateway({}, keys(vendor))) as client:
            previous = await told(client, create(user("one"), model="ws-model"))
            for text in ("two", "three"):
                previous = await told(client, create(user(text), model="ws-model", previous_response_id=previous))
        await vendor.closed.wait()
    assert [(number, body["input"]) for number, body in vendor.requests] == [
        (1, [user("one")]),
        (1, [user("two")]),
        (1, [user("three")]),
    ]
    assert vendor.bodies[2]["previous_response_id"] == "resp_2"


async def test_a_conversation_stays_with_its_credential(site: Site) -> None:
    """Turns by turns, every one would be sent whole."""
    async with WebSocketUpstream() as one, WebSocketUpstream() as two:
        gateway = site.gateway({}, keys(one, two))
        for _ in range(2):
            async with talking(gateway) as client:
                previous = await told(client, create(user("hi"), model="ws-model"))
                await told(client, create(user("ho"), model="ws-model", previous_response_id=previous))
        assert [[number for number, _ in vendor.requests] for vendor in (one, two)] == [[1, 1], [1, 1]]


async def test_when_it_fails_the_next_credential_gets_everything(site: Site) -> None:
    async with WebSocketUpstream() as one, WebSocketUpstream() as two:
        async with talking(site.gateway({}, keys(one, two))) as client:
            previous = await told(client, create(user("hi"), model="ws-model"))
            broken, other = (one, two) if one.requests else (two, one)
            broken.script([{"type": "error", "status": 503, "error": {"message": "overloaded"}}])
            await told(client, create(user("ho"), model="ws-model", previous_response_id=previous))
        assert len(broken.requests) == 2
        assert [item["role"] for item in other.bodies[0]["input"]] == ["user", "assistant", "user"]


async def test_requests_by_post_go_by_http(site: Site) -> None:
    async with WebSocketUpstream() as vendor:
        body = json.dumps({"model": "ws-model", "input": "hi", "stream": True}).encode()
        answer = await site.gateway({}, keys(vendor)).handle(
            ClientRequest("POST", "/v1/responses", "", Headers({"authorization": f"Bearer {CLIENT_KEY}"}), body)
        )
        assert (answer.status, len(vendor.posts), vendor.handshakes) == (500, 1, [])

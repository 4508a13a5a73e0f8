"""An ASGI application answers a client's request without a socket: bodies in and out, streams, and clients that leave."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send

from cliproxy.exchange import Answer, AnswerCut, ClientRequest, Headers
from cliproxy.management.bridge import Bridge


def request(method: str = "POST", body: bytes | AsyncIterator[bytes] = b"", **fields: str) -> ClientRequest:
    return ClientRequest(
        method, fields.pop("path", "/a%20b/c"), "x=1&y=%2F", Headers({"X-One": "1"}), body, "127.0.0.1"
    )


async def whole(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b"".join([chunk async for chunk in answer.body])


async def start(send: Send, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it was asked."""
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    told = f"{scope['method']} {scope['path']} {scope['raw_path'].decode()} {scope['query_string'].decode()}"
    told += f" {dict(scope['headers'])[b'x-one'].decode()} {scope['client'][0]} "
    await start(send, 201, (b"x-two", b"2"), (b"x-two", b"3"))
    await send({"type": "http.response.body", "body": told.encode() + body})


async def test_the_application_sees_the_request_and_the_client_its_answer() -> None:
    answer = await Bridge(echo).ask(request(body=b"hello"))
    assert (answer.status, answer.headers.getall("x-two")) == (201, ["2", "3"])
    assert await whole(answer) == b"POST /a b/c /a%20b/c x=1&y=%2F 1 127.0.0.1 hello"


async def test_a_body_that_arrives_in_pieces_is_read_to_its_end() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two ", b"three"):
            yield piece

    answer = await Bridge(echo).ask(request(body=pieces()))
    assert (await whole(answer)).endswith(b"one two three")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_answers_without_a_body_have_none(method: str, status: int) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, status, (b"content-length", b"8"), (b"etag", b"x"))
        await send({"type": "http.response.body", "body": b"too much"})

    answer = await Bridge(application).ask(request(method))
    assert (answer.status, dict(answer.headers), answer.body) == (status, {"etag": "x"}, b"")


async def test_a_stream_comes_as_it_is_made_and_waits_for_its_reader() -> None:
    made: list[int] = []

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for number in range(100):
            made.append(number)
            await send({"type": "http.response.body", "body": b"%d " % number, "more_body": True})
        await send({"type": "http.response.body"})

    answer = await Bridge(count).ask(request())
    assert not isinstance(answer.body, bytes)
    assert await anext(aiter(answer.body)) == b"0 "
    await asyncio.sleep(0)
    assert len(made) <= 3
    assert (await whole(answer)).split()[-1] == b"99"


async def test_a_reader_that_leaves_ends_the_application() -> None:
    ended = asyncio.Event()

    async def forever(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
        finally:
            ended.set()

    answer = await Bridge(forever).ask(request())
    assert not isinstance(answer.body, bytes)
    await anext(aiter(answer.body))
    await answer.close()
    assert ended.is_set()


async def test_a_caller_that_is_cancelled_ends_the_application() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asking = asyncio.ensure_future(Bridge(silent).ask(request()))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ended.is_set()


async def test_an_application_that_fails_before_it_answers_raises() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await Bridge(broken).ask(request())


async def test_an_application_that_does_not_answer_is_a_failure() -> None:
    async def mute(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with pytest.raises(RuntimeError, match="did not answer"):
        await Bridge(mute).ask(request())


async def test_an_answer_that_breaks_off_does_not_look_complete(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError("no")

    answer = await Bridge(broken).ask(request())
    with caplog.at_level(logging.ERROR), pytest.raises(AnswerCut):
        await whole(answer)
    assert "broke off" in caplog.text


async def test_what_fails_after_the_answer_is_logged_and_no_business_of_the_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"whole"})
        raise LookupError("no")

    answer = await Bridge(late).ask(request())
    assert await whole(answer) == b"whole"
    assert "broke off" in caplog.text


async def test_closing_ends_streams_that_would_go_on() -> None:
    async def forever(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await asyncio.Event().wait()

    bridge = Bridge(forever)
    answer = await bridge.ask(request())
    await bridge.close()
    with pytest.raises(AnswerCut):
        await whole(answer)


async def test_closing_tells_those_who_wait_for_an_answer() -> None:
    asked = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await asyncio.Event().wait()

    bridge = Bridge(slow)
    asking = asyncio.create_task(bridge.ask(request()))
    await asked.wait()
    await bridge.close()
    answer = await asking
    assert (answer.status, await whole(answer)) == (503, b"")


async def test_the_client_is_known_to_be_gone_by_who_listens() -> None:
    heard: list[str] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await start(send)
        try:
            heard.append((await receive())["type"])
        finally:
            await send({"type": "http.response.body"})

    answer = await Bridge(listening).ask(request())
    await asyncio.sleep(0)
    await answer.close()
    assert heard in ([], ["http.disconnect"])

"""addons.client_socket: what the gateway has of a client's WebSocket."""

import asyncio
from typing import Any, cast

import pytest

from addons.client_socket import UNREAD_BYTES, ClientSocket, SocketClose, SocketSend, converse
from cliproxy.websocket import CloseCode, MessageTooLarge


class Handler:
    """mitmproxy's side, which takes everything at once."""

    client = None

    def __init__(self) -> None:
        self.transports: dict[Any, Any] = {}
        self.events: list[SocketSend | SocketClose] = []

    async def server_event(self, event: Any) -> None:
        self.events.append(event)
        event.taken()


class Talk:
    """A conversation as the test says."""

    max_message_bytes = 0
    silence_limit_s = None

    def __init__(self, talk: Any) -> None:
        self.converse = talk


def socket() -> tuple[ClientSocket, Handler]:
    handler = Handler()
    return ClientSocket(cast(Any, None), 1, cast(Any, handler)), handler


def started(talk: Any) -> tuple[ClientSocket, Handler]:
    made, handler = socket()
    made.task = asyncio.create_task(converse(Talk(talk), made))
    return made, handler


async def test_messages_come_in_order_and_then_none() -> None:
    heard: list[Any] = []
    both = asyncio.Event()

    async def listen(socket: ClientSocket) -> None:
        while (message := await socket.receive()) is not None:
            heard.append(message)
            if len(heard) == 2:
                both.set()
        heard.append(None)

    socket, _ = started(listen)
    socket.feed("one")
    socket.feed(b"two")
    await both.wait()
    await asyncio.sleep(0)
    socket.end()
    await socket.task
    assert heard == ["one", b"two", None]


async def test_who_is_busy_when_the_client_leaves_is_cancelled() -> None:
    busy = asyncio.Event()

    async def work(socket: ClientSocket) -> None:
        await socket.receive()
        busy.set()
        await asyncio.Event().wait()

    socket, handler = started(work)
    socket.feed("go")
    await busy.wait()
    socket.end()
    with pytest.raises(asyncio.CancelledError):
        await socket.task
    assert handler.events == []


async def test_what_was_said_before_a_message_that_is_too_large_is_heard_first() -> None:
    made, _ = socket()
    made.feed("one")
    made.refuse()
    assert await made.receive() == "one"
    with pytest.raises(MessageTooLarge):
        await made.receive()


async def test_too_much_that_waits_holds_up_the_client() -> None:
    made, _ = socket()
    made.feed("x" * UNREAD_BYTES)
    await made.drain()
    made.feed("y")
    waiting = asyncio.create_task(made.drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    await made.receive()
    await waiting


async def test_a_client_that_left_holds_up_nobody() -> None:
    socket, _ = started(lambda socket: socket.receive())
    socket.feed("x" * (UNREAD_BYTES + 1))
    socket.end()
    await socket.drain()
    assert socket.is_closing()
    with pytest.raises(ConnectionResetError):
        await socket.send("late")
    await asyncio.wait({socket.task})


async def test_a_conversation_that_is_over_closes_the_socket() -> None:
    async def say(socket: ClientSocket) -> None:
        await socket.send("one", "two")

    socket, handler = started(say)
    await socket.task
    sent, closed = handler.events
    assert isinstance(sent, SocketSend) and isinstance(closed, SocketClose)
    assert (sent.messages, closed.code) == (("one", "two"), CloseCode.NORMAL)


async def test_a_failure_of_ours_is_logged_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(socket: ClientSocket) -> None:
        raise ValueError("a bug")

    socket, handler = started(fail)
    await socket.task
    (closed,) = handler.events
    assert isinstance(closed, SocketClose)
    assert closed.code == CloseCode.OUR_FAULT
    assert "a bug" in caplog.text

"""addons.websocket's layer by itself: what takes time in a real mitmproxy, and what nobody sees from outside."""

from typing import Any, cast

import pytest
from mitmproxy import http, options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketMessageHook, WebsocketStartHook
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketData
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage

from addons.client_socket import ClientSocket, SocketClose, SocketSend
from addons.websocket import LINGER_S, PING_S, SocketLayer
from cliproxy.websocket import Conversation, Socket

SILENCE_LIMIT_S = 2 * PING_S


class Talk:
    """A conversation about limits."""

    max_message_bytes = 100

    def __init__(self, silence_limit_s: float | None) -> None:
        self.silence_limit_s = silence_limit_s

    async def converse(self, socket: Socket) -> None:
        raise NotImplementedError


class Host:
    """The addon, and the socket that it makes."""

    def __init__(self, *, watched: bool, keep_bytes: int) -> None:
        self.watched = watched
        self.keep_bytes = keep_bytes
        self.fed: list[str | bytes] = []
        self.refused = False
        self.ended = False

    def start_conversation(self, flow: http.HTTPFlow, stream_id: int, conversation: Conversation) -> ClientSocket:
        return cast(ClientSocket, self)

    def feed(self, message: str | bytes) -> None:
        self.fed.append(message)

    def refuse(self) -> None:
        self.refused = True

    def end(self) -> None:
        self.ended = True


class Client:
    """One client's socket with a layer at its other end. Hooks are passed at once."""

    def __init__(self, *, silence_limit_s: float | None = None, watched: bool = True, keep_bytes: int = 1000) -> None:
        self.host = Host(watched=watched, keep_bytes=keep_bytes)
        self.flow = tflow.tflow(resp=http.Response.make(101))
        self.flow.websocket = WebSocketData()
        self._context = Context(tflow.tclient_conn(), options.Options())
        self._layer = SocketLayer(self._context, self.flow, 1, Talk(silence_limit_s), self.host)
        self._frames = Connection(ConnectionType.CLIENT)
        self.seen: list[commands.Command] = []
        """Everything but the data that the layer did."""
        self.said: list[Event] = []
        """What came back in frames."""
        self._take(events.Start())

    def _take(self, event: events.Event) -> None:
        for command in self._layer.handle_event(event):
            if isinstance(command, commands.SendData):
                self._frames.receive_data(command.data)
                self.said += self._frames.events()
                continue
            self.seen.append(command)
            if command.blocking:
                self._take(events.HookCompleted(cast(commands.StartHook, command), None))

    def send(self, *said: Event) -> None:
        for event in said:
            self._take(events.DataReceived(self._context.client, self._frames.send(event)))

    def gateway_sends(self, *messages: str) -> None:
        self._take(SocketSend(cast(Any, self.flow.server_conn), 1, lambda: None, messages))

    def gateway_closes(self, code: int, reason: str = "") -> None:
        self._take(SocketClose(cast(Any, self.flow.server_conn), 1, lambda: None, code, reason))

    def hang_up(self) -> None:
        self._take(events.ConnectionClosed(self._context.client))

    def wake(self) -> float:
        """Let the time pass for which the layer wanted to sleep last; return how long."""
        wanted = self._of(commands.RequestWakeup)[-1]
        self._take(events.Wakeup(wanted))
        return wanted.delay

    def _of[C: commands.Command](self, kind: type[C]) -> list[C]:
        return [command for command in self.seen if isinstance(command, kind)]

    @property
    def is_closed(self) -> bool:
        """The connection is."""
        return bool(self._of(commands.CloseConnection))

    @property
    def hooks(self) -> list[type]:
        return [type(command) for command in self.seen if command.blocking]

    @property
    def shown(self) -> list[bytes]:
        assert self.flow.websocket
        return [message.content for message in self.flow.websocket.messages]

    @property
    def how_it_ended(self) -> tuple[Any, ...]:
        assert self.flow.websocket
        return self.flow.websocket.close_code, self.flow.websocket.close_reason, self.flow.websocket.closed_by_client


def last[T](items: list[T]) -> T:
    return items[-1]


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("silence_limit_s", [None, SILENCE_LIMIT_S])
def test_pings_keep_a_quiet_connection_alive(silence_limit_s: float | None) -> None:
    client = Client(silence_limit_s=silence_limit_s)
    for _ in range(5):
        assert client.wake() == PING_S
        assert client.said.pop() == Ping(b"")
        client.send(Pong(b""))
    assert not client.is_closed


def test_a_client_that_answers_no_ping_is_gone() -> None:
    client = Client(silence_limit_s=SILENCE_LIMIT_S)
    client.wake()
    assert not client.is_closed
    client.wake()
    assert client.is_closed and client.host.ended
    assert client.how_it_ended == (1006, "silent for 60 s", True)


def test_some_may_be_silent_for_any_time() -> None:
    client = Client(silence_limit_s=None)
    for _ in range(10):
        client.wake()
    assert not client.is_closed


def test_a_close_that_is_not_answered_is_one_all_the_same() -> None:
    client = Client()
    client.gateway_closes(1009, "too large")
    assert client.said.pop() == CloseConnection(1009, "too large")
    assert not client.is_closed
    assert client.wake() == LINGER_S
    assert client.is_closed
    assert client.how_it_ended == (1009, "too large", False)


def test_after_a_close_no_ping_goes_out() -> None:
    client = Client()
    (ping,) = (command for command in client.seen if isinstance(command, commands.RequestWakeup))
    client.gateway_closes(1000)
    client.said.clear()
    client._take(events.Wakeup(ping))
    assert client.said == []
    assert not client.is_closed


# ---------------------------------------------------------------- closing


def test_an_answered_close_ends_the_connection() -> None:
    client = Client()
    client.gateway_closes(1000)
    closing = last(client.said)
    assert isinstance(closing, CloseConnection)
    client.send(closing.response())
    assert client.is_closed
    assert client.how_it_ended == (1000, "", False)


def test_what_the_gateway_says_after_that_goes_nowhere() -> None:
    client = Client()
    client.gateway_closes(1000)
    client.said.clear()
    client.gateway_sends("late")
    client.gateway_closes(1011)
    assert client.said == []


def test_whoever_waits_for_a_message_to_be_taken_never_waits_for_ever() -> None:
    client, taken = Client(), []
    client.hang_up()
    client._take(SocketSend(cast(Any, client.flow.server_conn), 1, lambda: taken.append(1), ["late"]))
    assert taken == [1]


def test_hanging_up_is_no_close() -> None:
    client = Client()
    client.hang_up()
    assert client.host.ended and client.is_closed
    assert client.how_it_ended == (1006, "", True)
    assert not client.flow.live


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("text", "is_too_large"), [("x" * 100, False), ("x" * 101, True), ("ü" * 50, False), ("ü" * 51, True)]
)
def test_the_limit_counts_bytes(text: str, is_too_large: bool) -> None:
    client = Client()
    client.send(TextMessage(text))
    assert (client.host.refused, client.host.fed) == (is_too_large, [] if is_too_large else [text])


def test_after_a_message_that_is_too_large_nothing_is_heard() -> None:
    client = Client()
    client.send(TextMessage("x" * 101), TextMessage("hello"))
    assert client.host.fed == []
    client.gateway_sends("too large")
    assert last(client.said) == TextMessage("too large")


# ---------------------------------------------------------------- watchers


def test_watchers_see_everything() -> None:
    client = Client()
    client.send(TextMessage("question"))
    client.gateway_sends("one", "two")
    client.hang_up()
    assert client.hooks == [WebsocketStartHook, *[WebsocketMessageHook] * 3, WebsocketEndHook]
    assert client.shown == [b"question", b"one", b"two"]


def test_where_nobody_watches_nothing_is_kept() -> None:
    client = Client(watched=False)
    client.send(TextMessage("question"))
    client.gateway_sends("answer")
    client.hang_up()
    assert (client.hooks, client.shown) == ([], [])
    assert client.host.fed == ["question"]
    assert last(client.said) == TextMessage("answer")


@pytest.mark.parametrize(("keep_bytes", "kept"), [(0, []), (5, [b"3333"]), (8, [b"2222", b"3333"])])
def test_the_newest_messages_are_kept(keep_bytes: int, kept: list[bytes]) -> None:
    client = Client(keep_bytes=keep_bytes)
    for text in ("1111", "2222", "3333"):
        client.gateway_sends(text)
    assert client.shown == kept

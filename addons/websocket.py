"""A client's WebSocket with the gateway at its other end: the opening handshake, and mitmproxy's layer for the rest.

mitmproxy's own WebSocket layer relays between two peers, framing everything twice, and holds messages of any size. Here
frames end in the layer. What the client says goes into a `ClientSocket`, what the gateway says comes from there. The
hooks are mitmproxy's, so that messages show in mitmweb, where they can be changed, dropped and injected.
"""

import binascii
import time
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Protocol

from mitmproxy import flow, http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import (
    WebsocketEndHook,
    WebsocketMessageHook,
    WebSocketMessageInjected,
    WebsocketStartHook,
)
from mitmproxy.websocket import WebSocketMessage
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import Opcode
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import generate_accept_token, split_comma_header

from addons.client_socket import ClientSocket, SocketClose, SocketEvent, SocketSend
from cliproxy.exchange import Answer, Headers
from cliproxy.websocket import CloseCode, Conversation

PING_S = 30.0
"""Between two pings, which also keep mitmproxy and boxes on the way from closing a quiet connection."""
LINGER_S = 5.0
"""How long a client has for its part in the closing handshake."""
_KEY_BYTES = 16


def is_handshake(request: http.Request) -> bool:
    """Whether a request opens a WebSocket (RFC 6455 §4.2.1)."""
    headers = request.headers
    if request.method != "GET" or request.http_version != "HTTP/1.1" or headers.get("sec-websocket-version") != "13":
        return False
    try:
        key = b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return (
        len(key) == _KEY_BYTES and _names(headers, "upgrade", "websocket") and _names(headers, "connection", "upgrade")
    )


def _names(headers: http.Headers, name: str, token: str) -> bool:
    return token in (value.strip().lower() for value in headers.get(name, "").split(","))


def switching(request: http.Request) -> Answer:
    """The answer to an opening handshake."""
    key = request.headers["sec-websocket-key"].encode()
    headers = Headers(
        {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": generate_accept_token(key).decode(),
        }
    )
    offered = request.headers.get("sec-websocket-extensions", "").encode("ascii", "replace")
    try:
        accepted = server_extensions_handshake(split_comma_header(offered), [PerMessageDeflate()])
    except ValueError:
        accepted = None  # An offer that makes no sense; without it all works as well.
    if accepted:
        headers["sec-websocket-extensions"] = accepted.decode()
    return Answer(101, headers, b"")


def _extensions(response: http.Response) -> list[PerMessageDeflate]:
    """What the answer to the handshake promised."""
    accepted = response.headers.get("sec-websocket-extensions", "")
    if not accepted:
        return []
    deflate = PerMessageDeflate()
    deflate.finalize(accepted)
    return [deflate]


# ---------------------------------------------------------------- the layer


class SocketHost(Protocol):
    """What the layer needs of the addon that hosts the gateway."""

    watched: bool
    """Whether anyone but the gateway sees its flows."""

    @property
    def keep_bytes(self) -> int:
        """How much of a conversation's messages, the newest, its flow shows."""
        ...

    def start_conversation(self, flow: http.HTTPFlow, stream_id: int, conversation: Conversation) -> ClientSocket:
        """Begin a conversation on a socket that is open."""
        ...


class SocketLayer(layer.Layer):
    """One client's WebSocket, from the end of the opening handshake on."""

    _socket: ClientSocket

    def __init__(
        self, context: Context, flow: http.HTTPFlow, stream_id: int, conversation: Conversation, host: SocketHost
    ) -> None:
        super().__init__(context)
        assert flow.response and flow.websocket is not None
        self._flow = flow
        self._shown = flow.websocket
        self._shown_bytes = 0
        self._stream_id = stream_id
        self._conversation = conversation
        self._host = host
        self._frames = Connection(ConnectionType.SERVER, [*_extensions(flow.response)])
        self._pieces: list[Any] = []
        """Of the message that is coming: all text or all bytes."""
        self._size = 0
        self._silent_s = 0.0
        self._said_goodbye: tuple[int, str] | None = None
        """Code and reason with which this side has closed."""
        self._lingering: commands.RequestWakeup | None = None
        self._is_deaf = False
        """Nothing more is wanted of what the client says."""
        self._is_over = False

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield from self._start()
        elif not self._is_over:
            yield from self._go_on(event)
            if self._is_killed and not self._is_over:
                yield from self._end(CloseCode.ABNORMAL, "killed", by_client=False)
        if isinstance(event, SocketEvent):
            event.taken()

    def _start(self) -> layer.CommandGenerator[None]:
        if self._host.watched:
            yield WebsocketStartHook(self._flow)
        self._socket = self._host.start_conversation(self._flow, self._stream_id, self._conversation)
        yield commands.RequestWakeup(PING_S)

    def _go_on(self, event: events.Event) -> layer.CommandGenerator[None]:
        match event:
            case events.DataReceived(data=data):
                self._silent_s = 0.0
                self._frames.receive_data(data)
                yield from self._read()
            case events.ConnectionClosed():
                yield from self._end(CloseCode.ABNORMAL, "", by_client=True)
            case SocketSend(messages=messages):
                yield from self._send(messages)
            case SocketClose(code=code, reason=reason):
                yield from self._close(code, reason)
            case WebSocketMessageInjected(message=message):
                yield from self._inject(message)
            case events.Wakeup(command=command) if command is self._lingering and self._said_goodbye:
                yield from self._end(*self._said_goodbye, by_client=False)
            case events.Wakeup() if self._is_open:
                yield from self._ping()
            case _:
                pass

    @property
    def _is_open(self) -> bool:
        return self._frames.state is ConnectionState.OPEN

    @property
    def _is_killed(self) -> bool:
        return self._flow.error is not None and self._flow.error.msg == flow.Error.KILLED_MESSAGE

    # ------------------------------------------------------------ what the client says

    def _read(self) -> layer.CommandGenerator[None]:
        for event in self._frames.events():
            match event:
                case Message():
                    yield from self._take(event)
                case Ping() if self._is_open:
                    yield self._data(self._frames.send(event.response()))
                case CloseConnection():
                    yield from self._closed(event)
                case _:
                    pass
            if self._is_over:
                return

    def _take(self, piece: Message) -> layer.CommandGenerator[None]:
        """One piece of a message: frames come in slices, messages in frames."""
        if self._is_deaf:
            return
        data = piece.data
        self._pieces.append(data)
        self._size += len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        if self._size > self._conversation.max_message_bytes:
            self._is_deaf = True
            self._pieces = []
            self._socket.refuse()
        elif piece.message_finished:
            pieces, self._pieces, self._size = self._pieces, [], 0
            yield from self._hear(data[:0].join(pieces))

    def _hear(self, message: str | bytes, *, injected: bool = False) -> layer.CommandGenerator[None]:
        heard = yield from self._show(message, from_client=True, injected=injected)
        if heard is not None:
            self._socket.feed(heard)

    def _closed(self, event: CloseConnection) -> layer.CommandGenerator[None]:
        """The client closes, or what it sends are no frames."""
        if self._frames.state is ConnectionState.OPEN:
            self._socket.end()
            yield from self._close(event.code, event.reason or "")
            return
        if self._frames.state is ConnectionState.REMOTE_CLOSING:
            yield self._data(self._frames.send(event.response()))
        code, reason = self._said_goodbye or (event.code, event.reason or "")
        yield from self._end(code, reason, by_client=self._said_goodbye is None)

    # ------------------------------------------------------------ what the gateway says

    def _send(self, messages: Sequence[str], *, injected: bool = False) -> layer.CommandGenerator[None]:
        if not self._is_open:
            return
        frames: list[bytes] = []
        for message in messages:
            said = yield from self._show(message, from_client=False, injected=injected)
            if said is not None:
                frames.append(self._frames.send(TextMessage(str(said))))
        yield self._data(b"".join(frames))

    def _close(self, code: int, reason: str) -> layer.CommandGenerator[None]:
        if self._is_open:
            self._is_deaf = True
            self._said_goodbye = code, reason
            yield self._data(self._frames.send(CloseConnection(code, reason)))
            self._lingering = commands.RequestWakeup(LINGER_S)
            yield self._lingering

    def _data(self, data: bytes) -> commands.SendData:
        return commands.SendData(self.context.client, data)

    # ------------------------------------------------------------ beside the conversation

    def _show(
        self, message: str | bytes, *, from_client: bool, injected: bool
    ) -> layer.CommandGenerator[str | bytes | None]:
        """The message as whoever watches leaves it; None where it was dropped."""
        if not self._host.watched:
            return message
        is_text = isinstance(message, str)
        content = message.encode() if isinstance(message, str) else message
        shown = WebSocketMessage(Opcode.TEXT if is_text else Opcode.BINARY, from_client, content, injected=injected)
        self._shown.messages.append(shown)
        yield WebsocketMessageHook(self._flow)
        self._forget_oldest(len(shown.content))
        if shown.dropped or self._is_killed:
            return None
        return shown.content.decode("utf-8", "replace") if is_text else shown.content

    def _forget_oldest(self, added_bytes: int) -> None:
        messages = self._shown.messages
        self._shown_bytes += added_bytes
        while messages and self._shown_bytes > self._host.keep_bytes:
            self._shown_bytes -= len(messages.pop(0).content)

    def _inject(self, message: WebSocketMessage) -> layer.CommandGenerator[None]:
        text = message.content.decode("utf-8", "replace")
        if message.from_client:
            yield from self._hear(text, injected=True)
        else:
            yield from self._send([text], injected=True)

    def _ping(self) -> layer.CommandGenerator[None]:
        self._silent_s += PING_S
        limit_s = self._conversation.silence_limit_s
        if limit_s is not None and self._silent_s >= limit_s:
            yield from self._end(CloseCode.ABNORMAL, f"silent for {self._silent_s:g} s", by_client=True)
            return
        yield self._data(self._frames.send(Ping()))
        yield commands.RequestWakeup(PING_S)

    def _end(self, code: int, reason: str, *, by_client: bool) -> layer.CommandGenerator[None]:
        """The connection is of no use any more."""
        self._is_over = True
        self._socket.end()
        shown = self._shown
        shown.timestamp_end = time.time()
        shown.close_code, shown.close_reason, shown.closed_by_client = code, reason, by_client
        yield commands.CloseConnection(self.context.client)
        if self._host.watched:
            yield WebsocketEndHook(self._flow)
        self._flow.live = False

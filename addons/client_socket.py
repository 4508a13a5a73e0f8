"""The gateway's end of a client's WebSocket.

What the client says waits here; what the gateway says becomes an event for the layer in `addons.websocket`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mitmproxy.connection import Server
from mitmproxy.proxy import events
from mitmproxy.proxy.server import ConnectionHandler

from cliproxy.websocket import CloseCode, Conversation, MessageTooLarge

logger = logging.getLogger(__name__)

UNREAD_BYTES = 1024 * 1024
"""How much of what a client says may wait before nothing more is read from it."""


@dataclass
class SocketEvent(events.ConnectionEvent):
    """The gateway does something with its socket."""

    stream_id: int
    taken: Callable[[], None]
    """Called once the layer is done with it."""


@dataclass
class SocketSend(SocketEvent):
    messages: Sequence[str]

    def __repr__(self) -> str:
        return f"SocketSend({len(self.messages)})"


@dataclass
class SocketClose(SocketEvent):
    code: int
    reason: str


class ClientSocket:
    """The gateway's `Socket`, and mitmproxy's "writer" to it: nothing is read from a client while `drain` waits."""

    task: "asyncio.Task[None]"
    """The conversation."""

    def __init__(self, connection: Server, stream_id: int, handler: ConnectionHandler) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self._handler = handler
        self._messages: deque[str | bytes] = deque()
        self._unread_bytes = 0
        self._changed = asyncio.Event()
        self._read = asyncio.Event()
        self._is_awaited = False
        self._is_over = False
        self._is_leaving = False
        self._is_too_large = False

    # ------------------------------------------------------------ the layer's side

    def feed(self, message: str | bytes) -> None:
        """The client has sent a message."""
        self._messages.append(message)
        self._unread_bytes += len(message)
        self._changed.set()

    def refuse(self) -> None:
        """The client sends a message that is too large."""
        self._is_too_large = True
        self._changed.set()

    def end(self) -> None:
        """The client has closed the socket."""
        self._is_over = True
        self._changed.set()
        self._read.set()
        if not self._is_awaited:
            self.task.cancel()

    def leave(self) -> None:
        """The gateway is about to end: it answers what the client has sent, and then closes the socket."""
        self._is_leaving = True
        self._changed.set()

    # ------------------------------------------------------------ the gateway's side

    @property
    def is_leaving(self) -> bool:
        return self._is_leaving

    async def receive(self) -> str | bytes | None:
        self._is_awaited = True
        try:
            while not (self._messages or self._is_too_large or self._is_over or self._is_leaving):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._is_awaited = False
        if self._is_over:
            return None
        if self._is_leaving and not self._messages:
            return None
        if not self._messages:
            raise MessageTooLarge
        message = self._messages.popleft()
        self._unread_bytes -= len(message)
        self._read.set()
        return message

    async def send(self, *messages: str) -> None:
        taken = asyncio.Event()
        await self._tell(SocketSend(self._connection, self._stream_id, taken.set, messages), taken)
        if self._is_over:
            raise ConnectionResetError("the client has closed its WebSocket")
        client = self._handler.transports.get(self._handler.client)
        if client and client.writer:
            await client.writer.drain()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        taken = asyncio.Event()
        await self._tell(SocketClose(self._connection, self._stream_id, taken.set, code, reason), taken)

    async def _tell(self, event: SocketEvent, taken: asyncio.Event) -> None:
        await self._handler.server_event(event)
        # Someone may be looking at a message, and take his time.
        await taken.wait()

    # ------------------------------------------------------------ mitmproxy's side

    def is_closing(self) -> bool:
        return self._is_over

    async def drain(self) -> None:
        while self._unread_bytes > UNREAD_BYTES and not self._is_over:
            self._read.clear()
            await self._read.wait()


async def converse(conversation: Conversation, socket: ClientSocket) -> None:
    """Have a conversation on an open socket; what goes wrong here is our own fault."""
    try:
        await conversation.converse(socket)
        await socket.close(CloseCode.GOING_AWAY if socket.is_leaving else CloseCode.NORMAL)
    except ConnectionError:
        pass  # The client is gone.
    except Exception:
        logger.exception("the gateway failed on a WebSocket")
        await socket.close(CloseCode.OUR_FAULT, "the gateway failed; its log says more")

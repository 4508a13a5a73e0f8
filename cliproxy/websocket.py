"""A client's WebSocket as the gateway sees it: open, whole messages, no frames."""

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Protocol

from cliproxy.exchange import Answer, ClientRequest

Ask = Callable[[ClientRequest], Awaitable[Answer]]
"""Has a request answered as if it had come over HTTP."""


class CloseCode(IntEnum):
    """Why a WebSocket is closed (RFC 6455 §7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    ABNORMAL = 1006
    """Never sent: there was no closing handshake."""
    TOO_LARGE = 1009
    OUR_FAULT = 1011


class MessageTooLarge(Exception):
    """The client sends a message beyond the limit; nothing more is read of what it sends."""


class Socket(Protocol):
    """The open WebSocket. When the client closes it, whoever waits in `receive` gets None, and whoever does something
    else is cancelled."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when there will be none. Raises MessageTooLarge."""
        ...

    async def send(self, *messages: str) -> None:
        """Send text messages, and wait while the client does not read. Raises ConnectionError when it is gone."""
        ...

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake, unless it has begun."""
        ...


class Conversation(Protocol):
    """What goes on over one WebSocket."""

    @property
    def max_message_bytes(self) -> int:
        """The largest message that the client may send."""
        ...

    @property
    def silence_limit_s(self) -> float | None:
        """How long the client may say nothing, not even answer a ping, before it counts as gone; None: any time."""
        ...

    async def converse(self, socket: Socket) -> None:
        """Go on until one side has had enough."""
        ...

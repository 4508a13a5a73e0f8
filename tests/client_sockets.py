"""A client's WebSocket without a network, for conversations: what the client says is queued, what it hears is kept."""

import asyncio
import json
from typing import Any

from cliproxy.websocket import Conversation, MessageTooLarge


class ClientSocket:
    """Both ends: the gateway's, and `say`, `hear`, `leave` for the client's."""

    def __init__(self) -> None:
        self.closed: tuple[int, str] | None = None
        """Code and reason, once the gateway has closed it."""
        self._said: asyncio.Queue[str | bytes | MessageTooLarge | None] = asyncio.Queue()
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._is_gone = False

    # ------------------------------------------------------------ the gateway's end

    async def receive(self) -> str | bytes | None:
        message = await self._said.get()
        if isinstance(message, MessageTooLarge):
            raise message
        return message

    async def send(self, *messages: str) -> None:
        if self._is_gone:
            raise ConnectionResetError
        for message in messages:
            self._heard.put_nowait(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    # ------------------------------------------------------------ the client's end

    def say(self, message: Any) -> None:
        """Send JSON, or text and bytes as they are."""
        self._said.put_nowait(message if isinstance(message, str | bytes) else json.dumps(message))

    def say_too_much(self) -> None:
        """Send a message that is too large."""
        self._said.put_nowait(MessageTooLarge())

    async def hear(self) -> Any:
        """The next message."""
        return json.loads(await self._heard.get())

    def leave(self) -> None:
        """Close the socket."""
        self._is_gone = True
        self._said.put_nowait(None)


class Talking:
    """`async with Talking(conversation) as client:` has a conversation until the block ends, where the client leaves."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    async def __aenter__(self) -> ClientSocket:
        self._socket = ClientSocket()
        self._task = asyncio.create_task(self._conversation.converse(self._socket))
        return self._socket

    async def __aexit__(self, *_: object) -> None:
        self._socket.leave()
        await self._task

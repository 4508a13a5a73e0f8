"""How the program ends on a signal: it stops accepting, lets what is under way come to its end, and ends."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Set

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.utils import asyncio_utils

from addons.client_socket import ClientSocket

logger = logging.getLogger(__name__)


class GracefulStop:
    """The first signal asks for an end, the second one gets it at once."""

    def __init__(
        self,
        exchanges: Set["asyncio.Task[None]"],
        conversations: Set[ClientSocket],
        grace_s: Callable[[], float],
    ) -> None:
        """exchanges: those under way now, conversations over WebSockets among them. grace_s: how long they may take to
        come to their end."""
        self._exchanges = exchanges
        self._conversations = conversations
        self._grace_s = grace_s
        self._stopping: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        return self._stopping is not None

    def attach(self) -> None:
        """Take the place of mitmproxy's own way to end, except where the user is asked first."""
        numbers = [signal.SIGTERM] if hasattr(ctx.master, "prompt_for_exit") else [signal.SIGTERM, signal.SIGINT]
        for number in numbers:
            # Windows' event loop has no signals.
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self._stopping:
            ctx.master.shutdown()
        else:
            self._stopping = asyncio_utils.create_task(self._stop(), name="stop", keep_ref=True)

    async def _stop(self) -> None:
        ctx.options.update(server=False)
        grace_s = self._grace_s()
        if self._exchanges:
            said = "Stopping: %d exchanges have %g s to come to their end. Another signal ends them at once."
            logger.info(said, len(self._exchanges), grace_s)
        try:
            async with asyncio.timeout(grace_s):
                await self._come_to_end()
                await _flush()
        except TimeoutError:
            logger.warning("%d exchanges are broken off.", len(self._exchanges))
        ctx.master.shutdown()

    async def _come_to_end(self) -> None:
        # Clients may ask for more over the connections that they have.
        while asked := self._exchanges - {socket.task for socket in self._conversations}:
            await asyncio.wait(asked)
        # An exchange may have been answered over one of these.
        for socket in self._conversations:
            socket.leave()
        while self._exchanges:
            await asyncio.wait(set(self._exchanges))


async def _flush() -> None:
    """Wait until clients have taken what they were sent: what is left when the program ends is lost."""
    proxyserver = ctx.master.addons.get("proxyserver")
    assert isinstance(proxyserver, Proxyserver)
    for handler in list(proxyserver.connections.values()):
        connection = handler.transports.get(handler.client)
        if connection and isinstance(connection.writer, asyncio.StreamWriter):
            # Else `drain` would be content while some of it waits.
            connection.writer.transport.set_write_buffer_limits(0)
            with contextlib.suppress(ConnectionError):
                await connection.writer.drain()

"""How the program ends on a signal: it stops accepting, lets what is under way come to its end, and ends.

A client goes on asking over the connections that it has. Those of HTTP/1 are closed by the answer that says so
(`connection: close`), or once they have been quiet for a while: closing one just when its client asks again would lose
that request. Those of HTTP/2 are closed between two answers, and say which requests still counted.
"""

import asyncio
import contextlib
import logging
import selectors
import signal
import time
from collections.abc import Callable, Set

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_servers import AsyncioServerInstance
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.utils import asyncio_utils

from addons.client_socket import ClientSocket
from addons.connection import GatewayLayer, Leave

logger = logging.getLogger(__name__)

QUIET_S = 0.25
"""A client that has said nothing for so long is not about to ask just now."""
LOOK_S = 0.02
"""mitmproxy does not tell when a connection has nothing more to do."""


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
        self._writers: set[asyncio.StreamWriter] = set()
        """To clients, those that were closed included: what they have not sent when the program ends is lost."""

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
        grace_s = self._grace_s()
        try:
            async with asyncio.timeout(grace_s):
                await _stop_accepting()
                if self._exchanges:
                    said = "Stopping: %d exchanges have %g s to come to their end. Another signal ends them at once."
                    logger.info(said, len(self._exchanges), grace_s)
                await self._come_to_end()
                for writer in self._writers:
                    await _flush(writer)
        except TimeoutError:
            if self._exchanges:
                logger.warning("%d exchanges are broken off.", len(self._exchanges))
        ctx.master.shutdown()

    async def _come_to_end(self) -> None:
        is_needed = True
        while is_needed or self._exchanges:
            # Before the first look, too: what was accepted last is known only then.
            await asyncio.sleep(LOOK_S)
            is_needed = await self._leave()

    async def _leave(self) -> bool:
        """Close what can be closed now; return whether a client may wait for an answer, or be about to ask."""
        is_needed = bool(self._exchanges - {socket.task for socket in self._conversations})
        for handler in _connections():
            connection = handler.transports.get(handler.client)
            if connection and isinstance(connection.writer, asyncio.StreamWriter):
                self._writers.add(connection.writer)
            is_needed |= await _leave(handler)
        if not is_needed:
            # Not before: an exchange may have been answered over one of these.
            for socket in self._conversations:
                socket.leave()
        return is_needed

    def break_off(self) -> None:
        """Let nothing go on, and nothing begin."""
        for handler in _connections():
            connection = handler.transports.get(handler.client)
            if connection and connection.handler:
                handler.close_connection(handler.client)
        for exchange in self._exchanges:
            exchange.cancel()


async def _stop_accepting() -> None:
    listeners = [listener for listener in _proxyserver().servers if isinstance(listener, AsyncioServerInstance)]
    servers = [server for listener in listeners for server in listener._servers if isinstance(server, asyncio.Server)]
    while servers:
        # The kernel cuts off those that wait to be accepted: mitmproxy would do other things between look and close.
        for server in list(servers):
            if not _is_waited_for(server):
                server.close()
                servers.remove(server)
        await asyncio.sleep(0)
    ctx.options.update(server=False)


def _is_waited_for(server: asyncio.Server) -> bool:
    """Whether there are connections to it that are not accepted yet."""
    if not server.sockets:
        return False
    with selectors.DefaultSelector() as selector:
        for socket in server.sockets:
            selector.register(socket, selectors.EVENT_READ)
        return bool(selector.select(0))


def _connections() -> list[ConnectionHandler]:
    return list(_proxyserver().connections.values())


def _proxyserver() -> Proxyserver:
    proxyserver = ctx.master.addons.get("proxyserver")
    assert isinstance(proxyserver, Proxyserver)
    return proxyserver


async def _leave(handler: ConnectionHandler) -> bool:
    """Close a connection if nothing goes on over it; return whether it is a reason to stay."""
    layer = next((layer for layer in handler.layer.context.layers if isinstance(layer, GatewayLayer)), None)
    if layer is None:
        # Its client has not asked yet, or asks someone else.
        return time.time() - handler.client.timestamp_start < QUIET_S
    if not layer.is_free:
        return layer.is_busy
    quiet_s = time.time() - handler.timeout_watchdog.last_activity
    if quiet_s > QUIET_S or handler.client.alpn == b"h2":
        await handler.server_event(Leave())
    return True


async def _flush(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        if writer.is_closing():
            await writer.wait_closed()
        else:
            # Else `drain` would be content while some of it waits.
            writer.transport.set_write_buffer_limits(0)
            await writer.drain()

"""A network between a store and its user that can be cut."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

type Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Relay:
    """Passes connections on. Cut, it says nothing more, and closes nothing."""

    port: int

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: list[asyncio.StreamWriter] = []
        self.last_words = b""
        """Cut for answers, after this was passed on; empty: never."""

    def cut(self) -> None:
        self._flows.clear()

    def mend(self) -> None:
        """What was held up arrives."""
        self.last_words = b""
        self._flows.set()

    def reset(self) -> None:
        """Ends all connections of now; what was held up is lost."""
        for writer in self._writers:
            writer.transport.abort()
        self.mend()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await self._connect()
        self._writers += [writer, there_writer]
        await asyncio.gather(self._pass(reader, there_writer, asks=True), self._pass(there_reader, writer, asks=False))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flows.wait()
                if asks and self.last_words and self.last_words in data:
                    self.cut()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def relay(connect: Connect) -> AsyncIterator[Relay]:
    running = Relay(connect)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        running.reset()
        server.close()
        await server.wait_closed()

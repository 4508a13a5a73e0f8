"""Forward proxies on loopback for tests of `proxy-url`: HTTP (CONNECT and absolute-form) and SOCKS5.

Each records where its clients wanted to go and which credentials they showed, then carries the bytes.
"""

import asyncio
import base64
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Passage:
    """One connection that a client asked for."""

    target: str
    """`host:port` as the client named it; a name that it did not resolve itself stays a name."""
    method: str
    """`CONNECT`, the method of an absolute-form request, or `SOCKS5`."""
    credentials: str | None = None
    """`user:password`, if shown."""


class Proxy:
    """`async with HttpProxy() as proxy:` listens on `proxy.url`; `proxy.passages` is what was asked of it."""

    scheme: str
    url: str

    def __init__(self, port_of: Callable[[str], int] | None = None) -> None:
        """port_of: the port of loopback where a host name really is; None: all names are what they seem."""
        self.passages: list[Passage] = []
        self._port_of = port_of
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"{self.scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def targets(self) -> list[str]:
        return [passage.target for passage in self.passages]

    # A plain function, since asyncio would log the cancelling of a coroutine's task as a failure.
    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client or its target left; closing below tells the other one.
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _open(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._port_of:
            host, port = "127.0.0.1", self._port_of(host)
        return await asyncio.open_connection(host, port)


class HttpProxy(Proxy):
    """Answers `CONNECT`, and forwards `METHOD http://host/path` one request a connection."""

    scheme = "http"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head[:-4].split(b"\r\n")
        method, target, version = request_line.split(b" ")
        fields = [line.partition(b":")[::2] for line in lines]
        credentials = next((value for name, value in fields if name.lower() == b"proxy-authorization"), None)
        url = urlsplit(f"//{target.decode()}" if method == b"CONNECT" else target.decode())
        host, port = url.hostname or "", url.port or 80
        self.passages.append(Passage(f"{host}:{port}", method.decode(), _basic(credentials)))
        up_reader, up_writer = await self._open(host, port)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            # The next request on this connection could name another host, so there is none.
            kept = [line for line, (name, _) in zip(lines, fields, strict=True) if name.lower() not in _HOP_BY_HOP]
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            first = b"%s %s %s" % (method, path.encode(), version)
            up_writer.write(b"\r\n".join([first, *kept, b"connection: close", b"", b""]))
        await _pipe_both_ways(reader, writer, up_reader, up_writer)


_HOP_BY_HOP = {b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive"}


def _basic(value: bytes | None) -> str | None:
    return base64.b64decode(value.strip().removeprefix(b"Basic ")).decode() if value else None


class Socks5Proxy(Proxy):
    """RFC 1928 `CONNECT`, with the user name and password of RFC 1929 where the client offers them."""

    scheme = "socks5"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, method_count = await reader.readexactly(2)
        credentials = None
        if 2 in await reader.readexactly(method_count):
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user, password = [await _counted(reader) for _ in range(2)]
            credentials = f"{user.decode()}:{password.decode()}"
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        _, _, _, address_type = await reader.readexactly(4)
        match address_type:
            case 1:
                host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
            case 3:
                host = (await _counted(reader)).decode()
            case _:
                host = str(ipaddress.IPv6Address(await reader.readexactly(16)))
        port = int.from_bytes(await reader.readexactly(2))
        self.passages.append(Passage(f"{host}:{port}", "SOCKS5", credentials))
        up_reader, up_writer = await self._open(host, port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await _pipe_both_ways(reader, writer, up_reader, up_writer)


async def _counted(reader: asyncio.StreamReader) -> bytes:
    """Bytes after one byte that counts them."""
    return await reader.readexactly((await reader.readexactly(1))[0])


async def _pipe_both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes until either side ends, then close both."""
    try:
        pipes = [asyncio.create_task(_pipe(reader, up_writer)), asyncio.create_task(_pipe(up_reader, writer))]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
    finally:
        up_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()

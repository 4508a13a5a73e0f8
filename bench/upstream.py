"""The benchmark's upstream: answers from ready-made bytes, so that it is never what is being measured.

A raw asyncio protocol rather than a web framework. `python -m bench.upstream` prints its port, serves
loopback, and ends when its standard input does.
"""

import asyncio
import gc
import json
import re
import sys
from collections import Counter

from bench.formats import EVENT_STREAM_HEAD, PATHS, Format, Order, event_chunks, ordered, whole_answer

COUNTS_PATH = "/counts"
"""`GET` answers how many requests have come in each format, as JSON."""

_FORMATS: dict[bytes, Format] = {path.encode(): format for format, path in PATHS.items()}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    """One connection; `counts` is shared by all of them."""

    _transport: asyncio.Transport

    def __init__(self, counts: Counter[Format]) -> None:
        self._counts = counts
        self._buffer = b""
        self._pacing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pacing:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            head = self._buffer[:head_end]
            length = _LENGTH.search(head)
            end = head_end + int(length[1]) if length else head_end
            if len(self._buffer) < end:
                return
            body, self._buffer = self._buffer[head_end:end], self._buffer[end:]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        format = _FORMATS.get(path.partition(b"?")[0])
        if path == COUNTS_PATH.encode():
            content = json.dumps(self._counts).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))
        elif format is None or not body:
            # Chunked request bodies are not read: they show up here as missing.
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            self._counts[format] += 1
            order = ordered(body)
            if order.deltas is None:
                self._transport.write(whole_answer(format))
            else:
                self._stream(format, order, order.deltas)

    def _stream(self, format: Format, order: Order, deltas: int) -> None:
        chunks = event_chunks(format, deltas)
        self._transport.write(EVENT_STREAM_HEAD)
        if order.interval_ms:
            self._pacing = asyncio.create_task(self._pace(chunks, order.interval_ms / 1000))
        else:
            for chunk in chunks:
                self._transport.write(chunk)

    async def _pace(self, chunks: tuple[bytes, ...], interval_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for chunk in chunks:
            self._transport.write(chunk)
            due += interval_s
            await asyncio.sleep(due - loop.time())


async def serve() -> None:
    counts: Counter[Format] = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(counts), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    # Clients that are still connected are not waited for.
    await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(serve())

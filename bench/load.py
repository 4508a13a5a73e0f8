"""The load generator: clients in a closed loop that time every answer and check it.

A raw asyncio protocol, so that it takes a small part of the time of what it measures. Reads only what the
benchmark's servers send: HTTP/1.1 with a `content-length` or chunks.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import batched
from time import perf_counter

from bench.formats import Question, fault

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n")
_CONNECTING_AT_ONCE = 50  # below the listen backlog of any server


class BadAnswer(Exception):
    """The connection broke, or what came is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from sending the request to the answer's first event (or first byte of body) and to its end."""

    first_byte_s: float
    total_s: float


@dataclass(slots=True)
class Run:
    """What `drive` saw."""

    timings: list[Timing] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    """What `meter` rose by meanwhile."""

    def add(self, later: "Run") -> None:
        self.timings += later.timings
        self.faults += later.faults
        self.elapsed_s += later.elapsed_s
        self.cpu_s += later.cpu_s


class Connection(asyncio.Protocol):
    """One client's connection, for one question at a time."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._answer: asyncio.Future[float] | None = None

    @classmethod
    async def open(cls, port: int) -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def close(self) -> None:
        self._transport.close()

    async def ask(self, asked: Question) -> Timing:
        """Send a question and return when its answer is complete and right; raises BadAnswer if it is not."""
        status, body, timing = await self.exchange(asked.payload)
        if problem := fault(asked, status, body):
            raise BadAnswer(problem)
        return timing

    async def exchange(self, payload: bytes) -> tuple[int, bytes, Timing]:
        """Send one HTTP request; return the status and body of its answer. Raises BadAnswer if it breaks off."""
        if self._transport.is_closing():
            raise BadAnswer("connection lost")
        self._received = bytearray()
        self._body_start, self._length, self._first_s = 0, -1, 0.0
        self._answer = asyncio.get_running_loop().create_future()
        begun_s = perf_counter()
        self._transport.write(payload)
        ended_s = await self._answer
        body = bytes(self._received[self._body_start :])
        if self._length < 0:
            body = dechunked(body)
        return int(self._received[9:12]), body, Timing(self._first_s - begun_s, ended_s - begun_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(BadAnswer("connection lost"))

    def data_received(self, data: bytes) -> None:
        now_s = perf_counter()
        if self._answer is None or self._answer.done():
            return
        self._received += data
        if not self._body_start and not self._read_head():
            return
        if not self._first_s and self._received.find(b"data:" if self._length < 0 else b"", self._body_start) >= 0:
            self._first_s = now_s
        if self._length < 0:
            complete = self._received.endswith(b"\r\n0\r\n\r\n")
        else:
            complete = len(self._received) >= self._body_start + self._length
        if complete:
            self._first_s = self._first_s or now_s
            self._answer.set_result(now_s)

    def _read_head(self) -> bool:
        self._body_start = self._received.find(b"\r\n\r\n") + 4
        if self._body_start < 4:
            self._body_start = 0
            return False
        if length := _LENGTH.search(self._received, 0, self._body_start):
            self._length = int(length[1])
        return True


def dechunked(body: bytes) -> bytes:
    """The content of a chunked body that ends with its last chunk; raises BadAnswer if the chunks do not add up."""
    content, position = bytearray(), 0
    while size := _CHUNK_SIZE.match(body, position):
        start, length = size.end(), int(size[1], 16)
        position = start + length + 2
        if body[position - 2 : position] != b"\r\n":
            break
        if not length:
            return bytes(content)
        content += body[start : position - 2]
    raise BadAnswer("broken chunks")


class Clients:
    """Connections to one server that stay open between the questions."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[Connection] = []

    async def open(self, count: int, first: Question | None = None) -> None:
        """Connect. `first` is asked once on each connection, so that nothing of its setting up is left to be timed.

        Raises OSError if the server cannot be reached, BadAnswer for a wrong answer.
        """
        for wave in batched(range(count), _CONNECTING_AT_ONCE):
            self._connections += await asyncio.gather(*(Connection.open(self._port) for _ in wave))
        if first:
            await asyncio.gather(*(connection.ask(first) for connection in self._connections))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def drive(
        self, asked: Question, count: int, *, limit_s: float = 60.0, meter: Callable[[], float] = lambda: 0.0
    ) -> Run:
        """Ask `count` times, each client again when it is answered. What is unfinished after `limit_s` is a fault.

        `meter` is a clock of CPU seconds, read together with the clock on the wall.
        """
        run = Run()
        left = count

        async def client(position: int) -> None:
            nonlocal left
            while left:
                left -= 1
                connection = self._connections[position]
                try:
                    run.timings.append(await connection.ask(asked))
                except BadAnswer as problem:
                    run.faults[str(problem)] += 1
                    connection.close()
                    self._connections[position] = await Connection.open(self._port)

        begun_s, metered_s = perf_counter(), meter()
        tasks = [asyncio.create_task(client(position)) for position in range(len(self._connections))]
        done, pending = await asyncio.wait(tasks, timeout=limit_s)
        run.elapsed_s, run.cpu_s = perf_counter() - begun_s, meter() - metered_s
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            if error := task.exception():
                run.faults[f"{type(error).__name__}: {error}"] += 1
        if missing := count - len(run.timings) - run.faults.total():
            run.faults["unfinished"] += missing
        return run

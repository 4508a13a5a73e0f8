"""The load generator: clients in a closed loop that time every answer and check it.

A raw asyncio protocol, so that it takes a small part of the time of what it measures. Reads only what the
benchmark's servers send: HTTP/1.1 with a `content-length` or chunks.
"""

import asyncio
import re
from collections import Counter
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
        if (
            not self._first_s
            and self._received.find(b"data:" if self._length < 0 else b"", self._body_start) >= 0
        ):
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


async def drive(port: int, asked: Question, *, clients: int, count: int, limit_s: float = 60.0) -> Run:
    """Ask a question `count` times from `clients` connections at once, each asking again when it is answered.

    Connections are open before the clock starts. What is unfinished after `limit_s` counts as a fault.
    """
    run = Run()
    left = count

    async def client(connection: Connection) -> None:
        nonlocal left
        while left:
            left -= 1
            try:
                run.timings.append(await connection.ask(asked))
            except BadAnswer as problem:
                run.faults[str(problem)] += 1
                connection.close()
                connection = await Connection.open(port)
        connection.close()

    connections: list[Connection] = []
    try:
        for wave in batched(range(clients), _CONNECTING_AT_ONCE):
            connections += await asyncio.gather(*(Connection.open(port) for _ in wave))
    except OSError as problem:
        return Run(faults=Counter({f"cannot connect: {problem}": count}))
    begun_s = perf_counter()
    tasks = [asyncio.create_task(client(connection)) for connection in connections]
    done, pending = await asyncio.wait(tasks, timeout=limit_s)
    run.elapsed_s = perf_counter() - begun_s
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for connection in connections:
        connection.close()
    for task in done:
        if error := task.exception():
            run.faults[f"{type(error).__name__}: {error}"] += 1
    if missing := count - len(run.timings) - run.faults.total():
        run.faults["unfinished"] += missing
    return run

"""The load generator times right answers and counts wrong ones, against the benchmark's own upstream."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from bench.formats import PATHS, Format, Order, Question, question
from bench.load import BadAnswer, Clients, Connection, Run, dechunked
from bench.upstream import Upstream
from tests import upstream as scripted
from tests.answers import Answer


async def drive(port: int, asked: Question, *, clients: int, count: int, limit_s: float = 60.0) -> Run:
    with closing(Clients(port)) as opened:
        await opened.open(clients)
        return await opened.drive(asked, count, limit_s=limit_s)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    counts: Counter[Format] = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(counts), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("format", list(PATHS))
@pytest.mark.parametrize("order", [Order(), Order(200), Order(5, 1)])
async def test_every_question_is_answered_and_timed(port: int, format: Format, order: Order) -> None:
    run = await drive(port, question(format, order, port), clients=3, count=10)
    assert not run.faults
    assert len(run.timings) == 10
    assert all(0 < timing.first_byte_s <= timing.total_s for timing in run.timings)
    # The first of seven chunks goes out at once, each other one an interval after the one before.
    assert all(timing.total_s > order.interval_ms * 0.0059 for timing in run.timings)


async def test_wrong_answers_are_counted_and_the_client_goes_on() -> None:
    async with scripted.Upstream() as upstream:
        good = Answer(body=b"amber")
        upstream.script(good, Answer(status=503), Answer(body=[b"am"], cut=True), Answer(raw=b""), Answer(), good)
        run = await drive(upstream.port, question("openai-chat", Order(), upstream.port), clients=1, count=6)
    assert len(run.timings) == 2
    assert run.faults == {"status 503": 1, "connection lost": 2, "0 of 1 deltas": 1}


async def test_what_is_never_answered_counts_as_unfinished() -> None:
    async with scripted.Upstream() as upstream:
        upstream.script(*[Answer(hang=True)] * 2)
        run = await drive(
            upstream.port, question("openai-chat", Order(), upstream.port), clients=2, count=5, limit_s=0.05
        )
    assert run.faults == {"unfinished": 5}


async def test_only_what_comes_after_the_first_question_is_timed_and_metered(port: int) -> None:
    seconds = iter([1.5, 4.0, 7.0, 7.25])
    asked = question("anthropic", Order(), port)
    with closing(Clients(port)) as clients:
        await clients.open(3, first=asked)
        run = await clients.drive(asked, 5, meter=lambda: next(seconds))
        run.add(await clients.drive(asked, 2, meter=lambda: next(seconds)))
    assert (len(run.timings), run.cpu_s) == (7, 2.75)


async def test_a_server_that_answers_wrongly_at_first_or_not_at_all_cannot_be_driven() -> None:
    async with scripted.Upstream() as upstream:
        asked = question("openai-chat", Order(), upstream.port)
        upstream.script(Answer(status=500))
        with closing(Clients(upstream.port)) as clients, pytest.raises(BadAnswer, match="status 500"):
            await clients.open(1, first=asked)
    with closing(Clients(upstream.port)) as clients, pytest.raises(OSError, match="failed"):
        await clients.open(2)


async def test_an_answer_may_come_in_any_slices() -> None:
    message = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=1\r\ndata:\r\n3\r\n 10\r\n0\r\n\r\n"

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        for byte in message:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    async with server:
        connection = await Connection.open(server.sockets[0].getsockname()[1])
        status, body, timing = await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")
        connection.close()
    assert (status, body) == (200, b"data: 10")
    assert timing.first_byte_s <= timing.total_s


@pytest.mark.parametrize("body", [b"", b"5\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n", b"x\r\n\r\n"])
def test_chunks_that_do_not_add_up_are_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="broken chunks"):
        dechunked(body)

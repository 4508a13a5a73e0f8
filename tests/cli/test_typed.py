"""Lines from a terminal, a pipe and a file; the terminal shows nothing of them, and is left as it was."""

import asyncio
import os
import termios
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from cliproxy.cli.typed import Typed, is_ours


@contextmanager
def _pair(first: int, second: int) -> Iterator[tuple[int, int]]:
    try:
        yield first, second
    finally:
        for descriptor in (first, second):
            os.close(descriptor)


async def _next(typed: Typed) -> str:
    async with aclosing(typed.lines()) as lines:
        return await anext(lines)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"test-code-1\n", "test-code-1"),
        (b"test-code-1\r", "test-code-1"),
        (b"https://localhost/?code=\nab12&sta\r\nte=st_1\n", "https://localhost/?code=ab12&state=st_1"),
        (b"wrong\x15right\n", "right"),
        (b"cod\x7f\x08e\n", "ce"),
        (b"\x1b[A\x07x\n", "[Ax"),
        ("é\n".encode(), "é"),
        (b"x" * 20_000 + b"\n", "x" * 20_000),
    ],
)
async def test_a_line_of_a_terminal(keys: bytes, line: str) -> None:
    with _pair(*os.openpty()) as (controller, terminal):
        reading = asyncio.create_task(_next(Typed(terminal)))
        await asyncio.sleep(0)  # so that it has the terminal before anything is typed
        typing = asyncio.create_task(asyncio.to_thread(_write, controller, keys))
        assert await reading == line
        await typing


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


async def test_a_terminal_shows_nothing_and_is_left_as_it_was() -> None:
    with _pair(*os.openpty()) as (controller, terminal):
        before = termios.tcgetattr(terminal)
        reading = asyncio.create_task(_next(Typed(terminal)))
        await asyncio.sleep(0)
        os.write(controller, b"test-secret\n")
        await reading
        assert termios.tcgetattr(terminal) == before
        os.set_blocking(controller, False)
        with pytest.raises(BlockingIOError):
            os.read(controller, 100)


async def test_who_stops_waiting_leaves_the_terminal_as_it_was() -> None:
    with _pair(*os.openpty()) as (_, terminal):
        before = termios.tcgetattr(terminal)
        reading = asyncio.create_task(_next(Typed(terminal)))
        await asyncio.sleep(0)
        assert not termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ICANON)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert termios.tcgetattr(terminal) == before


async def test_waiting_for_more_holds_nothing_up() -> None:
    with _pair(*os.openpty()) as (controller, terminal):
        lines = Typed(terminal).lines()
        first = asyncio.create_task(anext(lines))
        await asyncio.sleep(0)
        os.write(controller, b"first\n")
        assert await first == "first"
        second = asyncio.create_task(anext(lines))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done()
        second.cancel()
        await asyncio.wait([second])


async def test_lines_of_a_pipe_until_it_ends() -> None:
    reader, writer = os.pipe()
    try:
        lines = Typed(reader).lines()
        os.write(writer, b"first\n")
        assert await anext(lines) == "first"
        os.write(writer, b"last")
        os.close(writer)
        assert [line async for line in lines] == ["last"]
    finally:
        os.close(reader)


@pytest.mark.parametrize(("content", "expected"), [(b"test-code-1\n", ["test-code-1"]), (b"", []), (None, [])])
async def test_a_file_or_the_null_device(tmp_path: Path, content: bytes | None, expected: list[str]) -> None:
    path = Path(os.devnull) if content is None else tmp_path / "answer"
    if content is not None:
        path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert [line async for line in Typed(descriptor).lines()] == expected
    finally:
        os.close(descriptor)


def test_a_pipe_is_ours() -> None:
    with _pair(*os.pipe()) as (reader, _):
        assert is_ours(reader)

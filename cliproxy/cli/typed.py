"""What the user types or pastes while other output is live: unseen, of any length, and without waiting for it."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

_PIECE_BYTES = 65_536
_ERASE, _KILL = "\x08\x7f", "\x15"


class Typed:
    """Lines of a terminal, a pipe or a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = ""

    @property
    def pending_chars(self) -> int:
        """How much has been typed of the line that is not complete."""
        return len(self._pending)

    async def lines(self) -> AsyncGenerator[str]:
        """Until the input ends. Line breaks in what is pasted at once are no ends of lines: terminals break long
        addresses."""
        with _unseen(self._descriptor):
            async for piece in self._pieces():
                for character in piece.decode("utf-8", "replace"):
                    self._type(character)
                if piece.endswith((b"\n", b"\r")):
                    yield self._pending
                    self._pending = ""
        if self._pending:
            yield self._pending

    def _type(self, character: str) -> None:
        if character in _ERASE:
            self._pending = self._pending[:-1]
        elif character == _KILL:
            self._pending = ""
        elif character.isprintable():
            self._pending += character

    async def _pieces(self) -> AsyncGenerator[bytes]:
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[bytes]()

        def read() -> None:
            # Nowhere but here: at any other time there may be nothing, and reading would hold up the loop.
            try:
                pieces.put_nowait(os.read(self._descriptor, _PIECE_BYTES))
            except OSError:  # the terminal is gone
                pieces.put_nowait(b"")

        try:
            loop.add_reader(self._descriptor, read)
        except (OSError, NotImplementedError):  # a file, which is always readable
            while piece := os.read(self._descriptor, _PIECE_BYTES):
                yield piece
            return
        try:
            while piece := await pieces.get():
                yield piece
        finally:
            loop.remove_reader(self._descriptor)


def is_ours(descriptor: int) -> bool:
    """Whether we may read: a job in the background that reads from its terminal is stopped."""
    if sys.platform == "win32" or not os.isatty(descriptor):
        return True
    return os.tcgetpgrp(descriptor) == os.getpgrp()


@contextmanager
def _unseen(descriptor: int) -> Iterator[None]:
    """A terminal that shows nothing of what is typed, and passes it on at once. Its line editing would also cut lines
    at 4096 characters. Ctrl-C stays what it is."""
    if sys.platform == "win32" or not os.isatty(descriptor):
        yield
        return
    import termios  # which Windows does not have

    before = termios.tcgetattr(descriptor)
    raw = termios.tcgetattr(descriptor)
    raw[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""The thread that writes log files. Nobody waits for it: what it cannot keep up with is dropped and counted."""

import logging
import os
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

MAX_WAITING = 64
"""Pieces of work; each may hold the bodies of one exchange."""
GATHERED_S = 0.25
"""How long work gathers, so that the thread does not wake for each line."""


class Writer:
    """Does work in the order in which it came. The thread begins with the first piece."""

    def __init__(self) -> None:
        self.trouble = ""
        """Why nothing can be written at the moment; empty when all is well."""
        self.lost = 0
        """Pieces of work that were given up: too many waited, or the disk refused them."""
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(MAX_WAITING)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Pieces of work."""
        return self._queue.qsize()

    def put(self, work: Callable[[], None]) -> bool:
        """Have it done; whether there was room. What it raises is told once and harms nobody."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self.lost += 1
            return False
        if self._thread is None:
            self._ending.clear()
            self._thread = threading.Thread(target=self._run, name="log files", daemon=True)
            self._thread.start()
        return True

    def close(self) -> None:
        """Do what is left, and end. Blocks until then, which is a moment."""
        if self._thread:
            self._ending.set()
            self._queue.put(_nothing)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not (self._ending.is_set() and self._queue.empty()):
            work = self._queue.get()
            self._ending.wait(GATHERED_S)
            self._do(work)
            while not self._queue.empty():
                self._do(self._queue.get())

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.lost += 1
            # Not with each piece: what is logged here may itself be work for this thread.
            self._tell((isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}")
        else:
            if work is not _nothing and self.trouble:
                self.trouble = ""
                logger.warning("log files are written again")

    def _tell(self, trouble: str) -> None:
        if self.trouble != trouble:
            self.trouble = trouble
            logger.warning("log files cannot be written: %s", trouble)


def private(path: str, flags: int) -> int:
    """Opens a file that only its owner may read: an `opener`."""
    return os.open(path, flags, 0o600)


def _nothing() -> None:
    """Wakes the thread."""

"""The newest records of the program's log, kept in memory for whoever looks, and told to those who listen."""

import asyncio
import logging
from collections import deque
from itertools import count
from typing import NamedTuple, override

from cliproxy.management.feed import Feed

MAX_RECORDS = 2_000
MAX_CHARS = 8_000
"""Of one record's text; tracebacks are long."""


class LogRecord(NamedTuple):
    seq: int
    time_s: float
    """UTC epoch seconds."""
    level: str
    logger: str
    text: str


class RecentLog(logging.Handler):
    """Put on the root logger it gets what mitmproxy and the gateway log, from whichever thread."""

    def __init__(self, feed: Feed, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._feed = feed
        self._records: deque[LogRecord] = deque(maxlen=MAX_RECORDS)
        self._numbers = count(1)
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Begin. Call it on the event loop of the feed."""
        self._loop = asyncio.get_running_loop()
        logging.getLogger().addHandler(self)

    def detach(self) -> None:
        logging.getLogger().removeHandler(self)

    def newest(self, limit: int) -> list[LogRecord]:
        """The newest records, oldest first."""
        return list(self._records)[-limit:]

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        kept = LogRecord(next(self._numbers), record.created, record.levelname, record.name, text[:MAX_CHARS])
        self._records.append(kept)
        if self._feed.wants("log") and self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._feed.publish, "log", "log", kept._asdict())

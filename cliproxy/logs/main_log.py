"""The program's log in files: `main.log`, and what it was before under the time of its end."""

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import override

from cliproxy.inspection.redaction import Redactor
from cliproxy.logs.writer import Writer, private

NAME = "main.log"
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_LINES_WAITING = 10_000
"""Of more, the oldest are given up."""


class MainLog(logging.Handler):
    """Put on the root logger it gets what mitmproxy and the gateway log, from whichever thread."""

    def __init__(self, folder: Path, writer: Writer, rotated: Callable[[], None], level: int = logging.INFO) -> None:
        """rotated: called by the writing thread when there is one more file."""
        super().__init__(level)
        self._rotated = rotated
        self._path = folder / NAME
        self._writer = writer
        self._redactor = Redactor()
        self._lines: deque[str] = deque(maxlen=MAX_LINES_WAITING)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        is_first = not self._lines
        self._lines.append(f"[{moment}] [{record.levelname.lower()}] [{record.name}] {text}")
        if is_first:
            self._writer.put(self._write)

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        data = "".join(f"{self._redactor.text(line)}\n" for line in lines).encode("utf-8", "replace")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._path, "ab", opener=private) as file:
            file.write(data)
            size = file.tell()
        if size > MAX_FILE_BYTES:
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            self._path.rename(self._path.with_name(f"main-{stamp}-{time.monotonic_ns() % 1_000_000:06}.log"))
            self._rotated()

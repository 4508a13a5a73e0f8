"""Log files as the config wants them: the program's log, a file of each request or of those that failed, and limits."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from cliproxy.config.schema import Config
from cliproxy.exchange import CLIENT_LEFT, Exchange, NoObserver, Observer
from cliproxy.inspection.redaction import Redactor
from cliproxy.logs.main_log import NAME, MainLog
from cliproxy.logs.recording import Recording
from cliproxy.logs.request_file import Section, sections, text
from cliproxy.logs.writer import Writer, private

CAPTURE_S = 30.0
"""How long requests are captured when someone asks for that."""
MIB = 1024 * 1024
_PRUNED_EVERY_S = 5.0
_OURS = re.compile(r"main-.+\.log|.+-[0-9a-f]{32}\.log")
_ERROR = re.compile(r"error-.+\.log")
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


class Logs:
    """Lives as long as the program, on its event loop."""

    def __init__(
        self, folder: Path, secrets: Callable[[], Collection[str]], clock: Callable[[], float] = time.time
    ) -> None:
        """secrets: those that are known now. clock: UTC epoch seconds."""
        self.folder = folder
        self.writer = Writer()
        self._secrets = secrets
        self._clock = clock
        self._config = Config()
        self._main: MainLog | None = None
        self._captures_until_s = 0.0
        self._pruned_s = 0.0

    def configure(self, config: Config) -> None:
        """Another configuration is in force."""
        self._config = config
        self._unhook()
        if config.logging_to_file:
            level = logging.DEBUG if config.debug else logging.INFO
            self._main = MainLog(self.folder, self.writer, partial(self._prune, at_once=True), level)
            logging.getLogger().addHandler(self._main)

    def close(self) -> None:
        """Write what is left, and end. Blocks."""
        self._unhook()
        self.writer.close()

    def _unhook(self) -> None:
        if self._main:
            logging.getLogger().removeHandler(self._main)
            self._main = None

    # ------------------------------------------------------------ single requests

    @property
    def captures_until_s(self) -> float | None:
        """Until when requests are captured, whether `request-log` is on or not; None: they are not."""
        return self._captures_until_s if self._captures_until_s > self._clock() else None

    def capture(self, duration_s: float) -> None:
        """Write a file of each request that begins from now on; 0 ends that."""
        self._captures_until_s = self._clock() + duration_s

    def recording(self, other: Observer | None) -> Recording:
        """What watches an exchange that begins now, beside another observer."""
        is_full = self._config.request_log or self.captures_until_s is not None
        return Recording(other or NoObserver(), is_full=is_full)

    def settled(self, exchange: Exchange) -> None:
        """A call of a model is over."""
        recording = exchange.observer
        if not isinstance(recording, Recording):
            return
        failed = (exchange.status >= 400 or bool(exchange.error)) and exchange.error != CLIENT_LEFT
        if failed or recording.is_full:
            # The gateway gives its answer back within this step of the loop.
            asyncio.get_running_loop().call_soon(self._write_soon, exchange, recording, failed)

    def _write_soon(self, exchange: Exchange, recording: Recording, failed: bool) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(exchange.started_s))
        route = _UNSAFE.sub("-", exchange.request.path).strip("-")[:60]
        name = f"{'error-' if failed else ''}{route}-{stamp}-{exchange.id}.log"
        parts, secrets = sections(exchange, recording), self._secrets()
        self.writer.put(partial(self._write, name, parts, secrets, failed))

    def _write(self, name: str, parts: list[Section], secrets: Collection[str], failed: bool) -> None:
        path = self.folder / name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(path, "wb", opener=private) as file:
                file.write(text(parts, Redactor(secrets)))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            self._prune(at_once=failed)

    def _prune(self, *, at_once: bool) -> None:
        """Remove the oldest files beyond what is to be kept."""
        now_s = time.monotonic()
        if not at_once and now_s - self._pruned_s < _PRUNED_EVERY_S:
            return
        self._pruned_s = now_s
        prune(self.folder, self._config.logs_max_total_size_mb * MIB, self._config.error_logs_max_files)


def prune(folder: Path, max_bytes: int, max_errors: int) -> None:
    """Remove the oldest files of ours beyond a size in all (the log that is written counts) and a number of errors.

    0: without limit. Raises OSError.
    """
    found = [(entry.stat(), entry) for entry in folder.iterdir() if _OURS.fullmatch(entry.name) or entry.name == NAME]
    found.sort(key=lambda file: file[0].st_mtime_ns, reverse=True)
    errors = used = 0
    for stat, path in found:
        used += stat.st_size
        errors += bool(_ERROR.fullmatch(path.name))
        is_surplus = bool(max_errors) and errors > max_errors and _ERROR.fullmatch(path.name)
        if path.name != NAME and (is_surplus or (max_bytes and used > max_bytes)):
            path.unlink(missing_ok=True)
            used -= stat.st_size

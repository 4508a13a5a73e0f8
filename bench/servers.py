"""Child processes of the benchmark: starts them on free loopback ports, reads their costs, ends them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_MITMDUMP = (sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()")
_LISTENING = re.compile(r"listening at \S*?:(\d+)\.")
_START_LIMIT_S = 30.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class NotStarted(Exception):
    """A server did not come up; says what it printed last."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running child process that listens on `127.0.0.1:port`."""

    port: int
    pid: int
    log: Path | None = None

    def cpu_s(self) -> float:
        """User and system time so far of the process, and of its children whether they live or not."""
        return sum(sum(map(int, _stat(pid)[11:15])) for pid in _tree(self.pid)) / _TICKS_PER_S

    def memory_bytes(self) -> int:
        """Resident memory of the process and its children."""
        return sum(int(_stat(pid)[21]) for pid in _tree(self.pid)) * _PAGE_BYTES

    def log_tail(self) -> str:
        """What it printed last."""
        return _tail(self.log) if self.log else ""


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the command's name, which may itself hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            yield from _tree(int(child))


@contextmanager
def upstream() -> Iterator[Server]:
    """The mock upstream."""
    command = [sys.executable, "-m", "bench.upstream"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        try:
            port = process.stdout.readline().strip()
            if not port.isdigit():
                raise NotStarted("the mock upstream printed no port")
            yield Server(int(port), process.pid)
        finally:
            _end(process)


@contextmanager
def mitmdump(folder: Path, mode: str, script: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """`mitmdump` in reverse mode with one script, its settings and its home in `folder`.

    Raises NotStarted with the end of its log if it does not listen within half a minute.
    """
    folder.mkdir()
    log = folder / "log.txt"
    settings = ["flow_detail=0", f"confdir={folder / 'mitmproxy'}", *options]
    command = [*_MITMDUMP, "--mode", f"{mode}@127.0.0.1:0", "-s", str(script)]
    for setting in settings:
        command += ["--set", setting]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield Server(_listening_port(process, log), process.pid, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()


def _environment(home: Path) -> dict[str, str]:
    """This environment without proxies, and with a home of its own, so that no login or setting is found."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("XDG_")
    }
    # Into a file, the log would come only when the process ends.
    return kept | {"HOME": str(home), "PYTHONUNBUFFERED": "1"}


def _listening_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        printed = log.read_text(encoding="utf-8", errors="replace")
        if listening := _LISTENING.search(printed):
            return int(listening[1])
        if process.poll() is not None:
            raise NotStarted(f"exit status {process.returncode}\n{_tail(log)}")
        time.sleep(0.05)
    raise NotStarted(f"not listening after {_START_LIMIT_S:.0f} s\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])

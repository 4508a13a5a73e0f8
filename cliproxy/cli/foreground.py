"""Runs a program in this one's place in the terminal, as a shell's job would run without this one in between.

Both are of one process group, so what the terminal sends (Ctrl-C, a change of its size) reaches the program without
help. What is sent to this process alone is passed on; when the program stops, this one stops too, so that the shell
notices and can continue both.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end; return the exit code that a shell would show: its own, or 128 and its signal's number.

    One that cannot be started is told on stderr, and its exit code is 127 or 126.
    """
    child = _Child()
    with _handling(child):
        try:
            child.process = subprocess.Popen(command, env=dict(environment))
        except OSError as error:
            print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        return child.wait()


class _Child:
    """The program, and what this process was sent for it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def send(self, number: int) -> None:
        if self.process is None:
            self._early.append(number)
        elif self.process.returncode is None:
            # Not `send_signal`, which would take the exit status away from `wait`.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def wait(self) -> int:
        assert self.process
        for number in self._early:
            self.send(number)
        waiting = 0
        while True:
            found, status = os.waitpid(self.process.pid, os.WUNTRACED | os.WCONTINUED | waiting)
            waiting = 0
            if not found:
                self.send(signal.SIGCONT)
            elif os.WIFSTOPPED(status):
                os.kill(os.getpid(), signal.SIGSTOP)
                # This process was continued. A shell has continued the program too, which is then known already.
                waiting = os.WNOHANG
            elif not os.WIFCONTINUED(status):
                code = self.process.returncode = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _handling(child: _Child) -> Iterator[None]:
    """Have this process's signals passed on. Handlers, since what is ignored here would stay ignored in the program."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send(number)

    def pass_on_from_elsewhere(number: int, frame: FrameType | None) -> None:
        if not _has_terminal():
            child.send(number)

    def leave(number: int, frame: FrameType | None) -> None:
        """The program stops, and this one with it."""

    handlers = {
        **dict.fromkeys(_PASSED_ON, pass_on),
        **dict.fromkeys(_OF_THE_TERMINAL, pass_on_from_elsewhere),
        signal.SIGTSTP: leave,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Whether the terminal's keys reach this process and the program by themselves."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)

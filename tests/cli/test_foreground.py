"""Programs in the foreground: exit codes, signals and job control, as if nothing stood in between."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.processes import ROOT

WRAPPER = "import os, sys; from cliproxy.cli import foreground; sys.exit(foreground.run(sys.argv[1:], os.environ))"
STARTER = (sys.executable, "-c", WRAPPER)


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program behind the wrapper, away from the terminal that the tests may have."""
    process = subprocess.Popen(
        [*STARTER, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def ended(*command: str) -> tuple[int, str, str]:
    with started(*command) as process:
        output, errors = process.communicate()
        return process.returncode, output, errors


@pytest.mark.parametrize("code", [0, 1, 77])
def test_the_exit_code_is_the_programs(code: int) -> None:
    assert ended("sh", "-c", f"exit {code}") == (code, "", "")


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "ABRT"])
def test_a_signals_end_is_told_as_a_shell_tells_it(name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    assert ended("sh", "-c", f"kill -{name} $$")[0] == 128 + number


def test_a_program_that_is_not_there_is_127() -> None:
    code, output, errors = ended("no-such-program")
    assert (code, output) == (127, "")
    assert errors == "no-such-program cannot be started: No such file or directory\n"


def test_a_program_that_cannot_be_run_is_126(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("words", "utf-8")
    assert ended(str(file))[0] == 126
    file.chmod(0o755)
    code, _, errors = ended(str(file))
    assert (code, errors) == (126, f"{file} cannot be started: Exec format error\n")


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1"])
def test_signals_are_passed_on(name: str) -> None:
    with started("sh", "-c", f"trap 'echo got {name}; exit 9' {name}; echo ready; read line") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.readline() == f"got {name}\n"
        assert process.wait() == 9


def test_the_program_finds_signals_as_they_were() -> None:
    script = "import signal as s; print([s.getsignal(n) is s.SIG_DFL for n in (s.SIGTERM, s.SIGTSTP, s.SIGHUP, s.SIGQUIT)], s.getsignal(s.SIGINT) is s.default_int_handler)"
    assert ended(sys.executable, "-c", script)[1] == "[True, True, True, True] True\n"


def test_what_stops_the_program_stops_its_starter_and_both_go_on() -> None:
    with started("sh", "-c", "echo before; kill -STOP $$; echo after; exit 5") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate()
        assert (process.returncode, output) == (5, "before\nafter\n")


def test_input_and_output_are_the_programs_own() -> None:
    with started("sh", "-c", "cat; echo wrong >&2") as process:
        assert process.communicate("words\n") == ("words\n", "wrong\n")


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A program that tells of the terminal's signals, behind the wrapper."""
    path = tmp_path / "program"
    path.write_text(
        "import os, signal, sys\n"
        "def told(number, frame):\n"
        "    os.write(1, f'told {signal.Signals(number).name}\\n'.encode())\n"
        "signal.signal(signal.SIGINT, told)\n"
        "signal.signal(signal.SIGCONT, told)\n"
        "print('terminal', all(map(os.isatty, range(3))), flush=True)\n"
        "for line in sys.stdin:\n"
        "    print('line', line.strip(), flush=True)\n"
        "    if line == 'end\\n':\n"
        "        sys.exit(7)\n",
        "utf-8",
    )
    return shlex.join([*STARTER, sys.executable, str(path)])


async def test_in_a_terminal_keys_reach_the_program_once_and_jobs_are_controlled(tmp_path: Path, script: str) -> None:
    if not shutil.which("tmux") or not shutil.which("bash"):
        pytest.skip("needs tmux and bash")
    environment = {"PATH": os.environ["PATH"], "TERM": "screen", "PS1": "ready> ", "PYTHONPATH": str(ROOT)}
    async with Terminal(tmp_path, ["bash", "--norc", "--noprofile", "-i"], ROOT, environment) as terminal:
        await terminal.shows("ready>")
        await terminal.type(script)
        await terminal.press("Enter")
        await terminal.shows("terminal True")
        await terminal.press("C-c")
        await terminal.shows("told SIGINT")
        await terminal.press("C-z")
        await terminal.shows(r"Stopped")
        await terminal.type("jobs | wc -l; fg; echo code: $?")
        await terminal.press("Enter")
        await terminal.shows("told SIGCONT")
        await terminal.type("end")
        await terminal.press("Enter")
        await terminal.shows("line end")
        await terminal.shows("code: 7")
        screen = await terminal.screen()
        assert (screen.count("told SIGINT"), screen.count("told SIGCONT")) == (1, 1)
        assert "Traceback" not in screen

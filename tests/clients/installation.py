"""Where the client programs live, and how they get there: the harness's `setup.sh`, run once per machine."""

import fcntl
import os
import pwd
import subprocess
import sys
from pathlib import Path

_PROGRAMS = (
    "npm-claude/node_modules/@anthropic-ai/claude-code-linux-x64/claude",
    "npm/node_modules/.bin/codex",
    "npm-g/node_modules/.bin/gemini",
    "npm-g/node_modules/.bin/qwen",
    "node22/bin/node",
)
_PYTHON = "venv/bin/python"
_MODULES = ("aiohttp", "anthropic", "brotli", "google.genai", "openai", "zstandard")
_INSTALL_LIMIT_S = 15 * 60


class NotInstalled(Exception):
    """The client programs could not be installed."""


def installed_clients(harness: Path) -> Path:
    """The directory that holds the clients, after installing them where no known one has them.

    Raises NotInstalled.
    """
    places = _places()
    for place in places:
        if _is_complete(place):
            return place
    place = places[-1]
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if place.stat().st_uid != os.getuid():
        raise NotInstalled(f"{place} belongs to someone else; set CLIENTS_ROOT to a directory of your own")
    with (place / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete(place):
            _install(harness, place)
    return place


def python_of(clients: Path) -> Path:
    """The interpreter that has the SDKs, and what the harness itself imports."""
    return clients / _PYTHON


def _places() -> list[Path]:
    """Where the clients may be, the last being where they are put: that one outlives a HOME made for one run."""
    if root := os.environ.get("CLIENTS_ROOT"):
        return [Path(root).absolute()]
    homes = [Path.home()]
    try:
        homes.append(Path(pwd.getpwuid(os.getuid()).pw_dir))
    except KeyError:  # a container's user without an account
        pass
    cached = [home / ".cache/cliproxy-clients" for home in homes]
    return [*cached, Path(f"/var/tmp/cliproxy-clients-{os.getuid()}")]


def _is_complete(place: Path) -> bool:
    if not all(os.access(place / program, os.X_OK) for program in _PROGRAMS):
        return False
    probe = f"import importlib.util as u; assert all(map(u.find_spec, {_MODULES}))"  # imports itself would take seconds
    try:
        return subprocess.run([python_of(place), "-c", probe], capture_output=True).returncode == 0
    except OSError:  # the interpreter that the venv was made with is gone
        return False


def _install(harness: Path, place: Path) -> None:
    print(f"Installing the clients into {place} (about 1.5 GB)", flush=True)
    environment = {**os.environ, "CLIENTS_ROOT": str(place), "PYTHON": sys.executable}
    with (place / "setup.log").open("w+", encoding="utf-8") as log:
        try:
            code = subprocess.run(
                ["bash", harness / "setup.sh"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=_INSTALL_LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            raise NotInstalled(f"the clients' setup.sh took longer than {_INSTALL_LIMIT_S} s; see {log.name}") from None
        log.seek(0)
        last_lines = log.read().splitlines()[-15:]
    if code != 0 or not _is_complete(place):
        raise NotInstalled(
            "\n".join([f"the clients' setup.sh ended with code {code}; it needs node and npm:", *last_lines])
        )

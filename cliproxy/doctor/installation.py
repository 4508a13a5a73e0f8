"""Python and mitmproxy."""

import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cliproxy.doctor.finding import Finding

MIN_PYTHON = (3, 12)
MITMPROXY = (12, 2)
"""The series that the in-process upstream connection is built on: from this version, below the next major one."""


def installation() -> Iterator[Finding]:
    """Of this interpreter."""
    yield python(sys.version_info[:3])
    try:
        found = version("mitmproxy")
    except PackageNotFoundError:
        found = ""
    yield mitmproxy(found)
    if found and not _program("mitmdump"):
        yield Finding("mitmproxy", "error", f"there is no mitmdump beside {sys.executable}", "make venv")


def python(found: tuple[int, ...]) -> Finding:
    said = ".".join(map(str, found))
    if found < MIN_PYTHON:
        needed = ".".join(map(str, MIN_PYTHON))
        return Finding("python", "error", f"Python {said} is too old: {needed} is needed")
    return Finding("python", "ok", f"Python {said}")


def mitmproxy(found: str) -> Finding:
    """found: the version; empty where it is not installed."""
    if not found:
        return Finding("mitmproxy", "error", f"mitmproxy is not installed for {sys.executable}", "make venv")
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if MITMPROXY <= numbers < (MITMPROXY[0] + 1,):
        return Finding("mitmproxy", "ok", f"mitmproxy {found}")
    needed = f"{'.'.join(map(str, MITMPROXY))} or a later {MITMPROXY[0]}"
    return Finding("mitmproxy", "error", f"mitmproxy {found} does not fit: {needed} is needed", "make venv")


def _program(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)

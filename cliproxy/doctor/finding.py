"""What a check found."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]
"""`note`: could be otherwise. `warning`: something will not work as it should. `error`: nothing will."""

_COMMAND = re.compile(r"`(cliproxy [^`]+)`")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found."""

    about: str
    """Which check: `config`, `port` …"""
    level: Level
    text: str
    mend: str = ""
    """The command that mends it; empty where none does."""


def exit_code(findings: Iterable[Finding]) -> int:
    """0: all is well, 1: there are warnings, 2: there are errors."""
    levels = {finding.level for finding in findings}
    return 2 if "error" in levels else 1 if "warning" in levels else 0


def command_in(sentence: str) -> str:
    """The command that a sentence for people names in backticks, empty where there is none."""
    found = _COMMAND.search(sentence)
    return found[1] if found else ""

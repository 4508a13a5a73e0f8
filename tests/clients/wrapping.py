"""Clients behind scripts of ours: a directory like that of the clients, in which each program is a script."""

from collections.abc import Callable
from pathlib import Path

_PROGRAMS = {
    "claude": "npm-claude/node_modules/@anthropic-ai/claude-code-linux-x64/claude",
    "codex": "npm/node_modules/.bin/codex",
    "gemini": "npm-g/node_modules/.bin/gemini",
    "qwen": "npm-g/node_modules/.bin/qwen",
}
_OTHERS = ("node22", "venv")


def wrapped(clients: Path, root: Path, script: Callable[[str, Path], str]) -> Path:
    """Make the directory `root`, and return it.

    script: what a shell runs in place of a tool, by the tool's name and program; the arguments are the tool's.
    """
    for name, place in _PROGRAMS.items():
        wrapper = root / place
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        wrapper.write_text(f"#!/bin/sh\n{script(name, clients / place)}\n", "utf-8")
        wrapper.chmod(0o755)
    for name in _OTHERS:
        (root / name).symlink_to(clients / name)
    return root

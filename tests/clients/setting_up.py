"""Clients that know the gateway from `cliproxy setup` alone."""

import shlex
import sys
from pathlib import Path

from wrapping import wrapped

Row = tuple[str, str, str]
"""Clients, cases, and the format of the only upstream."""

ROWS: dict[str, tuple[Row, ...]] = {"setup": (("claude codex gemini qwen", "tool", "openai-chat"),)}

KEY = "sk-test-of-the-settings"
"""The only client key, so that no other one serves: the harness's stands in files that the tools had before."""
_TOLD = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL",
    "GW_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL",
)  # fmt: skip
"""What the harness tells clients by variables."""


def set_up_clients(clients: Path, url: str, model: str, config: Path, work: Path) -> Path:
    """A directory like that of the clients, in which each is set up in its HOME before it runs."""

    def script(name: str, program: Path) -> str:
        options = ("--config", str(config), "--url", url, "--model", model, "--yes")
        command = (sys.executable, "-m", "cliproxy.cli", "setup", name, *options)
        return f'unset {" ".join(_TOLD)}\n{shlex.join(command)} >&2 || exit\nexec {shlex.quote(str(program))} "$@"'

    return wrapped(clients, work / "wrapped", script)

"""Points the tools of vendors at the gateway, by their own settings files, and back."""

from cliproxy.setup.amp import AMP
from cliproxy.setup.claude import CLAUDE
from cliproxy.setup.codex import CODEX
from cliproxy.setup.gemini import GEMINI
from cliproxy.setup.opencode import OPENCODE
from cliproxy.setup.qwen import QWEN
from cliproxy.setup.tool import Tool

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (CLAUDE, CODEX, GEMINI, QWEN, OPENCODE, AMP)}
"""By the name that `cliproxy setup` takes."""

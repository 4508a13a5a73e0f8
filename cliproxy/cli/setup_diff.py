"""What `cliproxy setup` would change, as a unified diff that shows no secret."""

import difflib
import re

from rich.text import Text

from cliproxy.secrets import mask
from cliproxy.setup.files import Plan

_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_PAIR = re.compile(
    r"""(?P<name>"(?:[^"\\\n]|\\.)*"|[\w.-]+)(?P<equals>\s*[:=]\s*)(?P<value>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s"'{\[,#]+)"""
)
_SECRET = re.compile(r"key|token|secret|password|credential|authorization|cookie", re.IGNORECASE)
_PLAIN = re.compile(r"[\d.]+|true|false|null|[A-Z][A-Z0-9_]*")
"""Values that are no secret whatever they are called: numbers, and names of environment variables."""


def difference(plan: Plan) -> Text:
    """For the terminal, ending with a new line; empty where nothing changes."""
    before, after = (_masked((content or b"").decode()).splitlines() for content in (plan.before, plan.after))
    old, new = (str(plan.path) if content is not None else "/dev/null" for content in (plan.before, plan.after))
    text = Text()
    for line in difflib.unified_diff(before, after, old, new, lineterm=""):
        text.append(f"{line}\n", _STYLES.get(line[:1] if not line.startswith(("+++", "---")) else "", ""))
    return text


def _masked(text: str) -> str:
    return _PAIR.sub(_masked_pair, text)


def _masked_pair(pair: re.Match[str]) -> str:
    value = pair["value"]
    bare = value.strip("\"'")
    if not _SECRET.search(pair["name"]) or _PLAIN.fullmatch(bare):
        return pair[0]
    return pair["name"] + pair["equals"] + value.replace(bare, mask(bare))

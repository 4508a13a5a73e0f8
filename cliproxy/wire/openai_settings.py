"""Settings that OpenAI's two formats limit and name alike."""

import hashlib
import re

from cliproxy.wire.model import Effort, OutputFormat
from cliproxy.wire.reasoning import Setting, effort_of

NAME_LIMIT = 64
NAME_CHARS = "a-zA-Z0-9_-"
"""Characters of a tool's or schema's name, as the inside of a regex class."""

SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})

_MAX_USER_CHARS = 64
_ILLEGAL_IN_NAME = re.compile(f"[^{NAME_CHARS}]")


def short_user(user: str) -> str:
    """A user's id within OpenAI's limit. Claude Code's is a JSON object of three ids, alike at the start."""
    return user if len(user) <= _MAX_USER_CHARS else hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()


def schema_name(output: OutputFormat) -> str:
    return _ILLEGAL_IN_NAME.sub("_", output.name or "response")[:NAME_LIMIT]


def effort(setting: Setting) -> Effort | None:
    """The level to ask for, of a budget too; None where only summaries were asked for."""
    if not setting.on:
        return setting.effort or "none"
    if setting.effort is None and setting.budget is not None and setting.budget >= 0:
        return effort_of(setting.budget)
    return setting.effort

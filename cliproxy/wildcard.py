"""Patterns of the config in which `*` stands for any text. Case does not matter, and no other character is special:
model names have brackets (`name[1m]`), which shell patterns would take for a set."""

import re
from functools import lru_cache


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of `text` fits `pattern`."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*"), re.IGNORECASE | re.DOTALL)

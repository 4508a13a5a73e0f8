"""Tool names and call ids that a target accepts, and the way back to those that the client knows."""

import hashlib
import re
import secrets
from functools import lru_cache

_HASH_CHARS = 8


class ToolNames:
    """Tool names as one target takes them, for one request.

    limit: most characters a name may have. legal: the characters it may have, as the inside of a regex class.
    first: the same for its first character, where that is stricter.
    """

    def __init__(self, limit: int, legal: str, first: str | None = None) -> None:
        self.restored: dict[str, str] = {}
        """Names as sent → as the client knows them, where they differ."""
        self._limit = limit
        self._fits = _pattern(limit, legal, first)
        self._illegal = re.compile(f"[^{legal}]")
        self._first = re.compile(f"[{first or legal}]")
        self._sent: dict[str, str] = {}
        self._taken: set[str] = set()

    def send(self, name: str) -> str:
        """The name to send for `name`: always the same, and different names stay different."""
        known = self._sent.get(name)
        if known is not None:
            return known
        sent = name if self._fits.fullmatch(name) else self._fit(name)
        if sent in self._taken:
            sent = _shortened(sent, self._limit, name)
        self._sent[name] = sent
        self._taken.add(sent)
        if sent != name:
            self.restored[sent] = name
        return sent

    def _fit(self, name: str) -> str:
        cleaned = self._illegal.sub("_", name) or "_"
        if not self._first.match(cleaned):
            cleaned = "_" + cleaned
        if len(cleaned) > self._limit and cleaned.startswith("mcp__"):
            # The last segment says what the tool does; the server's name in the middle is what can go.
            cleaned = "mcp__" + cleaned.rpartition("__")[2]
        return cleaned if len(cleaned) <= self._limit else _shortened(cleaned, self._limit, name)


def call_id(id: str, limit: int, legal: str, prefix: str = "call_") -> str:
    """The id to send for a call's `id`: the same for the same id, so that call and result change alike.

    An empty id becomes a new one.
    """
    if not id:
        return new_id(prefix)
    if _pattern(limit, legal, None).fullmatch(id):
        return id
    return _shortened(re.sub(f"[^{legal}]", "_", id), limit, id)


def new_id(prefix: str) -> str:
    """A new unique id: `prefix` and 24 hexadecimal digits."""
    return prefix + secrets.token_hex(12)


@lru_cache(maxsize=32)
def _pattern(limit: int, legal: str, first: str | None) -> re.Pattern[str]:
    return re.compile(f"[{first or legal}][{legal}]{{0,{limit - 1}}}")


def _shortened(text: str, limit: int, original: str) -> str:
    """`text` within `limit` characters, ending in a hash of `original` that keeps it apart from its like."""
    mark = "_" + hashlib.blake2s(original.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARS]
    return text[: limit - len(mark)] + mark

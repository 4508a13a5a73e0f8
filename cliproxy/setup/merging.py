"""Our settings in a file that others write too: putting them in, and taking just them out again.

Everything here is text in and text out. Three texts matter: the original, which was there before us; the text now; and
what we set, of which a `Record` remembers digests, so that what somebody changed since is told from ours.
"""

import hashlib
import json
from collections.abc import Collection
from typing import Final

import msgspec

from cliproxy.setup.syntax import MISSING, Keys, Settings, Syntax, value_at

OUR_NAME: Final = "cliproxy"
"""What has this name, or is in a table of this name, is ours whoever changed it."""


class Record(msgspec.Struct, frozen=True):
    """What we set in a file."""

    existed: bool
    """There was a file before us."""
    digests: list[tuple[list[str], str]]
    """Keys and SHA-256 of the values."""

    def keys(self) -> list[Keys]:
        return [tuple(keys) for keys, _ in self.digests]


def recorded(settings: Settings, *, existed: bool) -> Record:
    return Record(existed, [(list(keys), _digest(value)) for keys, value in settings.items()])


def with_settings(syntax: Syntax, original: str, text: str, record: Record | None, settings: Settings) -> str:
    """The text with these settings, and without those of an earlier set-up that are none of them any more.

    Raises SettingsFault.
    """
    if record is None:
        return _applied(syntax, text, settings)
    if _is_untouched(syntax, original, text, record):
        return _applied(syntax, original, settings)
    stale = [keys for keys in record.keys() if keys not in settings]
    return _applied(syntax, _restored(syntax, original, text, record, stale), settings)


def without_settings(syntax: Syntax, original: str, text: str, record: Record) -> str:
    """The original, if only we changed it; else the text with what we set as it was before. Raises SettingsFault."""
    if _is_untouched(syntax, original, text, record):
        return original
    return _restored(syntax, original, text, record, record.keys())


def _applied(syntax: Syntax, text: str, settings: Settings) -> str:
    for keys, value in settings.items():
        if value_at(syntax.read(text), keys) != value:
            text = syntax.set(text, keys, value)
    return text


def _is_untouched(syntax: Syntax, original: str, text: str, record: Record) -> bool:
    """Whether the text is the original with what we set, and nothing else."""
    now = syntax.read(text)
    settings = {keys: value_at(now, keys) for keys in record.keys()}
    is_ours = all(_digest(settings[tuple(keys)]) == digest for keys, digest in record.digests)
    return is_ours and _applied(syntax, original, settings) == text


def _restored(syntax: Syntax, original: str, text: str, record: Record, ours: Collection[Keys]) -> str:
    """These keys as the original has them. What somebody changed or removed since stays, except in our own tables."""
    before = syntax.read(original)
    digests = {tuple(keys): digest for keys, digest in record.digests}
    for keys in ours:
        now, value = value_at(syntax.read(text), keys), value_at(before, keys)
        if now is MISSING or not (OUR_NAME in keys or _digest(now) == digests[keys]):
            continue
        text = syntax.remove(text, keys) if value is MISSING else syntax.set(text, keys, value)
    for table in _tables(ours):
        now = value_at(syntax.read(text), table)
        is_left_over = now == {} or (table[-1] == OUR_NAME and not _holds_any(table, record, ours))
        if now is not MISSING and is_left_over and value_at(before, table) is MISSING:
            text = syntax.remove(text, table)
    return text


def _tables(settings: Collection[Keys]) -> list[Keys]:
    """The tables that these keys are in, inner ones first."""
    tables = {keys[:depth] for keys in settings for depth in range(1, len(keys))}
    return sorted(tables, key=len, reverse=True)


def _holds_any(table: Keys, record: Record, but: Collection[Keys]) -> bool:
    """Whether a table holds settings of ours other than these."""
    return any(keys[: len(table)] == table for keys in record.keys() if keys not in but)


def _digest(value: object) -> str:
    if value is MISSING:
        return ""
    # Tools that write the file anew may put the keys of a table into another order; TOML has dates.
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

"""Accounts in one file to carry elsewhere: OneProxy's export, an array of `{provider, email, enabled, token}`.

Ours is the same array. What OneProxy's entries have no word for stands in a further object `fields` of each, and the
file's name in `name`, so that what was exported here is imported without loss.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.timestamps import rfc3339
from cliproxy.wire.json import dumps, loads

_TYPES = {"openai": "codex"}
"""OneProxy has two names for one provider."""
_PROVIDERS = {"gemini-cli": "gemini"}
"""What OneProxy calls a login of Gemini CLI, as older auth files do."""
_OWN_KEYS = ("provider", "email", "enabled", "token", "fields", "name")


class Portable(NamedTuple):
    """An account from an export."""

    name: str
    """Of its file where it came from; empty: not said."""
    file: AuthFile


def read_accounts(data: bytes) -> list[Portable]:
    """The accounts of an export, OneProxy's or ours, or the one of an auth file.

    Raises AuthFileFault, which names the entry that is wrong and repeats no value.
    """
    try:
        content = loads(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        raise AuthFileFault("it is not valid JSON") from None
    entries = content if isinstance(content, list) else [content]
    accounts: list[Portable] = []
    for number, entry in enumerate(entries, 1):
        try:
            accounts.append(_account(entry))
        except AuthFileFault as fault:
            raise AuthFileFault(f"entry {number}: {fault}") from None
    return accounts


def write_accounts(files: Iterable[tuple[str, AuthFile]]) -> bytes:
    """An export of auth files, by name. It holds their tokens."""
    return msgspec.json.format(dumps([_entry(name, file) for name, file in files]), indent=2) + b"\n"


def _account(entry: object) -> Portable:
    if not isinstance(entry, dict):
        raise AuthFileFault("expected a mapping")
    if "type" in entry or "provider" not in entry:
        if entry.get("type") == "service_account":
            raise AuthFileFault("this is a service account's key: `cliproxy login vertex` takes it")
        return Portable("", AuthFile.of(entry))
    fields, name = entry.get("fields") or {}, entry.get("name") or ""
    if not isinstance(fields, dict) or not isinstance(name, str):
        raise AuthFileFault("expected a mapping in fields and text in name")
    document = _document(entry) | fields
    return Portable(name, AuthFile.of({key: value for key, value in document.items() if value is not None}))


def _entry(name: str, file: AuthFile) -> dict[str, Any]:
    end_s = file.expires_at_s
    entry: dict[str, Any] = {
        "provider": _PROVIDERS.get(file.type, file.type),
        "email": file.email,
        "enabled": not file.disabled,
        "token": {
            "access_token": file.access_token,
            "refresh_token": file.refresh_token,
            "expires_at": None if end_s is None else rfc3339(end_s),
        },
        "name": name,
    }
    told = _document(entry)
    fields = {key: value for key, value in file.document.items() if told.get(key) != value}
    # Null takes out again what the entry says in words that the file does not have.
    fields |= dict.fromkeys(told.keys() - file.document.keys())
    return entry | ({"fields": fields} if fields else {})


def _document(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says, in the words of an auth file."""
    provider, token = entry["provider"], entry.get("token") or {}
    if not isinstance(provider, str) or not isinstance(token, dict):
        raise AuthFileFault("expected text in provider and a mapping in token")
    document = {
        "type": _TYPES.get(provider, provider),
        "email": entry.get("email"),
        "disabled": None if entry.get("enabled", True) else True,
        **{key: value for key, value in entry.items() if key not in _OWN_KEYS},
        **{key: value for key, value in token.items() if key != "expires_at"},
        "expired": token.get("expires_at"),
    }
    return {key: value for key, value in document.items() if value not in (None, "")}

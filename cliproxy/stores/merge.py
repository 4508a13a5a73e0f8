"""What a document is when it was changed here and in the store at once.

Of an auth file, each field is as whoever changed it has it; the login as a whole is the newer one, for the older one's
refresh token may be spent. Everything else is as the store has it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cliproxy.credentials.auth_file import AuthFile, AuthFileFault

_LOGIN = frozenset(
    {
        "access_token", "refresh_token", "id_token", "token", "Token", "expired", "expires_at", "expires_in", "expiry",
        "timestamp", "last_refresh", "login_error",
    }
)  # fmt: skip
"""Fields that change together when a login is renewed."""


def merged(base: bytes | None, ours: bytes, theirs: bytes) -> bytes:
    """The document that both become. base: what both began with, None: unknown."""
    if ours == theirs:
        return theirs
    our_file, their_file = _parsed(ours), _parsed(theirs)
    if our_file is None or their_file is None:
        # Nothing that can be used is given up for something that cannot.
        return ours if our_file else theirs
    began = _document(base)
    newer = our_file if _renewed_s(our_file) > _renewed_s(their_file) else their_file
    fields: dict[str, Any] = {}
    for name in dict.fromkeys((*their_file.document, *our_file.document)):
        before, here, there = (document.get(name) for document in (began, our_file.document, their_file.document))
        source = our_file if here != before and there == before else their_file
        if name not in _LOGIN and name in source.document:
            fields[name] = source.document[name]
    fields |= {name: value for name, value in newer.document.items() if name in _LOGIN}
    for file, content in ((their_file, theirs), (our_file, ours)):
        if fields == file.document:
            return content
    return AuthFile.of(fields).dump()


def _renewed_s(file: AuthFile) -> tuple[float, float]:
    return file.last_refresh_s or 0.0, file.expires_at_s or 0.0


def _parsed(content: bytes) -> AuthFile | None:
    try:
        return AuthFile.parse(content)
    except AuthFileFault:
        return None


def _document(content: bytes | None) -> Mapping[str, Any]:
    if content is None:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}

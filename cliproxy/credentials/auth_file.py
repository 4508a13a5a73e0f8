"""An auth file: one JSON object with a login and what its user set on it, as CLIProxyAPI writes and reads it.

Owns what the fields are called and mean. Where files lie is `auth_dir`'s business, the settings are `auth_settings`'.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from cliproxy.config.schema import ErrorRule, OAuthAlias, kebab
from cliproxy.credentials.auth_settings import AuthSettings
from cliproxy.credentials.timestamps import rfc3339, seconds_of
from cliproxy.oauth.identity import claims
from cliproxy.oauth.tokens import Tokens
from cliproxy.wire.json import dumps, loads


class AuthFileFault(ValueError):
    """An auth file cannot be used, or not be had. The message says why and holds no value of the file."""


_LOGIN = ("access_token", "refresh_token", "id_token", "token_type", "scope", "expired")
"""Fields that a token endpoint answers; the files of older versions have them in an object `token`."""
_OTHER_SPELLINGS = {
    "expired": ("expire", "expires_at", "expiresAt", "expiry", "expires", "expiry_date"),
    "last_refresh": ("last_refreshed_at", "lastRefreshedAt"),
    "timestamp": ("issued_at", "issuedAt"),
    "refresh_interval_seconds": ("refresh_interval", "refreshInterval"),
}
"""By field: further names under which it is found, in the order in which they count."""
_NESTED = ("token", "Token")
_TYPE = re.compile(r"[a-z0-9][a-z0-9._-]*")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _spellings() -> Iterator[tuple[str, str]]:
    """Other spellings and what they mean."""
    known = (*AuthSettings.model_fields, *_LOGIN, "last_refresh", "expires_in", "timestamp", "api_key", "account_id",
             "project_id", "user_agent", "using_api")  # fmt: skip
    for name in known:
        for spelling in dict.fromkeys((kebab(name), _camel(name), *_OTHER_SPELLINGS.get(name, ()))):
            if spelling != name:
                yield spelling, name


_MEANING = dict(_spellings())


@dataclass(frozen=True, slots=True, repr=False)
class AuthFile:
    """One auth file. Never printed with what it holds."""

    document: Mapping[str, Any]
    """The object as it stands in the file, in its order and spelling."""
    lent: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a linked login: seen through this file, never written into it."""
    fields: Mapping[str, Any] = field(init=False, compare=False)
    """Everything that is known, names of known fields in snake case; `expired` is whatever says the end."""
    settings: AuthSettings = field(init=False, compare=False)
    expires_at_s: float | None = field(init=False, compare=False)
    """When the access token ends, UTC epoch seconds: what the file says, else what the token says of itself."""

    def __post_init__(self) -> None:
        fields = _normalised(self.document)
        fields |= {name: value for name, value in self.lent.items() if fields.get(name) in (None, "")}
        kind = fields.get("type")
        if not isinstance(kind, str) or not kind.strip():
            raise AuthFileFault("type: this field is required, it names the provider")
        fields["type"] = _canonical_type(kind, fields)
        object.__setattr__(self, "fields", fields)
        try:
            object.__setattr__(self, "settings", AuthSettings.of(fields))
        except ValueError as error:
            raise AuthFileFault(str(error)) from None
        object.__setattr__(self, "expires_at_s", _end_of(fields))

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """An auth file of these fields. Raises AuthFileFault for fields that mean nothing."""
        return cls(dict(fields))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """An auth file from its bytes. Raises AuthFileFault."""
        data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.strip():
            raise AuthFileFault("it is empty")
        try:
            document = loads(data)
        except ValueError:
            raise AuthFileFault("it is not valid JSON; perhaps it is still being written") from None
        if not isinstance(document, dict):
            raise AuthFileFault("it must be a JSON object")
        return cls(document)

    def dump(self) -> bytes:
        """The file's bytes."""
        return msgspec.json.format(dumps(self.document), indent=2) + b"\n"

    def __repr__(self) -> str:
        return f"AuthFile({self.type!r}, email={self.email!r})"

    # ------------------------------------------------------------ what the user set

    @property
    def type(self) -> str:
        """The provider."""
        return self.fields["type"]

    @property
    def email(self) -> str:
        return self.settings.email

    @property
    def disabled(self) -> bool:
        return self.settings.disabled

    @property
    def prefix(self) -> str:
        return self.settings.prefix

    @property
    def proxy_url(self) -> str:
        return self.settings.proxy_url

    @property
    def priority(self) -> int:
        return self.settings.priority

    @property
    def weight(self) -> int:
        return self.settings.weight

    @property
    def note(self) -> str:
        return self.settings.note

    @property
    def headers(self) -> Mapping[str, str | None]:
        return self.settings.headers

    @property
    def excluded_models(self) -> tuple[str, ...]:
        return self.settings.excluded_models

    @property
    def model_aliases(self) -> tuple[OAuthAlias, ...]:
        return self.settings.model_aliases

    @property
    def request_retry(self) -> int | None:
        return self.settings.request_retry

    @property
    def disable_cooling(self) -> bool | None:
        return self.settings.disable_cooling

    @property
    def request_scoped_errors(self) -> tuple[ErrorRule, ...]:
        return self.settings.request_scoped_errors

    @property
    def websockets(self) -> bool:
        return self.settings.websockets

    @property
    def base_url(self) -> str:
        return self.settings.base_url

    @property
    def refresh_interval_s(self) -> float:
        """0: none is set."""
        return self.settings.refresh_interval_seconds

    # ------------------------------------------------------------ the login

    @property
    def linked(self) -> str:
        """Where the vendor's own tool keeps this login, `~` for the home directory; empty: the login is in here."""
        return self._text("linked")

    @property
    def access_token(self) -> str:
        return self._text("access_token")

    @property
    def refresh_token(self) -> str:
        return self._text("refresh_token")

    @property
    def last_refresh_s(self) -> float | None:
        """UTC epoch seconds."""
        return seconds_of(self.fields.get("last_refresh"))

    @property
    def login_error(self) -> str:
        """Why this login can be renewed no more; empty: nothing of the kind happened to these tokens."""
        return self._login_error("message")

    @property
    def login_error_code(self) -> str:
        """`invalid_grant` and the like."""
        return self._login_error("code")

    # ------------------------------------------------------------ changes

    def with_fields(self, **changes: object) -> "AuthFile":
        """With fields set, or removed where the value is None; whatever spelling the file had is replaced.

        Of a linked login the tokens change in memory only. Raises AuthFileFault.
        """
        document, lent = dict(self.document), dict(self.lent)
        for name, value in changes.items():
            if name not in _LOGIN:
                _put(document, name, value)
            elif self.linked:
                _put(lent, name, value)
            elif nested := _nested_login(document):
                document[nested] = dict(document[nested])
                # Go's library for OAuth, which wrote this object, knows no other name.
                _put(document[nested], name, value, "expiry" if name == "expired" else name)
            else:
                _put(document, name, value)
        return AuthFile(document, lent)

    def with_tokens(self, tokens: Tokens, now_s: float) -> "AuthFile":
        """With the answer of a token endpoint. Everything that the user set stays.

        Of `tokens.extra` the fields are taken that the file has already. now_s: UTC epoch seconds.
        """
        changes: dict[str, object] = {
            name: value
            for name, value in tokens.extra.items()
            if name in self.fields and name not in AuthSettings.model_fields and name not in ("type", "linked")
        }
        changes["access_token"] = tokens.access_token
        for name in ("refresh_token", "id_token", "token_type", "scope"):
            if value := getattr(tokens, name):
                changes[name] = value
        ends_s = tokens.expires_at_s
        changes["expired"] = None if ends_s is None else rfc3339(ends_s)
        if "expires_in" in self.fields:
            changes["expires_in"] = None if ends_s is None else max(int(ends_s - now_s), 0)
        if "timestamp" in self.fields:
            changes["timestamp"] = int(now_s * 1000)
        return self.with_fields(**changes, last_refresh=rfc3339(now_s), login_error=None)

    def with_login_error(self, code: str, message: str) -> "AuthFile":
        """With a refusal that ends this login; other tokens, whoever writes them, end the error."""
        return self.with_fields(login_error={"code": code, "message": message, "tokens": self._fingerprint()})

    def with_login(self, login: Mapping[str, Any]) -> "AuthFile":
        """With the login that this file links to."""
        return AuthFile(self.document, dict(login))

    def _text(self, name: str) -> str:
        value = self.fields.get(name)
        return value.strip() if isinstance(value, str) else ""

    def _login_error(self, part: str) -> str:
        error = self.fields.get("login_error")
        if not isinstance(error, dict) or error.get("tokens") != self._fingerprint():
            return ""
        return str(error.get(part) or "")

    def _fingerprint(self) -> str:
        """Tells the tokens of this login from others."""
        return hashlib.sha256((self.refresh_token or self.access_token).encode()).hexdigest()[:12]


def _canonical_type(kind: str, fields: Mapping[str, Any]) -> str:
    name = kind.strip().lower()
    if not _TYPE.fullmatch(name):
        raise AuthFileFault("type: expected the name of a provider")
    # CLIProxyAPI called the logins of Gemini CLI so. A key for the Gemini API has no tokens.
    return "gemini-cli" if name == "gemini" and not fields.get("api_key") else name


def _normalised(document: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in document.items() if name not in _MEANING}
    _take_known(fields, document)
    for nested in (document.get(name) for name in _NESTED):
        if isinstance(nested, dict):
            _take_known(fields, {name: nested[name] for name in nested if _MEANING.get(name, name) in _LOGIN})
    return fields


def _take_known(fields: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Add known fields of the source where they are lacking, each from the first spelling that says something."""
    for spelling in (*_LOGIN, *_MEANING):
        name = _MEANING.get(spelling, spelling)
        if spelling in source and _says_nothing(name, fields.get(name)):
            fields[name] = source[spelling]


def _says_nothing(name: str, value: object) -> bool:
    return value in (None, "") or (name == "expired" and seconds_of(value) is None)


def _end_of(fields: Mapping[str, Any]) -> float | None:
    stated = seconds_of(fields.get("expired"))
    if stated is not None:
        return stated
    issued, lasts = seconds_of(fields.get("timestamp")), _number(fields.get("expires_in"))
    if issued is not None and lasts:
        return issued + lasts
    token = fields.get("access_token")
    return seconds_of(claims(token).get("exp")) if isinstance(token, str) else None


def _nested_login(document: Mapping[str, Any]) -> str:
    """The key of the object that holds the tokens, where the document does not hold them itself."""
    if any(_MEANING.get(key, key) == "access_token" for key in document):
        return ""
    return next((name for name in _NESTED if isinstance(document.get(name), dict)), "")


def _put(holder: dict[str, Any], name: str, value: object, spelling: str = "") -> None:
    """Set or remove a field, in place of the first of its spellings that is there."""
    entries = list(holder.items())
    holder.clear()
    for key, old in entries:
        if _MEANING.get(key, key) != name:
            holder[key] = old
        elif value is not None:
            holder[spelling or name] = value
    if value is not None:
        holder[spelling or name] = value


def _number(value: object) -> float:
    """Seconds, as a number or as text; 0 where it is neither."""
    try:
        return float(value) if isinstance(value, str | int | float) else 0.0
    except ValueError:
        return 0.0

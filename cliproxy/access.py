"""Who may use the gateway: the client keys of `api-keys`."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote_plus

from cliproxy.config.schema import ClientKey
from cliproxy.exchange import ClientRequest
from cliproxy.secrets import mask
from cliproxy.wire.errors import ClientFault


@dataclass(frozen=True, slots=True)
class Admission:
    """A client key that was accepted."""

    name: str = ""
    """The key's name, or its mask; empty where no keys are configured."""
    key: ClientKey | None = None


class Access:
    """Checks client keys in constant time. Without any key configured everyone is let in."""

    def __init__(self, keys: Iterable[ClientKey]) -> None:
        self._keys = [(_digest(key.key.get_secret_value()), key) for key in keys]

    @property
    def is_open(self) -> bool:
        """No key is asked for."""
        return not self._keys

    def admit(self, request: ClientRequest) -> Admission:
        """Let a request in, or raise ClientFault (401, 403)."""
        if request.trusted:
            return Admission()
        if self.is_open:
            if request.intercepted:
                # A tool that is intercepted asks for nothing of this gateway's: whoever reached it could spend.
                message = "intercepted calls from other machines need one of this gateway's api-keys, and it has none"
                raise ClientFault(message, status=403, code="not_local")
            return Admission()
        offered = False
        for secret in presented_keys(request):
            offered = True
            if key := self._find(secret):
                if key.expires and key.expires <= datetime.now(UTC):
                    raise ClientFault("this API key has expired", status=401, code="invalid_api_key")
                return Admission(key.name or mask(secret), key)
        message = (
            "the API key is not valid" if offered else "an API key is missing: send it as `Authorization: Bearer KEY`"
        )
        raise ClientFault(message, status=401, code="invalid_api_key")

    def _find(self, secret: str) -> ClientKey | None:
        digest = _digest(secret)
        found = None
        for known, key in self._keys:
            # No early end: how long this takes must not tell how far a guess got.
            if hmac.compare_digest(known, digest):
                found = key
        return found


def presented_keys(request: ClientRequest) -> Iterator[str]:
    """The keys that a request shows, from the five places where clients put them, in CLIProxyAPI's order."""
    headers = request.headers
    authorization = headers.get("authorization", "").strip()
    if authorization:
        scheme, _, rest = authorization.partition(" ")
        yield rest.strip() if rest and scheme.lower() == "bearer" else authorization
    for name in ("x-goog-api-key", "x-api-key"):
        if value := headers.get(name):
            yield value
    if request.query:
        parameters = dict(parse_qsl(request.query))
        for name in ("key", "auth_token"):
            if value := parameters.get(name):
                yield value


def without_keys(query: str) -> str:
    """A query string without the parameters that carry client keys; the rest stays as it is, byte for byte."""
    kept = [pair for pair in query.split("&") if not _is_key(pair)]
    return "&".join(kept)


def _is_key(pair: str) -> bool:
    name, has_value, _ = pair.partition("=")
    return bool(has_value) and unquote_plus(name) in ("key", "auth_token")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()

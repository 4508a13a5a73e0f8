"""One POST to an OAuth endpoint, and what it answered: a JSON object, an error, or something else altogether.

Owns the time limit, the reading of errors and keeping secrets out of them; what answers mean is the flows' business.
"""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from cliproxy.oauth.errors import EndpointTrouble, GrantRefused, OAuthFault
from cliproxy.secrets import mask
from cliproxy.wire import upstream_error
from cliproxy.wire.json import loads
from cliproxy.wire.model import Json

TIME_LIMIT_S = 30.0
"""For one call, from the first look-up to the last byte of the answer."""
_MAX_ANSWER_BYTES = 2**20
_MAX_WORDS_CHARS = 300
_LONGEST_WAIT_S = 86_400.0

_REUSED = "refresh_token_reused"
_REFUSED = frozenset(
    {
        # RFC 6749 section 5.2, RFC 8628 section 3.5
        "invalid_grant",
        "invalid_client",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "access_denied",
        "expired_token",
        # OpenAI
        _REUSED,
        "refresh_token_expired",
        "refresh_token_invalidated",
    }
)
"""Errors that another try of the same will not mend. `invalid_request` is none: it speaks of us, not of the login, and
whatever is not known is not held against a login."""

_PUBLIC = frozenset({"client_id", "grant_type", "redirect_uri", "scope", "code_challenge", "code_challenge_method"})
"""Parameters that errors may quote."""
_LONG_WORD = re.compile(r"[\w.~+/=%-]{32,}")
"""What may be a token, and is no word of a sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered."""

    host: str
    status: int
    body: Json = field(repr=False)
    """Its JSON object; empty where it sent anything else."""
    error: str
    """The code of the error that it states, empty where it states none."""
    words: str
    """What it says of the error, for people; free of what was sent in confidence."""
    received_at_s: float
    """UTC epoch seconds, by our clock."""
    server_time_s: float | None
    """The same by the server's clock."""
    retry_after_s: float | None

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300 and bool(self.body) and not self.error

    @property
    def is_busy(self) -> bool:
        """The server cannot serve anybody now, whatever else it says."""
        return self.status == 429 or self.status >= 500

    def fault(self) -> OAuthFault:
        """The error that an answer without success stands for."""
        if self.is_busy:
            return EndpointTrouble(self._says(), retry_after_s=self.retry_after_s)
        if self.error == "invalid_client":
            mend = "the client registration is wrong (client-id, client-secret in providers.<name>.oauth)"
            return GrantRefused(f"{self._says()}: {mend}", code=self.error)
        if self.error in _REFUSED:
            return GrantRefused(self._says(), code=self.error)
        # Some answer plainly 401. A company's proxy or a portal would not do so in JSON.
        if self.status == 401 and self.body:
            return GrantRefused(self._says(), code=self.error or "unauthorized")
        return EndpointTrouble(self._says(), retry_after_s=self.retry_after_s)

    def _says(self) -> str:
        code = f" {self.error}" if self.error and self.error != self.words else ""
        return f"{self.host} answered {self.status}{code}: {self.words}"


async def post(url: str, parameters: Mapping[str, str], http: httpx.AsyncClient, *, as_json: bool = False) -> Answer:
    """Send parameters as a form, or as a JSON object. Any status is an answer.

    Raises EndpointTrouble where there was no answer, within the time limit.
    """
    host = _host(url)
    body: dict[str, Any] = {"json": dict(parameters)} if as_json else {"data": parameters}
    try:
        async with asyncio.timeout(TIME_LIMIT_S), http.stream("POST", url, **body) as response:
            content = await _content(response, host)
    except (TimeoutError, httpx.TimeoutException):
        raise EndpointTrouble(f"{host} did not answer within {TIME_LIMIT_S:g} s") from None
    except (httpx.HTTPError, OSError) as error:
        raise EndpointTrouble(f"the call to {host} failed: {_printable(str(error)) or type(error).__name__}") from None
    except (httpx.InvalidURL, ValueError):
        raise EndpointTrouble(f"the address {host!r} is no URL") from None
    return _answer(host, response, content, parameters)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


async def _content(response: httpx.Response, host: str) -> bytes:
    content = b""
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > _MAX_ANSWER_BYTES:
            raise EndpointTrouble(f"{host} answered with more than {_MAX_ANSWER_BYTES} bytes")
    return content


def _answer(host: str, response: httpx.Response, content: bytes, parameters: Mapping[str, str]) -> Answer:
    now_s = time.time()
    try:
        payload = loads(content)
    except ValueError:
        payload = content.decode("utf-8", "replace")
    server_time_s = _date_s(response.headers.get("date", ""))
    retry_after = response.headers.get("retry-after", "")
    says_reused = response.status_code >= 400 and _REUSED.encode() in content
    return Answer(
        host,
        response.status_code,
        cast("Json", payload) if isinstance(payload, dict) else {},
        error=_REUSED if says_reused else _code(payload),
        words=_words(payload, response.status_code, parameters),
        received_at_s=now_s,
        server_time_s=server_time_s,
        retry_after_s=_wait_s(retry_after, now_s if server_time_s is None else server_time_s),
    )


def _code(payload: Any) -> str:
    """RFC 6749 has a string in `error`; vendors that keep to their API's envelope an object with `code`, `type`."""
    error = cast("Json", payload).get("error") if isinstance(payload, dict) else None
    if isinstance(error, str):
        return _printable(error)
    stated = upstream_error.error_object(payload)
    return _printable(upstream_error.word(stated, "code") or upstream_error.word(stated, "type") or "") if error else ""


def _words(payload: Any, status: int, parameters: Mapping[str, str]) -> str:
    description = cast("Json", payload).get("error_description") if isinstance(payload, dict) else None
    text = description if isinstance(description, str) else str(upstream_error.read(payload, status, {}))
    for name, value in parameters.items():
        if value and name not in _PUBLIC:
            text = text.replace(value, mask(value))
    text = _LONG_WORD.sub(lambda word: mask(word[0]), text)
    return _printable(text)[:_MAX_WORDS_CHARS]


def _printable(text: str) -> str:
    """On one line, and without what would move a terminal's cursor."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _wait_s(retry_after: str, now_s: float) -> float | None:
    """Seconds, from a number or a date (RFC 9110, section 10.2.3) by the server's clock."""
    seconds = number(retry_after)
    if seconds is None and (until_s := _date_s(retry_after)) is not None:
        seconds = max(0.0, until_s - now_s)
    return None if seconds is None else min(seconds, _LONGEST_WAIT_S)


def _date_s(text: str) -> float | None:
    """UTC epoch seconds of an HTTP date; None for anything else."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def number(value: Any) -> float | None:
    """A number of 0 or more; some servers send it as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None

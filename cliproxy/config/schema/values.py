"""The base of every section, and the kinds of values that keys hold: addresses, durations, choices.

A validator's `ValueError` completes the sentence "expected …" and never repeats the value, maybe a secret.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def kebab(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """One mapping of the file. A key is kebab-case there, snake_case here; below it stands what it does."""

    model_config = ConfigDict(
        alias_generator=kebab,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )

    shorthand: ClassVar[str | None] = None
    """The field that is meant where the file has plain text instead of the mapping."""

    @classmethod
    def why_skipped(cls, values: Mapping[str, Any]) -> str | None:
        """Why an item of a list is left out with a warning, where CLIProxyAPI leaves it out in silence."""
        return None


Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Port = Annotated[int, Field(strict=True, ge=0, le=65535)]
Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


def one_of(**aliases: str) -> BeforeValidator:
    """Lets a word be written in any case and with `_`; `aliases` maps further spellings to the word."""

    def normalise(value: object) -> object:
        if not isinstance(value, str):
            return value
        word = value.strip().lower().replace("_", "-")
        return aliases.get(word.replace("-", "_"), word)

    return BeforeValidator(normalise)


_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


def _duration_s(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    if isinstance(value, str) and (text := value.strip()) and (match := _DURATION.fullmatch(text)):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    raise ValueError("a duration such as 90s, 30m or 1h30m")


Duration = Annotated[float, BeforeValidator(_duration_s)]
"""Seconds. The file may have Go's syntax (`1h30m`, `90s`, `250ms`) or a bare number of seconds."""


def _listen_host(value: str) -> str:
    host = value.removeprefix("[").removesuffix("]")
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("a host name or an IP address without a port") from None
    elif re.search(r"[\s/@\[\]]", host):
        raise ValueError("a host name or an IP address")
    return host


ListenHost = Annotated[str, AfterValidator(_listen_host)]
EVERY_INTERFACE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
"""Hosts to listen on that stand for all of this machine's addresses."""


_INTERCEPTED_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def _intercepted_host(value: str) -> str:
    host = value.lower().removesuffix(".")
    if not _INTERCEPTED_HOST.fullmatch(host):
        raise ValueError("a host name without scheme, port and path; *. may stand at its beginning")
    return host


InterceptedHost = Annotated[str, AfterValidator(_intercepted_host)]
"""A host name, lower case; with `*.` before it, all names below it."""


ReachedHost = Annotated[str, AfterValidator(lambda value: value if value == "*" else _intercepted_host(value))]
"""As `InterceptedHost`, or `*` for any."""


def _address(value: str, schemes: tuple[str, ...], expected: str) -> str:
    """The URL without its trailing slashes. `urlsplit` quotes its input in its errors, hence the detour."""
    try:
        url = urlsplit(value)
        sound = url.scheme in schemes and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", value):
        raise ValueError(expected)
    return value.rstrip("/")


def _http_url(value: str) -> str:
    if not value:
        return value
    address = _address(value, ("http", "https"), "an http:// or https:// URL with a host")
    url = urlsplit(address)
    if url.query or url.fragment:
        raise ValueError("a URL without ? and #, since paths are added to its end")
    if url.username is not None:
        raise ValueError("a URL without user name and password; those belong into api-key or headers")
    return address


HttpUrl = Annotated[str, AfterValidator(_http_url)]
"""Empty, or an http(s) URL without a trailing slash."""

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def _proxy_url(value: str) -> str:
    if value.lower() in {"direct", "none"}:
        return "direct"
    if not value:
        return value
    return _address(value, _PROXY_SCHEMES, "an http, https, socks5 or socks5h URL with a host, or the word direct")


ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
"""Empty (inherit), `direct` (no proxy at all), or a proxy's URL."""


def _prefix(value: str) -> str:
    prefix = value.strip("/")
    if re.search(r"[\s/]", prefix):
        raise ValueError("a single path segment, without / and spaces")
    return prefix


Prefix = Annotated[str, AfterValidator(_prefix)]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2


def _header_name(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("the name of a header")
    return value


def _header_value(value: str) -> str:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise ValueError("a header's value on one line")
    if value.startswith("$") and not _TOKEN.fullmatch(value[1:]):
        raise ValueError("the name of a client's header after $")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Headers = dict[HeaderName, HeaderValue | None]
"""Header name to value; `$Name` copies the client's header `Name`, null removes the header."""


def zero_means(default: int) -> Callable[[int], int]:
    return lambda value: value or default

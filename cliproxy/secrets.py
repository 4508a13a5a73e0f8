"""How secrets are shown: a short prefix and a hash, enough to tell two apart and nothing else."""

import hashlib
import re
from urllib.parse import unquote_plus

SECRET_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "x-anthropic-api-key",
        "x-openai-api-key",
        "x-goog-api-key",
        "x-management-key",
        "cookie",
        "set-cookie",
    }
)
SHORTEST_SECRET = 8
"""Characters; a shorter key may be an ordinary word, which is not looked for in texts."""
SECRET_QUERY = ("key", "auth_token", "access_token", "api_key")


def mask(secret: str) -> str:
    """`sk-t…#1f3a9c`: at most four characters and never more than a quarter of the secret, then 24 bits of SHA-256.

    What is masked already stays.
    """
    if not secret or _MASKED.fullmatch(secret):
        return secret
    digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{secret[: min(4, len(secret) // 4)]}…#{digest}"


def mask_header(value: str) -> str:
    """Mask a credential header, keeping an authentication scheme (`Bearer`) readable."""
    scheme, space, rest = value.partition(" ")
    if space and scheme.isalpha():
        return f"{scheme} {mask(rest)}"
    return mask(value)


def mask_query(url: str) -> str:
    """Mask the values of secret query parameters in a URL, a path with a query, or a bare query."""
    return _PARAMETER.sub(_masked_parameter, url) if "=" in url else url


_MASKED = re.compile(r".{0,4}…#[0-9a-f]{6}")
_PARAMETER = re.compile(r"(?<![^&?])([^=&?#\s]+)=([^&#?\s'\"]*(?:(?<=…)#[0-9a-f]{6})?)")


def _masked_parameter(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    return f"{name}={mask(value)}" if unquote_plus(name).lower() in SECRET_QUERY else parameter[0]

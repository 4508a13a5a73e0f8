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
SECRET_QUERY = ("key", "auth_token", "access_token", "api_key")


def mask(secret: str) -> str:
    """`sk-t…#1f3a9c`: at most four characters and never more than a quarter of the secret, then 24 bits of SHA-256."""
    if not secret:
        return ""
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


_PARAMETER = re.compile(r"(?<![^&?])([^=&?#\s]+)=([^&#?\s'\"]*)")


def _masked_parameter(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    return f"{name}={mask(value)}" if unquote_plus(name).lower() in SECRET_QUERY else parameter[0]

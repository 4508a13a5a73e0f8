"""Which headers cross the gateway, in either direction."""

from cliproxy.exchange import Headers
from cliproxy.secrets import SECRET_HEADERS

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110 §7.6.1, and the non-standard `proxy-connection`."""

_NOT_FORWARDED = HOP_BY_HOP | SECRET_HEADERS | {"host", "content-length", "expect", "forwarded", "x-real-ip", "via"}
_OF_BODY = {"accept-ranges", "age", "cache-control", "date", "etag", "expires", "last-modified", "server", "vary"}
_NOT_RETURNED = HOP_BY_HOP | {"set-cookie", "content-length", "alt-svc", "strict-transport-security"}


def forwarded(headers: Headers) -> Headers:
    """A client's headers as an upstream of the same format gets them: all but hop-by-hop ones and credentials."""
    named = _named_by_connection(headers)
    kept = Headers()
    for name, value in headers.items():
        lower = name.lower()
        if lower in _NOT_FORWARDED or lower in named or lower.startswith("x-forwarded-"):
            continue
        kept.add(name, value)
    return kept


def returned(headers: Headers) -> Headers:
    """An upstream's headers as the client gets them: all but those that describe its connection or set state."""
    named = _named_by_connection(headers)
    kept = Headers()
    for name, value in headers.items():
        lower = name.lower()
        if lower in _NOT_RETURNED or lower in named or lower.startswith("access-control-"):
            continue
        kept.add(name, value)
    return kept


def described(headers: Headers) -> Headers:
    """Of an upstream's headers those that tell of the call, not of the body, which the client gets another one of."""
    kept = returned(headers)
    for name in set(kept):
        if name.lower() in _OF_BODY or name.lower().startswith(("content-", "x-cliproxy-")):
            kept.popall(name, None)
    return kept


def end_to_end(headers: Headers) -> Headers:
    """The headers of a message that is passed on as it is: all but hop-by-hop ones."""
    dropped = HOP_BY_HOP | _named_by_connection(headers)
    return Headers((name, value) for name, value in headers.items() if name.lower() not in dropped)


def _named_by_connection(headers: Headers) -> set[str]:
    """The headers that `Connection:` declares hop-by-hop."""
    values = headers.getall("connection", ())
    return {name.strip().lower() for value in values for name in value.split(",")}

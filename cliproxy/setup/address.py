"""Where the gateway is, as programs on this machine reach it."""

from urllib.parse import urlsplit

from cliproxy.config.schema import EVERY_INTERFACE, Config

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"http": 80, "https": 443}


def gateway_url(config: Config) -> str:
    """`http://127.0.0.1:8317`, by host, port and tls of the config."""
    scheme = "https" if config.tls.enable else "http"
    return f"{scheme}://{reached_host(config.host)}:{config.port}"


def reached_host(host: str) -> str:
    """The host in a URL for programs on this machine. host: where something listens."""
    if host in EVERY_INTERFACE:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def is_same_place(url: str, other: str) -> bool:
    """Whether two addresses mean the same scheme, host and port, whatever their paths."""
    return _place(url) == _place(other)


def _place(url: str) -> tuple[str, str, int | None]:
    """Raises nothing: what is no URL is a place of its own."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return url, "", None
    return parts.scheme, "127.0.0.1" if host in _THIS_MACHINE else host, port

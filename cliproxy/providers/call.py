"""What is asked of an upstream, before it is known how that upstream is addressed."""

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from enum import Enum, auto

from cliproxy.exchange import Headers
from cliproxy.wire.model import Format


class Purpose(Enum):
    """What a call is for: decides the path where the client's own path does not."""

    GENERATE = auto()
    COUNT_TOKENS = auto()
    NATIVE = auto()


@dataclass(slots=True)
class UpstreamCall:
    """One call. `path` is the client's own where client and upstream speak the same format, else empty."""

    purpose: Purpose
    format: Format
    """What is spoken in this call."""
    method: str
    path: str
    query: str
    headers: Headers
    """To be sent, without credentials; the provider adds its own."""
    body: bytes | AsyncIterable[bytes] | None
    stream: bool = False
    action: str = ""
    """Gemini's method, where the client said one."""
    session: str = ""
    """Tells the conversation from others, for upstreams that cache by it; empty: unknown."""
    dropped: list[str] = field(default_factory=list)
    """What the upstream cannot be told."""

    def drop(self, what: str) -> None:
        """Note something that a dialect leaves out; a call that is sent again says it once."""
        if what not in self.dropped:
            self.dropped.append(what)


def join(base_url: str, path: str, query: str = "") -> str:
    """Put a path below a base URL. Path segments that stand at the end of one and the start of the other count once:
    `https://host/v1` and `/v1/messages` make `https://host/v1/messages`."""
    segments = path.lstrip("/").split("/")
    # Only whole segments of the base's path count, never its host.
    scheme, _, rest = base_url.partition("://")
    host, *base_segments = rest.rstrip("/").split("/")
    for overlap in range(min(len(segments), len(base_segments)), 0, -1):
        if base_segments[-overlap:] == segments[:overlap]:
            segments = segments[overlap:]
            break
    url = f"{scheme}://{'/'.join([host, *base_segments, *segments])}"
    return f"{url}?{query}" if query else url

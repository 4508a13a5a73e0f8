"""Exchanges that are over, as the gateway leaves them."""

from typing import Any

from cliproxy.exchange import Attempt, ClientRequest, Exchange, Headers, NoObserver, UpstreamRequest
from cliproxy.wire.model import Usage

NOON_S = 1_790_000_000.0 // 86_400 * 86_400 + 43_200
"""UTC epoch seconds of a noon."""


def attempt(number: int = 1, *, usage: Usage | None = None, started_s: float = NOON_S, **fields: Any) -> Attempt:
    facts: dict[str, Any] = {
        "provider": "claude", "credential": "claude sk-t…#abc123", "model": "claude-sonnet-4-5", "format": "anthropic",
        "status": 200,
    }  # fmt: skip
    return Attempt(
        number,
        request=UpstreamRequest("POST", "https://api.example", Headers(), b""),
        started_s=started_s,
        headers_s=started_s + 0.1,
        first_byte_s=started_s + 0.2,
        ended_s=started_s + 1.0,
        usage=usage or Usage(input=100, cache_read=50, cache_write=20, output=30, reasoning=10),
        **{**facts, **fields},
    )


def exchange(*attempts: Attempt, started_s: float = NOON_S, **fields: Any) -> Exchange:
    facts: dict[str, Any] = {
        "client_key": "me", "model": "sonnet", "operation": "generate", "stream": True, "status": 200,
        "ended_s": started_s + 1.0,
    }  # fmt: skip
    over = Exchange(
        ClientRequest("POST", "/v1/messages", "", Headers(), b""),
        NoObserver(),
        format="anthropic",
        started_s=started_s,
        attempts=list(attempts) or [attempt(started_s=started_s)],
    )
    for name, value in {**facts, **fields}.items():
        setattr(over, name, value)
    return over

"""What a token endpoint answered."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one account. Never printed."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    """Empty: the one before stays good."""
    id_token: str = field(default="", repr=False)
    token_type: str = "Bearer"
    scope: str = ""
    expires_at_s: float | None = None
    """UTC epoch seconds; None: the server did not say."""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)
    """Whatever else the answer held (`resource_url`, `account` …)."""

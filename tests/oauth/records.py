"""What the test authorization server knows and remembers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

USER = "user@example.com"

type Reply = tuple[int, Any, list[tuple[str, str]]]
"""Status, body and headers of an answer; a body that is no string is JSON."""


@dataclass
class Settings:
    """How the server behaves; may change at any time."""

    expires_in_s: int = 3600
    """Life of access tokens; 0: answers do not say, and they live on."""
    rotates: bool = True
    """Each refresh gives another refresh token; to present the one before again revokes them all."""
    takes_again: bool = False
    """The one before is taken all the same: an answer may have been lost."""
    consent: Literal["agree", "deny", "ask"] = "agree"
    """What the authorization endpoint does without the user, or `ask`: it shows a page with two buttons."""
    interval_s: int = 5
    """Between questions about a device code, as the client is told."""
    enforced_interval_s: float = 0
    """Who asks sooner is told to slow down."""
    device_code_life_s: int = 900
    skew_s: float = 0
    """How far the server's clock is ahead."""
    errors: Literal["flat", "nested"] = "flat"
    """As in RFC 6749, or as OpenAI has them: 401 with `{"error": {"message", "type", "code"}}`."""
    bodies: Literal["any", "form", "json"] = "any"
    """What the token endpoint takes."""
    requires_pkce: bool = True
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "user-1", "email": USER})
    """Of id tokens, and what the userinfo endpoint answers."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More fields of token answers."""


@dataclass
class Ledger:
    """What the server has seen."""

    grants: Counter[str] = field(default_factory=Counter)
    """Those that were honoured, by grant type."""
    refusals: Counter[str] = field(default_factory=Counter)
    """By error code."""
    reuses: int = 0
    """Refresh tokens that were presented after they had been traded."""


@dataclass
class Client(ClientMixin):
    """The registered client; public unless it has a secret."""

    client_id: str
    secret: str = ""

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: Any) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return urlsplit(redirect_uri).hostname in {"localhost", "127.0.0.1"}

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method == "none") != bool(self.secret)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


@dataclass
class Code(AuthorizationCodeMixin):
    """An authorization code that waits to be traded."""

    code: str
    redirect_uri: str
    scope: str
    code_challenge: str | None
    code_challenge_method: str | None = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token(TokenMixin):
    """An access token and the refresh token that came with it."""

    access_token: str
    refresh_token: str
    scope: str
    family: str
    """The same for all tokens that come from one login."""
    expires_at_s: float
    is_traded: bool = False
    is_dead: bool = False

    def check_client(self, client: Client) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope


@dataclass
class DeviceCode:
    """A device code, of RFC 8628 or of Codex's form."""

    device_code: str
    user_code: str
    client_id: str
    scope: str
    expires_at_s: float
    code_challenge: str = ""
    decision: bool | None = None
    """Whether the user agreed; None: not decided yet."""
    asked_at_s: float = float("-inf")


class Request(OAuth2Request):
    """A request of any front."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], parameters: dict[str, str]) -> None:
        super().__init__(method, url, headers=dict(headers))
        self.parameters = parameters
        self.payload = BasicOAuth2Payload(parameters)

    @property
    def args(self) -> dict[str, Any]:
        return self.parameters

    @property
    def form(self) -> dict[str, Any]:
        return self.parameters

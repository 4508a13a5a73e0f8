"""An OAuth client registration: who we are to an authorization server, and where that server is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Registration:
    """Data, with defaults from the provider's module and overrides from `providers.<name>.oauth` of the config."""

    token_url: str
    client_id: str = ""
    """Empty: none is shipped; the user sets one of their own, or links the vendor's tool."""
    client_secret: str = field(default="", repr=False)
    """Never shipped; only a config holds one."""
    authorize_url: str = ""
    device_url: str = ""
    userinfo_url: str = ""
    redirect_port: int = 0
    redirect_path: str = "/callback"
    scopes: tuple[str, ...] = ()
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the authorization URL; `{redirect_uri}` in a value stands for ours."""
    pkce: bool = True
    """Browser logins are bound to us with PKCE."""
    device_pkce: bool = False
    """Device codes are too; RFC 8628 does not have it, and only few servers know it."""
    token_body: Literal["form", "json"] = "form"
    """How the token endpoint takes its parameters."""
    refresh_scopes: bool = False
    """Refresh requests name `scopes` again."""

    @property
    def redirect_uri(self) -> str:
        return f"http://localhost:{self.redirect_port}{self.redirect_path}"

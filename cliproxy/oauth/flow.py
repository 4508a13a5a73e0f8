"""What every way of logging in has in common: something to show the user, and tokens once the user has acted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.redirect import Redirect
from cliproxy.oauth.tokens import Tokens

PENDING_S = 1800.0
"""How long a login waits for the user at most."""

type Clock = Callable[[], float]
"""UTC epoch seconds."""
type Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the user must be shown."""

    url: str
    """To open in a browser."""
    expires_at_s: float
    """UTC epoch seconds; the user must have acted by then."""
    user_code: str = ""
    """To enter on the page, or to compare with what it shows; empty: there is none."""
    verification_uri: str = ""
    """Where to enter it by hand, on whichever device."""
    is_listening: bool = False
    """A browser on this machine brings the answer back by itself; else the user pastes it."""


class Flow:
    """A login under way. `aclose` it in the end, whether `tokens` came or not."""

    prompt: Prompt

    async def tokens(self) -> Tokens:
        """Wait for the user, then fetch the tokens. Raises LoginFailed, GrantRefused, EndpointTrouble."""
        raise NotImplementedError

    def redirected(self, redirect: Redirect) -> None:
        """Take what the authorization server told the browser to bring. Raises LoginFailed where it does not belong."""
        raise LoginFailed("this login waits for a confirmation in the browser, not for an address")

    async def aclose(self) -> None:
        """Give back what the flow holds."""

"""Logging in on another device: the user confirms a code there, while we ask again and again whether they have."""

from collections.abc import Awaitable, Callable
from typing import Literal

from cliproxy.oauth.endpoint import Answer, number
from cliproxy.oauth.errors import EndpointTrouble, LoginFailed
from cliproxy.oauth.flow import PENDING_S, Clock, Flow, Prompt, Sleep
from cliproxy.oauth.tokens import Tokens
from cliproxy.wire.fields import text_of

type Polled = Tokens | Literal["pending", "slow-down"]
"""What one question led to; `slow-down`: nothing yet, and leave more time from now on."""

INTERVAL_S = 5.0
"""Between questions, where the server says nothing."""
_SLOWER_S = 5.0
"""RFC 8628, section 3.5."""
_LONGEST_PAUSE_S = 60.0


class Polling(Flow):
    """A code that waits for the user to confirm it."""

    def __init__(
        self, prompt: Prompt, interval_s: float, poll: Callable[[], Awaitable[Polled]], clock: Clock, sleep: Sleep
    ) -> None:
        """poll: asks once. Raises LoginFailed, GrantRefused; EndpointTrouble where it makes sense to ask again."""
        self.prompt = prompt
        self._interval_s = interval_s
        self._poll = poll
        self._clock = clock
        self._sleep = sleep

    async def tokens(self) -> Tokens:
        pause_s, trouble = self._interval_s, ""
        while (left_s := self.prompt.expires_at_s - self._clock()) > 0:
            await self._sleep(min(pause_s, left_s))
            try:
                polled = await self._poll()
            except EndpointTrouble as fault:
                # RFC 8628 section 3.5 has clients slow down when an answer stays away.
                pause_s = max(min(pause_s * 2, _LONGEST_PAUSE_S), fault.retry_after_s or 0.0)
                trouble = f" ({fault})"
                continue
            if isinstance(polled, Tokens):
                return polled
            if polled == "slow-down":
                self._interval_s += _SLOWER_S
            pause_s, trouble = self._interval_s, ""
        raise LoginFailed(f"the code has expired, and nobody had confirmed it{trouble}")


def user_code_of(answer: Answer, *names: str) -> str:
    """The code to show, by the first of its names that the answer has. Raises EndpointTrouble."""
    code = next(filter(None, (text_of(answer.body, name) for name in names)), "")
    if not code.isprintable() or not code:
        raise EndpointTrouble(f"{answer.host} answered {answer.status}, but without a code to show")
    return code


def page_of(answer: Answer, *names: str) -> str:
    """The address to show, as above."""
    url = next(filter(None, (text_of(answer.body, name) for name in names)), "")
    if not url.startswith(("https://", "http://")) or not url.isprintable():
        raise EndpointTrouble(f"{answer.host} answered {answer.status}, but without an address to open")
    return url


def interval_of(answer: Answer) -> float:
    """Seconds between questions; never so few that asking is a burden."""
    return max(1.0, number(answer.body.get("interval")) or INTERVAL_S)


def expiry_of(answer: Answer, life_s: float, now_s: float) -> float:
    """When the code expires, UTC epoch seconds. life_s: where the answer does not say."""
    return now_s + min(number(answer.body.get("expires_in")) or life_s, PENDING_S)

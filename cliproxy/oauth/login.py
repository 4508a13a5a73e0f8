"""Logins under way, whoever shows them: a terminal, or the management API with a page in a browser."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Literal

import httpx

from cliproxy.oauth.authorization_code import AuthorizationCode
from cliproxy.oauth.codex_device import begin_codex_device
from cliproxy.oauth.device import begin_device
from cliproxy.oauth.errors import LoginFailed, OAuthFault
from cliproxy.oauth.flow import Clock, Flow, Prompt, Sleep
from cliproxy.oauth.page import Page
from cliproxy.oauth.redirect import Redirect, of_query, of_text
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.tokens import Tokens
from cliproxy.tasks import Tasks

logger = logging.getLogger(__name__)

FINISHED_S = 60.0
"""How long it can be asked how a login ended."""

Kind = Literal["browser", "device", "codex-device"]
Status = Literal["wait", "ok", "error"]
type Save[T] = Callable[[Tokens], Awaitable[T]]


class LoginSession:
    """One login. `complete` it or get its `result`, once; `aclose` it in any case."""

    _flow: Flow

    def __init__(self, provider: str, kind: Kind, clock: Clock) -> None:
        self.provider = provider
        self.kind: Kind = kind
        self.state = secrets.token_urlsafe(32)
        """Names this login among others, and in the answers to it; at most 128 of `[A-Za-z0-9._-]`."""
        self.status: Status = "wait"
        self.error = ""
        """Why it failed, for people; empty before that."""
        self.ended_at_s: float | None = None
        """UTC epoch seconds."""
        self._clock = clock
        self._limit: asyncio.Timeout | None = None
        self._is_cancelled = False

    @classmethod
    async def begin(
        cls,
        provider: str,
        kind: Kind,
        registration: Registration,
        http: httpx.AsyncClient,
        *,
        listen: bool = True,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> "LoginSession":
        """Go as far as one can without the user.

        http: must stay open until the login has ended. listen: let a browser on this machine bring the answer.
        Raises LoginFailed where the registration does not allow this kind, GrantRefused, EndpointTrouble.
        """
        if not registration.client_id:
            raise LoginFailed(f"there is no OAuth client for {provider}: set providers.{provider}.oauth.client-id")
        session = cls(provider, kind, clock)
        match kind:
            case "browser":
                callback = session.callback if listen else None
                session._flow = await AuthorizationCode.begin(registration, http, session.state, callback, clock)
            case "device":
                session._flow = await begin_device(registration, http, clock, sleep)
            case "codex-device":
                session._flow = await begin_codex_device(registration, http, clock, sleep)
        return session

    @property
    def prompt(self) -> Prompt:
        return self._flow.prompt

    # ------------------------------------------------------------ what the user does

    def paste(self, text: str) -> None:
        """Take a redirect URL, its query, `code#state` or a code. Raises LoginFailed; the login goes on waiting then,
        unless the text says that it was denied."""
        self._take(of_text(text), state_required=False)

    def callback(self, query: Mapping[str, str]) -> Page:
        """Take what a browser brought, and say what to show there."""
        try:
            self._take(of_query(query), state_required=True)
        except LoginFailed as fault:
            words = str(fault)
            return Page(400, "Not logged in", f"{words[:1].upper()}{words[1:]}.")
        return Page(200, "Almost done", "You can close this window: cliproxy goes on where you started the login.")

    def _take(self, redirect: Redirect, *, state_required: bool) -> None:
        redirect.check_state(self.state, required=state_required)
        self._flow.redirected(redirect)

    def cancel(self) -> None:
        """End the login at once, as far as it has not ended."""
        self._is_cancelled = True
        if self._limit:
            self._limit.reschedule(asyncio.get_running_loop().time())

    # ------------------------------------------------------------ what comes of it

    async def result(self) -> Tokens:
        """The tokens, when the user has acted. Raises LoginFailed, GrantRefused, EndpointTrouble."""
        return await self.complete(_as_they_are)

    async def complete[T](self, save: Save[T]) -> T:
        """Wait for the tokens, and hand them to `save`; the login has succeeded when that has.

        Raises LoginFailed, GrantRefused, EndpointTrouble, and what `save` raises.
        """
        try:
            saved = await save(await self._tokens())
            self._end("ok")
            return saved
        except OAuthFault as fault:
            self._end("error", str(fault))
            raise
        except asyncio.CancelledError:
            self._end("error", "cancelled")
            raise
        except Exception as error:
            self._end("error", str(error) or type(error).__name__)
            raise
        finally:
            await self.aclose()

    async def _tokens(self) -> Tokens:
        left_s = 0.0 if self._is_cancelled else max(0.0, self.prompt.expires_at_s - self._clock())
        try:
            async with asyncio.timeout(left_s) as self._limit:
                return await self._flow.tokens()
        except TimeoutError:
            raise LoginFailed("cancelled" if self._is_cancelled else "nobody has acted in time") from None
        finally:
            self._limit = None

    def _end(self, status: Status, error: str = "") -> None:
        self.status, self.error, self.ended_at_s = status, error, self._clock()

    async def aclose(self) -> None:
        """Give back what the login holds: its port, and what waits for an answer."""
        await self._flow.aclose()


async def _as_they_are(tokens: Tokens) -> Tokens:
    return tokens


class LoginSessions:
    """Logins that go on by themselves, found by their state; those that have ended are kept for `FINISHED_S`."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._sessions: dict[str, LoginSession] = {}
        """By state."""
        self._completions: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()

    async def begin(
        self,
        provider: str,
        kind: Kind,
        registration: Registration,
        http: httpx.AsyncClient,
        save: Save[object],
        *,
        listen: bool = True,
    ) -> LoginSession:
        """Begin a login as `LoginSession.begin` does, and complete it in the background.

        http: the login's own; it is closed in the end. Another login of the same provider and kind that still waits is
        cancelled: it holds the port, and would get this one's answers.
        """
        try:
            for other in list(self._sessions.values()):
                if (other.provider, other.kind, other.status) == (provider, kind, "wait"):
                    other.cancel()
                    await asyncio.wait([self._completions[other.state]])
            session = await LoginSession.begin(provider, kind, registration, http, listen=listen, clock=self._clock)
        except BaseException:
            await http.aclose()
            raise
        self._sessions[session.state] = session
        self._completions[session.state] = self._tasks.start(_completed(session, save, http), f"login to {provider}")
        return session

    def __iter__(self) -> Iterator[LoginSession]:
        """Those that are pending or ended not long ago."""
        self._forget()
        return iter(list(self._sessions.values()))

    def get(self, state: str) -> LoginSession | None:
        """The login that a state belongs to, pending or ended not long ago."""
        self._forget()
        return self._sessions.get(state)

    def _forget(self) -> None:
        earliest_s = self._clock() - FINISHED_S
        for session in list(self._sessions.values()):
            if session.ended_at_s is not None and session.ended_at_s < earliest_s:
                del self._sessions[session.state], self._completions[session.state]

    async def close(self) -> None:
        """Cancel what waits, and let what is being kept be kept."""
        for session in self._sessions.values():
            session.cancel()
        await self._tasks.join()


async def _completed(session: LoginSession, save: Save[object], http: httpx.AsyncClient) -> None:
    try:
        await session.complete(save)
        logger.info("logged in to %s", session.provider)
    except Exception:
        # The session tells whoever asks; nobody awaits this task.
        logger.warning("the login to %s failed: %s", session.provider, session.error)
    finally:
        await http.aclose()

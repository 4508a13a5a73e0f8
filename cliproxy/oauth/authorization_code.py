"""Logging in with a browser: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636), as a native app (RFC 8252).

The browser brings the code to a loopback address, or the user pastes the address that it ended at, which needs neither
a browser on this machine nor a free port. Both ways are open at once.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
from authlib.oauth2 import OAuth2Client

from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.flow import PENDING_S, Clock, Flow, Prompt
from cliproxy.oauth.loopback import Loopback
from cliproxy.oauth.page import Page
from cliproxy.oauth.redirect import Redirect
from cliproxy.oauth.registration import Registration
from cliproxy.oauth.token_endpoint import exchange_code
from cliproxy.oauth.tokens import Tokens


class AuthorizationCode(Flow):
    """A browser login that waits for its code."""

    def __init__(
        self, registration: Registration, http: httpx.AsyncClient, state: str, loopback: Loopback | None
    ) -> None:
        self._registration = registration
        self._http = http
        self._state = state
        self._loopback = loopback
        self._verifier = secrets.token_urlsafe(48) if registration.pkce else ""
        self._answer: asyncio.Future[Redirect] = asyncio.get_running_loop().create_future()

    @classmethod
    async def begin(
        cls,
        registration: Registration,
        http: httpx.AsyncClient,
        state: str,
        callback: Callable[[Mapping[str, str]], Page] | None,
        clock: Clock,
    ) -> "AuthorizationCode":
        """callback: is given the query of each answer that reaches the loopback address; None: nothing listens.

        A port that is taken leaves the way by pasting. Raises LoginFailed where the registration lacks an address.
        """
        if not registration.authorize_url:
            raise LoginFailed("there is no address to log in at with a browser (authorize-url)")
        loopback = Loopback(registration.redirect_path, callback) if callback else None
        port = await loopback.open(registration.redirect_port) if loopback else 0
        registration = replace(registration, redirect_port=port or registration.redirect_port)
        flow = cls(registration, http, state, loopback)
        flow.prompt = Prompt(flow._url(), clock() + PENDING_S, is_listening=bool(port))
        return flow

    def _url(self) -> str:
        registration = self._registration
        client = OAuth2Client(
            None,
            registration.client_id,
            scope=" ".join(registration.scopes) or None,
            redirect_uri=registration.redirect_uri,
            code_challenge_method="S256",
        )
        parameters = {
            name: value.replace("{redirect_uri}", registration.redirect_uri)
            for name, value in registration.authorize_params.items()
        }
        url, _ = client.create_authorization_url(
            registration.authorize_url, self._state, self._verifier or None, **parameters
        )
        return url

    def redirected(self, redirect: Redirect) -> None:
        if not redirect.code and not redirect.error:
            raise LoginFailed("this answer holds no code: the right one comes after you have agreed")
        if not self._answer.done():
            self._answer.set_result(redirect)
        elif self._answer.result() != redirect:  # and not a page that was loaded twice
            raise LoginFailed("this login has its answer already")
        if redirect.error:
            raise _denied(redirect)

    async def tokens(self) -> Tokens:
        registration, redirect = self._registration, await self._answer
        if redirect.error:
            raise _denied(redirect)
        return await exchange_code(
            registration, redirect.code, self._verifier, registration.redirect_uri, self._http, state=self._state
        )

    async def aclose(self) -> None:
        self._answer.cancel()
        if self._loopback:
            await self._loopback.close()


def _denied(redirect: Redirect) -> LoginFailed:
    said = f": {redirect.description}" if redirect.description else ""
    if redirect.error == "access_denied":
        return LoginFailed(f"access was denied{said}")
    return LoginFailed(f"the login was refused with {redirect.error}{said}")

"""An authorization server on loopback: browser, device and Codex's device logins, rotating refresh tokens, and faults.

`async with AuthorizationServer() as server:` in a test; as a process of its own, which prints its port:
`python -m tests.oauth.authorization_server --expires-in 1`. What it saw is `server.ledger`, or `GET /ledger`.
"""

import asyncio
import html
import json
import time
from argparse import ArgumentParser
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from secrets import token_bytes
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from authlib.common.security import generate_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from cliproxy.oauth.registration import Registration
from tests.oauth.grants import Issuer
from tests.oauth.records import USER, Client, Code, DeviceCode, Ledger, Reply, Request, Settings

CLIENT_ID = "test-client"


@dataclass
class Fault:
    """What happens to a request to the token endpoint."""

    status: int | None = 503
    """None: the answer that is due."""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    """The answer waits for it."""
    is_honoured: bool = False
    """The grant is honoured first; its answer is lost."""
    hangs_up: bool = False
    """The connection ends without an answer."""


class AuthorizationServer:
    """Listens on `url` until the block ends."""

    url: str
    port: int

    def __init__(self, *, secret: str = "", clock: Callable[[], float] = time.time) -> None:
        """secret: of the client; without one it is public. clock: UTC epoch seconds; the server's is ahead by
        `settings.skew_s`."""
        self.issuer = Issuer(Client(CLIENT_ID, secret), clock)
        self.token_requests: list[dict[str, str]] = []
        """Parameters of each request to the token endpoint."""
        self.headers: list[Mapping[str, str]] = []
        """Headers of the same."""
        self._faults: deque[Fault] = deque()
        self._arrived = asyncio.Condition()
        app = web.Application()
        app.on_response_prepare.append(self._date)
        app.add_routes(
            [
                web.get("/oauth/authorize", self._authorize),
                web.post("/oauth/authorize", self._authorize),
                web.post("/oauth/token", self._token),
                web.post("/oauth/device/code", self._endpoint("device_authorization")),
                web.post("/oauth/revoke", self._endpoint("revocation")),
                web.get("/oauth/userinfo", self._userinfo),
                web.get("/device", self._device_page),
                web.post("/device", self._device_page),
                web.get("/codex/device", self._device_page),
                web.post("/codex/device", self._device_page),
                web.post("/api/accounts/deviceauth/usercode", self._codex_usercode),
                web.post("/api/accounts/deviceauth/token", self._codex_token),
                web.get("/ledger", self._ledger),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)

    async def __aenter__(self) -> Self:
        await self.listen(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def listen(self, port: int) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]
        self.url = self.issuer.url = f"http://127.0.0.1:{self.port}"

    # ------------------------------------------------------------ for tests

    @property
    def settings(self) -> Settings:
        return self.issuer.settings

    @property
    def ledger(self) -> Ledger:
        return self.issuer.ledger

    def registration(self, **fields: Any) -> Registration:
        """The client's registration at this server; its redirect port is any. fields: in place of the usual."""
        usual = {
            "token_url": f"{self.url}/oauth/token",
            "client_id": CLIENT_ID,
            "client_secret": self.issuer.client.secret,
            "authorize_url": f"{self.url}/oauth/authorize",
            "device_url": f"{self.url}/oauth/device/code",
            "userinfo_url": f"{self.url}/oauth/userinfo",
            "scopes": ("openid", "email"),
        }
        return Registration(**{**usual, **fields})

    @property
    def codex_device_url(self) -> str:
        """In place of `device_url` for Codex's device form."""
        return f"{self.url}/api/accounts/deviceauth/usercode"

    def fail(self, *faults: Fault) -> None:
        """What happens to the next requests to the token endpoint, one after the other."""
        self._faults.extend(faults)

    async def asked(self, times: int) -> None:
        """Wait until so many requests have reached the token endpoint since the start."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.token_requests) >= times)

    # ------------------------------------------------------------ endpoints

    async def _authorize(self, request: web.Request) -> web.Response:
        ours = Request("GET", str(request.url), request.headers, dict(request.query))
        try:
            grant = self.issuer.get_consent_grant(ours, end_user=USER)
        except OAuth2Error as error:
            return web.Response(status=400, text=f"{error.error}: {error.description}")
        consent = self.settings.consent
        if consent == "ask":
            if request.method == "GET":
                return _page("Sign in to the test server", _BUTTONS)
            consent = "agree" if "agree" in await request.post() else "deny"
        user = USER if consent == "agree" else None
        reply: Any = self.issuer.create_authorization_response(ours, user, grant)
        return _response(reply)

    async def _token(self, request: web.Request) -> web.Response:
        is_json = request.content_type == "application/json"
        parameters = await request.json() if is_json else await _form(request)
        async with self._arrived:
            self.token_requests.append(parameters)
            self.headers.append(request.headers)
            self._arrived.notify_all()
        fault = self._faults.popleft() if self._faults else Fault(None)
        if self.settings.bodies not in ("any", "json" if is_json else "form"):
            return _response((415, {"error": "invalid_request", "error_description": "wrong content type"}, []))
        if fault.gate:
            await fault.gate.wait()
        reply: Reply = (fault.status or 500, fault.body, list(fault.headers.items()))
        if fault.status is None or fault.is_honoured:
            honoured = self.issuer.create_token_response(Request("POST", str(request.url), request.headers, parameters))
            reply = honoured if fault.status is None else reply
        if fault.hangs_up:
            assert request.transport
            request.transport.abort()
        return _response(reply)

    def _endpoint(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            ours = Request("POST", str(request.url), request.headers, await _form(request))
            return _response(self.issuer.create_endpoint_response(name, ours))

        return handle

    async def _userinfo(self, request: web.Request) -> web.Response:
        if not self.issuer.accepts(request.headers.get("authorization", "").removeprefix("Bearer ")):
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response(self.settings.claims)

    async def _device_page(self, request: web.Request) -> web.Response:
        """Where the user enters or confirms a code; `agree` or `deny` is the button."""
        form = await request.post()
        if not form:
            code = html.escape(request.query.get("user_code", ""), quote=True)
            return _page("Enter the code", f'<input name="user_code" value="{code}">{_BUTTONS}')
        known = self.issuer.decide(str(form["user_code"]), agrees="agree" in form)
        return _page("Thank you" if known else "No such code", "")

    async def _codex_usercode(self, request: web.Request) -> web.Response:
        if (await request.json()).get("client_id") != CLIENT_ID:
            return web.json_response({"error": {"code": "invalid_client", "message": "unknown client"}}, status=401)
        code = DeviceCode(
            generate_token(20),
            f"{generate_token(4, _LETTERS)}-{generate_token(5, _LETTERS)}",
            CLIENT_ID,
            "openid email",
            self.issuer.clock() + self.settings.device_code_life_s,
        )
        self.issuer.device_codes[code.device_code] = code
        interval = str(self.settings.interval_s)  # as there
        return web.json_response(
            {"device_auth_id": code.device_code, "user_code": code.user_code, "interval": interval}
        )

    async def _codex_token(self, request: web.Request) -> web.Response:
        asked = await request.json()
        device = self.issuer.device_codes.get(asked.get("device_auth_id"))
        if device is None or device.user_code != asked.get("user_code"):
            return web.json_response({"error": {"code": "not_found"}}, status=404)
        if device.decision is None:
            return web.json_response({"error": {"code": "authorization_pending"}}, status=403)
        del self.issuer.device_codes[device.device_code]
        if not device.decision:
            return web.json_response({"error": {"code": "access_denied", "message": "The user said no."}}, status=400)
        verifier = urlsafe_b64encode(token_bytes(48)).decode()
        challenge = create_s256_code_challenge(verifier)
        code = Code(generate_token(24), f"{self.url}/deviceauth/callback", device.scope, challenge)
        self.issuer.codes[code.code] = code
        return web.json_response(
            {"authorization_code": code.code, "code_verifier": verifier, "code_challenge": challenge}
        )

    async def _ledger(self, request: web.Request) -> web.Response:
        return web.json_response({**asdict(self.ledger), "token_requests": len(self.token_requests)})

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.issuer.now_s, usegmt=True)


_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_BUTTONS = '<button name="agree" value="1">Agree</button><button name="deny" value="1">Deny</button>'


async def _form(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def _page(title: str, form: str) -> web.Response:
    text = f'<!doctype html><title>{title}</title><h1>{title}</h1><form method="post">{form}</form>'
    return web.Response(text=text, content_type="text/html")


def _response(reply: Reply) -> web.Response:
    status, body, headers = reply
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(status=status, text=text, headers=headers)


async def _serve() -> None:
    options = ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--expires-in", type=int, default=3600, help="life of access tokens, seconds")
    options.add_argument("--interval", type=int, default=5, help="seconds between questions about a device code")
    options.add_argument("--consent", choices=("agree", "deny", "ask"), default="ask")
    chosen = options.parse_args()
    server = AuthorizationServer()
    server.settings.expires_in_s = chosen.expires_in
    server.settings.interval_s = chosen.interval
    server.settings.consent = chosen.consent
    await server.listen(chosen.port)
    print(server.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())

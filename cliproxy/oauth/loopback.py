"""The address on this machine to which a browser brings the answer of an authorization server (RFC 8252, 7.3)."""

import contextlib
from collections.abc import Callable, Mapping

from aiohttp import web

from cliproxy.oauth.page import PAGE_HEADERS, Page

_HOSTS = ("127.0.0.1", "::1")
"""Browsers take either for `localhost`."""
_LAST_ANSWER_S = 2.0
"""How long a page may take to reach the browser once the listener is to close."""


class Loopback:
    """Listens on loopback only, for one path. Nothing listens before `open` or after `close`."""

    def __init__(self, path: str, answer: Callable[[Mapping[str, str]], Page]) -> None:
        """answer: is given the query of each callback."""
        self._path = path
        self._answer = answer
        server = web.Server(self._serve, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=_LAST_ANSWER_S)

    async def open(self, port: int) -> int:
        """Listen, and return the port; 0 where somebody else has it. port: 0 takes any."""
        await self._runner.setup()
        for host in _HOSTS:
            with contextlib.suppress(OSError):  # taken, or a machine without IPv6
                await web.TCPSite(self._runner, host, port).start()
                port = port or self._runner.addresses[0][1]
        return port if self._runner.addresses else 0

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        if request.path != self._path or request.method != "GET":
            page = Page(404, "Not found", "Only the answer to a login belongs here.")
        else:
            page = self._answer(request.query)
        return web.Response(status=page.status, text=page.html, headers=PAGE_HEADERS)

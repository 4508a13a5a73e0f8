"""mitmweb as its page sees it: the flows, what views make of them, and what a user does to them, over its REST API."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, Self
from urllib.parse import quote

from aiohttp import ClientSession, CookieJar
from mitmproxy.io import FlowReader
from yarl import URL

from addons.labels import ATTEMPT
from tests.processes import Gateway

PASSWORD = "test-word"
XSRF_COOKIE, XSRF_TOKEN = "_mitmproxy_xsrf", "00" * 16
"""A page proves by the same token in both places that it is mitmweb's own; which one does not matter."""

Part = Literal["request", "response"]


def free_port() -> int:
    """A port of loopback that was free a moment ago: mitmweb does not say which one it took."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def options(port: int) -> tuple[str, ...]:
    """What mitmweb is started with so that `Mitmweb` reaches it."""
    settings = (f"web_port={port}", f"web_password={PASSWORD}", "web_open_browser=false")
    return tuple(word for setting in settings for word in ("--set", setting))


def page(port: int) -> str:
    """The address of its page."""
    return f"http://127.0.0.1:{port}/?token={PASSWORD}"


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as the API tells of it."""

    id: str
    raw: dict[str, Any]

    @property
    def is_attempt(self) -> bool:
        return self.raw["comment"].startswith("attempt ")

    @property
    def is_paused(self) -> bool:
        return self.raw["intercepted"]

    @property
    def error(self) -> str:
        return (self.raw.get("error") or {}).get("msg", "")


class Mitmweb:
    """A user of one mitmweb."""

    def __init__(self, session: ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    @classmethod
    @asynccontextmanager
    async def of(cls, gateway: Gateway, port: int) -> AsyncIterator[Self]:
        """gateway: a mitmweb that was started with `options(port)`; wait until its page is there."""
        await gateway.wait_for("Web server listening")
        jar = CookieJar(unsafe=True)
        jar.update_cookies({XSRF_COOKIE: XSRF_TOKEN}, URL(page(port)))
        async with ClientSession(cookie_jar=jar, headers={"X-XSRFToken": XSRF_TOKEN}) as session:
            async with session.get(page(port)) as answer:
                assert answer.status == 200
            yield cls(session, port)

    async def flows(self) -> list[Flow]:
        return [Flow(raw["id"], raw) for raw in await self._json("GET", "/flows")]

    async def wait_for(self, wanted: Callable[[Flow], bool]) -> Flow:
        """The newest flow of a kind, when there is one."""
        while True:
            found = [flow for flow in await self.flows() if wanted(flow)]
            if found:
                return found[-1]
            await asyncio.sleep(0.02)

    async def paused_attempt(self) -> Flow:
        return await self.wait_for(lambda flow: flow.is_attempt and flow.is_paused)

    async def view(self, flow: Flow, part: Part, view: str = "auto") -> tuple[str, str]:
        """What a view shows of a message, and the view's name."""
        shown = await self._json("GET", f"/flows/{flow.id}/{part}/content/{quote(view)}.json")
        return shown["text"], shown["view_name"]

    async def body(self, flow: Flow, part: Part) -> bytes:
        async with self._session.get(f"{self._url}/flows/{flow.id}/{part}/content.data") as answer:
            return await answer.read()

    async def edit(self, flow: Flow, **parts: Any) -> None:
        """parts: `request`, `response` with the fields to change, or `comment`, as mitmweb's page sends them."""
        await self._send("PUT", f"/flows/{flow.id}", parts)

    async def resume(self, flow: Flow) -> None:
        await self._send("POST", f"/flows/{flow.id}/resume")

    async def kill(self, flow: Flow) -> None:
        await self._send("POST", f"/flows/{flow.id}/kill")

    async def set(self, **settings: Any) -> None:
        """Change options of mitmproxy."""
        await self._send("PUT", "/options", settings)

    async def run(self, command: str, *arguments: str) -> Any:
        """The result of a command; raises RuntimeError with its message where it fails."""
        said = json.loads(await self._send("POST", f"/commands/{command}", {"arguments": arguments}))
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["value"]

    async def load(self, file: bytes) -> None:
        """Show a file of flows in place of those that are shown."""
        async with self._session.post(f"{self._url}/flows/dump", data=file) as answer:
            assert answer.status == 200

    async def saved(self, filter: str = "") -> bytes:
        """The file that "save" offers, of the flows that a filter finds."""
        async with self._session.get(f"{self._url}/flows/dump", params={"filter": filter} if filter else {}) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def found(self, filter: str) -> list[str]:
        """The ids of the flows that a filter finds."""
        return [flow.id for flow in FlowReader(BytesIO(await self.saved(filter))).stream()]

    async def clear(self) -> None:
        await self._send("POST", "/clear")

    async def _json(self, method: str, path: str) -> Any:
        async with self._session.request(method, self._url + path) as answer:
            assert answer.status == 200, (path, await answer.text())
            return await answer.json()

    async def _send(self, method: str, path: str, body: Any = None) -> str:
        async with self._session.request(method, self._url + path, json=body or {}) as answer:
            text = await answer.text()
            assert answer.status == 200, (path, text)
            return text


ATTEMPTS = f"~meta {ATTEMPT}:"
"""A filter."""

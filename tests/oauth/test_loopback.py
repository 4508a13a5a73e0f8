"""The callback is taken on loopback, by either name of it, and by nothing else."""

import socket
from collections.abc import Mapping

import httpx
import pytest

from cliproxy.oauth.loopback import Loopback
from cliproxy.oauth.page import Page


class Callbacks:
    """Takes every callback."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []

    def __call__(self, query: Mapping[str, str]) -> Page:
        self.queries.append(dict(query))
        return Page(200, "Taken", "It <fits>.")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_callback_gets_a_page(http: httpx.AsyncClient, host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("needs IPv6")
    callbacks = Callbacks()
    loopback = Loopback("/auth/callback", callbacks)
    port = await loopback.open(0)
    try:
        answer = await http.get(f"http://{host}:{port}/auth/callback?code=ab%2F12&state=st_1")
    finally:
        await loopback.close()
    assert callbacks.queries == [{"code": "ab/12", "state": "st_1"}]
    assert answer.status_code == 200
    assert "It &lt;fits&gt;." in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(("method", "path"), [("GET", "/favicon.ico"), ("POST", "/callback"), ("GET", "/callback/x")])
async def test_nothing_else_is_a_callback(http: httpx.AsyncClient, method: str, path: str) -> None:
    callbacks = Callbacks()
    loopback = Loopback("/callback", callbacks)
    port = await loopback.open(0)
    try:
        answer = await http.request(method, f"http://127.0.0.1:{port}{path}?code=ab12")
    finally:
        await loopback.close()
    assert answer.status_code == 404
    assert callbacks.queries == []


async def test_a_port_that_is_taken_is_not_fatal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        others = [socket.create_server(("::1", port), family=socket.AF_INET6)] if has_ipv6() else []
        loopback = Loopback("/callback", Callbacks())
        assert await loopback.open(port) == 0
        await loopback.close()
        for other in others:
            other.close()


async def test_after_closing_the_port_is_free(free_port: int) -> None:
    loopback = Loopback("/callback", Callbacks())
    assert await loopback.open(free_port) == free_port
    await loopback.close()
    with socket.create_server(("127.0.0.1", free_port)):
        pass

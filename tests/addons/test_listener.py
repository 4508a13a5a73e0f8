"""Where plain `mitmdump -s cliproxy_addon.py` listens, and what happens when it cannot."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.answers import Answer
from tests.conftest import Start
from tests.processes import Gateway, listening, mitmproxy
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

MITMPROXYS_DEFAULT_PORT = 8080


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of loopback on which someone else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def listening_ports(gateway: Gateway) -> set[int]:
    """The ports on which a process listens, from the kernel's tables."""
    process = Path(f"/proc/{gateway.process.pid}")
    own = set()
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            own.add(str(descriptor.readlink()))
    rows = [row.split() for name in ("tcp", "tcp6") for row in (process / "net" / name).read_text("ascii").splitlines()]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}


async def test_plain_mitmdump_listens_where_the_config_says_and_nowhere_else(
    confdir: Path, free_port: int, client: ClientSession
) -> None:
    with suppress(OSError), socket.create_server(("", MITMPROXYS_DEFAULT_PORT)):
        # Taken by this test, or, with the OSError, by someone else: either way it is nobody's concern.
        await _listens_at(confdir, free_port, client)
        return
    await _listens_at(confdir, free_port, client)


async def _listens_at(confdir: Path, port: int, client: ClientSession) -> None:
    config = {"host": "127.0.0.1", "port": port}
    async with mitmproxy(confdir, config=config, mode=None) as gateway:
        await listening(gateway)
        assert gateway.port == port
        async with client.get(f"{gateway.url}/healthz") as answer:
            assert answer.status == 200
        assert listening_ports(gateway) == {port}
        assert "fail" not in gateway.text
        assert str(MITMPROXYS_DEFAULT_PORT) not in gateway.text
        assert await gateway.stop() == 0


async def test_mitmproxys_default_port_is_given_up(confdir: Path) -> None:
    async with mitmproxy(confdir, config={"port": 0}, mode=None) as gateway:
        await listening(gateway)
        assert listening_ports(gateway) == {gateway.port}


@pytest.mark.parametrize("how", ["by the config", "by --mode"])
async def test_a_port_in_use_ends_the_start_with_a_message(confdir: Path, taken_port: int, how: str) -> None:
    config, mode = {"port": taken_port}, None
    if how == "by --mode":
        config, mode = {}, f"reverse:http://cliproxy.internal@127.0.0.1:{taken_port}"
    async with mitmproxy(confdir, config=config, mode=mode) as gateway:
        assert await gateway.ended() == 1
    assert f"failed to listen on 127.0.0.1:{taken_port}" in gateway.text


async def test_a_mode_that_the_user_asks_for_stays(
    start: Start, shared_upstream: Upstream, client: ClientSession, tmp_path: Path
) -> None:
    gateway = await start({"certs-dir": str(tmp_path)}, mode="regular@127.0.0.1:0")
    shared_upstream.script(Answer(body=b"through the proxy"))
    async with client.get(f"{shared_upstream.url}/v1/models", proxy=gateway.url) as answer:
        assert await answer.read() == b"through the proxy"

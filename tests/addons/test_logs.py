"""Log files of a real mitmdump: of calls whole, of those that failed, of the log; and what a full disk does to them."""

import resource
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests import native
from tests.calls import ask, call
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, config_for, listening, mitmproxy
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "test-management-key"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the logs are."""
    monkeypatch.setenv("WRITABLE_PATH", str(tmp_path))
    return tmp_path / "logs"


def _written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


async def test_calls_are_written_and_downloaded_without_secrets(
    confdir: Path, client: ClientSession, folder: Path
) -> None:
    async with Upstream() as upstream:
        more = {"request-log": True, "logging-to-file": True, "remote-management": {"secret-key": KEY}}
        config = config_for(upstream, usage={"path": str(folder.parent / "usage.db")}, **more)
        async with mitmproxy(confdir, config=config) as gateway:
            await listening(gateway)
            await ask(client, gateway, call("anthropic", stream=True))
            upstream.script(native.error("openai-chat", 400, "not like this"))
            await ask(client, gateway, call("openai-chat"))
            assert await gateway.stop() == 0
        written = _written(folder)
        (whole,) = [text for name, text in written.items() if name.startswith("v1-messages-")]
        assert "message_stop" in whole
        assert "=== API REQUEST 1 ===" in whole
        (failed,) = [text for name, text in written.items() if name.startswith("error-v1-chat-completions-")]
        assert failed.count("not like this") >= 2
        assert "main.log" in written
        for secret in (CLIENT_KEY, UPSTREAM_KEY, KEY):
            assert secret not in "".join(written.values())
        async with mitmproxy(confdir, config=config) as gateway:
            await listening(gateway)
            identity = (
                next(name for name in written if name.startswith("error-")).rpartition("-")[2].removesuffix(".log")
            )
            url = f"{gateway.url}/v0/management/request-log-by-id/{identity}"
            async with client.get(url, headers=HEADERS) as reply:
                assert (reply.status, await reply.text()) == (200, failed)
            assert await gateway.stop() == 0


async def test_a_full_disk_fails_no_request(confdir: Path, client: ClientSession, folder: Path) -> None:
    async with Upstream() as upstream:
        config = config_for(upstream, **{"request-log": True, "usage-statistics-enabled": False})
        async with mitmproxy(confdir, config=config) as gateway:
            await listening(gateway)
            resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
            reply = await ask(client, gateway, call("anthropic"))
            assert reply.status == 200
            await gateway.stop()
        assert _written(folder) == {}


async def test_image_routes_are_gone_where_they_are_disabled(
    confdir: Path, client: ClientSession, folder: Path
) -> None:
    async with Upstream() as upstream:
        config = config_for(upstream, **{"disable-image-generation": True, "usage-statistics-enabled": False})
        async with mitmproxy(confdir, config=config) as gateway:
            await listening(gateway)
            url = f"{gateway.url}/v1/images/generations"
            headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
            async with client.post(url, json={"model": "x", "prompt": "y"}, headers=headers) as reply:
                assert reply.status == 404
                assert "disabled" in await reply.text()
            assert await gateway.stop() == 0
        assert not upstream.requests

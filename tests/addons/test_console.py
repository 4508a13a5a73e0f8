"""mitmproxy's console in a terminal: an exchange is looked at, paused and sent on by keys alone."""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests import mitmweb
from tests.calls import call
from tests.processes import CLIENT_KEY, ROOT, UPSTREAM_KEY, config_for, written
from tests.upstream import Upstream

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")


class Terminal:
    """A program in a terminal of tmux, whose server is its own."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ("tmux", "-S", str(socket), "-f", "/dev/null")

    async def start(self, *command: str) -> None:
        await self._run("new-session", "-d", "-x", "180", "-y", "60", *command)

    async def press(self, *keys: str) -> None:
        """Keys by tmux's names, or texts."""
        await self._run("send-keys", *keys)

    async def command(self, line: str) -> None:
        """A command of mitmproxy's."""
        await self.press(":")
        await self._run("send-keys", "-l", line)
        await self.press("Enter")

    async def shows(self, pattern: str) -> str:
        """Wait until the screen matches; give all of it."""
        while True:
            screen = await self._run("capture-pane", "-p")
            if re.search(pattern, screen):
                return screen
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        await self._run("kill-server")

    async def _run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._tmux, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await process.communicate()
        return out.decode()


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    running = Terminal(tmp_path / "tmux")
    yield running
    await running.end()


async def test_the_console(terminal: Terminal, upstream: Upstream, confdir: Path, tmp_path: Path) -> None:
    port = mitmweb.free_port()
    program = str(Path(sys.executable).with_name("mitmproxy"))
    options = ("--set", f"confdir={confdir}", "--set", f"cliproxy_config={written(tmp_path, config_for(upstream))}")
    mode = f"reverse:http://cliproxy.internal@127.0.0.1:{port}"
    await terminal.start(program, "-s", str(ROOT / "cliproxy_addon.py"), "--mode", mode, *options)
    url = f"http://127.0.0.1:{port}"
    async with ClientSession() as client:
        await _waited_for(client, url)
        asked = call("openai-chat", stream=True, model="anthropic-model")
        async with client.post(url + asked.path, headers=asked.headers, json=asked.json) as answer:
            assert "hello" in await answer.text()
        screens = [await terminal.shows(r"/v1/messages")]

        await terminal.press("G", "Enter")
        screens.append(await terminal.shows(r"format: openai-chat → anthropic"))
        await terminal.press("q", "k", "Enter")
        screens.append(await terminal.shows(r"request: anthropic-model \(openai-chat, streamed\)"))
        await terminal.press("Tab")
        screens.append(await terminal.shows(r"text: hello from upstream"))
        await terminal.press("q")

        await terminal.command("cliproxy.credentials")
        screens.append(await terminal.shows(r"claude sk-t…#\w+ +anthropic +priority 0 +ready"))
        await terminal.press("q")

        await terminal.command("set intercept '~meta cliproxy.attempt: & ~q'")
        asking = asyncio.create_task(client.post(url + asked.path, headers=asked.headers, json=asked.json))
        screens.append(await terminal.shows(r"(?s)/v1/messages.*/v1/messages"))
        assert len(upstream.requests) == 1
        await terminal.command("flow.resume @all")
        async with await asking as answer:
            assert "hello" in await answer.text()
    assert len(upstream.requests) == 2
    for secret in (CLIENT_KEY, UPSTREAM_KEY):
        assert not [screen for screen in screens if secret in screen]
    await terminal.press("Q")


async def _waited_for(client: ClientSession, url: str) -> None:
    while True:
        try:
            async with client.get(f"{url}/healthz") as answer:
                assert answer.status == 200
                return
        except OSError:
            await asyncio.sleep(0.05)

"""Fixtures that every test may use: a mock upstream, and real mitmproxy processes with the gateway in them."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.upstream import Upstream

ROOT = Path(__file__).resolve().parent.parent
CLIENT_KEY = "sk-test-client-key"
UPSTREAM_KEY = "sk-test-upstream-key"

_LISTENING = re.compile(r"listening at (?:\S*:)(\d+)")


@dataclass
class Mitmproxy:
    """A running mitmdump or mitmweb with the gateway in it."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Read the log until a line matches; what was read before counts too."""
        for line in self.log:
            if found := re.search(pattern, line):
                return found
        assert self.process.stdout
        while line := (await self.process.stdout.readline()).decode():
            self.log.append(line.rstrip())
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} never came; the log is:\n" + "\n".join(self.log))

    async def stop(self) -> int:
        """End it as a user would, and return its exit code; its remaining output is in `log`."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        rest, _ = await self.process.communicate()
        self.log.extend(rest.decode().splitlines())
        return self.process.returncode or 0


async def launch(program: str, *arguments: str) -> Mitmproxy:
    """Start one of mitmproxy's programs of this interpreter's installation."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(program)),
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        limit=2**20,
    )
    return Mitmproxy(process)


Start = Callable[..., Any]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start gateways: `await start(config, *mitmproxy arguments, mode=…)`. All end with the test."""
    running: list[Mitmproxy] = []

    async def _start(
        config: dict[str, Any],
        *arguments: str,
        program: str = "mitmdump",
        mode: str = "reverse:http://cliproxy.internal@127.0.0.1:0",
    ) -> Mitmproxy:
        path = tmp_path / f"config-{len(running)}.yaml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        confdir = tmp_path / "mitmproxy"
        gateway = await launch(
            program, "-s", str(ROOT / "cliproxy_addon.py"), "--set", f"cliproxy_config={path}",
            "--set", f"confdir={confdir}", "--mode", mode, *arguments,
        )  # fmt: skip
        running.append(gateway)
        gateway.port = int((await gateway.wait_for(_LISTENING.pattern))[1])
        return gateway

    yield _start
    for gateway in running:
        if gateway.process.returncode is None:
            await gateway.stop()


def config_for(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """A config with one client key and one credential of each format, all at the mock upstream."""
    models = [{"name": "upstream-model", "alias": "model"}]
    return {
        "api-keys": [CLIENT_KEY],
        "openai-compatibility": [
            {
                "name": "chat",
                "base-url": f"{upstream.url}/v1",
                "api-key-entries": [{"api-key": UPSTREAM_KEY}],
                "models": [{"name": "upstream-model", "alias": "chat-model"}],
            }
        ],
        "codex-api-key": [
            {"api-key": UPSTREAM_KEY, "base-url": f"{upstream.url}/v1", "models": [{**models[0], "alias": "responses-model"}]}
        ],
        "claude-api-key": [
            {"api-key": UPSTREAM_KEY, "base-url": upstream.url, "models": [{**models[0], "alias": "anthropic-model"}]}
        ],
        "gemini-api-key": [
            {"api-key": UPSTREAM_KEY, "base-url": upstream.url, "models": [{**models[0], "alias": "gemini-model"}]}
        ],
        **more,
    }

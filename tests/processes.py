"""Real mitmproxy processes with the gateway in them.

Owns starting, watching and ending them, and what must never stand in their logs; what they answer is the
business of the tests.
"""

import asyncio
import atexit
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.upstream import Upstream

ROOT = Path(__file__).resolve().parent.parent
CLIENT_KEY = "sk-test-client-key"
UPSTREAM_KEY = "sk-test-upstream-key"

PLACEHOLDER_MODE = "reverse:http://cliproxy.internal@127.0.0.1:0"
_LISTENING = r"listening at (?:\S*:)(\d+)\.$"
_FAULTS = ("crashed", "Traceback", "Unhandled", "Unclosed", "never retrieved", "never awaited")


@dataclass
class Program:
    """A running program whose output, both streams as one, is read all the time."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._grown = asyncio.Condition()
        self._ended = False
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            async with self._grown:
                self.log.append(line.decode().rstrip())
                self._grown.notify_all()
        async with self._grown:
            self._ended = True
            self._grown.notify_all()

    async def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until so many lines match, those that came before included; return the last one's match."""
        async with self._grown:
            while True:
                found = [match for line in self.log if (match := re.search(pattern, line))]
                if len(found) >= times:
                    return found[times - 1]
                assert not self._ended, f"{pattern!r} never came; the log is:\n{self.text}"
                await self._grown.wait()

    async def ended(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        await self._reader
        return await self.process.wait()

    async def stop(self) -> int:
        """End it as a user would; return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await self.ended()

    @property
    def text(self) -> str:
        """All of the log."""
        return "\n".join(self.log)

    @property
    def rss_bytes(self) -> int:
        """Its memory, as the kernel counts it now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Gateway(Program):
    """mitmdump or mitmweb with the gateway in it."""

    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """The same port; `Authority` says whom to trust."""
        return f"https://127.0.0.1:{self.port}"


@cache
def home() -> Path:
    """A home directory for programs under test: whoever runs the tests may have logins in theirs."""
    folder = Path(tempfile.mkdtemp(prefix="cliproxy-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


async def spawn[P: Program](
    kind: type[P], *command: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None
) -> P:
    """Start a program of this interpreter's installation. environ: more variables for it."""
    program, *arguments = command
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(program)),
        *arguments,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": str(home()), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **(environ or {})},
        limit=2**20,
    )
    return kind(process)


async def listening(gateway: Gateway) -> Gateway:
    """Wait until the gateway takes connections, and note its port."""
    gateway.port = int((await gateway.wait_for(_LISTENING))[1])
    return gateway


@contextlib.asynccontextmanager
async def mitmproxy(
    folder: Path, *arguments: str, config: Mapping[str, Any] | None = None, program: str = "mitmdump",
    script: Path = ROOT / "cliproxy_addon.py", mode: str | None = PLACEHOLDER_MODE,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Gateway]:  # fmt: skip
    """A gateway that ends with the block; its log must then be free of crashes, stacks and secrets.

    folder: where mitmproxy keeps its certificates. config: None means the one beside the script.
    """
    command = [program, "-s", str(script), "--set", f"confdir={folder}"]
    if config is not None:
        command += ["--set", f"cliproxy_config={written(folder, config)}"]
    if mode:
        command += ["--mode", mode]
    gateway = await spawn(Gateway, *command, *arguments, environ=environ)
    try:
        yield gateway
    finally:
        await gateway.stop()
        print(gateway.text)
    assert_clean(gateway)


def written(folder: Path, config: Mapping[str, Any]) -> Path:
    """A new file with a config."""
    path = folder / f"config-{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump(dict(config)), "utf-8")
    return path


def assert_clean(program: Program) -> None:
    """Nothing in the log tells of a crash or shows a key."""
    bad = [line for line in program.log if any(word in line for word in (*_FAULTS, CLIENT_KEY, UPSTREAM_KEY))]
    assert not bad, f"the log holds what it never may: {bad}"


type Sections = Mapping[str, list[dict[str, Any]]]
"""Lists of upstream credentials, by their keys in the config."""


def credentials(url: str, before: str = "", *, proxy_url: str = "", **of_each: Any) -> Sections:
    """One credential of each format at `url`, offering `chat-model`, `responses-model`, `anthropic-model` and
    `gemini-model`, each with `before` before its name, as names for `upstream-model`; and `own-chat-model` and
    so on, which are upstream's own names. of_each: more keys of each entry."""

    def entry(base_url: str, alias: str) -> dict[str, Any]:
        models = [{"name": "upstream-model", "alias": before + alias}, {"name": f"{before}own-{alias}"}]
        return {"base-url": base_url, "models": models, **of_each}

    key = {"api-key": UPSTREAM_KEY, **({"proxy-url": proxy_url} if proxy_url else {})}
    return {
        "openai-compatibility": [
            {"name": f"{before}chat", "api-key-entries": [key], **entry(f"{url}/v1", "chat-model")}
        ],
        "codex-api-key": [{**key, **entry(f"{url}/v1", "responses-model")}],
        "claude-api-key": [{**key, **entry(url, "anthropic-model")}],
        "gemini-api-key": [{**key, **entry(url, "gemini-model")}],
    }


def config_for(upstream: Upstream, *more: Sections, **keys: Any) -> dict[str, Any]:
    """A config with one client key, the `credentials` of the mock upstream, and what else is given.

    No credential is sidelined after a failure, since the next test may need it.
    """
    config: dict[str, Any] = {"api-keys": [CLIENT_KEY], "disable-cooling": True}
    for sections in (credentials(upstream.url), *more):
        for name, entries in sections.items():
            config[name] = [*config.get(name, ()), *entries]
    return {**config, **{name.replace("_", "-"): value for name, value in keys.items()}}

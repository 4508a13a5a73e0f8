"""`cliproxy run`: a tool intercepted through and through, and nothing of it afterwards."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import native
from tests.calls import call
from tests.processes import CLIENT_KEY, ROOT, UPSTREAM_KEY, config_for, listening, mitmproxy, written
from tests.upstream import Upstream
from tests.vendors import HOSTS, OTHER_HOST, Vendors

ASK = """
import json, os, sys, urllib.request
url, headers, body = json.load(sys.stdin)
data = None if body is None else json.dumps(body).encode()
with urllib.request.urlopen(urllib.request.Request(url, data, {**headers, "content-type": "application/json"})) as answer:
    sys.stdout.buffer.write(answer.read())
"""
"""A tool: nobody told it of a proxy or a certificate but its environment."""


class Tool:
    """Tools behind `cliproxy run`, on a machine whose way out is the vendors' proxy."""

    def __init__(self, folder: Path, vendors: Vendors) -> None:
        self.vendors = vendors
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "HTTPS_PROXY": vendors.proxy.url,
            "SSL_CERT_FILE": str(vendors.ca),
        }

    async def start(self, config: Path, *command: str, options: tuple[str, ...] = ()) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cliproxy.cli", "run", "--config", str(config), *options, "--", *command,
            cwd=ROOT, env=self.environment, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(
        self, config: Path, *command: str, options: tuple[str, ...] = (), said: str = ""
    ) -> tuple[int | None, str, str]:
        """Exit code, output and errors, once nothing is left of it."""
        process = await self.start(config, *command, options=options)
        output, errors = await process.communicate(said.encode())
        assert not list(self.temporary.iterdir())
        return process.returncode, output.decode(), errors.decode()

    async def ask(self, config: Path, host: str, *options: str, **of_call: Any) -> tuple[int | None, str, str]:
        """Call a vendor."""
        asked = call("anthropic", **of_call)
        said = json.dumps([f"https://{host}{asked.path}", dict(asked.headers), asked.json])
        return await self.run(config, sys.executable, "-c", ASK, options=options, said=said)


@pytest.fixture
async def vendors(tmp_path: Path) -> AsyncIterator[Vendors]:
    async with Vendors(tmp_path) as running:
        yield running


@pytest.fixture
def tool(tmp_path: Path, vendors: Vendors) -> Tool:
    return Tool(tmp_path, vendors)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    def _config(**keys: Any) -> Path:
        own = {"certs-dir": str(tmp_path / "certs"), "auth-dir": str(tmp_path / "accounts"), "demo": False}
        return written(tmp_path, {**own, "usage-statistics-enabled": False, **keys})

    return _config


# ---------------------------------------------------------------- calls


async def test_a_tools_calls_are_observed_by_default(tool: Tool, vendors: Vendors, config: Callable[..., Path]) -> None:
    code, output, errors = await tool.ask(config(), HOSTS["anthropic"], model="vendors-own", stream=True)
    assert (code, errors) == (0, "")
    assert output == native.text("anthropic", model="vendors-own", stream=True).whole.decode()
    (received,) = vendors.upstream.requests
    assert received.headers["x-api-key"] == CLIENT_KEY
    assert vendors.proxy.targets == ["api.anthropic.com:443"]


async def test_pooled_they_are_made_with_our_credential(
    tool: Tool, upstream: Upstream, config: Callable[..., Path]
) -> None:
    path = config(**{**config_for(upstream), "proxy-url": "direct"})
    code, output, errors = await tool.ask(path, HOSTS["anthropic"], "--mode", "pool")
    assert (code, errors) == (0, "")
    assert output == native.text("anthropic", model="upstream-model").whole.decode()
    (received,) = upstream.requests
    assert UPSTREAM_KEY in " ".join(received.headers.values())


async def test_routed_they_are_answered_by_any_provider(
    tool: Tool, upstream: Upstream, config: Callable[..., Path]
) -> None:
    path = config(**{**config_for(upstream), "proxy-url": "direct"})
    code, output, _ = await tool.ask(path, HOSTS["anthropic"], "--mode", "route", model="chat-model")
    assert code == 0
    assert json.loads(output)["content"][0]["text"] == "hello from upstream"
    assert upstream.requests[-1].path == "/v1/chat/completions"


async def test_other_hosts_stay_as_they_were(tool: Tool, vendors: Vendors, config: Callable[..., Path]) -> None:
    code, output, _ = await tool.ask(config(), OTHER_HOST, model="theirs")
    assert (code, output) == (0, native.text("anthropic", model="theirs").whole.decode())
    assert vendors.proxy.targets == [f"{OTHER_HOST}:443"]


async def test_a_host_that_the_user_has_mitmproxy_ignore_is_left_alone(
    tool: Tool, vendors: Vendors, config: Callable[..., Path]
) -> None:
    (tool.home / ".mitmproxy").mkdir()
    (tool.home / ".mitmproxy/config.yaml").write_text("ignore_hosts: ['^api\\.anthropic\\.com:443$']\n", "utf-8")
    code, output, _ = await tool.ask(config(), HOSTS["anthropic"], "--mode", "route", model="vendors-own")
    assert (code, output) == (0, native.text("anthropic", model="vendors-own").whole.decode())
    assert vendors.proxy.targets == ["api.anthropic.com:443"]


async def test_a_mitmproxy_that_runs_already_can_be_used(
    tool: Tool, vendors: Vendors, config: Callable[..., Path], confdir: Path
) -> None:
    path = config(intercept={"mode": "observe"})
    options = ("--set", f"ssl_verify_upstream_trusted_ca={vendors.ca}", "--set", f"cliproxy_config={path}")
    async with mitmproxy(confdir, *options, mode=f"upstream:{vendors.proxy.url}@127.0.0.1:0") as gateway:
        await listening(gateway)
        code, output, _ = await tool.ask(path, HOSTS["anthropic"], "--proxy", gateway.url, model="vendors-own")
    assert (code, output) == (0, native.text("anthropic", model="vendors-own").whole.decode())


# ---------------------------------------------------------------- the program itself


async def test_output_input_and_exit_code_are_the_tools(tool: Tool, config: Callable[..., Path]) -> None:
    assert await tool.run(config(), "sh", "-c", "cat; echo wrong >&2; exit 7", said="words") == (7, "words", "wrong\n")
    # mitmproxy leaves its own certificates where users expect them, but not for this.
    assert not list(tool.home.iterdir())


async def test_the_tool_ends_by_the_signal_that_was_sent(tool: Tool, config: Callable[..., Path]) -> None:
    process = await tool.start(config(), "sh", "-c", "echo ready; read line")
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 128 + signal.SIGTERM
    await process.communicate()
    assert not list(tool.temporary.iterdir())


async def test_without_its_starter_mitmproxy_ends_too_and_clears_away(tool: Tool, config: Callable[..., Path]) -> None:
    process = await tool.start(config(), "sh", "-c", "echo $HTTPS_PROXY; read line")
    assert process.stdout
    port = int((await process.stdout.readline()).rpartition(b":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT api.anthropic.com:443 HTTP/1.1\r\n\r\n")
    # Other users of this machine do not know the password.
    assert b" 407 " in await reader.readline()
    ended = _end_of(_mitmproxy_of(process.pid))
    process.kill()
    await reader.read()
    await process.communicate()
    writer.close()
    await ended
    assert not list(tool.temporary.iterdir())


async def test_a_mitmproxy_that_ends_early_is_told(tool: Tool, config: Callable[..., Path]) -> None:
    process = await tool.start(config(), "sh", "-c", "echo ready; read line; exit 3")
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    mitmproxy_ = _mitmproxy_of(process.pid)
    ended = _end_of(mitmproxy_)
    os.kill(mitmproxy_, signal.SIGKILL)
    await ended
    _, errors = await process.communicate(b"go on\n")
    assert process.returncode == 3
    assert errors.startswith(b"mitmproxy ended before the tool did:\n")
    assert not list(tool.temporary.iterdir())


def _mitmproxy_of(starter: int) -> int:
    """The process id of what `cliproxy run` started beside the tool."""
    children = Path(f"/proc/{starter}/task/{starter}/children").read_text("ascii").split()
    (found,) = (pid for pid in children if Path(f"/proc/{pid}/comm").read_text("ascii") == "mitmdump\n")
    return int(found)


def _end_of(pid: int) -> asyncio.Future[None]:
    """Done when a process that is not our child has ended."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    descriptor = os.pidfd_open(pid)

    def end() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended.set_result(None)

    loop.add_reader(descriptor, end)
    return ended


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/etc/hostname", 126)])
async def test_what_cannot_be_started_is_told_before_anything_else(
    tool: Tool, config: Callable[..., Path], command: str, code: int
) -> None:
    found = await tool.run(config(), command)
    assert found[0] == code
    assert re.fullmatch(rf"{command} cannot be started: .*\n", found[2])


async def test_no_tool_is_a_mistake(tool: Tool, config: Callable[..., Path]) -> None:
    assert await tool.run(config()) == (2, "", "name a tool to run, after --\n")


async def test_a_faulty_config_is_not_taken_for_the_tools_failure(tool: Tool, tmp_path: Path) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text("port: many\n", "utf-8")
    code, _, errors = await tool.run(path, "sh", "-c", "echo started")
    assert code == 125
    assert errors.startswith(f"{path}:1:")


async def test_a_gateway_that_does_not_start_says_why(tool: Tool, config: Callable[..., Path]) -> None:
    missing = {"enable": True, "cert": "/nonexistent/a.pem", "key": "/nonexistent/b.pem"}
    code, output, errors = await tool.run(config(tls=missing), "sh", "-c", "echo started")
    assert (code, output) == (125, "")
    assert "mitmproxy did not start" in errors
    assert "/nonexistent/a.pem" in errors


async def test_mitmwebs_address_is_told(tool: Tool, config: Callable[..., Path]) -> None:
    code, output, errors = await tool.run(config(), "sh", "-c", "echo done", options=("--web",))
    assert (code, output) == (0, "done\n")
    assert re.fullmatch(r"live view: http://127\.0\.0\.1:\d+/\?token=\w+\n", errors)

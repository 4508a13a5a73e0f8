"""The servers of a run: the harness's mock upstream, and a gateway, or two behind nginx, whose only upstream is that
mock."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

SCALE_OUT = ROOT / "examples/scale-out/run"

_START_LIMIT_S = 60
_STOP_LIMIT_S = 60

# Whatever the environment says of proxies.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotServing(Exception):
    """A server did not come up; the message has the end of its log."""


@dataclass(frozen=True)
class Upstream:
    """The mock in the role of one format's vendor."""

    section: str
    """Section of `config.yaml`."""
    path: str
    """What `base-url` has after the address."""
    own_models: str
    """The names that clients of this format ask for by themselves; they reach the upstream unchanged."""
    model: str
    """The upstream's model for every other name."""

    def config(self, format_: str, mock_url: str, client_key: str) -> dict[str, Any]:
        """A config with this upstream and no other, so that whatever a client asks for must go there."""
        entry: dict[str, Any] = {
            "base-url": mock_url + self.path,
            "models": [{"name": self.own_models}, {"name": self.model, "alias": "*"}],
        }
        if self.section == "openai-compatibility":
            entry |= {"name": "mock", "api-key-entries": [credential(format_)]}
        else:
            entry["api-key"] = credential(format_)
        return {
            "api-keys": [client_key],
            "proxy-url": "direct",
            "demo": False,
            "disable-cooling": True,  # a row that fails must not fail the next
            self.section: [entry],
        }


UPSTREAMS = {
    "anthropic": Upstream("claude-api-key", "", "claude-*", "claude-sonnet-4-5"),
    "openai-chat": Upstream("openai-compatibility", "/v1", "gpt-*", "gpt-5.5"),
    "openai-responses": Upstream("codex-api-key", "/v1", "gpt-*", "gpt-5.5"),
    # A Gemini 3 refuses function calls that come back without their thought signature.
    "gemini": Upstream("gemini-api-key", "", "gemini-*", "gemini-3.1-pro-preview"),
}


def credential(format_: str) -> str:
    """The key that only the gateway knows."""
    return f"sk-test-{format_}-upstream"


@contextmanager
def running_mock(python: Path, harness: Path, work: Path) -> Iterator[str]:
    """The URL of a mock that answers violations of a format's rules as its vendor does, with 400. Raises NotServing."""
    port = _free_port()
    command = [python, harness / "mock_llm.py", "--port", str(port), "--strict"]
    with _serving(command, port, "/__mock/health", work / "mock.log") as url:
        yield url


@contextmanager
def running_gateway(config: Mapping[str, Any], work: Path) -> Iterator[tuple[str, list[Path]]]:
    """The URL of a gateway, and the file with the errors that it logs. Raises NotServing."""
    port = _free_port()
    path = _written(config, work)
    command = [
        Path(sys.executable).with_name("mitmdump"), "-q", "-s", ROOT / "cliproxy_addon.py",
        "--mode", f"reverse:http://cliproxy.internal@127.0.0.1:{port}",
        "--set", f"cliproxy_config={path}", "--set", f"confdir={work / 'mitmproxy'}",
    ]  # fmt: skip
    log = work / "gateway.log"
    with _serving(command, port, "/healthz", log) as url:
        yield url, [log]


@contextmanager
def running_scale_out(config: Mapping[str, Any], work: Path) -> Iterator[tuple[str, list[Path]]]:
    """The URL of nginx, and the files with the errors that the two gateways behind it log. Raises NotServing."""
    port = _free_port()
    # PostgreSQL's own user has to get there.
    with tempfile.TemporaryDirectory(prefix="scale-out-", dir="/tmp") as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        command = [
            SCALE_OUT, "--port", str(port), "--directory", folder, "--config", _written(config, work), "--", "-q",
        ]  # fmt: skip
        (work / "scale-out").symlink_to(folder)
        logs = [f"gateway-{number}.log" for number in (1, 2)]
        with _serving(command, port, "/healthz", work / "scale-out.log") as url:
            yield url, [work / log for log in logs]
        for log in logs:
            shutil.copy(folder / log, work)


def restart_gateway(work: Path) -> list[str]:
    """Restart one of those behind nginx, and wait until it serves; what speaks against that."""
    command = [SCALE_OUT, "--directory", work / "scale-out", "--restart", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stderr.splitlines() if done.returncode else []


def gateways_asked(work: Path) -> set[str]:
    """The addresses of the gateways that answered model calls through nginx."""
    log = (work / "scale-out/nginx/cliproxy.log").read_text("utf-8")
    return set(re.findall(r'"POST .* (\S+:\d+) (?:\d+, )*200$', log, re.MULTILINE))


def _written(config: Mapping[str, Any], work: Path) -> Path:
    path = work / "config.yaml"
    path.write_text(json.dumps({**config, "auth-dir": str(work / "accounts")}), "utf-8")  # JSON is YAML
    return path


def mock_log(mock_url: str) -> list[dict[str, Any]]:
    """Every request that reached the mock."""
    with _direct.open(f"{mock_url}/__mock/log") as response:
        return json.load(response)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def _serving(command: Sequence[str | Path], port: int, health: str, log: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_healthy(process, url + health, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with _direct.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise NotServing(f"nothing answers at {url}:\n{log.read_text('utf-8', 'replace')[-2000:]}")

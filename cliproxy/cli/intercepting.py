"""A mitmproxy of a tool's own, which intercepts that tool: started on a free port of loopback, ended with it."""

import base64
import contextlib
import hashlib
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from cliproxy.cli.configuration import addon
from cliproxy.cli.mitmproxy_program import mitmproxy_program
from cliproxy.config.schema import Treatment

START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
TOLD_LINES = 20

_USER = "cliproxy"
_CONFDIR = Path("~/.mitmproxy")
_KEPT_OPTIONS = (
    "client_certs",
    "ignore_hosts",
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
)
"""Of the user's own for mitmproxy: how servers are reached and trusted, and which are left alone."""
_LISTENING = re.compile(r"proxy.* listening at \S*:(\d+)\.$")
_WEB_LISTENING = re.compile(r"Web server listening at (\S+)$")
_READY = "cliproxy is ready."
"""What `addons.tether` says then."""


class NotStarted(Exception):
    """mitmproxy did not come up; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Interception:
    """A mitmproxy that intercepts."""

    proxy_url: str
    """With the password that other users of this machine do not know."""
    authorities: Path
    """mitmproxy's own CA, which signs for hosts that are decrypted without being intercepted."""
    web_url: str = ""
    """Where its live view is; empty: it has none."""


@contextlib.contextmanager
def intercepting(
    config: Path, treatment: Treatment | None, folder: Path, *, web: bool = False
) -> Iterator[Interception]:
    """Intercept while the block lasts. Raises NotStarted.

    treatment: of all hosts, in place of the config's. folder: for files, readable by this user only; mitmproxy removes
    it at its end, in case that nobody else is there to. web: with mitmweb.
    """
    confdir = folder / "mitmproxy"
    password = secrets.token_urlsafe(24)
    _set_up(confdir, config, treatment, password, web=web)
    program = mitmproxy_program("mitmweb" if web else "mitmdump")
    process = subprocess.Popen(
        [program, "--set", f"confdir={confdir}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Away from the terminal and its signals, which are the tool's.
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
    )
    log = _Log(process)
    try:
        port = log.port()
        yield Interception(
            f"http://{_USER}:{password}@127.0.0.1:{port}", confdir / "mitmproxy-ca-cert.pem", log.web_url
        )
        if process.poll() is not None:
            print(log.told("mitmproxy ended before the tool did:"), file=sys.stderr)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End mitmproxy, which ends by itself when its standard input does."""
    assert process.stdin
    with contextlib.suppress(OSError):
        process.stdin.close()
    for end in (lambda: None, process.terminate, process.kill):
        end()
        try:
            process.wait(STOP_LIMIT_S)
            return
        except subprocess.TimeoutExpired:
            continue


# ---------------------------------------------------------------- mitmproxy's options


def _set_up(confdir: Path, config: Path, treatment: Treatment | None, password: str, *, web: bool) -> None:
    """Write mitmproxy's options into a file, where other users do not see them as they see a command line."""
    confdir.mkdir(mode=0o700)
    of_the_user = _CONFDIR.expanduser()
    for name in ("mitmproxy-ca.pem", "mitmproxy-ca-cert.pem"):
        if (of_the_user / name).exists():
            (confdir / name).symlink_to(of_the_user / name)
    htpasswd = confdir / "htpasswd"
    _write(htpasswd, f"{_USER}:{{SHA}}{_digest(password)}\n")
    mode, upstream_auth = _mode(os.environ)
    options = {
        **_kept_options(of_the_user / "config.yaml"),
        "mode": [mode],
        "proxyauth": f"@{htpasswd}",
        "scripts": [str(addon())],
        "cliproxy_config": str(config.absolute()),
        "cliproxy_intercept": treatment or "",
        "cliproxy_tethered": str(confdir.parent),
    }
    if upstream_auth:
        options["upstream_auth"] = upstream_auth
    # The servers' authorities that this user's other programs trust, a company's among them.
    if (trusted := os.environ.get("SSL_CERT_FILE")) and Path(trusted).is_file():
        options.setdefault("ssl_verify_upstream_trusted_ca", trusted)
    options |= {"web_open_browser": False, "web_port": _free_port()} if web else {"flow_detail": 0}
    _write(confdir / "config.yaml", yaml.safe_dump(options))


def _kept_options(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return {name: found[name] for name in _KEPT_OPTIONS if name in found} if isinstance(found, dict) else {}


def _mode(environment: Mapping[str, str]) -> tuple[str, str]:
    """mitmproxy's mode, and user and password for the proxy before it, where the environment names one."""
    listen = "127.0.0.1:0"
    named = environment.get("HTTPS_PROXY") or environment.get("https_proxy") or ""
    url = urlsplit(named if "://" in named else f"http://{named}")
    if not url.hostname or url.scheme not in ("http", "https"):
        return f"regular@{listen}", ""
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = url.port or (443 if url.scheme == "https" else 80)
    credentials = f"{unquote(url.username)}:{unquote(url.password or '')}" if url.username else ""
    return f"upstream:{url.scheme}://{host}:{port}@{listen}", credentials


def _digest(password: str) -> str:
    """As Apache's `{SHA}` has it: nothing to keep a guessable password in, but this one is not."""
    return base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# ---------------------------------------------------------------- mitmproxy's log


class _Log:
    """What mitmproxy says, read all the time so that it never waits."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.web_url = ""
        self._process = process
        self._lines: deque[str] = deque(maxlen=TOLD_LINES)
        self._port = 0
        self._ready = False
        self._known = threading.Event()
        threading.Thread(target=self._read, name="mitmproxy's log", daemon=True).start()

    def port(self) -> int:
        """Wait until all is ready, and say where it listens. Raises NotStarted."""
        self._known.wait(START_LIMIT_S)
        if not self._ready:
            raise NotStarted(self.told("mitmproxy did not start:"))
        return self._port

    def told(self, what: str) -> str:
        """Something that happened, and what mitmproxy said last."""
        return "\n".join((what, *self._lines))

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            self._lines.append(text)
            if found := _LISTENING.search(text):
                self._port = int(found[1])
            elif found := _WEB_LISTENING.search(text):
                self.web_url = found[1]
            elif text.endswith(_READY):
                self._ready = True
                self._known.set()
        self._known.set()

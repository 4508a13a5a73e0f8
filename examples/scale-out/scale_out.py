"""Runs PostgreSQL, two gateways and nginx on this machine, until Ctrl-C or SIGTERM. `run` starts this.

Everything is in one directory: the database, each gateway's copy of the store, logs, and `running.json`, which says
where the gateways are. A gateway that ends is started again, so that ending it is restarting it.
"""

import argparse
import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOST = "127.0.0.1"
MODEL_PORTS, MODEL_LOGS = (8317, 8318, 8319), "/var/log/nginx/"
"""What stands in nginx.conf."""
START_LIMIT_S = 60
RESTART_LIMIT_S = 120
"""`shutdown-grace-seconds` and a start."""
AGAIN_AFTER_S = 1.0
"""Pause before a gateway that has ended is started again."""
LAST_BYTES_S = 5.0
"""How long clients may take for what nginx still has for them when the gateways have ended."""
FORGIVEN_AFTER_S = 2.5
"""nginx has forgotten that a gateway was away (`fail_timeout`)."""

# Whatever the environment says of proxies.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """It cannot be run; the message says why."""


# ---------------------------------------------------------------- PostgreSQL


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The DSN of a server that is reached over a socket, by whoever may enter the folder: its user and root."""
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder.mkdir(mode=0o700, exist_ok=True)
    if user:
        shutil.chown(folder, user)

    def call(name: str, *arguments: str) -> None:
        command = [_program(name, *Path("/usr/lib/postgresql").glob("*/bin")), "-D", str(folder / "data"), *arguments]
        # Not ended by Ctrl-C, which is meant for this process.
        done = subprocess.run(command, cwd="/", user=user, capture_output=True, text=True, start_new_session=True)
        if done.returncode:
            raise Failed(f"{name} failed:\n{done.stdout}{done.stderr}")

    if not (folder / "data" / "PG_VERSION").exists():
        call("initdb", "-U", "cliproxy", "-A", "trust", "-E", "UTF8", "--no-locale")
    settings = f"-c listen_addresses= -k {shlex.quote(str(folder))}"
    call("pg_ctl", "start", "-w", "-l", str(folder / "postgresql.log"), "-o", settings)
    try:
        yield f"postgresql://cliproxy@/postgres?host={quote(str(folder))}"
    finally:
        call("pg_ctl", "stop", "-w", "-m", "fast")


def _program(name: str, *more: Path) -> str:
    """Debian keeps servers where users' PATH does not look."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", *(str(folder) for folder in sorted(more, reverse=True))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if not found:
        raise Failed(f"{name} is not installed: sudo apt-get install postgresql nginx")
    return found


# ---------------------------------------------------------------- gateways and nginx


@dataclass
class Gateway:
    number: int
    folder: Path
    port: int = field(default_factory=lambda: _free_port())
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None


class ScaleOut:
    """All of it. `run` returns only by an exception: CancelledError where it was told to end."""

    def __init__(self, folder: Path, port: int, config: Path, mitmproxy_args: Sequence[str]) -> None:
        """config: what a store that is empty begins with. mitmproxy_args: for each gateway's mitmdump."""
        self._folder = folder
        self._url = f"http://{HOST}:{port}"
        self._port = port
        self._config = config
        self._mitmproxy_args = mitmproxy_args
        self._gateways = [Gateway(number, folder / f"gateway-{number}") for number in (1, 2)]
        self._keeping: list[asyncio.Task[None]] = []
        self._nginx: Process | None = None
        self._is_ending = False

    async def run(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with postgresql(self._folder / "postgresql") as dsn:
            try:
                for gateway in self._gateways:
                    # One after the other: the first one fills the store.
                    self._keeping.append(asyncio.create_task(self._keep(gateway, dsn)))
                    await _answering(f"{gateway.url}/healthz", gateway.log, lambda gateway=gateway: gateway.has_ended)
                nginx = self._nginx = await self._start_nginx()
                log = self._folder / "nginx" / "error.log"
                await _answering(f"{self._url}/healthz", log, lambda: nginx.returncode is not None)
                self._tell()
                await nginx.wait()
                raise Failed(f"nginx has ended; see {log}")
            finally:
                await self._end()

    async def _keep(self, gateway: Gateway, dsn: str) -> None:
        """Start a gateway as often as it ends, until all is to end."""
        gateway.folder.mkdir(mode=0o700, exist_ok=True)
        command = [
            Path(sys.executable).with_name("cliproxy"), "serve", "--config", self._config,
            "--host", HOST, "--port", gateway.port, "--", "--set", "flow_detail=0", *self._mitmproxy_args,
        ]  # fmt: skip
        environ = {"PGSTORE_DSN": dsn, "PGSTORE_LOCAL_PATH": str(gateway.folder), "PYTHONUNBUFFERED": "1"}
        while not self._is_ending:
            process = gateway.process = await _spawn(command, gateway.log, environ)
            self._note()
            if self._is_ending:
                process.terminate()
            code = await process.wait()
            if not self._is_ending:
                print(f"Gateway {gateway.number} has ended with code {code}, and is started again.", flush=True)
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _start_nginx(self) -> Process:
        folder = self._folder / "nginx"
        (folder / "temporary").mkdir(parents=True, exist_ok=True)
        ports = dict(zip(MODEL_PORTS, (self._port, *(gateway.port for gateway in self._gateways)), strict=True))
        site = (HERE / "nginx.conf").read_text("utf-8").replace(MODEL_LOGS, "")
        site = re.sub(rf"(?<={HOST}:)\d+", lambda found: str(ports[int(found[0])]), site)
        (folder / "cliproxy.conf").write_text(site, "utf-8")
        # Its workers are not root in any case.
        user = "user www-data;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_NGINX.format(user=user), "utf-8")
        log = folder / "error.log"
        return await _spawn([_program("nginx"), "-p", f"{folder}/", "-c", "nginx.conf", "-e", log], log, {})

    def _note(self) -> None:
        """Say in `running.json` what runs where."""
        gateways = [{"url": g.url, "pid": g.process.pid} for g in self._gateways if g.process]
        new = self._folder / "running.json.new"
        new.write_text(json.dumps({"url": self._url, "gateways": gateways}, indent=2), "utf-8")
        new.replace(self._folder / "running.json")

    def _tell(self) -> None:
        print(f"Clients     {self._url}   (nginx, with {self._folder}/nginx/cliproxy.conf)")
        for gateway in self._gateways:
            print(
                f"Gateway {gateway.number}   {gateway.url}   (its dashboard: /management.html, its log: {gateway.log})"
            )
        print(f"Restart     {HERE}/run --directory {shlex.quote(str(self._folder))} --restart 1")
        print("Stop        Ctrl-C", flush=True)

    # ------------------------------------------------------------ the end

    def signalled(self, running: "asyncio.Task[None]") -> None:
        """The first signal lets all come to their end, the second one hurries them."""
        if not self._is_ending:
            running.cancel()
            return
        for process in (self._nginx, *(gateway.process for gateway in self._gateways)):
            if process and process.returncode is None:
                process.terminate()

    async def _end(self) -> None:
        """nginx takes no more, the gateways end what they have, nginx passes the last of it on."""
        self._is_ending = True
        if self._nginx and self._nginx.returncode is None:
            self._nginx.send_signal(signal.SIGQUIT)
            # What it has taken goes to gateways that still listen.
            await asyncio.sleep(0.5)
        for gateway in self._gateways:
            if gateway.process and gateway.process.returncode is None:
                gateway.process.terminate()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        if self._nginx:
            try:
                async with asyncio.timeout(LAST_BYTES_S):
                    await self._nginx.wait()
            except TimeoutError:
                self._nginx.terminate()
                await self._nginx.wait()


_NGINX = """\
daemon off;
pid nginx.pid;
lock_file nginx.lock;
error_log error.log;
{user}
events {{}}
http {{
    client_body_temp_path temporary/body;
    proxy_temp_path temporary/proxy;
    fastcgi_temp_path temporary/fastcgi;
    scgi_temp_path temporary/scgi;
    uwsgi_temp_path temporary/uwsgi;
    include cliproxy.conf;
}}
"""
"""What Debian has in /etc/nginx/nginx.conf, for a directory of its own."""


async def _spawn(command: Sequence[str | Path | int], log: Path, environ: Mapping[str, str]) -> Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *map(str, command),
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is meant for this process
        )


async def _answering(url: str, log: Path, has_ended: Callable[[], bool]) -> None:
    """Wait until a program answers. Raises Failed when it has ended instead, or takes too long."""
    deadline_s = time.monotonic() + START_LIMIT_S
    while not await asyncio.to_thread(_is_well, url):
        if has_ended() or time.monotonic() > deadline_s:
            said = await asyncio.to_thread(log.read_text, "utf-8", "replace")
            raise Failed(f"nothing answers at {url}:\n{said[-2000:]}")
        await asyncio.sleep(0.1)


def _is_well(url: str) -> bool:
    try:
        with closing(_direct.open(url, timeout=5)):
            return True
    except OSError:
        return False


def _free_port(port: int = 0) -> int:
    try:
        with socket.create_server((HOST, port)) as listener:
            return listener.getsockname()[1]
    except OSError as taken:
        raise Failed(f"port {port} of {HOST} cannot be had: {taken.strerror}") from None


# ---------------------------------------------------------------- commands


async def serve(folder: Path, port: int, config: Path, mitmproxy_args: Sequence[str]) -> None:
    scale_out = ScaleOut(folder, port, config, mitmproxy_args)
    running = asyncio.create_task(scale_out.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, scale_out.signalled, running)
    with suppress(asyncio.CancelledError):
        await running


def restart(folder: Path, number: int) -> None:
    """End a gateway, and wait until it was started again and nginx asks it again."""

    def noted() -> dict[str, Any]:
        try:
            return json.loads((folder / "running.json").read_text("utf-8"))["gateways"][number - 1]
        except (FileNotFoundError, IndexError):
            raise Failed(f"there is no gateway {number} in {folder}") from None

    before = noted()
    os.kill(before["pid"], signal.SIGTERM)
    deadline_s = time.monotonic() + RESTART_LIMIT_S
    while (now := noted()) == before or not _is_well(f"{now['url']}/readyz"):
        if time.monotonic() > deadline_s:
            raise Failed(f"gateway {number} was told to end, and is not ready again; see {folder}/gateway-{number}.log")
        time.sleep(0.1)
    time.sleep(FORGIVEN_AFTER_S)


def main() -> None:
    parser = argparse.ArgumentParser(prog="run", description="PostgreSQL, two gateways and nginx on this machine.")
    parser.add_argument(
        "--port", type=int, default=MODEL_PORTS[0], help="where nginx listens, 0: anywhere (default: %(default)s)"
    )
    parser.add_argument("--directory", type=Path, default=HERE / ".run", help="for all data (default: %(default)s)")
    parser.add_argument(
        "--config",
        type=Path,
        default=ROOT / "config.yaml",
        help="what an empty store begins with (default: %(default)s)",
    )
    parser.add_argument(
        "--restart", type=int, metavar="NUMBER", help="restart this gateway of those that run, and wait"
    )
    parser.add_argument("mitmproxy_args", nargs="*", help="passed to the gateways' mitmdump, after --")
    options = parser.parse_args()
    folder = options.directory.resolve()
    try:
        if options.restart is not None:
            restart(folder, options.restart)
        else:
            asyncio.run(serve(folder, _free_port(options.port), options.config.resolve(), options.mitmproxy_args))
    except Failed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()

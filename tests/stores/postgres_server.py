"""A PostgreSQL server of a test's own, on a socket in a directory of its own."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def program(name: str) -> str | None:
    """Where a program of PostgreSQL's server is; Debian does not put them on the PATH."""
    return next((str(folder / name) for folder in _FOLDERS if (folder / name).exists()), shutil.which(name))


@dataclass
class PostgresServer:
    """`dsn` reaches it while it runs."""

    folder: Path
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    @property
    def _user(self) -> str | None:
        # The server refuses to run as root.
        return "postgres" if os.geteuid() == 0 else None

    def make(self) -> None:
        initdb = program("initdb")
        assert initdb
        command = [initdb, "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, user=self._user)

    async def start(self) -> None:
        postgres = program("postgres")
        assert postgres
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            # Errors of statements are what tests are about: a log that nobody reads would fill its pipe.
            "log_min_messages": "log",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = await asyncio.create_subprocess_exec(
            postgres, "-D", str(self.folder / "data"), *options,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, cwd=self.folder, user=self._user,
        )  # fmt: skip
        assert self._process.stderr
        while b"ready to accept connections" not in (line := await self._process.stderr.readline()):
            assert line, "PostgreSQL ended"
        self._log = asyncio.create_task(self._process.stderr.read())

    async def kill(self) -> None:
        """As a machine that loses its power."""
        if self._process and self._process.returncode is None:
            # Quit at once, its children too.
            self._process.send_signal(3)
            await self._process.wait()
            await self._log


@asynccontextmanager
async def postgres_server() -> AsyncIterator[PostgresServer]:
    # A socket's path must be short, and the server's user must reach it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = PostgresServer(Path(folder))
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        await asyncio.to_thread(server.make)
        await server.start()
        try:
            yield server
        finally:
            await server.kill()

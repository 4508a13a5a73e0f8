"""A real terminal: tmux with one window, its keys and its screen."""

import asyncio
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

COLUMNS, LINES = 100, 40


class Terminal:
    """`async with Terminal(folder, command) as terminal:`; the screen says `ended: CODE` when the command has ended.

    It ends with the block, whatever runs in it.
    """

    def __init__(self, folder: Path, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        """folder: for what the terminal needs. environment: in place of the present one's."""
        self._name = f"cliproxy-test-{uuid4().hex[:12]}"
        self._output = folder / "terminal"
        set_ = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        # `stty` tells whether the terminal was left as it was found.
        self._shell = f"env -i {set_} {shlex.join(command)}; echo ended: $?; stty -a; exec cat"
        self._cwd = cwd

    async def __aenter__(self) -> Self:
        os.mkfifo(self._output)
        descriptor = os.open(self._output, os.O_RDWR | os.O_NONBLOCK)
        self._pipe = os.fdopen(descriptor, "rb", buffering=0)
        self._stirred = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._drain)
        size = ("-x", str(COLUMNS), "-y", str(LINES))
        # The window waits for a key until its output is connected.
        await self._tmux("new-session", "-d", *size, "-c", str(self._cwd), f"read -r go; {self._shell}")
        await self._tmux("pipe-pane", f"cat > {shlex.quote(str(self._output))}")
        await self._tmux("send-keys", "Enter")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            print(await self.screen())
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._pipe.close()
        await self._tmux("kill-server")

    async def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen does; lines that the terminal broke are whole again."""
        while True:
            self._stirred.clear()
            if found := re.search(pattern, await self.screen()):
                return found
            await self._stirred.wait()

    async def screen(self) -> str:
        return await self._tmux("capture-pane", "-p", "-J", "-S", "-200")

    async def type(self, text: str) -> None:
        await self._tmux("send-keys", "-l", text)

    async def press(self, key: str) -> None:
        """key: as tmux names it, `Enter` or `C-c`."""
        await self._tmux("send-keys", key)

    def _drain(self) -> None:
        self._pipe.read(65_536)
        self._stirred.set()

    async def _tmux(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "tmux", "-L", self._name, "-f", os.devnull, *arguments, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, f"tmux {arguments[0]} failed"
        return output.decode()

"""Tasks that nobody awaits: named, held until they end, and stopped together."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Tasks:
    """The tasks of one owner. What ends one unexpectedly is logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start[T](self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """name: shown in logs and debuggers; holds no secret."""
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - this is where they are held
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Stop all of them, and wait until they have."""
        for task in self._running:
            task.cancel()
        await self.join()

    async def join(self) -> None:
        """Wait until all have ended, however they do."""
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s ended: %s", task.get_name(), type(error).__name__, exc_info=error)

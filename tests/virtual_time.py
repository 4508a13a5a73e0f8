"""Time that passes only when a test, or an event loop with nothing else to do, lets it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

EPOCH_S = 1_763_000_000.0
"""Where virtual time begins, UTC."""


class Clock:
    """Tells the time that the test sets."""

    def __init__(self) -> None:
        self.now_s = EPOCH_S

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now_s

    def jump(self, seconds: float) -> None:
        self._now_s += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, and no timer is set"
        self._loop.jump(timeout)
        return super().select(0)


def run[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def epoch_s() -> float:
    """UTC epoch seconds by the running loop's clock."""
    return EPOCH_S + asyncio.get_running_loop().time()

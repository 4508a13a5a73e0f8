"""Time for flows that poll: it passes only while they wait, and things happen while it does."""

from collections.abc import Callable, Mapping

from tests.virtual_time import Clock


class Waiting:
    """A clock, and a sleep that moves it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pauses_s: list[float] = []
        """As long as the sleeps were."""
        self.then: Mapping[int, Callable[[], object]] = {}
        """What happens in the n-th pause."""

    async def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.clock.pass_s(seconds)
        if act := self.then.get(len(self.pauses_s)):
            act()

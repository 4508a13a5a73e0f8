"""The flow of an attempt: what mitmproxy's users do to it takes effect at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import override

from mitmproxy import http
from mitmproxy.flow import Error

from cliproxy.wire.errors import UpstreamCut


class AttemptFlow(http.HTTPFlow):
    """An HTTP flow without a connection of mitmproxy's, which would notice that it is killed only when data moves."""

    is_over = False
    """Nothing waits for it any more, so that it cannot be paused."""
    client_flow: http.HTTPFlow | None = None
    _waiting: asyncio.Timeout | None = None

    @property
    def is_killed(self) -> bool:
        return self.error is not None and self.error.msg == Error.KILLED_MESSAGE

    @override
    def intercept(self) -> None:
        if not self.is_over:
            super().intercept()

    @override
    def kill(self) -> None:
        super().kill()
        if self._waiting:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Runs its block while the flow lives. Raises UpstreamCut when it is killed, before or meanwhile."""
        if self.is_killed:
            raise _killed()
        try:
            # A time limit that `kill` sets: unlike a bare cancellation it cannot be mistaken for the client's leaving.
            async with asyncio.timeout(None) as self._waiting:
                yield
        except TimeoutError:
            if self.is_killed:
                raise _killed() from None
            raise
        finally:
            self._waiting = None

    async def decided(self) -> None:
        """Wait while it is paused. Raises UpstreamCut when it is killed."""
        async with self.alive():
            await self.wait_for_resume()


# In files, and for whoever reads them, it is a flow like any other.
AttemptFlow.type = http.HTTPFlow.type


def _killed() -> UpstreamCut:
    return UpstreamCut("the attempt was killed in mitmproxy")

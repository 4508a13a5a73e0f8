"""All that gateways on one database have in common while they run."""

import asyncio
import logging
import time
from collections.abc import Callable

from cliproxy.credentials.pool import Pool
from cliproxy.database import Database
from cliproxy.limits import KeyLimits
from cliproxy.sharing.board import Board
from cliproxy.sharing.limits import SharedLimits
from cliproxy.sharing.link import RETRIED_AFTER_S, STATEMENT_S, Link
from cliproxy.sharing.presence import Presence
from cliproxy.sharing.quotas import SharedQuotas
from cliproxy.sharing.turns import share_cooldowns, share_sessions

logger = logging.getLogger(__name__)


class Sharing:
    """One gateway's part in it."""

    def __init__(
        self, database: Database, pool: Pool, limits: KeyLimits, clock: Callable[[], float] = time.time
    ) -> None:
        """clock: UTC epoch seconds, as that of `pool` and `limits`."""
        self.link = Link(database)
        board = Board(self.link, clock)
        share_cooldowns(pool.cooldowns, board)
        share_sessions(pool.affinity, board)
        self.quotas = SharedQuotas(self.link, board)
        self.presence = Presence(self.link, board, clock)
        self._board = board
        self._limits = SharedLimits(self.link, limits, clock)

    async def run(self) -> None:
        """Take part until cancelled."""
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.link.run(self._catch_up, self._board.heard))
                    group.create_task(self._board.speak())
                    group.create_task(self._limits.run())
                    group.create_task(self.presence.run())
            except Exception:
                # Our own fault, which must not be the end of sharing.
                logger.exception("the gateway failed on what it shares with others")
            await asyncio.sleep(RETRIED_AFTER_S[-1])

    async def _catch_up(self) -> None:
        """The database can be asked again. Raises Away."""
        # What was let in meanwhile counts before anything else is.
        await self._limits.flush()
        await self._board.catch_up()

    async def leave(self) -> None:
        """Tell what is not told yet, and that this one ends, while it runs. What cannot be told soon is lost."""
        self.presence.leave()
        try:
            async with asyncio.timeout(STATEMENT_S):
                await self.flush()
        except TimeoutError:
            logger.warning("Other gateways are not told all that this one knows: PostgreSQL does not answer in time.")

    async def flush(self) -> None:
        """Tell now what is not told yet."""
        await self._board.flush()
        await self._limits.flush()

"""The ledger: what was asked, of whom, and what it cost. Written by one thread, off the way of requests.

`book` only lays an exchange down. The thread wakes for the first, lets others gather and writes twice a second at most,
a batch in one transaction: a stop loses nothing, a killed process its last batch. While the ledger cannot be written
(its disk is full, its database away) the batches wait, up to a limit, and `trouble` says so; a request never notices.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from cliproxy.config.schema import UsageLedger
from cliproxy.exchange import Exchange
from cliproxy.usage.connection import LedgerConnection, LedgerFault
from cliproxy.usage.place import Place, described, open_ledger, place_of
from cliproxy.usage.queries import spent_usd
from cliproxy.usage.rows import Row, Unpriced, priced, unpriced_rows_of
from cliproxy.usage.writing import remove_older, remove_some, write_rows

logger = logging.getLogger(__name__)

BATCH_EVERY_S = 0.5
MAX_WAITING = 20_000
"""Exchanges that wait while the ledger cannot be written; of more, the oldest are given up."""
PRUNED_EVERY_S = 600.0
ASKED_AGAIN_AFTER_S = 10.0
"""How long a ledger that could not be read is not asked again."""
DAY_S = 86_400.0
MIB = 1024 * 1024


class Ledger:
    """The ledger of one gateway. All methods may be called from the event loop."""

    def __init__(
        self, settings: UsageLedger, place: Place | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """place: by default, where settings and environment want it. clock: UTC epoch seconds."""
        self.settings = settings
        self.place = place or place_of(settings)
        self.trouble = ""
        """Why nothing can be written at the moment; empty when all is well."""
        self.lost = 0
        """Exchanges that were given up."""
        self._clock = clock
        self._booked: deque[Unpriced] = deque()
        self._is_booked = threading.Event()
        self._is_closing = threading.Event()
        self._waiting: list[tuple[Row, list[Row]]] = []
        self._pruned_s = 0.0
        self._unreadable_until_s = 0.0
        self._thread = threading.Thread(target=self._run, name="usage ledger", daemon=True)
        self._thread.start()

    def book(self, exchange: Exchange) -> None:
        """Take an exchange that is over."""
        self._booked.append(unpriced_rows_of(exchange))
        # To wake the thread for each would cost the event loop more than all the writing does.
        if not self._is_booked.is_set():
            self._is_booked.set()

    @property
    def waiting(self) -> int:
        """How many exchanges are not written yet."""
        return len(self._booked) + len(self._waiting)

    def close(self) -> None:
        """Write what is left, and end. Blocks until then, which is a moment."""
        self._is_closing.set()
        self._is_booked.set()
        self._thread.join()

    def spent_usd(self, client_key: str, since_s: float) -> float:
        """What a client key has cost since the start of an hour; 0 while the ledger cannot be read. Blocks."""
        if self._clock() < self._unreadable_until_s:
            return 0.0
        try:
            with contextlib.closing(open_ledger(self.place, read_only=True)) as connection:
                return spent_usd(connection, client_key, since_s)
        except LedgerFault:
            # Who asks for many keys must not wait as many times for a database that does not answer.
            self._unreadable_until_s = self._clock() + ASKED_AGAIN_AFTER_S
            return 0.0

    # ------------------------------------------------------------ the writing thread

    def _run(self) -> None:
        connection: LedgerConnection | None = None
        stopping = False
        while not stopping:
            stopping = self._gather()
            try:
                connection = connection or open_ledger(self.place)
                self._write(connection)
                self._prune(connection)
                self._well()
            except LedgerFault as fault:
                self._unwell(fault)
                if connection:
                    connection.close()
                    connection = None
        if connection:
            connection.close()
        if self._waiting:
            logger.warning("%d exchanges are not in the usage ledger: it could not be written", len(self._waiting))

    def _gather(self) -> bool:
        """Wait for an exchange, and for what else comes within the time of a batch. True: that was all."""
        # Nobody is waited for without end while there is something to write.
        self._is_booked.wait(BATCH_EVERY_S if self._waiting else None)
        self._is_closing.wait(BATCH_EVERY_S)
        self._is_booked.clear()
        # Not before: of who closes between the two, nobody would hear.
        is_last = self._is_closing.is_set()
        while self._booked:
            # Prices are looked up here, where nobody waits for them.
            self._waiting.append(priced(self._booked.popleft()))
        if (surplus := len(self._waiting) - MAX_WAITING) > 0:
            del self._waiting[:surplus]
            self.lost += surplus
        return is_last

    def _write(self, connection: LedgerConnection) -> None:
        if self._waiting:
            write_rows(connection, self._waiting)
            self._waiting.clear()

    def _prune(self, connection: LedgerConnection) -> None:
        """Remove the oldest of the journal beyond what is to be kept."""
        now_s = self._clock()
        if now_s - self._pruned_s < PRUNED_EVERY_S:
            return
        self._pruned_s = now_s
        keep_days, keep_bytes = self.settings.keep_days, self.settings.max_size_mb * MIB
        with connection.pruning() as is_ours:
            if is_ours and keep_days:
                while remove_older(connection, now_s - keep_days * DAY_S):
                    pass
            if is_ours and keep_bytes:
                while connection.exceeds(keep_bytes) and remove_some(connection):
                    pass
        connection.shrink()

    def _well(self) -> None:
        if self.trouble:
            logger.warning("the usage ledger is written again: %s", described(self.place))
            self.trouble = ""

    def _unwell(self, fault: LedgerFault) -> None:
        if self.trouble != str(fault):
            self.trouble = str(fault)
            # No error: one that is logged while mitmproxy starts would end it.
            logger.warning(
                "the usage ledger %s cannot be written, its rows wait in memory: %s", described(self.place), fault
            )

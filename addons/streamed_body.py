"""A body that streams, shown on its flow while it comes and afterwards: the newest bytes, and when they came."""

import asyncio
import time

from mitmproxy import ctx, http
from mitmproxy.hooks import UpdateHook
from mitmproxy.utils import asyncio_utils

ARRIVALS = "cliproxy.arrivals"
"""`flow.metadata` key: milliseconds after the request and size in bytes of each slice that is kept, in turn."""
LEFT_OUT = "cliproxy.left_out"
"""`flow.metadata` key: how many bytes before the kept ones are not kept."""

SHOWN_EVERY_S = 0.25
"""How far what user interfaces show may be behind."""
MAX_SLICES = 8192
"""Their times are kept, of the newest ones."""


class StreamedBody:
    """Keeps what comes of a flow's answer. Lives on one event loop."""

    def __init__(self, flow: http.HTTPFlow, limit_bytes: int) -> None:
        self._flow = flow
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._arrivals: list[int] = []
        self._sent_s = flow.request.timestamp_end or flow.request.timestamp_start
        self._due: asyncio.TimerHandle | None = None
        self.size_bytes = 0
        """Of all that came."""
        flow.metadata[ARRIVALS] = self._arrivals

    def feed(self, chunk: bytes) -> None:
        """A slice has come."""
        self.size_bytes += len(chunk)
        self._kept += chunk
        if len(self._kept) > self._limit_bytes:
            del self._kept[: len(self._kept) - self._limit_bytes]
            self._flow.metadata[LEFT_OUT] = self.size_bytes - len(self._kept)
        self._note_time(len(chunk))
        if self._due is None and "view" in ctx.master.addons.lookup:
            self._due = asyncio.get_running_loop().call_later(SHOWN_EVERY_S, self._show)

    def _note_time(self, size_bytes: int) -> None:
        arrivals = self._arrivals
        offset_ms = round((time.time() - self._sent_s) * 1000)
        if arrivals and arrivals[-2] == offset_ms:
            arrivals[-1] += size_bytes
            return
        arrivals += (offset_ms, size_bytes)
        if len(arrivals) > 2 * MAX_SLICES:
            del arrivals[:MAX_SLICES]

    def finish(self) -> None:
        """Nothing more will come."""
        if self._due:
            self._due.cancel()
            self._due = None
        self._put()

    def _show(self) -> None:
        self._due = None
        self._put()
        update = ctx.master.addons.trigger_event(UpdateHook([self._flow]))
        asyncio_utils.create_task(update, name="show a streamed body", keep_ref=True)

    def _put(self) -> None:
        if self._flow.response:
            self._flow.response.raw_content = bytes(self._kept)

"""Ties mitmproxy to the program that started it, which learns when all is ready: mitmproxy ends when its standard input
does, however that program ended, and takes with it what that one can then no longer clear away.
"""

import asyncio
import atexit
import logging
import os
import shutil
import threading

from mitmproxy import ctx
from mitmproxy.master import Master
from mitmproxy.utils import asyncio_utils

OPTION = "cliproxy_tethered"
READY = "cliproxy is ready."

logger = logging.getLogger(__name__)


def attach(folder: str) -> None:
    """Begin to watch standard input, which nobody else may read, and say that all is ready once it is.

    folder: removed at the end.
    """
    # A thread of its own, since not every standard input can be waited for by an event loop.
    loop = asyncio.get_running_loop()
    threading.Thread(target=_watch, args=(loop, ctx.master, folder), name="tether", daemon=True).start()
    asyncio_utils.create_task(_tell(), name="tell that all is ready", keep_ref=True)


async def _tell() -> None:
    # mitmproxy ends one round of the event loop after its start, where that logged an error.
    for _ in range(3):
        await asyncio.sleep(0)
    logger.info(READY)


def _watch(loop: asyncio.AbstractEventLoop, master: Master, folder: str) -> None:
    try:
        # Not `sys.stdin`: its lock would hold up the end of the interpreter.
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    # Not before: mitmproxy has its own files there.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if not loop.is_closed():
        loop.call_soon_threadsafe(master.shutdown)

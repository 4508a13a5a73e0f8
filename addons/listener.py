"""Makes plain `mitmdump -s cliproxy_addon.py` listen where `config.yaml` says.

mitmproxy loads scripts only after it has begun to open its default listener (`regular`, port 8080), so the mode
that the script sets comes too late for the start. The listeners are therefore set up a second time, which closes
the default one; whether that one could be opened at all (port 8080 may be taken) is nobody's concern.
"""

import logging
import sys

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.utils import asyncio_utils

DEFAULT_MODES = ["regular"]
"""What `mode` is when the user gave none. `--mode regular@8080` asks for a plain proxy."""

_TALKATIVE = ("mitmproxy.addons.proxyserver", "mitmproxy.proxy.mode_servers")


def listen_instead(mode: str) -> None:
    """Listen as `mode` says in place of mitmproxy's default. Ends the program with exit code 1 where that fails."""
    proxyserver = ctx.master.addons.get("proxyserver")
    assert isinstance(proxyserver, Proxyserver)
    ctx.options.update(mode=[mode])
    if not proxyserver.is_running:
        asyncio_utils.create_task(_move(proxyserver), name="listen where the config says", keep_ref=True)


async def _move(proxyserver: Proxyserver) -> None:
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for logger in loggers:
        logger.addFilter(_not_about_the_default)
    try:
        await proxyserver.setup_servers()
    finally:
        for logger in loggers:
            logger.removeFilter(_not_about_the_default)
    if not all(server.is_running for server in proxyserver.servers):
        sys.exit(1)


def _not_about_the_default(record: logging.LogRecord) -> bool:
    # Not at its start: where the port is taken, "[Errno 98] " comes first. Closing what was never open says nothing.
    message = record.getMessage()
    return bool(message) and "HTTP(S) proxy " not in message

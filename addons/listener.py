"""Makes mitmproxy listen where `config.yaml` says, at the start and when that changes.

mitmproxy loads scripts only after it has begun to open its default listener (`regular`, port 8080), so the mode
that the script sets comes too late for the start. The listeners are therefore set up a second time, which closes
the default one; whether that one could be opened at all (port 8080 may be taken) is nobody's concern.
"""

import asyncio
import logging
import sys

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.utils import asyncio_utils

from addons.connection import PLACEHOLDER_HOST
from cliproxy.config.schema import Config

logger = logging.getLogger(__name__)

DEFAULT_MODES = ["regular"]
"""What `mode` is when the user gave none. `--mode regular@8080` asks for a plain proxy."""

_TALKATIVE = ("mitmproxy.addons.proxyserver", "mitmproxy.proxy.mode_servers")


class Listener:
    """Where the gateway listens. Another mode that the user asked mitmproxy for stays, whatever the config says:
    that of `cliproxy serve` with an address given by hand is one."""

    def __init__(self) -> None:
        self._mode = ""
        """What the configuration in force says."""
        self._turn = asyncio.Lock()

    def listen(self, config: Config) -> None:
        """Listen where this configuration says, while connections that are open stay. Ends the program with exit code 1
        where that fails at its start, and goes on as before where it fails later."""
        wanted = mode_of(config)
        if ctx.options.mode == DEFAULT_MODES:
            ctx.options.update(mode=[wanted])
            if not _proxyserver().is_running:
                asyncio_utils.create_task(_begin(), name="listen where the config says", keep_ref=True)
        elif self._mode:
            asyncio_utils.create_task(self._move(wanted), name="listen elsewhere", keep_ref=True)
            return
        self._mode = wanted

    async def _move(self, wanted: str) -> None:
        async with self._turn:
            before = self._mode
            if wanted != before and ctx.options.mode == [before] and not await _listens(wanted):
                logger.error("The gateway cannot listen where the config says now, and stays where it was.")
                await _listens(before)
            else:
                self._mode = wanted


def mode_of(config: Config) -> str:
    """The mode in which mitmproxy is the gateway of a configuration."""
    address = f"{config.host}:{config.port}" if config.host else str(config.port)
    return f"reverse:http://{PLACEHOLDER_HOST}@{address}"


def _proxyserver() -> Proxyserver:
    proxyserver = ctx.master.addons.get("proxyserver")
    assert isinstance(proxyserver, Proxyserver)
    return proxyserver


async def _listens(mode: str) -> bool:
    """Whether listening in a mode, and in no other, works out."""
    servers = _proxyserver().servers
    ctx.options.update(mode=[mode])
    # mitmproxy has begun with that, and does not say when it is done.
    await servers.update([ProxyMode.parse(mode)])
    return all(server.is_running for server in servers)


async def _begin() -> None:
    proxyserver, loggers = _proxyserver(), [logging.getLogger(name) for name in _TALKATIVE]
    for talkative in loggers:
        talkative.addFilter(_not_about_the_default)
    try:
        await proxyserver.setup_servers()
    finally:
        for talkative in loggers:
            talkative.removeFilter(_not_about_the_default)
    if not all(server.is_running for server in proxyserver.servers):
        sys.exit(1)


def _not_about_the_default(record: logging.LogRecord) -> bool:
    # Not at its start: where the port is taken, "[Errno 98] " comes first. Closing what was never open says nothing.
    message = record.getMessage()
    return bool(message) and "HTTP(S) proxy " not in message

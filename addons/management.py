"""The management API in mitmproxy: what runs is made known to it, and its paths are answered by it."""

import logging
from collections.abc import Callable
from pathlib import Path

from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.utils import asyncio_utils

from cliproxy import routes
from cliproxy.config.loading import Loaded
from cliproxy.exchange import Answer, ClientRequest
from cliproxy.management.application import application
from cliproxy.management.bridge import Bridge
from cliproxy.management.faults import ManagementFault
from cliproxy.management.operating import Operator, Running
from cliproxy.memory import Memory
from cliproxy.setup.address import reached_host

logger = logging.getLogger(__name__)


def is_management(flow: http.HTTPFlow) -> bool:
    """Whether a flow is for the management API or its page. Nobody keeps its bodies: they are full of secrets."""
    path = flow.request.path.partition("?")[0]
    return isinstance(flow.client_conn.proxy_mode, ReverseMode) and routes.is_management(path)


class Management:
    """The management API of one gateway."""

    def __init__(self, memory: Memory, apply: Callable[[Loaded], None], changed: Callable[[], None]) -> None:
        """apply: goes by another configuration. changed: there are other accounts now."""
        self._memory = memory
        self._apply = apply
        self._changed = changed
        self._operator: Operator | None = None
        self._bridge: Bridge | None = None

    def run(self, config_path: Path, running: Running) -> None:
        """A configuration is in force."""
        operator = self._operator
        if operator is None:
            operator = self._operator = Operator(self._memory, self._apply, self._changed)
            operator.log.attach()
            self._bridge = Bridge(application(operator))
        operator.run(config_path, running)
        asyncio_utils.create_task(_hide_key(operator), name="hash the management key", keep_ref=True)

    def refused(self, trouble: str) -> None:
        """A configuration was read that cannot be used; the one before stays in force."""
        if self._operator:
            self._operator.config_trouble = trouble

    @property
    def operator(self) -> Operator:
        assert self._operator
        return self._operator

    async def ask(self, flow: http.HTTPFlow, request: ClientRequest) -> Answer:
        """The answer to a request."""
        assert self._bridge
        # What a query asks for may be a key; the flow shows where it went.
        flow.request.path = request.path
        self.operator.mitmweb_url = _mitmweb_url()
        return await self._bridge.ask(request)

    async def leave(self) -> None:
        """The program is about to end: break off what is asked here, which may have no end of its own."""
        if self._bridge:
            await self._bridge.close()

    async def close(self) -> None:
        """All exchanges are over."""
        if self._operator:
            await self._operator.close()


async def _hide_key(operator: Operator) -> None:
    try:
        if await operator.hide_key():
            logger.info("remote-management.secret-key was replaced by its hash in %s", operator.config_file.path)
    except ManagementFault as fault:
        logger.warning("remote-management.secret-key stays in the config file as plain text: %s", fault)


def _mitmweb_url() -> str:
    """Where mitmweb is, if that is the program."""
    options = ctx.options
    if "web_port" not in options:
        return ""
    return f"http://{reached_host(options.web_host)}:{options.web_port}/"

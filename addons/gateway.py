"""Hosts the gateway in mitmproxy: claims flows, hands their requests over, streams the answers back.

The way of a request: `requestheaders` claims the flow; `addons.connection` calls `start_exchange` once the
request is there; `_exchange` asks `cliproxy.gateway.Gateway` and sends its answer into the flow.
"""

import asyncio
import logging
import ssl
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.connection import Server
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.proxy.tunnel import TunnelLayer
from mitmproxy.tls import ClientHelloData
from mitmproxy.utils import asyncio_utils

from addons import audience, tether
from addons.attempt_flow import AttemptFlow
from addons.attempts import AttemptObserver
from addons.client_socket import ClientSocket, converse
from addons.connection import (
    GATEWAY,
    PLACEHOLDER_HOST,
    GatewayLayer,
    GatewayStream,
    Upload,
    declared_body_bytes,
    is_claimed,
)
from addons.intercept import INTERCEPT, OPTION, TREATMENTS, Interceptor, intercepts, proxy_of_modes
from addons.labels import MARK_FAILED
from addons.listener import DEFAULT_MODES, listen_instead
from addons.management import Management, is_management
from addons.running_exchange import RunningExchange, client_request, handler_of, mask_credentials, response_of
from addons.streamed_body import StreamedBody
from addons.websocket import is_handshake
from cliproxy import routes
from cliproxy.accounts.accounts import Accounts
from cliproxy.answering import error_answer
from cliproxy.config.loading import ConfigFault, Loaded, load_config
from cliproxy.config.schema import Config
from cliproxy.credentials import cooldown_file
from cliproxy.credentials.cooldown import Cooldowns
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.record import Credential
from cliproxy.exchange import Answer, ClientRequest, Exchange
from cliproxy.gateway import Gateway
from cliproxy.inspection.known_secrets import secrets_in, secrets_of
from cliproxy.management.operating import Running
from cliproxy.memory import Memory
from cliproxy.routing.registry import Registry, registry_of
from cliproxy.sockets.observing import ObservedSocket
from cliproxy.sockets.opening import Sockets
from cliproxy.sockets.relay import Relay
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.usage.ledger import Ledger
from cliproxy.websocket import Conversation
from cliproxy.wire.errors import GatewayError

logger = logging.getLogger(__name__)

_HEEDED_OPTIONS = {
    OPTION,
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
}


class Standing(NamedTuple):
    """What a gateway works with at a time."""

    config: Config
    registry: Registry
    credentials: list[Credential]
    cooldowns: Cooldowns


class GatewayAddon:
    """One gateway for all clients of this mitmproxy."""

    def __init__(self, default_config: Path) -> None:
        """default_config: what `cliproxy_config` means when it is not set."""
        self._default_config = default_config
        self._config: Config | None = None
        self._gateway: Gateway | None = None
        self._transport: HttpTransport | None = None
        self._memory = Memory()
        self._registry: Registry | None = None
        self._sockets: Sockets | None = None
        self._interceptor: Interceptor | None = None
        self._observed: dict[str, ObservedSocket] = {}
        """WebSockets to vendors that are open, by the ids of their flows."""
        self._accounts: Accounts | None = None
        self._ledger: Ledger | None = None
        self._management = Management(self._memory, self._apply, self._make_gateway)
        self._following: asyncio.Task[None] | None = None
        """Follows the logins and keeps them fresh."""
        self._keeping: asyncio.Task[None] | None = None
        """Saves the cooldowns."""
        self.watched = True
        """Whether anyone but the gateway sees its flows."""
        self._exchanges: set[asyncio.Task[None]] = set()
        self.max_request_body_bytes = 0

    # ------------------------------------------------------------ life

    def load(self, loader: Loader) -> None:
        loader.add_option(
            "cliproxy_config",
            str,
            "",
            "Path of cliproxy's config.yaml. Default: the one beside cliproxy_addon.py.",
        )
        loader.add_option(
            OPTION,
            str,
            "",
            "What becomes of intercepted calls of vendors' APIs, whatever the config says: observe, pool or route.",
            choices=["", *TREATMENTS],
        )
        loader.add_option(tether.OPTION, bool, False, "End when standard input does, as `cliproxy run` wants it.")
        # It tells of each call about an account, with its address.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        # Eager would dial the reverse target before anyone knows whether the request is ours.
        ctx.options.update(connection_strategy="lazy")

    def configure(self, updated: set[str]) -> None:
        self.watched = audience.is_present()
        if "cliproxy_config" in updated or (_HEEDED_OPTIONS & updated and self._config):
            try:
                self.reload()
            except ConfigFault as fault:
                if self._config:
                    raise exceptions.OptionsError(str(fault)) from None
                # At the start mitmproxy ends with exit code 1 on any logged error; raising would add a traceback.
                logger.error(str(fault))

    def reload(self) -> None:
        """Read the config and go on with it. Raises ConfigFault, and then goes on as before."""
        try:
            loaded = load_config(self._config_path)
        except ConfigFault as fault:
            self._management.refused(str(fault))
            raise
        self._apply(loaded)

    @property
    def _config_path(self) -> Path:
        return Path(ctx.options.cliproxy_config or self._default_config).expanduser()

    def _apply(self, loaded: Loaded) -> None:
        for warning in loaded.warnings:
            logger.warning(warning)
        config = self._config = loaded.config
        self.max_request_body_bytes = config.max_request_body_bytes
        if self._transport:
            self._start(_close_after(self._exchanges, self._transport), "close old upstream connections")
        tls = _upstream_tls()
        self._transport = _transport(config, tls)
        self._follow_accounts(config, tls)
        self._open_ledger(config)
        self._make_gateway()
        self._memory.members.changed = self._make_gateway
        self._sockets = self._open_to(config)
        self._keep_cooldowns(config)
        self._interceptor = Interceptor(config, ctx.options.cliproxy_intercept or None)
        assert self._registry and self._accounts
        running = Running(config, loaded.warnings, self._registry, self._accounts, self._ledger, tls)
        self._management.run(self._config_path, running)
        if ctx.options.mode == DEFAULT_MODES:
            listen_instead(f"reverse:http://{PLACEHOLDER_HOST}@{_listen_address(config)}")
        self._interceptor.prepare()

    def _follow_accounts(self, config: Config, tls: ssl.SSLContext) -> None:
        """Read the logins of the auth dir, and notice what becomes of them."""
        self._leave_accounts()
        self._registry = registry_of(config.models_file)
        accounts = Accounts(config, self._registry, verify=tls, revived=self._memory.pool.cooldowns.forgive)
        accounts.load()
        self._accounts = accounts
        self._following = self._start(accounts.keep(self._make_gateway), "follow the logins")

    def _leave_accounts(self) -> "asyncio.Task[None] | None":
        """Refreshes under way go on to their end."""
        if self._following:
            self._following.cancel()
        return self._start(self._accounts.close(), "end the refreshes") if self._accounts else None

    def _open_ledger(self, config: Config) -> None:
        """Keep the table of what was used where the config wants it, and know what was spent before."""
        wanted = config.usage if config.usage_statistics_enabled else None
        if self._ledger and (wanted is None or self._ledger.settings != wanted):
            self._ledger.close()
            self._ledger = None
        if wanted and not self._ledger:
            self._ledger = Ledger(wanted)
        if self._ledger:
            self._memory.limits.resume(config.api_keys, self._ledger.spent_usd)

    def _make_gateway(self) -> None:
        """The gateway of the config and the logins as they are now."""
        assert self._config and self._transport and self._accounts
        accounts = [*self._accounts.credentials(), *self._memory.members.credentials()]
        self._gateway = Gateway(
            self._config, self._transport, self._memory, self._registry, accounts, self._book, self._announce
        )

    def _book(self, exchange: Exchange) -> None:
        if self._ledger:
            self._ledger.book(exchange)
        self._management.operator.settled(exchange)

    def _announce(self, exchange: Exchange) -> None:
        self._management.operator.begun(exchange)

    def _open_to(self, config: Config) -> Sockets:
        """What WebSockets clients may open."""
        assert self._transport and self._registry
        relay = Relay(config, self._registry, self._memory.members, self._transport.limits)
        return Sockets(config, self._memory.sockets, relay)

    def _keep_cooldowns(self, config: Config) -> None:
        """Save cooldowns while it runs, if the config wants that, and read those of the run before."""
        if self._keeping:
            self._keeping.cancel()
            self._keeping = None
        if config.save_cooldown_status:
            path = Path(config.auth_dir).expanduser() / cooldown_file.FILE_NAME
            self._keeping = self._start(self._memory.keep_cooldowns(path), "save cooldowns")

    @property
    def standing(self) -> "Standing | None":
        """What it works with now; None: nothing yet, for want of a config that can be read."""
        if self._config is None or self._registry is None or self._accounts is None:
            return None
        accounts = [*self._accounts.credentials(), *self._memory.members.credentials()]
        credentials = [*accounts, *credentials_of(self._config)]
        return Standing(self._config, self._registry, credentials, self._memory.pool.cooldowns)

    def secrets(self) -> set[str]:
        """All that it knows now."""
        known = secrets_of(self._config) if self._config else set[str]()
        return known.union(*(secrets_in(account.fields) for account in self._accounts or ()))

    def running(self) -> None:
        self.watched = audience.is_present()
        if ctx.options.cliproxy_tethered:
            tether.attach()
        if self._config and not self._config.api_keys:
            _warn_if_open_to_others()

    def done(self) -> "asyncio.Task[None] | None":
        """Awaited when mitmproxy ends. When the script is reloaded, the exchanges under way go on to their end."""
        if self._keeping:
            self._keeping.cancel()
        if ctx.master.should_exit.is_set():
            for exchange in self._exchanges:
                exchange.cancel()
        refreshes = self._leave_accounts()
        return self._start(self._ended(refreshes), "close upstream connections") if self._transport else None

    async def _ended(self, refreshes: "asyncio.Task[None] | None") -> None:
        await self._management.close()
        if refreshes:
            await refreshes
        if self._transport:
            await _close_after(self._exchanges, self._transport)
        if self._ledger:
            await asyncio.to_thread(self._ledger.close)

    # ------------------------------------------------------------ claiming

    def tls_clienthello(self, data: ClientHelloData) -> None:
        if self._interceptor:
            self._interceptor.tls_clienthello(data)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Put our HTTP layer where mitmproxy's would stand, over plain text or TLS."""
        context = nextlayer.context
        if nextlayer.layer or context.client.transport_protocol != "tcp":
            return
        mode = context.client.proxy_mode
        if not intercepts(mode) and not (isinstance(mode, ReverseMode) and mode.scheme in ("http", "https")):
            return
        mitmproxys_own = ctx.master.addons.get("nextlayer")
        assert isinstance(mitmproxys_own, NextLayer)
        mitmproxys_own.next_layer(nextlayer)
        theirs = next((found for found in context.layers if type(found) is HttpLayer), None)
        if theirs is None:
            return
        context.layers.remove(theirs)
        ours = GatewayLayer(context, theirs.mode, self)
        if nextlayer.layer is theirs:
            nextlayer.layer = ours
        for above in context.layers:
            # Over TLS, theirs was already put below the TLS layer.
            if isinstance(above, TunnelLayer) and above.child_layer is theirs:
                above.child_layer = ours

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        # Those that were loaded from a file and those of attempts come by here as well.
        is_clients = flow.live and not isinstance(flow, AttemptFlow)
        if not self._gateway or flow.response or flow.error or not is_clients:
            return
        path = self._gateways_path(flow)
        if path is None:
            return
        # A server of its own: the connection's is shared with the flows after this one, which may not be ours.
        flow.server_conn = Server(address=GATEWAY[1], via=GATEWAY)
        size = declared_body_bytes(flow.request)
        is_too_large = (size or 0) > self.max_request_body_bytes
        if is_too_large or _is_upload(path, flow.request.headers) or (size != 0 and is_management(flow)):
            flow.request.stream = True

    def _gateways_path(self, flow: http.HTTPFlow) -> str | None:
        """The path of a request for the gateway; None: it is not for the gateway, or answered already."""
        assert self._interceptor
        mode = flow.client_conn.proxy_mode
        if not isinstance(mode, ReverseMode):
            return self._interceptor.claimed(flow)
        if self._interceptor.refuses(flow):
            flow.response = http.Response.make(400, "This port speaks HTTPS only.\n", {"content-type": "text/plain"})
            return None
        path = flow.request.path.partition("?")[0]
        return path if routes.is_ours(path) or mode.address[0] == PLACEHOLDER_HOST else None

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the operator's replay of a client's flow: mitmproxy replays past our HTTP layer, so it waits here."""
        # Of a call that was only observed, the credential is gone.
        is_ours = flow.request.host == PLACEHOLDER_HOST or flow.metadata.get(INTERCEPT) in ("pool", "route")
        if flow.is_replay != "request" or not is_ours or flow.response or not self._gateway:
            return
        observer = AttemptObserver(flow, self.keep_bytes)
        answer = await self._gateway.handle(self._client_request(flow, None), observer)
        flow.response = response_of(answer)
        if isinstance(answer.body, bytes):
            flow.response.raw_content = answer.body
            return
        shown = StreamedBody(flow, self.keep_bytes)
        async for piece in answer.body:
            shown.feed(piece)
        shown.finish()

    def response(self, flow: http.HTTPFlow) -> None:
        if is_claimed(flow) and not flow.server_conn.connected:
            # A script answered, so that no exchange began, which masks the client's key.
            mask_credentials(flow.request)

    def error(self, flow: http.HTTPFlow) -> None:
        self.response(flow)
        if is_claimed(flow):
            flow.marked = MARK_FAILED

    # ------------------------------------------------------------ observing

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        if self._ledger and flow.metadata.get(INTERCEPT) == "observe":
            self._observed[flow.id] = ObservedSocket(self._client_request(flow, None), self._ledger.book)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        if (observed := self._observed.get(flow.id)) and flow.websocket:
            message = flow.websocket.messages[-1]
            (observed.client_said if message.from_client else observed.vendor_said)(message.content)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        if observed := self._observed.pop(flow.id, None):
            observed.close()

    # ------------------------------------------------------------ exchanging

    def start_exchange(self, stream: GatewayStream, connection: Server, upload: Upload | None) -> "RunningExchange":
        handler = handler_of(stream.flow)
        is_managements = is_management(stream.flow)
        running = RunningExchange(stream, connection, handler, upload, 0 if is_managements else self.keep_bytes)
        running.task = self._start(self._exchange(running), f"exchange {stream.flow.request.path:.60}")
        if not is_managements:
            # It uses no upstream, and may go on for ever.
            self._exchanges.add(running.task)
            running.task.add_done_callback(self._exchanges.discard)
        if upload:
            # mitmproxy stops reading from a client while a socket that it writes to is full, and this is one to it.
            writer = cast(asyncio.StreamWriter, upload)
            handler.transports[connection] = ConnectionIO(handler=running.task, writer=writer)
        return running

    async def _exchange(self, running: "RunningExchange") -> None:
        """Answer one request; what goes wrong here is our own fault and becomes a 500."""
        flow = running.flow
        request = self._client_request(flow, running.upload)
        assert self._sockets
        try:
            if ctx.options.websocket and routes.opens_websocket(request.path) and is_handshake(flow.request):
                opened = self._sockets.open(request, partial(self._ask, flow))
            else:
                opened = await self._ask(flow, request)
            await (running.send(opened) if isinstance(opened, Answer) else running.switch(opened))
        except Exception:
            logger.exception("the gateway failed on %s %s", request.method, request.path)
            error = GatewayError("the gateway failed; its log says more", code="internal_error")
            await running.fail(error_answer(error, routes.error_format(request.path)))
        finally:
            running.close()

    def _client_request(self, flow: http.HTTPFlow, upload: Upload | None) -> ClientRequest:
        assert self._interceptor
        request = client_request(flow, upload)
        self._interceptor.readdress(request, flow)
        return request

    async def _ask(self, flow: http.HTTPFlow, request: ClientRequest) -> Answer:
        """Have the gateway of now answer a request that came with a flow."""
        if is_management(flow):
            return await self._management.ask(flow, request)
        assert self._gateway
        return await self._gateway.handle(request, AttemptObserver(flow, self.keep_bytes) if self.watched else None)

    def start_conversation(self, flow: http.HTTPFlow, stream_id: int, conversation: Conversation) -> ClientSocket:
        handler, connection = handler_of(flow), flow.server_conn
        socket = ClientSocket(connection, stream_id, handler)
        socket.task = self._start(converse(conversation, socket), f"conversation {flow.request.path:.60}")
        self._exchanges.add(socket.task)
        socket.task.add_done_callback(self._exchanges.discard)
        # As with an upload, nothing is read from a client while too much of it waits.
        handler.transports[connection] = ConnectionIO(handler=socket.task, writer=cast(asyncio.StreamWriter, socket))
        socket.task.add_done_callback(lambda _: handler.transports.pop(connection, None))
        return socket

    @property
    def keep_bytes(self) -> int:
        """How much of an answer's body is worth keeping."""
        return self._config.inspect.max_body_bytes if self._config and self.watched else 0

    def _start(self, coroutine, name: str) -> "asyncio.Task[None]":
        return asyncio_utils.create_task(coroutine, name=name, keep_ref=True)


def _is_upload(path: str, headers: http.Headers) -> bool:
    """Bodies that are passed on while they arrive: whatever is not JSON on a native route, such as forms with files."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("", "application/json"):
        return False
    try:
        return routes.match("POST", path).operation is routes.Operation.NATIVE
    except GatewayError:
        return False


def _listen_address(config: Config) -> str:
    return f"{config.host}:{config.port}" if config.host else str(config.port)


def _transport(config: Config, tls: ssl.SSLContext) -> HttpTransport:
    limits = config.timeouts
    return HttpTransport(
        tls,
        TimeLimits(limits.connect_seconds or None, limits.first_byte_seconds or None, limits.idle_seconds or None),
        config.proxy_url or proxy_of_modes(),
    )


async def _close_after(exchanges: set["asyncio.Task[None]"], transport: HttpTransport) -> None:
    """Close a transport when the exchanges of now, which may use it, are over."""
    if exchanges:
        await asyncio.wait(set(exchanges))
    await transport.close()


def _upstream_tls() -> ssl.SSLContext:
    """How upstream certificates are checked: as mitmproxy's own options say."""
    context = ssl.create_default_context(
        cafile=ctx.options.ssl_verify_upstream_trusted_ca,
        capath=ctx.options.ssl_verify_upstream_trusted_confdir,
    )
    if ctx.options.ssl_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _warn_if_open_to_others() -> None:
    for mode in ctx.options.mode:
        if not mode.startswith("reverse:"):
            continue  # Intercepted calls of others need a key in any case.
        host = urlsplit(f"//{mode.rpartition('@')[2]}").hostname if "@" in mode else ctx.options.listen_host
        if host not in ("127.0.0.1", "::1", "localhost"):
            logger.warning(
                "No api-keys are configured and the listener is not on loopback: anyone who reaches it may use it."
            )

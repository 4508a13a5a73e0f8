"""Hosts the gateway in mitmproxy: claims flows, hands their requests over, streams the answers back.

The way of a request: `requestheaders` claims the flow; `addons.connection` calls `start_exchange` once the
request is there; `_exchange` asks `cliproxy.gateway.Gateway` and sends its answer into the flow.
"""

import asyncio
import logging
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import cast
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
from addons.intercept import INTERCEPT, OPTION, TREATMENTS, intercepts
from addons.labels import MARK_FAILED
from addons.life import HEEDED_OPTIONS, GatewayLife, Standing
from addons.management import is_management
from addons.running_exchange import RunningExchange, client_request, handler_of, mask_credentials, response_of
from addons.stopping import GracefulStop
from addons.streamed_body import StreamedBody
from addons.websocket import is_handshake
from cliproxy import routes
from cliproxy.answering import error_answer
from cliproxy.config.loading import ConfigFault
from cliproxy.exchange import Answer, ClientRequest
from cliproxy.sockets.observing import ObservedSocket
from cliproxy.websocket import Conversation
from cliproxy.wire.errors import GatewayError

logger = logging.getLogger(__name__)


class GatewayAddon:
    """One gateway for all clients of this mitmproxy."""

    def __init__(self, default_config: Path) -> None:
        """default_config: what `cliproxy_config` means when it is not set."""
        self._default_config = default_config
        self._exchanges: set[asyncio.Task[None]] = set()
        self._conversations: set[ClientSocket] = set()
        self._observed: dict[str, ObservedSocket] = {}
        """WebSockets to vendors that are open, by the ids of their flows."""
        self._life = GatewayLife(self._exchanges)
        self._stop = GracefulStop(self._exchanges, self._conversations, self._grace_s)
        self.watched = True
        """Whether anyone but the gateway sees its flows."""

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
        loader.add_option(
            tether.OPTION,
            str,
            "",
            "End when standard input does, and remove this directory, as `cliproxy run` wants it.",
        )
        # It tells of each call about an account, with its address.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        # Eager would dial the reverse target before anyone knows whether the request is ours.
        ctx.options.update(connection_strategy="lazy")

    def configure(self, updated: set[str]) -> None:
        self.watched = audience.is_present()
        if "cliproxy_config" in updated or (HEEDED_OPTIONS & updated and self._life.config):
            try:
                self.reload()
            except ConfigFault as fault:
                if self._life.config:
                    raise exceptions.OptionsError(str(fault)) from None
                # At the start mitmproxy ends with exit code 1 on any logged error; raising would add a traceback.
                logger.error(str(fault))

    def reload(self) -> None:
        """Read the config and go on with it. Raises ConfigFault, and then goes on as before."""
        self._life.read(Path(ctx.options.cliproxy_config or self._default_config).expanduser())

    @property
    def standing(self) -> Standing | None:
        """What it works with now; None: nothing yet, for want of a config that can be read."""
        return self._life.standing

    def secrets(self) -> set[str]:
        """All that it knows now."""
        return self._life.secrets()

    @property
    def max_request_body_bytes(self) -> int:
        return self._life.config.max_request_body_bytes if self._life.config else 0

    @property
    def keep_bytes(self) -> int:
        """How much of an answer's body is worth keeping."""
        config = self._life.config
        return config.inspect.max_body_bytes if config and self.watched else 0

    def running(self) -> None:
        self.watched = audience.is_present()
        self._stop.attach()
        if ctx.options.cliproxy_tethered:
            tether.attach(ctx.options.cliproxy_tethered)
        if self._life.config and not self._life.config.api_keys:
            _warn_if_open_to_others()

    def done(self) -> "asyncio.Task[None] | None":
        """Awaited when mitmproxy ends. When the script is reloaded, the exchanges under way go on to their end."""
        if ctx.master.should_exit.is_set():
            self._stop.break_off()
        return self._life.close()

    def _grace_s(self) -> float:
        return self._life.config.shutdown_grace_seconds if self._life.config else 0

    # ------------------------------------------------------------ claiming

    def tls_clienthello(self, data: ClientHelloData) -> None:
        if self._life.config:
            self._life.interceptor.tls_clienthello(data)

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
        if not self._life.config or flow.response or flow.error or not is_clients:
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
        mode = flow.client_conn.proxy_mode
        if not isinstance(mode, ReverseMode):
            return self._life.interceptor.claimed(flow)
        if self._life.interceptor.refuses(flow):
            flow.response = http.Response.make(400, "This port speaks HTTPS only.\n", {"content-type": "text/plain"})
            return None
        path = flow.request.path.partition("?")[0]
        return path if routes.is_ours(path) or mode.address[0] == PLACEHOLDER_HOST else None

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the operator's replay of a client's flow: mitmproxy replays past our HTTP layer, so it waits here."""
        is_ours = flow.request.host == PLACEHOLDER_HOST or INTERCEPT in flow.metadata
        if flow.is_replay != "request" or not is_ours or flow.response or not self._life.config:
            return
        if flow.metadata.get(INTERCEPT) == "observe":
            said = "The tool's credential is not kept: cliproxy.replay sends the request again with one of yours.\n"
            flow.response = http.Response.make(409, said, {"content-type": "text/plain"})
            return
        observer = AttemptObserver(flow, self.keep_bytes)
        answer = await self._life.gateway.handle(self._client_request(flow, None), observer)
        flow.response = response_of(answer)
        if isinstance(answer.body, bytes):
            flow.response.raw_content = answer.body
            return
        shown = StreamedBody(flow, self.keep_bytes)
        async for piece in answer.body:
            shown.feed(piece)
        shown.finish()

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if not (self._stop.has_begun and is_claimed(flow) and flow.response) or flow.request.is_http2:
            return
        if flow.response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            # The client's next request has to go to another one.
            flow.response.headers["connection"] = "close"

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
        if self._life.ledger and flow.metadata.get(INTERCEPT) == "observe":
            self._observed[flow.id] = ObservedSocket(self._client_request(flow, None), self._life.ledger.book)

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
        try:
            if ctx.options.websocket and routes.opens_websocket(request.path) and is_handshake(flow.request):
                opened = self._life.sockets.open(request, partial(self._ask, flow))
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
        request = client_request(flow, upload)
        self._life.interceptor.readdress(request, flow)
        return request

    async def _ask(self, flow: http.HTTPFlow, request: ClientRequest) -> Answer:
        """Have the gateway of now answer a request that came with a flow."""
        if is_management(flow):
            return await self._life.management.ask(flow, request)
        shown = AttemptObserver(flow, self.keep_bytes) if self.watched else None
        recording = self._life.management.operator.logs.recording(shown)
        return recording.answered(await self._life.gateway.handle(request, recording))

    def start_conversation(self, flow: http.HTTPFlow, stream_id: int, conversation: Conversation) -> ClientSocket:
        handler, connection = handler_of(flow), flow.server_conn
        socket = ClientSocket(connection, stream_id, handler)
        socket.task = self._start(converse(conversation, socket), f"conversation {flow.request.path:.60}")
        self._exchanges.add(socket.task)
        socket.task.add_done_callback(self._exchanges.discard)
        self._conversations.add(socket)
        socket.task.add_done_callback(lambda _: self._conversations.discard(socket))
        # As with an upload, nothing is read from a client while too much of it waits.
        handler.transports[connection] = ConnectionIO(handler=socket.task, writer=cast(asyncio.StreamWriter, socket))
        socket.task.add_done_callback(lambda _: handler.transports.pop(connection, None))
        return socket

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


def _warn_if_open_to_others() -> None:
    for mode in ctx.options.mode:
        if not mode.startswith("reverse:"):
            continue  # Intercepted calls of others need a key in any case.
        host = urlsplit(f"//{mode.rpartition('@')[2]}").hostname if "@" in mode else ctx.options.listen_host
        if host not in ("127.0.0.1", "::1", "localhost"):
            logger.warning(
                "No api-keys are configured and the listener is not on loopback: anyone who reaches it may use it."
            )

"""Hosts the gateway in mitmproxy: claims flows, hands their requests over, streams the answers back.

The way of a request: `requestheaders` claims the flow; `addons.connection` calls `start_exchange` once the
request is there; `_exchange` asks `cliproxy.gateway.Gateway` and sends its answer into the flow.
"""

import asyncio
import logging
import ssl
import time
from contextlib import aclosing
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Server
from mitmproxy.net.http.status_codes import RESPONSES
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO
from mitmproxy.proxy.tunnel import TunnelLayer
from mitmproxy.utils import asyncio_utils

from addons import audience
from addons.attempts import MARK_FAILED, AttemptObserver
from addons.connection import (
    GATEWAY,
    PLACEHOLDER_HOST,
    GatewayLayer,
    GatewayStream,
    Reply,
    Upload,
    declared_body_bytes,
    is_claimed,
)
from addons.listener import DEFAULT_MODES, listen_instead
from cliproxy import routes
from cliproxy.answering import error_answer
from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.config.schema import Config
from cliproxy.credentials import cooldown_file
from cliproxy.exchange import Answer, AnswerCut, ClientRequest, Headers
from cliproxy.gateway import Gateway
from cliproxy.memory import Memory
from cliproxy.secrets import SECRET_HEADERS, mask_header, mask_query
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import GatewayError

logger = logging.getLogger(__name__)

UNSENT_BYTES = 256 * 1024
"""How much of a stream may wait for an HTTP/2 client's window before the upstream is no longer read."""

_UPSTREAM_TLS_OPTIONS = {
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
}


class GatewayAddon:
    """One gateway for all clients of this mitmproxy."""

    def __init__(self, default_config: Path) -> None:
        """default_config: what `cliproxy_config` means when it is not set."""
        self._default_config = default_config
        self._config: Config | None = None
        self._gateway: Gateway | None = None
        self._transport: HttpTransport | None = None
        self._memory = Memory()
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
        # Eager would dial the reverse target before anyone knows whether the request is ours.
        ctx.options.update(connection_strategy="lazy")

    def configure(self, updated: set[str]) -> None:
        self.watched = audience.is_present()
        if "cliproxy_config" in updated or (_UPSTREAM_TLS_OPTIONS & updated and self._config):
            path = Path(ctx.options.cliproxy_config or self._default_config).expanduser()
            try:
                loaded = load_config(path)
            except ConfigFault as fault:
                if self._config:
                    raise exceptions.OptionsError(str(fault)) from None
                # At the start mitmproxy ends with exit code 1 on any logged error; raising would add a traceback.
                logger.error(str(fault))
                return
            for warning in loaded.warnings:
                logger.warning(warning)
            self._apply(loaded.config)

    def _apply(self, config: Config) -> None:
        self._config = config
        self.max_request_body_bytes = config.max_request_body_bytes
        if self._transport:
            self._start(_close_after(self._exchanges, self._transport), "close old upstream connections")
        self._transport = _transport(config)
        self._gateway = Gateway(config, self._transport, self._memory)
        self._keep_cooldowns(config)
        if ctx.options.mode == DEFAULT_MODES:
            listen_instead(f"reverse:http://{PLACEHOLDER_HOST}@{_listen_address(config)}")

    def _keep_cooldowns(self, config: Config) -> None:
        """Save cooldowns while it runs, if the config wants that, and read those of the run before."""
        if self._keeping:
            self._keeping.cancel()
            self._keeping = None
        if config.save_cooldown_status:
            path = Path(config.auth_dir).expanduser() / cooldown_file.FILE_NAME
            self._keeping = self._start(self._memory.keep_cooldowns(path), "save cooldowns")

    def running(self) -> None:
        self.watched = audience.is_present()
        if self._config and not self._config.api_keys:
            _warn_if_open_to_others()

    def done(self) -> "asyncio.Task[None] | None":
        """Awaited when mitmproxy ends. When the script is reloaded, the exchanges under way go on to their end."""
        if self._keeping:
            self._keeping.cancel()
        if ctx.master.should_exit.is_set():
            for exchange in self._exchanges:
                exchange.cancel()
        if self._transport:
            return self._start(_close_after(self._exchanges, self._transport), "close upstream connections")
        return None

    # ------------------------------------------------------------ claiming

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Put our HTTP layer where mitmproxy's would stand, in reverse mode over plain text or TLS."""
        context = nextlayer.context
        if nextlayer.layer or not isinstance(context.client.proxy_mode, ReverseMode):
            return
        if context.client.proxy_mode.scheme not in ("http", "https"):
            return
        mitmproxys_own = ctx.master.addons.get("nextlayer")
        assert isinstance(mitmproxys_own, NextLayer)
        mitmproxys_own.next_layer(nextlayer)
        theirs = next((found for found in context.layers if type(found) is HttpLayer), None)
        if theirs is None:
            return
        context.layers.remove(theirs)
        ours = GatewayLayer(context, HTTPMode.transparent, self)
        if nextlayer.layer is theirs:
            nextlayer.layer = ours
        for above in context.layers:
            # Over TLS, theirs was already put below the TLS layer.
            if isinstance(above, TunnelLayer) and above.child_layer is theirs:
                above.child_layer = ours

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        mode = flow.client_conn.proxy_mode
        # The flows of attempts come by here as well; they are not live.
        if not self._gateway or not isinstance(mode, ReverseMode) or flow.response or flow.error or not flow.live:
            return
        path = flow.request.path.partition("?")[0]
        if not routes.is_ours(path) and mode.address[0] != PLACEHOLDER_HOST:
            return
        # A server of its own: the connection's is shared with the flows after this one, which may not be ours.
        flow.server_conn = Server(address=GATEWAY[1], via=GATEWAY)
        size = declared_body_bytes(flow.request)
        if _is_upload(path, flow.request.headers) or (size or 0) > self.max_request_body_bytes:
            flow.request.stream = True

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the operator's replay of a client's flow: mitmproxy replays past our HTTP layer, so it waits here."""
        if flow.is_replay != "request" or flow.request.host != PLACEHOLDER_HOST or flow.response or not self._gateway:
            return
        observer = AttemptObserver(flow, self._keep_bytes)
        answer = await self._gateway.handle(client_request(flow, None), observer)
        body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
        flow.response = _response(Answer(answer.status, answer.headers, body))
        flow.response.raw_content = body

    def response(self, flow: http.HTTPFlow) -> None:
        if is_claimed(flow) and not flow.server_conn.connected:
            # A script answered, so that no exchange began, which masks the client's key.
            _mask_credentials(flow.request)

    def error(self, flow: http.HTTPFlow) -> None:
        self.response(flow)
        if is_claimed(flow):
            flow.marked = MARK_FAILED

    # ------------------------------------------------------------ exchanging

    def start_exchange(self, stream: GatewayStream, connection: Server, upload: Upload | None) -> "RunningExchange":
        handler = _handler_of(stream.flow)
        running = RunningExchange(stream, connection, handler, upload, self._keep_bytes)
        running.task = self._start(self._exchange(running), f"exchange {stream.flow.request.path:.60}")
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
        request = client_request(flow, running.upload)
        assert self._gateway
        try:
            observer = AttemptObserver(flow, self._keep_bytes) if self.watched else None
            answer = await self._gateway.handle(request, observer)
            await running.send(answer)
        except Exception:
            logger.exception("the gateway failed on %s %s", request.method, request.path)
            error = GatewayError("the gateway failed; its log says more", code="internal_error")
            await running.fail(error_answer(error, routes.error_format(request.path)))
        finally:
            running.close()

    @property
    def _keep_bytes(self) -> int:
        """How much of an answer's body is worth keeping."""
        return self._config.inspect.max_body_bytes if self._config and self.watched else 0

    def _start(self, coroutine, name: str) -> "asyncio.Task[None]":
        return asyncio_utils.create_task(coroutine, name=name, keep_ref=True)


class RunningExchange:
    """An exchange's way back to its client."""

    task: "asyncio.Task[None]"

    def __init__(
        self,
        stream: GatewayStream,
        connection: Server,
        handler: ConnectionHandler,
        upload: Upload | None,
        keep_bytes: int,
    ) -> None:
        """keep_bytes: how much of a streamed answer, the newest, the flow shows afterwards."""
        self.flow = stream.flow
        self.upload = upload
        self._stream = stream
        self._connection = connection
        self._handler = handler
        self._keep_bytes = keep_bytes
        self._kept = bytearray()
        self._begun = False

    def cancel(self) -> None:
        """The client is gone."""
        self.task.cancel()

    async def send(self, answer: Answer) -> None:
        """Send an answer, waiting for the client as it goes."""
        id_ = self._stream.stream_id
        response = _response(answer)
        self._begun = True
        if isinstance(answer.body, bytes):
            # mitmproxy would send a body whatever the method.
            body = b"" if self.flow.request.method == "HEAD" else answer.body
            await self._reply(ResponseHeaders(id_, response), ResponseData(id_, body), ResponseEndOfMessage(id_))
            return
        response.stream = True
        try:
            async with aclosing(answer.body) as body:
                await self._reply(ResponseHeaders(id_, response))
                async for chunk in body:
                    if self.flow.error:
                        raise AnswerCut("killed")
                    await self._reply(ResponseData(id_, chunk))
                    self._keep(chunk)
                    await self._drain()
                # mitmproxy does not keep what it streams; with this, views and files have it.
                response.raw_content = bytes(self._kept) if self._keep_bytes else None
        except ConnectionError:
            return  # The client is gone; mitmproxy is about to learn it, too.
        except (AnswerCut, GatewayError) as error:
            await self._reply(ResponseProtocolError(id_, str(error), ErrorCode.GENERIC_SERVER_ERROR))
        else:
            await self._reply(ResponseEndOfMessage(id_))

    async def fail(self, answer: Answer) -> None:
        """Send an answer in place of one that broke off, or cut the connection where that one had begun."""
        if not self._begun:
            await self.send(answer)
        else:
            id_ = self._stream.stream_id
            await self._reply(ResponseProtocolError(id_, "the gateway failed", ErrorCode.GENERIC_SERVER_ERROR))

    def _keep(self, chunk: bytes) -> None:
        if self._keep_bytes:
            self._kept += chunk
            if len(self._kept) > self._keep_bytes:
                del self._kept[: -self._keep_bytes]

    async def _reply(self, *http_events: HttpEvent) -> None:
        await self._handler.server_event(Reply(self._connection, http_events))

    async def _drain(self) -> None:
        """Wait while the client does not read."""
        transport = self._handler.transports.get(self._handler.client)
        if transport and transport.writer:
            await transport.writer.drain()
        if self.flow.request.is_http2:
            await self._layer.drain_stream(self._stream.stream_id, UNSENT_BYTES)

    @property
    def _layer(self) -> GatewayLayer:
        return self._stream.http_layer

    def close(self) -> None:
        if self.upload:
            self.upload.close()
            self._handler.transports.pop(self._connection, None)


def client_request(flow: http.HTTPFlow, upload: Upload | None) -> ClientRequest:
    """A flow's request as the gateway takes it.

    The flow itself keeps masked credentials only: it may be saved or exported.
    """
    request = flow.request
    headers = Headers(
        (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in request.headers.fields
    )
    path, _, query = request.path.partition("?")
    body = upload if upload is not None else request.raw_content or b""
    peer = flow.client_conn.peername[0] if flow.client_conn.peername else ""
    trusted = flow.is_replay == "request"
    _mask_credentials(request)
    return ClientRequest(request.method, path, query, headers, body, peer, trusted)


def _mask_credentials(request: http.Request) -> None:
    for name in SECRET_HEADERS & {name.lower() for name in request.headers}:
        request.headers[name] = mask_header(request.headers[name])
    request.path = mask_query(request.path)


def _response(answer: Answer) -> http.Response:
    """A mitmproxy response without a body, which travels in events of its own."""
    fields = [
        (name.encode("latin-1"), value.encode("utf-8", "surrogateescape")) for name, value in answer.headers.items()
    ]
    if isinstance(answer.body, bytes):
        fields.append((b"content-length", str(len(answer.body)).encode()))
    elif "content-length" not in answer.headers:
        fields.append((b"transfer-encoding", b"chunked"))
    reason = RESPONSES.get(answer.status, "").encode()
    # Not `Response.make`, which would write a content-length of its own.
    return http.Response(b"HTTP/1.1", answer.status, reason, http.Headers(fields), None, None, time.time(), None)


def _handler_of(flow: http.HTTPFlow) -> ConnectionHandler:
    proxyserver = ctx.master.addons.get("proxyserver")
    assert isinstance(proxyserver, Proxyserver)
    return proxyserver.connections[flow.client_conn.id]


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


def _transport(config: Config) -> HttpTransport:
    limits = config.timeouts
    return HttpTransport(
        _upstream_tls(),
        TimeLimits(limits.connect_seconds or None, limits.first_byte_seconds or None, limits.idle_seconds or None),
        config.proxy_url or None,
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
        host = urlsplit(f"//{mode.rpartition('@')[2]}").hostname if "@" in mode else ctx.options.listen_host
        if host not in ("127.0.0.1", "::1", "localhost"):
            logger.warning(
                "No api-keys are configured and the listener is not on loopback: anyone who reaches it may use it."
            )

"""Unmodified tools: which of their connections are decrypted, and which of their requests are the gateway's.

In mitmproxy's regular, upstream, SOCKS, transparent and local modes connections to any host come by. Those to the
vendors' hosts are decrypted, and what is a call of a vendor's API there goes through the gateway; everything else on
them passes on as mitmproxy passes it. Connections to other hosts stay closed, so that a client's trust matters to none.
"""

import logging
from ipaddress import ip_address
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

from mitmproxy import ctx, http
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import (
    DnsMode,
    LocalMode,
    ProxyMode,
    ReverseMode,
    TransparentMode,
    TunMode,
    UpstreamMode,
    WireGuardMode,
)
from mitmproxy.tls import ClientHelloData

from addons.certificates import Certificates
from addons.connection import PLACEHOLDER_HOST
from addons.listener import DEFAULT_MODES
from addons.websocket import is_handshake
from cliproxy.config.loading import ConfigFault
from cliproxy.config.schema import Config, Treatment
from cliproxy.exchange import ClientRequest, Intercepted
from cliproxy.interception.hosts import InterceptedHosts

logger = logging.getLogger(__name__)

INTERCEPT = "cliproxy.intercept"
"""`flow.metadata` key: what becomes of an intercepted request: `observe`, `pool` or `route`."""
OPTION = "cliproxy_intercept"
TREATMENTS = ("observe", "pool", "route")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def intercepts(mode: ProxyMode) -> bool:
    """Whether clients of a mode talk to other hosts than this one."""
    return not isinstance(mode, ReverseMode | DnsMode)


class Interceptor:
    """What one configuration says of interception."""

    def __init__(self, config: Config, treatment: Treatment | None) -> None:
        """treatment: of all hosts, whatever the configuration says."""
        self._hosts = InterceptedHosts(config.intercept, treatment)
        self._tls = config.tls
        self._decrypts_others = config.intercept.decrypt_others
        self._signs = config.intercept.ca == "cliproxy"
        self._certificates = Certificates(config, self._hosts.names)

    def prepare(self) -> None:
        """Make the certificates that are going to be needed, and say whom clients have to trust. Raises ConfigFault."""
        modes = _modes()
        try:
            if self._tls.enable:
                self._certificates.listener()
            if self._signs and any(map(intercepts, modes)):
                self._certificates.make_ca()
                logger.info(
                    "Calls to %d hosts of vendors are intercepted; clients must trust %s (see `cliproxy certs`).",
                    len(self._hosts.names), self._certificates.ca_path,
                )  # fmt: skip
        except (OSError, ValueError) as error:
            raise ConfigFault([f"No certificate: {error}"]) from None

    # ------------------------------------------------------------ connections

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Decide what a client is shown, or that its connection stays closed."""
        client, server = data.context.client, data.context.server
        if isinstance(client.proxy_mode, ReverseMode):
            if self._tls.enable:
                self._show_listener(client)
            return
        # Without an address, TLS is with the proxy itself.
        if not intercepts(client.proxy_mode) or server.address is None:
            return
        if client.transport_protocol != "tcp":
            data.ignore_connection = not self._decrypts_others
            return
        name = (client.sni or server.address[0]).lower()
        if self._hosts.find(name) is None:
            data.ignore_connection = not self._decrypts_others
        elif self._signs:
            try:
                self._certificates.show_host(name)
            except OSError as error:
                logger.error("%s is not intercepted, for want of a certificate: %s", name, error)
                data.ignore_connection = True

    def _show_listener(self, client: Client) -> None:
        try:
            self._certificates.show_listener(client.sni or client.sockname[0])
        except (OSError, ValueError) as error:
            logger.error("No certificate: %s", error)

    def refuses(self, flow: http.HTTPFlow) -> bool:
        """Whether a client speaks plain HTTP where HTTPS is due."""
        client = flow.client_conn
        return self._tls.enable and isinstance(client.proxy_mode, ReverseMode) and not client.tls_established

    # ------------------------------------------------------------ requests

    def claimed(self, flow: http.HTTPFlow) -> str | None:
        """The gateway's path of a request that it is to answer; None: it has nothing to do with it."""
        recognised = self._recognised(flow)
        if recognised is None:
            return None
        intercepted, path = recognised
        if _is_sent_to_us(flow):
            return path
        flow.metadata[INTERCEPT] = intercepted.treatment
        # mitmproxy passes messages on itself, and shows them.
        passes = intercepted.treatment == "observe" and is_handshake(flow.request)
        return None if passes else path

    def _recognised(self, flow: http.HTTPFlow) -> tuple[Intercepted, str] | None:
        """Where a call of an API was going, and its path at the gateway; None: it is no such call."""
        request, client = flow.request, flow.client_conn
        if not intercepts(client.proxy_mode) or client.transport_protocol != "tcp":
            return None
        name = (client.sni or request.pretty_host).lower()
        host = self._hosts.find(name)
        if host is None:
            return None
        sent_path = request.path.partition("?")[0]
        path = host.api_call(request.method, sent_path, websocket=is_handshake(request))
        if path is None:
            return None
        port = "" if request.port == _DEFAULT_PORTS.get(request.scheme) else f":{request.port}"
        url = f"{request.scheme}://{name}{port}{sent_path}"
        return Intercepted(self._hosts.treatment(host), host.provider, url), path

    def readdress(self, request: ClientRequest, flow: http.HTTPFlow) -> None:
        """Turn a request to a vendor into one to the gateway; others stay as they are."""
        if recognised := self._recognised(flow):
            intercepted, request.path = recognised
            if _is_sent_to_us(flow):
                return
            request.intercepted = intercepted
            # The client shows its vendor's key, so that none of ours can be asked of it.
            request.trusted = request.trusted or is_on_this_machine(flow.client_conn)


def _is_sent_to_us(flow: http.HTTPFlow) -> bool:
    """Whether the operator sends a call again, to the gateway in place of its vendor."""
    return flow.request.host == PLACEHOLDER_HOST


def is_on_this_machine(client: Client) -> bool:
    """Whether a client runs here, where whoever runs it may spend what is configured here."""
    match client.proxy_mode:
        case LocalMode():
            return True
        case TransparentMode():
            # A redirected connection of this machine's comes from its outer address, but ends on loopback.
            return _is_loopback(client.peername[0]) or _is_loopback(client.sockname[0])
        case WireGuardMode() | TunMode():
            return False  # Their clients choose their addresses themselves.
        case _:
            return _is_loopback(client.peername[0])


def _is_loopback(address: str) -> bool:
    parsed = ip_address(address.partition("%")[0])
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


# ---------------------------------------------------------------- the proxy before us


def proxy_of_modes() -> str | None:
    """The proxy for the gateway's own calls, where its mode says one, or where the environment's is itself."""
    modes = _modes()
    for mode in modes:
        if isinstance(mode, UpstreamMode):
            host, port = mode.address
            user = ":".join(quote(part, safe="") for part in (ctx.options.upstream_auth or "").split(":", 1))
            return f"{mode.scheme}://{f'{user}@' if user else ''}{f'[{host}]' if ':' in host else host}:{port}"
    ports = {mode.listen_port(ctx.options.listen_port) for mode in modes if intercepts(mode)}
    return "direct" if any(_is_ours(url, ports) for url in getproxies().values()) else None


def _is_ours(proxy_url: str, ports: set[int | None]) -> bool:
    """Whether it is one of this machine's listeners on these ports: calls would come back for ever."""
    try:
        url = urlsplit(proxy_url if "://" in proxy_url else f"http://{proxy_url}")
        return url.port in ports and url.hostname in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return False


def _modes() -> list[ProxyMode]:
    """The modes as they are now; what is no mode, mitmproxy itself refuses."""
    modes = []
    # By default, nothing listens in that mode for long.
    for spec in () if ctx.options.mode == DEFAULT_MODES else ctx.options.mode:
        try:
            modes.append(ProxyMode.parse(spec))
        except ValueError:
            continue
    return modes

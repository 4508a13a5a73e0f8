"""The one HTTP client towards upstreams: a warm connection pool that all clients share.

aiohttp does the work, with its conveniences off: no cookies, no redirects, no decompression, no proxy from the
environment, no total time limit. What remains is bytes with time limits.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from yarl import URL

from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.secrets import mask_query
from cliproxy.transport.whole import read_whole
from cliproxy.wire.errors import (
    UpstreamCut,
    UpstreamFault,
    UpstreamGarbled,
    UpstreamTimeout,
    UpstreamUnreachable,
)

WebSocket = aiohttp.ClientWebSocketResponse

_USERINFO = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds; None: no limit."""

    connect_s: float | None
    first_byte_s: float | None
    """From the request being sent to the response's headers."""
    idle_s: float | None
    """Between two slices of the body."""


class HttpResponse:
    """An `UpstreamResponse` of aiohttp's."""

    def __init__(self, response: aiohttp.ClientResponse, idle_s: float | None) -> None:
        self._response = response
        self._idle_s = idle_s
        self.status = response.status
        self.reason = response.reason or ""
        self.headers: Headers = Headers(response.headers)
        self.peer: tuple[str, int] | None = None
        # A response that came whole has given its connection back already.
        if (connection := response.connection) and connection.transport:
            peername = connection.transport.get_extra_info("peername")
            self.peer = (peername[0], peername[1]) if peername else None
            if connection.protocol is not None:  # it has a length, and is empty here
                # aiohttp has one read limit; it guarded the headers, from here on it guards the gaps.
                connection.protocol.read_timeout = idle_s
                connection.protocol.start_timeout()

    async def chunks(self) -> AsyncGenerator[bytes]:
        stream = self._response.content
        try:
            while chunk := await stream.readany():
                yield chunk
        except TimeoutError:
            self.close()
            raise UpstreamTimeout(f"the upstream sent nothing for {self._idle_s:g} s (timeouts.idle-seconds)") from None
        except aiohttp.ClientPayloadError:
            raise UpstreamCut("the upstream's answer was cut off") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamCut(f"the upstream's answer was cut off: {_reason(error)}") from None
        except RuntimeError:
            # What aiohttp's stream says when its session was closed under it.
            raise UpstreamCut("the upstream's answer was cut off: the connection was closed here") from None

    async def read(self, limit_bytes: int) -> bytes:
        return await read_whole(self, limit_bytes)

    def close(self) -> None:
        self._response.close()


class HttpTransport:
    """Sends `UpstreamRequest`s. One session a proxy, opened when first used."""

    def __init__(self, tls: ssl.SSLContext, limits: TimeLimits, default_proxy_url: str | None = None) -> None:
        """tls: how upstream certificates are checked. default_proxy_url: for requests that name none; None: the
        environment's (`HTTPS_PROXY`, `NO_PROXY` …)."""
        self._tls = tls
        self.limits = limits
        self._default_proxy_url = default_proxy_url
        self._sessions: dict[tuple[str, bool], aiohttp.ClientSession] = {}
        """By the proxy, those for WebSockets apart."""
        self._environment: dict[tuple[str, str], str] = {}

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Send a request and wait for the response's headers.

        Raises UpstreamUnreachable (nothing was sent), UpstreamTimeout, UpstreamCut, UpstreamGarbled.
        """
        session, proxy_url, host = self._way_to(request)
        with self._as_faults(host):
            response = await session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                proxy=proxy_url,
                allow_redirects=False,
            )
        return HttpResponse(response, self.limits.idle_s)

    async def open_websocket(self, request: UpstreamRequest, max_message_bytes: int) -> WebSocket | None:
        """Open a WebSocket where a request would go, with its headers; None where the upstream refuses.

        Raises UpstreamUnreachable, UpstreamTimeout, UpstreamCut, UpstreamGarbled.
        """
        session, proxy_url, host = self._way_to(request, websocket=True)
        with self._as_faults(host):
            try:
                return await session.ws_connect(
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    proxy=proxy_url,
                    max_msg_size=max_message_bytes,
                )
            except (aiohttp.WSServerHandshakeError, _Redirected):
                return None

    def _way_to(
        self, request: UpstreamRequest, *, websocket: bool = False
    ) -> tuple[aiohttp.ClientSession, str | None, str]:
        """The session for a request, the proxy that it must name, and the host."""
        url = urlsplit(request.url)
        proxy_url = request.proxy_url or self._default_proxy_url or self._environment_proxy(url.scheme, url.netloc)
        session = self._session(proxy_url, websocket=websocket)
        return session, proxy_url if proxy_url.startswith("http") else None, url.netloc

    @contextmanager
    def _as_faults(self, host: str) -> Iterator[None]:
        """Tells aiohttp's errors in the gateway's words."""
        limits = self.limits
        try:
            yield
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ClientProxyConnectionError,
            aiohttp.ClientHttpProxyError,
            ProxyError,
            ProxyConnectionError,
        ) as error:
            raise UpstreamUnreachable(f"{host} cannot be reached: {_reason(error)}") from None
        except asyncio.IncompleteReadError:
            raise UpstreamUnreachable(f"{host} cannot be reached: the proxy hung up") from None
        except (aiohttp.ConnectionTimeoutError, ProxyTimeoutError):
            raise UpstreamUnreachable(f"{host} did not accept a connection within {limits.connect_s:g} s") from None
        except TimeoutError:
            raise UpstreamTimeout(
                f"{host} did not begin to answer within {limits.first_byte_s:g} s (timeouts.first-byte-seconds)"
            ) from None
        except aiohttp.ServerDisconnectedError:
            raise UpstreamCut(f"{host} closed the connection without an answer") from None
        except aiohttp.ClientResponseError as error:
            raise UpstreamGarbled(f"{host} did not answer in HTTP: {_reason(error)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamFault(f"the call to {host} failed: {_reason(error)}") from None

    def _session(self, proxy_url: str, *, websocket: bool = False) -> aiohttp.ClientSession:
        session = self._sessions.get((proxy_url, websocket))
        if session is None:
            session = self._sessions[proxy_url, websocket] = aiohttp.ClientSession(
                connector=self._session(proxy_url).connector if websocket else self._connector(proxy_url),
                connector_owner=not websocket,
                trace_configs=[_without_redirects()] if websocket else None,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self.limits.connect_s, sock_read=self.limits.first_byte_s
                ),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                read_bufsize=64 * 1024,
                max_line_size=64 * 1024,
                max_field_size=64 * 1024,
            )
        return session

    def _connector(self, proxy_url: str) -> aiohttp.BaseConnector:
        if not proxy_url.startswith("socks"):
            return aiohttp.TCPConnector(limit=0, ssl=self._tls, keepalive_timeout=30)
        # socks5h leaves the name to the proxy; python-socks spells that as an option of socks5.
        remote_dns = proxy_url.startswith("socks5h:")
        plain = proxy_url.replace("socks5h:", "socks5:", 1)
        return ProxyConnector.from_url(plain, rdns=remote_dns, limit=0, ssl=self._tls, keepalive_timeout=30)

    def _environment_proxy(self, scheme: str, host: str) -> str:
        """The proxy that the environment names for an upstream, or `direct`; asked once for each."""
        known = self._environment.get((scheme, host))
        if known is None:
            proxies = {} if proxy_bypass(host) else getproxies()
            known = proxies.get(scheme) or proxies.get("all") or "direct"
            if "://" not in known and known != "direct":
                known = f"http://{known}"
            self._environment[scheme, host] = known
        return known

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()


class _Redirected(Exception):
    """An opening handshake was answered with a redirect."""


def _without_redirects() -> aiohttp.TraceConfig:
    """aiohttp follows redirects of opening handshakes, and has no other way to be told not to."""

    async def refuse(*_: object) -> None:
        raise _Redirected

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


def _reason(error: BaseException) -> str:
    """What went wrong, in one line, without secrets of a proxy URL."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _USERINFO.sub("//", mask_query(" ".join(text.split())))[:300]

"""Whether each upstream can be reached. Nothing secret is sent: any answer will do."""

import asyncio
import ssl
import time
from collections.abc import Iterable

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Credential
from cliproxy.doctor.finding import Finding
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.errors import GatewayError

_LIMITS = TimeLimits(connect_s=10.0, first_byte_s=15.0, idle_s=15.0)


async def upstreams(credentials: Iterable[Credential], proxy_url: str) -> list[Finding]:
    """One finding for each address, by the way that its requests take."""
    places = {
        (credential.base_url, credential.proxy_url): credential.provider
        for credential in credentials
        if credential.base_url and credential.provider != "demo"
    }
    transport = HttpTransport(ssl.create_default_context(), _LIMITS, proxy_url or None)
    try:
        asked = (_reached(provider, url, proxy, transport) for (url, proxy), provider in places.items())
        return await asyncio.gather(*asked)
    finally:
        await transport.close()


async def _reached(provider: str, url: str, proxy_url: str, transport: HttpTransport) -> Finding:
    began_s = time.monotonic()
    request = UpstreamRequest("GET", f"{url}/", Headers({"User-Agent": USER_AGENT}), None, proxy_url or None)
    try:
        response = await transport.send(request)
    except GatewayError as error:
        return Finding("upstreams", "error", f"{provider} at {url} cannot be reached: {error.message}")
    response.close()
    return Finding("upstreams", "ok", f"{provider} at {url} answers after {time.monotonic() - began_s:.1f} s")

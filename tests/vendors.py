"""The vendors' hosts on loopback: one mock upstream that shows certificates for their names, and ways to get there."""

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cliproxy.certs.authority import Authority
from tests.native import Format
from tests.proxies import HttpProxy
from tests.upstream import Upstream

HOSTS: Mapping[Format, str] = {
    "openai-chat": "api.openai.com",
    "openai-responses": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "gemini": "generativelanguage.googleapis.com",
}
OTHER_HOST = "other.example"
"""Nobody's whose calls would be intercepted."""
VENDORS_KEY = "sk-test-vendors-key"
"""What a tool shows its vendor."""


class Vendors:
    """`async with Vendors(folder) as vendors:` answers as `vendors.upstream`, for whatever host name.

    ca: the PEM file that a client of the real vendors trusts. proxy: leads to the upstream from every name.
    """

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        names = (*HOSTS.values(), "chatgpt.com", "cloudcode-pa.googleapis.com", "dashscope.aliyuncs.com", OTHER_HOST)
        authority = Authority.create(names, now)
        shown = authority.issue(names, now)
        self.ca = folder / "vendors-ca.pem"
        self.ca.write_bytes(authority.own.certificate_pem)
        pem = folder / "vendors.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(shown.certificate_pem + shown.key_pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        self.upstream = Upstream(tls=context)
        self.proxy = HttpProxy(lambda host: self.upstream.port)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.upstream)
            await stack.enter_async_context(self.proxy)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def config(self, folder: Path, **intercept: Any) -> dict[str, Any]:
        """A config in which the gateway gets to the vendors. folder: for the local CA."""
        return {
            "demo": False,
            "certs-dir": str(folder),
            "proxy-url": self.proxy.url,
            "intercept": {name.replace("_", "-"): value for name, value in intercept.items()},
        }

    def options(self) -> tuple[str, ...]:
        """mitmproxy's, to trust the vendors and to get to them."""
        script = Path(__file__).with_name("resolving_script.py")
        settings = (f"ssl_verify_upstream_trusted_ca={self.ca}", f"resolve_to={self.upstream.port}")
        return ("-s", str(script), *(part for setting in settings for part in ("--set", setting)))

"""A mitmproxy script for tests: whatever host mitmproxy connects to is a port of loopback."""

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy.server_hooks import ServerConnectionHookData


def load(loader: Loader) -> None:
    loader.add_option("resolve_to", int, 0, "The port.")


def server_connect(data: ServerConnectionHookData) -> None:
    data.server.address = ("127.0.0.1", ctx.options.resolve_to)

"""The gateway's own port: who listens there, and the certificate that is shown."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from cliproxy.certs.authority import KeyedCertificate
from cliproxy.certs.store import CertificateStore, certificates_dir, listener_names
from cliproxy.config.schema import Config
from cliproxy.doctor.finding import Finding
from cliproxy.setup.address import gateway_url

_LIMIT_S = 3.0
_SOON = timedelta(days=14)


async def port(config: Config) -> Finding:
    """Whether the gateway runs there, or could."""
    if not config.port:
        return Finding("port", "note", "the port is 0: the gateway takes any that is free, and tools cannot be set up")
    url = gateway_url(config)
    answer = await _answer(url)
    if answer == "cliproxy":
        return Finding("port", "ok", f"the gateway runs at {url}")
    if answer is not None:
        return Finding("port", "error", f"another program answers at {url}", "cliproxy serve --port 8318")
    reason = await asyncio.to_thread(_why_not_free, config.host, config.port)
    if reason:
        return Finding("port", "error", f"the gateway cannot listen at {url}: {reason}", "cliproxy serve --port 8318")
    return Finding("port", "note", f"the gateway does not run; {url} is free for it", "cliproxy serve")


async def _answer(url: str) -> str | None:
    """How whoever listens there introduces itself; empty: not as we do; None: nobody listens."""
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    try:
        # Whose certificate it is does not matter here: nothing is told to it.
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(f"{url}/", ssl=False) as response:
            banner = await response.json(content_type=None)
            return str(banner.get("message", "")) if isinstance(banner, dict) else ""
    except aiohttp.ClientConnectorError:
        return None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return ""


def _why_not_free(host: str, port: int) -> str:
    """Empty where one could listen."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "another program has this port"
        return error.strerror or str(error)
    return ""


# ---------------------------------------------------------------- TLS


def certificates(config: Config, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """The listener's certificate, and the local CA where there is one."""
    store = CertificateStore(certificates_dir(config.certs_dir), clock)
    if config.tls.enable:
        if config.tls.cert:
            certificate, key = Path(config.tls.cert).expanduser(), Path(config.tls.key).expanduser()
            yield _of_listener(certificate, key, config, clock(), mend="")
        elif store.listener_path.exists():
            key = store.listener_path.with_name("listener-key.pem")
            yield _of_listener(store.listener_path, key, config, clock(), mend="cliproxy certs")
        else:
            yield Finding("tls", "note", f"the gateway makes its certificate in {store.folder} when it starts")
    if store.ca_path.exists():
        yield _of_ca(store, clock())


def _of_listener(certificate: Path, key: Path, config: Config, now: datetime, mend: str) -> Finding:
    try:
        found = KeyedCertificate.load(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        return Finding("tls", "error", f"{error.filename}: cannot be read: {error.strerror}", mend)
    except ValueError as error:
        return Finding("tls", "error", f"{certificate}: cannot be used: {error}", mend)
    ends = f"{found.certificate.not_valid_after_utc:%Y-%m-%d}"
    if not found.lasts(timedelta(), now):
        return Finding("tls", "error", f"{certificate} is not valid today; it ends on {ends}", mend)
    host = urlsplit(gateway_url(config)).hostname or ""
    if host not in found.names and not set(found.names) & set(listener_names(config.host)):
        return Finding("tls", "warning", f"{certificate} is not for {host}, but for {', '.join(found.names)}", mend)
    if not found.lasts(_SOON, now):
        return Finding("tls", "warning", f"{certificate} ends on {ends}", mend)
    return Finding("tls", "ok", f"{certificate} is valid until {ends}")


def _of_ca(store: CertificateStore, now: datetime) -> Finding:
    key = store.ca_path.with_name("ca-key.pem")
    try:
        found = KeyedCertificate.load(store.ca_path.read_bytes(), key.read_bytes())
    except (OSError, ValueError) as error:
        return Finding("tls", "error", f"the local CA in {store.folder} cannot be used: {error}", "cliproxy certs")
    ends = f"{found.certificate.not_valid_after_utc:%Y-%m-%d}"
    if not found.lasts(_SOON, now):
        return Finding("tls", "warning", f"the local CA {store.ca_path} ends on {ends}", "cliproxy certs")
    return Finding("tls", "ok", f"the local CA {store.ca_path} is valid until {ends}")

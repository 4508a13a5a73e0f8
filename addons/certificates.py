"""Which certificates clients are shown: put into mitmproxy's store right before mitmproxy looks there.

Intercepted hosts show one that the local CA signed, or mitmproxy's own where the config says so. The gateway's own port
shows `tls.cert`, or the listener's certificate of the local CA. Everything else is left to mitmproxy.
"""

from datetime import timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from mitmproxy import ctx
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.certs import Cert, CertStoreEntry

from cliproxy.certs.authority import KeyedCertificate
from cliproxy.certs.store import LEAF_RENEWED_BEFORE, CertificateStore, certificates_dir, listener_names
from cliproxy.config.schema import Config


class Certificates:
    """The certificates of one configuration."""

    def __init__(self, config: Config, hosts: tuple[str, ...]) -> None:
        """hosts: the intercepted ones."""
        self._store = CertificateStore(certificates_dir(config.certs_dir))
        self._tls = config.tls
        self._listener_names = listener_names(config.host) if config.tls.enable else ()
        self._hosts = hosts
        self._issued: dict[str, KeyedCertificate] = {}
        self._given: tuple[tuple[int, int], CertStoreEntry] | None = None
        """The configured certificate, and of when its files are."""
        self._generated: KeyedCertificate | None = None

    @property
    def ca_path(self) -> Path:
        """What clients of intercepted hosts have to trust."""
        return self._store.ca_path

    def make_ca(self) -> None:
        """Have a CA that may sign for the intercepted hosts. Raises OSError."""
        self._store.authority(self._hosts)

    def show_host(self, name: str) -> None:
        """Show an intercepted host's certificate under that name. Raises OSError."""
        issued = self._issued.get(name)
        if issued is None or not self._lasts(issued):
            authority = self._store.authority((*self._hosts, name))
            issued = self._issued[name] = authority.issue([name], self._store.clock())
        _show(name, _entry(issued))

    def show_listener(self, name: str) -> None:
        """Show the listener's certificate under that name. Raises OSError and ValueError."""
        _show(name, self.listener())

    def listener(self) -> CertStoreEntry:
        """The listener's certificate of now: others may renew what the config names. Raises OSError, ValueError."""
        if not self._tls.cert:
            if self._generated is None or not self._lasts(self._generated):
                self._generated = self._store.listener(self._listener_names)
            return _entry(self._generated)
        paths = Path(self._tls.cert).expanduser(), Path(self._tls.key).expanduser()
        written = (paths[0].stat().st_mtime_ns, paths[1].stat().st_mtime_ns)
        if self._given is None or self._given[0] != written:
            self._given = written, _read(*paths)
        return self._given[1]

    def _lasts(self, own: KeyedCertificate, remaining: timedelta = LEAF_RENEWED_BEFORE) -> bool:
        return own.lasts(remaining, self._store.clock())


def _entry(own: KeyedCertificate) -> CertStoreEntry:
    # mitmproxy speaks of RSA, but takes any key that OpenSSL takes.
    return CertStoreEntry(Cert(own.certificate), cast("RSAPrivateKey", own.key), None, [])


def _read(certificate: Path, key: Path) -> CertStoreEntry:
    """A certificate with its chain. Raises OSError and ValueError."""
    pem = certificate.read_bytes()
    try:
        own = KeyedCertificate.load(pem, key.read_bytes())
        chain = [Cert(one) for one in x509.load_pem_x509_certificates(pem)]
    except ValueError as error:
        raise ValueError(f"{certificate} and {key} are no certificate with its key: {error}") from None
    return CertStoreEntry(Cert(own.certificate), cast("RSAPrivateKey", own.key), certificate, chain)


def _show(name: str, entry: CertStoreEntry) -> None:
    tls_config = ctx.master.addons.get("tlsconfig")
    assert isinstance(tls_config, TlsConfig)
    tls_config.certstore.certs[name] = entry

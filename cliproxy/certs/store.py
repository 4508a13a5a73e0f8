"""Where the local CA and the listener's certificate are kept, and when they are made anew.

ca.pem          what clients trust; anyone may read it
ca-key.pem      mode 0600, like every key here
listener.pem    the certificate of the gateway's own port
listener-key.pem
"""

import contextlib
import socket
import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from os import W_OK, access
from pathlib import Path

import platformdirs
from filelock import FileLock

from cliproxy.certs.authority import Authority, KeyedCertificate
from cliproxy.config.schema import EVERY_INTERFACE
from cliproxy.credentials.atomic_write import write_atomically

CA_RENEWED_BEFORE = timedelta(days=60)
LEAF_RENEWED_BEFORE = timedelta(days=30)


def certificates_dir(configured: str) -> Path:
    """The directory of the certificates. configured: `certs-dir`."""
    if configured:
        return Path(configured).expanduser()
    of_the_tree = Path(__file__).resolve().parents[2] / "certs"
    if of_the_tree.is_dir() and access(of_the_tree, W_OK):
        return of_the_tree
    return platformdirs.user_data_path("cliproxy") / "certs"


class CertificateStore:
    """The certificates of one directory. Several processes may use it at once."""

    def __init__(self, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder = folder
        self.clock = clock
        self.ca_path = folder / "ca.pem"
        self.listener_path = folder / "listener.pem"

    def authority(self, names: Iterable[str]) -> Authority:
        """The CA: made, renewed before it expires, and extended where it may not sign for all names. Raises OSError."""
        names = tuple(names)
        found = self._kept_authority()
        if found and self._serves(found, names):
            return found
        with self._locked():
            # Another process may have been here first.
            found = self._kept_authority()
            if found and self._serves(found, names):
                return found
            if found and self._lasts(found):
                made = found.extended(names, self.clock())
            else:
                made = Authority.create((*(found.permitted if found else ()), *names), self.clock())
            self._write(self.ca_path, made.own)
        return made

    def renewed_authority(self, names: Iterable[str]) -> Authority:
        """A new CA in place of the one that is there. Raises OSError."""
        with self._locked():
            made = Authority.create(names, self.clock())
            self._write(self.ca_path, made.own)
        return made

    def listener(self, names: Iterable[str]) -> KeyedCertificate:
        """The listener's certificate: made, and renewed before it expires or where names or the CA changed.

        Raises OSError.
        """
        names = tuple(names)
        authority = self.authority(names)
        with self._locked():
            found = self._read(self.listener_path)
            if found and self._is_listeners(found, authority, names):
                return found
            made = authority.issue(names, self.clock())
            self._write(self.listener_path, made)
        return made

    def _serves(self, authority: Authority, names: Iterable[str]) -> bool:
        return self._lasts(authority) and all(map(authority.permits, names))

    def _lasts(self, authority: Authority) -> bool:
        return authority.own.lasts(CA_RENEWED_BEFORE, self.clock())

    def _is_listeners(self, found: KeyedCertificate, authority: Authority, names: Iterable[str]) -> bool:
        return (
            found.lasts(LEAF_RENEWED_BEFORE, self.clock())
            and set(names) <= set(found.names)
            and found.certificate.issuer == authority.own.certificate.subject
        )

    # ------------------------------------------------------------ files

    def _kept_authority(self) -> Authority | None:
        """The CA on disk; None where there is none, or none that is usable."""
        own = self._read(self.ca_path)
        authority = Authority(own) if own else None
        return authority if authority and authority.is_sound else None

    def _read(self, path: Path) -> KeyedCertificate | None:
        key_path = _key_path(path)
        try:
            found = KeyedCertificate.load(path.read_bytes(), key_path.read_bytes())
        except (FileNotFoundError, ValueError):
            # A killed writer may have left a key without its certificate.
            return None
        _keep_private(key_path)
        return found

    def _write(self, path: Path, made: KeyedCertificate) -> None:
        write_atomically(_key_path(path), made.key_pem)
        write_atomically(path, made.certificate_pem)
        path.chmod(0o644)

    def _locked(self) -> FileLock:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock", mode=0o600)


def listener_names(host: str) -> tuple[str, ...]:
    """The names and addresses under which clients reach a listener. host: where it listens."""
    names = ["localhost", "127.0.0.1", "::1"]
    if host in EVERY_INTERFACE:
        hostname = socket.gethostname()
        names += [hostname, *_own_addresses(hostname)]
    elif host:
        names.append(host)
    return tuple(dict.fromkeys(names))


def _own_addresses(hostname: str) -> list[str]:
    """This machine's addresses, as far as they are easily known."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        found += [str(address[0]) for *_, address in socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)]
    # No packet is sent: connecting a datagram socket only chooses the address that one would leave from.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        found.append(probe.getsockname()[0])
    return [address for address in found if "%" not in address]


def _key_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-key.pem")


def _keep_private(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)

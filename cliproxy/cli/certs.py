"""`cliproxy certs`: makes and shows the local CA and the listener's certificate, and says how to trust them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cyclopts import Parameter

from cliproxy.certs.authority import Authority, KeyedCertificate
from cliproxy.certs.store import CertificateStore, certificates_dir, listener_names
from cliproxy.certs.trust import Way, ways_of_runtimes, ways_of_systems
from cliproxy.cli.configuration import ConfigPath, load
from cliproxy.config.schema import Config
from cliproxy.interception.hosts import InterceptedHosts


def certs(
    *,
    config: ConfigPath = None,
    path: Annotated[
        bool, Parameter(negative="", help="Only print the path of the CA's certificate, for scripts.")
    ] = False,
    renew: Annotated[
        bool, Parameter(negative="", help="Make a new CA; whoever trusted the old one must be given the new one.")
    ] = False,
) -> None:
    """Make and show the local CA and the listener's certificate, and how to trust them."""
    settings = load(config)
    store = CertificateStore(certificates_dir(settings.certs_dir))
    hosts = InterceptedHosts(settings.intercept).names
    try:
        authority = store.renewed_authority(hosts) if renew else store.authority(hosts)
        if path:
            print(store.ca_path)
            return
        _show_ca(store.ca_path, authority)
        _show_listener(store, settings)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    print("\n`cliproxy run -- TOOL` trusts the CA for that tool alone; nothing below is needed for it.")
    _show_ways("Trusted by a whole system", ways_of_systems(store.ca_path))
    _show_ways("Trusted by one program, through its environment", ways_of_runtimes(store.ca_path))


def _show_ca(path: Path, authority: Authority) -> None:
    print(f"Local CA     {path}")
    print(f"  signs for  {', '.join(authority.permitted)}")
    print("             and is refused for every other name")
    _show_validity(authority.own.certificate)


def _show_listener(store: CertificateStore, config: Config) -> None:
    if not config.tls.enable:
        print("Listener     has no certificate: tls.enable is false")
    elif config.tls.cert:
        own = _given(Path(config.tls.cert).expanduser(), Path(config.tls.key).expanduser())
        print(f"Listener     {config.tls.cert} (tls.cert)")
        print(f"  for        {', '.join(own.names)}")
        _show_validity(own.certificate)
    else:
        own = store.listener(listener_names(config.host))
        print(f"Listener     {store.listener_path}")
        print(f"  for        {', '.join(own.names)}")
        _show_validity(own.certificate)


def _given(certificate: Path, key: Path) -> KeyedCertificate:
    """The user's own. Raises OSError, and ValueError with the file's name."""
    try:
        return KeyedCertificate.load(certificate.read_bytes(), key.read_bytes())
    except ValueError as error:
        raise ValueError(f"{certificate}: {error}") from None


def _show_validity(certificate: x509.Certificate) -> None:
    print(f"  valid      until {certificate.not_valid_after_utc:%Y-%m-%d}")
    print(f"  SHA-256    {certificate.fingerprint(SHA256()).hex(':').upper()}")


def _show_ways(title: str, ways: Sequence[Way]) -> None:
    print(f"\n{title}")
    for who, command in ways:
        if who:
            print(f"  {who}")
        print(f"    {command}")

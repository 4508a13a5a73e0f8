"""A local certificate authority whose name constraints make it worthless for every name but a few.

The constraints stand in the CA's own certificate, so whoever trusts it need not trust whoever holds its key. A name
that is added later takes a new certificate of the same key: what the old one was for works with the old one as before.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=5 * 365)
LEAF_LIFETIME = timedelta(days=365)
"""Apple's systems take none that is valid for more than 825 days."""
_BACKDATED = timedelta(days=1)
"""For clients whose clocks are slow."""
_LOOPBACK = ("localhost", "127.0.0.0/8", "::1/128")
_ORGANIZATION = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cliproxy")


@dataclass(frozen=True, slots=True)
class KeyedCertificate:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Self:
        """Raises ValueError for anything that is not a certificate and its key."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except ValueError:
            raise ValueError("the certificate cannot be read as PEM") from None
        try:
            key = cast("CertificateIssuerPrivateKeyTypes", load_pem_private_key(key_pem, None))
        except TypeError:
            raise ValueError("the private key is encrypted") from None
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("the private key cannot be read as PEM") from None
        if certificate.public_key() != key.public_key():
            raise ValueError("the private key is not the certificate's")
        return cls(certificate, key)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def names(self) -> tuple[str, ...]:
        """Host names and IP addresses that it is for; none for a CA."""
        try:
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        return tuple(str(name.value) for name in found)

    def lasts(self, remaining: timedelta, now: datetime) -> bool:
        """Whether it is valid, and will be for so long."""
        certificate = self.certificate
        return certificate.not_valid_before_utc <= now and now + remaining <= certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA."""

    own: KeyedCertificate

    @classmethod
    def create(cls, names: Iterable[str], now: datetime) -> Self:
        """names: host names, each with all names below it, and IP addresses. Loopback is always among them."""
        return cls._signed(ec.generate_private_key(ec.SECP256R1()), (*names, *_LOOPBACK), now)

    def extended(self, names: Iterable[str], now: datetime) -> Self:
        """The same CA with a certificate for further names."""
        return self._signed(self.own.key, (*self.permitted, *names), now)

    @classmethod
    def _signed(cls, key: CertificateIssuerPrivateKeyTypes, names: Iterable[str], now: datetime) -> Self:
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        called = x509.NameAttribute(NameOID.COMMON_NAME, f"cliproxy local CA {key_id.digest.hex()[:8]}")
        name = x509.Name([called, _ORGANIZATION])
        permitted = list(dict.fromkeys(_subtree(name) for name in names))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.NameConstraints(permitted, None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(key_id, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(KeyedCertificate(certificate, key))

    @property
    def is_sound(self) -> bool:
        """Whether it is such a CA, and not someone's certificate in its place."""
        extensions = self.own.certificate.extensions
        try:
            basic = extensions.get_extension_for_class(x509.BasicConstraints).value
            return basic.ca and bool(self.permitted)
        except x509.ExtensionNotFound:
            return False

    @property
    def permitted(self) -> tuple[str, ...]:
        """The names that it may sign for: `host` with all below it, `address/bits`."""
        constraints = self.own.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        return tuple(str(subtree.value) for subtree in constraints.permitted_subtrees or ())

    def permits(self, name: str) -> bool:
        """Whether it may sign for a host name or an IP address."""
        wanted = _subtree(name)
        for text in self.permitted:
            match _subtree(text), wanted:
                case x509.IPAddress(value=network), x509.IPAddress(value=other) if _contains(network, other):
                    return True
                case x509.DNSName(value=above), x509.DNSName(value=below) if f".{below}".endswith(f".{above}"):
                    return True
                case _:
                    pass
        return False

    def issue(self, names: Iterable[str], now: datetime) -> KeyedCertificate:
        """A server's certificate. Raises ValueError for a name that the CA may not sign for."""
        names = list(dict.fromkeys(names))
        if refused := [name for name in names if not self.permits(name)]:
            raise ValueError(f"the local CA may not sign for {', '.join(refused)}")
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.own.certificate
        key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            x509.CertificateBuilder()
            # Without a common name, which OpenSSL would hold to the constraints as a host name, whatever it is.
            .subject_name(x509.Name([_ORGANIZATION]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(now + LEAF_LIFETIME, issuer.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(self.own.key, hashes.SHA256())
        )
        return KeyedCertificate(certificate, key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subtree(name: str) -> x509.DNSName | x509.IPAddress:
    """What a constraint says of a host name, an address or a network."""
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return x509.DNSName(name.removeprefix("*."))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _contains(network: object, other: object) -> bool:
    match network, other:
        case ipaddress.IPv4Network(), ipaddress.IPv4Network():
            return other.subnet_of(network)
        case ipaddress.IPv6Network(), ipaddress.IPv6Network():
            return other.subnet_of(network)
        case _:
            return False

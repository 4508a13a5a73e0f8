"""The local CA: what it may sign for, as OpenSSL judges it."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cliproxy.certs.authority import CA_LIFETIME, Authority, KeyedCertificate

NOW = datetime.now(UTC)
HOSTS = ("api.anthropic.com", "*.corp.example", "192.0.2.7")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(HOSTS, NOW)


class _Permissive(Authority):
    """The same key in the hands of someone who does not ask what it may be used for."""

    def permits(self, name: str) -> bool:
        return True


def verified(folder: Path, authority: Authority, leaf: KeyedCertificate, name: str) -> str:
    """What `openssl verify` says to a client of that host; empty: it trusts the certificate."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    (folder / "ca.pem").write_bytes(authority.own.certificate_pem)
    (folder / "leaf.pem").write_bytes(leaf.certificate_pem)
    kind = "-verify_ip" if name.replace(".", "").isdigit() else "-verify_hostname"
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-no-CApath",
        "-no-CAstore",
        "-CAfile",
        "ca.pem",
        kind,
        name,
        "leaf.pem",
    ]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else result.stderr


@pytest.mark.parametrize("name", ["api.anthropic.com", "gw.corp.example", "192.0.2.7", "localhost", "127.0.0.1"])
def test_its_certificates_are_trusted_for_the_names_that_it_is_for(
    tmp_path: Path, authority: Authority, name: str
) -> None:
    assert authority.permits(name)
    assert verified(tmp_path, authority, authority.issue([name], NOW), name) == ""


@pytest.mark.parametrize(
    "name", ["example.com", "anthropic.com", "evil-api.anthropic.com.example", "192.0.2.8", "10.0.0.1"]
)
def test_for_other_names_clients_refuse_what_its_key_signs(tmp_path: Path, authority: Authority, name: str) -> None:
    assert not authority.permits(name)
    with pytest.raises(ValueError, match=name):
        authority.issue(["localhost", name], NOW)
    forged = _Permissive(authority.own).issue([name], NOW)
    assert "permitted subtree violation" in verified(tmp_path, authority, forged, name)


def test_nobody_below_it_can_be_a_ca(authority: Authority) -> None:
    basic = authority.own.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    names = authority.own.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical


def test_extended_it_signs_for_more_and_what_trusts_the_old_one_goes_on(tmp_path: Path, authority: Authority) -> None:
    extended = authority.extended(["api.openai.com"], NOW)
    assert extended.permits("api.openai.com")
    assert set(authority.permitted) < set(extended.permitted)
    of_the_new = extended.issue(["api.anthropic.com"], NOW)
    assert verified(tmp_path, authority, of_the_new, "api.anthropic.com") == ""
    added = extended.issue(["api.openai.com"], NOW)
    assert verified(tmp_path, extended, added, "api.openai.com") == ""
    assert "permitted subtree violation" in verified(tmp_path, authority, added, "api.openai.com")


def test_no_certificate_outlives_the_ca(authority: Authority) -> None:
    late = NOW + CA_LIFETIME - timedelta(days=10)
    assert authority.issue(["localhost"], late).certificate.not_valid_after_utc == (
        authority.own.certificate.not_valid_after_utc
    )


def test_a_certificate_and_its_key_are_read_back(authority: Authority) -> None:
    leaf = authority.issue(["localhost", "127.0.0.1"], NOW)
    read = KeyedCertificate.load(leaf.certificate_pem, leaf.key_pem)
    assert (read.certificate, read.names) == (leaf.certificate, ("localhost", "127.0.0.1"))
    assert read.lasts(timedelta(days=30), NOW)
    assert not read.lasts(timedelta(days=30), NOW + timedelta(days=360))


def test_what_is_no_certificate_with_its_key_is_refused(authority: Authority) -> None:
    leaf = authority.issue(["localhost"], NOW)
    with pytest.raises(ValueError, match="not the certificate's"):
        KeyedCertificate.load(leaf.certificate_pem, authority.own.key_pem)
    with pytest.raises(ValueError, match="the certificate cannot be read"):
        KeyedCertificate.load(b"words", leaf.key_pem)
    with pytest.raises(ValueError, match="the private key cannot be read"):
        KeyedCertificate.load(leaf.certificate_pem, leaf.certificate_pem)

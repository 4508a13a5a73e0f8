"""`cliproxy certs`: what it makes, and what it says of it."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from cliproxy.certs.authority import Authority
from tests.processes import ROOT, written


@pytest.fixture
def certs(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command with a config of these keys."""

    def _certs(*arguments: str, **keys: Any) -> subprocess.CompletedProcess[str]:
        config = written(tmp_path, {"certs-dir": str(tmp_path / "certs"), **keys})
        command = [sys.executable, "-m", "cliproxy.cli", "certs", "--config", str(config), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return _certs


def test_the_ca_is_made_and_shown_with_the_ways_to_trust_it(
    tmp_path: Path, certs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shown = certs(intercept={"hosts": {"llm.corp.example": "pool"}})
    assert (shown.returncode, shown.stderr) == (0, "")
    path = tmp_path / "certs/ca.pem"
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.fingerprint(SHA256()).hex(":").upper() in shown.stdout
    assert "llm.corp.example" in shown.stdout
    assert "tls.enable is false" in shown.stdout
    for word in (
        "update-ca-certificates",
        "security add-trusted-cert",
        "certutil",
        "NODE_EXTRA_CA_CERTS",
        "CODEX_CA_CERTIFICATE",
    ):
        assert word in shown.stdout
    assert "PRIVATE KEY" not in shown.stdout
    again = certs()
    assert certificate.fingerprint(SHA256()).hex(":").upper() in again.stdout


def test_the_listeners_certificate_is_made_and_shown(
    tmp_path: Path, certs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shown = certs(tls={"enable": True}, host="gw.corp.example")
    assert shown.returncode == 0
    assert "localhost, 127.0.0.1, ::1, gw.corp.example" in shown.stdout
    assert str(tmp_path / "certs/listener.pem") in shown.stdout


def test_the_users_own_certificate_is_shown_and_its_faults_are_told(
    tmp_path: Path, certs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    certificate, key = tmp_path / "own.pem", tmp_path / "own-key.pem"
    own = Authority.create([], datetime.now(UTC)).issue(["localhost"], datetime.now(UTC))
    certificate.write_bytes(own.certificate_pem)
    key.write_bytes(own.key_pem)
    tls = {"enable": True, "cert": str(certificate), "key": str(key)}
    assert f"{certificate} (tls.cert)\n  for        localhost\n" in certs(tls=tls).stdout
    key.write_text("words", "utf-8")
    shown = certs(tls=tls)
    assert (shown.returncode, shown.stderr) == (1, f"{certificate}: the private key cannot be read as PEM\n")


def test_scripts_get_the_path_alone(tmp_path: Path, certs: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    shown = certs("--path")
    assert (shown.returncode, shown.stdout) == (0, f"{tmp_path / 'certs/ca.pem'}\n")
    assert (tmp_path / "certs/ca.pem").exists()


def test_a_new_ca_replaces_the_old_one(tmp_path: Path, certs: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    certs()
    old = (tmp_path / "certs/ca.pem").read_bytes()
    assert certs("--renew").returncode == 0
    assert (tmp_path / "certs/ca.pem").read_bytes() != old


def test_a_place_that_cannot_be_written_is_told(
    tmp_path: Path, certs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "certs").write_text("a file", "utf-8")
    shown = certs()
    assert shown.returncode == 1
    assert str(tmp_path / "certs") in shown.stderr
    assert "Traceback" not in shown.stderr

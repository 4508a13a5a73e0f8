"""HTTPS on the gateway's own port: a certificate of the user's, or one that the local CA signed."""

import asyncio
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from cliproxy.certs.authority import Authority, KeyedCertificate
from tests.processes import Gateway, assert_clean, listening, mitmproxy, spawn

NOW = datetime.now(UTC)


def trusting(path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)


async def health(gateway: Gateway, trust: ssl.SSLContext, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Ask over HTTPS whether the gateway is well; status, and the certificate that was shown."""
    reader, writer = await asyncio.open_connection(host, gateway.port, ssl=trust)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1]), shown


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def _config(**tls: str) -> dict[str, Any]:
        return {"port": 0, "certs-dir": str(tmp_path / "certs"), "tls": {"enable": True, **tls}}

    return _config


def written(folder: Path, own: KeyedCertificate) -> dict[str, str]:
    """The files of a certificate, as the config names them."""
    certificate, key = folder / "own.pem", folder / "own-key.pem"
    certificate.write_bytes(own.certificate_pem)
    key.touch(mode=0o600)
    key.write_bytes(own.key_pem)
    return {"cert": str(certificate), "key": str(key)}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_a_certificate_one_is_made(
    tmp_path: Path, confdir: Path, config: Callable[..., dict[str, Any]], host: str
) -> None:
    # Where the config says, not where an option does.
    async with mitmproxy(confdir, config=config(), mode=None) as gateway:
        await listening(gateway)
        await gateway.wait_for("listening")
        async with ClientSession() as client, client.get(f"{gateway.url}/healthz") as answer:
            assert (answer.status, await answer.text()) == (400, "This port speaks HTTPS only.\n")
        status, shown = await health(gateway, trusting(tmp_path / "certs/ca.pem"), host)
    assert status == 200
    assert shown == ssl.PEM_cert_to_DER_cert((tmp_path / "certs/listener.pem").read_text("ascii"))


async def test_the_users_own_certificate_is_shown_and_its_renewal_noticed(
    tmp_path: Path, confdir: Path, config: Callable[..., dict[str, Any]]
) -> None:
    authority = Authority.create(["gw.corp.example"], NOW)
    ca = tmp_path / "corp.pem"
    ca.write_bytes(authority.own.certificate_pem)
    names = ["gw.corp.example", "127.0.0.1"]
    own = config(**written(tmp_path, authority.issue(names, NOW)))
    async with mitmproxy(confdir, config=own) as gateway:
        await listening(gateway)
        status, first = await health(gateway, trusting(ca))
        assert (status, first) == (200, ssl.PEM_cert_to_DER_cert((tmp_path / "own.pem").read_text("ascii")))
        written(tmp_path, authority.issue(names, NOW))
        for name in ("own.pem", "own-key.pem"):
            # However coarse the file system's clock is.
            os.utime(tmp_path / name, (0, 0))
        _, second = await health(gateway, trusting(ca))
    assert second == ssl.PEM_cert_to_DER_cert((tmp_path / "own.pem").read_text("ascii")) != first
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize("trouble", ["missing", "another's key"])
async def test_a_certificate_that_cannot_be_used_ends_the_start(
    tmp_path: Path, confdir: Path, config: Callable[..., dict[str, Any]], trouble: str
) -> None:
    authority = Authority.create([], NOW)
    leaf = authority.issue(["localhost"], NOW)
    files = written(tmp_path, leaf if trouble == "missing" else KeyedCertificate(leaf.certificate, authority.own.key))
    if trouble == "missing":
        files["cert"] += ".missing"
    async with mitmproxy(confdir, config=config(**files)) as gateway:
        assert await gateway.ended() == 1
    assert "No certificate:" in gateway.text
    assert "own.pem" in gateway.text


async def test_serve_speaks_https_where_the_config_says_so(
    tmp_path: Path, confdir: Path, config: Callable[..., dict[str, Any]]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"certs-dir: {tmp_path / 'certs'}\ntls: {{enable: true}}\n", "utf-8")
    command = ("python", "-m", "cliproxy.cli", "serve", "--config", str(path), "--port", "0")
    gateway = await spawn(Gateway, *command, "--", "--set", f"confdir={confdir}")
    try:
        await listening(gateway)
        status, _ = await health(gateway, trusting(tmp_path / "certs/ca.pem"))
        assert status == 200
    finally:
        await gateway.stop()
    assert_clean(gateway)

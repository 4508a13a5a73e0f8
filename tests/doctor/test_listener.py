"""The gateway's port and certificates."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cliproxy.certs.store import CertificateStore, listener_names
from cliproxy.config.loading import parse_config
from cliproxy.config.schema import Config
from cliproxy.doctor.finding import Finding
from cliproxy.doctor.listener import certificates, port
from tests.certificates import loopback_certificate, server_context

NOW = datetime.now(UTC)


def config(text: str) -> Config:
    return parse_config(text).config


@asynccontextmanager
async def answering(banner: Any, *, tls: bool = False) -> AsyncIterator[int]:
    """A server on loopback whose root page is this JSON."""

    async def root(request: web.Request) -> web.Response:
        return web.json_response(banner)

    app = web.Application()
    app.router.add_get("/", root)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context() if tls else None)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


# ---------------------------------------------------------------- port


async def test_a_running_gateway_is_recognised() -> None:
    async with answering({"message": "cliproxy", "endpoints": []}) as number:
        finding = await port(config(f"port: {number}"))
    assert finding == Finding("port", "ok", f"the gateway runs at http://127.0.0.1:{number}")


async def test_a_running_gateway_is_recognised_behind_any_certificate() -> None:
    async with answering({"message": "cliproxy"}, tls=True) as number:
        finding = await port(config(f"port: {number}\ntls: {{enable: true, cert: c, key: k}}"))
    assert finding.level == "ok"


@pytest.mark.parametrize("banner", [{"message": "CLI Proxy API Server"}, "hello", {}])
async def test_another_program_is_told(banner: Any) -> None:
    async with answering(banner) as number:
        finding = await port(config(f"port: {number}"))
    assert (finding.level, finding.text) == ("error", f"another program answers at http://127.0.0.1:{number}")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"SSH-2.0-test\r\n"])
async def test_a_program_that_is_none_of_ours_is_told(sent: bytes) -> None:
    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        number = server.sockets[0].getsockname()[1]
        assert (await port(config(f"port: {number}"))).text.startswith("another program answers")


async def test_a_free_port_is_fine(free_port: int) -> None:
    finding = await port(config(f"port: {free_port}"))
    assert (finding.level, finding.mend) == ("note", "cliproxy serve")


async def test_a_port_of_another_protocol_is_told() -> None:
    async with answering({"message": "cliproxy"}) as number:
        finding = await port(config(f"port: {number}\ntls: {{enable: true, cert: c, key: k}}"))
    assert finding.level == "error"
    assert "another program" in finding.text


async def test_an_address_of_another_machine_is_told(free_port: int) -> None:
    finding = await port(config(f"host: 192.0.2.1\nport: {free_port}"))
    assert finding.level == "error"
    assert "cannot listen" in finding.text


async def test_any_port_cannot_be_looked_at() -> None:
    assert (await port(config("port: 0"))).level == "note"


# ---------------------------------------------------------------- certificates


def looked(text: str, folder: Path, at: datetime = NOW) -> list[Finding]:
    return list(certificates(config(f"{text}\ncerts-dir: {folder}"), lambda: at))


def own(folder: Path) -> str:
    """The config of a certificate for loopback that is valid for a day."""
    certificate, key = loopback_certificate()
    folder.joinpath("own.pem").write_text(certificate, "ascii")
    folder.joinpath("own-key.pem").write_text(key, "ascii")
    return f"tls: {{enable: true, cert: {folder}/own.pem, key: {folder}/own-key.pem}}"


def test_without_tls_and_ca_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert looked("", tmp_path) == []


def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    (finding,) = looked(own(tmp_path), tmp_path)
    assert finding.level == "warning"
    assert "ends on" in finding.text


@pytest.mark.parametrize("days", [-3, 3])
def test_a_certificate_that_is_not_valid_is_an_error(tmp_path: Path, days: int) -> None:
    (finding,) = looked(own(tmp_path), tmp_path, NOW + timedelta(days=days))
    assert finding.level == "error"


def test_a_certificate_for_another_host_is_a_warning(tmp_path: Path) -> None:
    store = CertificateStore(tmp_path)
    store.listener(["gateway.example"])
    tls = f"tls: {{enable: true, cert: {tmp_path}/listener.pem, key: {tmp_path}/listener-key.pem}}"
    finding, _ = looked(tls, tmp_path)
    assert finding.level == "warning"
    assert "not for 127.0.0.1, but for gateway.example" in finding.text


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_files_that_are_no_certificate_are_an_error(tmp_path: Path, content: str) -> None:
    tls = own(tmp_path)
    tmp_path.joinpath("own.pem").write_text(content, "utf-8")
    assert looked(tls, tmp_path)[0].level == "error"


def test_files_that_are_missing_are_an_error(tmp_path: Path) -> None:
    tls = own(tmp_path)
    tmp_path.joinpath("own-key.pem").unlink()
    (finding,) = looked(tls, tmp_path)
    assert finding.level == "error"
    assert str(tmp_path / "own-key.pem") in finding.text


def test_what_the_gateway_made_itself_is_well(tmp_path: Path) -> None:
    CertificateStore(tmp_path).listener(listener_names("127.0.0.1"))
    assert [finding.level for finding in looked("tls: {enable: true}", tmp_path)] == ["ok", "ok"]


def test_what_the_gateway_will_make_is_a_note(tmp_path: Path) -> None:
    (finding,) = looked("tls: {enable: true}", tmp_path)
    assert finding.level == "note"


def test_a_ca_that_ends_or_is_broken_is_told(tmp_path: Path) -> None:
    CertificateStore(tmp_path).authority(["api.example"])
    (late,) = looked("", tmp_path, NOW + timedelta(days=5 * 365 - 3))
    assert (late.level, late.mend) == ("warning", "cliproxy certs")
    tmp_path.joinpath("ca-key.pem").write_text("broken", "ascii")
    (broken,) = looked("", tmp_path)
    assert broken.level == "error"

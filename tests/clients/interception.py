"""Clients behind `cliproxy run`: the vendors' hosts at the mock's, the clients wrapped, and what each mode must come to.

The only way out that a client has is a proxy of ours. It takes each of the vendors' hosts for the mock, over TLS, and
leads nowhere else; so what reaches the mock as a vendor went the way that it would go to the real one.
"""

import asyncio
import contextlib
import json
import shlex
import sqlite3
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from servers import UPSTREAMS, credential
from wrapping import wrapped

from cliproxy.certs.authority import Authority
from cliproxy.interception.hosts import VENDOR_HOSTS

Row = tuple[str, str, tuple[str, ...]]
"""Clients, cases, and the formats of the only upstreams that are configured."""

ROWS: dict[str, tuple[Row, ...]] = {
    "observe": (("claude codex codex-builtin gemini qwen", "tool", ()),),
    "pool": (("claude codex codex-builtin gemini qwen", "tool", ("anthropic", "openai-responses", "gemini", "openai-chat")),),
    "route": (
        ("claude codex gemini", "tool", ("openai-chat",)),
        ("codex-builtin qwen", "tool", ("anthropic",)),
    ),
}  # fmt: skip


def config_of(formats: Sequence[str], mock_url: str, work: Path) -> dict[str, Any]:
    """A config with upstreams of these formats, and no key that clients would have to show."""
    config: dict[str, Any] = {
        "demo": False, "certs-dir": str(work / "certs"), "auth-dir": str(work / "accounts"), "disable-cooling": True,
        "usage": {"path": str(work / "usage.db")},
    }  # fmt: skip
    if formats:
        config["proxy-url"] = "direct"
    for format_ in formats:
        upstream = UPSTREAMS[format_]
        of_one = upstream.config(format_, mock_url, "")
        entries = of_one[upstream.section]
        if len(formats) > 1:
            # Each client must get to the upstream of its own format.
            entries = [{**entry, "models": [{"name": upstream.own_models}]} for entry in entries]
        config[upstream.section] = entries
    return config


def wrapped_clients(clients: Path, mode: str, config: Mapping[str, Any], work: Path) -> Path:
    """A directory like that of the clients, in which each of them is behind `cliproxy run`."""
    path = work / "config.yaml"
    path.write_text(json.dumps(config), "utf-8")  # JSON is YAML

    def script(_: str, program: Path) -> str:
        command = [sys.executable, "-m", "cliproxy.cli", "run", "--config", path, "--mode", mode, "--", program]
        return f'exec {shlex.join(map(str, command))} "$@"'

    return wrapped(clients, work / "wrapped", script)


def objections(mode: str, requests: Sequence[Mapping[str, Any]], client_key: str, formats: Sequence[str]) -> list[str]:
    """What is wrong with the credentials that the mock saw."""
    # What comes over a WebSocket has no headers but those of its handshake.
    asked = [seen for seen in requests if seen["headers"] and (seen.get("fmt") or seen["path"] == "/v1/responses")]
    if not asked:
        return ["no request arrived"]
    ours = [credential(format_) for format_ in formats]
    wrong = []
    for seen in asked:
        shown = " ".join(value for _, value in seen["headers"])
        is_right = client_key in shown if mode == "observe" else any(key in shown for key in ours)
        if not is_right or (mode != "observe" and client_key in shown):
            wrong.append(f"{seen['method']} {seen['path']}")
    return wrong


def unbooked(requests: Sequence[Mapping[str, Any]], work: Path) -> list[str]:
    """What was asked of models and is not on record with what it used."""
    asked = sum(bool(seen.get("fmt")) and not _only_prepares(seen) for seen in requests)
    with contextlib.closing(sqlite3.connect(work / "usage.db")) as ledger:
        (booked,) = ledger.execute("SELECT count(*) FROM exchange WHERE output_tokens > 0").fetchone()
    return [] if booked >= asked > 0 else [f"{asked} requests were asked, {booked} are on record"]


def _only_prepares(seen: Mapping[str, Any]) -> bool:
    return isinstance(seen["body"], dict) and seen["body"].get("generate") is False


def left_behind(work: Path) -> list[str]:
    """Processes that were started for these rows and still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # It has just ended.
        if f"confdir={work}" in command:
            found.append(command)
    return found


# ---------------------------------------------------------------- the way out


@contextlib.contextmanager
def way_out(mock_url: str, work: Path) -> Iterator[tuple[str, Path]]:
    """The URL of the proxy, and the file with the authority that signed for the vendors."""
    names = [host.name for host in VENDOR_HOSTS]
    authority = Authority.create(names, datetime.now(UTC))
    shown = authority.issue(names, datetime.now(UTC))
    ca, pem = work / "vendors-ca.pem", work / "vendors.pem"
    ca.write_bytes(authority.own.certificate_pem)
    pem.touch(mode=0o600)
    pem.write_bytes(shown.certificate_pem + shown.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    proxy = _Proxy(frozenset(names), urlsplit(mock_url).port or 80, context)
    thread = threading.Thread(target=proxy.run, name="the way out", daemon=True)
    thread.start()
    try:
        proxy.is_open.wait()
        yield f"http://127.0.0.1:{proxy.port}", ca
    finally:
        proxy.end()
        thread.join()


class _Proxy:
    """Answers `CONNECT` to the vendors' hosts, and is their servers too."""

    port: int

    def __init__(self, hosts: frozenset[str], mock_port: int, context: ssl.SSLContext) -> None:
        self.is_open = threading.Event()
        self._hosts = hosts
        self._mock_port = mock_port
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.is_open.set()
        await self._over.wait()
        server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode().rpartition(":")[0]
            if not head.startswith(b"CONNECT ") or target not in self._hosts:
                writer.write(b"HTTP/1.1 502 no way there\r\ncontent-length: 0\r\n\r\n")
                return
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await writer.start_tls(self._context)
            mock_reader, mock_writer = await asyncio.open_connection("127.0.0.1", self._mock_port)
            try:
                await asyncio.gather(_pipe(reader, mock_writer), _pipe(mock_reader, writer))
            finally:
                mock_writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass  # One of the two left.
        finally:
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()

"""What goes through the gateway in mitmdump is in the ledger, however it ended, once mitmdump has."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from cliproxy.config.schema import Config
from cliproxy.doctor.finding import Finding
from cliproxy.doctor.storage import storage
from cliproxy.usage.place import open_ledger
from cliproxy.usage.queries import attempts, journal
from tests import native, streams
from tests.calls import ask, call
from tests.processes import ROOT, Gateway, config_for, credentials, home, listening, mitmproxy
from tests.stores.postgres_server import postgres_server, program
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_call_of_a_model_is_booked_once(confdir: Path, client: ClientSession, tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    async with Upstream() as upstream:
        config = {**credentials(upstream.url), "usage": {"path": str(path)}, "host": "127.0.0.1", "port": 0}
        async with mitmproxy(confdir, "--set", "flow_detail=0", config=config) as gateway:
            await listening(gateway)
            await ask(client, gateway, call("anthropic"))
            await ask(client, gateway, call("openai-chat", stream=True))
            upstream.script(native.error("gemini", 400, "no"))
            await ask(client, gateway, call("gemini"))
            upstream.script(streams.broken("openai-responses", after=3))
            await ask(client, gateway, call("openai-responses", stream=True))
            async with client.get(f"{gateway.url}/v1/models"):
                pass
            assert await gateway.stop() == 0
    with closing(open_ledger(path, read_only=True)) as connection:
        rows = journal(connection)[::-1]
        assert [row["client_format"] for row in rows] == ["anthropic", "openai-chat", "gemini", "openai-responses"]
        assert [row["status"] for row in rows] == [200, 200, 400, 200]
        assert [bool(row["error"]) for row in rows] == [False, False, True, True]
        assert [row["stream"] for row in rows] == [0, 1, 0, 1]
        assert rows[0]["fresh_tokens"] > 0
        assert rows[0]["output_tokens"] > 0
        assert all(row["ended_s"] >= row["first_byte_s"] >= row["started_s"] for row in rows[:2])
        assert len(attempts(connection, rows[0]["id"])) == 1


KEY = "test-management-key"


async def usage(client: ClientSession, gateway: Gateway, path: str = "/usage") -> tuple[int, Any]:
    """What the management API says of it."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with client.get(f"{gateway.url}/v0/management{path}", headers=headers) as reply:
        return reply.status, await reply.json()


async def command(*words: str, environ: Mapping[str, str]) -> str:
    """What a command of cliproxy's prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cliproxy.cli", *words, env={**os.environ, "HOME": str(home()), **environ}, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    return (await process.communicate())[0].decode()


@pytest.mark.skipif(not program("postgres"), reason="needs PostgreSQL")
async def test_gateways_that_share_a_database_share_the_ledger(
    confdir: Path, client: ClientSession, shared_upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(shared_upstream, remote_management={"secret-key": KEY})
    async with postgres_server() as server:
        environs = [{"PGSTORE_DSN": server.dsn, "PGSTORE_LOCAL_PATH": str(tmp_path / name)} for name in "ab"]
        async with (
            mitmproxy(confdir, config=config, environ=environs[0]) as one,
            mitmproxy(confdir, config=config, environ=environs[1]) as other,
        ):
            for gateway in (one, other):
                await ask(client, await listening(gateway), call("anthropic"))
            assert await other.stop() == 0
            # That one has written its own; this one does so in a moment.
            while (await usage(client, one))[1]["usage"]["total_requests"] < 2:
                pass
            printed = await command("usage", "model", "--csv", environ=environs[0])
            assert printed.splitlines()[1].startswith("upstream-model,2,0")
            monkeypatch.setenv("PGSTORE_DSN", server.dsn)
            text = "the usage ledger in PostgreSQL's schema public can be read"
            assert Finding("storage", "ok", text) in storage(Config(auth_dir=str(tmp_path)))
            assert (await usage(client, one, "/exchanges?client_key=%00"))[0] == 400
            await server.kill()
            status, told = await usage(client, one)
            assert (status, told["error"]) == (503, "the usage ledger cannot be read")
            await server.start()
            assert (await usage(client, one))[0] == 200

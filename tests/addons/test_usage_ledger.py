"""What goes through the gateway in mitmdump is in the ledger, however it ended, once mitmdump has."""

from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession

from cliproxy.usage.ledger import open_ledger
from cliproxy.usage.queries import attempts, journal
from tests import native, streams
from tests.calls import ask, call
from tests.processes import credentials, listening, mitmproxy
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

"""Gateways whose config and logins are in a store."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import ClientSession
from psycopg import AsyncConnection

from cliproxy.database import Database
from cliproxy.stores.postgres import PostgresStore
from cliproxy.stores.store import CONFIG
from tests.calls import ask, call
from tests.oauth.authorization_server import AuthorizationServer
from tests.processes import CLIENT_KEY, ROOT, Gateway, config_for, home, listening, mitmproxy
from tests.stores.postgres_server import PostgresServer, postgres_server, program
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not program("postgres"), reason="needs PostgreSQL"),
]

OTHER_KEY = "sk-test-other-client-key"


@pytest_asyncio.fixture(loop_scope="module")
async def database() -> AsyncIterator[PostgresServer]:
    async with postgres_server() as server:
        yield server


class Machine:
    """A machine with a copy of the store."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.environ = {"PGSTORE_DSN": server.dsn, "PGSTORE_LOCAL_PATH": str(folder)}
        self.copy = folder / "pgstore"

    @asynccontextmanager
    async def gateway(self, config: dict[str, Any]) -> AsyncIterator[Gateway]:
        self.folder.mkdir(exist_ok=True)
        async with mitmproxy(self.folder, config=config, environ=self.environ) as gateway:
            yield gateway

    @asynccontextmanager
    async def serving(self, config: dict[str, Any]) -> AsyncIterator[Gateway]:
        async with self.gateway(config) as gateway:
            yield await listening(gateway)

    async def command(self, *words: str, fails: bool = False) -> str:
        """What a command of cliproxy's prints here. fails: it may."""
        environ = {**os.environ, "HOME": str(home()), **self.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cliproxy.cli",
            *words,
            env=environ,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode()
        assert fails or process.returncode == 0, printed
        return printed


@pytest.fixture
def machines(tmp_path: Path, database: PostgresServer) -> list[Machine]:
    return [Machine(tmp_path / name, database) for name in ("one", "other", "third")]


async def status(client: ClientSession, gateway: Gateway, key: str) -> int:
    return (await ask(client, gateway, call("openai-chat"), authorization=f"Bearer {key}")).status


async def test_gateways_go_by_one_config_and_one_set_of_logins(
    machines: list[Machine], client: ClientSession, shared_upstream: Upstream, tmp_path: Path
) -> None:
    one, other, third = machines
    providers = {"qwen": {"base-url": f"{shared_upstream.url}/v1"}}
    async with (
        one.serving(config_for(shared_upstream, providers=providers)) as first,
        # The store's config is used, not this one.
        other.serving({"api-keys": [OTHER_KEY]}) as second,
    ):
        for gateway in (first, second):
            assert await status(client, gateway, CLIENT_KEY) == 200

        file = other.copy / "config" / "config.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text("utf-8")) | {"api-keys": [OTHER_KEY]}), "utf-8")
        for gateway in (first, second):
            await gateway.wait_for(r"config: api-keys\[0\]\.key: changed")
            assert await status(client, gateway, OTHER_KEY) == 200

        login = {"type": "qwen", "access_token": "test-access-1", "expired": "2099-01-01T00:00:00Z"}
        (tmp_path / "qwen-me.json").write_text(json.dumps(login), "utf-8")
        printed = await third.command("credentials", "import", str(tmp_path / "qwen-me.json"))
        name = printed.partition(":")[0]
        for gateway in (first, second):
            await gateway.wait_for(rf"{name} changed, 1 credentials now")
        await third.command("credentials", "remove", name)
        for gateway in (first, second):
            await gateway.wait_for(rf"{name} changed, 0 credentials now")


async def test_a_command_does_not_renew_a_login_that_a_gateway_renews(
    machines: list[Machine], database: PostgresServer
) -> None:
    store = PostgresStore(Database(database.dsn), "gateway")
    async with AuthorizationServer() as server:
        oauth = {"token-url": f"{server.url}/oauth/token", "client-id": "test-client"}
        config = {"providers": {"codex": {"oauth": oauth, "quota-url": server.url}}}
        await store.write(CONFIG, yaml.safe_dump(config).encode(), None)
        login = {"type": "codex", "account_id": "test", **server.issuer.issue(), "expired": "2020-01-01T00:00:00Z"}
        await store.write("auths/codex-me.json", json.dumps(login).encode(), None)
        async with store.lock("auths/codex-me.json") as lease:
            checking = asyncio.create_task(machines[0].command("credentials", "check", fails=True))
            async with await AsyncConnection.connect(database.dsn, autocommit=True) as connection:
                waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while not (checking.done() or await (await connection.execute(waits)).fetchone()):
                    pass
            assert not checking.done()
            assert server.token_requests == []
            await store.settle([lease])
        await checking
        assert len(server.token_requests) == 1
    await store.close()


async def test_a_config_of_the_stores_that_is_invalid_is_told_and_left_there(
    machines: list[Machine], client: ClientSession, shared_upstream: Upstream, database: PostgresServer
) -> None:
    store = PostgresStore(Database(database.dsn), "test")
    async with machines[0].serving(config_for(shared_upstream)) as gateway:
        good = await store.read(CONFIG)
        assert good
        key = yaml.safe_load(good.content)["api-keys"][0]
        bad = b"port: [\n"
        version = await store.write(CONFIG, bad, good.version)
        await gateway.wait_for("what it said before stays in force")
        assert await status(client, gateway, key) == 200
        async with client.get(f"{gateway.url}/readyz") as answer:
            checks = (await answer.json())["checks"]
        assert (answer.status, checks["config"], checks["store"]) == (200, {"ok": False}, {"ok": True})
        assert await store.read(CONFIG) == (bad, version)
        await store.write(CONFIG, good.content + b"request-retry: 7\n", version)
        await gateway.wait_for("config: request-retry")
        found = await store.read(CONFIG)
        assert found
        await store.write(CONFIG, good.content, found.version)
    await store.close()


async def test_without_the_store_the_copy_serves_and_is_caught_up_with_later(
    machines: list[Machine], client: ClientSession, shared_upstream: Upstream, database: PostgresServer
) -> None:
    one, other, _ = machines
    config = config_for(shared_upstream)
    async with one.serving(config):
        pass
    await database.kill()
    async with one.serving(config) as gateway:
        await gateway.wait_for("The store is away")
        assert await status(client, gateway, CLIENT_KEY) == 200
        file = one.copy / "config" / "config.yaml"
        file.write_text(f"{file.read_text('utf-8')}request-retry: 9\n", "utf-8")
        await gateway.wait_for("config: request-retry")
        await database.start()
        await gateway.wait_for("are alike again")
    async with other.serving({}):
        assert "request-retry: 9" in (other.copy / "config" / "config.yaml").read_text("utf-8")


async def test_without_the_store_and_a_copy_nothing_begins(machines: list[Machine], tmp_path: Path) -> None:
    machine = machines[0]
    machine.environ["PGSTORE_DSN"] = f"postgresql://me:sk-test-password@/none?host={tmp_path}"
    async with machine.gateway({}) as gateway:
        assert await gateway.ended() == 1
    assert "the store cannot be used, and there is no copy of its config here: PostgreSQL" in gateway.text
    assert "sk-test-password" not in gateway.text

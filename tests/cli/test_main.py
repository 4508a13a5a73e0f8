"""The `cliproxy` command as its own process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml
from aiohttp import ClientSession

from tests.calls import ask, call
from tests.processes import Gateway, Program, assert_clean, config_for, listening, spawn, written
from tests.upstream import Upstream

COMMAND = ("python", "-m", "cliproxy.cli")


class Serve(Protocol):
    """`cliproxy serve` with a config and further arguments; it ends with the block."""

    def __call__(self, config: Mapping[str, Any], *arguments: str) -> AbstractAsyncContextManager[Gateway]: ...


@pytest.fixture
def serve(tmp_path: Path, confdir: Path) -> Serve:
    @asynccontextmanager
    async def _serve(config: Mapping[str, Any], *arguments: str) -> AsyncIterator[Gateway]:
        options = ("--", "--set", f"confdir={confdir}")
        command = (*COMMAND, "serve", "--config", str(written(tmp_path, config)), *arguments)
        gateway = await spawn(Gateway, *command, *(() if "--" in arguments else options))
        try:
            yield await listening(gateway)
        finally:
            await gateway.stop()
            print(gateway.text)
        assert_clean(gateway)

    return _serve


async def test_serve_listens_where_the_config_says(serve: Serve, upstream: Upstream, free_port: int) -> None:
    async with serve({**config_for(upstream), "port": free_port}) as gateway, ClientSession() as client:
        assert gateway.port == free_port
        assert (await ask(client, gateway, call("anthropic"))).status == 200
        assert await gateway.stop() == 0


async def test_serve_takes_host_port_and_mitmproxys_arguments(
    serve: Serve, confdir: Path, tmp_path: Path, upstream: Upstream
) -> None:
    saved = tmp_path / "flows"
    options = ("--", "--set", f"confdir={confdir}", "-w", str(saved))
    config = {**config_for(upstream), "host": "192.0.2.1", "port": 1}
    async with serve(config, "--host", "127.0.0.1", "--port", "0", *options) as gateway, ClientSession() as client:
        assert (await ask(client, gateway, call("anthropic"))).status == 200
    assert b"/v1/messages" in saved.read_bytes()


def rewrite(folder: Path, config: Mapping[str, Any]) -> None:
    """Change the one config there."""
    [path] = folder.glob("config-*.yaml")
    path.write_text(yaml.safe_dump(dict(config)), "utf-8")


async def test_an_address_given_by_hand_is_kept_even_where_the_config_names_it_too(
    serve: Serve, tmp_path: Path, upstream: Upstream, free_port: int
) -> None:
    config = {**config_for(upstream), "port": free_port}
    async with serve(config, "--port", str(free_port)) as gateway, ClientSession() as client:
        rewrite(tmp_path, {**config, "port": 1, "request-retry": 7})
        await gateway.wait_for("config: request-retry")
        async with client.get(f"{gateway.url}/healthz") as answer:
            assert answer.status == 200
        assert await gateway.stop() == 0
        assert gateway.text.count("listening at") == 1 and "cannot listen" not in gateway.text


async def test_without_one_it_moves_with_the_config(
    serve: Serve, tmp_path: Path, upstream: Upstream, free_port: int
) -> None:
    config = {**config_for(upstream), "port": free_port}
    async with serve(config) as gateway, ClientSession() as client:
        rewrite(tmp_path, {**config, "port": 0})
        gateway.port = int((await gateway.wait_for(r"listening at \S*:(\d+)\.$", times=2))[1])
        async with client.get(f"{gateway.url}/healthz") as answer:
            assert (answer.status, gateway.port == free_port) == (200, False)


async def test_serve_web_starts_mitmweb(serve: Serve, confdir: Path, free_port: int) -> None:
    web = (f"web_port={free_port}", "web_open_browser=false", "web_password=test-word", f"confdir={confdir}")
    options = [part for option in web for part in ("--set", option)]
    async with serve({}, "--port", "0", "--web", "--", *options) as gateway, ClientSession() as client:
        await gateway.wait_for("Web server listening")
        async with client.get(f"http://127.0.0.1:{free_port}/?token=test-word") as page:
            assert "mitmproxy" in await page.text()
        async with client.get(f"{gateway.url}/healthz") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("command", ["serve", "models"])
async def test_a_wrong_config_ends_with_its_fault(tmp_path: Path, command: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("port: many\n", "utf-8")
    program = await spawn(Program, *COMMAND, command, "--config", str(path))
    assert await program.ended() == 1
    assert f"{path}:1:" in program.text
    assert "port" in program.text
    assert_clean(program)

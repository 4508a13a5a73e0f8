"""PostgreSQL, two gateways and nginx on one machine, as examples/scale-out starts them."""

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, ClientResponse, ClientSession, WSMsgType
from yarl import URL

from tests.calls import MODELS, call
from tests.native import text
from tests.processes import CLIENT_KEY, ROOT, Program, assert_clean, config_for, spawn, written
from tests.stores.postgres_server import program
from tests.streams import held
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(not program("postgres"), reason="needs PostgreSQL"),
    pytest.mark.skipif(not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), reason="needs nginx"),
]

SCALE_OUT = str(ROOT / "examples/scale-out/scale_out.py")
BEARER = {"authorization": f"Bearer {CLIENT_KEY}"}


@dataclass
class Site:
    """The example while it runs."""

    folder: Path
    program: Program

    @property
    def running(self) -> dict[str, Any]:
        return json.loads((self.folder / "running.json").read_text("utf-8"))

    @property
    def url(self) -> str:
        return self.running["url"]

    @property
    def gateways(self) -> list[str]:
        return [gateway["url"] for gateway in self.running["gateways"]]

    @property
    def asked(self) -> set[str]:
        """Which gateways have answered calls of models."""
        log = (self.folder / "nginx/cliproxy.log").read_text("utf-8")
        return {f"http://{address}" for address in re.findall(r'"POST .* (\S+:\d+) (?:\d+, )*200$', log, re.MULTILINE)}

    def processes(self) -> set[int]:
        """The numbers of all that were started, and of what these have started."""
        pids = [gateway["pid"] for gateway in self.running["gateways"]]
        for file in ("nginx/nginx.pid", "postgresql/data/postmaster.pid"):
            pids.append(int((self.folder / file).read_text("ascii").split()[0]))
        children = [
            path.read_text("ascii").split() for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/children")
        ]
        return {*pids, *(int(pid) for those in children for pid in those)}

    async def restart(self, number: int) -> None:
        restarting = await spawn(
            Program, "python", SCALE_OUT, "--directory", str(self.folder), "--restart", str(number)
        )
        assert await restarting.ended() == 0, restarting.text


@asynccontextmanager
async def site(upstream: Upstream) -> AsyncIterator[Site]:
    """Ends with the block; nothing must be left then, and no log must have what it never may."""
    config = config_for(
        upstream,
        # Where both would listen, if the store's config had a say in it.
        host="192.0.2.1",
        port=1,
        metrics={"enabled": True},
        remote_management={"secret-key": "test-management-key"},
    )
    with directory() as folder:
        options = ("--port", "0", "--directory", str(folder), "--config", str(written(folder, config)))
        found = Site(folder, await spawn(Program, "python", SCALE_OUT, *options))
        try:
            await found.program.wait_for("^Stop ")
            processes = found.processes()
            yield found
            processes |= found.processes() if found.program.process.returncode is None else set()
        finally:
            code = await found.program.stop()
            print(found.program.text)
        assert code == 0
        assert not remaining(processes)
        found.program.log = logged(folder)
        assert_clean(found.program)


@contextmanager
def directory() -> Iterator[Path]:
    # PostgreSQL's own user has to get there, and a socket's path must be short.
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        yield folder


def remaining(processes: set[int]) -> list[int]:
    """Which of them run. One that has ended may stay in the list until the first process of the system asks for it."""
    return [
        pid
        for pid in processes
        if (file := Path(f"/proc/{pid}/stat")).exists() and ") Z " not in file.read_text("ascii")
    ]


def logged(folder: Path) -> list[str]:
    logs = [*folder.glob("gateway-*.log"), *folder.glob("nginx/*.log")]
    return [line for log in logs for line in log.read_text("utf-8").splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_site(shared_upstream: Upstream) -> AsyncIterator[Site]:
    async with site(shared_upstream) as running:
        yield running


@asynccontextmanager
async def streaming(site: Site, client: ClientSession) -> AsyncIterator[ClientResponse]:
    asked = call("openai-chat", stream=True)
    async with client.post(site.url + asked.path, json=asked.json, headers=asked.headers) as response:
        assert response.status == 200, await response.text()
        yield response


async def whole(site: Site, client: ClientSession) -> None:
    """Ask for a stream, which must come to its end."""
    async with streaming(site, client) as response:
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def asking(site: Site, client: ClientSession, enough: asyncio.Event) -> int:
    """Ask for one stream after the other; return how many came."""
    count = 0
    while not enough.is_set():
        await whole(site, client)
        count += 1
    return count


async def refusing(url: str) -> None:
    """Wait until nobody listens there."""
    address = URL(url)
    assert address.host
    try:
        while True:
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.close()
    except (ConnectionRefusedError, ConnectionResetError):
        return


async def test_each_gateway_listens_at_its_own_address_and_nginx_asks_both(
    shared_site: Site, client: ClientSession
) -> None:
    for url in shared_site.gateways:
        async with client.get(f"{url}/readyz") as response:
            assert response.status == 200
    for _ in range(4):
        await whole(shared_site, client)
    assert shared_site.asked == set(shared_site.gateways)


async def test_what_comes_is_passed_on_at_once_and_so_is_that_a_client_leaves(
    shared_site: Site, client: ClientSession, shared_upstream: Upstream
) -> None:
    shared_upstream.script(held("openai-chat"))
    async with streaming(shared_site, client) as response:
        assert (await response.content.readline()).startswith(b"data: {")
        asked = shared_upstream.requests[-1]
        response.close()
    await asked.disconnected.wait()


async def test_websockets_pass(shared_site: Site, client: ClientSession) -> None:
    message = {"type": "response.create", "model": MODELS["openai-responses"], "input": "hello", "store": False}
    async with client.ws_connect(f"{shared_site.url}/v1/responses", headers=BEARER) as websocket:
        await websocket.send_json(message)
        types: list[str] = []
        while not types or types[-1] != "response.completed":
            heard = await websocket.receive()
            assert heard.type is WSMsgType.TEXT
            types.append(json.loads(heard.data)["type"])


async def test_headers_arrive_as_they_are(shared_site: Site, client: ClientSession, shared_upstream: Upstream) -> None:
    asked = call("openai-responses")
    # `via` goes as far as the gateway; the upstream does not take that much.
    headers = {**asked.headers, "session_id": "test-session-1", "via": "x" * 30_000}
    async with client.post(shared_site.url + asked.path, json=asked.json, headers=headers) as response:
        assert response.status == 200
    assert shared_upstream.requests[-1].headers["session_id"] == "test-session-1"


async def test_large_bodies_arrive(shared_site: Site, client: ClientSession) -> None:
    asked = call("openai-chat", model="unknown-model")
    data = BytesIO(json.dumps({**asked.json, "filler": "x" * 5_000_000}).encode())
    headers = {**asked.headers, "content-type": "application/json"}
    async with client.post(shared_site.url + asked.path, data=data, headers=headers) as response:
        assert "unknown-model" in (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/management.html",
        "/management/app.js",
        "/codex/callback?state=x",
        "/v0/management/config",
        "/v0/management",
        "/v0/%6danagement/config",
        "//v0/management/config",
        "/x/../v0/management/config",
        "/v0/management/../../healthz",
    ],
)
async def test_what_is_the_operators_is_not_for_clients(shared_site: Site, client: ClientSession, path: str) -> None:
    """nginx is on the gateways' machine, which they trust."""
    async with client.get(f"{shared_site.gateways[0]}/metrics") as response:
        assert response.status == 200
    headers = {"x-management-key": "test-management-key"}
    async with client.get(URL(shared_site.url + path, encoded=True), headers=headers) as response:
        assert (response.status, response.headers["server"][:5]) == (404, "nginx")


async def test_restarting_one_gateway_after_the_other_costs_nothing(
    shared_site: Site, client: ClientSession, shared_upstream: Upstream
) -> None:
    enough = asyncio.Event()
    for number, url in enumerate(shared_site.gateways, 1):
        gate = asyncio.Event()
        shared_upstream.script(held("openai-chat", gate), held("openai-chat", gate))
        # One at each gateway.
        async with AsyncExitStack() as opened:
            slow = [await opened.enter_async_context(streaming(shared_site, client)) for _ in range(2)]
            load = [asyncio.create_task(asking(shared_site, client, enough)) for _ in range(4)]
            before = len(shared_upstream.requests)
            restarting = asyncio.create_task(shared_site.restart(number))
            await refusing(url)
            await shared_upstream.received(before + 50)
            gate.set()
            for response in slow:
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
            await restarting
            enough.set()
            assert all(await asyncio.gather(*load))
        enough.clear()
    assert not shared_site.program.text.count("code 1")


async def test_a_gateway_that_is_killed_costs_only_what_it_had_begun_to_answer(
    shared_site: Site, client: ClientSession, shared_upstream: Upstream
) -> None:
    gate, silence = asyncio.Event(), asyncio.Event()
    asked = call("openai-chat")
    silent = replace(text("openai-chat"), gate=silence)
    async with AsyncExitStack() as opened:
        # Two at each gateway, of which one has begun to be answered.
        shared_upstream.script(held("openai-chat", gate), held("openai-chat", gate))
        begun = [await opened.enter_async_context(streaming(shared_site, client)) for _ in range(2)]
        shared_upstream.script(silent, silent)
        before = len(shared_upstream.requests)
        post = client.post
        waiting = [
            asyncio.create_task(
                opened.enter_async_context(post(shared_site.url + asked.path, json=asked.json, headers=asked.headers))
            )
            for _ in range(2)
        ]
        await shared_upstream.received(before + 2)
        os.kill(shared_site.running["gateways"][0]["pid"], signal.SIGKILL)
        # One is asked again.
        await shared_upstream.received(before + 3)
        silence.set()
        assert [response.status for response in await asyncio.gather(*waiting)] == [200, 200]
        gate.set()
        ends = await asyncio.gather(*(response.read() for response in begun), return_exceptions=True)
        assert sorted(isinstance(end, ClientPayloadError) for end in ends) == [False, True]
    await shared_site.program.wait_for("Gateway 1 has ended with code -9, and is started again")
    await shared_site.restart(2)


async def test_told_to_end_it_lets_streams_come_to_theirs(client: ClientSession, shared_upstream: Upstream) -> None:
    gate = asyncio.Event()
    async with site(shared_upstream) as running:
        shared_upstream.script(held("openai-chat", gate))
        async with streaming(running, client) as response:
            running.program.process.send_signal(signal.SIGTERM)
            for url in (running.url, *running.gateways):
                await refusing(url)
            gate.set()
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
        assert await running.program.ended() == 0

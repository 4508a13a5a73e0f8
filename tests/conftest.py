"""Fixtures that every test may use: a mock upstream, and real mitmproxy processes with the gateway in them."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any, Protocol

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from hypothesis import settings

from tests.processes import PLACEHOLDER_MODE, Gateway, listening, mitmproxy
from tests.upstream import Upstream

# How long an example takes says more of what else the machine does.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


class Start(Protocol):
    """Starts a gateway; it ends with the module, and its log is looked through then."""

    async def __call__(
        self,
        config: Mapping[str, Any],
        *arguments: str,
        program: str = "mitmdump",
        mode: str = PLACEHOLDER_MODE,
    ) -> Gateway: ...


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mitmproxy keeps its certificate authority: making one takes longer than the rest of its start."""
    return tmp_path_factory.mktemp("mitmproxy")


# A start takes seconds, so gateways live as long as a module; its tests then run on one event loop:
# `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def start(confdir: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as running:

        async def _start(
            config: Mapping[str, Any],
            *arguments: str,
            program: str = "mitmdump",
            mode: str = PLACEHOLDER_MODE,
        ) -> Gateway:
            gateway = mitmproxy(confdir, *arguments, config=config, program=program, mode=mode)
            return await listening(await running.enter_async_context(gateway))

        yield _start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_upstream() -> AsyncIterator[Upstream]:
    """The mock upstream of a module's gateways; the newest request is `requests[-1]`."""
    async with Upstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[ClientSession]:
    """An HTTP/1.1 client that shows bodies as they were on the wire."""
    async with ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture(scope="module")
def authority(confdir: Path) -> Callable[[], SSLContext]:
    """Makes TLS contexts that trust the certificates which running gateways show, and nothing else."""
    return lambda: create_default_context(cafile=confdir / "mitmproxy-ca-cert.pem")


@pytest.fixture
def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]

"""A running authorization server, and a client that talks to it without a proxy."""

from collections.abc import AsyncIterator

import httpx
import pytest

from cliproxy.oauth.token_endpoint import http_client
from tests.oauth.authorization_server import AuthorizationServer


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with AuthorizationServer() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client("direct") as client:
        yield client

"""Fixtures of the tests that look at one feature from both ends."""

from collections.abc import AsyncIterator

import pytest

from tests.features.gateways import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running

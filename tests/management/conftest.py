"""A management API that runs, with the usual configuration or one's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.management.desk import Desk, desk_of

type At = Callable[[str], Awaitable[Desk]]
"""Makes a desk whose config has some lines more."""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_of(tmp_path) as running:
        yield running


@pytest.fixture
async def desk_with(tmp_path: Path) -> AsyncIterator[At]:
    async with AsyncExitStack() as running:

        async def make(more: str) -> Desk:
            return await running.enter_async_context(desk_of(tmp_path, more))

        yield make

"""The first look at a store: before anything is read of its copy, both are made alike."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cliproxy.stores.choice import Chosen
from cliproxy.stores.replica import Replica
from cliproxy.stores.store import CONFIG, StoreAway


def make_alike(chosen: Chosen, seed: Path) -> str:
    """Make both alike before anything is read of the directory; why the store is away, empty: it is not. Blocks.

    seed: the config of a store that has none yet. Raises StoreAway where there is no copy of its config either.
    """
    with ThreadPoolExecutor(1) as outside:  # of the event loop that may be running here
        return outside.submit(asyncio.run, _make_alike(chosen, seed)).result()


async def _make_alike(chosen: Chosen, seed: Path) -> str:
    here, there = chosen
    replica, trouble = Replica(here, there), ""
    try:
        await replica.synchronise()
        if not here.config_path.exists():
            await here.write(CONFIG, await asyncio.to_thread(seed.read_bytes), None)
            await replica.synchronise()
    except StoreAway as away:
        if not here.config_path.exists():
            raise
        trouble = str(away)
    finally:
        await there.close()
    return trouble

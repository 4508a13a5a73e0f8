"""The store that the environment names: whether it answers, and its copy here."""

import asyncio
from collections.abc import AsyncIterator

from cliproxy.doctor.configuration import is_readable_by_others
from cliproxy.doctor.finding import Finding
from cliproxy.doctor.storage import why_not_writable
from cliproxy.stores.choice import Chosen
from cliproxy.stores.store import StoreAway

_ANSWERS_WITHIN_S = 30.0
"""Git fetches all of it at first."""


async def store(chosen: Chosen) -> AsyncIterator[Finding]:
    """Of a store that there is. The addresses of stores may hold passwords, and are not told."""
    here, there = chosen
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            count = len(await there.versions())
        yield Finding("store", "ok", f"{there.name} answers: {count} documents")
    except (StoreAway, TimeoutError) as away:
        why = str(away) or "it does not answer"
        yield Finding("store", "warning", f"the store is away, the gateway serves from its copy: {why}")
    if reason := why_not_writable(here.folder):
        yield Finding("store", "error", f"its copy cannot be kept in {here.folder}: {reason}")
    else:
        yield Finding("store", "ok", f"its copy is in {here.folder}")
    for path in (here.config_path, here.folder / ".alike.json"):
        if path.exists() and is_readable_by_others(path):
            yield Finding("store", "warning", f"{path} holds secrets, and others can read it", f"chmod 600 {path}")

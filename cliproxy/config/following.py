"""A configuration file that is edited while it is in force: what it says each time it says something else."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from cliproxy.watching import wakes

from .loading import ConfigFault, Loaded, parse_config, read_config

SETTLED_S = 0.15
"""How long a text has to stay as it is: editors empty a file before they write it, or put another one in its place."""
RESTLESS_S = 1.0
"""A file that goes on changing is taken as it is after so long."""


class _Content(NamedTuple):
    text: str
    problems: tuple[str, ...] = ()
    """Why there is none."""


async def follow_config(path: Path) -> AsyncGenerator[Loaded | ConfigFault]:
    """What the file says at the start and after each change of its text: a configuration, or why it is none.

    Goes on for ever, whether the file exists or not.
    """
    known: _Content | None = None
    async with aclosing(wakes(path.parent)) as woken:
        async for _ in woken:
            content = await asyncio.to_thread(_content, path)
            if content != known:
                content = await _settled(path, content)
            if content != known:
                known = content
                yield await asyncio.to_thread(_loaded, path, content)


async def _settled(path: Path, content: _Content) -> _Content:
    for _ in range(round(RESTLESS_S / SETTLED_S)):
        await asyncio.sleep(SETTLED_S)
        before, content = content, await asyncio.to_thread(_content, path)
        if content == before:
            break
    return content


def _content(path: Path) -> _Content:
    try:
        return _Content(read_config(path))
    except ConfigFault as fault:
        return _Content("", fault.problems)


def _loaded(path: Path, content: _Content) -> Loaded | ConfigFault:
    if content.problems:
        return ConfigFault([*content.problems])
    if not content.text.strip():
        # Nothing is a valid configuration, which serves everyone without a key. Nobody means that of a running gateway.
        return ConfigFault([f"{path}: is empty now"])
    try:
        return parse_config(content.text, str(path))
    except ConfigFault as fault:
        return fault

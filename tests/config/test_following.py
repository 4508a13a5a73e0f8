"""A configuration file under the hands of editors and scripts."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from cliproxy import watching
from cliproxy.config import following
from cliproxy.config.following import follow_config
from cliproxy.config.loading import ConfigFault, Loaded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHECKED_EVERY_MS", 100)
    monkeypatch.setattr(watching, "AWAITED_EVERY_S", 0.02)
    monkeypatch.setattr(following, "SETTLED_S", 0.02)


def put(path: Path, text: str) -> None:
    """In place, as many editors do."""
    path.write_text(text, "utf-8")


async def ports(told: AsyncGenerator[Loaded | ConfigFault]) -> int:
    found = await anext(told)
    assert isinstance(found, Loaded), found
    return found.config.port


async def test_each_change_is_told(path: Path) -> None:
    put(path, "port: 1001")
    async with aclosing(follow_config(path)) as told:
        assert await ports(told) == 1001
        put(path, "port: 1002")
        assert await ports(told) == 1002
        other = path.with_name("written")
        put(other, "port: 1003")
        other.replace(path)
        assert await ports(told) == 1003


async def test_what_is_wrong_is_told_once_and_so_is_its_mending(path: Path) -> None:
    put(path, "port: 1001")
    async with aclosing(follow_config(path)) as told:
        await anext(told)
        put(path, "port: often")
        fault = await anext(told)
        assert isinstance(fault, ConfigFault) and "config.yaml:1:7: port:" in str(fault)
        put(path, "port: often")
        put(path, "port: 1002")
        assert await ports(told) == 1002


async def test_a_file_that_is_gone_or_empty_is_no_configuration(path: Path) -> None:
    put(path, "port: 1001")
    async with aclosing(follow_config(path)) as told:
        await anext(told)
        put(path, " \n")
        assert str(await anext(told)) == f"{path}: is empty now"
        await asyncio.to_thread(path.unlink)
        assert str(await anext(told)) == f"{path}: cannot be read: No such file or directory"
        put(path, "port: 1002")
        assert await ports(told) == 1002


async def test_an_editor_that_empties_the_file_first_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, "port: 1001")
    async with aclosing(follow_config(path)) as told:
        await anext(told)
        waited = asyncio.Event()
        sleep = asyncio.sleep

        async def noted(seconds: float) -> None:
            waited.set()
            await sleep(seconds)

        monkeypatch.setattr(following.asyncio, "sleep", noted)
        put(path, "")
        next_told = asyncio.ensure_future(anext(told))
        await waited.wait()
        put(path, "port: 1002")
        found = await next_told
        assert isinstance(found, Loaded) and found.config.port == 1002


async def test_a_file_that_never_rests_is_taken_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, "port: 1001")
    async with aclosing(follow_config(path)) as told:
        await anext(told)
        count = 2000

        async def edited(seconds: float) -> None:
            nonlocal count
            count += 1
            put(path, f"port: {count}")

        monkeypatch.setattr(following.asyncio, "sleep", edited)
        put(path, "port: 2000")
        assert await ports(told) == count == 2000 + round(following.RESTLESS_S / following.SETTLED_S)

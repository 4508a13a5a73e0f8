"""A disk that is full while the copy of a store is written: nothing is cut short, and all is well when there is room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cliproxy.stores.store import CONFIG, StoreAway
from tests.stores.memory_store import MemoryStore
from tests.stores.side import A, Side, login

SIZE = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class Ballast:
    """All that is left of a disk but some bytes."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "ballast"

    def fill(self, *, but_bytes: int = 0) -> None:
        self._file.write_bytes(b"")
        free = os.statvfs(self._file.parent).f_bavail * os.statvfs(self._file.parent).f_frsize
        self._file.write_bytes(bytes(free - but_bytes))

    def drop(self) -> None:
        self._file.unlink()


def long(number: int) -> bytes:
    """A login that needs some pages."""
    return login(str(number), f"{number:02}", note=f"{number}" * 20_000)


@pytest.mark.parametrize("but_bytes", [0, 4096, 24576, 32768])
async def test_what_comes_from_the_store_waits_for_room(small_disk: Path, tmp_path: Path, but_bytes: int) -> None:
    store, ballast = MemoryStore(), Ballast(small_disk)
    full, other = Side(small_disk / "copy", store), Side(tmp_path / "other", store)
    other.put(CONFIG, b"port: 1\n")
    other.put(A, long(1))
    await other.sync()
    await full.sync()
    ballast.fill(but_bytes=but_bytes)
    other.put(A, long(2))
    other.put("auths/b.json", long(3))
    await other.sync()
    documents = dict(store.documents)
    try:
        await full.sync()
        said = " ".join(full.replica.unfit.values())
    except StoreAway as away:
        said = str(away)
    assert "cannot be" in said and "No space left" in said
    for path, content in full.files.items():
        assert content == documents[path].content or content == long(1), "a part of it"
    assert full.files[CONFIG] == b"port: 1\n"
    assert store.documents == documents
    ballast.drop()
    await full.anew().sync()
    assert full.files == other.files
    assert store.documents == documents


async def test_what_is_changed_here_is_passed_on_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    store, ballast = MemoryStore(), Ballast(small_disk)
    full, other = Side(small_disk / "copy", store), Side(tmp_path / "other", store)
    full.put(CONFIG, b"port: 1\n")
    full.put(A, long(1))
    await full.sync()
    documents = dict(store.documents)
    full.put(A, long(2))
    ballast.fill()
    async with full.replica.locked(A):
        assert full.files[A] == long(2)
    assert "No space left" in full.replica.trouble
    assert store.documents == documents
    ballast.drop()
    await full.sync()
    await other.sync()
    assert full.files == other.files == {CONFIG: b"port: 1\n", A: long(2)}

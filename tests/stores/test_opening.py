"""The first look at a store, with the copy and the seed that there may be."""

from pathlib import Path

import pytest

from cliproxy.stores.choice import Chosen
from cliproxy.stores.file import FileStore
from cliproxy.stores.opening import make_alike
from cliproxy.stores.store import CONFIG, StoreAway
from tests.stores.memory_store import MemoryStore


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    path = tmp_path / "seed.yaml"
    path.write_text("port: 1\n", "utf-8")
    return path


def test_the_seed_is_for_a_store_without_a_config(tmp_path: Path, seed: Path) -> None:
    there = MemoryStore()
    first, second = (Chosen(FileStore(tmp_path / name), there) for name in ("first", "second"))
    assert make_alike(first, seed) == ""
    assert there.documents[CONFIG].content == b"port: 1\n"
    seed.write_text("port: 2\n", "utf-8")
    assert make_alike(second, seed) == ""
    assert second.here.config_path.read_text("utf-8") == "port: 1\n"


def test_a_store_that_is_away_needs_a_copy(tmp_path: Path, seed: Path) -> None:
    there = MemoryStore()
    store = Chosen(FileStore(tmp_path / "copy"), there)
    there.is_away = True
    with pytest.raises(StoreAway):
        make_alike(store, seed)
    there.is_away = False
    make_alike(store, seed)
    there.is_away = True
    assert make_alike(store, seed) == "it is away"

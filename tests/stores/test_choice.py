"""Which store the environment asks for, and the first look at it."""

from pathlib import Path

import pytest

from cliproxy.config.schema import Config
from cliproxy.stores.choice import Chosen, chosen, make_alike, placed
from cliproxy.stores.file import FileStore
from cliproxy.stores.git import GitStore
from cliproxy.stores.postgres import PostgresStore
from cliproxy.stores.s3 import S3Store
from cliproxy.stores.store import CONFIG, StoreAway
from tests.stores.memory_store import MemoryStore

POSTGRES = {"PGSTORE_DSN": "postgresql://db.example/x"}
S3 = {"OBJECTSTORE_ENDPOINT": "s3.example", "OBJECTSTORE_BUCKET": "b", "OBJECTSTORE_ACCESS_KEY": "test-access",
      "OBJECTSTORE_SECRET_KEY": "test-secret"}  # fmt: skip
GIT = {"GITSTORE_GIT_URL": "https://git.example/x.git", "GITSTORE_GIT_TOKEN": "test-token"}


@pytest.mark.parametrize(
    ("environ", "kind", "folder"),
    [
        (GIT | S3 | POSTGRES, PostgresStore, "pgstore"),
        (GIT | S3, S3Store, "objectstore"),
        (GIT, GitStore, "gitstore"),
    ],
)
def test_the_first_of_those_that_are_set_counts(
    tmp_path: Path, environ: dict[str, str], kind: type, folder: str
) -> None:
    store = chosen({**environ, "WRITABLE_PATH": str(tmp_path)})
    assert store
    assert isinstance(store.there, kind)
    assert store.here.folder == tmp_path / folder
    assert not store.here.folder.exists(), "nothing is made before it is needed"


def test_without_any_there_is_none() -> None:
    assert chosen({"PGSTORE_DSN": ""}) is None


def test_a_store_has_its_own_place(tmp_path: Path) -> None:
    store = chosen({**POSTGRES, "WRITABLE_PATH": "/elsewhere", "PGSTORE_LOCAL_PATH": str(tmp_path)})
    assert store
    assert store.here.config_path == tmp_path / "pgstore/config/config.yaml"
    assert placed(Config(), store).auth_dir == str(tmp_path / "pgstore/auths")


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

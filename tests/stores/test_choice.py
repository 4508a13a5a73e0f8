"""Which store the environment asks for."""

from pathlib import Path

import pytest

from cliproxy.config.schema import Config
from cliproxy.stores.choice import chosen, placed
from cliproxy.stores.git import GitStore
from cliproxy.stores.postgres import PostgresStore
from cliproxy.stores.s3 import S3Store

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

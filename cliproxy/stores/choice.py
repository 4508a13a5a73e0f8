"""Which store the environment asks for, with the variables that CLIProxyAPI has for it, and where its copy is."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import platformdirs

from cliproxy.config.schema import Config
from cliproxy.database import database_of
from cliproxy.stores.file import FileStore
from cliproxy.stores.store import Store


class Chosen(NamedTuple):
    """A store, and the directory that is kept like it."""

    here: FileStore
    there: Store


def chosen(environ: Mapping[str, str] = os.environ) -> Chosen | None:
    """PostgreSQL before S3 before Git; None: the gateway's own files are all there is. Nothing is connected to yet."""
    if database := database_of(environ):
        from cliproxy.stores.postgres import PostgresStore

        here = _here(environ, "PGSTORE", "pgstore")
        return Chosen(here, PostgresStore(database, f"{platform.node()}:{here.folder}"))
    if endpoint := environ.get("OBJECTSTORE_ENDPOINT"):
        from cliproxy.stores.s3 import S3Store

        words = (environ.get(f"OBJECTSTORE_{name}", "") for name in ("BUCKET", "ACCESS_KEY", "SECRET_KEY"))
        return Chosen(_here(environ, "OBJECTSTORE", "objectstore"), S3Store(endpoint, *words))
    if url := environ.get("GITSTORE_GIT_URL"):
        from cliproxy.stores.git import GitStore

        here = _here(environ, "GITSTORE", "gitstore")
        words = (environ.get(f"GITSTORE_GIT_{name}", "") for name in ("BRANCH", "USERNAME", "TOKEN"))
        return Chosen(here, GitStore(url, here.folder / ".repository", *words))
    return None


def _here(environ: Mapping[str, str], prefix: str, name: str) -> FileStore:
    root = (
        environ.get(f"{prefix}_LOCAL_PATH") or environ.get("WRITABLE_PATH") or platformdirs.user_data_path("cliproxy")
    )
    return FileStore(Path(root).expanduser() / name)


def placed(config: Config, chosen: Chosen) -> Config:
    """The configuration with the accounts where the store's are."""
    return config.model_copy(update={"auth_dir": str(chosen.here.auth_dir)})

"""A gateway's side of a store, as tests see it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cliproxy.stores.file import FileStore
from cliproxy.stores.replica import Replica
from cliproxy.stores.store import Store

A = "auths/a.json"


def login(token: str, at: str, **more: Any) -> bytes:
    fields = {"type": "claude", "access_token": f"test-{token}", "refresh_token": f"test-refresh-{token}"}
    return json.dumps({**fields, "last_refresh": f"2026-01-01T00:00:{at}Z", **more}).encode()


class Side[Kept: Store]:
    """A gateway's directory."""

    def __init__(self, folder: Path, store: Kept) -> None:
        self.here = FileStore(folder)
        self.store = store
        self.replica = Replica(self.here, store)

    def put(self, path: str, content: bytes) -> None:
        file = self.here.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def drop(self, path: str) -> None:
        (self.here.folder / path).unlink()

    async def sync(self) -> None:
        await self.replica.synchronise()

    def anew(self) -> "Side[Kept]":
        """After a restart."""
        return Side(self.here.folder, self.store)

    @property
    def files(self) -> Mapping[str, bytes]:
        paths = {str(path.relative_to(self.here.folder)): path for path in self.here.folder.rglob("*")}
        ours = {name: path for name, path in paths.items() if path.is_file() and not name.startswith(".")}
        return {name: path.read_bytes() for name, path in ours.items() if not path.name.startswith(".")}

"""A gateway that is killed at any step of making both sides alike: it goes on as if nothing had been."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from cliproxy.stores.file import FileStore
from cliproxy.stores.store import CONFIG
from tests.processes import ROOT
from tests.stores.side import A, Side, login

CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from cliproxy.stores.file import FileStore
from cliproxy.stores.replica import Replica

def killed(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

here, there, owner, name, calls = sys.argv[1:]
path, _, attribute = owner.partition(":")
module = __import__(path, fromlist=["_"])
owner = getattr(module, attribute) if attribute else module
original, left = getattr(owner, name), int(calls)

def counted(*arguments, **options):
    global left
    left -= 1
    return killed() if left < 0 else original(*arguments, **options)

setattr(owner, name, counted)
asyncio.run(Replica(FileStore(Path(here)), FileStore(Path(there))).synchronise())
"""
"""Makes a directory and a store alike, and is killed where it would call the named function once more."""

REPLICA, MEMORY = "cliproxy.stores.replica:Replica", "cliproxy.stores.alike:Memory"
STEPS = {
    "before anything is remembered": (MEMORY, "save", 0),
    "before a document is looked at": (REPLICA, "_make_alike", 0),
    "between a write and its note": (MEMORY, "note", 0),
    "between two documents": (REPLICA, "_make_alike", 1),
    "between the last note and its being kept": (MEMORY, "save", 1),
    "while a file is written": ("cliproxy.credentials.atomic_write:Path", "replace", 1),
}


PULLING_STEPS = {
    "before a document is looked at": (REPLICA, "_make_alike", 0),
    "between a write and its note": (MEMORY, "note", 0),
    "between two documents": (REPLICA, "_make_alike", 1),
    "between the last note and its being kept": (MEMORY, "save", 0),
}


async def killed(left: Side[FileStore], owner: str, name: str, calls: int) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(left.here.folder), str(left.store.folder), owner, name, str(calls),
        cwd=ROOT, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await child.communicate()
    assert child.returncode == -signal.SIGKILL, said.decode()


@pytest.mark.parametrize("step", STEPS)
async def test_what_was_changed_here_is_passed_on_once(tmp_path: Path, step: str) -> None:
    store = FileStore(tmp_path / "store")
    left, right = Side(tmp_path / "left", store), Side(tmp_path / "right", store)
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01", note="1"))
    await left.sync()
    await right.sync()
    left.put(CONFIG, b"port: 2\n")
    left.put(A, login("2", "02", note="2"))
    await killed(left, *STEPS[step])
    # And on it goes, with changes of those very documents.
    left.put(CONFIG, b"port: 3\n")
    left.put(A, login("2", "02", note="3"))
    await left.sync()
    await right.sync()
    assert left.files == right.files
    assert left.files.keys() == {CONFIG, A}, "there was no conflict"
    assert left.files[CONFIG] == b"port: 3\n"
    assert json.loads(left.files[A]) == json.loads(login("2", "02", note="3"))


@pytest.mark.parametrize("step", PULLING_STEPS)
async def test_what_came_from_the_store_is_here_once(tmp_path: Path, step: str) -> None:
    store = FileStore(tmp_path / "store")
    left, right = Side(tmp_path / "left", store), Side(tmp_path / "right", store)
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01"))
    left.put("auths/b.json", login("1", "01"))
    await left.sync()
    await right.sync()
    right.put(CONFIG, b"port: 2\n")
    right.put(A, login("2", "02"))
    right.drop("auths/b.json")
    await right.sync()
    await killed(left, *PULLING_STEPS[step])
    await left.sync()
    await right.sync()
    assert left.files == right.files == {CONFIG: b"port: 2\n", A: login("2", "02")}

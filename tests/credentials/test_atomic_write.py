"""Files that are replaced at once: whatever happens meanwhile, the old content is there or the new."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cliproxy.credentials.atomic_write import write_atomically

OLD, NEW = b"old tokens", b"new tokens"

KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from cliproxy.credentials.atomic_write import write_atomically
import cliproxy.credentials.atomic_write as module

def dying(after):
    def act(*arguments, **named):
        if after:
            after(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    return act

match sys.argv[2]:
    case "before the temporary file": tempfile.mkstemp = dying(None)
    case "after the temporary file": os.fdopen = dying(None)
    case "before it is on disk": os.fsync = dying(None)
    case "before the replacement": Path.replace = dying(None)
    case "after the replacement": Path.replace = dying(Path.replace)
    case "before the directory is on disk": module._sync_directory = dying(None)
write_atomically(Path(sys.argv[1]), b"new tokens")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "auth" / "claude-a.json"


def leftovers(path: Path) -> list[Path]:
    return [entry for entry in path.parent.iterdir() if entry != path]


def test_a_file_is_written_for_its_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomically(path, NEW)
    finally:
        os.umask(before)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not leftovers(path)


def test_a_file_that_others_could_read_becomes_private(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(OLD)
    path.chmod(0o644)
    inode = path.stat().st_ino
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_ino != inode


def test_a_symbolic_link_stays_one(path: Path) -> None:
    target = path.parent.parent / "elsewhere.json"
    path.parent.mkdir(parents=True)
    target.write_bytes(OLD)
    path.symlink_to(target)
    write_atomically(path, NEW)
    assert path.is_symlink()
    assert target.read_bytes() == NEW


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(path, OLD)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD
    assert not leftovers(path)


@pytest.mark.parametrize(
    ("moment", "content"),
    [
        ("before the temporary file", OLD),
        ("after the temporary file", OLD),
        ("before it is on disk", OLD),
        ("before the replacement", OLD),
        ("after the replacement", NEW),
        ("before the directory is on disk", NEW),
    ],
)
def test_a_writer_that_is_killed_leaves_a_whole_file(path: Path, moment: str, content: bytes) -> None:
    write_atomically(path, OLD)
    ended = subprocess.run([sys.executable, "-c", KILLED, path, moment], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == content
    for left in leftovers(path):
        assert left.name.startswith(".")
        assert left.stat().st_mode & 0o777 == 0o600
    write_atomically(path, b"next")
    assert path.read_bytes() == b"next"


def test_what_a_killed_writer_left_is_removed_when_it_is_old(path: Path) -> None:
    write_atomically(path, OLD)
    old, young, other = (
        path.parent / name for name in (f".{path.name}.a.tmp", f".{path.name}.b.tmp", ".other.json.a.tmp")
    )
    for left in (old, young, other):
        left.write_bytes(b"test-token")
    for left in (old, other):
        os.utime(left, (0, time.time() - 3600))
    write_atomically(path, NEW)
    assert sorted(leftovers(path)) == sorted([young, other])


def test_a_name_with_brackets_is_no_pattern(path: Path) -> None:
    other = path.with_name("[a].json")
    write_atomically(path.with_name("a.json"), OLD)
    left = path.with_name(".a.json.x.tmp")
    left.write_bytes(b"test-token")
    os.utime(left, (0, 0))
    write_atomically(other, NEW)
    assert left.exists()

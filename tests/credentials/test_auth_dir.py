"""The directory of auth files: what is in it, what we write, what others do meanwhile."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cliproxy import watching
from cliproxy.credentials.auth_dir import AuthDir, AuthFileMissing, checked_name
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from tests.auth_files import AUTH_FILES

CLAUDE = AuthFile.of({"type": "claude", "access_token": "test-access-1"})
OTHER = AuthFile.of({"type": "qwen", "access_token": "test-access-2"})

HOLDER = """
import asyncio, sys
from pathlib import Path
from cliproxy.credentials.auth_dir import AuthDir

async def main():
    async with AuthDir(Path(sys.argv[1])).lock("a.json"):
        print("locked", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth"


@pytest.fixture
def auth_dir(path: Path) -> AuthDir:
    return AuthDir(path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "DEBOUNCE_MS", 50)
    monkeypatch.setattr(watching, "CHECKED_EVERY_MS", 100)
    monkeypatch.setattr(watching, "AWAITED_EVERY_S", 0.05)


def put(path: Path, name: str, text: str) -> None:
    """As another program would: in place."""
    path.mkdir(exist_ok=True)
    (path / name).write_text(text, "utf-8")


# ---------------------------------------------------------------- reading


def test_a_directory_that_is_not_there_holds_nothing(auth_dir: AuthDir, path: Path) -> None:
    assert auth_dir.scan() == {}
    assert not path.exists()
    with pytest.raises(AuthFileMissing):
        auth_dir.read("a.json")


def test_the_home_directory_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert AuthDir(Path("~/.cli-proxy-api")).path == tmp_path / ".cli-proxy-api"


def test_every_account_is_found(auth_dir: AuthDir, path: Path) -> None:
    for name, document in AUTH_FILES.items():
        put(path, name, json.dumps(document))
    found = auth_dir.scan()
    assert list(found) == sorted(AUTH_FILES)
    assert found == {name: AuthFile.of(document) for name, document in AUTH_FILES.items()}


def test_only_accounts_are_found(auth_dir: AuthDir, path: Path) -> None:
    for name in (
        ".hidden.json",
        ".oauth-claude-abc.oauth",
        "a.json.bak",
        "cliproxy.cooldowns",
        "claude.cds",
        "notes.txt",
    ):
        put(path, name, '{"type": "claude"}')
    (path / "logs").mkdir()
    (path / "directory.json").mkdir()
    # Copies of old logins; used beside the new ones they would end both.
    put(path / "logs", "backup.json", '{"type": "claude"}')
    (path / "dangling.json").symlink_to(path / "nowhere")
    os.mkfifo(path / "pipe.json")
    assert auth_dir.scan() == {}
    put(path, "UPPER.JSON", '{"type": "claude"}')
    assert list(auth_dir.scan()) == ["UPPER.JSON"]


def test_what_is_broken_is_told_by_name_and_hides_nothing_else(auth_dir: AuthDir, path: Path) -> None:
    put(path, "good.json", '{"type": "claude"}')
    put(path, "half.json", '{"type": "claude", "access_token": "test-acc')
    put(path, "empty.json", "")
    found = auth_dir.scan()
    assert isinstance(found["good.json"], AuthFile)
    for name in ("half.json", "empty.json"):
        fault = found[name]
        assert isinstance(fault, AuthFileFault)
        assert "test-acc" not in str(fault)
        with pytest.raises(AuthFileFault, match=str(fault)):
            auth_dir.read(name)


def test_an_unreadable_file_is_told(auth_dir: AuthDir, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(file: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    put(path, "a.json", '{"type": "claude"}')
    monkeypatch.setattr(Path, "read_bytes", forbidden)  # root may read everything
    assert str(auth_dir.scan()["a.json"]) == "it cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["claude-me@example.com.json", "a b.JSON", "x..json", "日本.json"])
def test_names_of_auth_files(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".json",
        "a",
        "a.yaml",
        "../a.json",
        "/etc/a.json",
        "a/b.json",
        "..\\a.json",
        "C:a.json",
        ".a.json",
        "a\n.json",
        "a\0.json",
    ],
)
def test_other_names_are_refused_everywhere(auth_dir: AuthDir, path: Path, name: str) -> None:
    for act in (lambda: auth_dir.read(name), lambda: auth_dir.write(name, CLAUDE), lambda: auth_dir.remove(name)):
        with pytest.raises(AuthFileFault, match="the name of an auth file"):
            act()
    assert not path.exists()


async def test_other_names_cannot_be_locked(auth_dir: AuthDir) -> None:
    with pytest.raises(AuthFileFault, match="the name of an auth file"):
        async with auth_dir.lock("../a.json"):
            pass


# ---------------------------------------------------------------- writing


def test_what_is_written_is_read(auth_dir: AuthDir, path: Path) -> None:
    auth_dir.write("a.json", CLAUDE)
    assert auth_dir.read("a.json") == CLAUDE
    assert (path / "a.json").stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o700
    auth_dir.write("a.json", OTHER)
    assert auth_dir.read("a.json") == OTHER
    assert [entry.name for entry in path.iterdir()] == ["a.json"]


def test_what_is_removed_is_gone(auth_dir: AuthDir) -> None:
    auth_dir.write("a.json", CLAUDE)
    auth_dir.remove("a.json")
    assert auth_dir.scan() == {}
    with pytest.raises(AuthFileMissing):
        auth_dir.remove("a.json")


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    auth_dir = AuthDir(tmp_path / "file")
    with pytest.raises(AuthFileFault, match="cannot be written"):
        auth_dir.write("a.json", CLAUDE)
    assert auth_dir.scan() == {}


async def test_a_place_that_cannot_be_locked_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuthFileFault, match="cannot be locked"):
        async with AuthDir(tmp_path / "file").lock("a.json"):
            pass


# ---------------------------------------------------------------- locking


async def test_a_lock_lets_one_in_at_a_time(auth_dir: AuthDir) -> None:
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with auth_dir.lock("a.json"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert (inside, most) == (0, 1)


async def test_locks_of_other_files_are_free(auth_dir: AuthDir) -> None:
    async with auth_dir.lock("a.json"), auth_dir.lock("b.json"):
        assert auth_dir.scan() == {}


async def test_a_lock_is_freed_by_an_error(auth_dir: AuthDir) -> None:
    with pytest.raises(ZeroDivisionError):
        async with auth_dir.lock("a.json"):
            raise ZeroDivisionError
    async with asyncio.timeout(10), auth_dir.lock("a.json"):
        pass


async def test_one_who_waits_for_a_lock_can_give_up(auth_dir: AuthDir) -> None:
    async def take() -> None:
        async with auth_dir.lock("a.json"):
            pytest.fail("the lock was taken twice")

    async with auth_dir.lock("a.json"):
        waiting = asyncio.create_task(take())
        await asyncio.wait([waiting], timeout=0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(10), auth_dir.lock("a.json"):
        pass


async def test_a_lock_holds_against_another_process_and_ends_with_it(auth_dir: AuthDir, path: Path) -> None:
    command = (sys.executable, "-c", HOLDER, str(path))
    holder = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert await holder.stdout.readline() == b"locked\n"

    async def take() -> None:
        async with auth_dir.lock("a.json"):
            pass

    waiting = asyncio.create_task(take())
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    holder.send_signal(signal.SIGKILL)
    await holder.wait()
    await asyncio.wait_for(waiting, 10)


# ---------------------------------------------------------------- changes


@pytest.mark.usefixtures("quick")
async def test_what_others_do_is_told(auth_dir: AuthDir, path: Path) -> None:
    auth_dir.write("a.json", CLAUDE)
    assert list(auth_dir.scan()) == ["a.json"]
    changes = auth_dir.changes()
    put(path, "b.json", '{"type": "qwen", "access_token": "test-access-2"}')
    assert await anext(changes) == {"b.json": OTHER}
    put(path, "a.json", '{"type": "claude", "email": "me@example.com"}')
    assert await anext(changes) == {"a.json": AuthFile.of({"type": "claude", "email": "me@example.com"})}
    (path / "a.json").unlink()
    assert await anext(changes) == {"a.json": None}
    put(path, "b.json", '{"type": ')
    (fault,) = (await anext(changes)).values()
    assert isinstance(fault, AuthFileFault)
    await changes.aclose()


@pytest.mark.usefixtures("quick")
async def test_an_editors_replacement_is_told(auth_dir: AuthDir, path: Path) -> None:
    auth_dir.write("a.json", CLAUDE)
    auth_dir.scan()
    changes = auth_dir.changes()
    put(path, "new", '{"type": "qwen", "access_token": "test-access-2"}')
    (path / "new").replace(path / "a.json")
    assert await anext(changes) == {"a.json": OTHER}
    await changes.aclose()


@pytest.mark.usefixtures("quick")
async def test_what_we_do_is_not_told(auth_dir: AuthDir, path: Path) -> None:
    auth_dir.scan()
    changes = auth_dir.changes()
    told = asyncio.ensure_future(anext(changes))
    for note in ("first", "second"):
        auth_dir.write("a.json", CLAUDE.with_fields(note=note))
    async with auth_dir.lock("a.json"):
        auth_dir.write("b.json", CLAUDE)
    auth_dir.remove("b.json")
    # Longer than the directory goes without being looked through.
    done, _ = await asyncio.wait([told], timeout=0.2)
    assert not done
    put(path, "c.json", '{"type": "claude", "access_token": "test-access-1"}')
    assert await told == {"c.json": CLAUDE}
    await changes.aclose()


@pytest.mark.usefixtures("quick")
async def test_a_file_that_is_rewritten_with_the_same_content_is_not_told(auth_dir: AuthDir, path: Path) -> None:
    auth_dir.write("a.json", CLAUDE)
    auth_dir.scan()
    changes = auth_dir.changes()
    (path / "a.json").write_bytes(CLAUDE.dump())
    os.utime(path / "a.json")
    put(path, "b.json", '{"type": "qwen", "access_token": "test-access-2"}')
    assert await anext(changes) == {"b.json": OTHER}
    await changes.aclose()


@pytest.mark.usefixtures("quick")
async def test_a_directory_may_come_later_and_be_replaced(
    auth_dir: AuthDir, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watches: list[str] = []
    watch = watching.awatch

    def counted(*paths: Path, **options: Any) -> AsyncGenerator[object]:
        watches.append(str(paths))
        return watch(*paths, **options)

    monkeypatch.setattr(watching, "awatch", counted)
    auth_dir.scan()
    changes = auth_dir.changes()
    told = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    put(path, "a.json", '{"type": "claude", "access_token": "test-access-1"}')
    assert await told == {"a.json": CLAUDE}
    shutil.rmtree(path)
    assert await anext(changes) == {"a.json": None}
    before = len(watches)
    put(path, "b.json", '{"type": "qwen", "access_token": "test-access-2"}')
    assert await anext(changes) == {"b.json": OTHER}
    # The old directory's watch would say nothing of the new one.
    assert len(watches) > before
    await changes.aclose()


@pytest.mark.usefixtures("quick")
async def test_a_system_without_watches_is_looked_at(
    auth_dir: AuthDir, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*arguments: object, **named: object) -> AsyncIterator[None]:
        async def failing() -> AsyncIterator[None]:
            raise OSError(28, "OS file watch limit reached")
            yield

        return failing()

    monkeypatch.setattr(watching, "awatch", none_left)
    auth_dir.scan()
    changes = auth_dir.changes()
    told = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    put(path, "a.json", '{"type": "claude", "access_token": "test-access-1"}')
    assert await told == {"a.json": CLAUDE}
    await changes.aclose()


async def test_following_can_be_cancelled(auth_dir: AuthDir) -> None:
    auth_dir.write("a.json", CLAUDE)
    auth_dir.scan()
    told = asyncio.ensure_future(anext(auth_dir.changes()))
    await asyncio.wait([told], timeout=0.05)
    told.cancel()
    with pytest.raises(asyncio.CancelledError):
        await told

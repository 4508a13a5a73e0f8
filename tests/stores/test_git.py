"""cliproxy.stores.git: what its contract with the others does not say."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dulwich.client import HTTPUnauthorized, Urllib3HttpGitClient
from dulwich.errors import NotGitRepository
from dulwich.repo import Repo

from cliproxy.stores.git import GitStore
from cliproxy.stores.store import CONFIG, StoreAway
from tests.stores.side import A, Side, login

type Open = Callable[..., Side[GitStore]]
"""A gateway of a name; the address of the remote."""

URL = "https://me:test-password@git.example/x.git"


@pytest.mark.parametrize("refusal", [HTTPUnauthorized("Basic", URL), NotGitRepository(URL)])
async def test_a_refusal_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(Urllib3HttpGitClient, "fetch", refuse)
    store = GitStore(URL, tmp_path / "clone", token="test-token")
    with pytest.raises(StoreAway) as away:
        await store.versions()
    assert str(away.value) == f"Git: {type(refusal).__name__}"
    await store.close()


# ------------------------------------------------------------ remotes and copies that fail


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """The address of a folder's repositories, by Git's own daemon, which runs their hooks."""
    daemon = ("git", "daemon", "--inetd", "--export-all", "--enable=receive-pack", f"--base-path={folder}", str(folder))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process = await asyncio.create_subprocess_exec(
            *daemon, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdin and process.stdout
        asking = asyncio.create_task(_pass(reader, process.stdin))
        await _pass(process.stdout, writer)
        asking.cancel()
        await process.wait()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"git://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "remotes" / "store.git"
    path.parent.mkdir()
    Repo.init_bare(str(path), mkdir=True).close()
    return path


def hook(remote: Path, name: str, script: str) -> None:
    path = remote / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


@pytest.fixture
def opened(tmp_path: Path, remote: Path) -> Iterator[Open]:
    sides: list[Side[GitStore]] = []

    def _open(name: str, url: str = str(remote)) -> Side[GitStore]:
        sides.append(Side(tmp_path / name, GitStore(url, tmp_path / name / ".repository", "main")))
        return sides[-1]

    yield _open
    for side in sides:
        side.store._let_go()


needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@needs_git
@pytest.mark.parametrize("step", ["pre-receive", "post-receive"])
async def test_a_remote_that_is_killed_in_a_push_becomes_alike(opened: Open, remote: Path, step: str) -> None:
    async with served(remote.parent) as url:
        left, right = opened("left", f"{url}/store.git"), opened("right", f"{url}/store.git")
        left.put(CONFIG, b"port: 1\n")
        await left.sync()
        hook(remote, step, "kill -9 $PPID")
        left.put(CONFIG, b"port: 2\n")
        with contextlib.suppress(StoreAway):
            await left.sync()
        (remote / "hooks" / step).unlink()
        await right.sync()
        arrived = b"port: 2\n" if step == "post-receive" else b"port: 1\n"
        assert right.files == {CONFIG: arrived}
        left.put(CONFIG, b"port: 3\n")
        await left.anew().sync()
        await right.sync()
        assert left.files == right.files == {CONFIG: b"port: 3\n"}


@needs_git
async def test_a_push_that_is_refused_says_so(opened: Open, remote: Path) -> None:
    async with served(remote.parent) as url:
        left = opened("left", f"{url}/store.git")
        hook(remote, "pre-receive", "exit 1")
        left.put(CONFIG, b"port: 1\n")
        with pytest.raises(StoreAway, match="does not take what is pushed"):
            await left.sync()
        (remote / "hooks" / "pre-receive").unlink()
        await left.sync()
        assert (await left.store.versions()).keys() == {CONFIG}


async def two_alike(opened: Open) -> list[Side[GitStore]]:
    sides = [opened("left"), opened("right")]
    sides[0].put(CONFIG, b"port: 1\n")
    sides[0].put(A, login("1", "01"))
    for side in sides:
        await side.sync()
    return sides


async def healed(side: Side[GitStore]) -> None:
    """What was damaged is thrown away by the first who finds it, and fetched by the next one."""
    with contextlib.suppress(StoreAway):
        await side.sync()
    await side.sync()


@pytest.mark.parametrize("damage", ["rubbish", "nothing", "half of it"])
async def test_what_was_fetched_may_be_damaged(opened: Open, damage: str) -> None:
    left, right = await two_alike(opened)
    right.put(A, login("2", "02"))
    await right.sync()
    left.store._let_go()
    kept = left.here.folder / ".repository"
    for path in [path for path in kept.rglob("*") if path.is_file() and "objects" in path.parts]:
        path.chmod(0o600)
        if damage == "rubbish":
            path.write_bytes(b"rubbish")
        else:
            path.unlink()
    if damage == "half of it":
        shutil.rmtree(kept / "refs")
        (kept / "HEAD").write_bytes(b"")
    await healed(left)
    left.put(CONFIG, b"port: 2\n")
    await healed(left)
    await right.sync()
    assert left.files == right.files == {CONFIG: b"port: 2\n", A: login("2", "02")}


async def test_locks_of_one_that_was_killed_are_no_obstacle(opened: Open) -> None:
    left, right = await two_alike(opened)
    for name in ("index.lock", "config.lock", "packed-refs.lock", "refs/heads/fetched.lock"):
        (left.here.folder / ".repository" / name).touch()
    right.put(A, login("2", "02"))
    await right.sync()
    await healed(left)
    assert left.files == right.files


@pytest.mark.parametrize("is_replaced", [True, False])
async def test_a_remote_that_lost_everything_gets_it_back(opened: Open, remote: Path, is_replaced: bool) -> None:
    left, right = await two_alike(opened)
    if is_replaced:
        shutil.rmtree(remote)
        Repo.init_bare(str(remote), mkdir=True).close()
    else:
        (remote / "refs" / "heads" / "main").unlink()
    left.put(A, login("2", "02"))
    await left.sync()
    await right.sync()
    assert left.files == right.files == {CONFIG: b"port: 1\n", A: login("2", "02")}


async def test_another_history_is_gone_by(opened: Open, remote: Path) -> None:
    left, _ = await two_alike(opened)
    shutil.rmtree(remote)
    Repo.init_bare(str(remote), mkdir=True).close()
    other = opened("other")
    other.put(CONFIG, b"port: 5\n")
    other.put("auths/b.json", login("5", "05"))
    await other.sync()
    left.put(A, login("2", "02"))
    await left.sync()
    await other.sync()
    assert left.files == other.files == {CONFIG: b"port: 5\n", A: login("2", "02"), "auths/b.json": login("5", "05")}

"""A directory and a store that are kept alike, whoever changes what, and whatever is away."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from cliproxy import watching
from cliproxy.stores import replica
from cliproxy.stores.file import FileStore
from cliproxy.stores.replica import Replica
from cliproxy.stores.store import CONFIG, Document, StoreAway
from tests.stores.memory_store import MemoryStore
from tests.stores.side import A, Side, login


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def left(tmp_path: Path, store: MemoryStore) -> Side:
    return Side(tmp_path / "left", store)


@pytest.fixture
def right(tmp_path: Path, store: MemoryStore) -> Side:
    return Side(tmp_path / "right", store)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHECKED_EVERY_MS", 100)
    monkeypatch.setattr(watching, "AWAITED_EVERY_S", 0.02)
    monkeypatch.setattr(replica, "RETRIED_AFTER_S", (0.02,))


async def test_an_empty_store_gets_what_is_here_and_an_empty_directory_what_is_there(left: Side, right: Side) -> None:
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01"))
    left.put("auths/.a.json.lock", b"")
    left.put("auths/notes.txt", b"nobody's")
    await left.sync()
    await right.sync()
    assert right.files == {CONFIG: b"port: 1\n", A: login("1", "01")}
    assert (right.here.folder / A).stat().st_mode & 0o777 == 0o600


async def test_changes_and_removals_go_both_ways(left: Side, right: Side) -> None:
    for path in (A, "auths/b.json"):
        left.put(path, login("1", "01"))
    await left.sync()
    await right.sync()
    right.put(A, login("2", "02"))
    right.drop("auths/b.json")
    await right.sync()
    await left.sync()
    assert left.files == right.files == {A: login("2", "02")}
    count = next(left.store._count)
    await left.anew().sync()
    assert next(left.store._count) == count + 1, "nothing was written for nothing"


async def test_of_two_renewals_the_newer_one_stays_with_the_settings_of_both(left: Side, right: Side) -> None:
    left.put(A, login("1", "01", note="old", priority=1))
    await left.sync()
    await right.sync()
    left.put(A, login("3", "03", note="old", priority=2))
    right.put(A, login("2", "02", note="new", priority=1))
    await left.sync()
    await right.sync()
    await left.sync()
    assert left.files == right.files
    found = json.loads(left.files[A])
    assert (found["access_token"], found["refresh_token"]) == ("test-3", "test-refresh-3")
    assert (found["note"], found["priority"]) == ("new", 2)


async def test_what_was_changed_is_not_lost_to_a_removal(left: Side, right: Side) -> None:
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    left.drop(A)
    right.put(A, login("2", "02"))
    await left.sync()
    await right.sync()
    await left.sync()
    assert left.files == right.files == {A: login("2", "02")}


async def test_a_config_that_was_changed_twice_is_the_stores_and_the_other_one_is_kept(left: Side, right: Side) -> None:
    left.put(CONFIG, b"port: 1\n")
    await left.sync()
    await right.sync()
    left.put(CONFIG, b"port: 2\n")
    right.put(CONFIG, b"port: 3\n")
    await left.sync()
    await right.sync()
    assert right.files == {CONFIG: b"port: 2\n", f"{CONFIG}.conflict": b"port: 3\n"}


@pytest.mark.parametrize(("path", "whole", "part"), [(CONFIG, b"port: 1\n", b""), (A, login("1", "01"), b'{"type": ')])
async def test_what_is_still_being_written_is_not_passed_on(
    left: Side, right: Side, path: str, whole: bytes, part: bytes
) -> None:
    left.put(path, whole)
    await left.sync()
    left.put(path, part)
    await left.sync()
    await right.sync()
    assert right.files == {path: whole}
    left.put(path, whole + b"\n")
    await left.sync()
    await right.sync()
    assert right.files == {path: whole + b"\n"}


async def test_a_directory_that_is_ahead_catches_the_store_up_after_a_restart(left: Side, right: Side) -> None:
    left.put(A, login("1", "01"))
    await left.sync()
    left.store.is_away = True
    left.put(A, login("2", "02"))
    with pytest.raises(StoreAway):
        await left.sync()
    left.store.is_away = False
    await left.anew().sync()
    await right.sync()
    assert right.files == {A: login("2", "02")}


async def test_without_its_memory_the_newer_login_stays(left: Side, right: Side) -> None:
    left.put(A, login("2", "02"))
    await left.sync()
    right.put(A, login("1", "01"))
    await right.sync()
    assert right.files == left.files
    (left.here.folder / ".alike.json").write_text("rubbish", "utf-8")
    await left.anew().sync()
    assert left.files == {A: login("2", "02")}


@asynccontextmanager
async def running(*sides: Side) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(side.replica.run()) for side in sides]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def alike(side: Side, files: Mapping[str, bytes]) -> None:
    """Wait until the directory holds these files."""
    async with asyncio.timeout(20), aclosing(side.here.changes()) as changes:
        async for _ in changes:
            if side.files == files:
                return


async def kept(store: MemoryStore, path: str) -> None:
    """Wait until the store holds a document."""
    async with asyncio.timeout(20), aclosing(store.changes()) as changes:
        async for _ in changes:
            if path in store.documents:
                return


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until the log holds a text."""
    heard = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                heard.set()

    listener = Listener()
    replica.logger.addHandler(listener)
    try:
        if text not in caplog.text:
            async with asyncio.timeout(20):
                await heard.wait()
    finally:
        replica.logger.removeHandler(listener)


async def test_running_replicas_follow_each_other(left: Side, right: Side) -> None:
    async with running(left, right):
        left.put(A, login("1", "01"))
        await alike(right, {A: login("1", "01")})
        right.put(A, login("2", "02"))
        await alike(left, {A: login("2", "02")})
        left.drop(A)
        await alike(right, {})


async def test_a_store_that_was_away_is_caught_up_with(
    left: Side, right: Side, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(left):
        left.put(A, login("1", "01"))
        await kept(left.store, A)
        left.store.go_away()
        left.put(A, login("2", "02"))
        await logged(caplog, "The store is away")
        left.store.is_away = False
        async with running(right):
            await alike(right, {A: login("2", "02")})
        await logged(caplog, "are alike again")


async def test_a_fault_of_our_own_is_told_and_not_the_end(
    left: Side, right: Side, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise AssertionError("a fault")

    async with running(left):
        left.put(A, login("1", "01"))
        await kept(left.store, A)
        monkeypatch.setattr(replica, "merged", broken)
        left.put("auths/b.json", login("1", "01"))
        left.store.documents["auths/b.json"] = Document(login("2", "02"), "other")
        await logged(caplog, "failed on its store")
        monkeypatch.undo()
        left.put(A, login("3", "03"))
        async with running(right):
            await alike(right, {A: login("3", "03"), "auths/b.json": login("2", "02")})


async def test_whoever_holds_the_lock_sees_the_newest_and_has_others_see_his(left: Side, right: Side) -> None:
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    order = []

    async def renewed(side: Side, number: int) -> None:
        async with side.replica.locked(A):
            seen = json.loads(side.files[A])["access_token"]
            order.append(seen)
            side.put(A, login(f"{number}", f"{int(seen[-1]) + 1:02}"))
            await asyncio.sleep(0)

    await asyncio.gather(renewed(left, 2), renewed(right, 3))
    assert order in (["test-1", "test-2"], ["test-1", "test-3"])


async def test_without_the_store_the_lock_is_this_machines(left: Side) -> None:
    left.store.is_away = True
    async with left.replica.locked(A):
        left.put(A, login("1", "01"))
    assert left.replica.trouble == "it is away"
    left.store.is_away = False
    await left.sync()
    assert left.store.documents[A].content == login("1", "01")


@pytest.mark.parametrize("lost", ["the store's", "the copy's"])
async def test_a_side_that_lost_everything_gets_it_back(left: Side, right: Side, lost: str) -> None:
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    if lost == "the store's":
        left.store.documents.clear()
        async with left.replica.locked(A):
            left.put(A, login("2", "02"))
    else:
        left.drop(CONFIG)
        left.drop(A)
        right.put(A, login("2", "02"))
        await right.sync()
        await left.sync()
    await right.sync()
    assert left.files == right.files == {CONFIG: b"port: 1\n", A: login("2", "02")}


async def test_a_login_that_is_gone_when_it_is_locked_stays_gone(left: Side, right: Side) -> None:
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01"))
    await left.sync()
    await right.sync()
    right.drop(A)
    await right.sync()
    async with left.replica.locked(A):
        assert left.files == {CONFIG: b"port: 1\n"}
    await right.sync()
    assert right.files == {CONFIG: b"port: 1\n"}


async def test_a_change_that_was_taken_back_before_it_arrived_is_none(left: Side, right: Side) -> None:
    left.put(CONFIG, b"port: 1\n")
    await left.sync()
    await right.sync()
    left.store.refuses = True
    left.put(CONFIG, b"port: 2\n")
    with pytest.raises(StoreAway):
        await left.sync()
    left.store.refuses = False
    left.put(CONFIG, b"port: 1\n")
    await left.sync()
    right.put(CONFIG, b"port: 2\n")
    await right.sync()
    await left.sync()
    assert left.files == right.files == {CONFIG: b"port: 2\n"}


async def test_logins_that_cannot_be_seen_are_not_removed_from_the_store(left: Side) -> None:
    left.put(CONFIG, b"port: 1\n")
    left.put(A, login("1", "01"))
    await left.sync()
    left.drop(A)
    left.here.auth_dir.rmdir()
    left.here.auth_dir.symlink_to(left.here.auth_dir.name)  # to itself
    with pytest.raises(StoreAway, match="cannot be read"):
        await left.sync()
    assert left.store.documents.keys() == {CONFIG, A}


async def test_a_file_that_cannot_be_read_keeps_no_other_from_the_store(left: Side) -> None:
    left.put(A, login("1", "01"))
    left.put("auths/z.json", login("1", "01"))
    await left.sync()
    left.drop(A)
    (left.here.folder / A).symlink_to("a.json")  # to itself
    left.put("auths/z.json", login("2", "02"))
    (left.here.auth_dir / "folder.json").mkdir()
    await left.sync()
    assert left.store.documents["auths/z.json"].content == login("2", "02")
    assert left.store.documents[A].content == login("1", "01")
    assert list(left.replica.unfit) == [A]


async def test_what_the_store_has_that_cannot_be_used_replaces_nothing(left: Side, right: Side) -> None:
    for path, whole in {CONFIG: b"port: 1\n", A: login("1", "01"), "auths/b.json": login("1", "01")}.items():
        left.put(path, whole)
    await left.sync()
    rubbish = {CONFIG: b" \n", A: b"[]", "auths/b.json": b'{"type": '}
    for path, content in rubbish.items():
        left.store.documents[path] = Document(content, f"rubbish-{path}")
    left.put("auths/b.json", login("2", "02"))
    before = left.files
    await left.sync()
    assert left.files == before
    assert {path: document.content for path, document in left.store.documents.items()} == rubbish
    assert left.replica.unfit.keys() == rubbish.keys()
    await right.sync()
    assert right.files == {}


class SilentStore(MemoryStore):
    """Says nothing while `speaks` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = asyncio.Event()

    async def read(self, path: str, version: str | None = None) -> Document | None:
        await self.speaks.wait()
        return await super().read(path)


async def test_a_renewal_does_not_wait_for_a_store_that_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "ANSWERED_WITHIN_S", 0.05)
    store = SilentStore()
    side = Side(tmp_path / "left", store)
    async with asyncio.timeout(20), side.replica.locked(A):
        side.put(A, login("1", "01"))
    assert side.replica.trouble == "memory: it does not answer"
    store.speaks.set()
    await side.sync()
    assert store.documents[A].content == login("1", "01")


async def test_a_fault_while_others_are_heard_is_not_the_end(
    left: Side, right: Side, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr(left.store, "changes", broken)
    async with running(left):
        await logged(caplog, "failed on its store")
        monkeypatch.undo()
        right.put(A, login("1", "01"))
        await right.sync()
        await alike(left, {A: login("1", "01")})


async def test_it_is_closed_when_it_runs_no_more_and_not_before(left: Side) -> None:
    running = asyncio.create_task(left.replica.run())
    left.put(A, login("1", "01"))
    await kept(left.store, A)
    closing = asyncio.create_task(left.replica.close())
    left.put(A, login("2", "02"))
    done, _ = await asyncio.wait({closing}, timeout=0.2)
    assert not done
    running.cancel()
    await closing
    assert left.store.documents[A].content == login("2", "02")


async def test_since_when_it_is_away_is_known(tmp_path: Path, store: MemoryStore) -> None:
    moments = iter((10.0, 20.0))
    side = Replica(FileStore(tmp_path), store, lambda: next(moments))
    store.is_away = True
    for _ in range(2):
        async with side.locked(A):
            assert (side.trouble, side.away_since_s) == ("it is away", 10.0)

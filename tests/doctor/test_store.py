"""The store that the environment names."""

from pathlib import Path

from cliproxy.doctor.finding import Finding
from cliproxy.doctor.store import store
from cliproxy.stores.choice import Chosen
from cliproxy.stores.file import FileStore
from cliproxy.stores.store import CONFIG
from tests.stores.memory_store import MemoryStore


async def looked(folder: Path, there: MemoryStore) -> list[Finding]:
    return [finding async for finding in store(Chosen(FileStore(folder), there))]


async def test_a_store_that_answers_is_well(tmp_path: Path) -> None:
    there = MemoryStore()
    await there.write(CONFIG, b"port: 1\n", None)
    assert await looked(tmp_path / "copy", there) == [
        Finding("store", "ok", "memory answers: 1 documents"),
        Finding("store", "ok", f"its copy is in {tmp_path / 'copy'}"),
    ]


async def test_one_that_is_away_is_a_warning(tmp_path: Path) -> None:
    there = MemoryStore()
    there.is_away = True
    (first, _) = await looked(tmp_path, there)
    assert first.level == "warning"
    assert first.text == "the store is away, the gateway serves from its copy: it is away"


async def test_a_copy_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (_, error) = await looked(tmp_path / "file" / "copy", MemoryStore())
    assert (error.level, error.text.endswith(f"{tmp_path / 'file'} is no directory")) == ("error", True)


async def test_a_copy_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    remembered = tmp_path / ".alike.json"
    remembered.touch(mode=0o644)
    (warning,) = [finding for finding in await looked(tmp_path, MemoryStore()) if finding.level == "warning"]
    assert warning.mend == f"chmod 600 {remembered}"
    remembered.chmod(0o600)
    assert {finding.level for finding in await looked(tmp_path, MemoryStore())} == {"ok"}

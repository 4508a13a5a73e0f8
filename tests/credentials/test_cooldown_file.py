"""Cooldowns on disk: whole, private, and never a reason to fail."""

import json
import logging
from pathlib import Path

import pytest

from cliproxy.credentials import cooldown_file
from cliproxy.credentials.cooldown import Cooldowns, SavedCooldown
from tests.virtual_time import Clock

SAVED = SavedCooldown("claude:1", "m", 2e9, 1.9e9, "quota", 429, "the quota is used up – „ganz“", 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth" / cooldown_file.FILE_NAME


def test_what_was_saved_is_loaded(path: Path) -> None:
    cooldown_file.save(path, [SAVED])
    assert cooldown_file.load(path) == [SAVED]
    assert json.loads(path.read_bytes())["cooldowns"][0]["message"] == SAVED.message


def test_a_restart_keeps_cooldowns(path: Path) -> None:
    clock = Clock()
    before, after = Cooldowns(clock), Cooldowns(clock)
    before.sideline("a", "m", object(), seconds=300.0, reason="quota", status=429, message="no")
    cooldown_file.save(path, before.dump())
    clock.pass_s(100)
    after.load(cooldown_file.load(path))
    assert not after.is_ready("a", "m")
    clock.pass_s(200)
    assert after.is_ready("a", "m")


def test_the_file_is_its_owners_only(path: Path) -> None:
    cooldown_file.save(path, [SAVED])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_is_replaced_at_once_and_leaves_nothing_behind(path: Path) -> None:
    cooldown_file.save(path, [SAVED])
    inode = path.stat().st_ino
    cooldown_file.save(path, [])
    assert cooldown_file.load(path) == []
    assert path.stat().st_ino != inode
    assert list(path.parent.iterdir()) == [path]


def test_accounts_are_not_mistaken_for_it() -> None:
    assert Path(cooldown_file.FILE_NAME).suffix != ".json"


def test_a_missing_file_is_no_news(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert cooldown_file.load(path) == []
    assert not caplog.records


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b'{"cooldowns": [',
        b"\xff\xfe",
        b"[]",
        b'{"cooldowns": [{"credential": "a"}]}',
        b'{"cooldowns": [{"credential": "a", "model": "m", "until_s": "late"}]}',
        b'{"cooldowns": [{"credential": "a", "model": "m", "until_s": 1e999}]}',
    ],
)
def test_a_damaged_file_is_a_warning_and_not_a_failure(
    path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(damaged)
    assert cooldown_file.load(path) == []
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.message


def test_an_unreadable_file_is_a_warning_too(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir(parents=True)
    assert cooldown_file.load(path) == []
    assert "cannot be read" in caplog.text


def test_a_place_that_cannot_be_written_is_a_warning_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    cooldown_file.save(tmp_path / "file" / "cooldowns", [SAVED])
    assert "cannot be saved" in caplog.text


def test_a_failed_replacement_leaves_the_old_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir(parents=True)
    (path / "occupied").write_bytes(b"")
    cooldown_file.save(path, [SAVED])
    assert "cannot be saved" in caplog.text
    assert list(path.parent.iterdir()) == [path]

"""Settings files on disk: backups, records, modes, symbolic links, and faults that lose nothing."""

import errno
from pathlib import Path

import pytest

from cliproxy.setup.files import FileFault, Plan, is_set_up, plan_setup, plan_undo
from cliproxy.setup.json_syntax import JsonSyntax
from cliproxy.setup.syntax import Settings

SYNTAX = JsonSyntax()
SETTINGS: Settings = {("env", "URL"): "http://127.0.0.1:8317"}
ORIGINAL = '{\n    "theme": "dark"\n}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tool" / "settings.json"
    path.parent.mkdir()
    path.write_text(ORIGINAL, "utf-8")
    return path


def set_up(path: Path, settings: Settings = SETTINGS) -> None:
    plan_setup(path, SYNTAX, settings).carry_out()


def undo(path: Path) -> None:
    plan = plan_undo(path, SYNTAX)
    assert plan
    plan.carry_out()


def beside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_planning_writes_nothing(path: Path) -> None:
    plan = plan_setup(path, SYNTAX, SETTINGS)
    assert plan.changes
    assert path.read_text("utf-8") == ORIGINAL
    assert beside(path) == ["settings.json"]


def test_the_original_is_kept_and_comes_back(path: Path) -> None:
    set_up(path)
    assert SYNTAX.read(path.read_text("utf-8")) == {"theme": "dark", "env": {"URL": "http://127.0.0.1:8317"}}
    assert path.with_name("settings.json.cliproxy.bak").read_text("utf-8") == ORIGINAL
    assert is_set_up(path)
    undo(path)
    assert path.read_text("utf-8") == ORIGINAL
    assert beside(path) == ["settings.json"]
    assert plan_undo(path, SYNTAX) is None


def test_a_second_set_up_keeps_the_first_original(path: Path) -> None:
    set_up(path)
    set_up(path, {("env", "URL"): "http://127.0.0.1:1"})
    assert path.with_name("settings.json.cliproxy.bak").read_text("utf-8") == ORIGINAL
    undo(path)
    assert path.read_text("utf-8") == ORIGINAL


def test_a_file_that_was_not_there_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.json"
    set_up(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert beside(path) == ["settings.json", "settings.json.cliproxy.json"]
    undo(path)
    assert beside(path) == []


def test_a_file_that_was_not_there_stays_where_others_put_something_into_it(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    set_up(path)
    path.write_text(SYNTAX.set(path.read_text("utf-8"), ("theme",), "dark"), "utf-8")
    undo(path)
    assert SYNTAX.read(path.read_text("utf-8")) == {"theme": "dark"}


def test_a_file_that_is_gone_needs_no_undoing(path: Path) -> None:
    set_up(path)
    path.unlink()
    undo(path)
    assert beside(path) == []


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_the_mode_stays(path: Path, mode: int) -> None:
    path.chmod(mode)
    set_up(path)
    assert path.stat().st_mode & 0o777 == mode
    undo(path)
    assert path.stat().st_mode & 0o777 == mode


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.json"
    path.rename(kept)
    path.symlink_to(kept)
    set_up(path)
    assert path.is_symlink()
    assert "127.0.0.1" in kept.read_text("utf-8")
    undo(path)
    assert path.is_symlink()
    assert kept.read_text("utf-8") == ORIGINAL


def test_what_somebody_changes_while_the_user_thinks_is_not_overwritten(path: Path) -> None:
    plan = plan_setup(path, SYNTAX, SETTINGS)
    path.write_text('{"theme": "light"}', "utf-8")
    with pytest.raises(FileFault, match="has just changed it"):
        plan.carry_out()
    assert path.read_text("utf-8") == '{"theme": "light"}'
    assert beside(path) == ["settings.json"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'{\n  "a": 1\n  "b": 2\n}', "settings.json:3: not valid JSON"),
        (b'{\n"\xff": 1}', "settings.json:2: not UTF-8"),
    ],
)
def test_a_faulty_file_is_left_alone(path: Path, content: bytes, place: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FileFault, match=place):
        plan_setup(path, SYNTAX, SETTINGS)
    assert path.read_bytes() == content
    assert beside(path) == ["settings.json"]


def test_a_file_that_was_broken_since_is_left_alone(path: Path) -> None:
    set_up(path)
    path.write_text("{", "utf-8")
    with pytest.raises(FileFault, match=r"settings\.json:1: not valid JSON"):
        plan_undo(path, SYNTAX)
    assert path.read_text("utf-8") == "{"


def test_what_is_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="cannot be read"):
        plan_setup(tmp_path, SYNTAX, SETTINGS)


def test_what_cannot_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cliproxy.setup.files.write_atomically", full)
    with pytest.raises(FileFault, match=r"settings\.json: cannot be written: No space left"):
        set_up(path)
    assert path.read_text("utf-8") == ORIGINAL


def test_a_backup_of_unknown_origin_is_not_overwritten(path: Path) -> None:
    backup = path.with_name("settings.json.cliproxy.bak")
    backup.write_text("theirs", "utf-8")
    with pytest.raises(FileFault, match="move it away"):
        plan_setup(path, SYNTAX, SETTINGS)
    assert backup.read_text("utf-8") == "theirs"


def test_without_its_backup_or_record_nothing_is_guessed(path: Path) -> None:
    set_up(path)
    path.with_name("settings.json.cliproxy.bak").unlink()
    with pytest.raises(FileFault, match="is gone"):
        plan_undo(path, SYNTAX)
    path.with_name("settings.json.cliproxy.json").write_text("{", "utf-8")
    with pytest.raises(FileFault, match="is not as it was written"):
        plan_undo(path, SYNTAX)


def test_a_crash_before_the_file_is_written_can_be_undone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(plan: Plan) -> None:
        raise KeyboardInterrupt

    plan = plan_setup(path, SYNTAX, SETTINGS)
    monkeypatch.setattr(Plan, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        plan.carry_out()
    monkeypatch.undo()
    undo(path)
    assert path.read_text("utf-8") == ORIGINAL
    assert beside(path) == ["settings.json"]

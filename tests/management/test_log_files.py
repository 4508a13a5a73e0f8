"""The log's files: read from the end, onwards over a rotation, and no name leads out of their directory."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from cliproxy.management.log_files import MAX_READ_BYTES, LogFiles


def stamped(second: int, text: str = "x") -> str:
    return f"[2026-11-21 10:00:{second:02}] {text}\n"


def seconds(second: int) -> int:
    return int(datetime(2026, 11, 21, 10, 0, second).timestamp())


def write(folder: Path, name: str, text: str, age_s: int = 0) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    moment = 1_800_000_000 - age_s
    os.utime(path, (moment, moment))
    return path


def test_there_need_not_be_any(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "none")
    assert files.newest(10) == ([], 0, "", False)
    assert (files.errors(), files.clear(), files.request("x"), files.error("error-x.log")) == ([], 0, None, None)


def test_the_newest_lines_go_over_rotated_files(tmp_path: Path) -> None:
    write(tmp_path, "main-2026-11-20.log", "".join(map(stamped, range(3))), age_s=200)
    write(tmp_path, "main.log.1", "".join(map(stamped, range(3, 5))), age_s=100)
    write(tmp_path, "main.log", stamped(5) + "no time\n" + stamped(6, "unfinished")[:-1])
    write(tmp_path, "other.log", stamped(59))
    found = LogFiles(tmp_path).newest(4)
    assert [line[-3:] for line in found.lines] == ["] x", "] x", "] x", "ime"]
    assert found.latest_s == seconds(5)
    assert len(LogFiles(tmp_path).newest(100).lines) == 7


def test_lines_after_a_moment_take_those_without_a_time_along(tmp_path: Path) -> None:
    write(tmp_path, "main.log", "first\n" + stamped(1) + "more of 1\n" + stamped(2) + "more of 2\n")
    found = LogFiles(tmp_path).newest(100, after_s=seconds(1))
    assert [line[-9:] for line in found.lines] == ["0:00:02] x"[-9:], "more of 2"]


def test_a_cursor_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = write(tmp_path, "main.log", stamped(1))
    files = LogFiles(tmp_path)
    cursor = files.newest(10).cursor
    assert files.since(cursor, 10).lines == []
    with path.open("a") as log:
        log.write(stamped(2) + "half")
    found = files.since(cursor, 10)
    assert [line[17:19] for line in found.lines] == ["02"] or len(found.lines) == 1
    with path.open("a") as log:
        log.write(" a line\n")
    assert list(files.since(found.cursor, 10).lines) == ["half a line"]


def test_a_cursor_goes_on_over_a_rotation(tmp_path: Path) -> None:
    path = write(tmp_path, "main.log", "one\n")
    files = LogFiles(tmp_path)
    cursor = files.newest(10).cursor
    with path.open("a") as log:
        log.write("two\n")
    path.rename(tmp_path / "main.log.1")
    write(tmp_path, "main.log", "three\n")
    found = files.since(cursor, 10)
    assert (list(found.lines), found.is_reset) == (["two", "three"], False)


@pytest.mark.parametrize("cursor", ["nonsense", "1-2", "999999999-5", "-", "1-99999999999999999"])
def test_a_cursor_that_leads_nowhere_begins_anew(tmp_path: Path, cursor: str) -> None:
    write(tmp_path, "main.log", "one\n")
    found = LogFiles(tmp_path).since(cursor, 10)
    assert (list(found.lines), found.is_reset) == (["one"], True)


def test_a_log_that_was_emptied_begins_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "main.log", "one\ntwo\n")
    files = LogFiles(tmp_path)
    cursor = files.newest(10).cursor
    assert files.clear() == 0
    with path.open("a") as log:
        log.write("new\n")
    found = files.since(cursor, 10)
    assert (list(found.lines), found.is_reset) == (["new"], True)


def test_clearing_empties_the_log_and_removes_what_was_rotated(tmp_path: Path) -> None:
    write(tmp_path, "main.log", "one\n")
    write(tmp_path, "main-1.log", "x")
    kept = [write(tmp_path, name, "x") for name in ("error-1.log", "v1-messages-2026-abc.log", "notes.txt")]
    assert LogFiles(tmp_path).clear() == 1
    assert (tmp_path / "main.log").read_bytes() == b"" and not (tmp_path / "main-1.log").exists()
    assert all(path.exists() for path in kept)


def test_large_logs_are_read_from_their_end_only(tmp_path: Path) -> None:
    line = "y" * 1023 + "\n"
    write(tmp_path, "main.log", "first\n" + line * (MAX_READ_BYTES // 1024 + 10))
    lines = LogFiles(tmp_path).newest(10**6).lines
    assert len(lines) <= MAX_READ_BYTES // 1024 and set(lines) == {line[:-1]}


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "main.log").write_bytes(b"a\xffb\r\nc\n")
    assert list(LogFiles(tmp_path).newest(10).lines) == ["a\ufffdb", "c"]


def test_files_of_requests_are_found_by_their_names_only(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    write(tmp_path, "error-outside.log", "secret")
    write(tmp_path, "x-outside.log", "secret")
    old = write(folder, "error-old.log", "1", age_s=100)
    new = write(folder, "error-new-abc123.log", "22")
    (folder / "error-link.log").symlink_to(tmp_path / "error-outside.log")
    (folder / "error-dir.log").mkdir()
    files = LogFiles(folder)
    assert [(file.name, file.size_bytes) for file in files.errors()] == [
        ("error-new-abc123.log", 2),
        ("error-old.log", 1),
    ]
    assert files.error("error-old.log") == old
    assert files.request("abc123") == new
    for name in ("../error-outside.log", "error-link.log", "error-dir.log", "main.log", "", "error-*.log"):
        assert files.error(name) is None
    for identity in ("../x-outside", "outside", "", "*", "abc1234", "/abc123", "link"):
        assert files.request(identity) is None

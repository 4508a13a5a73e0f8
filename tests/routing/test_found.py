"""cliproxy.routing.found: the file of what upstreams said they offer."""

import logging
from pathlib import Path

import pytest

from cliproxy.routing.found import FILE_NAME, FoundList, FoundModel, load, path_of, save

CLAUDE = FoundList(
    "claude",
    (FoundModel("opus-9", "Opus 9", 1_000_000, 128_000, ("text", "image"), thinks=True), FoundModel("haiku-9")),
    "https://claude.test",
    found_s=1.5,
)
CODEX = FoundList("codex", (FoundModel("gpt-9"),), plan="free")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "below" / FILE_NAME
    save(path, [CLAUDE, CODEX])
    assert load(path) == [CLAUDE, CODEX]


def test_a_newer_list_takes_the_place_of_the_same_upstreams_only(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    save(path, [CLAUDE, CODEX])
    newer = FoundList("codex", (FoundModel("gpt-10"),), plan="free")
    paid = FoundList("codex", (FoundModel("gpt-10-pro"),), plan="pro")
    elsewhere = FoundList("claude", (FoundModel("opus-8"),), "https://relay.test")
    save(path, [newer, paid, elsewhere])
    assert load(path) == [CLAUDE, newer, paid, elsewhere]


def test_without_a_file_nothing_was_found(tmp_path: Path) -> None:
    assert load(tmp_path / FILE_NAME) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"lists": [{"models": []}]}', '{"lists": [{"provider": 1}]}', "\udce4"]
)
def test_a_damaged_file_is_left_aside_with_a_warning(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with caplog.at_level(logging.WARNING):
        assert load(path) == []
    assert str(path) in caplog.text


def test_a_file_that_cannot_be_read_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(tmp_path) == []
    assert "directory" in caplog.text


def test_the_config_says_where_the_file_is(tmp_path: Path) -> None:
    assert path_of(str(tmp_path / "own.json")) == tmp_path / "own.json"
    assert path_of("~/own.json") == Path.home() / "own.json"
    assert path_of("").name == FILE_NAME
    assert "cliproxy" in path_of("").parts

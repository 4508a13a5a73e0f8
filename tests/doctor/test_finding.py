"""Levels, exit codes, and the commands that sentences name."""

import pytest

from cliproxy.doctor.finding import Finding, Level, command_in, exit_code


@pytest.mark.parametrize(
    ("levels", "code"),
    [([], 0), (["ok", "note"], 0), (["ok", "warning", "note"], 1), (["warning", "error", "ok"], 2)],
)
def test_the_worst_finding_decides(levels: list[Level], code: int) -> None:
    assert exit_code(Finding("config", level, "") for level in levels) == code


def test_the_command_of_a_sentence_is_the_one_in_backticks() -> None:
    assert command_in("do not `rm` it: `cliproxy login qwen` or `cliproxy models`") == "cliproxy login qwen"
    assert command_in("open the tool once") == ""

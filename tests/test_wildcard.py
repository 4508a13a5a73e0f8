"""Patterns with `*`."""

import pytest

from cliproxy.wildcard import matches


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True),
        ("gpt-*", "gpt-5", True),
        ("gpt-*", "gpt-", True),
        ("gpt-*", "my-gpt-5", False),
        ("GEMINI-*-pro", "gemini-2.5-Pro", True),
        ("gemini-*-pro", "gemini-2.5-pro-preview", False),
        ("tenant-*-region-*", "tenant-1-region-\n", True),
        ("claude.sonnet", "claude-sonnet", False),
        ("gpt-?", "gpt-5", False),
        ("kimi[1m]", "kimi[1m]", True),
        ("kimi[1m]", "kimi1", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_only_the_asterisk_is_special(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits
